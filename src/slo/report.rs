//! Windows, error budget and burn rates: arithmetic alone.
//!
//! The terms are those of the Site Reliability Workbook, chapter 5, "Alerting on SLOs".

use std::time::Duration;

use serde::Serialize;

use super::counts::Counts;
use crate::model::Outcome;

/// A sliding window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its name in metrics and output.
    pub name: &'static str,
    /// Its length.
    pub length: Duration,
}

const fn minutes(name: &'static str, minutes: u64) -> Window {
    Window { name, length: Duration::from_secs(minutes * 60) }
}

/// The windows that every report has, shortest first.
pub const WINDOWS: [Window; 8] = [
    minutes("5m", 5),
    minutes("30m", 30),
    minutes("1h", 60),
    minutes("2h", 120),
    minutes("6h", 360),
    minutes("1d", 1440),
    minutes("3d", 4320),
    minutes("30d", 43_200),
];

/// The longest of them: history that is older matters to nobody.
pub const LONGEST: Duration = {
    let [.., longest] = WINDOWS;
    longest.length
};

/// Ratios that are equal on paper differ in their last bits, as 1 - 0.95 does.
const EXACT: f64 = 1e-9;

/// Whether a ratio, a rate or what is left of a budget is below a limit: the objective says "at least".
pub fn below(value: f64, limit: f64) -> bool {
    value < limit - EXACT
}

/// A window of fewer requests says nothing of a budget: one miss would be a large part of it.
pub const FEWEST_REQUESTS: u64 = 100;

/// How the error budget stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetState {
    /// No requests in the window: nothing can be said.
    NoData,
    /// Fewer than [`FEWEST_REQUESTS`] in the window: too few to judge.
    TooFewRequests,
    /// The objective is met and the budget would last.
    Ok,
    /// The objective is met, but at the rate of the last hour the budget ends before the window does.
    Burning,
    /// The objective of the window is missed.
    Exhausted,
}

/// One window of the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WindowReport {
    /// Its name: `5m` to `30d`.
    pub window: &'static str,
    /// Requests.
    pub requests: u64,
    /// Requests served from cache.
    pub good: u64,
    /// good / requests; `None` without requests.
    pub hit_ratio: Option<f64>,
    /// Miss ratio / (1 - objective): 1 spends the budget exactly within its window. `None` without requests.
    pub burn_rate: Option<f64>,
}

/// The error budget of the objective's window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ErrorBudget {
    /// The window over which it is counted, in seconds.
    pub window_seconds: u64,
    /// Requests in that window.
    pub requests: u64,
    /// Requests that may miss: (1 - objective) x requests.
    pub allowed: f64,
    /// Requests that did.
    pub spent: u64,
    /// 1 - spent / allowed; below 0 when overspent, `None` without requests. Of few requests it says little:
    /// `state` judges.
    pub remaining: Option<f64>,
    /// Seconds until nothing is left at the burn rate of the last hour; `None` where it would last.
    pub exhausted_in_seconds: Option<u64>,
    /// How it stands.
    pub state: BudgetState,
}

/// What `larder slo` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SloReport {
    /// The part of the requests that must be served from cache.
    pub objective: f64,
    /// The error budget.
    pub budget: ErrorBudget,
    /// Every window, shortest first.
    pub windows: Vec<WindowReport>,
    /// Requests of the objective's window by outcome.
    pub outcomes: Vec<(Outcome, u64)>,
}

/// Makes a report from what was counted in each window.
pub fn report(objective: f64, budget_window: Duration, count: impl Fn(Duration) -> Counts) -> SloReport {
    let windows: Vec<_> =
        WINDOWS.iter().map(|window| window_report(objective, *window, &count(window.length))).collect();
    let counts = count(budget_window);
    let last_hour = windows.iter().find(|window| window.window == "1h").and_then(WindowReport::judged_burn_rate);
    SloReport {
        objective,
        budget: budget(objective, budget_window, &counts, last_hour),
        windows,
        outcomes: counts.iter().collect(),
    }
}

impl WindowReport {
    /// The burn rate, where there were requests enough to judge it by.
    pub fn judged_burn_rate(&self) -> Option<f64> {
        self.burn_rate.filter(|_| can_be_judged(self.requests))
    }
}

const fn can_be_judged(requests: u64) -> bool {
    requests >= FEWEST_REQUESTS
}

fn window_report(objective: f64, window: Window, counts: &Counts) -> WindowReport {
    let hit_ratio = counts.ratio();
    WindowReport {
        window: window.name,
        requests: counts.total(),
        good: counts.good(),
        hit_ratio,
        burn_rate: hit_ratio.map(|ratio| (1.0 - ratio) / (1.0 - objective)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 requests are enough")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float becomes the nearest u64")]
fn budget(objective: f64, window: Duration, counts: &Counts, last_hour: Option<f64>) -> ErrorBudget {
    let (requests, spent) = (counts.total(), counts.total() - counts.good());
    let allowed = (1.0 - objective) * requests as f64;
    let remaining = (requests > 0).then(|| 1.0 - spent as f64 / allowed);
    let judged = remaining.filter(|_| can_be_judged(requests));
    // At a burn rate of 1 or less the budget comes back as fast as it goes: it is never used up.
    let burning = last_hour.filter(|rate| *rate > 1.0);
    let exhausted_in = judged.zip(burning).map(|(left, rate)| left.max(0.0) * window.as_secs_f64() / rate);
    let state = match (judged, last_hour) {
        (None, _) if requests == 0 => BudgetState::NoData,
        (None, _) => BudgetState::TooFewRequests,
        // Nothing left is not yet overspent.
        (Some(left), _) if below(left, 0.0) => BudgetState::Exhausted,
        (_, Some(rate)) if rate > 1.0 => BudgetState::Burning,
        _ => BudgetState::Ok,
    };
    ErrorBudget {
        window_seconds: window.as_secs(),
        requests,
        allowed,
        spent,
        remaining,
        exhausted_in_seconds: exhausted_in.map(|seconds| seconds as u64),
        state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MONTH: Duration = Duration::from_secs(30 * 86_400);

    fn counts(good: u64, bad: u64) -> Counts {
        [(Outcome::Hit, good), (Outcome::Miss, bad)].into_iter().collect()
    }

    #[test]
    fn a_window_is_as_long_as_its_name_says() {
        for window in WINDOWS {
            assert_eq!(humantime::parse_duration(window.name).unwrap(), window.length);
        }
        assert!(WINDOWS.map(|window| window.length).is_sorted());
        assert_eq!(LONGEST, MONTH);
    }

    #[test]
    fn without_requests_nothing_is_claimed() {
        let report = report(0.95, MONTH, |_| Counts::default());
        assert_eq!(report.budget.state, BudgetState::NoData);
        assert_eq!(report.budget.remaining, None);
        assert!(report.windows.iter().all(|window| window.hit_ratio.is_none() && window.burn_rate.is_none()));
    }

    #[test]
    fn exactly_the_objective_spends_exactly_the_budget() {
        let report = report(0.95, MONTH, |_| counts(95, 5));
        assert!(report.budget.remaining.unwrap().abs() < 1e-9);
        assert!((report.windows[0].burn_rate.unwrap() - 1.0).abs() < 1e-9);
        assert_ne!(report.budget.state, BudgetState::Exhausted);
        assert_eq!(super::report(0.95, MONTH, |_| counts(94, 6)).budget.state, BudgetState::Exhausted);
    }

    #[test]
    fn fewer_than_a_hundred_requests_are_too_few_to_judge() {
        let few = report(0.95, MONTH, |_| counts(62, 37)).budget;
        assert_eq!((few.state, few.exhausted_in_seconds), (BudgetState::TooFewRequests, None));
        assert!(few.remaining.is_some_and(|left| left < -6.0), "{few:?}");
        assert_eq!(report(0.95, MONTH, |_| counts(62, 38)).budget.state, BudgetState::Exhausted);
        let hour = Duration::from_secs(3600);
        let quiet = report(0.95, MONTH, |window| if window <= hour { counts(9, 90) } else { counts(9999, 1) });
        assert_eq!(quiet.budget.state, BudgetState::Ok, "an hour of 99 requests does not burn");
    }

    #[test]
    fn a_burn_rate_of_two_ends_half_a_budget_in_a_quarter_of_the_window() {
        let hour = Duration::from_secs(3600);
        let report = report(0.95, MONTH, |window| if window <= hour { counts(90, 10) } else { counts(975, 25) });
        assert!((report.budget.remaining.unwrap() - 0.5).abs() < 1e-9);
        let days = report.budget.exhausted_in_seconds.unwrap() as f64 / 86_400.0;
        assert!((days - 7.5).abs() < 0.01, "{days}");
        assert_eq!(report.budget.state, BudgetState::Burning);
    }

    #[test]
    fn a_quiet_hour_promises_no_end() {
        let report = report(0.95, MONTH, |window| if window == MONTH { counts(99, 1) } else { Counts::default() });
        assert_eq!(report.budget.exhausted_in_seconds, None);
        assert_eq!(report.budget.state, BudgetState::Ok);
    }

    proptest! {
        #[test]
        fn remaining_and_ratio_say_the_same(good in 0u64..10_000, bad in 0u64..10_000, objective in 0.5f64..0.999) {
            prop_assume!(good + bad > 0);
            let report = report(objective, MONTH, |_| counts(good, bad));
            let ratio = report.windows[7].hit_ratio.unwrap();
            let remaining = report.budget.remaining.unwrap();
            // remaining = (ratio - objective) / (1 - objective)
            prop_assert!((remaining - (ratio - objective) / (1.0 - objective)).abs() < 1e-6);
            prop_assert_eq!(report.outcomes.iter().map(|(_, n)| n).sum::<u64>(), good + bad);
        }
    }
}
