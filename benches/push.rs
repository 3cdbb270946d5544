//! What it costs to hand in rows: until they are on the disk, what depends on them is forgotten, and the newest features are
//! computed.
//!
//! `cargo bench --bench push --all-features`

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot set up should stop"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampMicrosecondArray};
use larder::clock::ManualClock;
use larder::compute::Features;
use larder::definition::{Definitions, Environment};
use larder::model::{ServiceName, SourceName};
use larder::{EntityKey, FeatureStore, Timestamp};

const SECOND: i64 = 1_000_000;
const BAR: i64 = 300 * SECOND;
const BARS_A_DAY: i64 = 288;
const DAY: i64 = 86_400 * SECOND;
/// 2024-12-01.
const FIRST: i64 = 20_058 * DAY;
const DAYS: i64 = 60;
const ENTITIES: i64 = 50;

const DEFINITIONS: &str = r#"
[entity.symbol]
[source.bars]
kind = "push"
event_time = "ts"
types = { close = "double" }
[view.technical]
entity = "symbol"
source = "bars"
span = "day"
lookback = "1d"
ttl = "1h"
[view.technical.features]
log_ret_5m = { kind = "log_return", column = "close", over = "5m" }
log_ret_1h = { kind = "log_return", column = "close", over = "1h" }
rsi_9 = { kind = "rsi", column = "close", period = 9 }
[service.model]
features = ["technical.log_ret_5m", "technical.log_ret_1h", "technical.rsi_9"]
"#;

fn symbol(number: i64) -> EntityKey {
    EntityKey::new([("symbol", format!("S{number}"))]).expect("a key")
}

/// Bars that opened so many bars after the first day began, and after one another.
fn bars(first: i64, count: i64) -> RecordBatch {
    let times: TimestampMicrosecondArray = (first..first + count).map(|bar| Some(FIRST + bar * BAR)).collect();
    let close: Float64Array = (first..first + count).map(|bar| Some(100.0 + (bar as f64).sin())).collect();
    let columns: [(&str, ArrayRef); 2] = [("ts", Arc::new(times.with_timezone_utc())), ("close", Arc::new(close))];
    RecordBatch::try_from_iter(columns).expect("rows")
}

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("a.toml"), DEFINITIONS).expect("writes");
    let end = FIRST + DAYS * DAY;
    let clock = Arc::new(ManualClock::new(end * 1_000));
    let store = FeatureStore::builder(dir.path().join("cache")).clock(Arc::clone(&clock)).open().expect("opens");
    let definitions = Definitions::read(dir.path(), Environment::default()).expect("definitions");
    let features = Features::builder(store, definitions).open().expect("opens");
    let (source, service) = (SourceName::new("bars").expect("a name"), ServiceName::new("model").expect("a name"));
    let push = |entity: i64, rows: &RecordBatch| {
        let began = Instant::now();
        features.push(&source, &symbol(entity), rows).expect("pushed");
        began.elapsed()
    };
    let measure = |what: &str, mut times: Vec<Duration>| {
        times.sort();
        println!("{what:<58} p50 {:>10.2?}   n {}", times.get(times.len() / 2).expect("times"), times.len());
    };
    let last = DAYS * BARS_A_DAY;
    measure(
        "30 days of 5-minute bars of a new entity",
        (0..ENTITIES).map(|at| push(at, &bars(0, 30 * BARS_A_DAY))).collect(),
    );
    // So that there are blocks to forget.
    for entity in 0..ENTITIES {
        let at = Timestamp::from_ns((FIRST + 30 * DAY) * 1_000);
        features.service(&service, &symbol(entity), &[at]).expect("answers");
    }
    measure("a day of them", (0..ENTITIES).map(|at| push(at, &bars(30 * BARS_A_DAY, BARS_A_DAY))).collect());
    measure(
        "the latest bar",
        (0..10 * ENTITIES).map(|at| push(at % ENTITIES, &bars(last - 20 + at / ENTITIES, 1))).collect(),
    );
    measure("a bar that is there already", (0..ENTITIES).map(|at| push(at, &bars(last - 20, 1))).collect());
}
