//! Features as files that anybody can check.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use twox_hash::XxHash3_64;

use crate::error::{Error, ErrorKind, Result};

/// The longest stem of a file that is kept as it is.
const LONGEST: usize = 80;

/// Writes one Parquet file per symbol.
pub struct Exporter {
    dir: PathBuf,
    files: BTreeMap<String, String>,
}

impl Exporter {
    /// Makes the directory and gives every symbol its file.
    ///
    /// # Errors
    /// `Unavailable` where the directory cannot be made.
    #[expect(clippy::disallowed_methods, reason = "what is exported lies outside of every cache")]
    pub fn create<'a>(dir: &Path, symbols: impl Iterator<Item = &'a str>) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|error| {
            let message = format!("cannot make the export directory {}", dir.display());
            Error::with_source(ErrorKind::Unavailable, message, error)
        })?;
        Ok(Self { dir: dir.to_owned(), files: file_names(symbols) })
    }

    /// Writes `symbol`, `event_timestamp` and the features.
    ///
    /// # Errors
    /// `Unavailable` where the file cannot be written; an earlier one is still there then.
    pub fn write(&self, symbol: &str, features: &RecordBatch) -> Result<()> {
        let name = self.files.get(symbol).ok_or_else(|| Error::internal("a symbol without a file"))?;
        let target = self.dir.join(name);
        write_whole(&target, symbol, features).map_err(|error| {
            Error::with_source(ErrorKind::Unavailable, format!("cannot export to {}", target.display()), error)
        })
    }

    /// Where the files are.
    pub fn into_dir(self) -> PathBuf {
        self.dir
    }
}

/// Beside its place first, so that whoever stops this leaves the old file or the new one.
#[expect(clippy::disallowed_methods, reason = "what is exported lies outside of every cache")]
fn write_whole(
    target: &Path,
    symbol: &str,
    features: &RecordBatch,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let batch = with_symbol(symbol, features)?;
    let part = target.with_extension("part");
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?)).build();
    let mut writer = ArrowWriter::try_new(File::create(&part)?, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(std::fs::rename(&part, target)?)
}

fn with_symbol(symbol: &str, features: &RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
    let symbols: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(symbol, features.num_rows())));
    let first = Arc::new(Field::new("symbol", DataType::Utf8, false));
    let fields: Vec<_> = std::iter::once(first).chain(features.schema().fields().iter().cloned()).collect();
    let columns = std::iter::once(symbols).chain(features.columns().iter().cloned()).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// A file name for each symbol: the symbol with what is not plain as `_`, so `ETH_USDT.parquet`, and
/// a hash where that is not enough to tell them apart on any disk.
fn file_names<'a>(symbols: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    let mut taken = BTreeSet::new();
    let mut names = BTreeMap::new();
    for symbol in symbols {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-.=^".contains(c) { c } else { '_' };
        let mut stem: String = symbol.chars().map(plain).take(LONGEST).collect();
        let is_cut = symbol.chars().count() > LONGEST;
        // Some disks take upper and lower case for the same.
        if is_cut || stem.starts_with('.') || !taken.insert(stem.to_lowercase()) {
            stem = format!("{}-{:016x}", stem.trim_start_matches('.'), XxHash3_64::oneshot(symbol.as_bytes()));
        }
        names.insert(symbol.to_owned(), format!("{stem}.parquet"));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symbol_has_a_safe_file_of_its_own() {
        let long = "x".repeat(300);
        let symbols = ["ETH/USDT", "ETH_USDT", "eth_usdt", "../../x", ".", "BRK.B", "日経", &long];
        let names = file_names(symbols.into_iter());
        assert_eq!(names["ETH/USDT"], "ETH_USDT.parquet");
        assert_eq!(names["BRK.B"], "BRK.B.parquet");
        let distinct: BTreeSet<String> = names.values().map(|name| name.to_lowercase()).collect();
        assert_eq!(distinct.len(), symbols.len(), "{names:?}");
        for name in names.values() {
            assert!(!name.starts_with('.') && !name.contains('/') && name.len() < 120, "{name}");
        }
    }
}
