//! Rows as files, as JSON and on the terminal.

use std::fs::File;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use serde_json::{Map, Value};

use super::{Align, Page};
use crate::error::{Error, ErrorKind, Result};

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Csv,
    Parquet,
    Arrow,
}

impl Format {
    /// By the ending of its name.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("parquet") => Ok(Self::Parquet),
            Some("arrow" | "feather") => Ok(Self::Arrow),
            _ => {
                Err(Error::invalid(format!("{}: name a file that ends with .csv, .parquet or .arrow", path.display())))
            }
        }
    }

    /// Writes the rows to a file, which is replaced where it exists.
    pub fn write(self, path: &Path, batch: &RecordBatch) -> Result<()> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::with_source(ErrorKind::Unavailable, format!("cannot write {}", path.display()), error)
        };
        self.try_write(path, batch).map_err(failed)
    }

    #[expect(clippy::disallowed_methods, reason = "a file of the user's own")]
    fn try_write(self, path: &Path, batch: &RecordBatch) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let file = File::create(path)?;
        match self {
            Self::Csv => arrow::csv::Writer::new(file).write(batch)?,
            Self::Parquet => {
                let mut writer = ArrowWriter::try_new(file, batch.schema(), None)?;
                writer.write(batch)?;
                writer.close()?;
            }
            Self::Arrow => {
                let mut writer = arrow::ipc::writer::FileWriter::try_new(file, &batch.schema())?;
                writer.write(batch)?;
                writer.finish()?;
            }
        }
        Ok(())
    }
}

/// Every row as an object; NaN and infinities, which JSON has not, as text.
pub fn rows(batch: &RecordBatch) -> Result<Vec<Map<String, Value>>> {
    let mut written = Vec::new();
    let mut writer = arrow::json::ArrayWriter::new(&mut written);
    let unusual = |error| Error::with_source(ErrorKind::Internal, "the rows cannot be written as JSON", error);
    writer.write(batch).and_then(|()| writer.finish()).map_err(unusual)?;
    serde_json::from_slice(if written.is_empty() { b"[]" } else { &written })
        .map_err(|error| Error::with_source(ErrorKind::Internal, "the rows cannot be written as JSON", error))
}

/// The newest rows, each a column, because there are more features than fit side by side.
pub fn table(page: &mut Page, batch: &RecordBatch, shown: usize) {
    let first = batch.num_rows().saturating_sub(shown);
    let newest = batch.slice(first, batch.num_rows() - first);
    let schema = newest.schema();
    let options = FormatOptions::new().with_null("null");
    let cells = |column: usize| -> Vec<String> {
        match ArrayFormatter::try_new(newest.column(column), &options) {
            Ok(formatter) => (0..newest.num_rows()).map(|row| formatter.value(row).to_string()).collect(),
            Err(error) => vec![error.to_string(); newest.num_rows()],
        }
    };
    // The first column is the event time, whose date and time of day stand below each other.
    let times: Vec<String> = cells(0).into_iter().map(|time| time.replace('T', " ")).collect();
    let mut header = vec![("feature", Align::Left)];
    header.extend(times.iter().map(|time| (time.as_str(), Align::Right)));
    let rows = schema
        .fields()
        .iter()
        .enumerate()
        .skip(1)
        .map(|(at, field)| std::iter::once(field.name().clone()).chain(cells(at)).collect());
    page.grid(&header, rows);
}
