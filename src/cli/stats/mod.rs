//! `larder stats`: what is cached, how often it hits, what misses.

mod report;

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;

use super::cache::Cache;
use super::failure::Failure;
use super::names::check_view;
use super::session::Session;
use crate::error::Result;
use crate::manifest::{Coverage, OutcomeCount, Query, TopMiss, Totals, ViewSummary, ViewVersion};
use crate::model::{Timestamp, ViewName};
use report::StatsReport;

const EXAMPLES: &str = "\
Examples:
  larder stats
  larder stats --view technical_features --misses 20 --since 7d
  larder stats --json | jq '.views[] | {view, hit_ratio}'";

/// Show what is cached per view, how often it hits and what misses
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Only this view
    #[arg(long, value_name = "NAME", value_parser = ViewName::new)]
    view: Option<ViewName>,
    /// How many of the most frequent misses to list per view; 20 where the number is left out
    #[arg(long, value_name = "N", num_args = 0..=1, default_value_t = 3, default_missing_value = "20")]
    misses: usize,
    /// How far back to count requests and misses, such as 90m, 24h or 7d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
    since: Duration,
}

/// Everything that is asked of the manifest, under one lock.
struct Answers {
    totals: Totals,
    summaries: Vec<ViewSummary>,
    coverage: Vec<Coverage>,
    versions: Vec<ViewVersion>,
    outcomes: Vec<OutcomeCount>,
    misses: Vec<TopMiss>,
}

impl Answers {
    fn ask(query: &Query<'_>, since: Timestamp, now: Timestamp) -> Result<Self> {
        Ok(Self {
            totals: query.totals()?,
            summaries: query.view_summaries()?,
            coverage: query.coverage()?,
            versions: query.views()?,
            outcomes: query.outcomes(since, now)?,
            // All of them, because those of one view may be rare among those of all.
            misses: query.top_misses(since, u32::MAX)?,
        })
    }

    fn views(&self) -> BTreeSet<ViewName> {
        let with_blocks = self.summaries.iter().map(|summary| summary.view.clone());
        let seen = self.versions.iter().map(|version| version.view.clone());
        with_blocks.chain(seen).chain(self.outcomes.iter().map(|outcome| outcome.view.clone())).collect()
    }
}

/// Gathers what the manifest knows.
///
/// # Errors
/// `NotFound` for no cache or an unknown view; those of the manifest.
pub fn run(options: &Options, session: &Session) -> Result<StatsReport, Failure> {
    let cache = Cache::open(session)?;
    let now = session.now();
    let answers = cache.read(now, |query| Answers::ask(query, now.saturating_sub(options.since), now))?;
    let mut views = answers.views();
    if let Some(wanted) = &options.view {
        check_view(wanted, &views)?;
        views.retain(|view| view == wanted);
    }
    let free = cache.dir.free_bytes()?;
    Ok(StatsReport::new(session, options, &cache.manifest.path(), free, &answers, &views))
}
