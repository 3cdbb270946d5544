//! Which blocks cleaning removes, and why: arithmetic alone.

use std::collections::HashSet;
use std::time::Duration;

use serde::Serialize;

use crate::manifest::{BlockRow, RemovalReason};
use crate::model::{Fingerprint, Timestamp};
use crate::planted::{self, Bug};

/// Why a block is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// No view has its version any more.
    Orphan,
    /// It was not used for `retention_days`.
    Expired,
    /// The blocks take more than the cleanup threshold.
    Size,
    /// The disk has less free than the reserve.
    Disk,
}

impl Reason {
    /// Every reason, in the order in which they are looked at.
    pub const ALL: [Self; 4] = [Self::Orphan, Self::Expired, Self::Size, Self::Disk];

    /// The name in metrics and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Orphan => "orphan",
            Self::Expired => "expired",
            Self::Size => "size",
            Self::Disk => "disk",
        }
    }
}

impl From<Reason> for RemovalReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Orphan => Self::Orphan,
            Reason::Expired => Self::Expired,
            Reason::Size => Self::Size,
            Reason::Disk => Self::Disk,
        }
    }
}

/// What decides which blocks go.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The present.
    pub now: Timestamp,
    /// Versions of views that are in use; `None` where that is not known, and then there are no orphans.
    pub live: Option<HashSet<Fingerprint>>,
    /// How long a block may go unused.
    pub retention: Duration,
    /// Younger blocks stay.
    pub min_age: Duration,
    /// Bytes at which evicting by size begins.
    pub high: u64,
    /// Bytes at which it ends.
    pub low: u64,
    /// Free bytes of the disk.
    pub free: u64,
    /// Bytes of the disk that are to be free.
    pub reserve: u64,
}

/// A block that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Victim {
    /// Its place among the blocks that were given.
    pub index: usize,
    /// Why.
    pub reason: Reason,
}

/// Chooses the blocks that go: orphans, then expired ones, then the least valuable ones until the
/// blocks take no more than `low` and the disk has its reserve.
pub fn victims(blocks: &[BlockRow], limits: &Limits) -> Vec<Victim> {
    let mut victims = Vec::new();
    let mut kept = Vec::new();
    let mut bytes: u64 = blocks.iter().map(|block| block.bytes).sum();
    let mut free = limits.free;
    for (index, block) in blocks.iter().enumerate() {
        match reason_of_its_own(block, limits) {
            _ if limits.now.since(block.created) < limits.min_age => {}
            Some(reason) => {
                bytes -= block.bytes;
                free = free.saturating_add(block.bytes);
                victims.push(Victim { index, reason });
            }
            None => kept.push((value(block, limits.now), index, block.bytes)),
        }
    }
    let over_size = bytes > limits.high;
    if !over_size && free >= limits.reserve {
        return victims;
    }
    // By index where values are equal, so that the same blocks go whoever asks.
    kept.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    if planted::is(Bug::MostValuableFirst) {
        kept.reverse();
    }
    for (_, index, size) in kept {
        let reason = match () {
            () if over_size && bytes > limits.low => Reason::Size,
            () if free < limits.reserve => Reason::Disk,
            () => break,
        };
        bytes -= size;
        free = free.saturating_add(size);
        victims.push(Victim { index, reason });
    }
    victims
}

fn reason_of_its_own(block: &BlockRow, limits: &Limits) -> Option<Reason> {
    if limits.live.as_ref().is_some_and(|live| !live.contains(&block.fingerprint)) {
        return Some(Reason::Orphan);
    }
    let used = if planted::is(Bug::RetentionFromCreated) { block.created } else { block.last_used };
    let unused = limits.now.since(used.max(block.created));
    (unused > limits.retention).then_some(Reason::Expired)
}

/// What removing a block costs per byte that is won: the time to compute it again, times how often
/// it is likely to be asked for. A use counts less the longer ago it was, as in GreedyDual-Size with
/// frequency (Cherkasova, 1998).
#[expect(clippy::cast_precision_loss, reason = "an order of magnitude is enough")]
fn value(block: &BlockRow, now: Timestamp) -> f64 {
    let days_unused = now.since(block.last_used.max(block.created)).as_secs_f64() / 86_400.0;
    let likely_uses = (1.0 + block.uses as f64) / (1.0 + days_unused);
    // A block whose compute was too quick to measure is not worthless.
    block.compute_ms.max(0.001) * likely_uses / block.bytes.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EntityKey, ViewName};
    use proptest::prelude::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn block(bytes: u64, compute_ms: f64, uses: u64, unused_days: i64) -> BlockRow {
        let used = Timestamp::from_secs(100 * 86_400 - unused_days * 86_400);
        BlockRow {
            view: ViewName::new("v").unwrap(),
            fingerprint: "ce20d9dfd7046a750a2891dbead1269d".parse().unwrap(),
            entity: EntityKey::new([("symbol", "A")]).unwrap(),
            start: Timestamp::from_secs(0),
            end: Timestamp::from_secs(86_400),
            known_until: Timestamp::from_secs(86_400),
            rows: 1,
            bytes,
            created: Timestamp::from_secs(0),
            compute_ms,
            input_version: None,
            file: String::new(),
            last_used: used,
            uses,
            newest: None,
        }
    }

    fn limits() -> Limits {
        Limits {
            now: Timestamp::from_secs(100 * 86_400),
            live: None,
            retention: 7 * DAY,
            min_age: DAY,
            high: u64::MAX,
            low: u64::MAX,
            free: u64::MAX,
            reserve: 0,
        }
    }

    fn chosen(blocks: &[BlockRow], limits: &Limits) -> Vec<(usize, Reason)> {
        victims(blocks, limits).into_iter().map(|victim| (victim.index, victim.reason)).collect()
    }

    #[test]
    fn what_nobody_used_for_the_retention_goes() {
        let blocks = [block(1, 1.0, 1, 8), block(1, 1.0, 1, 7), block(1, 1.0, 1, 0)];
        assert_eq!(chosen(&blocks, &limits()), [(0, Reason::Expired)]);
    }

    #[test]
    fn versions_that_no_view_has_go_first() {
        let live = Some(HashSet::new());
        assert_eq!(chosen(&[block(1, 1.0, 1, 8)], &Limits { live, ..limits() }), [(0, Reason::Orphan)]);
    }

    #[test]
    fn a_cheap_seldom_used_large_block_goes_before_others() {
        let blocks = [block(100, 10.0, 5, 0), block(100, 1.0, 5, 0), block(100, 10.0, 0, 0), block(1000, 10.0, 5, 0)];
        let order = chosen(&blocks, &Limits { high: 0, low: 0, ..limits() });
        assert_eq!(order.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 3, 2, 0].to_vec());
    }

    #[test]
    fn evicting_goes_from_the_high_watermark_down_to_the_low_one() {
        let blocks: Vec<_> = (0..10).map(|_| block(10, 1.0, 1, 0)).collect();
        assert!(chosen(&blocks, &Limits { high: 100, low: 50, ..limits() }).is_empty());
        assert_eq!(chosen(&blocks, &Limits { high: 99, low: 50, ..limits() }).len(), 5);
    }

    #[test]
    fn a_disk_without_its_reserve_evicts_whatever_the_size() {
        let blocks: Vec<_> = (0..10).map(|_| block(10, 1.0, 1, 0)).collect();
        let chosen = chosen(&blocks, &Limits { free: 5, reserve: 30, ..limits() });
        assert_eq!(chosen, [(0, Reason::Disk), (1, Reason::Disk), (2, Reason::Disk)]);
    }

    #[test]
    fn what_was_just_published_stays_whatever_happens() {
        let mut young = block(10, 1.0, 0, 0);
        young.created = limits().now;
        let hard = Limits { live: Some(HashSet::new()), high: 0, low: 0, free: 0, reserve: u64::MAX, ..limits() };
        assert!(chosen(&[young], &hard).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_goes_twice_and_no_more_than_needed(
            sizes in proptest::collection::vec((1u64..1000, 0u64..10, 0i64..14), 0..50), high in 0u64..20_000, part in 0.1f64..1.0
        ) {
            let blocks: Vec<_> = sizes.iter().map(|(bytes, uses, days)| block(*bytes, 1.0, *uses, *days)).collect();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let low = (high as f64 * part) as u64;
            let chosen = victims(&blocks, &Limits { high, low, ..limits() });
            let unique: HashSet<_> = chosen.iter().map(|victim| victim.index).collect();
            prop_assert_eq!(unique.len(), chosen.len());
            let total: u64 = blocks.iter().map(|block| block.bytes).sum();
            let gone: u64 = chosen.iter().map(|victim| blocks[victim.index].bytes).sum();
            prop_assert!(total - gone <= high);
            if let Some(last) = chosen.iter().rfind(|victim| victim.reason == Reason::Size) {
                prop_assert!(total - gone <= low);
                prop_assert!(total - gone + blocks[last.index].bytes > low);
            }
        }
    }
}
