//! What can be wrong with a file of bars.

use std::path::{Path, PathBuf};

use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use parquet::errors::ParquetError;

use crate::technical::columns::TIME_NAMES;

/// Why bars could not be read. Rows count from 0 in the order of the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BarsError {
    /// The file is not there or may not be read.
    #[error("bars file {} cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file has no Parquet footer, or one that makes no sense.
    #[error("bars file {} is not a readable Parquet file: {source}", path.display())]
    NotParquet {
        /// The file.
        path: PathBuf,
        /// What the Parquet reader said.
        source: ParquetError,
    },
    /// The file begins well and then cannot be decoded.
    #[error("bars file {} is damaged or compressed in an unknown way: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the Parquet reader said.
        source: ArrowError,
    },
    /// A column that every bar needs is not there.
    #[error(
        "bars file {} has no column {column:?}: bars need a time ({}), open, high, low and close, \
         and may have symbol and volume; this file has {present}",
        path.display(),
        TIME_NAMES.join(" or ")
    )]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column that is missing, by the first of its names.
        column: String,
        /// The columns there are, separated by commas.
        present: String,
    },
    /// A column is of a type that cannot be what its name says.
    #[error("bars file {}: column {column:?} is {found}, needed is {needed}", path.display())]
    WrongType {
        /// The file.
        path: PathBuf,
        /// The column as the file spells it.
        column: String,
        /// Its type.
        found: DataType,
        /// What it should be.
        needed: &'static str,
    },
    /// A value does not fit: a time before 1677 or after 2262, say.
    #[error("bars file {}: column {column:?} cannot be read: {source}", path.display())]
    Cast {
        /// The file.
        path: PathBuf,
        /// The column as the file spells it.
        column: String,
        /// Which value, and why.
        source: ArrowError,
    },
    /// A row has no symbol though the file has a symbol column.
    #[error("bars file {}: row {row} (the first is 0) has no symbol", path.display())]
    NullSymbol {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
    },
    /// A row has no time or no price.
    #[error(
        "bars file {}: column {column:?} is null in row {row} (the first is 0), symbol {symbol:?}",
        path.display()
    )]
    Null {
        /// The file.
        path: PathBuf,
        /// The column as the file spells it.
        column: String,
        /// The row.
        row: usize,
        /// Whose bar it is.
        symbol: String,
    },
    /// A price is NaN or infinite. It would spoil every smoothed value after it.
    #[error(
        "bars file {}: column {column:?} is {value} in row {row} (the first is 0), symbol {symbol:?}",
        path.display()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The column as the file spells it.
        column: String,
        /// The row.
        row: usize,
        /// Whose bar it is.
        symbol: String,
        /// The price.
        value: f64,
    },
    /// The file has the right columns and nothing in them.
    #[error("bars file {} has no rows", path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
    },
}

impl BarsError {
    pub(super) fn missing_column(path: &Path, column: &str, schema: &Schema) -> Self {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let present = if names.is_empty() { "no columns".into() } else { names.join(", ") };
        Self::MissingColumn { path: path.into(), column: column.into(), present }
    }
}
