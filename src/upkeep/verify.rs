//! Checking every block, and the manifest against the blocks.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use super::Progress;
use super::scan::{Scanned, scan};
use crate::error::Result;
use crate::manifest::{BlockFilter, BlockRow, Manifest};
use crate::model::Timestamp;
use crate::store::{CacheDir, FoundFile};

/// A file so young may be on its way into the manifest.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

/// What is wrong with a file or a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The file is damaged or in another block's place. Nobody is served from it; `repair` quarantines it.
    BadFile,
    /// The file cannot be read now. See who owns it and what the disk says.
    Unreadable,
    /// The file is none of Larder's. It stays; move it elsewhere.
    Stranger,
    /// The manifest does not know the file. `repair` adds it.
    NotInManifest,
    /// The manifest has a row without a file. `repair` drops it.
    NoFile,
    /// The manifest says something else than the file. `repair` corrects it.
    Differs,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// Which file, below the cache directory.
    pub file: String,
    /// More of it.
    pub detail: String,
}

/// What verifying found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Files looked at.
    pub files: u64,
    /// Their bytes, every one of which was checked.
    pub bytes: u64,
    /// Blocks in the manifest.
    pub rows: u64,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
    /// Whether it was stopped before the end; the manifest was not compared then.
    pub interrupted: bool,
}

/// Checks every block file, and the manifest against the files. Changes nothing.
///
/// # Errors
/// `Busy` or `Unavailable` where the manifest or a directory cannot be read.
pub fn verify(
    dir: &CacheDir,
    manifest: &Manifest,
    now: Timestamp,
    progress: &mut dyn Progress,
) -> Result<VerifyReport> {
    let mut files = Vec::new();
    dir.files(|file| files.push(file))?;
    let mut report = VerifyReport::default();
    let mut sound: HashMap<String, (FoundFile, BlockRow)> = HashMap::new();
    let total = files.len() as u64;
    for file in files {
        if !progress.advance(report.files, Some(total)) {
            report.interrupted = true;
            return Ok(report);
        }
        report.files += 1;
        report.bytes += file.bytes;
        let name = file.path.to_string_lossy().into_owned();
        let finding = match scan(dir, &file.path) {
            Scanned::Sound(meta) => {
                let row = BlockRow::new(&meta, &file.path, file.bytes);
                sound.insert(name, (file, row));
                continue;
            }
            Scanned::Bad(why) => Finding { kind: FindingKind::BadFile, file: name, detail: why },
            Scanned::Unreadable(why) => Finding { kind: FindingKind::Unreadable, file: name, detail: why },
            Scanned::Stranger => {
                Finding { kind: FindingKind::Stranger, file: name, detail: "no block has this path".to_owned() }
            }
            Scanned::Newer | Scanned::Gone => continue,
        };
        report.findings.push(finding);
    }
    // After the files: what was published before they were listed is in a journal by now, and reading folds it.
    let rows = manifest.read(|query| query.blocks(&BlockFilter::default()))?;
    report.rows = rows.len() as u64;
    compare(dir, rows, sound, now, &mut report.findings);
    Ok(report)
}

fn compare(
    dir: &CacheDir,
    rows: Vec<BlockRow>,
    mut sound: HashMap<String, (FoundFile, BlockRow)>,
    began: Timestamp,
    findings: &mut Vec<Finding>,
) {
    let bad: Vec<String> = findings.iter().map(|finding| finding.file.clone()).collect();
    for row in rows {
        match sound.remove(&row.file) {
            Some(_) if row.created > began => {}
            Some((_, found)) => {
                if let Some(detail) = difference(&row, &found) {
                    findings.push(Finding { kind: FindingKind::Differs, file: row.file, detail });
                }
            }
            None if row.created > began
                || bad.contains(&row.file)
                || !matches!(dir.stat(row.file.as_ref()), Ok(None)) => {}
            None => {
                let detail = format!("{} {} {}", row.view, row.entity, row.start);
                findings.push(Finding { kind: FindingKind::NoFile, file: row.file, detail });
            }
        }
    }
    for (name, (file, row)) in sound {
        let is_young = began.since(file.modified) < ON_ITS_WAY;
        if !is_young && matches!(dir.stat(&file.path), Ok(Some(_))) {
            let detail = format!("{} {} {}", row.view, row.entity, row.start);
            findings.push(Finding { kind: FindingKind::NotInManifest, file: name, detail });
        }
    }
    findings.sort_by(|a, b| a.file.cmp(&b.file));
}

fn difference(row: &BlockRow, found: &BlockRow) -> Option<String> {
    if row.bytes != found.bytes {
        return Some(format!("{} bytes in the manifest, {} in the file", row.bytes, found.bytes));
    }
    if row.rows != found.rows {
        return Some(format!("{} rows in the manifest, {} in the file", row.rows, found.rows));
    }
    (row.known_until != found.known_until)
        .then(|| format!("known until {} in the manifest, {} in the file", row.known_until, found.known_until))
}
