//! A year of 5-minute bars of 14 symbols, warmed in one thread; beside it the same view in pandas.
//!
//! `PYTHON=python3 cargo bench --bench warm --all-features`; without a Python that has pandas and pyarrow it says so and
//! measures Larder alone. Both read the same Parquet files, and both write Parquet with zstd.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot set up should stop"
)]

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampMicrosecondArray};
use larder::compute::Features;
use larder::definition::{Definitions, Environment};
use larder::source::Reader;
use larder::{EntityKey, FeatureStore, TimeRange, Timestamp, ViewName};
use parquet::arrow::ArrowWriter;

const SYMBOLS: usize = 14;
const BAR_US: i64 = 300_000_000;
const DAY_US: i64 = 86_400_000_000;
/// 2024-12-01: a month of history, and then the year.
const HISTORY: i64 = 20_058;
const YEAR: i64 = 20_089;
const DAYS: i64 = 365;
const FEATURES: usize = 6;
const ROUNDS: usize = 3;

const DEFINITIONS: &str = r#"
[entity.symbol]
[source.bars]
kind = "parquet"
path = "symbol=*/bars.parquet"
event_time = "ts"
label = { at = "open", bar = "5m" }
[view.technical_features]
entity = "symbol"
source = "bars"
span = "month"
lookback = "21d"
[view.technical_features.features]
log_ret_5m = { kind = "log_return", column = "close", over = "5m" }
log_ret_1h = { kind = "log_return", column = "close", over = "1h" }
log_ret_4h = { kind = "log_return", column = "close", over = "4h" }
rsi_9 = { kind = "rsi", column = "close", period = 9 }
atr_pct = { kind = "atr_pct", period = 14 }
adx_14 = { kind = "adx", period = 14 }
"#;

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    (0..SYMBOLS).for_each(|symbol| make(dir.path(), symbol));
    std::fs::write(dir.path().join("view.toml"), DEFINITIONS).expect("writes");
    let definitions = Definitions::read(dir.path(), Environment::default()).expect("definitions");
    let source = definitions.sources().values().next().expect("the source");
    let at = |day: i64| Timestamp::from_ns(day * DAY_US * 1_000);
    let year = TimeRange::new(at(YEAR), at(YEAR + DAYS)).expect("a range");
    let history = TimeRange::new(at(HISTORY), at(YEAR + DAYS)).expect("a range");

    // What reading costs, as the warming below reads: with each part's history.
    let reader = Reader::open(source, definitions.environment()).expect("opens");
    let columns = ["high", "low", "close"];
    let best = |run: &mut dyn FnMut() -> usize| {
        let timed = |_| {
            let began = Instant::now();
            let rows = run();
            (began.elapsed(), rows)
        };
        (0..ROUNDS).map(timed).min().expect("rounds")
    };
    let (reading, _) = best(&mut || {
        (0..SYMBOLS).map(|symbol| reader.read(&entity(symbol), history, &columns).expect("reads").len()).sum()
    });
    let view = ViewName::new("technical_features").expect("a name");
    let store = FeatureStore::builder(dir.path().join("cache")).open().expect("opens");
    let features = Features::builder(store, definitions.clone()).open().expect("opens");
    let (computing, _) = best(&mut || {
        let compute = |symbol| features.compute(&view, &entity(symbol), year).expect("computes").num_rows();
        (0..SYMBOLS).map(compute).sum()
    });
    let computing = computing.saturating_sub(reading);
    let mut round = 0;
    let (warming, rows) = best(&mut || {
        round += 1;
        let store = FeatureStore::builder(dir.path().join(format!("cache-{round}"))).open().expect("opens");
        let features = Features::builder(store, definitions.clone()).open().expect("opens");
        (0..SYMBOLS)
            .map(|symbol| features.warm(&view, &entity(symbol), year).expect("computes").num_rows() as usize)
            .sum()
    });
    let beyond = warming.saturating_sub(reading);
    println!("{rows} rows of {FEATURES} features, one thread, best of {ROUNDS}");
    println!("reading alone    {reading:.2?}");
    println!("computing alone  {computing:.2?}: {}", rate(rows, computing));
    println!("warming          {warming:.2?}: {}", rate(rows, warming));
    println!("beyond reading   {beyond:.2?}: {}", rate(rows, beyond));
    pandas(dir.path(), warming, computing);
}

fn rate(rows: usize, took: Duration) -> String {
    let millions = rows as f64 / took.as_secs_f64() / 1e6;
    format!("{millions:.2} M rows/s, {:.1} M values/s", millions * FEATURES as f64)
}

fn pandas(dir: &Path, warming: Duration, computing: Duration) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/warm_pandas.py");
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let run = Command::new(&python).arg(script).arg(dir).args([ROUNDS.to_string(), YEAR.to_string()]).output();
    match run {
        Ok(output) if output.status.success() => {
            let said = String::from_utf8_lossy(&output.stdout);
            let seconds: Vec<f64> = said.split_whitespace().map(|word| word.parse().expect("seconds")).collect();
            let (all, alone) = (seconds[0], seconds[1]);
            println!("pandas           {all:.2} s: {:.1} times as long", all / warming.as_secs_f64());
            println!("  its computing  {alone:.2} s: {:.1} times as long", alone / computing.as_secs_f64());
        }
        Ok(output) => println!("pandas           not measured: {}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => println!("pandas           not measured: {python}: {error}"),
    }
}

fn entity(symbol: usize) -> EntityKey {
    EntityKey::new([("symbol", format!("S{symbol:02}"))]).expect("a symbol")
}

/// Bars of a random walk, the same in every run.
fn make(dir: &Path, symbol: usize) {
    let bars = (YEAR - HISTORY + DAYS) * DAY_US / BAR_US;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(symbol as u64 + 1);
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    };
    let (mut price, mut high, mut low, mut close) = (4_000.0, Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bars {
        let open = price;
        price += random() * 4.0;
        high.push(f64::max(open, price) + random().abs());
        low.push(f64::min(open, price) - random().abs());
        close.push(price);
    }
    let times = (0..bars).map(|bar| HISTORY * DAY_US + bar * BAR_US);
    let columns: [(&str, ArrayRef); 4] = [
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))),
        ("high", Arc::new(Float64Array::from(high))),
        ("low", Arc::new(Float64Array::from(low))),
        ("close", Arc::new(Float64Array::from(close))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns");
    let place = dir.join(format!("symbol=S{symbol:02}"));
    std::fs::create_dir(&place).expect("makes");
    let file = File::create(place.join("bars.parquet")).expect("creates");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("writes");
    writer.close().expect("closes");
}
