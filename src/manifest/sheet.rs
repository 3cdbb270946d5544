//! Rows on their way into a temporary table, collected as Arrow columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder, TimestampNanosecondBuilder,
};
use arrow::record_batch::RecordBatch;

use super::database::Database;
use crate::error::{Error, Result};
use crate::model::Timestamp;

/// Rows that are collected before they are handed to DuckDB.
const BATCH: u64 = 16_384;

/// One value of one row. Its variant is the type of the column, so it is the same in every row.
pub(super) enum Cell<'a> {
    Integer(i64),
    Text(Option<&'a str>),
    Float(Option<f64>),
    Time(Timestamp),
    MaybeTime(Option<Timestamp>),
    /// Whole minutes since the epoch, for a `TIMESTAMP`.
    Minute(i64),
}

impl<'a> Cell<'a> {
    pub(super) fn text(text: &'a str) -> Self {
        Self::Text(Some(text))
    }

    /// A count. Beyond what a BIGINT holds it is as much as a BIGINT holds.
    pub(super) fn count(count: u64) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

enum Column {
    Integer(Int64Builder),
    Text(StringBuilder),
    Float(Float64Builder),
    Time(TimestampNanosecondBuilder),
    Minute(TimestampMicrosecondBuilder),
}

impl Column {
    fn for_cell(cell: &Cell<'_>) -> Self {
        match cell {
            Cell::Integer(_) => Self::Integer(Int64Builder::new()),
            Cell::Text(_) => Self::Text(StringBuilder::new()),
            Cell::Float(_) => Self::Float(Float64Builder::new()),
            Cell::Time(_) | Cell::MaybeTime(_) => Self::Time(TimestampNanosecondBuilder::new()),
            Cell::Minute(_) => Self::Minute(TimestampMicrosecondBuilder::new()),
        }
    }

    /// A cell of another type is not taken; the columns then differ in length, which Arrow refuses.
    fn push(&mut self, cell: &Cell<'_>) {
        match (self, cell) {
            (Self::Integer(column), Cell::Integer(value)) => column.append_value(*value),
            (Self::Text(column), Cell::Text(value)) => column.append_option(*value),
            (Self::Float(column), Cell::Float(value)) => column.append_option(*value),
            (Self::Time(column), Cell::Time(at)) => column.append_value(at.as_ns()),
            (Self::Time(column), Cell::MaybeTime(at)) => column.append_option(at.map(Timestamp::as_ns)),
            (Self::Minute(column), Cell::Minute(minute)) => column.append_value(minute_micros(*minute)),
            _ => {}
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Integer(column) => Arc::new(column.finish()),
            Self::Text(column) => Arc::new(column.finish()),
            Self::Float(column) => Arc::new(column.finish()),
            Self::Time(column) => Arc::new(column.finish()),
            Self::Minute(column) => Arc::new(column.finish()),
        }
    }
}

/// Microseconds of a minute, kept inside the years that DuckDB can print: a senseless minute from a
/// broken clock must not make every later fold fail.
fn minute_micros(minute: i64) -> i64 {
    const YEAR_3000: i64 = 541_727_000;
    minute.clamp(-YEAR_3000, YEAR_3000) * 60_000_000
}

/// Rows for one temporary table.
pub(super) struct Sheet {
    table: &'static str,
    columns: Vec<Column>,
    waiting: u64,
    rows: u64,
}

impl Sheet {
    /// For the temporary table of this name, whose columns are in the order of the cells.
    pub(super) fn new(table: &'static str) -> Self {
        Self { table, columns: Vec::new(), waiting: 0, rows: 0 }
    }

    /// How many rows it was given.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes one row, and hands a full batch to DuckDB.
    pub(super) fn push<const N: usize>(&mut self, database: &Database<'_>, row: [Cell<'_>; N]) -> Result<()> {
        if self.columns.is_empty() {
            self.columns = row.iter().map(Column::for_cell).collect();
        }
        for (column, cell) in self.columns.iter_mut().zip(&row) {
            column.push(cell);
        }
        self.rows += 1;
        self.waiting += 1;
        if self.waiting == BATCH { self.flush(database) } else { Ok(()) }
    }

    /// Hands what is waiting to DuckDB.
    pub(super) fn flush(&mut self, database: &Database<'_>) -> Result<()> {
        if std::mem::take(&mut self.waiting) == 0 {
            return Ok(());
        }
        let arrays = self.columns.iter_mut().map(Column::finish).enumerate();
        let batch = RecordBatch::try_from_iter_with_nullable(arrays.map(|(at, array)| (format!("c{at}"), array, true)))
            .map_err(|error| Error::internal(format!("rows for {} do not fit together: {error}", self.table)))?;
        let append = || -> duckdb::Result<()> {
            let mut appender = database.connection().appender_to_catalog_and_db(self.table, "temp", "main")?;
            appender.append_record_batch(batch)?;
            // Dropping it would flush as well, and swallow the error.
            appender.flush()
        };
        append().map_err(|error| database.failed("staging records", error))
    }
}
