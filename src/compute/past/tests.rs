//! Services at times in the past, against stores without any block whose sources hold what was known then and nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::Float64Type;
use parquet::arrow::ArrowWriter;

use super::super::{Presence, ServiceRows};
use super::*;
use crate::cache::FeatureStore;
use crate::clock::ManualClock;
use crate::definition::{Definitions, Environment, FeatureReference, ServiceFeature};
use crate::model::{ServiceName, SourceName, ViewName};

const MINUTE: i64 = 60_000_000_000;
/// 2024-03-08T00:00:00Z.
const DAY: i64 = 1_709_856_000_000_000_000;
const NOON: i64 = 720;

const WIDE: &str = r#"
kind = "parquet"
path = "rows.parquet"
event_time = "ts"
created_time = "seen"
label = { at = "open", bar = "1m" }
valid = { a = { min = 0, on_violation = "drop" } }
fill = { method = "last", within = "20m" }
"#;
const LONG: &str = r#"
kind = "parquet"
path = "rows.parquet"
event_time = "ts"
created_time = "seen"
label = { at = "open", bar = "1m" }
keys = {}
layout = { long = { name = "series", value = "value" } }
columns = { a = "one", b = "two" }
valid = { a = { min = 0, on_violation = "null" } }
fill = { method = "last", within = "20m" }
"#;
const PUSHED: &str = r#"
kind = "push"
event_time = "ts"
created_time = "seen"
types = { a = "double", b = "double" }
valid = { a = { min = 0, on_violation = "drop" } }
"#;
const VIEWS: &str = r#"
[view.plain]
entity = "symbol"
source = "rows"
span = "hour"
ttl = "30m"
[view.plain.features]
a = { column = "a" }
b = { column = "b" }

[view.momentum]
entity = "symbol"
source = "rows"
span = "hour"
lookback = "25m"
ttl = "20m"
[view.momentum.features]
change = { kind = "change", column = "b", bars = 1, relative = false }
ema_3 = { kind = "ema", column = "a", period = 3 }
best = { sql = "max(a) OVER w" }

[view.smooth]
entity = "symbol"
source = "view:momentum"
span = "hour"
lookback = "15m"
ttl = "40m"
[view.smooth.features]
mean = { kind = "sma", column = "best", period = 2 }
same = { column = "change" }

[view.picked]
entity = "symbol"
source = "rows"
ttl = "30m"
lookback = "10m"
sql = "SELECT event_timestamp, a, b FROM source WHERE a > 40 ORDER BY event_timestamp"
[view.picked.features]
picked_a = { column = "a" }

[view.delayed]
entity = "symbol"
source = "rows"
span = "hour"
lookback = "10m"
ttl = "30m"
sql = "SELECT CAST(event_timestamp AS TIMESTAMP) + INTERVAL 3 MINUTE AS event_timestamp, b FROM source ORDER BY 1"
[view.delayed.features]
delayed_b = { column = "b" }

[view.above]
entity = "symbol"
source = "view:delayed"
span = "hour"
ttl = "30m"
[view.above.features]
above_b = { column = "delayed_b" }

[service.all]
features = [
    "plain.a", "plain.b", "momentum.change", "momentum.ema_3", "momentum.best", "smooth.mean", "smooth.same",
    "picked.picked_a", "delayed.delayed_b", "above.above_b",
]
"#;

/// A version of a row: the minutes of the day at which its bar opened and at which it became known, if it says so.
#[derive(Debug, Clone, Copy)]
struct Row {
    minute: i64,
    seen: Option<i64>,
    a: Option<f64>,
    b: Option<f64>,
}

impl Row {
    fn is_known(&self, at: i64, closes_after: i64) -> bool {
        self.seen.unwrap_or(self.minute + closes_after) <= at
    }
}

fn time(minute: i64) -> i64 {
    DAY + minute * MINUTE
}

/// Rows of four hours: most become known soon, some late, some are corrected, once or twice.
fn random_history(seed: u64, says_when: bool) -> Vec<Row> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut below = |n: i64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as i64 % n
    };
    let mut rows = Vec::new();
    let mut minute = 300;
    while minute < 540 {
        minute += 1 + below(6);
        for version in 0..1 + below(5) / 3 {
            let delay = if version == 0 && below(6) > 0 { below(3) + 1 } else { below(90) };
            let value = |number: i64| if number < 8 { None } else { Some(number as f64 * 1.1 - 12.0) };
            let seen = (says_when || below(12) > 0).then_some(minute + delay);
            rows.push(Row { minute, seen, a: value(below(100)), b: value(below(100)) });
        }
    }
    rows
}

fn batch(rows: &[Row]) -> RecordBatch {
    let seen = rows.iter().map(|row| row.seen.map(time)).collect::<TimestampNanosecondArray>();
    let times = TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| time(row.minute)));
    let columns: [(&str, ArrayRef, bool); 5] = [
        ("ts", Arc::new(times.with_timezone("UTC")), true),
        ("seen", Arc::new(seen.with_timezone("UTC")), true),
        ("symbol", Arc::new(StringArray::from_iter_values(rows.iter().map(|_| "A"))), true),
        ("a", Arc::new(rows.iter().map(|row| row.a).collect::<Float64Array>()), true),
        ("b", Arc::new(rows.iter().map(|row| row.b).collect::<Float64Array>()), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// The same, a row for each value; `b` has none where it is null.
fn long_batch(rows: &[Row]) -> RecordBatch {
    let one = rows.iter().map(|row| (row, "one", row.a));
    let two = rows.iter().filter(|row| row.b.is_some()).map(|row| (row, "two", row.b));
    let cells: Vec<_> = one.chain(two).collect();
    let wide = batch(&cells.iter().map(|(row, ..)| **row).collect::<Vec<_>>());
    let columns: [(&str, ArrayRef, bool); 4] = [
        ("ts", wide.column(0).clone(), true),
        ("seen", wide.column(1).clone(), true),
        ("series", Arc::new(StringArray::from_iter_values(cells.iter().map(|(_, name, _)| *name))), true),
        ("value", Arc::new(cells.iter().map(|(.., value)| *value).collect::<Float64Array>()), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn write(path: &Path, batch: &RecordBatch) {
    let begun = path.with_extension("begun");
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&begun).unwrap(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    std::fs::rename(begun, path).unwrap();
}

struct Desk {
    dir: tempfile::TempDir,
    features: Features,
    clock: Arc<ManualClock>,
    source: &'static str,
}

impl Desk {
    fn new(source: &'static str, views: &str, rows: &[Row]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("[entity.symbol]\n[source.rows]\n{source}\n{views}");
        let clock = Arc::new(ManualClock::new(time(NOON)));
        let store = FeatureStore::builder(dir.path().join("cache")).clock(Arc::clone(&clock)).open().unwrap();
        let definitions = Definitions::of_texts([(dir.path().join("a.toml"), text)], Environment::default()).unwrap();
        let features = Features::builder(store, definitions).open().unwrap();
        let desk = Self { dir, features, clock, source };
        desk.add(rows);
        desk
    }

    /// Of a source in a file, these rows are all there are.
    fn add(&self, rows: &[Row]) {
        let path = self.dir.path().join("rows.parquet");
        match self.source {
            PUSHED => {
                let batch = batch(rows).project(&[0, 1, 3, 4]).unwrap();
                self.features.push(&SourceName::new("rows").unwrap(), &entity(), &batch).unwrap();
            }
            LONG => write(&path, &long_batch(rows)),
            _ => write(&path, &batch(rows)),
        }
    }

    /// Has these rows and nothing that was computed from others. Pushed rows stay, and are among these.
    fn forget(&self, rows: &[Row]) {
        self.add(rows);
        for view in self.features.definitions().views().keys() {
            self.features.store().invalidate_view(&self.features.view(view).unwrap()).unwrap();
        }
    }

    fn service(&self, at: &[i64]) -> Result<ServiceRows> {
        let at: Vec<_> = at.iter().map(|minute| Timestamp::from_ns(time(*minute))).collect();
        self.features.service(&ServiceName::new("all").unwrap(), &entity(), &at)
    }

    fn one(&self, at: i64) -> Option<f64> {
        self.service(&[at]).unwrap().batch.column(1).as_primitive::<Float64Type>().iter().next().unwrap()
    }

    /// The rows of a view from a minute up to another, which is included.
    fn rows(&self, view: &ViewName, from: i64, to: i64) -> Frame {
        let range = TimeRange::new(Timestamp::from_ns(from), Timestamp::from_ns(time(to) + 1)).unwrap();
        Frame::of_batch(&self.features.compute(view, &entity(), range).unwrap()).unwrap()
    }
}

fn entity() -> EntityKey {
    EntityKey::new([("symbol", "A")]).unwrap()
}

/// What counts at a minute, of the rows from which on they count.
fn naive(rows: &Frame, ttl: i64, feature: &str, at: i64) -> (Presence, Option<u64>) {
    let Some((row, event)) = rows.newest(time(at)) else { return (Presence::Missing, None) };
    if time(at) - event > ttl {
        return (Presence::Expired, None);
    }
    let values = rows.columns().column_by_name(feature).unwrap().as_primitive::<Float64Type>().clone();
    match values.is_valid(row) {
        true => (Presence::Present, Some(values.value(row).to_bits())),
        false => (Presence::Null, None),
    }
}

fn against_what_was_known(source: &'static str, seed: u64) {
    let closes_after = if source == PUSHED { 0 } else { 1 };
    let history = random_history(seed, source == PUSHED);
    let desk = Desk::new(source, VIEWS, &history);
    let at: Vec<i64> = (295..600).step_by(13).collect();
    let found = desk.service(&at).unwrap();
    let service = desk.features.definitions().services().values().next().unwrap().clone();
    let ttl = |view: &ViewName| desk.features.view(view).unwrap().ttl().unwrap().as_nanos() as i64;
    let then = Desk::new(source, VIEWS, &[]);
    let mut leaks = 0;
    for (row, minute) in at.iter().enumerate() {
        let known: Vec<Row> = history.iter().filter(|row| row.is_known(*minute, closes_after)).copied().collect();
        then.forget(&known);
        let mut rows = BTreeMap::new();
        let now = desk.rows(&ViewName::new("momentum").unwrap(), time(at[0]), *minute);
        for (feature, reference) in service.features.iter().enumerate() {
            let ServiceFeature::View(FeatureReference { view, feature: name }) = reference else { panic!("a view's") };
            let ttl = ttl(view);
            let rows = rows.entry(view).or_insert_with(|| then.rows(view, time(at[0]) - ttl, *minute));
            let expected = naive(rows, ttl, name.as_str(), *minute);
            let values = found.batch.column(feature + 1).as_primitive::<Float64Type>();
            let got = (found.presence[feature][row], values.is_valid(row).then(|| values.value(row).to_bits()));
            assert_eq!(got, expected, "{view}.{name} at {minute}, seed {seed}");
            if view.as_str() == "momentum" {
                leaks += usize::from(naive(&now, ttl, name.as_str(), *minute) != expected);
            }
        }
    }
    assert!(leaks > at.len() / 2, "only {leaks} values would be others without the rule");
}

#[test]
fn a_service_has_the_values_of_what_was_known_then() {
    (1..3).for_each(|seed| against_what_was_known(WIDE, seed));
}

#[test]
fn so_has_one_of_series_in_a_long_table() {
    (3..5).for_each(|seed| against_what_was_known(LONG, seed));
}

#[test]
fn so_has_one_of_pushed_rows() {
    against_what_was_known(PUSHED, 5);
}

/// Of pushed rows, whose blocks are complete until somebody pushes.
#[test]
fn where_all_was_known_the_source_is_not_asked() {
    let row = |minute, seen, a| Row { minute, seen: Some(seen), a: Some(a), b: Some(a) };
    let desk = Desk::new(PUSHED, VIEWS, &[row(600, 601, 1.0), row(610, 611, 2.0)]);
    desk.add(&[row(600, 612, 3.0), row(715, 716, 4.0)]);
    desk.clock.set(time(735));
    assert_eq!(desk.one(730), Some(4.0));
    for file in desk.features.store().cache_dir().pushed_files(&SourceName::new("rows").unwrap(), None).unwrap() {
        std::fs::write(desk.features.store().dir().join(file.path), "not a block").unwrap();
    }
    assert_eq!([716, 726].map(|at| desk.one(at)), [Some(4.0); 2], "all was known");
    let error = desk.service(&[715, 726]).unwrap_err().to_string();
    assert!(error.contains("is damaged"), "a time before that: {error}");
}

#[test]
fn a_tail_that_was_extended_says_when_its_newest_part_became_known() {
    let row = |minute, seen, a| Row { minute, seen: Some(seen), a: Some(a), b: Some(a) };
    let desk = Desk::new(WIDE, VIEWS, &[row(600, 601, 1.0), row(610, 611, 2.0)]);
    let plain = ViewName::new("plain").unwrap();
    let warm = |to: i64| {
        let range = TimeRange::new(Timestamp::from_ns(time(600)), Timestamp::from_ns(time(to) + 1)).unwrap();
        desk.features.warm(&plain, &entity(), range).unwrap().outcome()
    };
    desk.clock.set(time(615));
    assert_eq!(warm(611), Outcome::Miss);
    // Two more, of which one came late; the rows before them are the same, so the tail is extended.
    let rows = [row(600, 601, 1.0), row(610, 611, 2.0), row(614, 650, 3.0), row(620, 660, 4.0)];
    desk.add(&rows);
    desk.clock.set(time(700));
    assert_eq!(warm(621), Outcome::Partial);
    assert_eq!(desk.one(616), Some(2.0), "of what is kept: only what came by 611");
    assert_eq!(desk.one(630), Some(2.0));
    assert_eq!([655, 659].map(|at| desk.one(at)), [None, None], "older than the view's ttl");
    assert_eq!(desk.one(641), Some(2.0));
}

#[test]
fn values_that_were_impossible_then_are_an_error_of_their_time() {
    let row = |minute, seen, a| Row { minute, seen: Some(seen), a: Some(a), b: Some(a) };
    let strict = "kind = \"parquet\"\npath = \"rows.parquet\"\nevent_time = \"ts\"\ncreated_time = \"seen\"\n\
                  valid = { a = { min = 0 } }\n";
    let desk = Desk::new(strict, VIEWS, &[row(600, 600, -1.0), row(600, 610, 1.0)]);
    assert_eq!(desk.one(610), Some(1.0));
    let error = desk.service(&[605]).unwrap_err().to_string();
    for part in ["view plain as it was known at 2024-03-08T10:05:00Z", "a of symbol=A is -1 at 2024-03-08T10:00:00Z"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn what_is_older_than_the_ttl_is_not_looked_for() {
    let row = |minute, seen| Row { minute, seen: Some(seen), a: Some(1.0), b: Some(1.0) };
    // Before the first time that counts the one row was known, and another one not.
    let desk = Desk::new(WIDE, VIEWS, &[row(590, 700), row(600, 601), row(630, 700)]);
    assert_eq!(desk.service(&[645]).unwrap().presence, vec![vec![Presence::Missing]; 10]);
}

#[test]
fn a_view_asked_for_at_any_time_is_one_request() {
    let row = |minute, seen, a| Row { minute, seen: Some(seen), a: Some(a), b: Some(a) };
    let desk = Desk::new(WIDE, VIEWS, &[row(600, 601, 1.0), row(600, 620, 2.0)]);
    assert_eq!([610, 620].map(|at| desk.one(at)), [1.0, 2.0].map(Some));
    let views = desk.features.definitions().views().len() as u64;
    assert_eq!(desk.features.store().slo().windows[0].requests, 2 * views);
}

/// At the present all that was read was known, so that nothing is read again.
#[test]
fn what_is_computed_for_the_present_is_exact() {
    let row = |minute, a| Row { minute, seen: Some(minute + 2), a: Some(a), b: Some(a) };
    let desk = Desk::new(WIDE, VIEWS, &[row(600, 1.0), row(690, 41.0), row(700, 42.0)]);
    for (now, more) in [(710, 711), (715, 714), (722, 720)] {
        desk.clock.set(time(now));
        for view in desk.features.definitions().views().keys() {
            let range = TimeRange::new(Timestamp::from_ns(time(600)), Timestamp::from_ns(time(now) + 1)).unwrap();
            let answer = desk.features.get_or_compute(view, &entity(), range).unwrap();
            assert_ne!(answer.outcome(), Outcome::Hit);
            assert!(unsure(&answer, &[time(now)]).is_empty(), "{view} at {now}");
            assert_eq!(unsure(&answer, &[time(601), time(now)]), [0], "{view} at {now}");
        }
        let rows: Vec<Row> =
            [row(600, 1.0), row(690, 41.0), row(700, 42.0)].into_iter().chain([row(more, 43.0)]).collect();
        desk.add(&rows);
    }
}

#[test]
fn what_answers_for_want_of_better_counts_as_it_is() {
    let row = |minute, seen, a| Row { minute, seen: Some(seen), a: Some(a), b: Some(a) };
    let views = VIEWS.replace("ttl = ", "max_age = \"1h\"\nmax_stale = \"10d\"\nttl = ");
    let views = views.replace("features = [", "features = [\"plain.a\"]\n[service.rest]\nfeatures = [");
    let desk = Desk::new(WIDE, &views, &[row(600, 602, 1.0), row(601, 630, 2.0), row(700, 701, 3.0)]);
    assert_eq!(desk.one(610), Some(1.0));
    desk.clock.set(time(NOON + 120));
    std::fs::remove_file(desk.dir.path().join("rows.parquet")).unwrap();
    assert_eq!(desk.one(610), Some(2.0));
}
