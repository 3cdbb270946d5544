use std::fmt::Write;
use std::path::Path;

use super::*;
use crate::cache::FeatureStore;
use crate::definition::{Definitions, Environment};

const BARS: &str = r#"
[entity.symbol]

[source.bars]
kind = "csv"
path = "bars.csv"
event_time = "time"
types = { close = "double" }
"#;

/// Bars of a minute over three days that go up and down.
fn write_bars(dir: &Path) {
    let mut csv = "symbol,time,close\n".to_owned();
    for minute in 0..3 * 1440 {
        let (day, of_day) = (5 + minute / 1440, minute % 1440);
        let close = 100.0 + f64::from(minute * 7919 % 997) / 10.0;
        writeln!(csv, "A,2024-03-{day:02} {:02}:{:02}:00,{close}", of_day / 60, of_day % 60).unwrap();
    }
    std::fs::write(dir.join("bars.csv"), csv).unwrap();
}

fn validate(view: &str) -> Validation {
    let dir = tempfile::tempdir().unwrap();
    write_bars(dir.path());
    let store = FeatureStore::builder(dir.path().join("cache")).open().unwrap();
    let text = format!("{BARS}\n[view.v]\nentity = \"symbol\"\nsource = \"bars\"\n{view}");
    let definitions = Definitions::of_texts([(dir.path().join("v.toml"), text)], Environment::default()).unwrap();
    let features = Features::builder(store, definitions).open().unwrap();
    features.validate(&ViewName::new("v").unwrap()).unwrap()
}

fn lookback(validation: &Validation, feature: &str) -> Option<u64> {
    let found = validation.findings.iter().find(|found| found.feature.as_ref().is_some_and(|f| f.as_str() == feature));
    match &found.unwrap_or_else(|| panic!("{validation:?}")).reason {
        Reason::Lookback { needed_seconds, .. } => *needed_seconds,
        Reason::Future { .. } => panic!("{validation:?}"),
    }
}

#[test]
fn a_view_with_all_the_history_that_it_needs_has_no_finding() {
    let validation = validate(
        "lookback = \"30m\"\n[view.v.features]\nsma_20 = { kind = \"sma\", column = \"close\", period = 20 }\n\
         change_5m = { kind = \"change\", column = \"close\", over = \"5m\" }\nclose = { column = \"close\" }",
    );
    assert_eq!(validation.findings, []);
    assert_eq!((validation.blocks, validation.rows), (3, 3 * 1440));
}

#[test]
fn a_lookback_that_is_too_short_is_told_with_the_one_that_would_do() {
    let validation = validate(
        "lookback = \"10m\"\n[view.v.features]\nsma_20 = { kind = \"sma\", column = \"close\", period = 20 }\n\
         sma_5 = { kind = \"sma\", column = \"close\", period = 5 }\n\
         ema_10 = { kind = \"ema\", column = \"close\", period = 10 }",
    );
    let names: Vec<_> = validation.findings.iter().map(|found| found.feature.as_ref().unwrap().as_str()).collect();
    assert_eq!(names, ["sma_20", "ema_10"]);
    // 20 rows, one of which is the block's own, in steps of a thousandth of ten days.
    let needed = lookback(&validation, "sma_20").unwrap();
    assert!((19 * 60..19 * 60 + 900).contains(&needed), "{needed}");
    // (9 / 11) ^ n < 1e-9 from about 103 rows on.
    let needed = lookback(&validation, "ema_10").unwrap();
    assert!((80 * 60..125 * 60).contains(&needed), "{needed}");
}

#[test]
fn what_all_of_the_past_changes_has_no_lookback() {
    let validation = validate(
        "lookback = \"1h\"\n[view.v.features]\nsum = { sql = \"sum(close) OVER (ORDER BY event_timestamp)\" }",
    );
    assert_eq!(lookback(&validation, "sum"), None, "{validation:?}");
}

#[test]
fn rows_that_depend_on_history_are_told() {
    let validation = validate(
        "lookback = \"2m\"\nsql = \"SELECT event_timestamp, close FROM source QUALIFY row_number() OVER (ORDER BY \
         event_timestamp) % 7 = 0 ORDER BY event_timestamp\"\n[view.v.features]\nclose = { column = \"close\" }",
    );
    let first = &validation.findings[0];
    assert_eq!((&first.feature, matches!(first.reason, Reason::Lookback { .. })), (&None, true), "{validation:?}");
    assert!(first.value != first.otherwise, "{first:?}");
}

#[test]
fn a_value_that_depends_on_what_came_after_it_is_told() {
    let validation = validate(
        "[view.v.features]\nclose = { column = \"close\" }\n\
         next = { sql = \"lead(close) OVER (ORDER BY event_timestamp)\" }\n\
         best = { sql = \"max(close) OVER (ORDER BY event_timestamp ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)\" }\n\
         count = { sql = \"count(*) OVER ()\" }",
    );
    let futures = validation.findings.iter().filter(|found| matches!(found.reason, Reason::Future { .. }));
    let names: Vec<_> = futures.map(|found| found.feature.as_ref().unwrap().as_str()).collect();
    assert_eq!(names, ["next", "count", "best"], "{validation:?}");
}
