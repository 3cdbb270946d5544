//! The service level: the same conditions as the alerts'.

use super::{Check, KnownFacts, Level, unless};
use crate::inspect::SloFacts;
use crate::inspect::limits::{BurnRule, FEWEST_REQUESTS, PAGE, TICKET};
use crate::inspect::quantity::{counted, percent};
use crate::slo::{BudgetState, WindowReport, below};

pub(super) fn checks(known: &KnownFacts) -> Vec<Check> {
    let slo = &known.slo;
    vec![
        low(slo),
        critical(slo),
        burn("Budget, fast", Level::Fail, slo, &[PAGE], "FeatureStoreBudgetBurnPage"),
        burn("Budget, slow", Level::Warn, slo, &TICKET, "FeatureStoreBudgetBurnTicket"),
        exhausted(slo),
    ]
}

fn shown(slo: &SloFacts) -> String {
    match slo.windows.first().and_then(|window| Some((window, window.hit_ratio?))) {
        None => "no requests in 5m".to_owned(),
        Some((window, ratio)) => format!("{} of {} in {}", percent(ratio), requests(window.requests), window.window),
    }
}

fn requests(number: u64) -> String {
    counted(number, "request", "requests")
}

fn low(slo: &SloFacts) -> Check {
    let low = slo.ratio("5m").is_some_and(|ratio| below(ratio, slo.objective));
    Check::new("Hit ratio", unless(low, Level::Warn), shown(slo), format!("at least {}", percent(slo.objective)))
        .alert("FeatureStoreHitRatioLow")
        .command(
            "see what missed and why; a new cache is below it until hits outweigh its first misses",
            "explain FeatureStoreHitRatioLow",
        )
}

fn critical(slo: &SloFacts) -> Check {
    let figure = match slo.before {
        Some(before) => format!("{}; {} five minutes ago", shown(slo), percent(before)),
        None => shown(slo),
    };
    let limit = format!("at least {}, or for less than 5 min below it", percent(slo.critical_ratio()));
    Check::new("Hit ratio, critical", unless(slo.is_critical(), Level::Fail), figure, limit)
        .alert("FeatureStoreHitRatioCritical")
        .command("see what missed and why", "explain FeatureStoreHitRatioCritical")
}

fn burn(name: &'static str, level: Level, slo: &SloFacts, rules: &[BurnRule], alert: &'static str) -> Check {
    let mut holds = false;
    let (mut figures, mut limits) = (Vec::new(), Vec::new());
    for rule in rules {
        let both =
            [rule.long, rule.short].map(|name| (name, slo.window(name).and_then(WindowReport::judged_burn_rate)));
        holds |= both.iter().all(|(_, rate)| rate.is_some_and(|rate| below(rule.rate, rate)));
        figures.extend(both.map(|(name, rate)| match rate {
            Some(rate) => format!("{name}: {rate:.2}"),
            None => format!("{name}: too few requests"),
        }));
        limits.push(format!("{} and {} not both above {}", rule.long, rule.short, rule.rate));
    }
    Check::new(name, unless(holds, level), figures.join(", "), limits.join("; "))
        .alert(alert)
        .command("see what spent the budget", format!("explain {alert}"))
}

fn exhausted(slo: &SloFacts) -> Check {
    let figure = match slo.state {
        BudgetState::NoData | BudgetState::TooFewRequests => slo.summary.clone(),
        _ => format!("{}, of {}", slo.summary, requests(slo.budget.requests)),
    };
    let exhausted = slo.state == BudgetState::Exhausted;
    let limit = format!("not overspent, once there are {}", requests(FEWEST_REQUESTS));
    Check::new("Budget", unless(exhausted, Level::Warn), figure, limit)
        .alert("FeatureStoreBudgetExhausted")
        .command("see what spent it", "explain FeatureStoreBudgetExhausted")
}
