//! Which alerts' conditions hold, as far as the manifest and the disk tell.

use std::time::Duration;

use super::DiskStatus;
use super::verdict::{CRITICAL_RATIO, below};
use crate::inspect::quantity;
use crate::inspect::slo::SloFacts;
use crate::slo::{BudgetState, Counts};

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 86_400;

/// With fewer requests in a window its burn rate is chance.
const FEWEST: u64 = 100;

/// How one alert's condition stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertState {
    /// The name of the alert.
    pub name: &'static str,
    /// How it stands.
    pub level: AlertLevel,
    /// The figures that say so.
    pub text: String,
}

/// How an alert's condition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertLevel {
    /// It does not hold.
    Good,
    /// There are too few requests to tell.
    Unknown,
    /// It holds, and somebody should look.
    Warning,
    /// It holds, and somebody has to act now.
    Critical,
}

/// The conditions without the time for which an alert wants them to hold.
pub(super) fn alerts(slo: &SloFacts, disk: &DiskStatus, count: impl Fn(Duration) -> Counts) -> Vec<AlertState> {
    let burn = |window: u64| Burn::of(&count(Duration::from_secs(window)), slo.objective);
    vec![
        hit_ratio("FeatureStoreHitRatioLow", slo, slo.objective, AlertLevel::Warning),
        hit_ratio("FeatureStoreHitRatioCritical", slo, CRITICAL_RATIO.min(slo.objective), AlertLevel::Critical),
        budget_burn(
            "FeatureStoreBudgetBurnPage",
            AlertLevel::Critical,
            &[Rule { long: ("6h", burn(6 * HOUR)), short: ("30m", burn(30 * MINUTE)), limit: 6.0 }],
        ),
        budget_burn(
            "FeatureStoreBudgetBurnTicket",
            AlertLevel::Warning,
            &[
                Rule { long: ("1d", burn(DAY)), short: ("2h", burn(2 * HOUR)), limit: 3.0 },
                Rule { long: ("3d", burn(3 * DAY)), short: ("6h", burn(6 * HOUR)), limit: 1.0 },
            ],
        ),
        budget_exhausted(slo),
        disk_nearly_full(disk),
    ]
}

fn hit_ratio(name: &'static str, slo: &SloFacts, limit: f64, holds: AlertLevel) -> AlertState {
    let five_minutes = slo.windows.iter().find(|window| window.window == "5m").and_then(|window| window.hit_ratio);
    let Some(ratio) = five_minutes else {
        return AlertState { name, level: AlertLevel::Unknown, text: "no requests in the last 5 min".to_owned() };
    };
    let level = if below(ratio, limit) { holds } else { AlertLevel::Good };
    let text = format!("{} hit in the last 5 min, alerts below {}", quantity::percent(ratio), quantity::percent(limit));
    AlertState { name, level, text }
}

/// Two windows that both have to burn faster than the limit.
struct Rule {
    long: (&'static str, Burn),
    short: (&'static str, Burn),
    limit: f64,
}

#[derive(Clone, Copy)]
struct Burn {
    requests: u64,
    rate: Option<f64>,
}

impl Burn {
    fn of(counts: &Counts, objective: f64) -> Self {
        Self { requests: counts.total(), rate: counts.ratio().map(|ratio| (1.0 - ratio) / (1.0 - objective)) }
    }
}

impl Rule {
    fn enough(&self) -> bool {
        self.long.1.requests.min(self.short.1.requests) >= FEWEST
    }

    fn holds(&self) -> bool {
        let above = |burn: Burn| burn.rate.is_some_and(|rate| rate > self.limit + 1e-9);
        self.enough() && above(self.long.1) && above(self.short.1)
    }

    fn text(&self) -> String {
        let window = |(name, burn): (&str, Burn)| match burn.rate {
            Some(rate) => format!("{name} burns {rate:.2} ×"),
            None => format!("{name} has no requests"),
        };
        format!("{}, {}, alerts above {} ×", window(self.long), window(self.short), self.limit)
    }
}

fn budget_burn(name: &'static str, holds: AlertLevel, rules: &[Rule]) -> AlertState {
    let level = match rules {
        rules if rules.iter().any(Rule::holds) => holds,
        rules if rules.iter().any(Rule::enough) => AlertLevel::Good,
        _ => AlertLevel::Unknown,
    };
    let texts: Vec<_> = rules.iter().map(Rule::text).collect();
    let few = if level == AlertLevel::Unknown { format!("; too few requests, below {FEWEST}") } else { String::new() };
    AlertState { name, level, text: texts.join("; ") + &few }
}

fn budget_exhausted(slo: &SloFacts) -> AlertState {
    let level = match slo.state {
        BudgetState::NoData => AlertLevel::Unknown,
        BudgetState::Exhausted => AlertLevel::Warning,
        BudgetState::Ok | BudgetState::Burning => AlertLevel::Good,
    };
    let text = match slo.budget.remaining {
        None => "no requests in the window".to_owned(),
        Some(left) if level == AlertLevel::Warning => format!("overspent by {}", quantity::percent(-left)),
        Some(left) => format!("{} of the budget left", quantity::percent(left.max(0.0))),
    };
    AlertState { name: "FeatureStoreBudgetExhausted", level, text }
}

fn disk_nearly_full(disk: &DiskStatus) -> AlertState {
    // 1.5 x the reserve.
    let low = disk.free < disk.reserve.saturating_add(disk.reserve / 2);
    let over = disk.bytes > disk.limit;
    let text = format!(
        "{} free with {} reserved, blocks take {} of {}",
        quantity::bytes(disk.free),
        quantity::bytes(disk.reserve),
        quantity::bytes(disk.bytes),
        quantity::bytes(disk.limit)
    );
    let level = if low || over { AlertLevel::Warning } else { AlertLevel::Good };
    AlertState { name: "FeatureStoreDiskNearlyFull", level, text }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, minute};
    use super::*;
    use crate::manifest::MinuteCount;
    use crate::model::{Outcome, Timestamp};

    const NOW: i64 = 100_000;

    fn level(minutes: Vec<MinuteCount>, name: &str) -> AlertLevel {
        let facts = facts(minutes, Timestamp::from_secs(NOW * 60 + 30));
        facts.alerts.iter().find(|alert| alert.name == name).unwrap().level
    }

    fn counted(ago: i64, good: u64, bad: u64) -> Vec<MinuteCount> {
        vec![minute(NOW - ago, Outcome::Hit, good), minute(NOW - ago, Outcome::Miss, bad)]
    }

    #[test]
    fn a_low_ratio_warns_and_a_very_low_one_is_critical() {
        let levels = |good, bad| {
            ["FeatureStoreHitRatioLow", "FeatureStoreHitRatioCritical"].map(|name| level(counted(1, good, bad), name))
        };
        assert_eq!(levels(95, 5), [AlertLevel::Good, AlertLevel::Good]);
        assert_eq!(levels(94, 6), [AlertLevel::Warning, AlertLevel::Good]);
        assert_eq!(levels(79, 21), [AlertLevel::Warning, AlertLevel::Critical]);
        assert_eq!(levels(0, 0), [AlertLevel::Unknown, AlertLevel::Unknown]);
    }

    #[test]
    fn a_burn_needs_both_windows_and_a_hundred_requests_in_each() {
        let page = |minutes| level(minutes, "FeatureStoreBudgetBurnPage");
        assert_eq!(page(counted(1, 60, 40)), AlertLevel::Critical);
        assert_eq!(page(counted(1, 59, 40)), AlertLevel::Unknown, "99 requests");
        let over = [counted(120, 0, 500), counted(1, 500, 0)].concat();
        assert_eq!(page(over), AlertLevel::Good, "the short window is fine again");
        assert_eq!(page(counted(1, 70, 30)), AlertLevel::Good, "six times is not above six times");
    }

    #[test]
    fn either_rule_of_a_ticket_is_enough() {
        let ticket = |minutes| level(minutes, "FeatureStoreBudgetBurnTicket");
        assert_eq!(ticket(counted(60, 80, 20)), AlertLevel::Warning);
        assert_eq!(ticket(counted(240, 90, 10)), AlertLevel::Warning, "3d and 6h");
        assert_eq!(ticket(counted(240, 96, 4)), AlertLevel::Good);
    }

    #[test]
    fn a_budget_is_exhausted_when_overspent() {
        let exhausted = |minutes| level(minutes, "FeatureStoreBudgetExhausted");
        assert_eq!(exhausted(counted(9000, 95, 5)), AlertLevel::Good);
        assert_eq!(exhausted(counted(9000, 94, 6)), AlertLevel::Warning);
        assert_eq!(exhausted(Vec::new()), AlertLevel::Unknown);
    }

    #[test]
    fn the_disk_is_nearly_full_before_the_reserve_is_touched() {
        let disk = DiskStatus { blocks: 1, bytes: 10, limit: 10, clean_at: 9, free: 15, reserve: 10 };
        assert_eq!(disk_nearly_full(&disk).level, AlertLevel::Good);
        assert_eq!(disk_nearly_full(&DiskStatus { free: 14, ..disk }).level, AlertLevel::Warning);
        assert_eq!(disk_nearly_full(&DiskStatus { bytes: 11, ..disk }).level, AlertLevel::Warning);
    }
}
