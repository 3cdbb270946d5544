//! Rows as files, as JSON and on the terminal.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, TimestampNanosecondType};
use arrow::error::ArrowError;
use arrow::json::WriterBuilder;
use arrow::json::writer::JsonArray;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::page::{Align, Page, plain};
use super::quantity;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Timestamp;

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

    fn try_write(self, path: &Path, batch: &RecordBatch) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let file = File::create(path)?;
        match self {
            Self::Csv => arrow::csv::Writer::new(file).write(&flat(&printable(batch)?)?)?,
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

/// All rows. As JSON each is an object; NaN and infinities, which JSON has not, are null there.
#[derive(Debug)]
pub struct Rows(pub RecordBatch);

impl Serialize for Rows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut written = Vec::new();
        let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(&mut written);
        let done = printable(&self.0).and_then(|batch| writer.write(&batch)).and_then(|()| writer.finish());
        done.map_err(serde::ser::Error::custom)?;
        // Without a row nothing is written at all.
        let json = if written.is_empty() { b"[]".as_slice() } else { &written };
        let rows: Vec<Map<String, Value>> = serde_json::from_slice(json).map_err(serde::ser::Error::custom)?;
        let schema = self.0.schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        serializer.collect_seq(rows.iter().map(|row| Row { names: &names, row }))
    }
}

/// A row with its values in the order of the columns, which is that of the contract.
struct Row<'a> {
    names: &'a [&'a str],
    row: &'a Map<String, Value>,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.names.iter().map(|name| (name, self.row.get(*name))))
    }
}

/// The same with times as people and other programs read them: `2024-03-08T09:30:00Z`.
fn printable(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let printed: ArrayRef = match column.as_primitive_opt::<TimestampNanosecondType>() {
            Some(times) => {
                let text = |time: i64| Timestamp::from_ns(time).to_string();
                Arc::new(times.iter().map(|time| time.map(text)).collect::<StringArray>())
            }
            None => Arc::clone(column),
        };
        (field.name().clone(), printed, true)
    });
    RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>())
}

/// The same with lists and structures as text, for a form that has none.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let flat: ArrayRef = match column.data_type().is_nested() {
            true => Arc::new(StringArray::from(cells(column))),
            false => Arc::clone(column),
        };
        (field.name().clone(), flat, true)
    });
    RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>())
}

/// As many of the newest rows as fit, at most `most`, each a column, because there are more features than fit side by
/// side. Numbers are rounded.
pub fn newest(page: &mut Page, batch: &RecordBatch, most: usize) {
    let all = batch.num_rows();
    let newest = batch.slice(all.saturating_sub(most), most.min(all));
    // What cannot be printed nicely is printed as it is.
    let newest = printable(&newest).unwrap_or(newest);
    let schema = newest.schema();
    let mut columns: Vec<Vec<String>> = newest.columns().iter().map(cells).collect();
    // The first column is the event time: its date above its time of day.
    if let Some(times) = columns.first_mut() {
        times.iter_mut().for_each(|time| *time = time.replace('T', "\n"));
    }
    let names: Vec<&str> = schema.fields().iter().skip(1).map(|field| field.name().as_str()).collect();
    let longest = |texts: &mut dyn Iterator<Item = &str>| texts.map(|text| text.chars().count()).max().unwrap_or(0);
    let widest = longest(&mut columns.iter().flatten().flat_map(|cell| cell.lines()));
    let shown = page.fitting(longest(&mut names.iter().copied()), widest).clamp(1, newest.num_rows().max(1));
    let first = newest.num_rows().saturating_sub(shown);
    if shown < all {
        page.line(&format!(
            "The last {} of {}; `--output FILE` and `--json` have all.",
            quantity::count(shown as u64),
            quantity::count(all as u64)
        ));
    }
    page.gap();
    let mut columns = columns.iter().map(|cells| cells.iter().skip(first));
    let mut header = vec![("feature", Align::Whole)];
    header.extend(columns.next().into_iter().flatten().map(|time| (time.as_str(), Align::Right)));
    let rows = names
        .iter()
        .zip(columns)
        .map(|(name, cells)| std::iter::once((*name).to_owned()).chain(cells.cloned()).collect());
    page.grid(&header, rows);
}

/// All rows as a table, of many only the first and the last, `most` together. Where the columns do not fit side by side,
/// each row is a table of its own.
pub fn table(page: &mut Page, batch: &RecordBatch, most: usize) {
    let all = batch.num_rows();
    // The row behind the first half stands for those that are left out.
    let (first, last) = if all > most { (most / 2, all - most / 2) } else { (all, all) };
    if first < last {
        let all = quantity::count(all as u64);
        page.line(&format!("The first and the last of {all}; `--output FILE` and `--json` have all."));
    }
    page.gap();
    let parts = [batch.slice(0, first), batch.slice(last, all - last)].map(|part| printable(&part).unwrap_or(part));
    let schema = batch.schema();
    let names: Vec<String> = schema.fields().iter().map(|field| plain(field.name())).collect();
    let [mut columns, ends] = parts.map(|part| part.columns().iter().map(cells).collect::<Vec<_>>());
    for (column, end) in columns.iter_mut().zip(ends) {
        column.extend((first < last).then(|| "…".to_owned()));
        column.extend(end);
    }
    let widest = |(name, column): (&String, &Vec<String>)| {
        column.iter().chain([name]).map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = names.iter().zip(&columns).map(widest).collect();
    let rows = (0..columns.first().map_or(0, Vec::len))
        .map(|row| columns.iter().filter_map(|column| column.get(row).cloned()).collect::<Vec<_>>());
    if page.holds(&widths) {
        let align = |field: &arrow::datatypes::Field| {
            if field.data_type().is_numeric() { Align::Right } else { Align::Left }
        };
        let header: Vec<_> =
            names.iter().zip(schema.fields()).map(|(name, field)| (name.as_str(), align(field))).collect();
        page.grid(&header, rows);
        return;
    }
    for row in rows {
        page.table(
            [("", Align::Whole), ("", Align::Left)],
            names.iter().cloned().zip(row).map(|(name, cell)| [name, cell]),
        );
    }
}

fn cells(column: &ArrayRef) -> Vec<String> {
    if let Some(numbers) = column.as_primitive_opt::<Float64Type>() {
        return numbers.iter().map(|number| number.map_or_else(|| "null".to_owned(), rounded)).collect();
    }
    match ArrayFormatter::try_new(column, &FormatOptions::new().with_null("null")) {
        Ok(formatter) => (0..column.len()).map(|row| plain(&formatter.value(row).to_string())).collect(),
        Err(error) => vec![error.to_string(); column.len()],
    }
}

/// With seven digits that say something.
fn rounded(number: f64) -> String {
    const DIGITS: i32 = 7;
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    #[expect(clippy::cast_possible_truncation, reason = "between -324 and 308")]
    let magnitude = number.abs().log10().floor() as i32;
    match usize::try_from(DIGITS - 1 - magnitude) {
        Ok(decimals) if decimals < 12 => {
            let text = format!("{number:.decimals$}");
            if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
        }
        Ok(_) => format!("{number:.6e}"),
        Err(_) => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_what_somebody_reads() {
        let cases = [
            (0.0, "0"),
            (0.507_000_000_000_000_1, "0.507"),
            (-0.000_255_705_216_9, "-0.0002557052"),
            (56.824_840_662_389, "56.82484"),
            (4448.0801, "4448.08"),
            (12_345_678.9, "12345679"),
            (1.5e-9, "1.500000e-9"),
            (f64::NAN, "NaN"),
        ];
        for (number, text) in cases {
            assert_eq!(rounded(number), text);
        }
    }
}
