//! Damaged, misplaced and vanished files: a miss, never an answer.

use std::path::{Path, PathBuf};

use larder::clock::SystemClock;
use larder::manifest::Manifest;
use larder::store::{CacheDir, Publish};
use larder::upkeep::{FindingKind, Silent, repair, verify};
use larder::{Outcome, Timestamp};
use std::sync::Arc;

use crate::desk::{Desk, checked_rows, range, symbol, view};

pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path),
        }
    }
    found.sort();
    found
}

fn blocks(desk: &Desk) -> Vec<PathBuf> {
    files(&desk.dir.path().join("cache/blocks"))
}

#[test]
fn a_flipped_bit_is_a_miss_not_an_answer() {
    let desk = Desk::new();
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    desk.open().get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
    let file = blocks(&desk).remove(0);
    let good = std::fs::read(&file).unwrap();
    for at in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(&file, &bad).unwrap();
        let answer = desk.open().get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
        assert_eq!((answer.outcome(), checked_rows(&answer, &eurusd)), (Outcome::Miss, 1440), "byte {at}");
        let again = desk.open().get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
        assert_eq!(again.outcome(), Outcome::Hit, "it was published again");
    }
    assert_eq!(files(&desk.dir.path().join("cache/quarantine")).len(), 1);
}

#[test]
fn a_truncated_a_vanished_and_an_exchanged_file_are_misses() {
    let desk = Desk::new();
    let (view, day) = (view(), range("2024-03-01", "2024-03-02"));
    let (eurusd, usdjpy) = (symbol("EURUSD"), symbol("USDJPY"));
    for entity in [&eurusd, &usdjpy] {
        desk.open().get_or_compute(&view, entity, day, |gap| desk.compute(gap)).unwrap();
    }
    let [first, second] = blocks(&desk).try_into().unwrap();
    let damages: [&dyn Fn(); 4] = [
        &|| std::fs::write(&first, &std::fs::read(&first).unwrap()[..1000]).unwrap(),
        &|| std::fs::write(&first, b"").unwrap(),
        &|| std::fs::remove_file(&first).unwrap(),
        &|| assert!(std::fs::copy(&second, &first).unwrap() > 0),
    ];
    for damage in damages {
        damage();
        let answer = desk.open().get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
        assert_eq!((answer.outcome(), checked_rows(&answer, &eurusd)), (Outcome::Miss, 1440));
    }
}

#[test]
fn a_link_in_the_place_of_a_block_is_not_followed() {
    let desk = Desk::new();
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    desk.open().get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
    let file = blocks(&desk).remove(0);
    let elsewhere = desk.dir.path().join("elsewhere.parquet");
    std::fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    let answer = desk.open().get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
    assert_eq!(answer.outcome(), Outcome::Miss);
    assert!(!std::fs::symlink_metadata(&file).unwrap().is_symlink(), "the block took the link's place");
}

#[test]
fn verify_finds_and_repair_mends_and_both_can_be_repeated() {
    let desk = Desk::new();
    let (view, eurusd) = (view(), symbol("EURUSD"));
    let days = range("2024-03-01", "2024-03-06");
    desk.open().get_or_compute(&view, &eurusd, days, |gap| desk.compute(gap)).unwrap();
    let root = desk.dir.path().join("cache");
    let dir = CacheDir::open(&root, Publish::Fast, "test").unwrap();
    let manifest = Manifest::new(&root, Arc::new(SystemClock));
    let hence = Timestamp::from_ns(larder::clock::Clock::now_ns(&SystemClock))
        .saturating_add(std::time::Duration::from_secs(60));
    let findings = || verify(&dir, &manifest, hence, &mut Silent).unwrap().findings;
    assert_eq!(findings(), []);

    let [flipped, removed, copied, ..] = <[PathBuf; 5]>::try_from(blocks(&desk)).unwrap();
    let mut bytes = std::fs::read(&flipped).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&flipped, bytes).unwrap();
    std::fs::remove_file(&removed).unwrap();
    std::fs::write(copied.with_file_name("notes.txt"), b"mine").unwrap();
    let known = copied.with_file_name("20240101T000000Z.parquet");
    std::fs::copy(&copied, &known).unwrap();
    let kinds: Vec<_> = findings().iter().map(|finding| finding.kind).collect();
    use FindingKind::{BadFile, NoFile, Stranger};
    assert_eq!(kinds, [BadFile, BadFile, NoFile, Stranger]);

    let report = repair(&dir, &manifest, hence, &mut Silent).unwrap();
    assert_eq!((report.quarantined.len(), report.dropped, report.blocks), (2, 2, 3));
    let again = repair(&dir, &manifest, hence, &mut Silent).unwrap();
    assert_eq!((again.quarantined.len(), again.dropped, again.blocks), (0, 0, 3));
    assert_eq!(findings().iter().map(|finding| finding.kind).collect::<Vec<_>>(), [Stranger]);
}

#[test]
fn a_manifest_that_was_deleted_comes_back_from_the_blocks() {
    let desk = Desk::new();
    let (view, eurusd) = (view(), symbol("EURUSD"));
    let store = desk.open();
    store.get_or_compute(&view, &eurusd, range("2024-03-01", "2024-03-06"), |gap| desk.compute(gap)).unwrap();
    drop(store);
    let root = desk.dir.path().join("cache");
    let manifest = Manifest::new(&root, Arc::new(SystemClock));
    let totals = |manifest: &Manifest| manifest.read(|query| query.totals()).unwrap();
    let before = totals(&manifest);
    assert_eq!(before.blocks, 5);
    std::fs::remove_file(root.join("manifest.duckdb")).unwrap();
    let dir = CacheDir::open(&root, Publish::Fast, "test").unwrap();
    repair(&dir, &manifest, Timestamp::from_ns(larder::clock::Clock::now_ns(&SystemClock)), &mut Silent).unwrap();
    assert_eq!(totals(&manifest), before);
}
