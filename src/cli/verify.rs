//! `larder verify`: every byte of every block, and the manifest against the files.

use clap::Args;
use serde::Serialize;

use super::cache::Cache;
use super::failure::{Exit, Failure};
use super::page::{Page, Tone};
use super::progress::Watch;
use super::quantity;
use super::report::Report;
use super::session::Session;
use crate::upkeep::{self, Finding, FindingKind, VerifyReport};

const EXAMPLES: &str = "\
Examples:
  larder verify
  larder verify --json | jq '.findings[].file'

Changes nothing and is safe beside running services. Exit status 1 on findings; `larder repair` mends them.";

const KINDS: [FindingKind; 5] = [
    FindingKind::BadFile,
    FindingKind::NotInManifest,
    FindingKind::NoFile,
    FindingKind::Differs,
    FindingKind::Stranger,
];

/// Check every block's bytes, and the manifest against the files
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {}

/// What was found.
#[derive(Debug, Serialize)]
pub struct VerifyFacts {
    #[serde(flatten)]
    report: VerifyReport,
    #[serde(skip)]
    repair: String,
}

/// Verifies.
///
/// # Errors
/// `NotFound` for no cache; those of [`upkeep::verify`].
pub fn run(_: &Options, session: &Session) -> Result<VerifyFacts, Failure> {
    let cache = Cache::open(session)?;
    let mut watch = Watch::begin("verifying", &session.interrupt);
    let report = upkeep::verify(&cache.dir, &cache.manifest, session.now(), &mut watch)?;
    Ok(VerifyFacts { report, repair: session.command("repair") })
}

fn title(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::BadFile => "Damaged or in another block's place; nobody is served from it",
        FindingKind::NotInManifest => "Not in the manifest; served all the same",
        FindingKind::NoFile => "In the manifest without a file; computed again when asked for",
        FindingKind::Differs => "Described wrongly by the manifest; served all the same",
        FindingKind::Unreadable => "Cannot be read now; see who owns it and what the disk says",
        FindingKind::Stranger => "None of Larder's files; move them elsewhere, they are left alone",
    }
}

impl Report for VerifyFacts {
    fn write(&self, page: &mut Page) {
        let report = &self.report;
        let checked =
            format!("{}, {}", quantity::counted(report.files, "file", "files"), quantity::bytes(report.bytes));
        if report.interrupted {
            let stopped = Tone::Warning.paint("Interrupted");
            page.line(&format!("{stopped} after {checked}; the manifest was not compared."));
        } else {
            let rows = quantity::counted(report.rows, "row", "rows");
            let found = match report.findings.len() as u64 {
                0 => Tone::Good.paint("all sound"),
                findings => Tone::Bad.paint(&quantity::counted(findings, "finding", "findings")),
            };
            page.line(&format!("Checked {checked}, against {rows} of the manifest: {found}."));
        }
        for kind in KINDS {
            let mut findings = report.findings.iter().filter(|finding| finding.kind == kind).peekable();
            if findings.peek().is_some() {
                page.title(title(kind));
                findings.for_each(|finding| page.verbatim(&line(finding)));
            }
        }
        if report.findings.iter().any(|finding| finding.kind != FindingKind::Stranger) {
            page.gap();
            page.verbatim(&format!("Mend with  {}", self.repair));
        }
    }

    fn exit(&self) -> Exit {
        match &self.report {
            report if !report.findings.is_empty() => Exit::Finding,
            report if report.interrupted => Exit::Interrupted,
            _ => Exit::Good,
        }
    }
}

fn line(finding: &Finding) -> String {
    format!("  {}: {}", finding.file, finding.detail)
}
