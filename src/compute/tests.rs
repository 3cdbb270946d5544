use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::Float64Type;
use parquet::arrow::ArrowWriter;

use super::*;
use crate::cache::FeatureStore;
use crate::clock::ManualClock;
use crate::definition::{Definitions, Environment};
use crate::error::{Error, ErrorKind};
use crate::model::{EntityKey, Outcome, ServiceName, TimeRange, Timestamp, ViewName};

const MINUTE: i64 = 60_000_000_000;
/// 2024-03-08T00:00:00Z, a Friday.
const DAY: i64 = 1_709_856_000_000_000_000;

const BARS: &str = r#"
[entity.symbol]

[source.bars]
kind = "parquet"
path = "bars.parquet"
event_time = "ts"
label = { at = "open", bar = "1m" }

[view.momentum]
entity = "symbol"
source = "bars"
lookback = "10m"
ttl = "5m"
[view.momentum.features]
change = { kind = "change", column = "close", bars = 1, relative = false }
close = { column = "close" }
best = { sql = "max(close) OVER w" }
tripled = { function = "times", parameters = { factor = 3 } }

[view.smooth]
entity = "symbol"
source = "view:momentum"
lookback = "3m"
ttl = "5m"
[view.smooth.features]
mean_change = { kind = "sma", column = "change", period = 2 }

[view.halves]
entity = "symbol"
source = "bars"
sql = "SELECT event_timestamp, close / 2 AS half FROM source WHERE close > 1 ORDER BY event_timestamp"
[view.halves.features]
half = { column = "half" }

[on_demand.double_change]
inputs = ["momentum.change"]
sql = "change * 2"

[on_demand.over_ask]
inputs = ["momentum.close"]
request = { ask = "double" }
sql = "close - ask"

[service.model]
features = ["smooth.mean_change", "momentum.close", "double_change"]

[service.quoted]
features = ["over_ask"]
"#;

/// Bars of one minute that close at `first`, `first + 1` and so on after the beginning of the day.
fn write_bars(dir: &Path, first: i64, closes: &[f64]) {
    let times = (0..).zip(closes).map(|(at, _)| DAY + (first + at - 1) * MINUTE);
    let columns: [(&str, ArrayRef); 3] = [
        ("ts", Arc::new(TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC"))),
        ("symbol", Arc::new(StringArray::from_iter_values(closes.iter().map(|_| "A")))),
        ("close", Arc::new(Float64Array::from(closes.to_vec()))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let begun = dir.join("begun");
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&begun).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    std::fs::rename(begun, dir.join("bars.parquet")).unwrap();
}

struct Desk {
    dir: tempfile::TempDir,
    features: Features,
}

/// Features of `text` in a directory of their own, at noon of the day.
fn desk(text: &str, closes: &[f64]) -> Desk {
    let dir = tempfile::tempdir().unwrap();
    write_bars(dir.path(), 1, closes);
    let features = features(dir.path(), text).unwrap();
    Desk { dir, features }
}

fn features(dir: &Path, text: &str) -> crate::error::Result<Features> {
    let definitions = Definitions::of_texts([(dir.join("a.toml"), text.to_owned())], Environment::default())?;
    let clock = ManualClock::new(DAY + 720 * MINUTE);
    let store = FeatureStore::builder(dir.join("cache")).clock(clock).open()?;
    let times = |rows: &FunctionRows<'_>| -> crate::error::Result<ArrayRef> {
        let factor: f64 = rows.parameters["factor"].to_string().parse().unwrap();
        let closes = rows.columns.column_by_name("close").unwrap().as_primitive::<Float64Type>();
        Ok(Arc::new(closes.unary::<_, Float64Type>(|close| close * factor)))
    };
    Features::builder(store, definitions).function("times", times).open()
}

fn entity() -> EntityKey {
    EntityKey::new([("symbol", "A")]).unwrap()
}

fn view(name: &str) -> ViewName {
    ViewName::new(name).unwrap()
}

fn minutes(from: i64, to: i64) -> TimeRange {
    TimeRange::new(at(from), at(to)).unwrap()
}

fn at(minute: i64) -> Timestamp {
    Timestamp::from_ns(DAY + minute * MINUTE)
}

fn column(batch: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().iter().collect()
}

#[test]
fn a_view_mixes_columns_indicators_sql_and_functions() {
    let desk = desk(BARS, &[2.0, 5.0, 4.0]);
    // Up to the close of the last bar, and with it.
    let range = TimeRange::new(at(0), Timestamp::from_ns(at(3).as_ns() + 1)).unwrap();
    let answer = desk.features.get_or_compute(&view("momentum"), &entity(), range).unwrap();
    assert_eq!(answer.outcome(), Outcome::Miss);
    let batch = answer.to_batch().unwrap();
    assert_eq!(column(&batch, "change"), [None, Some(3.0), Some(-1.0)]);
    assert_eq!(column(&batch, "close"), [2.0, 5.0, 4.0].map(Some));
    assert_eq!(column(&batch, "best"), [2.0, 5.0, 5.0].map(Some));
    assert_eq!(column(&batch, "tripled"), [6.0, 15.0, 12.0].map(Some));
    let direct = desk.features.compute(&view("momentum"), &entity(), range).unwrap();
    assert_eq!(direct, batch);
    let again = desk.features.get_or_compute(&view("momentum"), &entity(), range).unwrap();
    assert_eq!(again.outcome(), Outcome::Hit);
}

#[test]
fn a_block_has_its_own_history_whichever_request_caused_it() {
    let falling: Vec<f64> = (0..130_i32).map(|bar| f64::from(1000 - bar)).collect();
    let desk = desk(&BARS.replacen("lookback = \"10m\"", "lookback = \"10m\"\nspan = \"hour\"", 1), &falling);
    let best = |from, to| {
        let batch = desk.features.compute(&view("momentum"), &entity(), minutes(from, to)).unwrap();
        column(&batch, "best")
    };
    let alone = best(60, 120);
    // The second hour sees ten minutes of the first, and not its dearest bar.
    assert_eq!(alone[0], Some(951.0));
    assert_eq!(best(0, 120).split_off(59), alone);
}

#[test]
fn what_the_source_does_not_have_yet_is_not_kept_as_nothing() {
    let desk = desk(BARS, &[2.0, 5.0]);
    let rows = |to| desk.features.get_or_compute(&view("momentum"), &entity(), minutes(0, to)).unwrap().num_rows();
    assert_eq!(rows(10), 2);
    write_bars(desk.dir.path(), 1, &[2.0, 5.0, 4.0, 8.0]);
    assert_eq!(rows(10), 4, "bars that came later are seen");
}

#[test]
fn a_view_may_read_another() {
    let desk = desk(BARS, &[2.0, 5.0, 4.0, 8.0]);
    let batch = desk.features.compute(&view("smooth"), &entity(), minutes(0, 5)).unwrap();
    assert_eq!(column(&batch, "mean_change"), [None, None, Some(1.0), Some(1.5)]);
    let answer = desk.features.get_or_compute(&view("smooth"), &entity(), minutes(0, 5)).unwrap();
    assert_eq!(answer.to_batch().unwrap(), batch);
    let requests = desk.features.store().slo().windows[0].requests;
    assert_eq!(requests, 1, "what a view reads of another is nobody's request");
}

#[test]
fn a_query_makes_the_rows() {
    let desk = desk(BARS, &[2.0, 0.5, 4.0]);
    let batch = desk.features.compute(&view("halves"), &entity(), minutes(0, 4)).unwrap();
    assert_eq!(column(&batch, "half"), [1.0, 2.0].map(Some));
}

#[test]
fn a_service_has_the_newest_values_that_are_young_enough() {
    let desk = desk(BARS, &[2.0, 5.0, 4.0]);
    let service = ServiceName::new("model").unwrap();
    let times = [0, 1, 2, 3, 8, 9].map(at);
    let rows = desk.features.service(&service, &entity(), &times).unwrap();
    let names: Vec<_> = rows.batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["event_timestamp", "mean_change", "close", "double_change"]);
    assert_eq!(column(&rows.batch, "close"), [None, Some(2.0), Some(5.0), Some(4.0), Some(4.0), None]);
    assert_eq!(column(&rows.batch, "double_change"), [None, None, Some(6.0), Some(-2.0), Some(-2.0), None]);
    use Presence::{Expired, Missing, Null, Present};
    assert_eq!(rows.presence[1], [Missing, Present, Present, Present, Present, Expired]);
    assert_eq!(rows.presence[0], [Missing, Null, Null, Present, Present, Expired]);
    assert_eq!(rows.presence[2], [Missing, Null, Present, Present, Present, Expired]);
    let own = desk.features.service_times(&service, &entity(), minutes(0, 9)).unwrap();
    assert_eq!(own, [1, 2, 3].map(at));
}

#[test]
fn times_of_a_service_increase() {
    let desk = desk(BARS, &[2.0]);
    let error = desk.features.service(&ServiceName::new("model").unwrap(), &entity(), &[at(2), at(1)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("give the times in order"), "{error}");
}

#[test]
fn what_does_not_hold_is_named_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    write_bars(dir.path(), 1, &[2.0]);
    let opened = |from: &str, to: &str| -> Error {
        assert!(BARS.contains(from));
        match features(dir.path(), &BARS.replace(from, to)) {
            Err(error) => error,
            Ok(features) => features.check().unwrap_err(),
        }
    };
    let cases = [
        ("function = \"times\"", "function = \"time\"", "function time is not registered in this program (times are)"),
        ("max(close) OVER w", "max(close) OVER", "view momentum: feature best: sql: "),
        ("max(close) OVER w", "random()", "random is not the same each time"),
        ("close / 2 AS half FROM source", "close / 2 AS half FROM bars", "it reads the table bars"),
        ("sql = \"change * 2\"", "sql = \"change * \"", "on-demand feature double_change: sql: "),
        ("sql = \"change * 2\"", "sql = \"chang * 2\"", "Referenced column \"chang\" not found"),
        ("sql = \"close - ask\"", "sql = \"close - ask - bid\"", "on-demand feature over_ask: its SQL fails: "),
        (
            "close = { column = \"close\" }",
            "close = { column = \"clos\" }",
            "feature close: the rows have no column \"clos\": they have ts, symbol, close",
        ),
    ];
    for (from, to, part) in cases {
        let error = opened(from, to);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        let message = error.to_string();
        assert!(message.contains(part) && message.contains("a.toml:"), "{part}: {message}");
    }
}

#[test]
fn a_compute_that_fails_names_the_view_and_the_feature() {
    let text = BARS.replace("max(close) OVER w", "CAST('x' || close AS INTEGER)");
    let desk = desk(&text, &[2.0]);
    let error = desk.features.get_or_compute(&view("momentum"), &entity(), minutes(0, 2)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Compute);
    let message = error.to_string();
    assert!(
        message.contains("view momentum") && message.contains("feature best") && message.contains("x2.0"),
        "{message}"
    );
}

#[test]
fn sql_that_runs_for_ever_is_ended_with_the_names_of_view_and_feature() {
    let dir = tempfile::tempdir().unwrap();
    write_bars(dir.path(), 1, &[2.0]);
    let endless = "(SELECT count(*) FROM range(10000000000) a, range(10000000000) b)";
    let text = r#"
[entity.symbol]
[source.bars]
kind = "parquet"
path = "bars.parquet"
event_time = "ts"
[view.v]
entity = "symbol"
source = "bars"
sql = "SELECT event_timestamp, ROWS AS x FROM source"
[view.v.features]
x = { column = "x" }
[view.f]
entity = "symbol"
source = "bars"
[view.f.features]
x = { sql = "close + ROWS" }
"#;
    let text = text.replace("ROWS", endless);
    let definitions = Definitions::of_texts([(dir.path().join("a.toml"), text)], Environment::default()).unwrap();
    let mut settings = crate::config::Settings::default();
    settings.compute.query_timeout = Duration::from_millis(50);
    let store = FeatureStore::builder(dir.path().join("cache")).settings(settings).open().unwrap();
    let features = Features::builder(store, definitions).open().unwrap();
    for (name, said) in [("v", "view v: its SQL was not done within 50ms"), ("f", "view f: feature x: its SQL was not")]
    {
        let error = features.compute(&view(name), &entity(), minutes(0, 2)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Compute);
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn a_source_that_is_away_harms_only_those_who_need_it() {
    let dir = tempfile::tempdir().unwrap();
    let features = features(dir.path(), BARS).unwrap();
    let error = features.get_or_compute(&view("momentum"), &entity(), minutes(0, 2)).err().unwrap();
    assert!(error.to_string().contains("bars"), "{error}");
    write_bars(dir.path(), 1, &[2.0]);
    // The failure is not asked for again within its back-off; computing directly is.
    assert_eq!(features.compute(&view("momentum"), &entity(), minutes(0, 2)).unwrap().num_rows(), 1);
}

#[test]
fn names_that_are_not_defined_are_not_found() {
    let desk = desk(BARS, &[2.0]);
    let no_view = desk.features.get_or_compute(&view("momentun"), &entity(), minutes(0, 2)).err().unwrap();
    assert_eq!(no_view.kind(), ErrorKind::NotFound);
    assert!(no_view.to_string().contains("halves, momentum, smooth"), "{no_view}");
    let no_service = desk.features.service(&ServiceName::new("modell").unwrap(), &entity(), &[at(1)]).unwrap_err();
    assert!(no_service.to_string().contains("the services are model"), "{no_service}");
}

/// The shipped example on the real bars, where they are.
#[test]
fn a_day_alone_is_the_same_day_of_a_year() {
    let data = crate::checkout::path("../shared/data");
    if !data.is_dir() {
        println!("there are no bars at {}", data.display());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let environment = [("MARKET_DATA".to_owned(), data.to_str().unwrap().to_owned())].into_iter().collect();
    let definitions = Definitions::read(&crate::checkout::path("config/features"), environment).unwrap();
    let store = FeatureStore::builder(dir.path().join("cache")).open().unwrap();
    let features = Features::builder(store, definitions).open().unwrap();
    let entity = EntityKey::new([("symbol", "USD/COP")]).unwrap();
    let range = |from, to| TimeRange::parse(from, to).unwrap();
    for name in ["technical_features", "macro_features"] {
        let year = features.warm(&view(name), &entity, range("2024-11-01", "2025-12-01")).unwrap();
        for (from, to) in [("2025-03-04", "2025-03-05"), ("2025-11-06", "2025-11-07"), ("2025-10-31", "2025-11-05")] {
            let day = features.compute(&view(name), &entity, range(from, to)).unwrap();
            assert!(day.num_rows() > 0, "{name} {from}");
            let cut = features.store().get(&features.view(&view(name)).unwrap(), &entity, range(from, to)).unwrap();
            assert_eq!(cut.unwrap().to_batch().unwrap(), day, "{name} {from}");
        }
        assert_eq!(year.outcome(), Outcome::Miss);
    }
}

#[test]
fn what_only_a_request_knows_comes_with_it() {
    let desk = desk(BARS, &[1.0, 2.0, 4.0]);
    let quoted = ServiceName::new("quoted").unwrap();
    let at = [1, 2, 3].map(at);
    let ask = |asks: ArrayRef| RecordBatch::try_from_iter_with_nullable([("ask", asks, true)]).unwrap();
    let asks = ask(Arc::new(Float64Array::from(vec![Some(0.5), None, Some(1.0)])));
    let rows = desk.features.service_with(&quoted, &entity(), &at, &asks).unwrap();
    assert_eq!(column(&rows.batch, "over_ask"), [Some(0.5), None, Some(3.0)]);
    assert_eq!(rows.presence[0], [Presence::Present, Presence::Null, Presence::Present]);
    let texts = ask(Arc::new(StringArray::from(vec!["1", "2", "3"])));
    let rows = desk.features.service_with(&quoted, &entity(), &at, &texts).unwrap();
    assert_eq!(column(&rows.batch, "over_ask"), [Some(0.0), Some(0.0), Some(1.0)]);

    let refused = |service: &str, request: &RecordBatch| {
        let service = ServiceName::new(service).unwrap();
        desk.features.service_with(&service, &entity(), &at, request).unwrap_err().to_string()
    };
    let needs = "on-demand feature over_ask needs ask, a double, from the request: ";
    assert_eq!(
        desk.features.service(&quoted, &entity(), &at).unwrap_err().to_string(),
        format!("{needs}it is not there")
    );
    let words = ask(Arc::new(StringArray::from(vec!["1", "x", "3"])));
    assert!(refused("quoted", &words).starts_with(needs), "{}", refused("quoted", &words));
    assert_eq!(refused("quoted", &asks.slice(0, 2)), "the request has 2 rows for 3 times: give one for each");
    assert_eq!(refused("model", &asks), "service model needs nothing from the request, not ask");
}

#[test]
fn nothing_is_computed_from_what_is_only_answered_for_want_of_better() {
    let text =
        BARS.replace("[view.momentum.features]", "max_age = \"1h\"\nmax_stale = \"10d\"\n[view.momentum.features]");
    let dir = tempfile::tempdir().unwrap();
    write_bars(dir.path(), 1, &[1.0, 2.0, 4.0]);
    let clock = Arc::new(ManualClock::new(DAY + 720 * MINUTE));
    let store = FeatureStore::builder(dir.path().join("cache")).clock(Arc::clone(&clock)).open().unwrap();
    let definitions = Definitions::of_texts([(dir.path().join("a.toml"), text)], Environment::default()).unwrap();
    let times = |rows: &FunctionRows<'_>| -> crate::error::Result<ArrayRef> {
        Ok(rows.columns.column_by_name("close").unwrap().clone())
    };
    let features = Features::builder(store, definitions).function("times", times).open().unwrap();
    // All of what the source has, and so within what is kept of it.
    let range = TimeRange::new(at(0), Timestamp::from_ns(at(3).as_ns() + 1)).unwrap();
    features.get_or_compute(&view("momentum"), &entity(), range).unwrap();
    clock.set(DAY + 960 * MINUTE);
    std::fs::remove_file(dir.path().join("bars.parquet")).unwrap();
    let old = features.get_or_compute(&view("momentum"), &entity(), range).unwrap();
    assert_eq!(old.outcome(), Outcome::Fallback);
    assert!(features.get_or_compute(&view("smooth"), &entity(), range).is_err());
}
