//! Indicators over a year of five-minute bars.
//!
//! `cargo bench --bench indicator --features definitions`. `a_year_of_14_symbols` is 14 x 105,000 rows of six features;
//! everything else is one indicator over 105,000 rows.

#![allow(clippy::expect_used, reason = "a benchmark that cannot set up should stop")]

mod market;

use std::sync::LazyLock;
use std::time::Duration;

use arrow::array::Float64Array;
use divan::Bencher;
use divan::counter::ItemsCount;
use larder::definition::{BollingerOutput, Indicator, Over, Period, Prices};
use larder::indicator::{Columns, compute};

const ROWS: usize = 105_000;
const SYMBOLS: usize = 14;
const FIVE_MINUTES: i64 = 300_000_000_000;

static BARS: LazyLock<Columns> = LazyLock::new(bars);

fn main() {
    divan::main();
}

/// A walk of prices with three decimals, and volumes.
fn bars() -> Columns {
    let mut random = market::Random(7);
    let mut price = 4_000.0;
    let [mut high, mut low, mut close, mut volume] = [const { Vec::new() }; 4];
    for _ in 0..ROWS {
        let round = |value: f64| (value * 1e3).round() / 1e3;
        price += random.normal();
        close.push(round(price));
        high.push(round(price + random.normal().abs()));
        low.push(round(price - random.normal().abs()));
        volume.push(random.below(1_000) as f64);
    }
    let times: Vec<i64> = (0..ROWS as i64).map(|row| market::FIRST_DAY + row * FIVE_MINUTES).collect();
    Columns::new(times)
        .expect("times in order")
        .with("high", &Float64Array::from(high))
        .with("low", &Float64Array::from(low))
        .with("close", &Float64Array::from(close))
        .with("volume", &Float64Array::from(volume))
}

fn period(rows: i64) -> Period {
    Period::new(rows).expect("a period")
}

fn close() -> String {
    "close".into()
}

fn prices() -> Prices {
    Prices { high: "high".into(), low: "low".into(), close: close() }
}

fn log_return(minutes: u64) -> Indicator {
    Indicator::LogReturn { column: close(), over: Over::Time(Duration::from_secs(60 * minutes)) }
}

#[divan::bench(sample_count = 30)]
fn a_year_of_14_symbols(bencher: Bencher) {
    let features = [
        log_return(5),
        log_return(60),
        log_return(240),
        Indicator::Rsi { column: close(), period: period(9) },
        Indicator::AtrPct { prices: prices(), period: period(14) },
        Indicator::Adx { prices: prices(), period: period(14) },
    ];
    let bars = &*BARS;
    bencher.counter(ItemsCount::new(SYMBOLS * ROWS)).bench(|| {
        for _ in 0..SYMBOLS {
            features.iter().for_each(|feature| drop(divan::black_box(compute(feature, bars))));
        }
    });
}

fn one(bencher: Bencher, indicator: &Indicator) {
    let bars = &*BARS;
    bencher.counter(ItemsCount::new(ROWS)).bench(|| compute(divan::black_box(indicator), bars));
}

#[divan::bench(args = [20, 10_000], sample_count = 20)]
fn sma(bencher: Bencher, rows: i64) {
    one(bencher, &Indicator::Sma { column: close(), period: period(rows) });
}

#[divan::bench(args = [20, 128, 129, 10_000], sample_count = 20)]
fn zscore(bencher: Bencher, rows: i64) {
    one(bencher, &Indicator::Zscore { column: close(), period: period(rows) });
}

#[divan::bench(args = [20, 10_000], sample_count = 20)]
fn bollinger_upper(bencher: Bencher, rows: i64) {
    let output = BollingerOutput::Upper;
    one(bencher, &Indicator::Bollinger { column: close(), period: period(rows), width: 2.0, output });
}

#[divan::bench(args = [20, 10_000], sample_count = 20)]
fn rolling_max(bencher: Bencher, rows: i64) {
    one(bencher, &Indicator::RollingMax { column: close(), period: period(rows) });
}

#[divan::bench(args = [20, 10_000], sample_count = 20)]
fn rank(bencher: Bencher, rows: i64) {
    one(bencher, &Indicator::Rank { column: close(), period: period(rows) });
}

#[divan::bench(args = [20, 10_000], sample_count = 20)]
fn vwap(bencher: Bencher, rows: i64) {
    one(bencher, &Indicator::Vwap { prices: prices(), volume: "volume".into(), period: period(rows) });
}

#[divan::bench(args = [20, 10_000], sample_count = 20)]
fn realised_volatility(bencher: Bencher, rows: i64) {
    one(bencher, &Indicator::RealisedVolatility { column: close(), period: period(rows), annualise: None });
}
