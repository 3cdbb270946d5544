use std::time::Duration;

use super::facts::{HealthFacts, KnownFacts, Removed, ViewFacts};
use super::*;
use crate::config::Settings;
use crate::inspect::SloFacts;
use crate::manifest::{RemovalReason, Vitals};
use crate::model::{Outcome, Timestamp, ViewName};
use crate::slo::{Counts, WINDOWS, report};
use crate::upkeep::{CleanReport, Finding, FindingKind, VerifyReport};

const GB: u64 = 1_000_000_000;

/// A cache that is well: everything passes.
fn well() -> HealthFacts {
    let mut settings = Settings::default();
    settings.disk.reserve_gb = 1.0;
    let known = KnownFacts {
        slo: slo(&[]),
        journals: JournalFacts::default(),
        blocks: 10,
        bytes: GB,
        vitals: Vitals::default(),
        views: Vec::new(),
        old_versions: OldVersions::default(),
        removed: std::collections::BTreeMap::new(),
    };
    HealthFacts {
        now: Timestamp::from_secs(1_000_000),
        settings,
        directory: DirectoryFacts { free: Some(100 * GB), mode: Some(0o700), unwritable: None, quarantined: Some(0) },
        manifest: ManifestState::Sound,
        known: Some(known),
        deep: None,
    }
}

/// The service level where these windows had so many requests and so many bad ones; all others had ten of a
/// thousand.
fn slo(windows: &[(&str, u64, u64)]) -> SloFacts {
    let settings = Settings::default().slo;
    let report = report(settings.objective, settings.window, |length| {
        let name = WINDOWS.iter().find(|window| window.length == length).unwrap().name;
        let (_, requests, bad) = windows.iter().find(|window| window.0 == name).unwrap_or(&("", 1000, 10));
        [(Outcome::Hit, requests - bad), (Outcome::Miss, *bad)].into_iter().collect::<Counts>()
    });
    SloFacts { before: Some(0.99), ..SloFacts::of(report, None) }
}

/// The checks that did not pass once the facts are changed.
fn found(change: impl FnOnce(&mut HealthFacts, &mut KnownFacts)) -> Vec<(&'static str, Level)> {
    let mut facts = well();
    let mut known = facts.known.take().unwrap();
    change(&mut facts, &mut known);
    facts.known = Some(known);
    bad(&facts)
}

fn bad(facts: &HealthFacts) -> Vec<(&'static str, Level)> {
    let bad: Vec<_> = checks(facts).into_iter().filter(|check| check.level > Level::Pass).collect();
    assert!(bad.iter().all(|check| check.fix.is_some()), "whatever does not pass says what to do: {bad:?}");
    bad.iter().map(|check| (check.name, check.level)).collect()
}

/// The checks that did not pass where these windows were so.
fn with(windows: &[(&str, u64, u64)]) -> Vec<(&'static str, Level)> {
    found(|_, known| known.slo = slo(windows))
}

#[test]
fn a_cache_that_is_well_passes_everything_without_advice() {
    let checks = checks(&well());
    assert!(checks.len() > 20 && checks.iter().all(|check| check.level == Level::Pass), "{checks:#?}");
    assert!(checks.iter().all(|check| check.fix.is_none()));
}

#[test]
fn every_alert_about_requests_or_the_cache_has_a_check_and_every_check_names_a_real_alert() {
    use crate::inspect::{ALERTS, Alert, Subject};
    let named: Vec<_> = checks(&well()).iter().filter_map(|check| check.alert).collect();
    for alert in ALERTS {
        let is_checked = named.contains(&alert.name);
        assert_eq!(is_checked, !matches!(alert.subject, Subject::Monitoring(_)), "{}", alert.name);
    }
    assert!(named.iter().all(|name| Alert::find(name).is_some()));
}

#[test]
fn without_requests_there_is_no_finding() {
    assert_eq!(with(&WINDOWS.map(|window| (window.name, 0, 0))), []);
}

#[test]
fn the_hit_ratio_warns_below_the_objective_and_exactly_there_it_does_not() {
    assert_eq!(with(&[("5m", 1000, 50)]), []);
    assert_eq!(with(&[("5m", 1000, 51)]), [("Hit ratio", Level::Warn)]);
}

#[test]
fn a_very_low_ratio_fails_once_it_has_lasted_five_minutes() {
    let low = [("Hit ratio", Level::Warn)];
    let lasting = |before| found(move |_, known| known.slo = SloFacts { before, ..slo(&[("5m", 100, 21)]) });
    assert_eq!(lasting(None), low);
    assert_eq!(lasting(Some(0.79)), [low[0], ("Hit ratio, critical", Level::Fail)]);
    assert_eq!(lasting(Some(0.80)), low);
}

#[test]
fn a_burn_needs_both_windows_above_the_rate_and_a_hundred_requests_in_each() {
    let page = |long: (u64, u64), short: (u64, u64)| {
        let found = with(&[("6h", long.0, long.1), ("30m", short.0, short.1)]);
        found.contains(&("Budget, fast", Level::Fail))
    };
    assert!(page((1000, 310), (100, 31)));
    assert!(!page((1000, 310), (99, 98)), "too few");
    assert!(!page((1000, 310), (100, 30)), "6 is not above 6");
    assert!(!page((1000, 290), (100, 31)));
}

#[test]
fn either_rule_of_the_slow_burn_is_enough() {
    assert_eq!(with(&[("1d", 1000, 160), ("2h", 1000, 160)]), [("Budget, slow", Level::Warn)]);
    assert_eq!(with(&[("3d", 1000, 60), ("6h", 1000, 60)]), [("Budget, slow", Level::Warn)]);
    assert_eq!(with(&[("1d", 1000, 160), ("6h", 1000, 60)]), []);
}

#[test]
fn a_budget_is_exhausted_when_overspent_by_enough_requests() {
    assert_eq!(with(&[("30d", 1000, 50)]), []);
    assert_eq!(with(&[("30d", 1000, 51)]), [("Budget", Level::Warn)]);
    assert_eq!(with(&[("30d", 99, 51)]), []);
}

#[test]
fn the_disk_warns_before_the_reserve_and_fails_below_it() {
    let free = |bytes| found(|facts, _| facts.directory.free = Some(bytes));
    assert_eq!(free(3 * GB / 2), []);
    assert_eq!(free(3 * GB / 2 - 1), [("Disk free", Level::Warn)]);
    assert_eq!(free(GB - 1), [("Disk free", Level::Fail)]);
}

#[test]
fn blocks_over_their_limit_warn_and_over_the_watermark_only_where_nobody_cleans() {
    let with = |bytes: u64, auto_clean: bool| {
        found(|facts, known| (known.bytes, facts.settings.disk.auto_clean) = (bytes, auto_clean))
    };
    assert_eq!(with(46 * GB, true), []);
    assert_eq!(with(51 * GB, true), [("Size", Level::Warn)]);
    assert_eq!(with(46 * GB, false), [("Size", Level::Warn), ("Settings", Level::Warn)]);
}

#[test]
fn a_directory_that_cannot_be_written_fails_and_one_open_to_others_warns() {
    let unwritable = found(|facts, _| facts.directory.unwritable = Some("read-only".to_owned()));
    assert_eq!(unwritable, [("Writable", Level::Fail)]);
    assert_eq!(found(|facts, _| facts.directory.mode = Some(0o750)), [("Private", Level::Warn)]);
}

#[test]
fn a_manifest_that_does_not_answer_is_a_finding_and_nothing_is_made_up() {
    let without = |state| {
        let facts = HealthFacts { manifest: state, known: None, ..well() };
        (checks(&facts).len(), bad(&facts))
    };
    let (number, held) = without(ManifestState::Held("open elsewhere".to_owned()));
    assert_eq!(held, [("Manifest", Level::Warn)]);
    assert!(number < 8, "only what the directory tells is left");
    assert_eq!(without(ManifestState::Unreadable(String::new())).1, [("Manifest", Level::Fail)]);
    let damaged = found(|facts, _| facts.manifest = ManifestState::Damaged("aside".to_owned()));
    assert_eq!(damaged, [("Manifest", Level::Fail)]);
}

#[test]
fn journals_that_wait_too_long_or_grow_too_large_lag() {
    let lag = |unfolded, seconds| {
        found(|facts, known| {
            known.journals.unfolded = unfolded;
            known.journals.oldest = Some(facts.now.saturating_sub(Duration::from_secs(seconds)));
        })
    };
    assert_eq!(lag(64_000_000, 300), []);
    assert_eq!(lag(10, 301), [("Folding", Level::Warn)]);
    assert_eq!(lag(64_000_001, 1), [("Folding", Level::Warn)]);
    assert_eq!(found(|_, known| known.journals.damaged = 1), [("Journals", Level::Warn)]);
}

#[test]
fn only_a_view_in_use_is_stale_and_only_beyond_its_ttl() {
    let stale = |age, ttl: Option<u64>, in_use| {
        let found = found(|facts, known| {
            known.views = vec![ViewFacts {
                view: ViewName::new("v").unwrap(),
                newest: Some(facts.now.saturating_sub(Duration::from_secs(age))),
                ttl: ttl.map(Duration::from_secs),
                in_use,
            }];
        });
        found == [("Stale views", Level::Warn)]
    };
    assert!(stale(61, Some(60), true));
    assert!(!stale(60, Some(60), true) && !stale(61, Some(60), false) && !stale(61, None, true));
}

fn removals(reason: RemovalReason, removed: Removed) -> Vec<(&'static str, Level)> {
    found(|_, known| {
        known.removed.insert(reason, removed);
    })
}

#[test]
fn damage_invalidation_storms_and_thrashing_are_noticed() {
    let quarantined = removals(RemovalReason::Quarantined, Removed { day: 1, ..Removed::default() });
    assert_eq!(quarantined, [("Damaged blocks", Level::Warn)]);
    let storm = |hour| removals(RemovalReason::Invalidated, Removed { hour, day: hour, day_young: 0 });
    assert_eq!((storm(100), storm(101)), (vec![], vec![("Invalidations", Level::Warn)]));
    let young = |day_young| removals(RemovalReason::Disk, Removed { hour: 0, day: 50, day_young });
    assert_eq!((young(9), young(10)), (vec![], vec![("Thrashing", Level::Warn)]));
    assert_eq!(removals(RemovalReason::Expired, Removed { hour: 0, day: 50, day_young: 50 }), []);
}

#[test]
fn oddities_that_cost_something_are_noticed() {
    assert_eq!(found(|_, known| known.vitals.future_blocks = 1), [("Clock", Level::Fail)]);
    assert_eq!(found(|_, known| known.vitals.old_tails = 1), [("Stuck tails", Level::Warn)]);
    assert_eq!(found(|facts, _| facts.directory.quarantined = Some(1)), [("Quarantine", Level::Warn)]);
    assert_eq!(found(|facts, _| facts.settings.cleanup_target = 0.9), [("Settings", Level::Warn)]);
    assert_eq!(found(|facts, _| facts.settings.manifest.fold_interval = Duration::ZERO), [("Settings", Level::Warn)]);
    let old = |bytes| found(|_, known| known.old_versions = OldVersions { versions: 1, blocks: 1, bytes });
    assert_eq!((old(GB / 5), old(GB / 5 + 1)), (vec![], vec![("Old versions", Level::Warn)]));
}

#[test]
fn a_disk_that_is_full_within_two_weeks_warns_and_a_cache_that_reaches_its_watermark_does_not() {
    let growth = |free, a_week| {
        let found = found(|facts, known| {
            facts.directory.free = Some(free);
            facts.settings.max_cache_size_gb = 10.0;
            known.vitals.week_bytes = a_week;
            known.vitals.first_created = Some(Timestamp::from_secs(0));
        });
        found.contains(&("Growth", Level::Warn))
    };
    // Seven gigabytes a week are one a day; one gigabyte is the reserve.
    assert!(growth(8 * GB, 7 * GB));
    assert!(!growth(8 * GB, GB / 10));
    assert!(!growth(100 * GB, 7 * GB), "cleaning keeps the limit long before the disk is full");
}

#[test]
fn a_finding_in_any_block_fails_and_much_to_clean_warns() {
    let with = |findings: Vec<Finding>, bytes: u64| {
        let verified = VerifyReport { files: 1, findings, ..VerifyReport::default() };
        let removal = crate::upkeep::Removal {
            file: String::new(),
            view: String::new(),
            entity: String::new(),
            start: String::new(),
            bytes,
            reason: crate::upkeep::Reason::Orphan,
            last_used: String::new(),
            uses: 0,
            compute_ms: 0.0,
        };
        let cleaning = CleanReport { removed: vec![removal], ..CleanReport::default() };
        bad(&HealthFacts { deep: Some(DeepFacts { verified, cleaning }), ..well() })
    };
    let finding = Finding { kind: FindingKind::BadFile, file: String::new(), detail: String::new() };
    assert_eq!(with(vec![], GB), []);
    assert_eq!(with(vec![finding], GB), [("Every block", Level::Fail)]);
    assert_eq!(with(vec![], 11 * GB), [("To be cleaned", Level::Warn)]);
}

#[test]
fn a_limit_beyond_the_disk_is_said_and_no_warning() {
    let settings = |limit| {
        let mut facts = well();
        facts.settings.max_cache_size_gb = limit;
        checks(&facts).into_iter().find(|check| check.name == "Settings").unwrap()
    };
    // One gigabyte is used, a hundred are free, of which one is the reserve.
    assert_eq!(settings(100.0).in_words(), "consistent");
    let beyond = settings(101.0);
    assert_eq!(beyond.level, Level::Pass);
    let words =
        "consistent; max_cache_size_gb allows 101 GB, the disk has room for 100 GB: its reserve of 1.00 GB decides";
    assert_eq!(beyond.figure, words);
}

#[test]
fn checks_that_could_not_be_asked_are_counted() {
    let facts = well();
    assert_eq!(left_out(&facts, true), None);
    let silent = HealthFacts { known: None, manifest: ManifestState::Held("held".to_owned()), ..facts.clone() };
    let missing = checks(&facts).len() - checks(&silent).len();
    for (weekly, number) in [(false, missing), (true, missing + 2)] {
        let check = left_out(&silent, weekly).unwrap();
        assert_eq!((check.level, check.fix.is_some()), (Level::Warn, true));
        assert!(check.figure.starts_with(&format!("{number} checks could not be asked")), "{}", check.figure);
    }
}
