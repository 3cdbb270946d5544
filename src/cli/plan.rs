//! `larder plan`: what `larder apply` would change.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::cache::Cache;
use super::changes::{Change, Changes};
use super::definitions::{self, DIRECTORY};
use super::failure::Failure;
use super::page::{Page, Tone};
use super::quantity;
use super::report::Report;
use super::session::{Session, quoted};
use crate::definition::Environment;
use crate::manifest::ViewSummary;
use crate::model::ViewName;
use crate::registry::Registry;

const EXAMPLES: &str = "\
Examples:
  larder plan
  larder plan my/definitions --json | jq .orphans

Nothing is applied. Definitions are compared by what they mean: a comment or an owner is no change.";

/// Show what applying definitions would change, and which blocks it would cost
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// The directory with the definition files
    #[arg(value_name = "DIR", default_value = DIRECTORY)]
    directory: PathBuf,
}

/// What would change.
#[derive(Debug, Serialize)]
pub struct PlanFacts {
    /// The version that holds now; 0 where nothing was applied.
    version: u64,
    #[serde(flatten)]
    changes: Changes,
    /// Blocks that no view would have any more; absent where the manifest cannot be read.
    orphans: Option<Vec<Orphans>>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<String>,
    warnings: Vec<String>,
    #[serde(skip)]
    next: String,
}

/// The blocks of a view that would change or go.
#[derive(Debug, Serialize)]
struct Orphans {
    view: ViewName,
    fingerprint: String,
    blocks: u64,
    bytes: u64,
    /// What computing them took.
    compute_seconds: f64,
}

/// Plans.
///
/// # Errors
/// `Invalid` with every mistake in the files; those of the registry.
pub fn run(options: &Options, session: &Session) -> Result<PlanFacts, Failure> {
    let (_, definitions) = definitions::read(&options.directory)?;
    let before = Registry::new(&session.root).latest()?;
    let old = before.as_ref().map(|version| version.definitions(Environment::of_process())).transpose()?;
    let changes = Changes::between(old.as_ref(), &definitions);
    let (orphans, unknown) = match Cache::summaries(session) {
        Ok(summaries) => (Some(orphans(&changes, &summaries)), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Ok(PlanFacts {
        version: before.map_or(0, |before| before.number),
        changes,
        orphans,
        unknown,
        warnings: definitions.warnings().iter().map(ToString::to_string).collect(),
        next: session.command(&format!("apply {}", quoted(&options.directory))),
    })
}

fn orphans(changes: &Changes, summaries: &[ViewSummary]) -> Vec<Orphans> {
    let goes = changes.views.iter().filter(|view| view.was.is_some() && view.was != view.fingerprint);
    let of = |view: &ViewName, was: &str| {
        summaries.iter().find(|summary| summary.view == *view && summary.fingerprint.to_string() == *was)
    };
    let found = goes.filter_map(|view| {
        let was = view.was.clone()?;
        let summary = of(&view.view, &was)?;
        Some(Orphans {
            view: view.view.clone(),
            fingerprint: was,
            blocks: summary.totals.blocks,
            bytes: summary.totals.bytes,
            compute_seconds: summary.computing.as_secs_f64(),
        })
    });
    found.collect()
}

impl Report for PlanFacts {
    fn write(&self, page: &mut Page) {
        for warning in &self.warnings {
            page.line(&format!("{} {warning}", Tone::Warning.paint("warning:")));
        }
        let differing = self.changes.differing();
        if differing.is_empty() {
            page.line(&format!("Nothing would change: version {} means the same.", self.version));
            return;
        }
        let count = |wanted| differing.iter().filter(|(.., change)| *change == wanted).count();
        let (new, changed, removed) = (count(Change::New), count(Change::Changed), count(Change::Removed));
        page.line(&format!("{new} new, {changed} changed, {removed} removed."));
        page.gap();
        self.changes.write(page);
        page.gap();
        for orphans in self.orphans.iter().flatten() {
            page.field("Orphans", &orphans.sentence());
        }
        if let Some(unknown) = &self.unknown {
            page.field("Orphans", &format!("unknown: {unknown}"));
        }
        page.field("Next", &format!("`{}`", self.next));
    }
}

impl Orphans {
    fn sentence(&self) -> String {
        format!(
            "{}: {}, {}; computing as much again takes about {}",
            self.view,
            quantity::counted(self.blocks, "block", "blocks"),
            quantity::bytes(self.bytes),
            quantity::duration(Duration::from_secs_f64(self.compute_seconds))
        )
    }
}
