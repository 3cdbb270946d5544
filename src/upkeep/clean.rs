//! Removing blocks that are no longer worth their disk.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::Progress;
use super::victims::{Limits, Reason, victims};
use crate::config::Settings;
use crate::error::Result;
use crate::manifest::{BlockFilter, BlockRow, Manifest, Record, Totals, ViewVersion};
use crate::model::{BlockId, Fingerprint, TimeRange, Timestamp, ViewName};
use crate::planted::{self, Bug};
use crate::store::{CacheDir, FoundFile};

/// How to clean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CleanOptions {
    /// Only say what would go.
    pub dry_run: bool,
}

/// A block that went, or would go.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Removal {
    /// Its file, below the cache directory.
    pub file: String,
    /// Its view.
    pub view: String,
    /// What it describes.
    pub entity: String,
    /// Where its span begins.
    pub start: String,
    /// The size of its file.
    pub bytes: u64,
    /// Why.
    pub reason: Reason,
    /// When it was last used.
    pub last_used: String,
    /// How often it was used.
    pub uses: u64,
    /// What computing it again costs, in milliseconds.
    pub compute_ms: f64,
}

/// What cleaning did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CleanReport {
    /// Whether nothing was removed because that was asked for.
    pub dry_run: bool,
    /// Blocks before.
    pub blocks_before: u64,
    /// Their bytes before.
    pub bytes_before: u64,
    /// Bytes at which evicting by size begins.
    pub threshold_bytes: u64,
    /// What went, or would go.
    pub removed: Vec<Removal>,
    /// Chosen blocks that stayed: being computed, just published again, gone already, or of a view of which one could not be
    /// removed.
    pub skipped: u64,
    /// Why the first of those could not be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Whether it was stopped before the end.
    pub interrupted: bool,
}

impl CleanReport {
    /// Bytes that went, or would go.
    pub fn removed_bytes(&self) -> u64 {
        self.removed.iter().map(|removal| removal.bytes).sum()
    }

    /// Blocks and bytes by reason, those without blocks left out.
    pub fn by_reason(&self) -> Vec<(Reason, u64, u64)> {
        let mut sums: BTreeMap<Reason, (u64, u64)> = BTreeMap::new();
        for removal in &self.removed {
            let sum = sums.entry(removal.reason).or_default();
            *sum = (sum.0 + 1, sum.1 + removal.bytes);
        }
        sums.into_iter().map(|(reason, (blocks, bytes))| (reason, blocks, bytes)).collect()
    }
}

/// Removes orphans, expired blocks, and the least valuable ones where a limit is passed.
///
/// Safe beside running services: a reader that has opened a file keeps it, and what is being
/// computed or was just published stays.
///
/// # Errors
/// `Busy` or `Unavailable` where the manifest cannot be used.
pub fn clean(
    dir: &CacheDir,
    manifest: &Manifest,
    settings: &Settings,
    now: Timestamp,
    options: CleanOptions,
    mut journal: impl FnMut(&[Record]),
    progress: &mut dyn Progress,
) -> Result<CleanReport> {
    let (blocks, views) = manifest.read(|query| Ok((query.blocks(&BlockFilter::default())?, query.views()?)))?;
    let limits = limits(dir, settings, now, &blocks, &views)?;
    let chosen = victims(&blocks, &limits);
    let mut report = CleanReport {
        dry_run: options.dry_run,
        blocks_before: blocks.len() as u64,
        bytes_before: blocks.iter().map(|block| block.bytes).sum(),
        threshold_bytes: limits.high,
        ..CleanReport::default()
    };
    let (total, mut stuck) = (chosen.len() as u64, HashSet::new());
    for (done, victim) in (0..).zip(&chosen) {
        if !progress.advance(done, Some(total)) {
            report.interrupted = true;
            break;
        }
        let Some(block) = blocks.get(victim.index) else { continue };
        // One that cannot be removed must not keep the blocks of other views.
        let goes = options.dry_run
            || !stuck.contains(&block.view)
                && remove(dir, manifest, block, victim.reason, &limits, &mut journal).unwrap_or_else(|error| {
                    stuck.insert(&block.view);
                    report.failed.get_or_insert_with(|| error.to_string());
                    false
                });
        if goes {
            report.removed.push(removal(block, victim.reason));
        } else {
            report.skipped += 1;
        }
    }
    Ok(report)
}

/// The same where a limit is passed; otherwise only the sizes are looked at.
///
/// # Errors
/// As [`clean`].
pub fn clean_if_needed(
    dir: &CacheDir,
    manifest: &Manifest,
    settings: &Settings,
    now: Timestamp,
    journal: impl FnMut(&[Record]),
) -> Result<CleanReport> {
    let Totals { blocks, bytes, .. } = manifest.read(|query| query.totals())?;
    if bytes <= settings.high_watermark() && dir.free_bytes()? >= settings.reserve() {
        return Ok(CleanReport {
            blocks_before: blocks,
            bytes_before: bytes,
            threshold_bytes: settings.high_watermark(),
            ..CleanReport::default()
        });
    }
    let report = clean(dir, manifest, settings, now, CleanOptions::default(), journal, &mut super::Silent)?;
    tracing::info!(target: "larder::clean", blocks = report.removed.len(), bytes = report.removed_bytes(), "cleaned, because a limit was passed");
    Ok(report)
}

fn limits(
    dir: &CacheDir,
    settings: &Settings,
    now: Timestamp,
    blocks: &[BlockRow],
    views: &[ViewVersion],
) -> Result<Limits> {
    Ok(Limits {
        now,
        live: Some(live(blocks, views, now, settings)),
        retention: settings.retention(),
        min_age: settings.disk.min_age,
        high: settings.high_watermark(),
        low: settings.low_watermark(),
        free: dir.free_bytes()?,
        reserve: settings.reserve(),
    })
}

/// The versions that are in use: the last one served of each view, those served lately, and those that
/// nobody says anything about although their blocks are young, or whose view was never seen.
fn live(blocks: &[BlockRow], views: &[ViewVersion], now: Timestamp, settings: &Settings) -> HashSet<Fingerprint> {
    let mut newest: HashMap<&ViewName, Timestamp> = HashMap::new();
    for version in views {
        let last = newest.entry(&version.view).or_insert(version.last_seen);
        *last = (*last).max(version.last_seen);
    }
    let is_recent = |at: Timestamp| now.since(at) <= settings.disk.orphan_after;
    let in_use =
        |version: &&ViewVersion| newest.get(&version.view) == Some(&version.last_seen) || is_recent(version.last_seen);
    let mut live: HashSet<_> = views.iter().filter(in_use).map(|version| version.fingerprint).collect();
    let seen: HashSet<_> = views.iter().map(|version| version.fingerprint).collect();
    let unknown = |block: &&BlockRow| {
        !newest.contains_key(&block.view) || (!seen.contains(&block.fingerprint) && is_recent(block.created))
    };
    live.extend(blocks.iter().filter(unknown).map(|block| block.fingerprint));
    live
}

fn remove(
    dir: &CacheDir,
    manifest: &Manifest,
    block: &BlockRow,
    reason: Reason,
    limits: &Limits,
    journal: &mut impl FnMut(&[Record]),
) -> Result<bool> {
    let Ok(range) = TimeRange::new(block.start, block.end) else { return Ok(false) };
    let id = BlockId { view: block.view.clone(), fingerprint: block.fingerprint, entity: block.entity.clone(), range };
    if dir.is_computing(&id) {
        return Ok(false);
    }
    let goes = |file: Option<&FoundFile>| {
        // The manifest may be behind: the file itself says when it was published. Where somebody removed it by hand, its row
        // must not make room at the cost of other blocks for ever.
        file.is_none_or(|file| file.bytes == block.bytes && limits.now.since(file.modified) >= limits.min_age)
    };
    let mut tell = || {
        // When it went, and not when cleaning began: somebody may have listed the file since, to rebuild the manifest.
        journal(&[Record::Removed { block: block.block_ref(), at: manifest.now(), reason: reason.into() }]);
    };
    if planted::is(Bug::RemovalToldFirst) {
        tell();
        return dir.evict(&id, goes, || ());
    }
    // The file first: a crash in between leaves a row without a file, which the next cleaning finds by itself. The other way
    // round it would leave a file that is served and that no limit counts, and so would a file that cannot be removed.
    dir.evict(&id, goes, tell)
}

fn removal(block: &BlockRow, reason: Reason) -> Removal {
    Removal {
        file: block.file.clone(),
        view: block.view.to_string(),
        entity: block.entity.to_string(),
        start: block.start.to_string(),
        bytes: block.bytes,
        reason,
        last_used: block.last_used.to_string(),
        uses: block.uses,
        compute_ms: block.compute_ms,
    }
}
