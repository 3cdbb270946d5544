//! Whether we are fine, in one word.

use serde::Serialize;

use crate::inspect::slo::SloFacts;
use crate::slo::{BudgetState, below};

/// What the service level comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No requests in the objective's window.
    NoData,
    /// Fewer requests in it than can be judged.
    TooFewRequests,
    /// The objective is met, lately and over its window.
    Fine,
    /// Lately the objective is met again, but not over its window.
    Recovering,
    /// Below the objective in the last five minutes or hour; there is budget left.
    Slipping,
    /// The same without budget left.
    Overspending,
    /// So many requests miss, and have for five minutes, that somebody has to act now.
    Failing,
}

impl Verdict {
    pub(super) fn of(slo: &SloFacts) -> Self {
        let low = |window| slo.ratio(window).is_some_and(|ratio| below(ratio, slo.objective));
        let late = low("5m") || low("1h");
        match slo.state {
            BudgetState::NoData => Self::NoData,
            _ if slo.is_critical() => Self::Failing,
            BudgetState::TooFewRequests => Self::TooFewRequests,
            BudgetState::Exhausted if late => Self::Overspending,
            BudgetState::Exhausted => Self::Recovering,
            _ if late => Self::Slipping,
            _ => Self::Fine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::facts;
    use super::*;
    use crate::inspect::slo::tests::minute;
    use crate::model::{Outcome, Timestamp};

    /// The verdict after so many hits and misses at these minutes before now.
    fn verdict(requests: &[(i64, (u64, u64))]) -> Verdict {
        let counted = |&(ago, (good, bad)): &(i64, (u64, u64))| {
            [minute(100_000 - ago, Outcome::Hit, good), minute(100_000 - ago, Outcome::Miss, bad)]
        };
        facts(requests.iter().flat_map(counted), Timestamp::from_secs(100_000 * 60 + 1)).verdict
    }

    #[test]
    fn the_verdict_weighs_now_against_the_window() {
        assert_eq!(verdict(&[]), Verdict::NoData);
        assert_eq!(verdict(&[(1440, (1000, 0))]), Verdict::Fine);
        assert_eq!(verdict(&[(0, (95, 5))]), Verdict::Fine, "exactly the objective is not below it");
        assert_eq!(verdict(&[(1440, (1000, 0)), (0, (94, 6))]), Verdict::Slipping);
        assert_eq!(verdict(&[(1440, (1000, 900)), (0, (100, 0))]), Verdict::Recovering);
        assert_eq!(verdict(&[(1440, (1000, 900)), (0, (90, 10))]), Verdict::Overspending);
    }

    #[test]
    fn few_requests_are_not_judged_unless_somebody_is_called_for_them() {
        assert_eq!(verdict(&[(1440, (16, 8))]), Verdict::TooFewRequests);
        assert_eq!(verdict(&[(0, (0, 99))]), Verdict::TooFewRequests);
        assert_eq!(verdict(&[(0, (0, 100))]), Verdict::Overspending);
        assert_eq!(verdict(&[(5, (0, 1)), (0, (0, 1))]), Verdict::Failing, "as the alert, which wants no number");
    }

    #[test]
    fn a_service_fails_once_it_has_lasted_five_minutes_as_the_alert_wants_it() {
        assert_eq!(verdict(&[(1440, (1000, 0)), (0, (79, 21))]), Verdict::Slipping);
        assert_eq!(verdict(&[(1440, (1000, 0)), (5, (79, 21)), (0, (79, 21))]), Verdict::Failing);
        assert_eq!(verdict(&[(1440, (1000, 0)), (5, (80, 20)), (0, (79, 21))]), Verdict::Slipping);
        assert_eq!(verdict(&[(1440, (1000, 0)), (5, (79, 21)), (0, (80, 20))]), Verdict::Slipping);
    }
}
