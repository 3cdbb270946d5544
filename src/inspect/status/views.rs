//! One line per view.

use std::collections::{BTreeMap, BTreeSet};

use super::Answers;
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
pub(super) fn views(answers: &Answers) -> Vec<ViewStatus> {
    let with_blocks = answers.survey.summaries.iter().map(|summary| &summary.view);
    let names: BTreeSet<&ViewName> = with_blocks.chain(&answers.survey.requests.views).collect();
    let counts = counts(answers);
    let mut views: Vec<ViewStatus> = names
        .into_iter()
        .map(|view| {
            let summaries = || answers.survey.summaries.iter().filter(|summary| summary.view == *view);
            ViewStatus {
                view: view.clone(),
                counts: counts.get(view).copied().unwrap_or_default(),
                blocks: summaries().map(|summary| summary.totals.blocks).sum(),
                bytes: summaries().map(|summary| summary.totals.bytes).sum(),
                newest: summaries().filter(|summary| summary.current).filter_map(|summary| summary.newest).max(),
                reasons: reasons(answers, view),
                worst: worst(answers, view),
            }
        })
        .collect();
    // By name already, and the sort is stable.
    views.sort_by_key(|view| std::cmp::Reverse((view.bad(), view.counts.total())));
    views
}

fn counts(answers: &Answers) -> BTreeMap<&ViewName, Counts> {
    let mut counts: BTreeMap<&ViewName, Counts> = BTreeMap::new();
    for row in &answers.day {
        counts.entry(&row.view).or_default().add(row.outcome, row.count);
    }
    counts
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
    use super::super::testing::answers;
    use super::*;
    use crate::manifest::{OutcomeCount, TopMiss, Totals, ViewSummary};
    use crate::model::{Fingerprint, Outcome};

    fn name(name: &str) -> ViewName {
        ViewName::new(name).unwrap()
    }

    fn summary(version: &[u8], known_until: Timestamp, current: bool) -> ViewSummary {
        let totals = Totals { blocks: 2, tails: 0, rows: 10, bytes: 100 };
        ViewSummary {
            view: name("v"),
            fingerprint: Fingerprint::of(version),
            totals,
            computing: std::time::Duration::ZERO,
            entities: 1,
            first_start: known_until,
            last_start: known_until,
            known_until,
            last_used: known_until,
            newest: Some(known_until),
            current,
        }
    }

    #[test]
    fn the_view_that_spends_most_comes_first() {
        let of = |view, outcome, count| OutcomeCount { view: name(view), outcome, count };
        let mut answers = answers([]);
        answers.day = vec![of("busy", Outcome::Hit, 1000), of("quiet", Outcome::Miss, 2), of("bad", Outcome::Error, 3)];
        answers.survey.requests.views = ["busy", "quiet", "bad", "asleep"].map(name).into();
        let order: Vec<_> = views(&answers).iter().map(|view| view.view.to_string()).collect();
        assert_eq!(order, ["bad", "quiet", "busy", "asleep"]);
    }

    #[test]
    fn the_version_that_is_served_says_how_fresh_a_view_is() {
        let mut answers = answers([]);
        let (old, new) = (Timestamp::from_secs(900), Timestamp::from_secs(500));
        answers.survey.summaries = vec![summary(b"old", old, false), summary(b"new", new, true)];
        let view = &views(&answers)[0];
        assert_eq!((view.newest, view.blocks, view.bytes), (Some(new), 4, 200));
    }

    #[test]
    fn reasons_add_up_over_entities() {
        let mut answers = answers([]);
        let miss = |symbol: &str, reason, count| TopMiss {
            view: name("v"),
            entity: EntityKey::new([("symbol", symbol)]).unwrap(),
            reason,
            count,
        };
        answers.survey.requests.views = [name("v")].into();
        answers.misses =
            vec![miss("A", MissReason::Absent, 5), miss("B", MissReason::Tail, 4), miss("C", MissReason::Tail, 3)];
        let view = &views(&answers)[0];
        assert_eq!(view.reasons, [(MissReason::Tail, 7), (MissReason::Absent, 5)]);
        assert_eq!(view.worst[0].blocks, 5);
    }
}
