//! Small files of bars, right and wrong.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampSecondArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

/// A file of its own, gone when the test ends.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: only that numbers differ matters.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("larder-bars-{}-{count}.parquet", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// Parquet with these columns.
    pub(super) fn of(columns: Vec<(&str, ArrayRef)>) -> Self {
        let scratch = Self::new();
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)));
        let batch = batch.unwrap();
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let file = File::create(&scratch.0).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        scratch
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

pub(super) fn numbers(values: impl Into<Vec<Option<f64>>>) -> ArrayRef {
    Arc::new(Float64Array::from(values.into()))
}

pub(super) fn seconds(values: &[i64]) -> ArrayRef {
    Arc::new(TimestampSecondArray::from(values.to_vec()))
}

/// Two bars of EURUSD and one of USDJPY, newest first.
pub(super) fn three() -> Vec<(&'static str, ArrayRef)> {
    vec![
        ("symbol", Arc::new(StringArray::from(vec!["EURUSD", "USDJPY", "EURUSD"]))),
        ("ts", seconds(&[120, 60, 60])),
        ("open", numbers([Some(1.0), Some(101.0), Some(2.0)])),
        ("high", numbers([Some(4.0), Some(104.0), Some(5.0)])),
        ("low", numbers([Some(0.5), Some(100.5), Some(1.5)])),
        ("close", numbers([Some(3.0), Some(103.0), Some(4.0)])),
        ("volume", numbers([Some(7.0), None, Some(8.0)])),
    ]
}

/// [`three`] with one column replaced or, if there is none of that name, added.
pub(super) fn with(name: &'static str, column: ArrayRef) -> Scratch {
    let mut columns = three();
    match columns.iter_mut().find(|(known, _)| *known == name) {
        Some(known) => known.1 = column,
        None => columns.push((name, column)),
    }
    Scratch::of(columns)
}

pub(super) fn without(name: &str) -> Scratch {
    Scratch::of(three().into_iter().filter(|(known, _)| *known != name).collect())
}

pub(super) fn renamed(from: &str, to: &'static str) -> Scratch {
    let rename = |(name, column)| (if name == from { to } else { name }, column);
    Scratch::of(three().into_iter().map(rename).collect())
}
