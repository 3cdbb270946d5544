//! Encoding, reading and describing one day of one-minute features.
//!
//! `cargo bench --bench block`. The block is written to `$BENCH_DIR`
//! (default: the temporary directory) as `block.parquet`, so that other engines
//! can be measured on the same file.

#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot set up should stop"
)]

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use divan::{Bencher, black_box};
use larder::block;

const ROWS: usize = 1_440;
const FEATURES: usize = 32;

static BATCH: LazyLock<RecordBatch> = LazyLock::new(day);
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let path = dir.join("block.parquet");
    let bytes = block::encode(&BATCH, &description(), 3).expect("the bench block encodes");
    std::fs::write(&path, &bytes).expect("the bench directory is writable");
    eprintln!("{}: {} bytes", path.display(), bytes.len());
    path
});

fn main() {
    divan::main();
}

/// A day of returns, prices and oscillators, rounded as a market rounds.
fn day() -> RecordBatch {
    let mut random = Random(42);
    let start = 1_709_251_200_000_000_000i64;
    let times = (0..ROWS as i64).map(|row| start + row * 60_000_000_000);
    let times = TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC");
    let zone = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let mut fields = vec![Field::new("event_timestamp", zone, false)];
    let mut columns: Vec<ArrayRef> = vec![Arc::new(times)];
    for feature in 0..FEATURES {
        fields.push(Field::new(format!("feature_{feature:02}"), DataType::Float64, true));
        columns.push(Arc::new(feature_values(feature, &mut random)));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("the columns fit")
}

fn feature_values(feature: usize, random: &mut Random) -> Float64Array {
    let mut walk = 0.0;
    let values = (0..ROWS).map(|_| {
        let step = random.normal();
        let value = match feature % 8 {
            // Returns over ever longer horizons.
            0..=2 => step * 1e-4 * (1.0 + (feature / 3) as f64),
            // Prices and their averages.
            3..=5 => {
                walk += step * 1e-4;
                1.08 + walk
            }
            // Oscillators between 0 and 100.
            _ => {
                walk += step * 0.1;
                50.0 + 40.0 * f64::sin(walk)
            }
        };
        (value * 1e5).round() / 1e5
    });
    values.collect()
}

/// xorshift64*, so that the block is the same on every machine.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Close to a standard normal: the sum of twelve uniforms.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

fn description() -> Vec<(String, String)> {
    let pairs = [
        ("larder.format_version", "1"),
        ("larder.view", "technical_features"),
        ("larder.fingerprint", "8d3c5f0a9b7e4c21"),
        ("larder.entity", r#"{"symbol":"EURUSD"}"#),
        ("larder.start", "1709251200000000000"),
        ("larder.end", "1709337600000000000"),
        ("larder.known_until", "1709337600000000000"),
        ("larder.rows", "1440"),
        ("larder.created", "1709337661000000000"),
        ("larder.compute_ms", "12.5"),
        ("larder.input_version", "0"),
    ];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

#[divan::bench(sample_count = 2000)]
fn encode(bencher: Bencher) {
    let description = description();
    bencher.bench(|| block::encode(black_box(&BATCH), &description, 3));
}

#[divan::bench(sample_count = 5000)]
fn read_and_decode(bencher: Bencher) {
    let (path, schema) = (FILE.clone(), BATCH.schema());
    bencher.bench(|| {
        let bytes = std::fs::read(&path).expect("the file is there");
        block::decode(bytes.into(), &schema)
    });
}

#[divan::bench(sample_count = 5000)]
fn read_alone(bencher: Bencher) {
    let path = FILE.clone();
    bencher.bench(|| std::fs::read(&path));
}

#[divan::bench(sample_count = 5000)]
fn decode(bencher: Bencher) {
    let bytes: bytes::Bytes = std::fs::read(&*FILE).expect("the file is there").into();
    let schema = BATCH.schema();
    bencher.bench(|| block::decode(black_box(bytes.clone()), &schema));
}

#[divan::bench(sample_count = 5000)]
fn describe(bencher: Bencher) {
    let bytes: bytes::Bytes = std::fs::read(&*FILE).expect("the file is there").into();
    bencher.bench(|| block::describe(black_box(&bytes)));
}

#[divan::bench(sample_count = 2000)]
fn column_stats(bencher: Bencher) {
    bencher.bench(|| block::column_stats(black_box(&BATCH)));
}
