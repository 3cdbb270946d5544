//! Each record once, whoever folds and whenever.

use std::fs::OpenOptions;
use std::io::Write;

use crate::manifest::testing::{self, block, block_ref, blocks, counted, manifest, published, requests, stats};
use crate::manifest::{BlockFilter, BlockRow, FoldReport, Journal, Record};
use crate::model::{Outcome, Timestamp};

#[test]
fn what_was_published_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::create(dir.path()).unwrap();
    let one = block("EURUSD", 1, 5);
    journal.append(&[Record::Published { block: one.clone(), stats: vec![stats("rsi_9", 1.5)] }]).unwrap();
    manifest(dir.path())
        .read(|query| {
            assert_eq!(query.blocks(&BlockFilter::default())?, [one]);
            assert_eq!(query.column_stats(&block_ref("EURUSD", 1))?, [stats("rsi_9", 1.5)]);
            assert_eq!((query.report().records, query.report().needs_rebuild), (1, true));
            Ok(())
        })
        .unwrap();
}

#[test]
fn folding_twice_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (manifest(dir.path()), manifest(dir.path()));
    let journal = Journal::create(dir.path()).unwrap();
    journal.append(&[requests(1, Outcome::Hit, 3), published(block("A", 1, 1))]).unwrap();
    assert_eq!(first.fold().unwrap().records, 2);
    assert_eq!(first.fold().unwrap(), FoldReport { needs_rebuild: true, ..FoldReport::default() });
    // Another process remembers nothing.
    assert_eq!(second.fold().unwrap().records, 0);
    assert_eq!(counted(&second), 3);
    journal.append(&[requests(1, Outcome::Hit, 4)]).unwrap();
    assert_eq!(counted(&first), 7);
    assert_eq!(counted(&second), 7);
    assert_eq!(blocks(&second).len(), 1);
}

#[test]
fn with_nothing_new_the_file_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = manifest(dir.path());
    let journal = Journal::create(dir.path()).unwrap();
    journal.append(&[requests(1, Outcome::Hit, 3)]).unwrap();
    manifest.fold().unwrap();
    // Opening this would fail. It is written in place, so that it stays the same file.
    std::fs::write(manifest.path(), b"no database").unwrap();
    assert_eq!(manifest.fold().unwrap().set_aside, None);
    journal.append(&[requests(1, Outcome::Hit, 3)]).unwrap();
    assert!(manifest.fold().unwrap().set_aside.is_some());
}

#[test]
fn journals_of_the_dead_go_and_those_of_the_living_stay() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = manifest(dir.path());
    let (alive, dead) = (Journal::create(dir.path()).unwrap(), Journal::create(dir.path()).unwrap());
    let (alive_path, dead_path) = (alive.path(), dead.path());
    alive.append(&[requests(1, Outcome::Hit, 1)]).unwrap();
    dead.append(&[requests(1, Outcome::Miss, 2)]).unwrap();
    drop(dead);
    assert_eq!(manifest.fold().unwrap().removed_journals, 1);
    assert!(alive_path.exists() && !dead_path.exists());
    drop(alive);
    // Folded before it died: nothing is new, and still it goes.
    assert_eq!(manifest.fold().unwrap().removed_journals, 1);
    assert!(!alive_path.exists());
    assert_eq!(counted(&manifest), 3);
}

#[test]
fn a_torn_record_waits_for_the_living_and_is_dropped_with_the_dead() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = manifest(dir.path());
    let journal = Journal::create(dir.path()).unwrap();
    journal.append(&[requests(1, Outcome::Hit, 1)]).unwrap();
    let whole = std::fs::read(journal.path()).unwrap();
    let (head, tail) = whole.split_at(whole.len() / 2);
    let mut file = OpenOptions::new().append(true).open(journal.path()).unwrap();
    file.write_all(head).unwrap();
    assert_eq!(manifest.fold().unwrap().torn, 0);
    file.write_all(tail).unwrap();
    assert_eq!(counted(&manifest), 2);
    file.write_all(head).unwrap();
    let path = journal.path();
    drop((file, journal));
    let report = testing::manifest(dir.path()).fold().unwrap();
    assert_eq!((report.torn, report.removed_journals), (1, 1));
    assert!(!path.exists());
    assert_eq!(counted(&manifest), 2);
}

#[test]
fn damage_in_a_journal_is_counted_and_the_rest_is_folded() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::create(dir.path()).unwrap();
    for count in [1, 10, 100] {
        journal.append(&[requests(1, Outcome::Hit, count)]).unwrap();
    }
    let mut bytes = std::fs::read(journal.path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(journal.path(), bytes).unwrap();
    let manifest = manifest(dir.path());
    assert_eq!(manifest.fold().unwrap().damaged, 1);
    assert_eq!(counted(&manifest), 101);
}

#[test]
fn threads_that_fold_and_append_at_once_lose_nothing_and_count_nothing_twice() {
    const EACH: u64 = 40;
    let dir = tempfile::tempdir().unwrap();
    let folders = [manifest(dir.path()), manifest(dir.path())];
    std::thread::scope(|scope| {
        for folder in &folders {
            scope.spawn(|| {
                for _ in 0..6 {
                    folder.fold().unwrap();
                }
            });
        }
        for writer in 0..3 {
            let dir = dir.path();
            scope.spawn(move || {
                let mut journal = Journal::create(dir).unwrap();
                for number in 0..EACH {
                    let name = format!("W{writer}N{number}");
                    journal.append(&[requests(1, Outcome::Hit, 1), published(block(&name, 1, 1))]).unwrap();
                    if number % 8 == 0 {
                        journal = Journal::create(dir).unwrap();
                    }
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            });
        }
    });
    assert_eq!(counted(&folders[0]), 3 * EACH);
    assert_eq!(blocks(&folders[1]).len() as u64, 3 * EACH);
    assert_eq!(std::fs::read_dir(dir.path().join("journal")).unwrap().count(), 0);
}

#[test]
fn senseless_numbers_do_not_stop_the_fold() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = manifest(dir.path());
    let journal = Journal::create(dir.path()).unwrap();
    for _ in 0..2 {
        journal
            .append(&[
                requests(i64::MAX, Outcome::Hit, u64::MAX),
                requests(i64::MIN, Outcome::Hit, u64::MAX),
                requests(1, Outcome::Hit, u64::MAX),
                published(BlockRow {
                    start: Timestamp::MIN,
                    end: Timestamp::MAX,
                    known_until: Timestamp::MAX,
                    created: Timestamp::MAX,
                    uses: u64::MAX,
                    rows: u64::MAX,
                    ..block("A\0B", 1, 1)
                }),
                Record::Used { block: block_ref("A", 1), uses: u64::MAX, last_used: Timestamp::MIN },
                published(block("A", 1, i64::MIN)),
            ])
            .unwrap();
        manifest
            .read(|query| {
                assert_eq!(query.blocks(&BlockFilter::default())?.len(), 2);
                query.totals()?;
                query.view_summaries()?;
                query.coverage().map(drop)
            })
            .unwrap();
    }
}
