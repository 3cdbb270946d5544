//! Pushed rows: which of them count, at which time, with how much history.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::Float64Type;
use larder::compute::{Features, Presence, ServiceRows};
use larder::definition::{Definitions, Environment};
use larder::model::{ServiceName, SourceName};
use larder::{EntityKey, FeatureStore, Result, TimeRange, Timestamp, ViewName};

use crate::desk::{Desk, range, symbol, time};

const DEFINITIONS: &str = r#"
[entity.symbol]
[source.quotes]
kind = "push"
event_time = "ts"
created_time = "seen"
types = { price = "double" }
[source.marks]
kind = "push"
event_time = "ts"
on_duplicate = "last"
types = { price = "double" }
[view.quotes]
entity = "symbol"
source = "quotes"
span = "hour"
ttl = "10m"
lookback = "2m"
[view.quotes.features]
price = { column = "price" }
mean = { kind = "sma", column = "price", period = 3 }
[view.marks]
entity = "symbol"
source = "marks"
[view.marks.features]
mark = { column = "price" }
[service.all]
features = ["quotes.price"]
"#;

fn open(desk: &Desk) -> Features {
    features(desk.open()).unwrap()
}

/// The features of a store.
pub fn features(store: FeatureStore) -> Result<Features> {
    let texts = [(PathBuf::from("quotes.toml"), DEFINITIONS.to_owned())];
    let definitions = Definitions::of_texts(texts, Environment::default()).unwrap();
    Features::builder(store, definitions).open()
}

fn push(features: &Features, source: &str, rows: &[(&str, &str, f64)]) {
    try_to_push(features, source, rows).unwrap();
}

/// Pushes rows of event time, the time at which they became known, and price.
pub fn try_to_push(features: &Features, source: &str, rows: &[(&str, &str, f64)]) -> Result<()> {
    let times = |of: fn(&(&str, &str, f64)) -> Timestamp| -> ArrayRef {
        Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| of(row).as_ns())))
    };
    let mut columns = vec![
        ("ts", times(|row| time(&format!("2024-03-15T{}:00Z", row.0)))),
        ("price", Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.2))) as ArrayRef),
    ];
    if source == "quotes" {
        columns.push(("seen", times(|row| time(&format!("2024-03-15T{}:00Z", row.1)))));
    }
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    features.push(&SourceName::new(source).unwrap(), &eurusd(), &rows).map(drop)
}

fn eurusd() -> EntityKey {
    symbol("EURUSD")
}

fn served(features: &Features, at: &str) -> (Presence, f64) {
    let at = time(&format!("2024-03-15T{at}Z"));
    let ServiceRows { batch, presence } =
        features.service(&ServiceName::new("all").unwrap(), &eurusd(), &[at]).unwrap();
    (presence[0][0], batch.column(1).as_primitive::<Float64Type>().value(0))
}

fn column(features: &Features, view: &str, name: &str, hour: TimeRange) -> Vec<f64> {
    try_column(features, view, name, hour).unwrap()
}

/// The values of a feature.
pub fn try_column(features: &Features, view: &str, name: &str, hour: TimeRange) -> Result<Vec<f64>> {
    let answer = features.get_or_compute(&ViewName::new(view).unwrap(), &eurusd(), hour)?;
    let batch = answer.to_batch().unwrap();
    Ok(batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().values().to_vec())
}

#[test]
fn both_ends_of_the_ttl_are_included() {
    let desk = Desk::new();
    let features = open(&desk);
    push(&features, "quotes", &[("10:00", "10:00", 1.0)]);
    assert_eq!(served(&features, "10:00:00"), (Presence::Present, 1.0));
    assert_eq!(served(&features, "10:10:00"), (Presence::Present, 1.0), "as old as it may be");
    assert_ne!(served(&features, "10:10:00.000000001").0, Presence::Present);
    assert_eq!(served(&features, "09:59:59.999999999").0, Presence::Missing);
}

#[test]
fn a_correction_counts_from_when_it_was_known() {
    let desk = Desk::new();
    let features = open(&desk);
    push(&features, "quotes", &[("10:00", "10:00", 1.0), ("10:00", "10:05", 2.0)]);
    assert_eq!(served(&features, "10:04:59"), (Presence::Present, 1.0), "of the time before it");
    assert_eq!(served(&features, "10:05:00"), (Presence::Present, 2.0));
}

#[test]
fn the_last_push_of_a_row_counts() {
    let desk = Desk::new();
    let features = open(&desk);
    let hour = range("2024-03-15T10:00:00Z", "2024-03-15T11:00:00Z");
    push(&features, "marks", &[("10:00", "", 1.0)]);
    assert_eq!(column(&features, "marks", "mark", hour), [1.0]);
    push(&features, "marks", &[("10:00", "", 2.0)]);
    assert_eq!(column(&features, "marks", "mark", hour), [2.0]);
}

#[test]
fn history_begins_with_the_row_at_its_very_beginning() {
    let desk = Desk::new();
    let features = open(&desk);
    let row = |at: &'static str, price| (at, at, price);
    push(&features, "quotes", &[row("09:58", 1.0), row("09:59", 2.0), row("10:00", 6.0)]);
    let hour = range("2024-03-15T10:00:00Z", "2024-03-15T11:00:00Z");
    assert_eq!(column(&features, "quotes", "mean", hour), [3.0], "of the row two minutes before the hour, too");
}
