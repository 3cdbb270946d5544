//! What becomes of blocks: staleness, invalidations, evictions, growth.

use std::time::Duration;

use super::{Check, DeepFacts, HealthFacts, KnownFacts, Level, ViewFacts, unless};
use crate::inspect::quantity::{bytes, count, counted, rough};
use crate::manifest::RemovalReason;
use crate::upkeep::Reason;

/// An hour in which more than a tenth of the blocks and at least this many are invalidated is a storm.
const STORM: u64 = 100;
/// So many evictions of young blocks a day are no accident.
const THRASHING: u64 = 10;
/// The disk should last so long.
const AHEAD: Duration = Duration::from_secs(14 * 86_400);

pub(super) fn checks(facts: &HealthFacts, known: &KnownFacts) -> Vec<Check> {
    vec![
        stale(facts, known),
        invalidations(known),
        thrashing(known),
        clock(known),
        settings(facts, known),
        old_versions(known),
        tails(known),
        growth(facts, known),
    ]
}

/// Only views that somebody asks for, as the alert: values that nobody wants may be old.
fn stale(facts: &HealthFacts, known: &KnownFacts) -> Check {
    let age = |view: &ViewFacts| view.newest.map(|newest| facts.now.since(newest));
    let is_stale = |view: &&ViewFacts| view.in_use && age(view).zip(view.ttl).is_some_and(|(age, ttl)| age > ttl);
    let stale: Vec<&ViewFacts> = known.views.iter().filter(is_stale).collect();
    let figure = match stale.as_slice() {
        [] => format!("none of {}", counted(known.views.len() as u64, "view", "views")),
        stale => {
            let names = stale.iter().map(|view| {
                let (age, ttl) = (rough(age(view).unwrap_or_default()), rough(view.ttl.unwrap_or_default()));
                let newest = view.newest.map(|newest| newest.to_string()).unwrap_or_default();
                format!("the newest row of {} is of {newest}, {age} ago; its values are valid for {ttl}", view.view)
            });
            names.collect::<Vec<_>>().join("; ")
        }
    };
    let check = Check::new(
        "Stale views",
        unless(!stale.is_empty(), Level::Warn),
        figure,
        "none that was asked for within an hour",
    );
    check.alert("FeatureStoreViewStale").fix(
        "see whether its source still delivers and somebody asks up to the present; where the data end there on purpose, \
         as those of larder demo do, nothing is wrong",
    )
}

fn invalidations(known: &KnownFacts) -> Check {
    let removed = known.removed.get(&RemovalReason::Invalidated).copied().unwrap_or_default();
    let most = (known.blocks / 10).max(STORM);
    let figure = format!("{} in the last hour, {} in the last day", blocks(removed.hour), count(removed.day));
    let check = Check::new(
        "Invalidations",
        unless(removed.hour > most, Level::Warn),
        figure,
        format!("at most {} an hour", blocks(most)),
    );
    check.command("see who invalidates and why", "explain FeatureStoreHitRatioLow")
}

fn thrashing(known: &KnownFacts) -> Check {
    let of = |reason| known.removed.get(&reason).copied().unwrap_or_default();
    let (size, disk) = (of(RemovalReason::Size), of(RemovalReason::Disk));
    let (all, young) = (size.day + disk.day, size.day_young + disk.day_young);
    let figure = format!("{} of {} evicted for room in a day lived less than an hour", count(young), blocks(all));
    let check =
        Check::new("Thrashing", unless(young >= THRASHING, Level::Warn), figure, format!("fewer than {THRASHING}"));
    check.fix("the cache is too small for what is asked of it: raise max_cache_size_gb or free disk")
}

fn clock(known: &KnownFacts) -> Check {
    let future = known.vitals.future_blocks;
    let figure = format!("{} published in the future", blocks(future));
    let check = Check::new("Clock", unless(future > 0, Level::Fail), figure, "none");
    check.fix("a clock is or was wrong (timedatectl): such blocks win over newer ones; set it, then invalidate them")
}

fn settings(facts: &HealthFacts, known: &KnownFacts) -> Check {
    let settings = &facts.settings;
    let mut odd = Vec::new();
    if settings.manifest.fold_interval.is_zero() {
        odd.push("manifest.fold_interval = 0 s: nobody folds");
    }
    if !settings.disk.auto_clean {
        odd.push("disk.auto_clean = false: only larder clean keeps the limits");
    }
    if settings.cleanup_target >= settings.cleanup_threshold {
        odd.push("cleanup_target is not below cleanup_threshold: cleaning begins again at once");
    }
    let mut figure = if odd.is_empty() { "consistent".to_owned() } else { odd.join("; ") };
    // No warning: how much of the disk is free and how fast that goes have checks of their own.
    let holds = facts.directory.free.map(|free| known.bytes + free.saturating_sub(settings.reserve()));
    if let Some(holds) = holds.filter(|holds| settings.size_limit() > *holds) {
        let (limit, holds, reserve) = (bytes(settings.size_limit()), bytes(holds), bytes(settings.reserve()));
        figure = format!(
            "{figure}; max_cache_size_gb allows {limit}, the disk has room for {holds}: its reserve of {reserve} decides"
        );
    }
    let check = Check::new("Settings", unless(!odd.is_empty(), Level::Warn), figure, "consistent");
    check.weekly().fix("change them in the settings file or the environment of every process that shares the cache")
}

fn old_versions(known: &KnownFacts) -> Check {
    let old = known.old_versions;
    let figure = format!(
        "{} of {}, {}",
        blocks(old.blocks),
        counted(old.versions, "old version", "old versions"),
        bytes(old.bytes)
    );
    let much = old.bytes.saturating_mul(5) > known.bytes && old.blocks > 0;
    let check = Check::new("Old versions", unless(much, Level::Warn), figure, "at most a fifth of all bytes");
    check.weekly().command("nobody serves them: remove them", "clean")
}

fn tails(known: &KnownFacts) -> Check {
    let tails = known.vitals.old_tails;
    let figure =
        format!("{} incomplete a day after their end, used since, and older than others of their view", blocks(tails));
    let check = Check::new("Stuck tails", unless(tails > 0, Level::Warn), figure, "none");
    check.weekly().fix(
        "whoever asks up to the end of such a block, or warms it, completes it, unless its source has no later rows of \
         its entity; where it stays, see which publishes fail",
    )
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn growth(facts: &HealthFacts, known: &KnownFacts) -> Check {
    let young = known.vitals.first_created.map_or(Duration::ZERO, |first| facts.now.since(first));
    let days = (young.as_secs_f64() / 86_400.0).clamp(1.0, 7.0);
    let a_day = known.vitals.week_bytes as f64 / days;
    let settings = &facts.settings;
    let room = settings.high_watermark().saturating_sub(known.bytes) as f64;
    let disk = facts.directory.free.map_or(f64::INFINITY, |free| free.saturating_sub(settings.reserve()) as f64);
    let left = room.min(disk) / a_day;
    let (per_day, over) =
        (bytes(whole(a_day)), if disk < room { "the disk has its reserve left" } else { "cleaning evicts" });
    let figure = match left {
        left if left.is_finite() => format!("{per_day} a day: {} days until {over}", count(whole(left))),
        _ => format!("{per_day} a day"),
    };
    // Evicting at the watermark is what a cache does; a disk that fills up is not.
    let soon = disk < room && left * 86_400.0 < AHEAD.as_secs_f64();
    let check = Check::new("Growth", unless(soon, Level::Warn), figure, format!("a disk that lasts {}", rough(AHEAD)));
    check.weekly().command("lower max_cache_size_gb or make room on the disk; the largest views", "stats")
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float becomes the nearest u64")]
fn whole(number: f64) -> u64 {
    number as u64
}

fn blocks(number: u64) -> String {
    counted(number, "block", "blocks")
}

pub(super) fn deep(facts: &HealthFacts, deep: &DeepFacts) -> Vec<Check> {
    let verified = &deep.verified;
    let findings = verified.findings.len() as u64;
    let figure = match findings {
        0 if verified.interrupted => format!("stopped after {}", counted(verified.files, "file", "files")),
        0 => format!("{}, {}, every checksum right", counted(verified.files, "file", "files"), bytes(verified.bytes)),
        _ => format!("{} in {}", counted(findings, "finding", "findings"), counted(verified.files, "file", "files")),
    };
    let sound = Check::new("Every block", unless(findings > 0, Level::Fail), figure, "sound, and as the manifest says");
    let orphans = deep.cleaning.removed.iter().filter(|removal| removal.reason == Reason::Orphan);
    let (number, size) = orphans.fold((0, 0), |(number, size), orphan| (number + 1, size + orphan.bytes));
    let all = (deep.cleaning.removed.len() as u64, deep.cleaning.removed_bytes());
    let much = all.1.saturating_mul(5) > facts.settings.size_limit();
    let figure = format!("{}, {}; orphans of these: {}, {}", blocks(all.0), bytes(all.1), count(number), bytes(size));
    let cleaning =
        Check::new("To be cleaned", unless(much, Level::Warn), figure, "at most a fifth of max_cache_size_gb");
    vec![
        sound.weekly().command("see each with larder verify; mend all", "repair"),
        cleaning.weekly().command("see that the cleanup timer runs; clean now", "clean"),
    ]
}
