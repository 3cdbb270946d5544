use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::datatypes::Float64Type;

use super::*;
use crate::cache::FeatureStore;
use crate::clock::ManualClock;
use crate::definition::{Definitions, Environment};
use crate::model::Outcome;

const MINUTE: i64 = 60_000_000_000;
/// 2024-03-08T00:00:00Z.
const DAY: i64 = 1_709_856_000_000_000_000;

const QUOTES: &str = r#"
[entity.symbol]

[source.quotes]
kind = "push"
types = { bid = "double", size = "integer" }
valid = { bid = { min = 0, exclusive = true } }

[view.last]
entity = "symbol"
source = "quotes"
lookback = "10m"
ttl = "5m"
[view.last.features]
bid = { column = "bid" }
change = { kind = "change", column = "bid", bars = 1, relative = false }

[view.smooth]
entity = "symbol"
source = "view:last"
span = "hour"
lookback = "3m"
ttl = "5m"
[view.smooth.features]
mean = { kind = "sma", column = "bid", period = 2 }
"#;

struct Desk {
    _dir: Option<tempfile::TempDir>,
    features: Features,
    clock: Arc<ManualClock>,
}

fn open(dir: &Path, definitions: &str, clock: &Arc<ManualClock>) -> Features {
    let store = FeatureStore::builder(dir.join("cache")).clock(Arc::clone(clock)).open().unwrap();
    let definitions =
        Definitions::of_texts([(dir.join("views.toml"), definitions.to_owned())], Environment::default()).unwrap();
    Features::builder(store, definitions).open().unwrap()
}

fn desk(definitions: &str) -> Desk {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(DAY + 720 * MINUTE));
    Desk { features: open(dir.path(), definitions, &clock), clock, _dir: Some(dir) }
}

fn quotes() -> SourceName {
    SourceName::new("quotes").unwrap()
}

fn symbol(name: &str) -> EntityKey {
    EntityKey::new([("symbol", name)]).unwrap()
}

/// Quotes at these minutes of the day.
fn rows(bids: &[(i64, f64)]) -> RecordBatch {
    let times = bids.iter().map(|(minute, _)| DAY + minute * MINUTE);
    let columns: [(&str, ArrayRef); 3] = [
        ("event_timestamp", Arc::new(TimestampNanosecondArray::from_iter_values(times))),
        ("bid", Arc::new(bids.iter().map(|(_, bid)| *bid).collect::<Float64Array>())),
        ("size", Arc::new(bids.iter().map(|_| 1).collect::<Int64Array>())),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn with_column(batch: &RecordBatch, name: &str, values: ArrayRef) -> RecordBatch {
    let schema = batch.schema();
    let mut columns: Vec<(&str, ArrayRef)> =
        schema.fields().iter().map(|field| field.name().as_str()).zip(batch.columns().iter().cloned()).collect();
    columns.retain(|(known, _)| *known != name);
    columns.push((name, values));
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, values)| (name, values, true))).unwrap()
}

fn minutes(from: i64, to: i64) -> TimeRange {
    TimeRange::new(Timestamp::from_ns(DAY + from * MINUTE), Timestamp::from_ns(DAY + to * MINUTE)).unwrap()
}

impl Desk {
    fn push(&self, bids: &[(i64, f64)]) -> Push {
        self.features.push(&quotes(), &symbol("A"), &rows(bids)).unwrap()
    }

    fn refused(&self, batch: &RecordBatch) -> String {
        self.features.push(&quotes(), &symbol("A"), batch).unwrap_err().to_string()
    }

    /// The outcome, and the values of the view's first feature.
    fn get(&self, view: &str, range: TimeRange) -> (Outcome, Vec<f64>) {
        get(&self.features, view, range)
    }
}

fn get(features: &Features, view: &str, range: TimeRange) -> (Outcome, Vec<f64>) {
    let answer = features.get_or_compute(&ViewName::new(view).unwrap(), &symbol("A"), range).unwrap();
    let batch = answer.to_batch().unwrap();
    let name = if view == "last" { "bid" } else { "mean" };
    let values = batch.column_by_name(name).unwrap().as_primitive::<Float64Type>();
    (answer.outcome(), values.iter().map(Option::unwrap_or_default).collect())
}

#[test]
fn what_is_pushed_is_served_as_a_hit_from_then_on() {
    let desk = desk(QUOTES);
    assert_eq!(desk.push(&[(700, 1.0), (701, 2.0)]), Push { rows: 2, changed: 2, invalidated: 0 });
    let now = minutes(690, 720);
    assert_eq!(desk.get("last", now), (Outcome::Hit, vec![1.0, 2.0]));
    desk.clock.set(DAY + 725 * MINUTE);
    assert_eq!(desk.get("last", minutes(690, 725)), (Outcome::Hit, vec![1.0, 2.0]), "no row came, and that is known");
    desk.push(&[(725, 3.0)]);
    assert_eq!(desk.get("last", minutes(690, 726)), (Outcome::Hit, vec![1.0, 2.0, 3.0]));
    assert_eq!(
        desk.get("smooth", minutes(720, 726)),
        (Outcome::Hit, vec![0.0]),
        "two rows make a mean, and one is within three minutes"
    );
    desk.push(&[(724, 5.0)]);
    assert_eq!(desk.get("smooth", minutes(720, 726)), (Outcome::Hit, vec![0.0, 4.0]));
}

#[test]
fn a_row_that_comes_late_changes_what_was_served() {
    let desk = desk(QUOTES);
    desk.push(&[(600, 1.0), (610, 3.0)]);
    assert_eq!(desk.get("smooth", minutes(600, 660)).1, [0.0, 2.0]);
    assert!(desk.push(&[(605, 7.0)]).invalidated > 0);
    assert_eq!(desk.get("last", minutes(600, 660)).1, [1.0, 7.0, 3.0]);
    assert_eq!(desk.get("smooth", minutes(600, 660)).1, [0.0, 4.0, 5.0]);
}

#[test]
fn a_correction_counts_and_a_repetition_changes_nothing() {
    let desk = desk(QUOTES);
    desk.push(&[(600, 1.0)]);
    assert_eq!(desk.push(&[(600, 1.0)]), Push { rows: 1, changed: 0, invalidated: 0 });
    assert_eq!(desk.get("last", minutes(600, 601)), (Outcome::Hit, vec![1.0]));
    assert_eq!(desk.push(&[(600, 2.0)]).changed, 1);
    assert_eq!(desk.get("last", minutes(600, 601)).1, [2.0]);
    desk.push(&[(600, 1.0)]);
    assert_eq!(desk.get("last", minutes(600, 601)).1, [1.0], "corrected back");
}

#[test]
fn only_blocks_that_depend_on_a_row_are_forgotten() {
    let desk = desk(QUOTES);
    desk.push(&[(-1440, 1.0), (-5, 2.0), (100, 3.0)]);
    for day in [minutes(-1440, 0), minutes(0, 720)] {
        desk.get("last", day);
        desk.get("smooth", day);
    }
    // Ten minutes of lookback reach into the next day's block; of the hours, the last one and the next day's.
    let hours_of_the_day = 12;
    let pushed = desk.push(&[(-4, 9.0)]);
    assert_eq!(pushed.invalidated, 2 + 1 + hours_of_the_day);
    assert_eq!(desk.get("last", minutes(-1440, -1439)).1, [1.0]);
    assert_eq!(desk.push(&[(-700, 5.0)]).invalidated, 1 + 12, "of the day before alone");
}

#[test]
fn every_version_of_a_row_is_kept_over_a_restart_and_a_new_column() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(DAY + 720 * MINUTE));
    open(dir.path(), QUOTES, &clock).push(&quotes(), &symbol("A"), &rows(&[(600, 1.0)])).unwrap();
    let wider = QUOTES.replace("size = \"integer\"", "ask = \"double\"");
    let features = open(dir.path(), &wider, &clock);
    let batch = rows(&[(601, 2.0)]);
    let batch = with_column(&batch, "ask", Arc::new(Float64Array::from(vec![5.0])));
    let refused = features.push(&quotes(), &symbol("A"), &batch).unwrap_err().to_string();
    assert_eq!(refused, "source quotes: column size is not defined: there are ask, bid, event_timestamp");
    features.push(&quotes(), &symbol("A"), &batch.project(&[0, 1, 3]).unwrap()).unwrap();
    assert_eq!(get(&features, "last", minutes(600, 602)).1, [1.0, 2.0]);
    let files = features.store().cache_dir().pushed_files(&quotes(), None).unwrap();
    let bytes = features.store().cache_dir().read_path(&files[0].path).unwrap().unwrap();
    let described = crate::block::describe(&bytes).unwrap();
    let names: Vec<_> = described.schema.fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["event_timestamp", "created_timestamp", "ask", "bid", "size"]);
    assert_eq!(described.rows, 2);
}

#[test]
fn a_push_that_was_broken_off_is_finished_by_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(DAY + 720 * MINUTE));
    let features = open(dir.path(), QUOTES, &clock);
    features.push(&quotes(), &symbol("A"), &rows(&[(600, 1.0)])).unwrap();
    // The rows are kept and the process dies before it forgets what depends on them.
    let pushed = Pushed::new(features.pushed_source(&quotes()).unwrap());
    let forget = features.to_forget(&quotes(), &[DAY + 601 * MINUTE].into()).unwrap();
    let note = Note { source: "quotes".to_owned(), entity: Some(symbol("A")), times: BTreeSet::new(), forget };
    let cache = features.store().cache_dir();
    drop(cache.intend_push(&note.sealed().unwrap()).unwrap());
    let new = pushed.accept(&rows(&[(601, 2.0)]), features.store().now()).unwrap();
    pushed.keep(cache, Some(&symbol("A")), &new, 3, &mut BTreeSet::new()).unwrap();
    assert_eq!(get(&features, "last", minutes(600, 602)), (Outcome::Hit, vec![1.0]), "the old block is there");
    // It knows nothing of the source or its views: the note says what to forget.
    drop(open(dir.path(), "[entity.symbol]\n", &clock));
    assert_eq!(get(&features, "last", minutes(600, 602)).1, [1.0, 2.0]);
    assert_eq!(cache.unfinished_pushes().unwrap().len(), 0);
}

#[test]
fn wherever_the_note_of_a_broken_off_push_is_damaged_no_old_block_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(DAY + 720 * MINUTE));
    let features = open(dir.path(), QUOTES, &clock);
    let pushed = Pushed::new(features.pushed_source(&quotes()).unwrap());
    let cache = features.store().cache_dir();
    let note = || {
        let forget = features.to_forget(&quotes(), &[DAY + 601 * MINUTE].into()).unwrap();
        let note = Note { source: "quotes".to_owned(), entity: Some(symbol("A")), times: BTreeSet::new(), forget };
        note.sealed().unwrap()
    };
    let keep = |value: f64| {
        let new = pushed.accept(&rows(&[(601, value)]), features.store().now()).unwrap();
        pushed.keep(cache, Some(&symbol("A")), &new, 3, &mut BTreeSet::new()).unwrap();
    };
    features.push(&quotes(), &symbol("A"), &rows(&[(600, 1.0)])).unwrap();
    let length = note().len();
    let cut = (0..length).step_by(9).map(|at| (at, true));
    let damages: Vec<_> = (0..length).map(|at| (at, false)).chain(cut).collect();
    for (number, (at, is_cut)) in damages.iter().enumerate() {
        let (mut bad, value) = (note(), number as f64 + 2.0);
        get(&features, "last", minutes(600, 602));
        match is_cut {
            true => bad.truncate(*at),
            false => bad[*at] ^= 1 << (at % 8),
        }
        drop(cache.intend_push(&bad).unwrap());
        keep(value);
        drop(open(dir.path(), "[entity.symbol]\n", &clock));
        assert_eq!(get(&features, "last", minutes(600, 602)).1, [1.0, value], "byte {at}, cut: {is_cut}");
        assert_eq!(cache.unfinished_pushes().unwrap().len(), 0);
    }
    eprintln!("{} damaged notes of pushes: 0 old blocks served", damages.len());
}

#[test]
fn rows_of_all_are_every_entitys() {
    let desk = desk(
        &QUOTES
            .replace("[entity.symbol]", "[entity.symbol]\n")
            .replace("kind = \"push\"", "kind = \"push\"\nkeys = {}"),
    );
    desk.features.push(&quotes(), None, &rows(&[(600, 1.0)])).unwrap();
    assert_eq!(desk.get("last", minutes(600, 602)).1, [1.0]);
    assert_eq!(desk.features.push(&quotes(), None, &rows(&[(601, 2.0)])).unwrap().invalidated, 1);
    assert_eq!(desk.get("last", minutes(600, 602)).1, [1.0, 2.0]);
    let refused = desk.refused(&rows(&[(602, 1.0)]));
    assert_eq!(refused, "the rows of source quotes belong to every entity: give none");
}

#[test]
fn what_cannot_be_kept_is_refused_with_its_place() {
    let desk = desk(QUOTES);
    let good = rows(&[(600, 1.0), (601, 2.0)]);
    let times = || -> ArrayRef { Arc::new(TimestampNanosecondArray::from(vec![Some(DAY), None])) };
    let cases = [
        (
            good.project(&[0, 2]).unwrap(),
            "source quotes: column bid is missing: there are event_timestamp, size; push nulls where it has no value",
        ),
        (
            good.project(&[1, 2]).unwrap(),
            "source quotes: column event_timestamp is missing: there are bid, size; push nulls where it has no value",
        ),
        (
            with_column(&good, "asks", good.column(1).clone()),
            "source quotes: column asks is not defined: there are bid, size, event_timestamp",
        ),
        (
            with_column(&good, "event_timestamp", times()),
            "source quotes: event_timestamp is null in row 1: leave such rows out",
        ),
        (
            with_column(&good, "event_timestamp", good.column(2).clone()),
            "source quotes: column event_timestamp is BIGINT, which is no time: push timestamps",
        ),
        (
            with_column(&good, "bid", Arc::new(StringArray::from(vec!["1", "x"]))),
            "source quotes: bid at 2024-03-08T10:01:00Z: \"x\" is no double",
        ),
        (rows(&[(600, -1.0)]), "source quotes: bid is -1 at 2024-03-08T10:00:00Z, which is impossible"),
        (
            rows(&[(722, 1.0)]),
            "source quotes: a row is of 2024-03-08T12:02:00Z, and it is 2024-03-08T12:00:00Z: check the unit of its time, or raise lateness where clocks differ",
        ),
    ];
    for (batch, expected) in cases {
        assert_eq!(desk.refused(&batch), expected);
    }
    assert_eq!(desk.get("last", minutes(600, 660)).1, Vec::<f64>::new(), "nothing of it was kept");
    let features = &desk.features;
    let refused = |source: &str, entity: Option<&EntityKey>| {
        features.push(&SourceName::new(source).unwrap(), entity, &good).unwrap_err().to_string()
    };
    assert_eq!(refused("quote", None), "there is no source quote to push to: there is quotes");
    assert_eq!(refused("quotes", None), "source quotes: say whose rows these are");
    let other = EntityKey::new([("venue", "X")]).unwrap();
    assert!(refused("quotes", Some(&other)).contains("symbol"), "{}", refused("quotes", Some(&other)));
}

#[test]
fn a_second_row_of_a_time_is_an_error_where_the_definition_says_so() {
    let desk = desk(&QUOTES.replace("kind = \"push\"", "kind = \"push\"\non_duplicate = \"error\""));
    desk.push(&[(600, 1.0)]);
    assert_eq!(desk.push(&[(600, 1.0)]).changed, 0);
    assert_eq!(
        desk.refused(&rows(&[(600, 2.0)])),
        "source quotes: there is another row of 2024-03-08T10:00:00Z already: say which counts with on_duplicate"
    );
    desk.refused(&rows(&[(600, 2.0)]));
    assert_eq!(desk.get("last", minutes(600, 601)), (Outcome::Hit, vec![1.0]), "what is refused costs no block");
}

#[test]
fn a_damaged_file_is_named_and_nothing_is_answered_from_it() {
    let desk = desk(QUOTES);
    desk.push(&[(600, 1.0)]);
    let cache = desk.features.store().cache_dir();
    assert_eq!(desk.get("last", minutes(600, 601)), (Outcome::Hit, vec![1.0]));
    let path = cache.root().join(&cache.pushed_files(&quotes(), None).unwrap()[0].path);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let view = ViewName::new("last").unwrap();
    let error = desk.features.compute(&view, &symbol("A"), minutes(600, 601)).unwrap_err().to_string();
    assert!(
        error.starts_with("source quotes: ") && error.contains("20240308.parquet is damaged: restore it"),
        "{error}"
    );
    let refused = desk.refused(&rows(&[(601, 1.0)]));
    assert!(refused.contains("is damaged"), "{refused}");
    desk.refused(&rows(&[(601, 1.0)]));
    assert_eq!(desk.get("last", minutes(600, 601)), (Outcome::Hit, vec![1.0]), "what was computed before stays");
}

#[test]
fn rows_with_a_created_time_are_versions_whatever_the_order_they_are_pushed_in() {
    let desk = desk(&QUOTES.replace("kind = \"push\"", "kind = \"push\"\ncreated_time = \"known\""));
    let push = |versions: &[(i64, f64)]| {
        let batch = rows(&versions.iter().map(|(_, bid)| (600, *bid)).collect::<Vec<_>>());
        let known = versions.iter().map(|(minute, _)| DAY + minute * MINUTE);
        let known: ArrayRef = Arc::new(TimestampNanosecondArray::from_iter_values(known));
        desk.features.push(&quotes(), &symbol("A"), &with_column(&batch, "known", known)).map(|push| push.changed)
    };
    let bid = || desk.get("last", minutes(600, 601)).1;
    assert_eq!(push(&[(610, 5.0)]).unwrap(), 1);
    // What became known before it does not count, and the same value known later is another version.
    assert_eq!(push(&[(605, 7.0), (612, 7.0)]).unwrap(), 1);
    assert_eq!(bid(), [7.0]);
    assert_eq!(push(&[(611, 8.0)]).unwrap(), 1);
    assert_eq!(bid(), [7.0], "known before the one that counts");
    push(&[(615, 7.0)]).unwrap();
    push(&[(614, 8.0)]).unwrap();
    assert_eq!(bid(), [7.0], "said again after the other became known");
    assert_eq!(push(&[(610, 5.0), (612, 7.0)]).unwrap(), 0, "nothing new");
}

#[test]
fn a_correction_counts_though_the_clock_was_set_back() {
    let desk = desk(QUOTES);
    desk.push(&[(600, 1.0)]);
    desk.clock.set(DAY + 700 * MINUTE);
    desk.push(&[(600, 2.0)]);
    assert_eq!(desk.get("last", minutes(600, 601)).1, [2.0]);
}

#[test]
fn another_source_of_the_same_columns_is_another_view() {
    let desk = desk(&QUOTES.replace("source = \"quotes\"", "source = \"others\"").replace(
        "[view.last]",
        "[source.others]\nkind = \"push\"\ntypes = { bid = \"double\", size = \"integer\" }\n\
         valid = { bid = { min = 0, exclusive = true } }\n[view.last]",
    ));
    let before = self::desk(QUOTES);
    let fingerprint = |desk: &Desk| desk.features.view(&ViewName::new("last").unwrap()).unwrap().fingerprint();
    assert_ne!(fingerprint(&desk), fingerprint(&before));
}

#[test]
fn of_rows_of_one_version_in_one_push_one_is_kept() {
    for (on_duplicate, counts) in [("last", 2.0), ("first", 1.0)] {
        let kind = format!("kind = \"push\"\non_duplicate = \"{on_duplicate}\"");
        let desk = desk(&QUOTES.replace("kind = \"push\"", &kind));
        let twice = [(600, 1.0), (600, 2.0)];
        assert_eq!(desk.push(&twice).changed, 1);
        assert_eq!(desk.get("last", minutes(600, 601)).1, [counts]);
        assert_eq!(desk.push(&twice).changed, 0, "{on_duplicate}: again");
        if on_duplicate == "first" {
            assert_eq!(desk.push(&[(600, 9.0)]).changed, 0, "another one comes too late");
        }
    }
}

/// A view that those who have only [`QUOTES`] do not know, with more history than theirs.
const SLOW: &str = r#"
[view.slow]
entity = "symbol"
source = "quotes"
span = "hour"
lookback = "3h"
ttl = "5m"
[view.slow.features]
mean = { kind = "sma", column = "bid", period = 2 }

[view.slower]
entity = "symbol"
source = "view:slow"
span = "hour"
lookback = "1h"
ttl = "5m"
[view.slower.features]
mean = { kind = "lag", column = "mean", bars = 1 }
"#;

#[test]
fn a_push_forgets_what_others_computed_by_definitions_that_it_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(DAY + 720 * MINUTE));
    let (old, new) = (open(dir.path(), QUOTES, &clock), open(dir.path(), &format!("{QUOTES}{SLOW}"), &clock));
    old.push(&quotes(), &symbol("A"), &rows(&[(600, 1.0), (661, 3.0), (662, 5.0)])).unwrap();
    let hour = minutes(660, 720);
    let slow = || [get(&new, "slow", hour), get(&new, "slower", hour)];
    assert_eq!(slow().map(|(_, means)| means), [[2.0, 4.0], [0.0, 2.0]]);
    assert_eq!(slow().map(|(outcome, _)| outcome), [Outcome::Hit; 2]);
    old.push(&quotes(), &symbol("A"), &rows(&[(600, 7.0)])).unwrap();
    assert_eq!(slow().map(|(_, means)| means), [[5.0, 4.0], [0.0, 5.0]]);
    assert_eq!(slow().map(|(outcome, _)| outcome), [Outcome::Hit; 2]);
    old.push(&quotes(), &symbol("A"), &rows(&[(-1000, 7.0)])).unwrap();
    assert_eq!(slow().map(|(outcome, _)| outcome), [Outcome::Hit; 2], "too long ago to matter");
}

#[test]
fn of_a_view_whose_note_cannot_be_read_a_push_forgets_all() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(DAY + 720 * MINUTE));
    let (old, new) = (open(dir.path(), QUOTES, &clock), open(dir.path(), &format!("{QUOTES}{SLOW}"), &clock));
    let slow = || get(&new, "slow", minutes(660, 720)).0;
    assert_eq!((slow(), slow()), (Outcome::Miss, Outcome::Hit));
    let notes = new.store().cache_dir().push_readers(&quotes()).unwrap();
    let [(path, _)] = notes.as_slice() else { panic!("{notes:?}") };
    std::fs::write(new.store().cache_dir().root().join(path), "{}").unwrap();
    old.push(&quotes(), &symbol("A"), &rows(&[(-1000, 7.0)])).unwrap();
    assert_eq!(slow(), Outcome::Miss);
}

#[test]
fn views_are_forgotten_after_those_that_they_read() {
    // By name, the one that reads comes first.
    let desk = desk(&QUOTES.replace("view.smooth", "view.a_smooth"));
    let times = BTreeSet::from([DAY + 600 * MINUTE]);
    let order = || {
        let dependents = desk.features.dependents(&quotes(), &times).unwrap();
        dependents.iter().map(|dependent| dependent.view.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(order(), ["last", "a_smooth"]);
    desk.push(&[(600, 1.0)]);
    let notes = desk.features.store().cache_dir().push_readers(&quotes()).unwrap();
    let (path, _) = notes.iter().find(|(path, _)| path.to_string_lossy().contains("last.")).unwrap();
    std::fs::write(desk.features.store().cache_dir().root().join(path), "{}").unwrap();
    assert_eq!(
        order(),
        ["last", "last", "a_smooth", "last", "last", "a_smooth"],
        "it is not known what one of them reads"
    );
}

#[test]
fn whoever_computes_while_rows_are_pushed_leaves_no_value_without_them() {
    let desk = desk(&QUOTES.replace("view.smooth", "view.a_smooth"));
    std::thread::scope(|scope| {
        let pushing = scope.spawn(|| {
            for bid in (1..=100).map(f64::from) {
                desk.push(&[(600, bid), (601, bid)]);
                assert_eq!(desk.get("a_smooth", minutes(600, 660)).1, [0.0, bid]);
            }
        });
        while !pushing.is_finished() {
            desk.get("a_smooth", minutes(600, 660));
        }
    });
}

#[test]
fn a_push_that_is_repeated_forgets_what_the_first_one_has_not_yet() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(DAY + 720 * MINUTE));
    let (one, other) = (open(dir.path(), QUOTES, &clock), open(dir.path(), QUOTES, &clock));
    let range = minutes(660, 720);
    assert_eq!(get(&other, "last", range), (Outcome::Miss, vec![]));
    let (times, cache) = (BTreeSet::from([DAY + 661 * MINUTE]), one.store().cache_dir());
    let forget = one.to_forget(&quotes(), &times).unwrap();
    let note = Note { source: "quotes".to_owned(), entity: Some(symbol("A")), times, forget };
    // Its process stands still after the rows were kept.
    let _intent = cache.intend_push(&note.sealed().unwrap()).unwrap();
    let pushed = Pushed::new(one.pushed_source(&quotes()).unwrap());
    let row = pushed.accept(&rows(&[(661, 2.0)]), one.store().now()).unwrap();
    pushed.keep(cache, Some(&symbol("A")), &row, 3, &mut BTreeSet::new()).unwrap();
    assert_eq!(get(&other, "last", range), (Outcome::Hit, vec![]));
    let again = other.push(&quotes(), &symbol("A"), &rows(&[(661, 2.0)])).unwrap();
    assert_eq!((again.changed, again.invalidated), (0, 1));
    assert_eq!(get(&other, "last", range).1, [2.0]);
    let elsewhere = other.push(&quotes(), &symbol("B"), &rows(&[(661, 2.0)])).unwrap();
    assert_eq!((elsewhere.changed, elsewhere.invalidated), (1, 0));
}

#[test]
fn a_version_of_a_view_that_nobody_has_any_more_costs_the_others_no_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(DAY + 720 * MINUTE));
    let monthly = QUOTES.replace("[view.last]", "[view.last]\nspan = \"month\"");
    let (old, new) = (open(dir.path(), &monthly, &clock), open(dir.path(), QUOTES, &clock));
    new.push(&quotes(), &symbol("A"), &rows(&[(-2000, 1.0), (600, 1.0)])).unwrap();
    let (before, today) = (minutes(-2001, -1999), minutes(600, 602));
    for range in [before, today] {
        get(&old, "last", range);
        get(&new, "last", range);
    }
    new.push(&quotes(), &symbol("A"), &rows(&[(601, 2.0)])).unwrap();
    assert_eq!(get(&new, "last", before), (Outcome::Hit, vec![1.0]), "a block of its own, which no row reaches");
    assert_eq!(get(&new, "last", today).1, [1.0, 2.0]);
    assert_eq!(get(&old, "last", today).1, [1.0, 2.0]);
}

#[test]
fn what_was_computed_while_a_push_was_on_its_way_is_forgotten_by_whoever_finishes_it() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(DAY + 720 * MINUTE));
    let (old, new) = (open(dir.path(), QUOTES, &clock), open(dir.path(), &format!("{QUOTES}{SLOW}"), &clock));
    let times = BTreeSet::from([DAY + 661 * MINUTE]);
    let forget = old.to_forget(&quotes(), &times).unwrap();
    let note = Note { source: "quotes".to_owned(), entity: Some(symbol("A")), times, forget };
    let cache = old.store().cache_dir();
    drop(cache.intend_push(&serde_json::to_vec(&note).unwrap()).unwrap());
    // After the note was written, and before the row is kept.
    let slow = || get(&new, "slow", minutes(660, 720));
    assert_eq!(slow(), (Outcome::Miss, vec![]));
    let pushed = Pushed::new(old.pushed_source(&quotes()).unwrap());
    let row = pushed.accept(&rows(&[(661, 2.0)]), old.store().now()).unwrap();
    pushed.keep(cache, Some(&symbol("A")), &row, 3, &mut BTreeSet::new()).unwrap();
    drop(open(dir.path(), "[entity.symbol]\n", &clock));
    assert_eq!(slow().1.len(), 1, "the row is seen");
}
