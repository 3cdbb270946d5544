//! Files of bars that are refused, and what the refusal says.

use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, TimestampSecondArray};

use super::files::{Scratch, numbers, seconds, three, with, without};
use crate::technical::{BarsError, read_bars};

/// What the refusal says after the name of the file.
fn refusal(scratch: &Scratch) -> String {
    let message = read_bars(&scratch.0).unwrap_err().to_string();
    let file = format!("bars file {}", scratch.0.display());
    message.strip_prefix(&file).expect(&message).to_owned()
}

#[test]
fn a_missing_file_cannot_be_opened() {
    let scratch = Scratch::new();
    let error = read_bars(&scratch.0).unwrap_err();
    assert!(matches!(error, BarsError::Open { .. }));
    assert!(refusal(&scratch).starts_with(" cannot be opened: "));
}

#[test]
fn a_text_file_is_not_parquet() {
    let scratch = Scratch::new();
    fs::write(&scratch.0, "ts,open,high,low,close\n").unwrap();
    assert!(refusal(&scratch).starts_with(" is not a readable Parquet file: "));
}

#[test]
fn a_file_cut_short_is_not_parquet() {
    let scratch = Scratch::of(three());
    let bytes = fs::read(&scratch.0).unwrap();
    fs::write(&scratch.0, &bytes[..bytes.len() - 9]).unwrap();
    assert!(refusal(&scratch).starts_with(" is not a readable Parquet file: "));
}

#[test]
fn a_file_with_spoilt_pages_is_damaged() {
    let scratch = Scratch::of(three());
    let mut bytes = fs::read(&scratch.0).unwrap();
    bytes[4..60].fill(0xff);
    fs::write(&scratch.0, &bytes).unwrap();
    assert!(refusal(&scratch).starts_with(" is damaged"));
}

#[test]
fn a_missing_column_is_named_with_those_needed_and_those_there() {
    assert_eq!(
        refusal(&without("close")),
        " has no column \"close\": bars need a time (ts or event_timestamp or timestamp or time or \
         datetime), open, high, low and close, and may have symbol and volume; this file has \
         symbol, ts, open, high, low, volume"
    );
    assert!(refusal(&without("ts")).starts_with(" has no column \"ts\": "));
}

#[test]
fn a_column_of_the_wrong_type_is_named_with_both_types() {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["1.0", "2.0", "3.0"]));
    let found = refusal(&with("low", text.clone()));
    assert_eq!(found, ": column \"low\" is Utf8, needed is a number");
    let found = refusal(&with("ts", text));
    assert_eq!(found, ": column \"ts\" is Utf8, needed is a timestamp");
    let found = refusal(&with("symbol", numbers([Some(1.0), None, None])));
    assert_eq!(found, ": column \"symbol\" is Float64, needed is text");
}

#[test]
fn a_time_that_nanoseconds_cannot_hold_is_not_a_null() {
    let found = refusal(&with("ts", seconds(&[60, i64::MAX / 1_000, 60])));
    assert!(found.starts_with(": column \"ts\" cannot be read: "), "{found}");
}

#[test]
fn a_null_price_is_named_with_its_row_and_symbol() {
    let found = refusal(&with("high", numbers([Some(4.0), None, Some(5.0)])));
    assert_eq!(found, ": column \"high\" is null in row 1 (the first is 0), symbol \"USDJPY\"");
}

#[test]
fn a_null_time_is_named_with_its_row_and_symbol() {
    let times = TimestampSecondArray::from(vec![Some(1), Some(2), None]);
    let found = refusal(&with("ts", Arc::new(times)));
    assert_eq!(found, ": column \"ts\" is null in row 2 (the first is 0), symbol \"EURUSD\"");
}

#[test]
fn a_null_symbol_is_named_with_its_row() {
    let symbols = StringArray::from(vec![Some("EURUSD"), None, Some("EURUSD")]);
    let found = refusal(&with("symbol", Arc::new(symbols)));
    assert_eq!(found, ": row 1 (the first is 0) has no symbol");
}

#[test]
fn a_price_that_is_no_number_is_named_with_its_row_and_symbol() {
    let found = refusal(&with("close", numbers([Some(4.0), Some(f64::NAN), Some(5.0)])));
    assert_eq!(found, ": column \"close\" is NaN in row 1 (the first is 0), symbol \"USDJPY\"");
    let found = refusal(&with("open", numbers([Some(4.0), Some(5.0), Some(f64::INFINITY)])));
    assert_eq!(found, ": column \"open\" is inf in row 2 (the first is 0), symbol \"EURUSD\"");
}

#[test]
fn a_row_is_counted_from_the_start_of_the_file_and_not_of_a_batch() {
    let count = 5_000;
    let mut prices = vec![Some(1.0); count];
    prices[4_321] = None;
    let price = numbers(prices);
    let times = seconds(&(0..5_000).collect::<Vec<_>>());
    let names = ["open", "high", "low", "close"].map(|name| (name, price.clone()));
    let scratch = Scratch::of([vec![("ts", times)], names.into()].concat());
    assert!(refusal(&scratch).contains("\"open\" is null in row 4321 "));
}

#[test]
fn a_file_without_rows_is_refused() {
    let none = three().into_iter().map(|(name, column)| (name, column.slice(0, 0)));
    assert_eq!(refusal(&Scratch::of(none.collect())), " has no rows");
}
