//! What the status page shows, from one look into the manifest.

mod timeline;
mod verdict;
mod views;

use std::time::Duration;

use super::health::{self, Check, HealthFacts, KnownFacts, Period};
use super::slo::{Requests, SloFacts};
use crate::config::Settings;
use crate::error::Result;
use crate::manifest::{Invalidation, Manifest, MinuteCount, Query, TopMiss, Totals, ViewSummary, ViewVersion};
use crate::model::Timestamp;
use crate::slo::{Counts, Series};
use crate::store::CacheDir;

pub use timeline::{Bin, BudgetPoint};
pub use verdict::Verdict;
pub use views::{ViewStatus, WorstMiss};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
/// Longer than every window, with the minutes at both of its ends.
const KEPT: Duration = Duration::from_secs(31 * 86_400);

/// So many of the most frequent misses are read. A view all of whose misses are rarer has no reasons on the
/// page; with every entity ever missed the page would take seconds.
const MOST_MISSES: u32 = 10_000;
/// So many of the newest invalidations.
const MOST_INVALIDATIONS: u32 = 12;

/// Everything on the status page.
#[derive(Debug, Clone)]
pub struct StatusFacts {
    /// The version of Larder.
    pub version: &'static str,
    /// When the facts were gathered.
    pub now: Timestamp,
    /// What they come to.
    pub verdict: Verdict,
    /// The service level of all views.
    pub slo: SloFacts,
    /// How the error budget was spent over the objective's window; empty without requests. The last
    /// point is what is left now.
    pub burn_down: Vec<BudgetPoint>,
    /// The requests of the last 24 hours by outcome.
    pub day: Vec<Bin>,
    /// Every view that has blocks or was asked for, the one that spends most first.
    pub views: Vec<ViewStatus>,
    /// How full the disk is.
    pub disk: DiskStatus,
    /// The latest invalidations, the newest first.
    pub invalidations: Vec<Invalidation>,
    /// The daily checks, the conditions of the alerts among them.
    pub checks: Vec<Check>,
}

/// How full the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskStatus {
    /// Blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that they may take.
    pub limit: u64,
    /// Bytes from which on cleaning evicts.
    pub clean_at: u64,
    /// Free bytes of the disk.
    pub free: u64,
    /// Free bytes below which nothing is published.
    pub reserve: u64,
}

impl StatusFacts {
    /// Gathers them.
    ///
    /// # Errors
    /// Those of the manifest, and of a disk that does not say how full it is.
    pub fn gather(dir: &CacheDir, manifest: &Manifest, settings: &Settings, now: Timestamp) -> Result<Self> {
        // In one go: whoever reads second finds everything folded, and a damaged manifest gone.
        let (answers, known, report) = manifest.read(|query| {
            let known = KnownFacts::read(query, settings, now)?;
            Ok((Answers::ask(query, now)?, known, query.report().clone()))
        })?;
        let mut facts = Self::new(answers, settings, now, dir.free_bytes()?);
        facts.checks = health::checks(&HealthFacts::of(Ok((known, report)), dir, settings, now));
        facts.checks.retain(|check| check.period == Period::Daily);
        Ok(facts)
    }

    fn new(answers: Answers, settings: &Settings, now: Timestamp, free_bytes: u64) -> Self {
        let minutes = &answers.requests.minutes;
        let slo = SloFacts::new(&answers.requests, None, &settings.slo, now);
        let series = series(minutes);
        let disk = DiskStatus {
            blocks: answers.totals.blocks,
            bytes: answers.totals.bytes,
            limit: settings.size_limit(),
            clean_at: settings.high_watermark(),
            free: free_bytes,
            reserve: settings.reserve(),
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            now,
            verdict: Verdict::of(&slo),
            burn_down: timeline::burn_down(&series, &settings.slo, now),
            day: timeline::day(&series, now),
            checks: Vec::new(),
            views: views::views(&answers, now),
            disk,
            invalidations: answers.invalidations,
            slo,
        }
    }
}

/// What the manifest was asked.
struct Answers {
    requests: Requests,
    totals: Totals,
    summaries: Vec<ViewSummary>,
    versions: Vec<ViewVersion>,
    misses: Vec<TopMiss>,
    invalidations: Vec<Invalidation>,
}

impl Answers {
    fn ask(query: &Query<'_>, now: Timestamp) -> Result<Self> {
        Ok(Self {
            requests: Requests::read(query, now)?,
            totals: query.totals()?,
            summaries: query.view_summaries()?,
            versions: query.views()?,
            misses: query.top_misses(now.saturating_sub(DAY), MOST_MISSES)?,
            invalidations: query.invalidations(MOST_INVALIDATIONS)?,
        })
    }
}

fn series<'a>(minutes: impl IntoIterator<Item = &'a MinuteCount>) -> Series {
    let mut series = Series::new(MINUTE, KEPT);
    for minute in minutes {
        let counts: Counts = [(minute.outcome, minute.count)].into_iter().collect();
        series.add(Timestamp::from_secs(minute.minute.saturating_mul(60)), &counts);
    }
    series
}

#[cfg(test)]
mod testing {
    use super::*;
    use crate::model::{Outcome, ViewName};

    impl StatusFacts {
        /// Of requests alone, each with its minute, for the tests of the page.
        pub(crate) fn of_minutes(minutes: &[(i64, Outcome, u64)], settings: &Settings, now: Timestamp) -> Self {
            let minutes = minutes.iter().map(|(at, outcome, count)| minute(*at, *outcome, *count)).collect();
            Self::new(answers(minutes), settings, now, 0)
        }
    }

    pub(super) fn minute(at: i64, outcome: Outcome, count: u64) -> MinuteCount {
        MinuteCount { minute: at, view: ViewName::new("v").unwrap(), outcome, count }
    }

    pub(super) fn answers(minutes: Vec<MinuteCount>) -> Answers {
        Answers {
            requests: Requests { minutes, views: std::collections::BTreeSet::new() },
            totals: Totals::default(),
            summaries: Vec::new(),
            versions: Vec::new(),
            misses: Vec::new(),
            invalidations: Vec::new(),
        }
    }

    pub(super) fn facts(minutes: Vec<MinuteCount>, now: Timestamp) -> StatusFacts {
        StatusFacts::new(answers(minutes), &Settings::default(), now, 0)
    }
}
