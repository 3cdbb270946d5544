//! Which views, entities and changes spent the error budget, from the manifest.

mod attribute;
mod cause;
mod changes;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use super::{quantity, text};
use crate::error::Result;
use crate::manifest::Query;
use crate::model::{EntityKey, Outcome, Span, Timestamp, ViewName};

pub use attribute::{Evidence, Spent, attribute};
pub use cause::Cause;
pub use changes::{Change, ago, changes};

/// The most entities that are named for one cause.
const MOST_ENTITIES: usize = 5;

/// Who spent the error budget in a window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spending {
    /// Where the window begins.
    #[serde(serialize_with = "text::shown")]
    pub since: Timestamp,
    /// Where it ends.
    #[serde(serialize_with = "text::shown")]
    pub until: Timestamp,
    /// Requests.
    pub requests: u64,
    /// Those that were not served from cache.
    pub bad: u64,
    /// The rest of all; `None` without requests.
    pub hit_ratio: Option<f64>,
    /// Bad requests by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// The causes, the one that spent most first; of equal ones that which does not pass by itself.
    pub causes: Vec<CauseFacts>,
    /// The views, the one that spent most first.
    pub views: Vec<ViewShare>,
    /// What became different in the window, the newest first.
    pub changes: Vec<Change>,
}

/// What one cause spent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CauseFacts {
    /// Its name.
    pub cause: &'static str,
    /// What happened.
    pub title: String,
    /// Its part of all bad requests. Those of all causes add up to 1.
    pub share: f64,
    /// Blocks that had to be computed for it.
    pub blocks: u64,
    /// Views that it hit, the hardest hit first.
    pub views: Vec<String>,
    /// Entities that it hit hardest, with their view.
    pub entities: Vec<EntityShare>,
    /// Entities beyond these.
    pub more_entities: u64,
    /// What to do.
    pub advice: &'static str,
    /// Arguments of `larder` that do it, where a command can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// What one view spent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ViewShare {
    /// Its name.
    pub view: String,
    /// Its bad requests.
    pub bad: u64,
    /// Its part of all bad requests.
    pub share: f64,
}

/// What one entity spent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntityShare {
    /// The view.
    pub view: String,
    /// The entity.
    pub entity: String,
    /// Its part of all bad requests.
    pub share: f64,
}

impl Evidence {
    /// Reads what happened from `since` to `now`, and in the day before it.
    ///
    /// # Errors
    /// Those of the manifest.
    pub fn read(query: &Query<'_>, since: Timestamp, now: Timestamp) -> Result<Self> {
        let before = since.saturating_sub(attribute::RECENT);
        Ok(Self {
            since,
            requests: query.outcomes(since, now)?,
            misses: query.misses_per_minute(before)?,
            removals: query.removals_per_minute(before)?,
            invalidations: query.invalidations_since(before)?,
            versions: query.views()?,
            entities: query.new_entities(before)?,
        })
    }
}

impl Spending {
    /// Who spent it. `larder warm` can compute the views `warmable`.
    ///
    /// # Errors
    /// Those of the manifest.
    pub fn read(query: &Query<'_>, window: Duration, now: Timestamp, warmable: &BTreeSet<ViewName>) -> Result<Self> {
        let evidence = Evidence::read(query, now.saturating_sub(window), now)?;
        let mut starts: BTreeMap<ViewName, Timestamp> = BTreeMap::new();
        for summary in query.view_summaries()?.into_iter().filter(|summary| warmable.contains(&summary.view)) {
            let start = starts.entry(summary.view).or_insert(summary.first_start);
            *start = summary.first_start.min(*start);
        }
        Ok(Self::new(&evidence, now, &starts))
    }

    /// With the time from which on each view that can be warmed is cached.
    fn new(evidence: &Evidence, now: Timestamp, starts: &BTreeMap<ViewName, Timestamp>) -> Self {
        let requests: u64 = evidence.requests.iter().map(|of| of.count).sum();
        let mut outcomes: BTreeMap<Outcome, u64> = BTreeMap::new();
        let mut views: BTreeMap<&ViewName, u64> = BTreeMap::new();
        for of in evidence.requests.iter().filter(|of| !of.outcome.is_good()) {
            *outcomes.entry(of.outcome).or_default() += of.count;
            *views.entry(&of.view).or_default() += of.count;
        }
        let bad: u64 = outcomes.values().sum();
        let mut views: Vec<_> = views
            .into_iter()
            .map(|(view, spent)| ViewShare { view: view.to_string(), bad: spent, share: part(spent, bad) })
            .collect();
        views.sort_by(|a, b| b.bad.cmp(&a.bad).then_with(|| a.view.cmp(&b.view)));
        let mut causes: Vec<_> = attribute(evidence).into_iter().collect();
        // Requests are shared out in fractions: what differs by less than a thousandth of one does not differ.
        let spent = |(_, spent): &(Cause, Spent)| (spent.requests * 1000.0).round();
        causes.sort_by(|a, b| spent(b).total_cmp(&spent(a)).then_with(|| a.0.passes().cmp(&b.0.passes())));
        let causes = causes.iter().map(|(cause, spent)| facts(cause, spent, bad, starts)).collect();
        Self {
            since: evidence.since,
            until: now,
            requests,
            bad,
            hit_ratio: (requests > 0).then(|| part(requests - bad, requests)),
            outcomes,
            causes,
            views,
            changes: changes(evidence),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 requests are enough")]
fn part(of: u64, all: u64) -> f64 {
    of as f64 / all.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "2^53 requests are enough")]
fn facts(cause: &Cause, spent: &Spent, bad: u64, starts: &BTreeMap<ViewName, Timestamp>) -> CauseFacts {
    let share = |requests: f64| requests / bad.max(1) as f64;
    let mut views: BTreeMap<&ViewName, f64> = BTreeMap::new();
    spent.places.iter().for_each(|((view, _), requests)| *views.entry(view).or_default() += requests);
    let mut views: Vec<_> = views.into_iter().collect();
    views.sort_by(|a, b| b.1.total_cmp(&a.1));
    let of_entity = |((view, entity), requests): (&(ViewName, Option<EntityKey>), &f64)| {
        let entity = entity.as_ref()?.to_string();
        Some(EntityShare { view: view.to_string(), entity, share: share(*requests) })
    };
    let mut entities: Vec<_> = spent.places.iter().filter_map(of_entity).collect();
    entities.sort_by(|a, b| b.share.total_cmp(&a.share));
    let more_entities = entities.len().saturating_sub(MOST_ENTITIES) as u64;
    entities.truncate(MOST_ENTITIES);
    let warming = |(view, _): &(&ViewName, f64)| {
        let start = quantity::time(Span::Day.block_of(*starts.get(*view)?).start());
        Some(format!("warm --view {view} --start {start}"))
    };
    let command = cause.command(views.iter().find_map(warming));
    CauseFacts {
        cause: cause.as_str(),
        title: cause.title(),
        share: share(spent.requests),
        blocks: spent.blocks,
        views: views.into_iter().map(|(view, _)| view.to_string()).collect(),
        entities,
        more_entities,
        advice: cause.advice(),
        command,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{MinuteMisses, MinuteRemovals, OutcomeCount, RemovalReason, ViewVersion};
    use crate::model::{Fingerprint, MissReason};

    /// A view that was seen first at second 30 of its minute; blocks of it missed, and of these so many after they
    /// had been evicted.
    fn spending(missed: u64, evicted: u64, starts: &BTreeMap<ViewName, Timestamp>) -> Spending {
        let view = ViewName::new("v").unwrap();
        let entity = EntityKey::new([("symbol", "A")]).unwrap();
        let first_seen = Timestamp::from_secs(100_000 * 60 + 30);
        let at = |minute, blocks| MinuteMisses {
            minute,
            view: view.clone(),
            entity: entity.clone(),
            reason: MissReason::Absent,
            blocks,
            requests: 0,
        };
        let evidence = Evidence {
            since: Timestamp::from_minute(99_900),
            requests: vec![OutcomeCount { view: view.clone(), outcome: Outcome::Miss, count: 3 }],
            misses: vec![at(100_000, missed)],
            removals: vec![MinuteRemovals {
                minute: 100_000,
                view: view.clone(),
                entity: entity.clone(),
                reason: RemovalReason::Size,
                blocks: evicted,
                young: 0,
            }],
            versions: vec![ViewVersion {
                view: view.clone(),
                fingerprint: Fingerprint::of(b"v"),
                definition: "{}".to_owned(),
                first_seen,
                last_seen: first_seen,
            }],
            entities: vec![crate::manifest::FirstSeen { view, entity, at: Timestamp::from_minute(100_000) }],
            ..Evidence::default()
        };
        Spending::new(&evidence, Timestamp::from_minute(100_010), starts)
    }

    fn causes(missed: u64, evicted: u64) -> Vec<&'static str> {
        let spending = spending(missed, evicted, &BTreeMap::new());
        spending.causes.iter().map(|cause| cause.cause).collect()
    }

    #[test]
    fn what_spent_most_comes_first_and_of_equal_ones_what_needs_somebody() {
        assert_eq!(causes(10, 6), ["evicted_size", "new_view"]);
        assert_eq!(causes(10, 4), ["new_view", "evicted_size"]);
        assert_eq!(causes(10, 5), ["evicted_size", "new_view"]);
    }

    #[test]
    fn no_effect_is_told_before_its_cause() {
        let changes = spending(10, 5, &BTreeMap::new()).changes;
        let told: Vec<&str> = changes.iter().map(|change| change.what.split(' ').nth(1).unwrap()).collect();
        assert_eq!(told, ["blocks", "new", "view,"], "the newest first: {changes:?}");
        assert!(changes.is_sorted_by(|newer, older| newer.at >= older.at), "{changes:?}");
        assert!(changes[2].what.starts_with("new view, fingerprint "), "{changes:?}");
    }

    #[test]
    fn a_view_that_can_be_warmed_is_warmed_from_its_first_day_on() {
        let starts = [(ViewName::new("v").unwrap(), "2024-03-08T13:00".parse().unwrap())].into();
        let command = |starts| spending(10, 4, starts).causes.remove(0).command;
        assert_eq!(command(&starts).as_deref(), Some("warm --view v --start 2024-03-08"));
        assert_eq!(command(&BTreeMap::new()), None);
    }
}
