//! Facts to render, from calm to absurd.

use std::time::Duration;

use crate::config::Settings;
use crate::inspect::health::{Check, Fix, Level, Period};
use crate::inspect::{StatusFacts, ViewStatus, WorstMiss};
use crate::manifest::Invalidation;
use crate::model::{EntityKey, MissReason, Outcome, Timestamp, ViewName};

/// Everything an entity may be called that a page could stumble over.
pub(super) const NASTY: &str = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>'&amp;\u{202e}שלום";

const NOW: &str = "2026-11-21T03:12:45Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// Nothing was ever asked for.
pub(super) fn empty() -> StatusFacts {
    StatusFacts::of_minutes(&[], &Settings::default(), now())
}

/// One request, and it missed.
pub(super) fn one_request() -> StatusFacts {
    StatusFacts::of_minutes(&[(minute(0), Outcome::Miss, 1)], &Settings::default(), now())
}

/// Three of ten requests missed, all month.
pub(super) fn overspent() -> StatusFacts {
    let minutes: Vec<_> = (0..8640)
        .flat_map(|part| [(minute(part * 5), Outcome::Hit, 70), (minute(part * 5), Outcome::Miss, 30)])
        .collect();
    with_views(StatusFacts::of_minutes(&minutes, &Settings::default(), now()), 2)
}

/// A calm month of so many views.
pub(super) fn facts(views: usize) -> StatusFacts {
    let minutes: Vec<_> = (0..2880)
        .flat_map(|quarter| {
            let at = minute(quarter * 15);
            Outcome::ALL.map(|outcome| (at, outcome, if outcome.is_good() { 1000 } else { 5 }))
        })
        .collect();
    with_views(StatusFacts::of_minutes(&minutes, &Settings::default(), now()), views)
}

fn minute(ago: i64) -> i64 {
    now().minute() - ago
}

/// One check that passed and is an alert's, one that failed and has a fix.
fn two_checks() -> Vec<Check> {
    let check = |name, level, alert, fix| Check {
        name,
        period: Period::Daily,
        level,
        figure: NASTY.to_owned(),
        limit: "at least 95 %".to_owned(),
        fix,
        alert,
    };
    let fix = Fix { advice: "see why".to_owned(), command: Some("doctor --weekly".to_owned()) };
    vec![
        check("Hit ratio", Level::Pass, Some("FeatureStoreHitRatioLow"), None),
        check("Quarantine", Level::Fail, None, Some(fix)),
    ]
}

fn with_views(mut facts: StatusFacts, views: usize) -> StatusFacts {
    let entity = EntityKey::new([("symbol", NASTY)]).unwrap();
    let long = EntityKey::new([("symbol", "W".repeat(300))]).unwrap();
    facts.views = (0..views)
        .map(|n| ViewStatus {
            view: ViewName::new(&format!("view_{n}")).unwrap(),
            counts: [(Outcome::Hit, 10_000), (Outcome::Miss, 60)].into_iter().collect(),
            blocks: 4000,
            bytes: 1_234_567_890,
            newest: Some(facts.now.saturating_sub(Duration::from_secs(90))),
            reasons: vec![(MissReason::Tail, 40), (MissReason::Absent, 20)],
            worst: [&entity, &long, &entity]
                .map(|entity| WorstMiss { entity: entity.clone(), reason: MissReason::Tail, blocks: 13 })
                .into(),
        })
        .collect();
    facts.checks = two_checks();
    facts.invalidations = (0..12)
        .map(|n| Invalidation {
            at: facts.now.saturating_sub(Duration::from_secs(n * 5000)),
            view: ViewName::new("view_0").unwrap(),
            entity: Some(entity.clone()),
            start: facts.now,
            end: Timestamp::MAX,
            cause: format!("{NASTY}\0 corrected source rows"),
            blocks: n,
        })
        .collect();
    facts
}
