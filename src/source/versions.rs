//! Every version of the rows of one entity, before it is decided which of them count.

use arrow::array::BooleanArray;

use super::column::Column;
use super::gather::Gathered;
use super::intake::Keys;
use super::rows::Rows;
use super::settle::Settle;
use crate::definition::{Fill, SourceDefinition};
use crate::error::Result;
use crate::model::{TimeRange, Timestamp};

/// Every version of the rows of one entity in a range of time, as a source holds them now.
#[derive(Debug)]
pub struct Versions<'a> {
    pub(super) source: &'a SourceDefinition,
    pub(super) keys: Keys,
    /// The columns that were asked for, and then those that decide which rows are left out.
    pub(super) columns: Vec<&'a Column>,
    pub(super) asked: usize,
    /// All columns of a wide table in one, those of a long one in one each.
    pub(super) gathered: Vec<Gathered>,
}

impl Versions<'_> {
    /// Whether the source says when its rows became known.
    pub fn have_created(&self) -> bool {
        self.source.created_time.is_some()
    }

    /// The event time of each version, and when it became known: a row that does not say it, at its event time. In
    /// nanoseconds, in no order; of a long table once for each series.
    pub fn times(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.gathered.iter().flat_map(|gathered| {
            let rows = gathered.times.iter().enumerate();
            rows.map(|(row, at)| (*at, known(*at, gathered.created.get(row).copied().flatten())))
        })
    }

    /// The rows of a range that lies within the one that was read.
    ///
    /// # Errors
    /// `Invalid` where they are not what the definition allows.
    pub fn rows(&self, range: TimeRange) -> Result<Rows> {
        Settle { source: self.source, keys: &self.keys }.rows(&self.gathered, &self.columns, self.asked, range)
    }

    /// The same, from versions alone that were known at a time, as if there were no others.
    ///
    /// # Errors
    /// As [`rows`](Self::rows), of what was not allowed then.
    pub fn rows_known(&self, range: TimeRange, at: Timestamp) -> Result<Rows> {
        let from = filled_from(self.source, range).as_ns();
        let is_known = |event: i64, created: Option<i64>| {
            from <= event && event < range.end().as_ns() && known(event, created) <= at.as_ns()
        };
        let kept = |gathered: &Gathered| {
            let created = (0..gathered.times.len()).map(|row| gathered.created.get(row).copied().flatten());
            let kept = gathered.times.iter().zip(created).map(|(event, created)| Some(is_known(*event, created)));
            gathered.filtered(&kept.collect::<BooleanArray>())
        };
        let gathered = self.gathered.iter().map(kept).collect::<Result<Vec<_>>>()?;
        Settle { source: self.source, keys: &self.keys }.rows(&gathered, &self.columns, self.asked, range)
    }
}

/// When a row became known.
fn known(event: i64, created: Option<i64>) -> i64 {
    created.unwrap_or(event)
}

/// Where what fills the first nulls of a range may lie.
pub(super) fn filled_from(source: &SourceDefinition, range: TimeRange) -> Timestamp {
    match source.fill {
        Some(Fill::Last { within }) => range.start().saturating_sub(within),
        None => range.start(),
    }
}
