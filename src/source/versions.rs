//! Every version of the rows of one entity, before it is decided which of them count.

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
    /// The rows of a range that lies within the one that was read.
    ///
    /// # Errors
    /// `Invalid` where they are not what the definition allows.
    pub fn rows(&self, range: TimeRange) -> Result<Rows> {
        Settle { source: self.source, keys: &self.keys }.rows(&self.gathered, &self.columns, self.asked, range)
    }
}

/// Where what fills the first nulls of a range may lie.
pub(super) fn filled_from(source: &SourceDefinition, range: TimeRange) -> Timestamp {
    match source.fill {
        Some(Fill::Last { within }) => range.start().saturating_sub(within),
        None => range.start(),
    }
}
