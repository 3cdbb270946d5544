//! The service level of every process that uses a cache, from its manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::config::SloSettings;
use crate::error::Result;
use crate::manifest::{MinuteCount, Query};
use crate::model::{Outcome, Timestamp, ViewName};
use crate::slo::{BudgetState, Counts, ErrorBudget, Series, SloReport, WINDOWS, WindowReport, report};

const MINUTE: Duration = Duration::from_secs(60);

/// What `larder slo` and `/slo` say.
#[derive(Debug, Clone, Serialize)]
pub struct SloFacts {
    /// The view whose requests these are; `None` for all.
    pub view: Option<String>,
    /// The part of the requests that must be served from cache.
    pub objective: f64,
    /// How the budget stands.
    pub state: BudgetState,
    /// The error budget.
    pub budget: ErrorBudget,
    /// Every window, shortest first.
    pub windows: Vec<WindowReport>,
    /// Requests of the objective's window by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
}

/// The requests of every minute that any window needs, and the views that are known.
#[derive(Debug)]
pub struct Requests {
    /// Requests by minute, view and outcome.
    pub minutes: Vec<MinuteCount>,
    /// Views that were served or asked for.
    pub views: BTreeSet<ViewName>,
}

impl Requests {
    /// Reads them.
    ///
    /// # Errors
    /// Those of the manifest.
    pub fn read(query: &Query<'_>, now: Timestamp) -> Result<Self> {
        let minutes = query.requests_per_minute(now.saturating_sub(longest()))?;
        let seen = query.views()?.into_iter().map(|version| version.view);
        let views = seen.chain(minutes.iter().map(|minute| minute.view.clone())).collect();
        Ok(Self { minutes, views })
    }
}

impl SloFacts {
    /// The service level at `now`, of one view or of all.
    pub fn new(requests: &Requests, view: Option<&ViewName>, settings: &SloSettings, now: Timestamp) -> Self {
        let report = at(now, &requests.minutes, view, settings);
        Self {
            view: view.map(ToString::to_string),
            objective: report.objective,
            state: report.budget.state,
            budget: report.budget,
            windows: report.windows,
            outcomes: report.outcomes.into_iter().collect(),
        }
    }
}

fn longest() -> Duration {
    WINDOWS.iter().map(|window| window.length).max().unwrap_or_default()
}

/// The service level at `now`, from the requests of every minute.
fn at(now: Timestamp, minutes: &[MinuteCount], view: Option<&ViewName>, settings: &SloSettings) -> SloReport {
    let mut series = Series::new(MINUTE, longest() + 2 * MINUTE);
    for minute in minutes.iter().filter(|minute| view.is_none_or(|view| *view == minute.view)) {
        let counts: Counts = [(minute.outcome, minute.count)].into_iter().collect();
        series.add(Timestamp::from_secs(minute.minute.saturating_mul(60)), &counts);
    }
    report(settings.objective, settings.window, |window| series.sum(now, window))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(at: i64, view: &str, outcome: Outcome, count: u64) -> MinuteCount {
        MinuteCount { minute: at, view: ViewName::new(view).unwrap(), outcome, count }
    }

    fn ratios(minutes: &[MinuteCount], view: Option<&str>) -> Vec<Option<f64>> {
        let view = view.map(|view| ViewName::new(view).unwrap());
        let report = at(Timestamp::from_secs(100_000 * 60 + 30), minutes, view.as_ref(), &SloSettings::default());
        report.windows.iter().map(|window| window.hit_ratio).collect()
    }

    #[test]
    fn every_window_counts_its_own_minutes() {
        let minutes = [
            minute(100_000 - 2 * 1440, "a", Outcome::Miss, 1),
            minute(100_000 - 45, "a", Outcome::Miss, 1),
            minute(100_000 - 45, "a", Outcome::Stale, 3),
            minute(100_000, "a", Outcome::Hit, 4),
        ];
        let [one, hour, days] = [1.0, 7.0 / 8.0, 7.0 / 9.0].map(Some);
        assert_eq!(ratios(&minutes, None), [one, one, hour, hour, hour, days, days]);
    }

    #[test]
    fn a_window_without_requests_has_no_ratio() {
        let minutes = [minute(100_000 - 120, "a", Outcome::Hit, 1)];
        assert_eq!(ratios(&minutes, None)[..4], [None, None, None, Some(1.0)]);
    }

    #[test]
    fn views_are_told_apart() {
        let minutes = [minute(100_000, "a", Outcome::Hit, 1), minute(100_000, "b", Outcome::Miss, 1)];
        assert_eq!([None, Some("a"), Some("b")].map(|view| ratios(&minutes, view)[0]), [0.5, 1.0, 0.0].map(Some));
    }
}
