//! One missing day out of a source of 100,800,000 rows.
//!
//! `cargo bench --bench source` makes 100 symbols x 700 days of minute bars in a temporary directory, a Parquet file
//! each, as `symbol=…/date=…/bars.parquet`. The files of one day are hard links to one, so that it fits any disk.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot set up should stop"
)]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampMicrosecondArray};
use larder::definition::{Definitions, Environment};
use larder::source::Reader;
use larder::{EntityKey, TimeRange, Timestamp};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

const SYMBOLS: usize = 100;
const DAYS: usize = 700;
const MINUTES: i64 = 1_440;
const DAY: i64 = 86_400_000_000_000;
/// 2022-01-01.
const FIRST_DAY: i64 = 18_993;
const COLUMNS: [&str; 5] = ["open", "high", "low", "close", "volume"];
const READS: usize = 500;

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let began = Instant::now();
    make(dir.path());
    println!("{} rows in {} files, made in {:.1?}", SYMBOLS * DAYS * 1_440, SYMBOLS * DAYS, began.elapsed());

    let definitions = Definitions::read(dir.path(), Environment::default()).expect("definitions");
    let definition = definitions.sources().values().next().expect("the source");
    let began = Instant::now();
    let reader = Reader::open(definition, definitions.environment()).expect("opens");
    println!("open             {:.2?}", began.elapsed());

    let mut times: Vec<Duration> = (0..READS).map(|at| missing_day(&reader, at)).collect();
    times.sort_unstable();
    println!("one missing day  p50 {:.2?}, p95 {:.2?}", times[READS / 2], times[READS * 95 / 100]);
}

/// A symbol and day that the reader has not seen, far from those before.
fn missing_day(reader: &Reader, at: usize) -> Duration {
    let (symbol, day) = (at * 37 % SYMBOLS, 1 + at * 263 % (DAYS - 2));
    let entity = EntityKey::new([("symbol", name(symbol))]).expect("a symbol");
    let start = (FIRST_DAY + day as i64) * DAY;
    let range = TimeRange::new(Timestamp::from_ns(start), Timestamp::from_ns(start + DAY)).expect("a day");
    let began = Instant::now();
    let rows = reader.read(&entity, range, &COLUMNS).expect("read");
    let took = began.elapsed();
    assert_eq!(rows.len(), 1_440);
    took
}

fn name(symbol: usize) -> String {
    format!("SYM{symbol:03}")
}

fn make(root: &Path) {
    let text = "[source.bars]\nkind = \"parquet\"\npath = \"bars/symbol=*/date=*/*.parquet\"\nevent_time = \"ts\"\n";
    std::fs::write(root.join("source.toml"), text).expect("a definition");
    for day in 0..DAYS {
        let date = Timestamp::from_ns((FIRST_DAY + day as i64) * DAY).to_string();
        let path = |symbol: usize| root.join(format!("bars/symbol={}/date={}/bars.parquet", name(symbol), &date[..10]));
        for symbol in 0..SYMBOLS {
            std::fs::create_dir_all(path(symbol).parent().expect("a directory")).expect("made");
            match symbol {
                0 => write(&path(0), day),
                _ => std::fs::hard_link(path(0), path(symbol)).expect("linked"),
            }
        }
    }
}

fn write(path: &Path, day: usize) {
    let start = (FIRST_DAY + day as i64) * DAY / 1_000;
    let times = TimestampMicrosecondArray::from_iter_values((0..MINUTES).map(|minute| start + minute * 60_000_000));
    let prices = |shift: f64| -> ArrayRef {
        let price = |minute: i64| ((minute + day as i64 * MINUTES) as f64 * 0.001).sin().mul_add(0.01, 1.08 + shift);
        Arc::new(Float64Array::from_iter_values((0..MINUTES).map(|minute| (price(minute) * 1e5).round() / 1e5)))
    };
    let mut columns: Vec<(&str, ArrayRef)> = vec![("ts", Arc::new(times))];
    columns.extend((0..).zip(COLUMNS).map(|(at, name)| (name, prices(f64::from(at) * 1e-4))));
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3).expect("a level"));
    let properties = WriterProperties::builder().set_compression(zstd).build();
    let file = File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}
