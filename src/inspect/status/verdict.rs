//! Whether we are fine, in one word.

use serde::Serialize;

use crate::inspect::slo::SloFacts;
use crate::slo::BudgetState;

/// Below this part of the requests of five minutes the service is failing, not only below its objective.
pub(super) const CRITICAL_RATIO: f64 = 0.80;

/// What the service level comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No requests in the objective's window.
    NoData,
    /// The objective is met, lately and over its window.
    Fine,
    /// Lately the objective is met again, but not over its window.
    Recovering,
    /// Below the objective in the last five minutes or hour; there is budget left.
    Slipping,
    /// The same without budget left.
    Overspending,
    /// So many of the last five minutes' requests miss that somebody has to act now.
    Failing,
}

impl Verdict {
    pub(super) fn of(slo: &SloFacts) -> Self {
        let five_minutes = ratio(slo, "5m");
        let low = |ratio: Option<f64>| ratio.is_some_and(|ratio| below(ratio, slo.objective));
        let late = low(five_minutes) || low(ratio(slo, "1h"));
        match slo.state {
            BudgetState::NoData => Self::NoData,
            _ if low(five_minutes) && five_minutes.is_some_and(|ratio| ratio < CRITICAL_RATIO) => Self::Failing,
            BudgetState::Exhausted if late => Self::Overspending,
            BudgetState::Exhausted => Self::Recovering,
            _ if late => Self::Slipping,
            _ => Self::Fine,
        }
    }
}

/// Whether a ratio misses the objective, which says "at least". The tolerance is for 1 - 0.95.
pub(super) fn below(ratio: f64, objective: f64) -> bool {
    ratio < objective - 1e-9
}

fn ratio(slo: &SloFacts, window: &str) -> Option<f64> {
    slo.windows.iter().find(|report| report.window == window).and_then(|report| report.hit_ratio)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, minute};
    use super::*;
    use crate::model::{Outcome, Timestamp};

    /// The verdict after so many hits and misses a day ago and now.
    fn verdict(day_ago: (u64, u64), now: (u64, u64)) -> Verdict {
        let counted = |at, (good, bad)| [minute(at, Outcome::Hit, good), minute(at, Outcome::Miss, bad)];
        let minutes = counted(100_000 - 1440, day_ago).into_iter().chain(counted(100_000, now)).collect();
        facts(minutes, Timestamp::from_secs(100_000 * 60 + 1)).verdict
    }

    #[test]
    fn the_verdict_weighs_now_against_the_window() {
        assert_eq!(verdict((0, 0), (0, 0)), Verdict::NoData);
        assert_eq!(verdict((1000, 0), (0, 0)), Verdict::Fine);
        assert_eq!(verdict((0, 0), (95, 5)), Verdict::Fine, "exactly the objective is not below it");
        assert_eq!(verdict((1000, 0), (94, 6)), Verdict::Slipping);
        assert_eq!(verdict((1000, 0), (79, 21)), Verdict::Failing);
        assert_eq!(verdict((1000, 900), (100, 0)), Verdict::Recovering);
        assert_eq!(verdict((1000, 900), (90, 10)), Verdict::Overspending);
    }
}
