//! Rows as they are found, file by file or from one table.

use arrow::array::{ArrayRef, BooleanArray, new_empty_array};
use arrow::compute::{concat, filter};

use super::column::Column;
use crate::error::{Error, Result};

/// The columns of equally many rows, in the order of the data.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) times: Vec<i64>,
    /// One per row, or none where there is no created time.
    pub(super) created: Vec<Option<i64>>,
    /// Per column its pieces.
    pieces: Vec<Vec<ArrayRef>>,
    /// The files or the table, each with the number of rows up to its end.
    places: Vec<(String, usize)>,
}

impl Gathered {
    /// None yet, of so many columns.
    pub(super) fn new(columns: usize) -> Self {
        Self { times: Vec::new(), created: Vec::new(), pieces: vec![Vec::new(); columns], places: Vec::new() }
    }

    /// Adds rows of a file or table.
    pub(super) fn add(
        &mut self,
        place: &str,
        times: impl IntoIterator<Item = i64>,
        created: impl IntoIterator<Item = Option<i64>>,
        columns: impl IntoIterator<Item = ArrayRef>,
    ) {
        self.times.extend(times);
        self.created.extend(created);
        for (pieces, piece) in self.pieces.iter_mut().zip(columns) {
            pieces.push(piece);
        }
        match self.places.last_mut() {
            Some((last, end)) if last == place => *end = self.times.len(),
            _ => self.places.push((place.to_owned(), self.times.len())),
        }
    }

    /// The rows for which `keep` is true.
    pub(super) fn filtered(&self, keep: &BooleanArray) -> Result<Self> {
        let is_kept = |row: &usize| *row < keep.len() && keep.value(*row);
        let kept: Vec<usize> = (0..self.times.len()).filter(is_kept).collect();
        let of = |pieces: &Vec<ArrayRef>| {
            let mut end = 0;
            let kept = pieces.iter().map(|piece| {
                let keep = keep.slice(end, piece.len());
                end += piece.len();
                filter(piece, &keep).map_err(|error| Error::internal(error.to_string()))
            });
            kept.collect::<Result<Vec<_>>>()
        };
        let places = self.places.iter().map(|(place, end)| (place.clone(), kept.partition_point(|row| row < end)));
        Ok(Self {
            times: kept.iter().filter_map(|row| self.times.get(*row).copied()).collect(),
            created: kept.iter().filter_map(|row| self.created.get(*row).copied()).collect(),
            pieces: self.pieces.iter().map(of).collect::<Result<_>>()?,
            places: places.collect(),
        })
    }

    /// The event time of a row.
    pub(super) fn time(&self, row: u32) -> i64 {
        self.times.get(row as usize).copied().unwrap_or_default()
    }

    /// When a row became known, where it says so.
    pub(super) fn created(&self, row: u32) -> Option<i64> {
        self.created.get(row as usize).copied().flatten()
    }

    /// What the row came from.
    pub(super) fn place(&self, row: u32) -> &str {
        let at = self.places.partition_point(|(_, end)| *end <= row as usize);
        self.places.get(at).map_or("", |(place, _)| place)
    }

    /// The whole of one column.
    pub(super) fn values(&self, at: usize, column: &Column) -> Result<ArrayRef> {
        let pieces: Vec<_> = self.pieces.get(at).into_iter().flatten().map(AsRef::as_ref).collect();
        match pieces.as_slice() {
            [] => Ok(new_empty_array(&column.value_type.data_type())),
            pieces => concat(pieces).map_err(|error| {
                Error::invalid(format!(
                    "column {} has more than can be held at once ({error}): ask for less",
                    column.name
                ))
            }),
        }
    }
}
