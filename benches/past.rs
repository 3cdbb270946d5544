//! A service with six features of 5-minute bars at 288 times of a day, from a source with and without a created time.
//!
//! `cargo bench --bench past --all-features`

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot set up should stop"
)]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use larder::clock::ManualClock;
use larder::compute::Features;
use larder::definition::{Definitions, Environment};
use larder::model::ServiceName;
use larder::{EntityKey, FeatureStore, Timestamp};
use parquet::arrow::ArrowWriter;

const SECOND: i64 = 1_000_000;
const BAR: i64 = 300 * SECOND;
const DAY: i64 = 86_400 * SECOND;
/// 2024-12-01 is the first day of 60, and the 41st is asked for.
const FIRST: i64 = 20_058 * DAY;
const DAYS: i64 = 60;
const ASKED: i64 = FIRST + 40 * DAY;
const ROUNDS: usize = 20;

const DEFINITIONS: &str = r#"
[entity.symbol]
[source.bars]
kind = "parquet"
path = "bars.parquet"
event_time = "ts"
CREATED
label = { at = "open", bar = "5m" }
[view.technical]
entity = "symbol"
source = "bars"
span = "month"
lookback = "21d"
ttl = "1h"
[view.technical.features]
log_ret_5m = { kind = "log_return", column = "close", over = "5m" }
log_ret_1h = { kind = "log_return", column = "close", over = "1h" }
log_ret_4h = { kind = "log_return", column = "close", over = "4h" }
rsi_9 = { kind = "rsi", column = "close", period = 9 }
atr_pct = { kind = "atr_pct", period = 14 }
adx_14 = { kind = "adx", period = 14 }
[service.model]
features = [
    "technical.log_ret_5m", "technical.log_ret_1h", "technical.log_ret_4h", "technical.rsi_9", "technical.atr_pct",
    "technical.adx_14",
]
"#;

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    // A bar opens at the first time and is known at the second.
    let bars: Vec<(i64, i64)> =
        (0..DAYS * DAY / BAR).map(|bar| (FIRST + bar * BAR, FIRST + (bar + 1) * BAR + 2 * SECOND)).collect();
    let again = |each: usize, after: i64| {
        let corrected = bars.iter().step_by(each).map(move |(open, _)| (*open, *open + after));
        bars.iter().copied().chain(corrected).collect::<Vec<_>>()
    };
    let (monthly, hourly) = (again(30 * 288, 30 * DAY), again(1, 3_600 * SECOND));
    println!("a service of 6 features from one view; median of {ROUNDS}");
    for (with_created, what) in [(false, "no created time"), (true, "all bars known after 2 s")] {
        measure(&format!("{what}: 288 times, a minute after each close"), &bars, with_created, Asked::Day(minute(1)));
        measure(&format!("{what}: the last bar of a block"), &bars, with_created, Asked::Once);
        measure(&format!("{what}: the present, five minutes on"), &bars, with_created, Asked::Present);
    }
    measure("all bars known after 2 s: 288 times, at each close", &bars, true, Asked::Day(0));
    measure("a bar of each month corrected a month later: 288 times", &monthly, true, Asked::Day(minute(1)));
    measure("each bar corrected an hour later: 288 times", &hourly, true, Asked::Day(minute(1)));
}

/// What is asked for again and again.
#[derive(Clone, Copy)]
enum Asked {
    /// The times of a day so long after each bar closes.
    Day(i64),
    /// A time after all bars of a block were known.
    Once,
    /// A minute after a bar closed, as time goes by.
    Present,
}

fn measure(name: &str, bars: &[(i64, i64)], with_created: bool, asked: Asked) {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), bars);
    let created = if with_created { "created_time = \"known\"" } else { "" };
    std::fs::write(dir.path().join("a.toml"), DEFINITIONS.replace("CREATED", created)).expect("writes");
    let clock = Arc::new(ManualClock::new((FIRST + 2 * DAYS * DAY) * 1_000));
    let store = FeatureStore::builder(dir.path().join("cache")).clock(Arc::clone(&clock)).open().expect("opens");
    let definitions = Definitions::read(dir.path(), Environment::default()).expect("definitions");
    let features = Features::builder(store, definitions).open().expect("opens");
    let service = ServiceName::new("model").expect("a name");
    let entity = EntityKey::new([("symbol", "A")]).expect("a key");
    let ask = |round: i64| {
        let times: Vec<i64> = match asked {
            Asked::Day(after) => (1..=288).map(|bar| ASKED + bar * BAR + after).collect(),
            Asked::Once => vec![FIRST + 31 * DAY - minute(1)],
            Asked::Present => vec![ASKED + round * BAR + minute(1)],
        };
        if let (Asked::Present, Some(now)) = (asked, times.first()) {
            clock.set(now * 1_000);
        }
        let at: Vec<_> = times.iter().map(|at| Timestamp::from_ns(at * 1_000)).collect();
        let began = Instant::now();
        let rows = features.service(&service, &entity, &at).expect("answers");
        let took = began.elapsed();
        assert_eq!(rows.batch.num_rows(), at.len());
        took
    };
    ask(0);
    let mut took: Vec<Duration> = (1..).take(ROUNDS).map(ask).collect();
    took.sort();
    println!("{name:<62} {:>10.2?}", took.get(ROUNDS / 2).expect("rounds"));
}

const fn minute(count: i64) -> i64 {
    count * 60 * SECOND
}

/// Bars of a random walk, the same in every run: a correction says another close.
fn write(dir: &Path, bars: &[(i64, i64)]) {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    };
    let close: Vec<f64> = bars.iter().map(|_| 4_000.0 + random() * 4.0).collect();
    let numbers = |by: f64| Arc::new(close.iter().map(|close| close + by).collect::<Float64Array>()) as ArrayRef;
    let times = |values: Vec<i64>| Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")) as ArrayRef;
    let columns: [(&str, ArrayRef); 6] = [
        ("ts", times(bars.iter().map(|bar| bar.0).collect())),
        ("known", times(bars.iter().map(|bar| bar.1).collect())),
        ("symbol", Arc::new(StringArray::from_iter_values(bars.iter().map(|_| "A")))),
        ("high", numbers(1.0)),
        ("low", numbers(-1.0)),
        ("close", numbers(0.0)),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns");
    let file = File::create(dir.join("bars.parquet")).expect("creates");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("writes");
    writer.close().expect("closes");
}
