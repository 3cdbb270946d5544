use proptest::prelude::*;

use super::*;
use crate::manifest::RemovalReason;
use crate::model::{Fingerprint, MissReason};

const NOW: i64 = 100_000;

fn view(name: &str) -> ViewName {
    ViewName::new(name).unwrap()
}

fn symbol(name: &str) -> EntityKey {
    EntityKey::new([("symbol", name)]).unwrap()
}

fn minute(at: i64) -> Timestamp {
    Timestamp::from_secs(at * 60)
}

fn requests(name: &str, outcome: Outcome, count: u64) -> OutcomeCount {
    OutcomeCount { view: view(name), outcome, count }
}

fn missed(at: i64, name: &str, entity: &str, reason: MissReason, blocks: u64) -> MinuteMisses {
    MinuteMisses { minute: at, view: view(name), entity: symbol(entity), reason, blocks, requests: 0 }
}

fn removed(at: i64, name: &str, entity: &str, reason: RemovalReason, blocks: u64) -> MinuteRemovals {
    MinuteRemovals { minute: at, view: view(name), entity: symbol(entity), reason, blocks, young: 0 }
}

fn invalidated(at: i64, name: &str, entity: Option<&str>, blocks: u64) -> Invalidation {
    Invalidation {
        at: minute(at),
        view: view(name),
        entity: entity.map(symbol),
        start: Timestamp::MIN,
        end: Timestamp::MAX,
        cause: "correction".to_owned(),
        blocks,
    }
}

fn version(name: &str, number: &str, first_seen: i64) -> ViewVersion {
    let fingerprint = Fingerprint::of(number.as_bytes());
    let (first_seen, last_seen) = (minute(first_seen), minute(NOW));
    ViewVersion { view: view(name), fingerprint, definition: "{}".to_owned(), first_seen, last_seen }
}

fn first(name: &str, entity: &str, at: i64) -> FirstSeen {
    FirstSeen { view: view(name), entity: symbol(entity), at: minute(at) }
}

/// An hour in which a view that was served long before has this many misses.
fn hour(misses: u64) -> Evidence {
    Evidence {
        since: minute(NOW - 60),
        requests: vec![requests("v", Outcome::Hit, 1000), requests("v", Outcome::Miss, misses)],
        versions: vec![version("v", "1", 0)],
        ..Evidence::default()
    }
}

/// Causes with the requests they spent, in tenths.
fn spent(evidence: &Evidence) -> Vec<(String, i64)> {
    let tenths = |requests: f64| (requests * 10.0).round() as i64;
    attribute(evidence).iter().map(|(cause, spent)| (cause.as_str().to_owned(), tenths(spent.requests))).collect()
}

fn named(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    expected.iter().map(|(cause, tenths)| ((*cause).to_owned(), *tenths)).collect()
}

#[test]
fn reasons_share_the_requests_of_their_view_by_the_blocks_they_missed() {
    let mut evidence = hour(8);
    evidence.requests.push(requests("w", Outcome::Partial, 4));
    evidence.misses = vec![
        missed(NOW, "v", "A", MissReason::Tail, 30),
        missed(NOW, "v", "B", MissReason::Expired, 10),
        missed(NOW, "w", "A", MissReason::Corrupt, 1),
    ];
    assert_eq!(spent(&evidence), named(&[("damaged", 40), ("older_than_max_age", 20), ("tail", 60)]));
}

#[test]
fn a_request_for_many_blocks_is_one_request() {
    let mut evidence = hour(21);
    let at = |minute, entity, blocks, requests| MinuteMisses {
        requests,
        ..missed(minute, "v", entity, MissReason::Absent, blocks)
    };
    evidence.misses = vec![at(NOW - 3, "B", 1500, 1), at(NOW - 2, "A", 8, 8), at(NOW - 1, "A", 12, 12)];
    evidence.invalidations = vec![invalidated(NOW - 30, "v", Some("A"), 20)];
    assert_eq!(spent(&evidence), named(&[("invalidated", 200), ("new_range", 10)]));
    // Those of a minute that were not written down are like the others.
    evidence.requests = vec![requests("v", Outcome::Miss, 42)];
    assert_eq!(spent(&evidence), named(&[("invalidated", 400), ("new_range", 20)]));
}

#[test]
fn requests_that_failed_are_due_to_computes_that_fail() {
    let mut evidence = hour(5);
    evidence.requests.push(requests("v", Outcome::Error, 3));
    evidence.requests.push(requests("v", Outcome::Fallback, 2));
    evidence.misses = vec![missed(NOW, "v", "A", MissReason::Tail, 9)];
    assert_eq!(spent(&evidence), named(&[("compute_failing", 50), ("tail", 50)]));
}

#[test]
fn requests_without_a_recorded_miss_are_not_blamed_on_anything() {
    assert_eq!(spent(&hour(7)), named(&[("unrecorded", 70)]));
}

#[test]
fn nothing_was_spent_where_everything_hit() {
    let mut evidence = hour(0);
    evidence.misses = vec![missed(NOW, "v", "A", MissReason::Tail, 9)];
    assert_eq!(spent(&evidence), []);
}

#[test]
fn what_was_taken_away_before_explains_as_many_blocks_as_it_took() {
    let mut evidence = hour(10);
    evidence.misses = vec![missed(NOW, "v", "A", MissReason::Absent, 10)];
    evidence.removals = vec![removed(NOW - 90, "v", "A", RemovalReason::Size, 4)];
    evidence.invalidations = vec![invalidated(NOW - 30, "v", Some("A"), 3)];
    assert_eq!(spent(&evidence), named(&[("invalidated", 30), ("evicted_size", 40), ("new_range", 30)]));
}

#[test]
fn an_invalidation_of_a_whole_view_explains_all_of_its_entities_together() {
    let mut evidence = hour(10);
    evidence.misses =
        vec![missed(NOW - 5, "v", "A", MissReason::Absent, 6), missed(NOW, "v", "B", MissReason::Absent, 4)];
    evidence.invalidations = vec![invalidated(NOW - 30, "v", None, 8)];
    assert_eq!(spent(&evidence), named(&[("invalidated", 80), ("new_range", 20)]));
}

#[test]
fn what_came_later_or_elsewhere_explains_nothing() {
    let mut evidence = hour(10);
    evidence.misses = vec![missed(NOW - 10, "v", "A", MissReason::Absent, 10)];
    evidence.removals =
        vec![removed(NOW - 5, "v", "A", RemovalReason::Size, 9), removed(NOW - 20, "v", "B", RemovalReason::Size, 9)];
    evidence.invalidations = vec![invalidated(NOW - 20, "w", None, 9)];
    assert_eq!(spent(&evidence), named(&[("new_range", 100)]));
}

#[test]
fn misses_before_the_window_use_up_what_was_taken_away() {
    let mut evidence = hour(10);
    evidence.removals = vec![removed(NOW - 200, "v", "A", RemovalReason::Size, 6)];
    evidence.misses =
        vec![missed(NOW - 100, "v", "A", MissReason::Absent, 5), missed(NOW - 1, "v", "A", MissReason::Absent, 2)];
    assert_eq!(spent(&evidence), named(&[("evicted_size", 50), ("new_range", 50)]));
}

#[test]
fn the_latest_removal_comes_first() {
    let mut evidence = hour(10);
    evidence.misses = vec![missed(NOW, "v", "A", MissReason::Absent, 5)];
    evidence.removals =
        vec![removed(NOW - 9, "v", "A", RemovalReason::Size, 5), removed(NOW - 3, "v", "A", RemovalReason::Disk, 5)];
    assert_eq!(spent(&evidence), named(&[("evicted_disk", 100)]));
}

#[test]
fn what_is_new_is_the_view_else_the_version_that_found_its_entity_there_else_the_entity() {
    let cause = |versions: Vec<ViewVersion>, entities: Vec<FirstSeen>| {
        let misses = vec![missed(NOW, "v", "A", MissReason::Absent, 1)];
        spent(&Evidence { versions, entities, misses, ..hour(1) }).remove(0).0
    };
    let (old, new) = (version("v", "1", 0), version("v", "2", NOW - 50));
    let both = || vec![old.clone(), new.clone()];
    assert_eq!(cause(vec![new.clone()], vec![first("v", "A", NOW - 50)]), "new_view");
    assert_eq!(cause(both(), vec![]), "new_version");
    assert_eq!(cause(both(), vec![first("v", "A", NOW - 55)]), "new_version");
    assert_eq!(cause(both(), vec![first("v", "A", NOW - 5)]), "new_entity");
    assert_eq!(cause(vec![old.clone()], vec![first("v", "A", NOW - 5)]), "new_entity");
    assert_eq!(cause(vec![old.clone()], vec![first("w", "A", NOW - 5), first("v", "B", NOW - 5)]), "new_range");
    assert_eq!(cause(vec![old], vec![first("v", "A", NOW - 1441)]), "new_range", "a day ago is not new");
    assert_eq!(cause(vec![], vec![]), "new_range");
}

#[test]
fn entities_are_told_with_what_they_spent() {
    let mut evidence = hour(10);
    evidence.misses = vec![missed(NOW, "v", "A", MissReason::Tail, 3), missed(NOW, "v", "B", MissReason::Tail, 1)];
    let spent = attribute(&evidence).remove(&Cause::Tail).unwrap();
    let places: Vec<_> = spent.places.into_iter().map(|((_, entity), n)| (entity.unwrap().to_string(), n)).collect();
    assert_eq!(places, [("symbol=A".to_owned(), 7.5), ("symbol=B".to_owned(), 2.5)]);
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    const NAMES: [&str; 2] = ["v", "w"];
    const ENTITIES: [&str; 3] = ["A", "B", "C"];
    const REASONS: [MissReason; 6] = [
        MissReason::Absent,
        MissReason::Tail,
        MissReason::Expired,
        MissReason::Clock,
        MissReason::Corrupt,
        MissReason::Unreadable,
    ];
    const REMOVALS: [RemovalReason; 6] = [
        RemovalReason::Orphan,
        RemovalReason::Expired,
        RemovalReason::Size,
        RemovalReason::Disk,
        RemovalReason::Invalidated,
        RemovalReason::Quarantined,
    ];
    let time = || NOW - 120..NOW + 1;
    (
        prop::collection::vec((0usize..2, 0usize..7, 0u64..1000), 0..8),
        prop::collection::vec((time(), 0usize..2, 0usize..3, 0usize..6, 0u64..50), 0..20),
        prop::collection::vec((time(), 0usize..2, 0usize..3, 0usize..6, 0u64..50), 0..8),
        prop::collection::vec((time(), 0usize..2, 0usize..4, 0u64..50), 0..4),
        prop::collection::vec((0usize..2, 0i64..NOW), 0..4),
    )
        .prop_map(|(counts, misses, removals, invalidations, versions)| Evidence {
            since: minute(NOW - 60),
            requests: counts.into_iter().map(|(v, o, n)| requests(NAMES[v], Outcome::ALL[o], n)).collect(),
            misses: misses
                .into_iter()
                .map(|(at, v, e, r, n)| missed(at, NAMES[v], ENTITIES[e], REASONS[r], n))
                .collect(),
            removals: removals
                .into_iter()
                .map(|(at, v, e, r, n)| removed(at, NAMES[v], ENTITIES[e], REMOVALS[r], n))
                .collect(),
            invalidations: invalidations
                .into_iter()
                .map(|(at, v, e, n)| invalidated(at, NAMES[v], ENTITIES.get(e).copied(), n))
                .collect(),
            versions: versions.into_iter().map(|(v, at)| version(NAMES[v], &at.to_string(), at)).collect(),
            entities: Vec::new(),
        })
}

proptest! {
    #[test]
    fn the_shares_add_up_to_every_bad_request_and_no_removal_explains_more_than_it_took(evidence in any_evidence()) {
        let spent = attribute(&evidence);
        let bad: u64 = evidence.requests.iter().filter(|r| !r.outcome.is_good()).map(|r| r.count).sum();
        let told: f64 = spent.values().map(|spent| spent.requests).sum();
        prop_assert!((told - bad as f64).abs() < 1e-6, "{} of {}", told, bad);
        for (cause, spent) in &spent {
            let places: f64 = spent.places.values().sum();
            prop_assert!((places - spent.requests).abs() < 1e-6);
            let took: u64 = match cause {
                Cause::EvictedSize | Cause::EvictedDisk | Cause::Orphan => {
                    let so = |row: &&MinuteRemovals| Cause::of_removal(row.reason).as_ref() == Some(cause);
                    evidence.removals.iter().filter(so).map(|row| row.blocks).sum()
                }
                Cause::Invalidated(_) => evidence.invalidations.iter().map(|done| done.blocks).sum(),
                _ => u64::MAX,
            };
            prop_assert!(spent.blocks <= took, "{:?}", cause);
        }
    }
}
