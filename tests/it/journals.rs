//! Journals on disk.

use std::sync::Arc;

use larder::Timestamp;
use larder::clock::SystemClock;
use larder::manifest::{BlockFilter, Manifest};

use crate::damage::files;
use crate::desk::{Desk, minutes, range, symbol, view};

#[test]
fn a_flipped_bit_in_a_journal_costs_records_and_makes_none_wrong() {
    let desk = Desk::new();
    let root = desk.dir.path().join("cache");
    let store = desk.open();
    for day in 1..=3 {
        let day = range(&format!("2024-03-{day:02}"), &format!("2024-03-{:02}", day + 1));
        store.get_or_compute(&view(), &symbol("EURUSD"), day, minutes).unwrap();
    }
    drop(store);
    let journal = files(&root.join("journal")).remove(0);
    let mut bytes = std::fs::read(&journal).unwrap();
    let rows = bytes.windows(4).position(|digits| digits == b"1440").unwrap();
    // 1440 rows become 1441.
    bytes[rows + 3] ^= 1;
    std::fs::write(&journal, bytes).unwrap();
    let manifest = Manifest::new(&root, Arc::new(SystemClock));
    assert_eq!(manifest.fold().unwrap().damaged, 1);
    let known = manifest.read(|query| query.blocks(&BlockFilter::default())).unwrap();
    assert_eq!(known.iter().map(|block| block.rows).collect::<Vec<_>>(), [1440, 1440]);
}

#[test]
fn a_block_that_could_not_be_told_of_is_told_of_later() {
    let desk = Desk::new();
    let (store, journals) = (desk.open(), desk.dir.path().join("cache/journal"));
    let _ = std::fs::remove_dir_all(&journals);
    std::fs::write(&journals, "in its place").unwrap();
    store.get_or_compute(&view(), &symbol("EURUSD"), range("2024-03-01", "2024-03-04"), minutes).unwrap();
    store.flush();
    std::fs::remove_file(&journals).unwrap();
    store.flush();
    let known = store.manifest().read(|query| query.blocks(&BlockFilter::default())).unwrap();
    assert_eq!(known.len(), 3);
    assert_eq!(store.manifest().read(|query| query.views()).unwrap().len(), 1);
}

#[test]
fn however_often_a_journal_is_folded_its_records_count_once() {
    let desk = Desk::new();
    let store = desk.open();
    for asked in 1..=4 {
        store.get_or_compute(&view(), &symbol("EURUSD"), range("2024-03-01", "2024-03-02"), minutes).unwrap();
        // Its owner lives, so the journal stays and grows.
        store.flush();
        store.manifest().fold().unwrap();
        let minutes = store.manifest().read(|query| query.requests(Timestamp::MIN, None)).unwrap();
        assert_eq!(minutes.iter().map(|(_, counts)| counts.total()).sum::<u64>(), asked);
    }
}
