//! What several tests of the manifest need.

use std::path::Path;
use std::sync::Arc;

use super::journal::{Reader, Scanned};
use super::{BlockFilter, BlockRef, BlockRow, Manifest, Record};
use crate::block::ColumnStats;
use crate::clock::ManualClock;
use crate::disk::SystemDisk;
use crate::model::{EntityKey, Fingerprint, Outcome, Timestamp, ViewName};

pub(super) const DAY: i64 = 86_400_000_000_000;

pub(super) fn view(name: &str) -> ViewName {
    ViewName::new(name).unwrap()
}

pub(super) fn symbol(name: &str) -> EntityKey {
    EntityKey::new([("symbol", name)]).unwrap()
}

pub(super) fn at(ns: i64) -> Timestamp {
    Timestamp::from_ns(ns)
}

/// The block of view `v` and this symbol on this day, created at this time.
pub(super) fn block(name: &str, day: i64, created: i64) -> BlockRow {
    BlockRow {
        view: view("v"),
        fingerprint: Fingerprint::of(b"v"),
        entity: symbol(name),
        start: at(day * DAY),
        end: at((day + 1) * DAY),
        known_until: at((day + 1) * DAY),
        rows: 1440,
        bytes: 10_000,
        created: at(created),
        compute_ms: 12.5,
        input_version: None,
        file: format!("blocks/view=v/fp=x/symbol={name}/{day}.parquet"),
        last_used: at(created),
        uses: 0,
        newest: Some(at((day + 1) * DAY - 1)),
    }
}

pub(super) fn block_ref(name: &str, day: i64) -> BlockRef {
    block(name, day, 0).block_ref()
}

pub(super) fn published(block: BlockRow) -> Record {
    Record::Published { block, stats: Vec::new() }
}

pub(super) fn stats(column: &str, mean: f64) -> ColumnStats {
    ColumnStats {
        name: column.to_owned(),
        count: 3,
        nulls: 1,
        nans: 0,
        min: Some(f64::MIN),
        max: Some(0.1 + 0.2),
        mean: Some(mean),
        std: None,
        p25: Some(-0.0),
        p50: Some(f64::MIN_POSITIVE / 3.0),
        p75: Some(f64::MAX),
    }
}

/// A small record that is told from others by its number.
pub(super) fn used(uses: u64) -> Record {
    Record::Used { block: block_ref("EURUSD", 1), uses, last_used: at(7) }
}

pub(super) fn read_all(path: &Path) -> (Vec<Record>, Scanned) {
    read_from(path, 0)
}

pub(super) fn read_from(path: &Path, from: u64) -> (Vec<Record>, Scanned) {
    let mut records = Vec::new();
    let (scanned, failed) = Reader::open(&SystemDisk, path, from)
        .unwrap()
        .records(|record| {
            records.push(record);
            Ok(())
        })
        .unwrap();
    failed.unwrap();
    (records, scanned)
}

/// A manifest whose clock stands shortly after the epoch, where the times of these tests are.
pub(super) fn manifest(cache_dir: &Path) -> Manifest {
    Manifest::new(cache_dir, Arc::new(ManualClock::new(DAY)))
}

pub(super) fn requests(minute: i64, outcome: Outcome, count: u64) -> Record {
    Record::Requests { minute, view: view("v"), outcome, count }
}

/// All requests that a manifest knows of.
pub(super) fn counted(manifest: &Manifest) -> u64 {
    manifest.read(|query| Ok(query.outcomes(at(0), Timestamp::MAX)?.iter().map(|row| row.count).sum())).unwrap()
}

/// All blocks that a manifest knows of, in order.
pub(super) fn blocks(manifest: &Manifest) -> Vec<BlockRow> {
    let mut blocks = manifest.read(|query| query.blocks(&BlockFilter::default())).unwrap();
    blocks.sort_by(|a, b| (&a.entity, a.start).cmp(&(&b.entity, b.start)));
    blocks
}
