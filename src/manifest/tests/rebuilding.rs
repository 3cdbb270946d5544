//! The manifest made anew from block files.

use crate::manifest::testing::{at, block, block_ref, blocks, counted, manifest, published, requests, stats};
use crate::manifest::{BlockRow, Journal, Rebuilt, Record, RemovalReason};
use crate::model::Outcome;

#[test]
fn a_rebuild_makes_blocks_as_the_files_are_and_keeps_history_and_uses() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = manifest(dir.path());
    let journal = Journal::create(dir.path()).unwrap();
    let used = Record::Used { block: block_ref("STAYS", 1), uses: 4, last_used: at(9) };
    journal
        .append(&[
            Record::Published { block: block("STAYS", 1, 1), stats: vec![stats("kept", 1.0)] },
            Record::Published { block: block("GONE", 1, 1), stats: vec![stats("gone", 1.0)] },
            used,
            requests(1, Outcome::Hit, 5),
        ])
        .unwrap();
    let rows = [(block("STAYS", 1, 1), vec![]), (block("FOUND", 1, 2), vec![stats("found", 2.0)])];
    let rebuilt = manifest.rebuild(at(10), rows).unwrap();
    assert_eq!(rebuilt, Rebuilt { blocks: 2, added: 1, dropped: 1 });
    let stays = BlockRow { uses: 4, last_used: at(9), ..block("STAYS", 1, 1) };
    assert_eq!(blocks(&manifest), [block("FOUND", 1, 2), stays]);
    assert_eq!(counted(&manifest), 5);
    manifest
        .read(|query| {
            assert!(!query.report().needs_rebuild);
            assert_eq!(query.column_stats(&block_ref("STAYS", 1))?, [stats("kept", 1.0)]);
            assert_eq!(query.column_stats(&block_ref("GONE", 1))?, []);
            assert_eq!(query.column_stats(&block_ref("FOUND", 1))?, [stats("found", 2.0)]);
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_happened_since_the_scan_began_is_newer_than_the_scan() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = manifest(dir.path());
    let journal = Journal::create(dir.path()).unwrap();
    let removed =
        |name: &str, time| Record::Removed { block: block_ref(name, 1), at: at(time), reason: RemovalReason::Size };
    journal
        .append(&[
            published(block("NEW", 1, 20)),
            published(block("EXTENDED", 1, 20)),
            removed("REMOVED", 20),
            removed("RETURNED", 5),
        ])
        .unwrap();
    let scanned = ["EXTENDED", "REMOVED", "RETURNED"].map(|name| (block(name, 1, 3), vec![]));
    manifest.rebuild(at(10), scanned).unwrap();
    assert_eq!(blocks(&manifest), [block("EXTENDED", 1, 20), block("NEW", 1, 20), block("RETURNED", 1, 3)]);
}

#[test]
fn what_a_clock_that_was_ahead_wrote_does_not_outlive_a_rebuild() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = manifest(dir.path());
    let journal = Journal::create(dir.path()).unwrap();
    let to_come = at(4_000_000_000_000_000);
    let removed = Record::Removed { block: block_ref("THERE", 1), at: to_come, reason: RemovalReason::Size };
    let published_then = |name: &str| published(BlockRow { created: to_come, ..block(name, 1, 1) });
    journal.append(&[removed, published_then("GONE"), published_then("OLDER")]).unwrap();
    let scanned = ["OLDER", "THERE"].map(|name| (block(name, 1, 3), vec![]));
    assert_eq!(manifest.rebuild(at(10), scanned).unwrap(), Rebuilt { blocks: 2, added: 1, dropped: 1 });
    assert_eq!(blocks(&manifest), [block("OLDER", 1, 3), block("THERE", 1, 3)]);
}

#[test]
fn of_two_rows_of_one_block_the_newer_file_counts() {
    let dir = tempfile::tempdir().unwrap();
    let rows = [3, 7, 5].map(|created| (block("A", 1, created), vec![stats("x", created as f64)]));
    let manifest = manifest(dir.path());
    manifest.rebuild(at(10), rows).unwrap();
    assert_eq!(blocks(&manifest), [block("A", 1, 7)]);
    let kept = manifest.read(|query| query.column_stats(&block_ref("A", 1))).unwrap();
    assert_eq!(kept, [stats("x", 7.0)]);
}

#[test]
fn a_file_that_is_older_than_the_manifest_believes_is_the_truth() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = manifest(dir.path());
    Journal::create(dir.path()).unwrap().append(&[published(block("A", 1, 8))]).unwrap();
    manifest.rebuild(at(10), [(block("A", 1, 5), vec![])]).unwrap();
    assert_eq!(blocks(&manifest), [BlockRow { last_used: at(8), ..block("A", 1, 5) }]);
}
