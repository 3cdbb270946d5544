//! The rows that a view is computed from.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampNanosecondArray};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, TimeUnit, TimestampNanosecondType};
use arrow::row::{RowConverter, SortField};
use twox_hash::xxhash3_128::Hasher;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{EVENT_TIME, TimeRange, Timestamp};
use crate::source::{Rows, Versions};

/// Rows of one entity in the order of their event times, which strictly increase.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    times: ScalarBuffer<i64>,
    columns: RecordBatch,
    /// When they became known, where their source says so; in the order of their event times, also those of rows that
    /// were cut off.
    created: Option<Arc<[Created]>>,
}

/// When rows became known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Created {
    /// The event times between which the rows lie, both included.
    events: (i64, i64),
    /// When the last of them became known.
    newest: i64,
}

impl Created {
    /// Of every version; `None` where their source does not say it.
    pub fn of_versions(versions: &Versions<'_>) -> Option<Vec<Self>> {
        let of = |(event, newest)| Self { events: (event, event), newest };
        versions.have_created().then(|| versions.times().map(of).collect())
    }

    /// Of all rows in a range.
    pub fn within(range: TimeRange, newest: Timestamp) -> Self {
        let last = range.end().as_ns().saturating_sub(1);
        Self { events: (range.start().as_ns(), last), newest: newest.as_ns() }
    }
}

impl Frame {
    /// Of times and columns without them, both of one length.
    pub fn new(times: ScalarBuffer<i64>, columns: RecordBatch) -> Self {
        debug_assert_eq!(times.len(), columns.num_rows());
        Self { times, columns, created: None }
    }

    /// Of what a source has.
    pub fn of_rows(rows: &Rows) -> Self {
        Self::new(rows.times().to_vec().into(), rows.batch().clone())
    }

    /// The same, with when they became known: of single rows, or of ranges that do not overlap.
    pub fn with_created(self, created: Option<Vec<Created>>) -> Self {
        let sorted = |mut created: Vec<Created>| {
            created.sort_unstable_by_key(|created| created.events);
            created.into()
        };
        Self { created: created.map(sorted), ..self }
    }

    /// When the last of the rows in a range became known, where their source says so: the beginning of time where there
    /// is none.
    pub fn newest_created(&self, range: TimeRange) -> Option<Timestamp> {
        let created = self.created.as_ref()?;
        let from = created.partition_point(|created| created.events.1 < range.start().as_ns());
        let to = created.partition_point(|created| created.events.0 < range.end().as_ns());
        let newest = created.get(from..to).unwrap_or_default().iter().map(|created| created.newest).max();
        Some(newest.map_or(Timestamp::MIN, Timestamp::from_ns))
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

    /// The newest row up to a time, which is included, with its own.
    pub fn newest(&self, until: i64) -> Option<(usize, i64)> {
        let row = self.times.partition_point(|time| *time <= until).checked_sub(1)?;
        Some((row, *self.times.get(row)?))
    }

    /// The rows up to a time, which is included.
    pub fn until(&self, last: i64) -> Self {
        self.slice(0..self.times.partition_point(|time| *time <= last))
    }

    /// The rows after a time.
    pub fn after(&self, last: i64) -> Self {
        self.slice(self.times.partition_point(|time| *time <= last)..self.times.len())
    }

    /// The same times with other values in the columns.
    pub fn with_columns(&self, columns: Vec<ArrayRef>) -> Result<Self> {
        // Of rows without columns, only the times say how many there are.
        if columns.is_empty() {
            return Ok(self.clone());
        }
        let columns = RecordBatch::try_new(self.columns.schema(), columns).map_err(broken)?;
        Ok(Self { columns, ..self.clone() })
    }

    /// A digest of these rows: their times, and the names, types and values of their columns, bit for bit.
    pub fn digest(&self) -> Result<String> {
        let mut hasher = Hasher::new();
        let times = self.times.inner().as_slice();
        hasher.write(&(self.times.len() as u64).to_le_bytes());
        hasher.write(times.get(..self.times.len() * size_of::<i64>()).unwrap_or(times));
        for (field, values) in self.columns.schema().fields().iter().zip(self.columns.columns()) {
            hasher.write(format!("{}\n{}\n", field.name(), field.data_type()).as_bytes());
            match values.as_primitive_opt::<Float64Type>() {
                Some(doubles) if doubles.null_count() == 0 => {
                    let bytes = doubles.values().inner().as_slice();
                    hasher.write(bytes.get(..doubles.len() * size_of::<f64>()).unwrap_or(bytes));
                }
                _ => {
                    let fields = vec![SortField::new(values.data_type().clone())];
                    let rows = RowConverter::new(fields).and_then(|rows| rows.convert_columns(&[Arc::clone(values)]));
                    rows.map_err(broken)?.iter().for_each(|row| {
                        hasher.write(&(row.data().len() as u64).to_le_bytes());
                        hasher.write(row.data());
                    });
                }
            }
        }
        Ok(format!("{:032x}", hasher.finish_128()))
    }

    fn slice(&self, rows: Range<usize>) -> Self {
        let (start, length) = (rows.start, rows.len());
        let (times, columns) = (self.times.slice(start, length), self.columns.slice(start, length));
        Self { times, columns, created: self.created.clone() }
    }
}

/// Arrow refused what always fits.
pub(super) fn broken(error: arrow::error::ArrowError) -> Error {
    Error::with_source(ErrorKind::Internal, "columns do not fit together", error)
}
