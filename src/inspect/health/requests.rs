//! The service level: the same conditions as the alerts'.

use super::{Check, HealthFacts, KnownFacts, Level, WindowCounts, unless};
use crate::inspect::quantity::{count, percent};

/// Below this ratio somebody is called at once.
const CRITICAL: f64 = 0.80;
/// In a window of fewer requests a burn rate says nothing.
pub(super) const FEWEST: u64 = 100;
/// Ratios that are equal on paper differ in their last bits.
const EXACT: f64 = 1e-9;

pub(super) fn checks(facts: &HealthFacts, known: &KnownFacts) -> Vec<Check> {
    let objective = facts.settings.slo.objective;
    let burn = |name, level, rules: &[(&str, &str, f64)]| burn(name, level, known, objective, rules);
    vec![
        low(known, objective),
        critical(known, objective),
        burn("Budget, fast", Level::Fail, &[("6h", "30m", 6.0)]).alert("FeatureStoreBudgetBurnPage"),
        burn("Budget, slow", Level::Warn, &[("1d", "2h", 3.0), ("3d", "6h", 1.0)])
            .alert("FeatureStoreBudgetBurnTicket"),
        exhausted(known, objective),
    ]
}

fn shown(window: WindowCounts) -> String {
    match window.ratio() {
        None => format!("no requests in {}", window.name),
        Some(ratio) => format!("{} of {} in {}", percent(ratio), requests(window.requests), window.name),
    }
}

fn requests(number: u64) -> String {
    format!("{} request{}", count(number), if number == 1 { "" } else { "s" })
}

fn below(window: &WindowCounts, limit: f64) -> bool {
    window.ratio().is_some_and(|ratio| ratio < limit - EXACT)
}

fn low(known: &KnownFacts, objective: f64) -> Check {
    let now = known.window("5m");
    Check::new(
        "Hit ratio",
        unless(below(&now, objective), Level::Warn),
        shown(now),
        format!("at least {}", percent(objective)),
    )
    .alert("FeatureStoreHitRatioLow")
    .command("see what missed and why", "explain FeatureStoreHitRatioLow")
}

/// The alert wants five minutes of it: a process that has just begun is no emergency.
fn critical(known: &KnownFacts, objective: f64) -> Check {
    let (now, limit) = (known.window("5m"), CRITICAL.min(objective));
    let lasting = below(&now, limit) && known.earlier.first().is_some_and(|earlier| below(earlier, limit));
    let figure = match known.earlier.first().and_then(WindowCounts::ratio) {
        Some(earlier) => format!("{}; {} five minutes ago", shown(now), percent(earlier)),
        None => shown(now),
    };
    Check::new(
        "Hit ratio, critical",
        unless(lasting, Level::Fail),
        figure,
        format!("at least {}, or for less than 5 min below it", percent(limit)),
    )
    .alert("FeatureStoreHitRatioCritical")
    .command("see what missed and why", "explain FeatureStoreHitRatioCritical")
}

fn burn(name: &'static str, level: Level, known: &KnownFacts, objective: f64, rules: &[(&str, &str, f64)]) -> Check {
    let rate = |window: &WindowCounts| window.ratio().map(|ratio| (1.0 - ratio) / (1.0 - objective));
    let enough = |window: &WindowCounts| window.requests >= FEWEST;
    let mut holds = false;
    let (mut figures, mut limits) = (Vec::new(), Vec::new());
    for (long, short, limit) in rules {
        let both = [known.window(long), known.window(short)];
        holds |= both.iter().all(|window| enough(window) && rate(window).is_some_and(|rate| rate > limit + EXACT));
        for window in both {
            let figure = match rate(&window).filter(|_| enough(&window)) {
                Some(rate) => format!("{}: {rate:.2}", window.name),
                None => format!("{}: too few requests", window.name),
            };
            figures.push(figure);
        }
        limits.push(format!("{long} and {short} not both above {limit}"));
    }
    figures.dedup();
    Check::new(name, unless(holds, level), figures.join(", "), limits.join("; ")).command(
        "see what spent the budget",
        if level == Level::Fail {
            "explain FeatureStoreBudgetBurnPage"
        } else {
            "explain FeatureStoreBudgetBurnTicket"
        },
    )
}

#[expect(clippy::cast_precision_loss, reason = "2^53 requests are enough")]
fn exhausted(known: &KnownFacts, objective: f64) -> Check {
    let budget = known.budget;
    let spent = (budget.requests - budget.good) as f64;
    let left = (budget.requests > 0).then(|| 1.0 - spent / ((1.0 - objective) * budget.requests as f64));
    let overspent = budget.requests >= FEWEST && left.is_some_and(|left| left < -EXACT);
    let figure = match left {
        None => "no requests".to_owned(),
        Some(left) if left < 0.0 => format!("overspent by {}, of {}", percent(-left), requests(budget.requests)),
        Some(left) => format!("{} left, of {}", percent(left), requests(budget.requests)),
    };
    Check::new(
        "Budget",
        unless(overspent, Level::Warn),
        figure,
        format!("not overspent, of at least {}", requests(FEWEST)),
    )
    .alert("FeatureStoreBudgetExhausted")
    .command("see what spent it", "explain FeatureStoreBudgetExhausted")
}
