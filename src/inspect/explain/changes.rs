//! What became different: versions, entities, invalidations, removals.

use std::collections::BTreeMap;

use serde::Serialize;

use super::attribute::Evidence;
use crate::inspect::quantity::{counted, rough};
use crate::inspect::text;
use crate::manifest::RemovalReason;
use crate::model::{Timestamp, ViewName};

/// So many names are listed before the rest is only counted.
const MOST_NAMES: usize = 3;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// When, or when first.
    #[serde(serialize_with = "text::shown")]
    pub at: Timestamp,
    /// Of which view.
    pub view: String,
    /// What.
    pub what: String,
}

/// What happened in the window, the newest first; the same again and again is told once.
pub fn changes(evidence: &Evidence) -> Vec<Change> {
    // In the order in which one leads to the other, which the stable sort keeps among equal times.
    let mut changes = versions(evidence);
    changes.extend(entities(evidence));
    changes.extend(removals(evidence));
    changes.extend(invalidations(evidence));
    changes.sort_by_key(|change| change.at);
    changes.reverse();
    changes
}

/// A time of which only the minute is kept: nothing happened to a view before the view was there.
fn within_minute(evidence: &Evidence, view: &ViewName, minute: Timestamp) -> Timestamp {
    let first =
        evidence.versions.iter().filter(|version| version.view == *view).map(|version| version.first_seen).min();
    first.filter(|first| first.minute() == minute.minute()).map_or(minute, |first| first.max(minute))
}

fn versions(evidence: &Evidence) -> Vec<Change> {
    let is_new = |at: Timestamp| at >= evidence.since;
    let known =
        |view: &ViewName| evidence.versions.iter().any(|version| version.view == *view && !is_new(version.first_seen));
    let change = |version: &crate::manifest::ViewVersion| {
        let what = if known(&version.view) { "new version" } else { "new view" };
        Change {
            at: version.first_seen,
            view: version.view.to_string(),
            what: format!("{what}, fingerprint {}", version.fingerprint),
        }
    };
    evidence.versions.iter().filter(|version| is_new(version.first_seen)).map(change).collect()
}

fn entities(evidence: &Evidence) -> Vec<Change> {
    let mut views: BTreeMap<&ViewName, Vec<(Timestamp, String)>> = BTreeMap::new();
    for first in evidence.entities.iter().filter(|first| first.at >= evidence.since) {
        views.entry(&first.view).or_default().push((first.at, first.entity.to_string()));
    }
    let change = |(view, mut seen): (&ViewName, Vec<(Timestamp, String)>)| {
        seen.sort();
        let at = within_minute(evidence, view, seen.first().map_or(evidence.since, |(at, _)| *at));
        let names: Vec<String> = seen.iter().take(MOST_NAMES).map(|(_, name)| name.clone()).collect();
        let more = if seen.len() > MOST_NAMES { ", …" } else { "" };
        let number = counted(seen.len() as u64, "new entity", "new entities");
        Change { at, view: view.to_string(), what: format!("{number}: {}{more}", names.join("; ")) }
    };
    views.into_iter().map(change).collect()
}

fn invalidations(evidence: &Evidence) -> Vec<Change> {
    let mut groups: BTreeMap<(&ViewName, &str), (Timestamp, u64, u64)> = BTreeMap::new();
    for done in evidence.invalidations.iter().filter(|done| done.at >= evidence.since) {
        let (last, times, blocks) = groups.entry((&done.view, &done.cause)).or_insert((done.at, 0, 0));
        (*last, *times, *blocks) = ((*last).max(done.at), *times + 1, *blocks + done.blocks);
    }
    let change = |((view, cause), (at, times, blocks)): ((&ViewName, &str), (Timestamp, u64, u64))| {
        let blocks = counted(blocks, "block", "blocks");
        let times = if times == 1 { String::new() } else { format!(", in {}", counted(times, "time", "times")) };
        Change { at, view: view.to_string(), what: format!("invalidated {blocks}{times}: {cause}") }
    };
    groups.into_iter().map(change).collect()
}

fn removals(evidence: &Evidence) -> Vec<Change> {
    let begin = evidence.since.minute();
    let mut groups: BTreeMap<(&ViewName, RemovalReason), (i64, u64)> = BTreeMap::new();
    let told = |row: &&crate::manifest::MinuteRemovals| row.reason != RemovalReason::Invalidated && row.minute >= begin;
    for row in evidence.removals.iter().filter(told) {
        let (last, blocks) = groups.entry((&row.view, row.reason)).or_insert((row.minute, 0));
        (*last, *blocks) = ((*last).max(row.minute), *blocks + row.blocks);
    }
    let change = |((view, reason), (minute, blocks)): ((&ViewName, RemovalReason), (i64, u64))| {
        let what = match reason {
            RemovalReason::Quarantined => "quarantined",
            _ => "removed by cleaning",
        };
        let at = within_minute(evidence, view, Timestamp::from_minute(minute));
        Change { at, view: view.to_string(), what: format!("{} {what} ({reason})", counted(blocks, "block", "blocks")) }
    };
    groups.into_iter().map(change).collect()
}

/// `3 h before the end of the window`, for people who do not think in UTC.
pub fn ago(now: Timestamp, at: Timestamp) -> String {
    format!("{} ago", rough(now.since(at)))
}
