//! Files of bars that are read.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, DictionaryArray, Float32Array, Int64Array, LargeStringArray, StringViewArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::Int32Type;

use super::files::{Scratch, numbers, renamed, seconds, three, with, without};
use super::reference::shared;
use crate::technical::read_bars;

fn labels(path: &Path, symbol: &str) -> Vec<i64> {
    read_bars(path).unwrap()[symbol].as_slice().ts().to_vec()
}

fn closes(path: &Path, symbol: &str) -> Vec<f64> {
    read_bars(path).unwrap()[symbol].as_slice().close().to_vec()
}

#[test]
fn bars_are_read_by_symbol_and_sorted_by_time() {
    let scratch = Scratch::of(three());
    let bars = read_bars(&scratch.0).unwrap();
    assert_eq!(bars.keys().collect::<Vec<_>>(), ["EURUSD", "USDJPY"]);
    let (euro, yen) = (bars["EURUSD"].as_slice(), &bars["USDJPY"]);
    assert_eq!(euro.ts(), [60_000_000_000, 120_000_000_000]);
    assert_eq!((euro.open(), euro.high()), (&[2.0, 1.0][..], &[5.0, 4.0][..]));
    assert_eq!((euro.low(), euro.close()), (&[1.5, 0.5][..], &[4.0, 3.0][..]));
    assert_eq!(bars["EURUSD"].volume(), [8.0, 7.0]);
    assert_eq!(bars["EURUSD"].duplicates(), 0);
    assert!(yen.volume()[0].is_nan());
}

#[test]
fn of_rows_with_one_symbol_and_time_the_last_counts() {
    let scratch = with("ts", seconds(&[60, 60, 60]));
    let bars = read_bars(&scratch.0).unwrap();
    assert_eq!(bars["EURUSD"].as_slice().close(), [4.0]);
    assert_eq!((bars["EURUSD"].duplicates(), bars["USDJPY"].duplicates()), (1, 0));
}

#[test]
fn every_unit_of_time_is_read_with_a_zone_and_without() {
    let nanos = TimestampNanosecondArray::from(vec![120_000_000_000, 0, 60_000_000_000]);
    let micros = TimestampMicrosecondArray::from(vec![120_000_000, 0, 60_000_000]);
    let millis = TimestampMillisecondArray::from(vec![120_000, 0, 60_000]);
    let columns: [ArrayRef; 5] = [
        Arc::new(nanos.clone()),
        Arc::new(nanos.with_timezone("UTC")),
        Arc::new(micros.with_timezone("UTC")),
        // A zone says how to show a time; what is stored is UTC all the same.
        Arc::new(millis.clone().with_timezone("-05:00")),
        Arc::new(millis),
    ];
    for column in columns {
        let kind = column.data_type().clone();
        let scratch = with("ts", column);
        assert_eq!(labels(&scratch.0, "EURUSD"), [60_000_000_000, 120_000_000_000], "{kind}");
    }
}

#[test]
fn time_goes_by_five_names_and_ts_comes_first() {
    for name in ["event_timestamp", "timestamp", "time", "datetime", "Datetime"] {
        assert_eq!(labels(&renamed("ts", name).0, "USDJPY"), [60_000_000_000], "{name}");
    }
    let scratch = with("time", seconds(&[1, 2, 3]));
    assert_eq!(labels(&scratch.0, "USDJPY"), [60_000_000_000]);
}

#[test]
fn a_symbol_is_any_kind_of_text() {
    let names = ["EURUSD", "USDJPY", "EURUSD"];
    let columns: [ArrayRef; 3] = [
        Arc::new(LargeStringArray::from(names.to_vec())),
        Arc::new(StringViewArray::from(names.to_vec())),
        Arc::new(names.into_iter().collect::<DictionaryArray<Int32Type>>()),
    ];
    for column in columns {
        let kind = column.data_type().clone();
        assert_eq!(closes(&with("symbol", column).0, "EURUSD"), [4.0, 3.0], "{kind}");
    }
}

#[test]
fn without_a_symbol_column_the_files_stem_is_the_symbol() {
    let scratch = without("symbol");
    let stem = scratch.0.file_stem().unwrap().to_str().unwrap();
    let bars = read_bars(&scratch.0).unwrap();
    assert_eq!(bars.keys().collect::<Vec<_>>(), [stem]);
    assert_eq!(bars[stem].as_slice().close(), [4.0, 3.0]);
    assert_eq!(bars[stem].duplicates(), 1);
}

#[test]
fn prices_are_any_kind_of_number() {
    let decimals = Decimal128Array::from(vec![110_001, 0, 110_002]);
    let columns: [(ArrayRef, [f64; 2]); 3] = [
        (Arc::new(Float32Array::from(vec![0.5, 0.0, 1.5])), [1.5, 0.5]),
        (Arc::new(Int64Array::from(vec![5, 0, 6])), [6.0, 5.0]),
        (Arc::new(decimals.with_precision_and_scale(20, 5).unwrap()), [1.10002, 1.10001]),
    ];
    for (column, expected) in columns {
        let kind = column.data_type().clone();
        assert_eq!(closes(&with("close", column).0, "EURUSD"), expected, "{kind}");
    }
}

#[test]
fn a_file_need_not_have_volumes() {
    let bars = read_bars(&without("volume").0).unwrap();
    assert!(bars["EURUSD"].volume().iter().all(|volume| volume.is_nan()));
}

#[test]
fn other_columns_and_the_case_of_names_do_not_matter() {
    let scratch = with("created_at", numbers([None, None, None]));
    assert_eq!(closes(&scratch.0, "EURUSD"), [4.0, 3.0]);
    assert_eq!(closes(&renamed("close", "Close").0, "EURUSD"), [4.0, 3.0]);
}

#[test]
fn real_files_are_read_whole() {
    let expected = [
        ("data/bars_5m_crypto_binance_2021.parquet", 14, 124_160, 300),
        ("data/bars_5m_usdcop_20251205.parquet", 1, 91_179, 300),
        ("data/bars_1m_us_equity_lean_2013.parquet", 4, 13_429, 60),
        ("data/bars_1h_us_equity_lean_1998_2021.parquet", 3, 122_476, 3_600),
    ];
    for (file, symbols, rows, step) in expected {
        let Some(path) = shared(file) else { return };
        let bars = read_bars(path).unwrap();
        assert_eq!(bars.len(), symbols, "{file}");
        assert_eq!(bars.values().map(|bars| bars.len()).sum::<usize>(), rows, "{file}");
        for bars in bars.values() {
            assert_eq!(bars.bar_length().unwrap().as_secs(), step, "{file}");
            assert_eq!(bars.duplicates(), 0, "{file}");
        }
    }
}
