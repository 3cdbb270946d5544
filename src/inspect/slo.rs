//! The service level of every process that uses a cache, from its manifest.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::limits::{CRITICAL_FOR, CRITICAL_RATIO, FEWEST_REQUESTS};
use super::quantity::percent;
use crate::config::SloSettings;
use crate::error::Result;
use crate::manifest::Query;
use crate::model::{Outcome, Timestamp, ViewName};
use crate::slo::{BudgetState, ErrorBudget, LONGEST, Series, SloReport, WINDOWS, WindowReport, below, report};

/// What `larder slo` and `/slo` say.
#[derive(Debug, Clone, Serialize)]
pub struct SloFacts {
    /// The view whose requests these are; `None` for all.
    pub view: Option<String>,
    /// The part of the requests that must be served from cache.
    pub objective: f64,
    /// How the budget stands.
    pub state: BudgetState,
    /// The same for people: `41.3 % left`, `overspent by 500 %`.
    pub summary: String,
    /// The error budget.
    pub budget: ErrorBudget,
    /// Every window, shortest first.
    pub windows: Vec<WindowReport>,
    /// Requests of the objective's window by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// The hit ratio of the shortest window as it was [`CRITICAL_FOR`] ago.
    #[serde(skip)]
    pub before: Option<f64>,
}

/// The requests of every minute that any window needs, and the views that are known.
#[derive(Debug)]
pub struct Requests {
    /// The view whose requests these are; `None` for all.
    pub view: Option<ViewName>,
    /// Views that were served or asked for, whosever requests these are.
    pub views: BTreeSet<ViewName>,
    pub(super) series: Series,
}

impl Requests {
    /// Reads those of one view or of all.
    ///
    /// # Errors
    /// Those of the manifest.
    pub fn read(query: &Query<'_>, view: Option<&ViewName>, now: Timestamp) -> Result<Self> {
        let since = now.saturating_sub(LONGEST);
        Ok(Self {
            view: view.cloned(),
            views: query.view_names(since)?,
            series: Series::of_minutes(query.requests(since, view)?),
        })
    }
}

impl SloFacts {
    /// The service level at `now`.
    pub fn new(requests: &Requests, settings: &SloSettings, now: Timestamp) -> Self {
        let report = report(settings.objective, settings.window, |window| requests.series.sum(now, window));
        let [shortest, ..] = WINDOWS;
        let before = requests.series.sum(now.saturating_sub(CRITICAL_FOR), shortest.length).ratio();
        Self { before, ..Self::of(report, requests.view.as_ref()) }
    }

    pub(super) fn of(report: SloReport, view: Option<&ViewName>) -> Self {
        Self {
            view: view.map(ToString::to_string),
            objective: report.objective,
            state: report.budget.state,
            summary: summary(&report.budget),
            budget: report.budget,
            windows: report.windows,
            outcomes: report.outcomes.into_iter().collect(),
            before: None,
        }
    }

    /// The window of this name.
    pub fn window(&self, name: &str) -> Option<&WindowReport> {
        self.windows.iter().find(|window| window.window == name)
    }

    /// The hit ratio of the window of this name; `None` without requests.
    pub fn ratio(&self, window: &str) -> Option<f64> {
        self.window(window)?.hit_ratio
    }

    /// The hit ratio below which the service is failing.
    pub fn critical_ratio(&self) -> f64 {
        CRITICAL_RATIO.min(self.objective)
    }

    /// Whether so many requests miss, and have for long enough, that somebody has to act now.
    pub fn is_critical(&self) -> bool {
        let low = |ratio: Option<f64>| ratio.is_some_and(|ratio| below(ratio, self.critical_ratio()));
        low(self.windows.first().and_then(|shortest| shortest.hit_ratio)) && low(self.before)
    }
}

/// How the budget stands, said in the same way wherever it is said.
fn summary(budget: &ErrorBudget) -> String {
    match (budget.state, budget.remaining) {
        (BudgetState::NoData, _) | (_, None) => "no requests".to_owned(),
        (BudgetState::TooFewRequests, _) => {
            format!("too few requests to judge: {} of {FEWEST_REQUESTS}", budget.requests)
        }
        (BudgetState::Exhausted, Some(left)) => format!("overspent by {}", percent(-left)),
        (BudgetState::Ok | BudgetState::Burning, Some(left)) => format!("{} left", percent(left.max(0.0))),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;
    use crate::manifest::{Journal, Manifest, Record};
    use crate::slo::MinuteCounts;

    pub(in crate::inspect) fn requests(minutes: impl IntoIterator<Item = MinuteCounts>) -> Requests {
        Requests { view: None, views: BTreeSet::new(), series: Series::of_minutes(minutes) }
    }

    pub(in crate::inspect) fn minute(at: i64, outcome: Outcome, count: u64) -> MinuteCounts {
        (at, [(outcome, count)].into_iter().collect())
    }

    fn ratios(minutes: &[MinuteCounts]) -> Vec<Option<f64>> {
        let now = Timestamp::from_secs(100_000 * 60 + 30);
        let facts = SloFacts::new(&requests(minutes.iter().copied()), &SloSettings::default(), now);
        facts.windows.iter().map(|window| window.hit_ratio).collect()
    }

    #[test]
    fn every_window_counts_its_own_minutes() {
        let minutes = [
            minute(100_000 - 2 * 1440, Outcome::Miss, 1),
            minute(100_000 - 45, Outcome::Miss, 1),
            minute(100_000 - 45, Outcome::Stale, 3),
            minute(100_000, Outcome::Hit, 4),
        ];
        let [one, hour, days] = [1.0, 7.0 / 8.0, 7.0 / 9.0].map(Some);
        assert_eq!(ratios(&minutes), [one, one, hour, hour, hour, hour, days, days]);
    }

    #[test]
    fn a_budget_is_told_in_words_once_there_is_enough_to_judge() {
        let told = |good, bad| {
            let minutes = [minute(100_000, Outcome::Hit, good), minute(100_000, Outcome::Miss, bad)];
            let now = Timestamp::from_secs(100_000 * 60 + 30);
            SloFacts::new(&requests(minutes), &SloSettings::default(), now).summary
        };
        assert_eq!(told(0, 0), "no requests");
        assert_eq!(told(0, 53), "too few requests to judge: 53 of 100");
        assert_eq!(told(97, 3), "40 % left");
        assert_eq!(told(95, 5), "0 % left");
        assert_eq!(told(70, 30), "overspent by 500 %");
    }

    #[test]
    fn a_window_without_requests_has_no_ratio() {
        let minutes = [minute(100_000 - 150, Outcome::Hit, 1)];
        assert_eq!(ratios(&minutes)[..5], [None, None, None, None, Some(1.0)]);
    }

    #[test]
    fn views_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let name = |name: &str| ViewName::new(name).unwrap();
        let record = |view: &str, outcome| Record::Requests { minute: 100_000, view: name(view), outcome, count: 1 };
        let journal = Journal::create(dir.path()).unwrap();
        journal.append(&[record("a", Outcome::Hit), record("b", Outcome::Miss)]).unwrap();
        let now = Timestamp::from_minute(100_000);
        let manifest = Manifest::new(dir.path(), Arc::new(ManualClock::new(now.as_ns())));
        let ratio = |view: Option<&str>| {
            let requests = manifest.read(|query| Requests::read(query, view.map(name).as_ref(), now)).unwrap();
            assert_eq!(requests.views, ["a", "b"].map(name).into());
            SloFacts::new(&requests, &SloSettings::default(), now).ratio("5m")
        };
        assert_eq!([None, Some("a"), Some("b")].map(ratio), [0.5, 1.0, 0.0].map(Some));
    }
}
