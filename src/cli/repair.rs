//! `larder repair`: damaged blocks out of the way, the manifest true.

use clap::Args;
use serde::Serialize;

use super::cache::Cache;
use super::failure::{Exit, Failure};
use super::page::{Page, Tone};
use super::progress::Watch;
use super::quantity;
use super::report::Report;
use super::session::Session;
use crate::upkeep::{self, RepairReport};

const EXAMPLES: &str = "\
Examples:
  larder repair
  larder repair --json | jq .quarantined

Safe beside running services, and as often as you like. Quarantined blocks are computed again when asked for.";

/// Move damaged blocks to quarantine and make the manifest say what the files are
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {}

/// What was mended.
#[derive(Debug, Serialize)]
pub struct RepairFacts {
    #[serde(flatten)]
    report: RepairReport,
}

/// Repairs.
///
/// # Errors
/// `NotFound` for no cache; those of [`upkeep::repair`].
pub fn run(_: &Options, session: &Session) -> Result<RepairFacts, Failure> {
    let cache = Cache::open(session)?;
    let mut watch = Watch::begin("repairing", &session.interrupt);
    let report = upkeep::repair(&cache.dir, &cache.manifest, session.now(), &mut watch)?;
    Ok(RepairFacts { report })
}

impl Report for RepairFacts {
    fn write(&self, page: &mut Page) {
        let report = &self.report;
        let files = quantity::counted(report.files, "file", "files");
        if report.interrupted {
            let stopped = Tone::Warning.paint("Interrupted");
            page.line(&format!("{stopped} after {files}; the manifest is as it was. Run it again."));
        } else if report.quarantined.is_empty() && report.added + report.dropped == 0 {
            page.line(&format!("Looked at {files}: nothing to mend; {} in the manifest.", blocks(report)));
        } else {
            page.line(&format!(
                "Looked at {files}: {} quarantined, {} added to the manifest, {} dropped from it; {} now.",
                report.quarantined.len(),
                quantity::counted(report.added, "row", "rows"),
                quantity::count(report.dropped),
                blocks(report)
            ));
        }
        if !report.quarantined.is_empty() {
            page.title("Moved to quarantine/");
            report.quarantined.iter().for_each(|(file, why)| page.verbatim(&format!("  {file}: {why}")));
        }
        if !report.unreadable.is_empty() {
            page.line("Cannot be read now, and stayed:");
            report.unreadable.iter().for_each(|(file, why)| page.verbatim(&format!("  {file}: {why}")));
        }
        if !report.strangers.is_empty() {
            page.title("None of Larder's files, left alone");
            report.strangers.iter().for_each(|file| page.verbatim(&format!("  {file}")));
        }
    }

    fn exit(&self) -> Exit {
        if self.report.interrupted { Exit::Interrupted } else { Exit::Good }
    }
}

fn blocks(report: &RepairReport) -> String {
    quantity::counted(report.blocks, "block", "blocks")
}
