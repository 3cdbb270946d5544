//! The manifest's answers, by view and version.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::{Answers, Options};
use crate::cli::page::{Align, Page, Tone};
use crate::cli::quantity;
use crate::cli::report::Report;
use crate::cli::session::Session;
use crate::manifest::{Hole, ViewSummary, ViewVersion};
use crate::model::{MissReason, Outcome, TimeRange, Timestamp, ViewName};
use crate::slo::Counts;

/// So many holes are shown before the rest is only counted.
const MOST_HOLES: usize = 4;

/// The facts that `larder stats` shows.
#[derive(Debug, Serialize)]
pub struct StatsReport {
    cache_dir: PathBuf,
    manifest: PathBuf,
    objective: f64,
    since_seconds: u64,
    disk: DiskFacts,
    views: Vec<ViewFacts>,
}

#[derive(Debug, Serialize)]
struct DiskFacts {
    blocks: u64,
    bytes: u64,
    limit_bytes: u64,
    clean_at_bytes: u64,
    free_bytes: u64,
}

#[derive(Debug, Serialize)]
struct ViewFacts {
    view: String,
    requests: u64,
    hits: u64,
    hit_ratio: Option<f64>,
    outcomes: BTreeMap<Outcome, u64>,
    versions: Vec<VersionFacts>,
    misses: Vec<MissFacts>,
}

#[derive(Debug, Serialize)]
struct VersionFacts {
    fingerprint: String,
    version: Option<String>,
    /// Whether it is the one that was served last.
    current: bool,
    blocks: u64,
    tails: u64,
    rows: u64,
    bytes: u64,
    entities: u64,
    start: String,
    end: String,
    holes: Vec<HoleFacts>,
    last_used: String,
    #[serde(skip)]
    covered: (Timestamp, Timestamp),
    #[serde(skip)]
    used: Timestamp,
}

#[derive(Debug, Serialize)]
struct HoleFacts {
    start: String,
    end: String,
    entities: u64,
    #[serde(skip)]
    range: TimeRange,
}

#[derive(Debug, Serialize)]
struct MissFacts {
    entity: String,
    reason: MissReason,
    blocks: u64,
}

impl StatsReport {
    /// Puts the facts of these views together.
    pub(super) fn new(
        session: &Session,
        options: &Options,
        manifest: &Path,
        free_bytes: u64,
        answers: &Answers,
        views: &BTreeSet<ViewName>,
    ) -> Self {
        let settings = &session.settings;
        Self {
            cache_dir: session.root.clone(),
            manifest: manifest.to_owned(),
            objective: settings.slo.objective,
            since_seconds: options.since.as_secs(),
            disk: DiskFacts {
                blocks: answers.totals.blocks,
                bytes: answers.totals.bytes,
                limit_bytes: settings.size_limit(),
                clean_at_bytes: settings.high_watermark(),
                free_bytes,
            },
            views: views.iter().map(|view| view_facts(view, answers, options.misses)).collect(),
        }
    }
}

fn view_facts(view: &ViewName, answers: &Answers, most_misses: usize) -> ViewFacts {
    let outcomes = answers.outcomes.iter().filter(|outcome| outcome.view == *view);
    let counts: Counts = outcomes.map(|outcome| (outcome.outcome, outcome.count)).collect();
    let misses = answers.misses.iter().filter(|miss| miss.view == *view).take(most_misses);
    ViewFacts {
        view: view.to_string(),
        requests: counts.total(),
        hits: counts.good(),
        hit_ratio: counts.ratio(),
        outcomes: counts.iter().collect(),
        versions: answers
            .summaries
            .iter()
            .filter(|summary| summary.view == *view)
            .map(|summary| version_facts(summary, answers))
            .collect(),
        misses: misses
            .map(|miss| MissFacts { entity: miss.entity.to_string(), reason: miss.reason, blocks: miss.count })
            .collect(),
    }
}

fn version_facts(summary: &ViewSummary, answers: &Answers) -> VersionFacts {
    let is_it = |view: &ViewName, fingerprint| *view == summary.view && fingerprint == summary.fingerprint;
    let seen = answers.versions.iter().find(|version| is_it(&version.view, version.fingerprint));
    let newest =
        answers.versions.iter().filter(|version| version.view == summary.view).map(|version| version.last_seen).max();
    let coverage = answers.coverage.iter().find(|coverage| is_it(&coverage.view, coverage.fingerprint));
    let covered = coverage.map_or((summary.first_start, summary.known_until), |found| (found.start, found.end));
    VersionFacts {
        fingerprint: summary.fingerprint.to_string(),
        version: seen.and_then(declared_version),
        current: seen.is_some_and(|version| Some(version.last_seen) == newest),
        blocks: summary.totals.blocks,
        tails: summary.totals.tails,
        rows: summary.totals.rows,
        bytes: summary.totals.bytes,
        entities: summary.entities,
        start: covered.0.to_string(),
        end: covered.1.to_string(),
        holes: coverage.into_iter().flat_map(|coverage| &coverage.holes).map(hole_facts).collect(),
        last_used: summary.last_used.to_string(),
        covered,
        used: summary.last_used,
    }
}

fn hole_facts(hole: &Hole) -> HoleFacts {
    let Hole { range, entities } = *hole;
    HoleFacts { start: range.start().to_string(), end: range.end().to_string(), entities, range }
}

/// The version that the view's author gave, from the definition as it was journaled.
fn declared_version(seen: &ViewVersion) -> Option<String> {
    let definition: serde_json::Value = serde_json::from_str(&seen.definition).ok()?;
    definition.get("version")?.as_str().map(str::to_owned)
}

impl Report for StatsReport {
    fn write(&self, page: &mut Page) {
        page.verbatim(&format!("Cache      {}", self.cache_dir.display()));
        let disk = &self.disk;
        page.field(
            "Disk",
            &format!(
                "{} in {}, limit {} (cleaned from {} on), {} free",
                quantity::bytes(disk.bytes),
                quantity::counted(disk.blocks, "block", "blocks"),
                quantity::bytes(disk.limit_bytes),
                quantity::bytes(disk.clean_at_bytes),
                quantity::bytes(disk.free_bytes)
            ),
        );
        if self.views.is_empty() {
            page.field("Views", "none yet: nothing was requested from this cache");
        }
        for view in &self.views {
            page.title(&view.view);
            self.write_requests(view, page);
            view.write_misses(page);
            for version in &view.versions {
                page.gap();
                version.write(page);
            }
        }
    }
}

impl StatsReport {
    fn write_requests(&self, view: &ViewFacts, page: &mut Page) {
        let since = quantity::rough(Duration::from_secs(self.since_seconds));
        let Some(ratio) = view.hit_ratio else {
            page.field("Requests", &format!("none in the last {since}"));
            return;
        };
        let tone = if ratio >= self.objective { Tone::Good } else { Tone::Bad };
        let outcomes = view.outcomes.iter().filter(|(_, count)| **count > 0);
        let outcomes: Vec<_> = outcomes.map(|(outcome, n)| format!("{} {outcome}", quantity::count(*n))).collect();
        page.field(
            "Requests",
            &format!("{} in the last {since}: {}", quantity::count(view.requests), outcomes.join(", ")),
        );
        page.field(
            "Hit ratio",
            &format!("{}, objective {}", tone.paint(&quantity::percent(ratio)), quantity::percent(self.objective)),
        );
    }
}

impl ViewFacts {
    fn write_misses(&self, page: &mut Page) {
        if self.misses.is_empty() {
            return;
        }
        page.gap();
        page.table(
            [("missed most", Align::Left), ("reason", Align::Left), ("blocks", Align::Right)],
            self.misses.iter().map(|miss| [miss.entity.clone(), miss.reason.to_string(), quantity::count(miss.blocks)]),
        );
    }
}

impl VersionFacts {
    fn write(&self, page: &mut Page) {
        let name = self.version.as_deref().map_or_else(|| "of unknown name".to_owned(), |name| format!("{name:?}"));
        let state = if self.current { "current" } else { "no longer current" };
        page.field("Version", &format!("{name}, {state}, fingerprint {}", self.fingerprint));
        let tails = if self.tails > 0 {
            format!(" ({} of them still growing)", quantity::count(self.tails))
        } else {
            String::new()
        };
        page.field(
            "Blocks",
            &format!(
                "{}{tails} of {}: {}, {}",
                quantity::count(self.blocks),
                quantity::counted(self.entities, "entity", "entities"),
                quantity::counted(self.rows, "row", "rows"),
                quantity::bytes(self.bytes)
            ),
        );
        let (start, end) = self.covered;
        page.field("Coverage", &format!("{} to {}, {}", quantity::time(start), quantity::time(end), self.holes()));
        page.field("Last used", &quantity::time(self.used));
    }

    fn holes(&self) -> String {
        if self.holes.is_empty() {
            return "no holes".to_owned();
        }
        let hole = |hole: &HoleFacts| {
            format!("{} ({})", quantity::times(hole.range), quantity::counted(hole.entities, "entity", "entities"))
        };
        let shown: Vec<String> = self.holes.iter().take(MOST_HOLES).map(hole).collect();
        let more = self.holes.len().saturating_sub(MOST_HOLES);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        let holes = quantity::counted(self.holes.len() as u64, "hole", "holes");
        format!("{holes}: {}{rest}", shown.join(", "))
    }
}
