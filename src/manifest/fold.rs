//! Folding journals into the manifest, exactly once.

use std::collections::HashMap;
use std::path::PathBuf;

use super::database::Database;
use super::journal::{Claim, Listed, Reader};
use super::merge::merge;
use super::schema;
use super::stage::Stage;
use crate::disk::Disk;
use crate::error::Result;
use crate::model::Timestamp;
use crate::planted::{self, Bug};

/// What a fold did and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoldReport {
    /// Records that are new in the manifest.
    pub records: u64,
    /// Bytes of journals that were not in the manifest before.
    pub bytes: u64,
    /// When the oldest of these records was told; `None` without records.
    pub oldest: Option<Timestamp>,
    /// Damaged stretches of journals that were skipped.
    pub damaged: u64,
    /// Records of kinds that only a newer version knows, which were skipped.
    pub unknown: u64,
    /// Journals whose owner died within a write; that last record is lost.
    pub torn: u64,
    /// Journals that could not be read this time, and will be tried again.
    pub unreadable: u64,
    /// Journals of dead owners that were removed, because everything in them is in the manifest.
    pub removed_journals: u64,
    /// Where a damaged manifest was put; a new one was begun.
    pub set_aside: Option<PathBuf>,
    /// Whether block files may exist that the manifest does not know: it is new, and nobody has rebuilt it yet.
    pub needs_rebuild: bool,
}

/// How far journals have been read, by name.
pub(super) type Offsets = HashMap<String, u64>;

/// Folds the listed journals in one transaction and returns how far each has been read now.
///
/// The offsets are stored in the same transaction as what was read up to them: whenever the process
/// dies, either both are in the manifest or neither is.
pub(super) fn fold(
    disk: &dyn Disk,
    database: &Database<'_>,
    journals: &[Listed],
    now: Timestamp,
    report: &mut FoldReport,
) -> Result<Offsets> {
    let stored = offsets(database)?;
    let of = |journal: &Listed| match stored.get(&journal.name) {
        Some(read_to) if !planted::is(Bug::FoldedTwice) => *read_to,
        _ => 0,
    };
    let mut reached: Offsets = journals.iter().map(|journal| (journal.name.clone(), of(journal))).collect();
    if journals.iter().any(|journal| journal.size != of(journal)) || stored.len() > journals.len() {
        database.transaction(|| {
            let mut stage = Stage::new(database)?;
            for journal in journals {
                let read_to = read(disk, journal, of(journal), &mut stage, report)?;
                stage.journal(&journal.name, read_to)?;
                reached.insert(journal.name.clone(), read_to);
            }
            report.records = stage.records();
            merge(database, &stage.finish()?, now)
        })?;
    }
    report.needs_rebuild = needs_rebuild(database)?;
    Ok(reached)
}

/// Whether somebody has to rebuild the manifest from the block files.
pub(super) fn needs_rebuild(database: &Database<'_>) -> Result<bool> {
    let value = schema::value(database.connection(), database.path(), schema::NEEDS_REBUILD)?;
    Ok(value.as_deref() == Some("true"))
}

fn offsets(database: &Database<'_>) -> Result<Offsets> {
    let read = || -> duckdb::Result<Vec<(String, i64)>> {
        let mut statement = database.connection().prepare("SELECT name, read_to FROM journals")?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let rows = read().map_err(|error| database.failed("reading how far journals were read", error))?;
    Ok(rows.into_iter().map(|(name, read_to)| (name, u64::try_from(read_to).unwrap_or(0))).collect())
}

/// Stages what is new in one journal and returns how far it has been read.
fn read(disk: &dyn Disk, journal: &Listed, from: u64, stage: &mut Stage<'_>, report: &mut FoldReport) -> Result<u64> {
    // The claim before the reading: an owner that died in between may have appended what was not read.
    let opened = Claim::of(disk, &journal.path).and_then(|claim| Ok((claim, Reader::open(disk, &journal.path, from)?)));
    let (claim, reader) = match opened {
        Ok(opened) => opened,
        Err(error) => return Ok(unreadable(journal, &error, from, report)),
    };
    let (scanned, whole) = reader.records(|record| {
        report.oldest = Some(report.oldest.map_or(record.told_at(), |oldest| oldest.min(record.told_at())));
        stage.record(&record)
    })?;
    report.bytes += scanned.read_to.saturating_sub(from);
    report.damaged += scanned.damaged;
    report.unknown += scanned.unknown;
    if scanned.damaged + scanned.unknown > 0 {
        tracing::warn!(target: "larder::manifest", journal = %journal.path.display(), damaged = scanned.damaged,
            unknown = scanned.unknown, "skipped what is damaged or known only to a newer version");
    }
    match (whole, claim) {
        // What was read before the failure is staged, so the next reader goes on behind it.
        (Err(error), _) => Ok(unreadable(journal, &error, scanned.read_to, report)),
        (Ok(()), Claim::Alive) => Ok(scanned.read_to),
        (Ok(()), Claim::Dead(_)) => {
            // Nobody will ever complete what follows the last whole frame.
            report.torn += u64::from(scanned.torn > 0);
            Ok(scanned.read_to.saturating_add(scanned.torn))
        }
    }
}

fn unreadable(journal: &Listed, error: &std::io::Error, read_to: u64, report: &mut FoldReport) -> u64 {
    tracing::warn!(target: "larder::manifest", journal = %journal.path.display(), %error,
        "journal cannot be read; trying again with the next fold");
    report.unreadable += 1;
    read_to
}
