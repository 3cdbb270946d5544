//! The cache directory and its disk.

use super::{Check, HealthFacts, Level, unless};
use crate::inspect::limits::{FREE_RESERVES, free_wanted};
use crate::inspect::quantity::{bytes, counted};
use crate::manifest::RemovalReason;

pub(super) fn checks(facts: &HealthFacts) -> Vec<Check> {
    let mut checks = vec![writable(facts), private(facts)];
    checks.extend(free(facts));
    checks.extend(size(facts));
    checks.extend(corrupt(facts));
    checks.extend(quarantine(facts));
    checks
}

fn writable(facts: &HealthFacts) -> Check {
    let unwritable = facts.directory.unwritable.as_deref();
    Check::new(
        "Writable",
        unless(unwritable.is_some(), Level::Fail),
        unwritable.unwrap_or("yes"),
        "a file can be written",
    )
    .alert("FeatureStorePublishesFailing")
    .fix("see who owns the directory, and whether its disk is full or mounted read-only")
}

fn private(facts: &HealthFacts) -> Check {
    let mode = facts.directory.mode.unwrap_or(0o700);
    let check = Check::new("Private", unless(mode & 0o077 != 0, Level::Warn), format!("mode {mode:04o}"), "0700");
    check.fix("somebody opened the directory to others; larder has closed it again: see who else read or wrote there")
}

fn free(facts: &HealthFacts) -> Option<Check> {
    let (free, reserve) = (facts.directory.free?, facts.settings.reserve());
    let wanted = free_wanted(reserve);
    let level = match free {
        free if free < reserve => Level::Fail,
        free => unless(free < wanted, Level::Warn),
    };
    let limit = format!("at least {}, {FREE_RESERVES} times the reserve", bytes(wanted));
    let check = Check::new("Disk free", level, bytes(free), limit).alert("FeatureStoreDiskNearlyFull");
    Some(check.command("free some disk; what cleaning would remove", "clean --dry-run"))
}

fn size(facts: &HealthFacts) -> Option<Check> {
    let (used, limit) = (facts.known.as_ref()?.bytes, facts.settings.size_limit());
    let over_watermark = used > facts.settings.high_watermark();
    let figure = format!("{} of {}", bytes(used), bytes(limit));
    let level = unless(used > limit || (over_watermark && !facts.settings.disk.auto_clean), Level::Warn);
    let check =
        Check::new("Size", level, figure, format!("at most {}", bytes(limit))).alert("FeatureStoreDiskNearlyFull");
    Some(check.command("cleaning does not catch up: clean now, or raise max_cache_size_gb", "clean"))
}

/// Quarantine is noticed by its growth, as by the alert: old finds are the next check's.
fn corrupt(facts: &HealthFacts) -> Option<Check> {
    let removed = facts.known.as_ref()?.removed.get(&RemovalReason::Quarantined).copied().unwrap_or_default();
    let figure = format!("{} in the last hour, {} in the last day", removed.hour, removed.day);
    let check = Check::new("Damaged blocks", unless(removed.day > 0, Level::Warn), figure, "none");
    let check = check.alert("FeatureStoreCorruptBlocks");
    Some(check.command("no wrong value was served; check the disk (dmesg, smartctl), then every block", "verify"))
}

fn quarantine(facts: &HealthFacts) -> Option<Check> {
    let files = facts.directory.quarantined?;
    let check =
        Check::new("Quarantine", unless(files > 0, Level::Warn), counted(files, "file", "files"), "none").weekly();
    Some(check.fix("look at the files in quarantine/ of the cache directory, then remove them: nobody reads them"))
}
