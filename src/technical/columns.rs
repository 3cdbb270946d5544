//! Finds the columns of a bar in a file's schema.

use std::path::Path;

use arrow::datatypes::{DataType, Field, Schema};

use crate::technical::error::BarsError;

/// Names a bar's time goes by, the most specific first.
pub(super) const TIME_NAMES: [&str; 5] = ["ts", "event_timestamp", "timestamp", "time", "datetime"];

/// Where a file keeps the parts of a bar: the names as the file spells them, of types that can
/// be read.
pub(super) struct Columns {
    /// What the file's bars are called if it has no symbol column.
    pub(super) stem: String,
    pub(super) symbol: Option<String>,
    pub(super) ts: String,
    /// Open, high, low, close.
    pub(super) prices: [String; 4],
    pub(super) volume: Option<String>,
    indices: Vec<usize>,
}

impl Columns {
    pub(super) fn find(path: &Path, schema: &Schema) -> Result<Self, BarsError> {
        let mut search = Search { path, schema, indices: Vec::new() };
        let price = DataType::is_numeric;
        Ok(Self {
            stem: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            symbol: search.optional(&["symbol"], is_text, "text")?,
            ts: search.required(&TIME_NAMES, is_timestamp, "a timestamp")?,
            prices: [
                search.required(&["open"], price, "a number")?,
                search.required(&["high"], price, "a number")?,
                search.required(&["low"], price, "a number")?,
                search.required(&["close"], price, "a number")?,
            ],
            volume: search.optional(&["volume"], price, "a number")?,
            indices: search.indices,
        })
    }

    /// Positions of these columns among the file's top-level columns.
    pub(super) fn indices(&self) -> impl Iterator<Item = usize> + use<> {
        self.indices.clone().into_iter()
    }
}

struct Search<'a> {
    path: &'a Path,
    schema: &'a Schema,
    indices: Vec<usize>,
}

impl Search<'_> {
    fn required(
        &mut self,
        names: &[&'static str],
        fits: impl Fn(&DataType) -> bool,
        needed: &'static str,
    ) -> Result<String, BarsError> {
        let first = names.first().copied().unwrap_or_default();
        self.optional(names, fits, needed)?.ok_or_else(|| BarsError::missing_column(self.path, first, self.schema))
    }

    fn optional(
        &mut self,
        names: &[&'static str],
        fits: impl Fn(&DataType) -> bool,
        needed: &'static str,
    ) -> Result<Option<String>, BarsError> {
        let Some((index, field)) = names.iter().find_map(|name| self.named(name)) else {
            return Ok(None);
        };
        let column = field.name().clone();
        if !fits(field.data_type()) {
            return Err(BarsError::WrongType {
                path: self.path.into(),
                column,
                found: field.data_type().clone(),
                needed,
            });
        }
        self.indices.push(index);
        Ok(Some(column))
    }

    fn named(&self, name: &str) -> Option<(usize, &Field)> {
        let fields = self.schema.fields().iter().map(AsRef::as_ref).enumerate();
        fields.into_iter().find(|(_, field)| field.name().eq_ignore_ascii_case(name))
    }
}

fn is_timestamp(found: &DataType) -> bool {
    matches!(found, DataType::Timestamp(_, _))
}

fn is_text(found: &DataType) -> bool {
    match found {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}
