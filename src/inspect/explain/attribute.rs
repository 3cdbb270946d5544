//! From what happened to who spent the error budget: arithmetic alone.
//!
//! The rule, in this order:
//!
//! 1. Requests with outcome `error` or `fallback` are due to computes that fail.
//! 2. The other bad requests of a view are shared out minute by minute among the causes of that minute, in
//!    proportion to the blocks that were missed for each: misses are counted by block, requests are not.
//!    Where no minute says how many there were, in proportion to all the blocks.
//! 3. A miss whose reason is `tail`, `expired`, `clock`, `corrupt` or `unreadable` is its own cause.
//! 4. A miss of what was not there is due to the latest removal or invalidation before it of the same
//!    view and entity, at most a day before the window. What took away n blocks explains n missed
//!    blocks, and those before the window use it up as well.
//! 5. What nothing took away is new: its view, else its entity, else its version, where that was seen
//!    first within the day before the miss; else its time.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::cause::Cause;
use crate::manifest::{FirstSeen, Invalidation, MinuteMisses, MinuteRemovals, OutcomeCount, ViewVersion};
use crate::model::{EntityKey, Outcome, Timestamp, ViewName};

/// How long before a miss what led to it may have happened.
pub(super) const RECENT: Duration = Duration::from_secs(86_400);

/// What is known of a window and of the day before it.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Where the window begins.
    pub since: Timestamp,
    /// Requests of the window.
    pub requests: Vec<OutcomeCount>,
    /// Misses of the window and of the day before.
    pub misses: Vec<MinuteMisses>,
    /// Removals of the same time.
    pub removals: Vec<MinuteRemovals>,
    /// Invalidations of the same time.
    pub invalidations: Vec<Invalidation>,
    /// Every version of every view.
    pub versions: Vec<ViewVersion>,
    /// Entities that were seen first in that time.
    pub entities: Vec<FirstSeen>,
}

/// What one cause spent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spent {
    /// Bad requests that are due to it.
    pub requests: f64,
    /// Blocks that were missed.
    pub blocks: u64,
    /// The same requests by view and entity; without an entity where none is known.
    pub places: BTreeMap<(ViewName, Option<EntityKey>), f64>,
}

/// What each cause spent in the window. The requests add up to all bad ones of the window.
#[expect(clippy::cast_precision_loss, reason = "2^53 requests are enough")]
pub fn attribute(evidence: &Evidence) -> BTreeMap<Cause, Spent> {
    let blocks = missed_blocks(evidence);
    let mut spent: BTreeMap<Cause, Spent> = BTreeMap::new();
    let mut add = |cause: &Cause, view: &ViewName, entity: Option<&EntityKey>, requests: f64, blocks: u64| {
        let spent = spent.entry(cause.clone()).or_default();
        spent.requests += requests;
        spent.blocks += blocks;
        *spent.places.entry((view.clone(), entity.cloned())).or_default() += requests;
    };
    for (view, (failed, others)) in bad_requests(evidence) {
        if failed > 0 {
            add(&Cause::Failing, view, None, failed as f64, 0);
        }
        let of_view = blocks.get(view);
        let of_each = || of_view.into_iter().flat_map(BTreeMap::values);
        let (all, requests) =
            (of_each().map(|missed| missed.blocks).sum::<u64>(), of_each().map(|missed| missed.requests).sum::<f64>());
        if all == 0 && others > 0 {
            add(&Cause::Unrecorded, view, None, others as f64, 0);
        }
        for ((cause, entity), missed) in of_view.into_iter().flatten() {
            let part = if requests > 0.0 { missed.requests / requests } else { missed.blocks as f64 / all as f64 };
            add(cause, view, Some(entity), others as f64 * part, missed.blocks);
        }
    }
    spent.retain(|_, spent| spent.requests > 0.0);
    spent
}

/// Failed requests of each view, and the other bad ones.
fn bad_requests(evidence: &Evidence) -> BTreeMap<&ViewName, (u64, u64)> {
    let mut bad: BTreeMap<&ViewName, (u64, u64)> = BTreeMap::new();
    for of in evidence.requests.iter().filter(|of| !of.outcome.is_good()) {
        let (failed, others) = bad.entry(&of.view).or_default();
        match of.outcome {
            Outcome::Error | Outcome::Fallback => *failed += of.count,
            _ => *others += of.count,
        }
    }
    bad
}

type Missed = BTreeMap<(Cause, EntityKey), Share>;

/// What was missed for one cause.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    blocks: u64,
    /// Its part of the requests of each minute.
    requests: f64,
}

/// The blocks that were missed in the window, by view, cause and entity.
#[expect(clippy::cast_precision_loss, reason = "2^53 blocks are enough")]
fn missed_blocks(evidence: &Evidence) -> HashMap<ViewName, Missed> {
    let begin = evidence.since.minute();
    let novelty = Novelty::of(evidence);
    let mut gone = Gone::of(evidence);
    let mut misses: Vec<&MinuteMisses> = evidence.misses.iter().collect();
    misses.sort_by_key(|miss| miss.minute);
    let mut of_minute: HashMap<(i64, &ViewName), u64> = HashMap::new();
    for miss in &misses {
        *of_minute.entry((miss.minute, &miss.view)).or_default() += miss.blocks;
    }
    let mut missed: HashMap<ViewName, Missed> = HashMap::new();
    for miss in misses {
        let explained = match Cause::of(miss.reason) {
            Some(cause) => vec![(cause, miss.blocks)],
            None => {
                let (mut explained, rest) = gone.take(miss);
                explained.push((novelty.cause(miss), rest));
                explained
            }
        };
        if miss.minute < begin {
            continue;
        }
        let of_view = missed.entry(miss.view.clone()).or_default();
        let all = of_minute.get(&(miss.minute, &miss.view)).copied().unwrap_or(miss.blocks);
        for (cause, blocks) in explained.into_iter().filter(|(_, blocks)| *blocks > 0) {
            let share = of_view.entry((cause, miss.entity.clone())).or_default();
            share.blocks += blocks;
            share.requests += miss.requests as f64 * (blocks as f64 / all as f64);
        }
    }
    missed
}

/// What took blocks away, the latest last, with how many misses it can still explain.
struct Gone<'a> {
    coming: std::iter::Peekable<std::vec::IntoIter<Removal<'a>>>,
    happened: HashMap<(&'a ViewName, Option<&'a EntityKey>), Vec<Removal<'a>>>,
}

#[derive(Debug, Clone)]
struct Removal<'a> {
    minute: i64,
    place: (&'a ViewName, Option<&'a EntityKey>),
    cause: Cause,
    left: u64,
}

impl<'a> Gone<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        let invalidated = evidence.invalidations.iter().map(|done| Removal {
            minute: done.at.minute(),
            place: (&done.view, done.entity.as_ref()),
            cause: Cause::Invalidated(done.cause.clone()),
            left: done.blocks,
        });
        let removed = evidence.removals.iter().filter_map(|row| {
            let place = (&row.view, Some(&row.entity));
            Some(Removal { minute: row.minute, place, cause: Cause::of_removal(row.reason)?, left: row.blocks })
        });
        let mut coming: Vec<_> = invalidated.chain(removed).collect();
        coming.sort_by_key(|removal| removal.minute);
        Self { coming: coming.into_iter().peekable(), happened: HashMap::new() }
    }

    /// What explains the blocks of a miss, and how many are left unexplained. Misses come in order of time.
    fn take(&mut self, miss: &'a MinuteMisses) -> (Vec<(Cause, u64)>, u64) {
        while let Some(removal) = self.coming.next_if(|removal| removal.minute <= miss.minute) {
            self.happened.entry(removal.place).or_default().push(removal);
        }
        let places = [(&miss.view, Some(&miss.entity)), (&miss.view, None)];
        let (mut explained, mut rest) = (Vec::new(), miss.blocks);
        while rest > 0 {
            let latest = |place: &(&'a ViewName, Option<&'a EntityKey>)| Some(self.happened.get(place)?.last()?.minute);
            let Some(place) = places.into_iter().filter(|place| latest(place).is_some()).max_by_key(latest) else {
                break;
            };
            let Some(stack) = self.happened.get_mut(&place) else { break };
            let Some(removal) = stack.last_mut() else { break };
            let taken = removal.left.min(rest);
            if taken > 0 {
                explained.push((removal.cause.clone(), taken));
            }
            removal.left -= taken;
            rest -= taken;
            if removal.left == 0 {
                stack.pop();
            }
        }
        (explained, rest)
    }
}

/// When views, versions and entities were seen first.
struct Novelty<'a> {
    versions: HashMap<&'a ViewName, Vec<Timestamp>>,
    entities: HashMap<(&'a ViewName, &'a EntityKey), Timestamp>,
}

impl<'a> Novelty<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        let mut versions: HashMap<&ViewName, Vec<Timestamp>> = HashMap::new();
        for version in &evidence.versions {
            versions.entry(&version.view).or_default().push(version.first_seen);
        }
        versions.values_mut().for_each(|times| times.sort_unstable());
        let entities = evidence.entities.iter().map(|first| ((&first.view, &first.entity), first.at)).collect();
        Self { versions, entities }
    }

    fn cause(&self, miss: &MinuteMisses) -> Cause {
        let end = Timestamp::from_minute(miss.minute.saturating_add(1));
        let recent = |at: &Timestamp| *at <= end && end.since(*at) <= RECENT;
        let seen = self.versions.get(&miss.view).map_or(&[][..], Vec::as_slice);
        let before = seen.iter().filter(|at| **at <= end).count();
        let version = seen.iter().rev().find(|at| recent(at));
        let entity = self.entities.get(&(&miss.view, &miss.entity)).filter(|at| recent(at));
        match (version, entity) {
            (Some(_), _) if before == 1 => Cause::NewView,
            (Some(version), Some(entity)) if entity < version => Cause::NewVersion,
            (_, Some(_)) => Cause::NewEntity,
            (Some(_), None) => Cause::NewVersion,
            (None, None) => Cause::NewRange,
        }
    }
}

#[cfg(test)]
mod tests;
