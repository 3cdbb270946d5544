//! One line per view.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answers, DAY, MINUTE};
use crate::model::{EntityKey, MissReason, Timestamp, ViewName};
use crate::slo::Counts;

/// So many of the most frequent misses of a view are named.
const WORST: usize = 3;

/// How one view is doing.
#[derive(Debug, Clone)]
pub struct ViewStatus {
    /// Its name.
    pub view: ViewName,
    /// Requests of the last 24 hours by outcome.
    pub counts: Counts,
    /// Blocks of all its versions.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The event time of the newest row of the version that was served last; `None` without rows.
    pub newest: Option<Timestamp>,
    /// Why blocks were computed in the last 24 hours, and how many, the most frequent reason first.
    pub reasons: Vec<(MissReason, u64)>,
    /// What was computed most often in the last 24 hours.
    pub worst: Vec<WorstMiss>,
}

/// An entity whose blocks were computed often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorstMiss {
    /// Which.
    pub entity: EntityKey,
    /// Why.
    pub reason: MissReason,
    /// How many blocks.
    pub blocks: u64,
}

impl ViewStatus {
    /// Requests that spent budget.
    pub fn bad(&self) -> u64 {
        self.counts.total() - self.counts.good()
    }
}

/// Every view that has blocks or was asked for, the one that spends most first.
pub(super) fn views(answers: &Answers, now: Timestamp) -> Vec<ViewStatus> {
    let with_blocks = answers.summaries.iter().map(|summary| &summary.view);
    let names: BTreeSet<&ViewName> = with_blocks.chain(&answers.requests.views).collect();
    let counts = counts(answers, now);
    let mut views: Vec<ViewStatus> = names
        .into_iter()
        .map(|view| {
            let summaries = || answers.summaries.iter().filter(|summary| summary.view == *view);
            ViewStatus {
                view: view.clone(),
                counts: counts.get(view).copied().unwrap_or_default(),
                blocks: summaries().map(|summary| summary.totals.blocks).sum(),
                bytes: summaries().map(|summary| summary.totals.bytes).sum(),
                newest: newest(answers, view),
                reasons: reasons(answers, view),
                worst: worst(answers, view),
            }
        })
        .collect();
    // By name already, and the sort is stable.
    views.sort_by_key(|view| std::cmp::Reverse((view.bad(), view.counts.total())));
    views
}

fn counts(answers: &Answers, now: Timestamp) -> BTreeMap<&ViewName, Counts> {
    let minute_of = |at: Timestamp| at.as_ns().div_euclid(i64::try_from(MINUTE.as_nanos()).unwrap_or(i64::MAX));
    // The minutes that the report's window of a day has.
    let (first, last) = (minute_of(now.saturating_sub(DAY)) + 1, minute_of(now));
    let mut counts: BTreeMap<&ViewName, Counts> = BTreeMap::new();
    for minute in answers.requests.minutes.iter().filter(|minute| (first..=last).contains(&minute.minute)) {
        counts.entry(&minute.view).or_default().add(minute.outcome, minute.count);
    }
    counts
}

/// The event time of the newest row. Versions that are served no longer say nothing about freshness.
fn newest(answers: &Answers, view: &ViewName) -> Option<Timestamp> {
    let versions = answers.versions.iter().filter(|version| version.view == *view);
    let current = versions.max_by_key(|version| version.last_seen).map(|version| version.fingerprint);
    let of_view = || answers.summaries.iter().filter(|summary| summary.view == *view);
    let of_current = of_view().find(|summary| Some(summary.fingerprint) == current);
    of_current.map_or_else(|| of_view().map(|summary| summary.newest).max().flatten(), |summary| summary.newest)
}

fn reasons(answers: &Answers, view: &ViewName) -> Vec<(MissReason, u64)> {
    let mut reasons: BTreeMap<MissReason, u64> = BTreeMap::new();
    for miss in answers.misses.iter().filter(|miss| miss.view == *view) {
        *reasons.entry(miss.reason).or_default() += miss.count;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, blocks)| std::cmp::Reverse(*blocks));
    reasons
}

fn worst(answers: &Answers, view: &ViewName) -> Vec<WorstMiss> {
    let of_view = answers.misses.iter().filter(|miss| miss.view == *view).take(WORST);
    of_view.map(|miss| WorstMiss { entity: miss.entity.clone(), reason: miss.reason, blocks: miss.count }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answers, minute};
    use super::*;
    use crate::manifest::{MinuteCount, TopMiss, Totals, ViewSummary, ViewVersion};
    use crate::model::{Fingerprint, Outcome};

    const NOW: Timestamp = Timestamp::from_secs(100_000 * 60);

    fn name(name: &str) -> ViewName {
        ViewName::new(name).unwrap()
    }

    fn summary(version: &[u8], known_until: Timestamp) -> ViewSummary {
        let totals = Totals { blocks: 2, tails: 0, rows: 10, bytes: 100 };
        ViewSummary {
            view: name("v"),
            fingerprint: Fingerprint::of(version),
            totals,
            entities: 1,
            first_start: known_until,
            last_start: known_until,
            known_until,
            last_used: known_until,
            newest: Some(known_until),
        }
    }

    #[test]
    fn the_view_that_spends_most_comes_first() {
        let of = |view, outcome, count| MinuteCount { view: name(view), ..minute(99_990, outcome, count) };
        let minutes = vec![of("busy", Outcome::Hit, 1000), of("quiet", Outcome::Miss, 2), of("bad", Outcome::Error, 3)];
        let mut answers = answers(minutes);
        answers.requests.views = ["busy", "quiet", "bad", "asleep"].map(name).into();
        let order: Vec<_> = views(&answers, NOW).iter().map(|view| view.view.to_string()).collect();
        assert_eq!(order, ["bad", "quiet", "busy", "asleep"]);
    }

    #[test]
    fn requests_of_yesterday_and_tomorrow_are_not_of_the_last_day() {
        let mut answers =
            answers([98_559, 98_560, 98_561, 100_000, 100_001].map(|at| minute(at, Outcome::Hit, 1)).into());
        answers.requests.views = [name("v")].into();
        assert_eq!(views(&answers, NOW)[0].counts.total(), 2);
    }

    #[test]
    fn the_version_that_is_served_says_how_fresh_a_view_is() {
        let mut answers = answers(Vec::new());
        let (old, new) = (Timestamp::from_secs(900), Timestamp::from_secs(500));
        answers.summaries = vec![summary(b"old", old), summary(b"new", new)];
        assert_eq!(views(&answers, NOW)[0].newest, Some(old), "nobody said which is served");
        let seen = |version: &[u8], secs| ViewVersion {
            view: name("v"),
            fingerprint: Fingerprint::of(version),
            definition: String::new(),
            first_seen: Timestamp::from_secs(0),
            last_seen: Timestamp::from_secs(secs),
        };
        answers.versions = vec![seen(b"old", 10), seen(b"new", 20)];
        let view = &views(&answers, NOW)[0];
        assert_eq!((view.newest, view.blocks, view.bytes), (Some(new), 4, 200));
    }

    #[test]
    fn reasons_add_up_over_entities() {
        let mut answers = answers(Vec::new());
        let miss = |symbol: &str, reason, count| TopMiss {
            view: name("v"),
            entity: EntityKey::new([("symbol", symbol)]).unwrap(),
            reason,
            count,
        };
        answers.requests.views = [name("v")].into();
        answers.misses =
            vec![miss("A", MissReason::Absent, 5), miss("B", MissReason::Tail, 4), miss("C", MissReason::Tail, 3)];
        let view = &views(&answers, NOW)[0];
        assert_eq!(view.reasons, [(MissReason::Tail, 7), (MissReason::Absent, 5)]);
        assert_eq!(view.worst[0].blocks, 5);
    }
}
