//! The reader against files.

#[cfg(not(feature = "postgres"))]
mod built_without;
mod changing;
mod oracle;
mod places;
mod policies;
mod real;
mod times;
mod types;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::{Reader, Rows};
use crate::definition::{Definitions, EntityDefinition, Environment, SourceDefinition};
use crate::error::Result;
use crate::model::{EntityKey, TimeRange, Timestamp};

/// A directory with data and definitions.
struct Data(tempfile::TempDir);

impl Data {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn parquet(&self, name: &str, batch: &RecordBatch) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_parquet(&path, batch, 1_000);
        path
    }

    fn text(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The source `data`, whose definition has these lines.
    fn definition(&self, lines: &str) -> SourceDefinition {
        definition(self.0.path(), lines)
    }

    fn reader(&self, lines: &str) -> Result<Reader> {
        Reader::open(&self.definition(lines), &Environment::default())
    }
}

fn definition(directory: &Path, lines: &str) -> SourceDefinition {
    let file = directory.join("source.toml");
    std::fs::write(&file, format!("[source.data]\n{lines}")).unwrap();
    let definitions = Definitions::read(directory, Environment::default()).unwrap();
    definitions.sources().values().next().unwrap().clone()
}

/// An entity of these text keys.
fn entity_of(keys: &str) -> EntityDefinition {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("e.toml"), format!("[entity.thing]\nkeys = {{ {keys} }}")).unwrap();
    let definitions = Definitions::read(directory.path(), Environment::default()).unwrap();
    definitions.entities().values().next().unwrap().clone()
}

fn write_parquet(path: &Path, batch: &RecordBatch, group: usize) {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, values)| (name, values, true))).unwrap()
}

fn ns(time: &str) -> i64 {
    time.parse::<Timestamp>().unwrap().as_ns()
}

/// `symbol`, `ts` (without a zone, in microseconds) and `x`.
fn bars(rows: &[(&str, &str, f64)]) -> RecordBatch {
    batch(vec![
        ("symbol", texts(rows.iter().map(|row| row.0))),
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| ns(row.1) / 1_000)))),
        ("x", doubles(rows.iter().map(|row| row.2))),
    ])
}

fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn doubles(values: impl IntoIterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

fn key(symbol: &str) -> EntityKey {
    EntityKey::new([("symbol", symbol)]).unwrap()
}

fn range(start: &str, end: &str) -> TimeRange {
    TimeRange::parse(start, end).unwrap()
}

fn all() -> TimeRange {
    TimeRange::new(Timestamp::MIN, Timestamp::MAX).unwrap()
}

fn times(rows: &Rows) -> Vec<String> {
    rows.times().iter().map(|at| Timestamp::from_ns(*at).to_string()).collect()
}

/// A column of numbers.
fn numbers(rows: &Rows, column: &str) -> Vec<Option<f64>> {
    let values = cast(rows.batch().column_by_name(column).unwrap(), &DataType::Float64).unwrap();
    values.as_primitive::<Float64Type>().iter().collect()
}

/// What `read` of column `x` of symbol `A` says of a directory.
fn read_x(reader: &Reader) -> Vec<Option<f64>> {
    numbers(&reader.read(&key("A"), all(), &["x"]).unwrap(), "x")
}

const PARQUET: &str = "kind = \"parquet\"\nevent_time = \"ts\"\n";
const CSV: &str = "kind = \"csv\"\nevent_time = \"ts\"\n";

fn with(kind: &str, lines: &str) -> String {
    format!("{kind}{lines}")
}
