//! Against TA-Lib's own output over real bars.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

use arrow::array::{AsArray, Float64Array};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampNanosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{column, days_of, features_of, features_of_day, rows, value};
use crate::checkout;
use crate::technical::{Bars, FEATURE_NAMES, Features, MIN_BARS, lookback_for, read_bars};

const TOLERANCE: f64 = 1e-9;

/// Real bars and TA-Lib's output over them lie beside the project, where there are any.
pub(super) fn shared(file: &str) -> Option<PathBuf> {
    let path = checkout::path("../shared").join(file);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

/// One symbol of a reference file: times, and columns as long as these.
struct Reference {
    ts: Vec<i64>,
    columns: BTreeMap<String, Float64Array>,
}

fn reference(file: &str, symbol: &str) -> Option<Reference> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(shared(file)?).unwrap());
    let reader = reader.unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    let all = concat_batches(&schema, &batches).unwrap();
    let symbols = cast(all.column_by_name("symbol").unwrap(), &DataType::Utf8).unwrap();
    let symbols = symbols.as_string::<i32>();
    let mine: Vec<usize> = (0..all.num_rows()).filter(|row| symbols.value(*row) == symbol).collect();
    let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let ts = cast(all.column_by_name("ts").unwrap(), &nanos).unwrap();
    let ts = ts.as_primitive::<TimestampNanosecondType>();
    let mut columns = BTreeMap::new();
    for (field, column) in schema.fields().iter().zip(all.columns()) {
        if field.data_type() == &DataType::Float64 {
            let column = column.as_primitive::<Float64Type>();
            let valid = |row: &usize| value(column, *row);
            columns.insert(field.name().clone(), mine.iter().map(valid).collect());
        }
    }
    Some(Reference { ts: mine.iter().map(|row| ts.value(*row)).collect(), columns })
}

const CRYPTO: (&str, &str) = ("data/bars_5m_crypto_binance_2021.parquet", "reference/talib_crypto_5m.parquet");
const PESO: (&str, &str) = ("data/bars_5m_usdcop_20251205.parquet", "reference/talib_usdcop_5m.parquet");

/// Panics unless a symbol's features, each day from its own window, are TA-Lib's over all history.
fn assert_equals_talib((bars_file, reference_file): (&str, &str), symbol: &str) {
    let (Some(bars_path), Some(reference)) = (shared(bars_file), reference(reference_file, symbol)) else {
        return;
    };
    let by_symbol = read_bars(bars_path).unwrap();
    let lookback = lookback_for(by_symbol.values(), MIN_BARS);
    let known = rows(&by_symbol[symbol]).into_iter().take(reference.ts.len());
    let bars: Bars = known.collect();
    assert_eq!(bars.as_slice().ts(), reference.ts);

    let days: Vec<Features> = days_of(&bars).into_iter().map(|day| features_of_day(&bars, day, lookback)).collect();
    for (name, theirs) in [("rsi_9", "rsi_9"), ("atr_pct", "atr_pct_14"), ("adx_14", "adx_14")] {
        let ours = days.iter().flat_map(|day| column(day, name).iter());
        let worst = worst_deviation(ours, &reference.columns[theirs]);
        println!("{symbol} {name}: worst relative deviation {worst:.1e}");
        assert!(worst <= TOLERANCE, "{symbol} {name}: {worst:e}");
    }
    let ours = days.iter().flat_map(|day| column(day, "close_z_20").iter());
    assert_close_z(symbol, ours, &bars, &reference);
}

/// Panics unless both are null on the same rows.
fn worst_deviation(ours: impl Iterator<Item = Option<f64>>, theirs: &Float64Array) -> f64 {
    let mut worst = 0.0f64;
    let mut rows = 0;
    for (row, ours) in ours.enumerate() {
        match (ours, value(theirs, row)) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                worst = worst.max((ours - theirs).abs() / theirs.abs());
            }
            (ours, theirs) => assert_eq!(ours, theirs, "row {row}"),
        }
        rows += 1;
    }
    assert_eq!(rows, theirs.len());
    worst
}

/// TA-Lib has no such function: its close, mean and deviation, put together.
fn assert_close_z(symbol: &str, ours: impl Iterator<Item = Option<f64>>, bars: &Bars, reference: &Reference) {
    let (means, deviations) = (&reference.columns["sma_20"], &reference.columns["std_20"]);
    let mut worst = 0.0f64;
    for (row, ours) in ours.enumerate() {
        let close = bars.as_slice().close()[row];
        let theirs = match (value(means, row), value(deviations, row)) {
            (Some(mean), Some(deviation)) if deviation > 0.0 => Some((close - mean) / deviation),
            _ => None,
        };
        match (ours, theirs) {
            // The mean of the reference has lost digits where the close is near it: not relative.
            (Some(ours), Some(theirs)) => worst = worst.max((ours - theirs).abs()),
            _ => assert_eq!(ours, theirs, "{symbol} row {row}"),
        }
    }
    println!("{symbol} close_z_20: worst absolute deviation {worst:.1e}");
    assert!(worst <= TOLERANCE, "{symbol} close_z_20: {worst:e}");
}

#[test]
fn ether_day_by_day_is_what_talib_says_over_all_history() {
    assert_equals_talib(CRYPTO, "ETH/USDT");
}

#[test]
fn ada_day_by_day_is_what_talib_says_over_all_history() {
    assert_equals_talib(CRYPTO, "ADA/USDT");
}

#[test]
fn peso_day_by_day_is_what_talib_says_over_all_history() {
    assert_equals_talib(PESO, "USD/COP");
}

#[test]
fn every_symbol_day_by_day_is_what_all_its_history_gives() {
    for file in
        [CRYPTO.0, PESO.0, "data/bars_1m_us_equity_lean_2013.parquet", "data/bars_1h_us_equity_lean_1998_2021.parquet"]
    {
        let Some(path) = shared(file) else { return };
        let by_symbol = read_bars(path).unwrap();
        let lookback = lookback_for(by_symbol.values(), MIN_BARS);
        let mut worst = [0.0f64; 7];
        for bars in by_symbol.values() {
            let (days, whole) = (days_of(bars), features_of(bars));
            let days: Vec<_> = days.into_iter().map(|day| features_of_day(bars, day, lookback)).collect();
            for (name, worst) in FEATURE_NAMES.into_iter().zip(&mut worst) {
                let ours = days.iter().flat_map(|day| column(day, name).iter());
                *worst = worst.max(worst_deviation(ours, column(&whole, name)));
            }
        }
        println!("{file}, lookback {} days: {worst:?}", lookback.as_secs() / 86_400);
        assert!(worst.iter().all(|worst| *worst <= TOLERANCE), "{file}: {worst:?}");
    }
}

#[test]
#[ignore = "measures: cargo test --release --all-features --lib a_month_of -- --ignored --nocapture"]
fn a_month_of_five_minute_bars_takes_milliseconds() {
    let Some(path) = shared(CRYPTO.0) else { return };
    let by_symbol = read_bars(path).unwrap();
    let lookback = lookback_for(by_symbol.values(), MIN_BARS);
    let bars = &by_symbol["ETH/USDT"];
    let days = days_of(bars);
    let begun = Instant::now();
    let mut rows = 0;
    for _ in 0..20 {
        rows = days.iter().map(|day| features_of_day(bars, *day, lookback).ts.len()).sum();
    }
    println!("{rows} rows, {} days: {:?}", days.len(), begun.elapsed() / 20);
    assert_eq!(rows, bars.len());
}
