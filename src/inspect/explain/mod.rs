//! Which views, entities and changes spent the error budget, from the manifest.

mod attribute;
mod cause;
mod changes;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::text;
use crate::error::Result;
use crate::manifest::Query;
use crate::model::{EntityKey, Outcome, Timestamp, ViewName};

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
    /// The causes, the one that spent most first.
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
    /// Arguments of `larder` that do it or show more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<&'static str>,
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
    /// Who spent it, of one view or of all.
    ///
    /// # Errors
    /// Those of the manifest.
    pub fn read(query: &Query<'_>, window: Duration, now: Timestamp) -> Result<Self> {
        Ok(Self::new(&Evidence::read(query, now.saturating_sub(window), now)?, now))
    }

    fn new(evidence: &Evidence, now: Timestamp) -> Self {
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
        let mut causes: Vec<_> = attribute(evidence).iter().map(|(cause, spent)| facts(cause, spent, bad)).collect();
        causes.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.title.cmp(&b.title)));
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
fn facts(cause: &Cause, spent: &Spent, bad: u64) -> CauseFacts {
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
    let (advice, command) = cause.fix();
    CauseFacts {
        cause: cause.as_str(),
        title: cause.title(),
        share: share(spent.requests),
        blocks: spent.blocks,
        views: views.into_iter().map(|(view, _)| view.to_string()).collect(),
        entities,
        more_entities,
        advice,
        command,
    }
}
