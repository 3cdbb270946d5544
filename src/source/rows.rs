//! What a reader returns.

use arrow::array::{RecordBatch, TimestampNanosecondArray};

/// Rows of one entity, in the order of their event times, which strictly increase.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    pub(super) times: TimestampNanosecondArray,
    pub(super) created: Option<TimestampNanosecondArray>,
    pub(super) batch: RecordBatch,
}

impl Rows {
    /// When each row became true, in nanoseconds UTC: of a row labelled by the open of its bar, the bar's close.
    pub fn times(&self) -> &[i64] {
        self.times.values()
    }

    /// When each row became known, in nanoseconds UTC, where the source has a created time. Null where the row does
    /// not say. A row that takes values from several (`layout`, `fill`) is known once all of them are.
    pub fn created(&self) -> Option<&TimestampNanosecondArray> {
        self.created.as_ref()
    }

    /// The columns that were asked for, in that order, under their names in the definition.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }
}
