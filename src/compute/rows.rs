//! The rows that a view is computed from.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampNanosecondArray};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit, TimestampNanosecondType};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{EVENT_TIME, TimeRange, Timestamp};

/// Rows of one entity in the order of their event times, which strictly increase.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    times: ScalarBuffer<i64>,
    columns: RecordBatch,
}

impl Frame {
    /// Of times and columns without them, both of one length.
    pub fn new(times: ScalarBuffer<i64>, columns: RecordBatch) -> Self {
        debug_assert_eq!(times.len(), columns.num_rows());
        Self { times, columns }
    }

    /// Of a batch with a column of event times.
    ///
    /// # Errors
    /// `Compute` where it has none, or one that is no time, null, or does not strictly increase.
    pub fn of_batch(batch: &RecordBatch) -> Result<Self> {
        let wrong = |what: String| Error::new(ErrorKind::Compute, what);
        let schema = batch.schema();
        let index = schema
            .index_of(EVENT_TIME)
            .map_err(|_| wrong(format!("the rows have no column {EVENT_TIME}, which says when each became true")))?;
        let mut columns = batch.clone();
        let times = columns.remove_column(index);
        if !matches!(times.data_type(), DataType::Timestamp(..) | DataType::Date32) {
            return Err(wrong(format!("column {EVENT_TIME} is {}: it has to be a time", times.data_type())));
        }
        let times = cast(&times, &DataType::Timestamp(TimeUnit::Nanosecond, None)).map_err(broken)?;
        let times = times.as_primitive::<TimestampNanosecondType>();
        if times.null_count() > 0 {
            return Err(wrong(format!("column {EVENT_TIME} has {} nulls: leave such rows out", times.null_count())));
        }
        let times = times.values().clone();
        if let Some((a, b)) = times.iter().zip(times.iter().skip(1)).find(|(a, b)| a >= b) {
            return Err(wrong(format!(
                "the row of {} follows that of {}: each event time may be there once, in order; end the query with \
                 ORDER BY {EVENT_TIME}",
                Timestamp::from_ns(*b),
                Timestamp::from_ns(*a)
            )));
        }
        Ok(Self::new(times, columns))
    }

    pub fn times(&self) -> &ScalarBuffer<i64> {
        &self.times
    }

    /// The columns, without the event times.
    pub fn columns(&self) -> &RecordBatch {
        &self.columns
    }

    /// The columns, the event times first.
    pub fn batch(&self) -> Result<RecordBatch> {
        let times: ArrayRef = Arc::new(TimestampNanosecondArray::new(self.times.clone(), None).with_timezone("UTC"));
        let field = Field::new(EVENT_TIME, times.data_type().clone(), false);
        let schema = self.columns.schema();
        let fields = std::iter::once(Arc::new(field)).chain(schema.fields().iter().cloned());
        let columns = std::iter::once(times).chain(self.columns.columns().iter().cloned()).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).map_err(broken)
    }

    /// The rows with an event time in the range. Copies nothing.
    pub fn within(&self, range: TimeRange) -> Self {
        self.slice(self.find(range))
    }

    /// Which rows those are.
    pub fn find(&self, range: TimeRange) -> Range<usize> {
        let before = |at: Timestamp| self.times.partition_point(|time| *time < at.as_ns());
        before(range.start())..before(range.end())
    }

    fn slice(&self, rows: Range<usize>) -> Self {
        let (start, length) = (rows.start, rows.len());
        Self { times: self.times.slice(start, length), columns: self.columns.slice(start, length) }
    }
}

/// Arrow refused what always fits.
pub(super) fn broken(error: arrow::error::ArrowError) -> Error {
    Error::with_source(ErrorKind::Internal, "columns do not fit together", error)
}
