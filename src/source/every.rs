//! Every version of rows as it was found, to be kept elsewhere.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampNanosecondArray};

use super::versions::Versions;
use crate::error::{Error, ErrorKind, Result};

impl Versions<'_> {
    /// The versions of a wide table in the order in which they were found: the event time, the created time where there
    /// is one, and the columns that were asked for, under their names in the definition.
    ///
    /// # Errors
    /// `Invalid` for a long table, whose series are several tables, and where they are more than can be held at once.
    pub fn every(&self) -> Result<RecordBatch> {
        let [gathered] = self.gathered.as_slice() else {
            return Err(Error::invalid("a long table is no one table: read its series with rows"));
        };
        let times = TimestampNanosecondArray::from(gathered.times.clone()).with_timezone("UTC");
        let mut columns: Vec<(&str, ArrayRef)> = vec![(&self.source.event_time, Arc::new(times))];
        if let Some(name) = &self.source.created_time {
            let created = TimestampNanosecondArray::from(gathered.created.clone()).with_timezone("UTC");
            columns.push((name, Arc::new(created)));
        }
        for (at, column) in self.columns.iter().take(self.asked).enumerate() {
            columns.push((&column.name, gathered.values(at, column)?));
        }
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, values)| (name, values, true)))
            .map_err(|error| Error::with_source(ErrorKind::Internal, "the rows of a source do not fit together", error))
    }
}
