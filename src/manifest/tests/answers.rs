//! Questions and their answers.

use std::sync::Arc;

use proptest::prelude::*;

use crate::clock::ManualClock;
use crate::manifest::testing::{DAY, at, block, block_ref, blocks, manifest, published, requests, symbol, view};
use crate::manifest::{
    BlockFilter, BlockRow, Hole, Invalidation, Journal, Manifest, MinuteCount, OutcomeCount, Page, Record,
    RemovalReason, TopMiss, Totals, Vitals,
};
use crate::model::{Fingerprint, MissReason, Outcome, TimeRange};

fn holding(records: &[Record]) -> (tempfile::TempDir, Manifest) {
    let dir = tempfile::tempdir().unwrap();
    Journal::create(dir.path()).unwrap().append(records).unwrap();
    let manifest = manifest(dir.path());
    (dir, manifest)
}

fn days(start: i64, end: i64) -> TimeRange {
    TimeRange::new(at(start * DAY), at(end * DAY)).unwrap()
}

#[test]
fn blocks_are_found_by_view_entity_and_time() {
    let other = BlockRow { view: view("w"), fingerprint: Fingerprint::of(b"w"), ..block("A", 1, 1) };
    let rows = [block("A", 1, 1), block("A", 2, 1), block("B/C", 1, 1), other];
    let records: Vec<_> = rows.iter().cloned().map(published).collect();
    let (_dir, manifest) = holding(&records);
    let cases = [
        (BlockFilter::default(), 4),
        (BlockFilter { view: Some(view("v")), ..BlockFilter::default() }, 3),
        (BlockFilter { fingerprint: Some(Fingerprint::of(b"w")), ..BlockFilter::default() }, 1),
        (BlockFilter { entities: vec![symbol("B/C")], ..BlockFilter::default() }, 1),
        (BlockFilter { range: Some(days(2, 3)), ..BlockFilter::default() }, 1),
        (BlockFilter { range: Some(days(0, 1)), ..BlockFilter::default() }, 0),
        (
            BlockFilter {
                view: Some(view("v")),
                entities: vec![symbol("A")],
                range: Some(days(0, 2)),
                fingerprint: None,
            },
            1,
        ),
    ];
    manifest
        .read(|query| {
            for (filter, count) in cases {
                assert_eq!(query.blocks(&filter)?.len(), count, "{filter:?}");
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn totals_and_summaries_add_up() {
    let tail =
        BlockRow { known_until: at(2 * DAY + 5), last_used: at(77), newest: Some(at(2 * DAY + 4)), ..block("B", 2, 1) };

    let (_dir, manifest) = holding(&[published(block("A", 1, 1)), published(tail)]);
    let totals = Totals { blocks: 2, tails: 1, rows: 2880, bytes: 20_000 };
    manifest
        .read(|query| {
            assert_eq!(query.totals()?, totals);
            let summary = query.view_summaries()?.remove(0);
            assert_eq!((summary.view, summary.fingerprint), (view("v"), Fingerprint::of(b"v")));
            assert_eq!((summary.totals, summary.entities), (totals, 2));
            assert_eq!((summary.first_start, summary.last_start), (at(DAY), at(2 * DAY)));
            assert_eq!((summary.known_until, summary.last_used), (at(2 * DAY + 5), at(77)));
            assert_eq!(summary.newest, Some(at(2 * DAY + 4)));
            Ok(())
        })
        .unwrap();
    let (_dir, empty) = holding(&[]);
    empty
        .read(|query| {
            assert_eq!(query.totals()?, Totals::default());
            assert!(query.view_summaries()?.is_empty() && query.coverage()?.is_empty() && query.views()?.is_empty());
            Ok(())
        })
        .unwrap();
}

#[test]
fn requests_and_misses_add_up_over_processes_and_minutes() {
    let missed = |minute, name: &str, reason, count| Record::Missed {
        minute,
        view: view("v"),
        entity: symbol(name),
        reason,
        count,
    };
    let (dir, manifest) = holding(&[
        requests(10, Outcome::Hit, 5),
        requests(10, Outcome::Miss, 1),
        missed(10, "A", MissReason::Absent, 4),
        missed(11, "B", MissReason::Tail, 3),
    ]);
    let other = Journal::create(dir.path()).unwrap();
    other
        .append(&[requests(10, Outcome::Hit, 2), requests(11, Outcome::Hit, 1), missed(12, "B", MissReason::Tail, 2)])
        .unwrap();
    let minute = |minute: i64| at(minute * 60_000_000_000 + 59_000_000_000);
    let row = |minute, outcome, count| MinuteCount { minute, view: view("v"), outcome, count };
    let total = |outcome, count| OutcomeCount { view: view("v"), outcome, count };
    let top = |name: &str, reason, count| TopMiss { view: view("v"), entity: symbol(name), reason, count };
    manifest
        .read(|query| {
            let all = [row(10, Outcome::Hit, 7), row(10, Outcome::Miss, 1), row(11, Outcome::Hit, 1)];
            assert_eq!(query.requests_per_minute(minute(10))?, all);
            assert_eq!(query.requests_per_minute(minute(11))?, all[2..]);
            let counts = |hits, misses| [(Outcome::Hit, hits), (Outcome::Miss, misses)].into_iter().collect();
            assert_eq!(query.requests(minute(10), None)?, [(10, counts(7, 1)), (11, counts(1, 0))]);
            assert_eq!(query.requests(minute(11), Some(&view("v")))?, [(11, counts(1, 0))]);
            assert_eq!(query.requests(minute(10), Some(&view("w")))?, []);
            assert_eq!((query.view_names(minute(11))?, query.view_names(minute(12))?), ([view("v")].into(), [].into()));
            let outcomes = |since, until| query.outcomes(minute(since), minute(until));
            assert_eq!(outcomes(10, 11)?, [total(Outcome::Hit, 8), total(Outcome::Miss, 1)]);
            assert_eq!(outcomes(11, 11)?, [total(Outcome::Hit, 1)]);
            assert_eq!(outcomes(10, 10)?, [total(Outcome::Hit, 7), total(Outcome::Miss, 1)]);
            assert_eq!(outcomes(12, 13)?, []);
            let worst = [top("B", MissReason::Tail, 5), top("A", MissReason::Absent, 4)];
            assert_eq!(query.top_misses(minute(10), 10)?, worst);
            assert_eq!(query.top_misses(minute(10), 1)?, worst[..1]);
            assert_eq!(query.top_misses(minute(12), 9)?, [top("B", MissReason::Tail, 2)]);
            let per_minute = query.misses_per_minute(minute(10))?;
            let per_minute: Vec<_> = per_minute.iter().map(|miss| (miss.minute, miss.blocks, miss.requests)).collect();
            assert_eq!(per_minute, [(10, 4, 1), (11, 3, 0), (12, 2, 0)], "with the misses among the requests");
            Ok(())
        })
        .unwrap();
}

#[test]
fn invalidations_come_newest_first() {
    let one = |time, entity, cause: &str| Invalidation {
        at: at(time),
        view: view("v"),
        entity,
        start: at(1),
        end: at(2),
        cause: cause.to_owned(),
        blocks: 3,
    };
    let (old, new) = (one(5, Some(symbol("A")), "late rows"), one(6, None, "it's \0 odd; --"));
    let (_dir, manifest) = holding(&[Record::Invalidated(old.clone()), Record::Invalidated(new.clone())]);
    manifest
        .read(|query| {
            assert_eq!(query.invalidations(10)?, [new.clone(), old]);
            assert_eq!(query.invalidations(1)?, [new]);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_view_is_known_from_its_first_to_its_last_heartbeat() {
    let seen = |time, definition: &str| Record::ViewSeen {
        at: at(time),
        view: view("v"),
        fingerprint: Fingerprint::of(b"v"),
        definition: definition.to_owned(),
    };
    let (dir, manifest) = holding(&[seen(20, "{}"), seen(30, "{\"new\":1}")]);
    manifest.fold().unwrap();
    Journal::create(dir.path()).unwrap().append(&[seen(10, "{\"old\":1}")]).unwrap();
    let views = manifest.read(|query| query.views()).unwrap();
    assert_eq!(views.len(), 1);
    assert_eq!((views[0].first_seen, views[0].last_seen), (at(10), at(30)));
    assert_eq!(views[0].definition, "{\"new\":1}");
}

#[test]
fn the_version_that_was_served_last_is_current_and_every_one_where_nobody_said() {
    let of = |version: &[u8]| BlockRow { fingerprint: Fingerprint::of(version), ..block("A", 1, 1) };
    let seen = |version: &[u8], ns| Record::ViewSeen {
        at: at(ns),
        view: view("v"),
        fingerprint: Fingerprint::of(version),
        definition: "{}".to_owned(),
    };
    let (dir, manifest) = holding(&[published(of(b"old")), published(of(b"new"))]);
    let current = |version: &[u8]| {
        let summaries = manifest.read(|query| query.view_summaries()).unwrap();
        summaries.iter().find(|summary| summary.fingerprint == Fingerprint::of(version)).unwrap().current
    };
    assert_eq!((current(b"old"), current(b"new")), (true, true));
    Journal::create(dir.path()).unwrap().append(&[seen(b"new", 30), seen(b"old", 20)]).unwrap();
    assert_eq!((current(b"old"), current(b"new")), (false, true));
}

#[test]
fn a_row_that_somebody_spoilt_by_hand_hides_no_other() {
    let (_dir, manifest) = holding(&[published(block("A", 1, 1)), published(block("B", 1, 1))]);
    manifest.fold().unwrap();
    let connection = duckdb::Connection::open(manifest.path()).unwrap();
    connection.execute_batch("UPDATE manifest SET view = 'Not A Name' WHERE symbol = 'A'").unwrap();
    connection.close().unwrap();
    assert_eq!(blocks(&manifest), [block("B", 1, 1)]);
    assert!(manifest.read(|query| query.view_summaries()).unwrap().iter().all(|row| row.view == view("v")));
}

/// For each entity and day: no block, a whole one, or a tail known up to noon.
type Days = Vec<[u8; 10]>;

fn covered(kind: u8, half: i64) -> bool {
    kind == 1 || (kind == 2 && half % 2 == 0)
}

/// Looks at every half day on its own.
fn lacking(entities: &Days, half: i64) -> u64 {
    let lacks = |days: &[u8; 10]| {
        let known = |half: i64| covered(days[(half / 2) as usize], half);
        let first = (0..20).find(|half| days[(*half / 2) as usize] != 0);
        let last = (0..20).rev().find(|half| days[(*half / 2) as usize] != 0 && half % 2 == 0);
        first.is_some_and(|first| first <= half) && last.is_some_and(|last| half < last) && !known(half)
    };
    entities.iter().filter(|days| lacks(days)).count() as u64
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn holes_are_what_looking_at_every_half_day_finds(
        entities in prop::collection::vec(prop::array::uniform10(0u8..3), 1..4),
    ) {
        let mut records = Vec::new();
        for (number, days) in entities.iter().enumerate() {
            for (day, kind) in days.iter().enumerate().filter(|(_, kind)| **kind != 0) {
                let row = block(&format!("S{number}"), day as i64, 1);
                let known_until = if *kind == 2 { at(day as i64 * DAY + DAY / 2) } else { row.end };
                records.push(published(BlockRow { known_until, ..row }));
            }
        }
        let (_dir, manifest) = holding(&records);
        let coverage = manifest.read(|query| query.coverage()).unwrap();
        let holes: Vec<Hole> = coverage.into_iter().flat_map(|coverage| coverage.holes).collect();
        for half in 0..20 {
            let instant = at(half * DAY / 2);
            let told: u64 = holes.iter().filter(|hole| hole.range.contains(instant)).map(|hole| hole.entities).sum();
            prop_assert_eq!(told, lacking(&entities, half), "half day {}: {:?}", half, &holes);
        }
    }
}

#[test]
fn people_find_readable_tables() {
    let (_dir, manifest) =
        holding(&[published(block("A", 1, 1)), requests(61, Outcome::Hit, 3), requests(62, Outcome::Miss, 1)]);
    manifest.fold().unwrap();
    let connection = duckdb::Connection::open(manifest.path()).unwrap();
    let text = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text("SELECT symbol || ' ' || start_ts::DATE || ' ' || state FROM manifest"), "A 1970-01-02 complete");
    assert_eq!(text("SELECT entity FROM manifest"), "{\"symbol\":\"A\"}");
    assert_eq!(text("SELECT hour || ' ' || hit_ratio FROM hit_ratio_per_hour"), "1970-01-01 01:00:00 0.75");
    assert_eq!(text("SELECT view || ' ' || blocks FROM size_per_view"), "v 1");
}

#[test]
fn pages_follow_each_other_in_one_order_and_know_the_whole() {
    let rows: Vec<_> = ["B", "A", "C"].iter().flat_map(|name| [2, 1].map(|day| block(name, day, 1))).collect();
    let (_dir, manifest) = holding(&rows.iter().cloned().map(published).collect::<Vec<_>>());
    let page = |filter: &BlockFilter, after, limit| {
        let (total, rows) = manifest.read(|query| query.blocks_page(filter, Page { after, limit })).unwrap();
        let names: Vec<String> = rows.iter().map(|row| format!("{} {}", row.entity, row.start.as_ns() / DAY)).collect();
        (total, names.join(", "))
    };
    let all = BlockFilter::default();
    assert_eq!(page(&all, 0, 4), (6, "symbol=A 1, symbol=A 2, symbol=B 1, symbol=B 2".to_owned()));
    assert_eq!(page(&all, 4, 4), (6, "symbol=C 1, symbol=C 2".to_owned()));
    assert_eq!(page(&all, 6, 4), (6, String::new()));
    assert_eq!(page(&all, u64::MAX, u64::MAX), (6, String::new()));
    let some = BlockFilter { entities: vec![symbol("C"), symbol("A")], range: Some(days(1, 2)), ..all };
    assert_eq!(page(&some, 0, 9), (2, "symbol=A 1, symbol=C 1".to_owned()));
}

#[test]
fn entities_with_blocks_are_known_by_view() {
    let (_dir, manifest) = holding(&["B", "A", "B"].map(|name| published(block(name, 1, 1))));
    manifest
        .read(|query| {
            assert_eq!(query.entities(None)?, [symbol("A"), symbol("B")]);
            assert_eq!(query.entities(Some(&view("w")))?, []);
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_version_that_was_served_last_says_how_long_its_values_are_valid() {
    let seen = |time, name: &str, definition: &str| Record::ViewSeen {
        at: at(time),
        view: view(name),
        fingerprint: Fingerprint::of(definition.as_bytes()),
        definition: definition.to_owned(),
    };
    let (short, long) = (r#"{"ttl_seconds":60.5}"#, r#"{"ttl_seconds":3600}"#);
    let (_dir, manifest) = holding(&[
        seen(5, "v", short),
        seen(1, "v", long),
        seen(3, "w", "{}"),
        seen(3, "x", r#"{"ttl_seconds":-1}"#),
        seen(3, "y", "no JSON"),
    ]);
    let current = manifest.read(|query| query.current_views()).unwrap();
    let ttls: Vec<_> =
        current.iter().map(|version| (version.view.as_str(), version.ttl().map(|ttl| ttl.as_millis()))).collect();
    assert_eq!(ttls, [("v", Some(60_500)), ("w", None), ("x", None), ("y", None)]);
}

#[test]
fn removals_are_counted_once_and_told_apart_by_age() {
    let removed = |name: &str, minute: i64, reason| Record::Removed {
        block: block_ref(name, 1),
        at: at(minute * MINUTE + 5),
        reason,
    };
    let (dir, manifest) = holding(&[published(block("OLD", 1, 0)), published(block("YOUNG", 1, 30 * MINUTE))]);
    assert_eq!(manifest.read(|query| query.removals_per_minute(at(0))).unwrap(), []);
    let records = [
        removed("OLD", 61, RemovalReason::Size),
        removed("OLD", 61, RemovalReason::Size),
        removed("YOUNG", 61, RemovalReason::Size),
        // Published and removed within one fold.
        published(block("QUICK", 1, 62 * MINUTE)),
        removed("QUICK", 63, RemovalReason::Disk),
        // Nobody knows of it.
        removed("UNKNOWN", 63, RemovalReason::Disk),
    ];
    Journal::create(dir.path()).unwrap().append(&records).unwrap();
    let found = || {
        let rows = manifest.read(|query| query.removals_per_minute(at(0))).unwrap();
        rows.iter()
            .map(|row| (row.minute, row.entity.to_string(), row.reason, row.blocks, row.young))
            .collect::<Vec<_>>()
    };
    let expected = [
        (61, "symbol=OLD".to_owned(), RemovalReason::Size, 1, 0),
        (61, "symbol=YOUNG".to_owned(), RemovalReason::Size, 1, 1),
        (63, "symbol=QUICK".to_owned(), RemovalReason::Disk, 1, 1),
    ];
    assert_eq!(found(), expected);
    let by_reason = |since| {
        let rows = manifest.read(|query| query.removals(at(since * MINUTE + 59))).unwrap();
        rows.iter().map(|row| (row.reason, row.blocks, row.young)).collect::<Vec<_>>()
    };
    assert_eq!(by_reason(61), [(RemovalReason::Disk, 1, 1), (RemovalReason::Size, 2, 1)]);
    assert_eq!(by_reason(62), [(RemovalReason::Disk, 1, 1)]);
    // A second process tells of the same removal, and the block comes back.
    let records = [removed("OLD", 61, RemovalReason::Size), published(block("OLD", 1, 70 * MINUTE))];
    Journal::create(dir.path()).unwrap().append(&records).unwrap();
    assert_eq!(found(), expected);
}

const MINUTE: i64 = 60_000_000_000;

fn missed(minute: i64, name: &str, count: u64) -> Record {
    Record::Missed { minute, view: view("v"), entity: symbol(name), reason: MissReason::Absent, count }
}

#[test]
fn an_entity_is_new_where_neither_a_block_nor_a_miss_is_older() {
    let (_dir, manifest) = holding(&[
        published(block("OLD", 1, 5 * MINUTE)),
        missed(30, "OLD", 1),
        published(block("NEW", 1, 25 * MINUTE)),
        published(block("GIVEN", 1, 40 * MINUTE)),
        // Its block was computed again since.
        published(block("MISSED", 1, 25 * MINUTE)),
        missed(5, "MISSED", 1),
        missed(20, "NEW", 1),
        missed(30, "ASKED", 1),
    ]);
    let found = manifest.read(|query| query.new_entities(at(10 * MINUTE))).unwrap();
    let found: Vec<_> = found.iter().map(|first| (first.entity.to_string(), first.at.as_ns() / MINUTE)).collect();
    assert_eq!(
        found,
        [("symbol=ASKED".to_owned(), 30), ("symbol=GIVEN".to_owned(), 40), ("symbol=NEW".to_owned(), 20)]
    );
}

#[test]
fn signs_of_trouble_are_counted() {
    let now = 10 * DAY;
    let tail = |name: &str, day: i64, used| BlockRow {
        known_until: at(day * DAY + 5),
        last_used: at(used),
        ..block(name, day, 1)
    };
    let rows = [
        block("OLD", 1, DAY),
        block("WEEK", 1, 4 * DAY),
        block("AHEAD", 1, now + MINUTE),
        block("FUTURE", 1, now + MINUTE + 1),
        tail("STUCK", 1, 5 * DAY),
        tail("UNUSED", 1, DAY),
        tail("YESTERDAY", 8, 9 * DAY + 1),
        BlockRow { view: view("ended"), ..tail("AS_FAR_AS_ITS_SOURCE", 1, 5 * DAY) },
    ];
    let (_dir, manifest) = holding(&rows.map(published));
    let vitals = manifest.read(|query| query.vitals(at(now))).unwrap();
    assert_eq!(vitals, Vitals { future_blocks: 1, old_tails: 1, week_bytes: 30_000, first_created: Some(at(1)) });
    let (_dir, empty) = holding(&[]);
    assert_eq!(empty.read(|query| query.vitals(at(now))).unwrap(), Vitals::default());
}

#[test]
fn invalidations_that_removed_nothing_changed_nothing() {
    let done = |time, blocks| {
        Record::Invalidated(Invalidation {
            at: at(time),
            view: view("v"),
            entity: None,
            start: at(0),
            end: at(1),
            cause: "correction".to_owned(),
            blocks,
        })
    };
    let (_dir, manifest) = holding(&[done(5, 1), done(20, 2), done(10, 3), done(15, 0)]);
    let found = manifest.read(|query| query.invalidations_since(at(10))).unwrap();
    assert_eq!(found.iter().map(|done| done.blocks).collect::<Vec<_>>(), [3, 2]);
}

#[test]
fn a_fold_tells_how_much_had_waited_and_how_long() {
    let (dir, manifest) = holding(&[requests(10, Outcome::Hit, 5), published(block("A", 1, 5 * MINUTE))]);
    let report = manifest.fold().unwrap();
    assert!(report.bytes > 50, "{report:?}");
    assert_eq!(report.oldest, Some(at(5 * MINUTE)));
    Journal::create(dir.path()).unwrap().append(&[requests(10, Outcome::Hit, 5)]).unwrap();
    assert_eq!(manifest.fold().unwrap().oldest, Some(at(11 * MINUTE)), "the end of its minute");
    assert_eq!(manifest.fold().unwrap().bytes, 0);
}

#[test]
fn counters_add_up_over_processes_by_metric_labels_and_minute_and_are_forgotten_soon() {
    let told = |minute: i64, metric: &str, labels: &[&str], count| {
        let labels = labels.iter().map(ToString::to_string).collect();
        Record::counted(at(minute * 60_000_000_000), metric, labels, count)
    };
    let (dir, manifest) = holding(&[told(10, "a", &["v", "hit"], 5), told(10, "a", &["v", "\"',["], 1)]);
    let other = Journal::create(dir.path()).unwrap();
    other.append(&[told(10, "a", &["v", "hit"], 2), told(11, "a", &["v", "hit"], 3), told(11, "b", &[], 4)]).unwrap();
    let found = |since: i64| {
        let rows = manifest.read(|query| query.counters_per_minute(at(since * 60_000_000_000))).unwrap();
        let mut rows: Vec<_> =
            rows.into_iter().map(|row| (row.minute, row.metric, row.labels.join("|"), row.count)).collect();
        rows.sort();
        rows
    };
    let row = |minute, metric: &str, labels: &str, count| (minute, metric.to_owned(), labels.to_owned(), count);
    let of_11 = [row(11, "a", "v|hit", 3), row(11, "b", "", 4)];
    assert_eq!(found(11), of_11);
    assert_eq!(found(10), [&[row(10, "a", "v|\"',[", 1), row(10, "a", "v|hit", 7)], &of_11[..]].concat());
    other.append(&[told(5760, "a", &[], 1)]).unwrap();
    let later = Manifest::new(dir.path(), Arc::new(ManualClock::new(4 * DAY)));
    let kept = later.read(|query| query.counters_per_minute(at(0))).unwrap();
    assert_eq!(kept.iter().map(|row| row.minute).collect::<Vec<_>>(), [5760], "after two days");
}
