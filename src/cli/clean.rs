//! `larder clean`: removing blocks that are no longer worth their disk.

use clap::Args;
use serde::Serialize;

use super::cache::Cache;
use super::failure::{Exit, Failure};
use super::page::{Align, Page, Tone};
use super::progress::Watch;
use super::quantity;
use super::report::Report;
use super::session::Session;
use crate::manifest::Record;
use crate::metrics::catalogue;
use crate::model::Timestamp;
use crate::upkeep::{self, CleanOptions, CleanReport, Reason, Removal};

const EXAMPLES: &str = "\
Examples:
  larder clean --dry-run
  larder clean
  FEATURE_CACHE_RETENTION_DAYS=30 larder clean --dry-run --json | jq '.removed[].file'

Safe beside running services: what is being read or computed, or was just published, stays.";

/// Remove blocks of dead versions, unused ones, and the least valuable ones above the size limit
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Only list what would be removed, and why
    #[arg(long)]
    dry_run: bool,
}

/// What was removed, or would be.
#[derive(Debug, Serialize)]
pub struct CleanFacts {
    #[serde(flatten)]
    report: CleanReport,
    removed_blocks: u64,
    removed_bytes: u64,
    by_reason: Vec<ReasonFacts>,
}

#[derive(Debug, Serialize)]
struct ReasonFacts {
    reason: Reason,
    why: String,
    blocks: u64,
    bytes: u64,
}

/// Cleans.
///
/// # Errors
/// `NotFound` for no cache; those of [`upkeep::clean`].
pub fn run(options: &Options, session: &Session) -> Result<CleanFacts, Failure> {
    let cache = Cache::open(session)?;
    // Not for its answer: a manifest that nobody has made yet knows of nothing to remove.
    cache.read(session.now(), |query| query.totals())?;
    let mut watch = Watch::begin("cleaning", &session.interrupt);
    let report = upkeep::clean(
        &cache.dir,
        &cache.manifest,
        &session.settings,
        session.now(),
        CleanOptions { dry_run: options.dry_run },
        |records| cache.journal(records),
        &mut watch,
    )?;
    drop(watch);
    if !options.dry_run {
        cache.journal(&counted(&report, session.now()));
    }
    cache.close()?;
    let by_reason = report.by_reason().into_iter().map(|(reason, blocks, bytes)| ReasonFacts {
        reason,
        why: why(reason, session),
        blocks,
        bytes,
    });
    Ok(CleanFacts {
        removed_blocks: report.removed.len() as u64,
        removed_bytes: report.removed_bytes(),
        by_reason: by_reason.collect(),
        report,
    })
}

/// What `larder serve` exports of it.
fn counted(report: &CleanReport, now: Timestamp) -> Vec<Record> {
    let removed = |(reason, blocks, bytes): (Reason, u64, u64)| {
        [(&catalogue::EVICTED_BLOCKS, blocks), (&catalogue::EVICTED_BYTES, bytes)]
            .map(|(metric, count)| Record::counted(now, metric.name, vec![reason.as_str().to_owned()], count))
    };
    report.by_reason().into_iter().flat_map(removed).collect()
}

fn why(reason: Reason, session: &Session) -> String {
    let settings = &session.settings;
    match reason {
        Reason::Orphan => "no view has this version any more".to_owned(),
        Reason::Expired => format!("not used for {} days", settings.retention_days),
        Reason::Size => format!("the blocks take more than {}", quantity::bytes(settings.high_watermark())),
        Reason::Disk => format!("the disk has less than {} free", quantity::bytes(settings.reserve())),
    }
}

impl Report for CleanFacts {
    fn write(&self, page: &mut Page) {
        let report = &self.report;
        let before = format!(
            "{}, {}",
            quantity::counted(report.blocks_before, "block", "blocks"),
            quantity::bytes(report.bytes_before)
        );
        if self.removed_blocks == 0 {
            let limit = quantity::bytes(report.threshold_bytes);
            page.line(&format!("Nothing to remove from {before}; cleaning by size begins at {limit}."));
        } else {
            let verb = if report.dry_run { "Would remove" } else { "Removed" };
            let (blocks, bytes) =
                (quantity::counted(self.removed_blocks, "block", "blocks"), quantity::bytes(self.removed_bytes));
            page.line(&format!("{verb} {blocks}, {bytes}, of {before}."));
            self.write_reasons(page);
        }
        let stayed = quantity::counted(report.skipped, "block", "blocks");
        match &report.failed {
            Some(why) => page.line(&format!("{}: {why}.", Tone::Bad.paint(&format!("{stayed} stayed")))),
            None if report.skipped > 0 => page.line(&format!("{stayed} stayed after all, being in use.")),
            None => {}
        }
        if report.interrupted {
            page.line(&format!("{}: the rest stays; run it again to go on.", Tone::Warning.paint("Interrupted")));
        }
    }

    fn exit(&self) -> Exit {
        match &self.report {
            report if report.interrupted => Exit::Interrupted,
            report if report.failed.is_some() => Exit::Finding,
            _ => Exit::Good,
        }
    }
}

impl CleanFacts {
    fn write_reasons(&self, page: &mut Page) {
        page.gap();
        page.table(
            [("reason", Align::Left), ("blocks", Align::Right), ("size", Align::Right), ("because", Align::Left)],
            self.by_reason.iter().map(|sum| {
                [
                    sum.reason.as_str().to_owned(),
                    quantity::count(sum.blocks),
                    quantity::bytes(sum.bytes),
                    sum.why.clone(),
                ]
            }),
        );
        // A person who cleans wants the sum; one who asks first wants to see each file.
        if self.report.dry_run {
            for sum in &self.by_reason {
                page.title(&format!("{}: {}", sum.reason.as_str(), sum.why));
                let files = self.report.removed.iter().filter(|removal| removal.reason == sum.reason);
                files.for_each(|removal| page.verbatim(&line(removal)));
            }
        }
    }
}

fn line(removal: &Removal) -> String {
    format!("{:>7}  {}", quantity::bytes(removal.bytes), removal.file)
}
