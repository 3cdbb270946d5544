//! Tests of `technical`.

mod bars;
mod features;
mod files;
mod gaps;
mod lookback;
mod read;
mod reference;
mod refusals;
mod synthetic;

use std::time::Duration;

use arrow::array::{Array, Float64Array};

use crate::technical::{Bar, Bars, FEATURE_NAMES, Features, technical_features};

const MINUTE: i64 = 60_000_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A bar that never left its close.
fn flat(ts: i64, close: f64) -> Bar {
    Bar { ts, open: close, high: close, low: close, close, volume: 0.0 }
}

/// Flat bars with the given closes, one a minute from 0 on.
fn minutes(closes: impl IntoIterator<Item = f64>) -> Bars {
    (0..).zip(closes).map(|(minute, close)| flat(minute * MINUTE, close)).collect()
}

/// The bars one by one, without their volumes.
fn rows(bars: &Bars) -> Vec<Bar> {
    let all = bars.as_slice();
    let bar = |row: usize| Bar {
        ts: all.ts()[row],
        open: all.open()[row],
        high: all.high()[row],
        low: all.low()[row],
        close: all.close()[row],
        volume: 0.0,
    };
    (0..bars.len()).map(bar).collect()
}

/// Features of all bars, from all bars.
fn features_of(bars: &Bars) -> Features {
    technical_features(bars.as_slice(), i64::MIN, i64::MAX).unwrap()
}

/// Features of one day, from the window a block of that day has.
fn features_of_day(bars: &Bars, day: i64, lookback: Duration) -> Features {
    let lookback = i64::try_from(lookback.as_nanos()).unwrap();
    let (from, to) = (day * DAY, (day + 1) * DAY);
    technical_features(bars.window(from - lookback, to), from, to).unwrap()
}

/// Days since the Unix epoch on which there are bars.
fn days_of(bars: &Bars) -> Vec<i64> {
    let mut days: Vec<i64> = bars.as_slice().ts().iter().map(|ts| ts.div_euclid(DAY)).collect();
    days.dedup();
    days
}

fn column<'a>(features: &'a Features, name: &str) -> &'a Float64Array {
    &features.columns[FEATURE_NAMES.iter().position(|known| *known == name).unwrap()]
}

fn values(features: &Features, name: &str) -> Vec<Option<f64>> {
    column(features, name).iter().collect()
}

fn value(array: &Float64Array, row: usize) -> Option<f64> {
    array.is_valid(row).then(|| array.value(row))
}
