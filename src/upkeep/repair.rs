//! Making a cache whole: damaged blocks out of the way, the manifest true.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::Progress;
use super::scan::{Scanned, contents, judge, scan};
use crate::block::ColumnStats;
use crate::error::{ErrorKind, Result};
use crate::manifest::{BlockRow, Manifest, Rebuilt};
use crate::model::Timestamp;
use crate::planted::{self, Bug};
use crate::store::{CacheDir, FoundFile};

/// What repairing did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RepairReport {
    /// Files looked at.
    pub files: u64,
    /// Damaged or misplaced files, below the cache directory, and why they went to `quarantine/`.
    pub quarantined: Vec<(String, String)>,
    /// Files that cannot be read now, and why. They stay, and the manifest does not know them until the next repair.
    pub unreadable: Vec<(String, String)>,
    /// Files that are none of Larder's, and stayed.
    pub strangers: Vec<String>,
    /// Blocks in the manifest now.
    pub blocks: u64,
    /// Blocks that the manifest had not known.
    pub added: u64,
    /// Rows whose file was gone.
    pub dropped: u64,
    /// Whether it was stopped before the end; the manifest is as it was then.
    pub interrupted: bool,
}

/// Sweeps half-written files of dead processes, quarantines what is damaged and makes the manifest say what the files are.
///
/// # Errors
/// `Busy` or `Unavailable` where the manifest or the disk cannot be used: nothing is half done, repeat it.
pub fn repair(
    dir: &CacheDir,
    manifest: &Manifest,
    now: Timestamp,
    progress: &mut dyn Progress,
) -> Result<RepairReport> {
    dir.tidy()?;
    let mut report = RepairReport::default();
    let mut sound = Vec::new();
    let mut files = Vec::new();
    dir.files(|file| files.push(file))?;
    let total = files.len() as u64;
    for file in files {
        if !progress.advance(report.files, Some(total)) {
            report.interrupted = true;
            return Ok(report);
        }
        report.files += 1;
        let name = file.path.to_string_lossy().into_owned();
        match scan(dir, &file.path) {
            Scanned::Sound(meta) => sound.push((BlockRow::new(&meta, &file.path, file.bytes), file)),
            Scanned::Bad(why) => {
                let is_bad = |bytes: &Bytes| matches!(judge(&file.path, bytes), Scanned::Bad(_));
                if dir.quarantine(&file.path, is_bad)?.is_some() {
                    report.quarantined.push((name, why));
                }
            }
            Scanned::Unreadable(why) => report.unreadable.push((name, why)),
            Scanned::Stranger => report.strangers.push(name),
            Scanned::Newer | Scanned::Gone => {}
        }
    }
    let rebuilt = match replace(dir, manifest, now, &sound) {
        // Damage that showed only now: the manifest is set aside, and this is a new one.
        Err(error) if error.kind() == ErrorKind::Corrupt => replace(dir, manifest, now, &sound)?,
        rebuilt => rebuilt?,
    };
    report.blocks = rebuilt.blocks;
    report.added = rebuilt.added;
    report.dropped = rebuilt.dropped;
    Ok(report)
}

/// Makes the manifest from the block files, without touching them, where it needs that and nobody else is at it.
///
/// `None` where it does not, or where another process went on with it for longer than `patience`.
///
/// # Errors
/// As [`repair`].
pub fn rebuild(dir: &CacheDir, manifest: &Manifest, now: Timestamp, patience: Duration) -> Result<Option<Rebuilt>> {
    // Asked under the lock: whoever held it may have done it.
    rebuild_if(dir, manifest, now, patience, || manifest.read(|query| Ok(query.report().needs_rebuild)))
}

/// The same whether it says that it needs that or not.
///
/// # Errors
/// As [`repair`].
pub fn rebuild_anyway(
    dir: &CacheDir,
    manifest: &Manifest,
    now: Timestamp,
    patience: Duration,
) -> Result<Option<Rebuilt>> {
    rebuild_if(dir, manifest, now, patience, || Ok(true))
}

fn rebuild_if(
    dir: &CacheDir,
    manifest: &Manifest,
    now: Timestamp,
    patience: Duration,
    needs_it: impl FnOnce() -> Result<bool>,
) -> Result<Option<Rebuilt>> {
    let Some(_lock) = dir.lock_rebuild(patience)? else { return Ok(None) };
    if !needs_it()? {
        return Ok(None);
    }
    let mut sound = Vec::new();
    dir.files(|file| {
        if let Scanned::Sound(meta) = scan(dir, &file.path) {
            sound.push((BlockRow::new(&meta, &file.path, file.bytes), file));
        }
    })?;
    replace(dir, manifest, now, &sound).map(Some)
}

fn replace(dir: &CacheDir, manifest: &Manifest, began: Timestamp, sound: &[(BlockRow, FoundFile)]) -> Result<Rebuilt> {
    // One block's statistics at a time: those of a million blocks would not fit into memory.
    let known = if planted::is(Bug::RepairedEmpty) { 0 } else { sound.len() };
    let rows = sound.iter().take(known).map(|(row, file)| -> (BlockRow, Vec<ColumnStats>) {
        let (stats, newest) = contents(dir, &file.path);
        (BlockRow { newest, ..row.clone() }, stats)
    });
    manifest.rebuild(began, rows)
}
