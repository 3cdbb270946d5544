//! What the status page shows, from one look into the manifest.

mod timeline;
mod verdict;
mod views;

use std::time::Duration;

use super::health::{self, Check, HealthFacts, KnownFacts, ManifestState, Period};
use super::slo::SloFacts;
use super::survey::Survey;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::manifest::{Invalidation, Manifest, OutcomeCount, Query, TopMiss};
use crate::model::Timestamp;
use crate::store::CacheDir;

pub use timeline::{Bin, BudgetPoint};
pub use verdict::Verdict;
pub use views::{ViewStatus, WorstMiss};

const VERSION: &str = env!("CARGO_PKG_VERSION");

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

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

/// What can be said while the manifest does not answer.
#[derive(Debug, Clone)]
pub struct SilentFacts {
    /// The version of Larder.
    pub version: &'static str,
    /// When the facts were gathered.
    pub now: Timestamp,
    /// Why it does not.
    pub manifest: ManifestState,
    /// The checks that need no manifest, and that of the manifest itself.
    pub checks: Vec<Check>,
}

impl SilentFacts {
    /// Gathers them after the manifest answered with this error.
    pub fn gather(error: Error, dir: &CacheDir, settings: &Settings, now: Timestamp) -> Self {
        let facts = HealthFacts::of(Err(error), dir, settings, now);
        Self { version: VERSION, now, checks: health::checks(&facts), manifest: facts.manifest }
    }
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

impl DiskStatus {
    /// Bytes that blocks may take: their limit, or what the disk has room for above its reserve where that is less.
    pub fn room(&self) -> u64 {
        self.limit.min(self.bytes.saturating_add(self.free.saturating_sub(self.reserve)))
    }
}

impl StatusFacts {
    /// Gathers them.
    ///
    /// # Errors
    /// Those of the manifest, and of a disk that does not say how full it is.
    pub fn gather(dir: &CacheDir, manifest: &Manifest, settings: &Settings, now: Timestamp) -> Result<Self> {
        // In one go: whoever reads second finds everything folded, and a damaged manifest gone.
        let (answers, known, report) = manifest.read(|query| {
            let survey = Survey::read(query, now)?;
            let known = KnownFacts::read(query, &survey, settings, now)?;
            Ok((Answers::ask(query, survey, now)?, known, query.report().clone()))
        })?;
        let mut facts = Self::new(answers, settings, now, dir.free_bytes()?);
        facts.checks = health::checks(&HealthFacts::of(Ok((known, report)), dir, settings, now));
        facts.checks.retain(|check| check.period == Period::Daily);
        Ok(facts)
    }

    fn new(answers: Answers, settings: &Settings, now: Timestamp, free_bytes: u64) -> Self {
        let Survey { requests, totals, .. } = &answers.survey;
        let slo = SloFacts::new(requests, &settings.slo, now);
        let disk = DiskStatus {
            blocks: totals.blocks,
            bytes: totals.bytes,
            limit: settings.size_limit(),
            clean_at: settings.high_watermark(),
            free: free_bytes,
            reserve: settings.reserve(),
        };
        Self {
            version: VERSION,
            now,
            verdict: Verdict::of(&slo),
            burn_down: timeline::burn_down(&requests.series, &settings.slo, now),
            day: timeline::day(&requests.series, now),
            checks: Vec::new(),
            views: views::views(&answers),
            disk,
            invalidations: answers.invalidations,
            slo,
        }
    }
}

/// What the manifest was asked.
struct Answers {
    survey: Survey,
    /// Requests of the last day by view and outcome.
    day: Vec<OutcomeCount>,
    misses: Vec<TopMiss>,
    invalidations: Vec<Invalidation>,
}

impl Answers {
    fn ask(query: &Query<'_>, survey: Survey, now: Timestamp) -> Result<Self> {
        let yesterday = now.saturating_sub(DAY);
        Ok(Self {
            survey,
            // The minutes that a window of a day has: those that began after it did.
            day: query.outcomes(yesterday.saturating_add(MINUTE), now)?,
            misses: query.top_misses(yesterday, MOST_MISSES)?,
            invalidations: query.invalidations(MOST_INVALIDATIONS)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;
    use crate::manifest::{Journal, Record};
    use crate::model::{Outcome, ViewName};
    use crate::store::Publish;

    #[test]
    fn a_views_requests_are_those_of_the_window_of_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::from_minute(100_000);
        let request = |minute| {
            let view = ViewName::new("v").unwrap();
            Record::Requests { minute, view, outcome: Outcome::Hit, count: 1 }
        };
        let minutes = [98_559, 98_560, 98_561, 100_000, 100_001];
        Journal::create(dir.path()).unwrap().append(&minutes.map(request)).unwrap();
        let manifest = Manifest::new(dir.path(), Arc::new(ManualClock::new(now.as_ns())));
        let cache = CacheDir::open(dir.path(), Publish::Fast, "status").unwrap();
        let facts = StatusFacts::gather(&cache, &manifest, &Settings::default(), now).unwrap();
        assert_eq!(facts.views[0].counts.total(), 2);
        assert_eq!(facts.slo.window("1d").unwrap().requests, 2);
    }
}

#[cfg(test)]
mod testing {
    use super::*;
    use crate::inspect::slo::tests::{minute, requests};
    use crate::manifest::Totals;
    use crate::model::Outcome;
    use crate::slo::MinuteCounts;

    impl StatusFacts {
        /// Of requests alone, each with its minute, for the tests of the page.
        pub(crate) fn of_minutes(minutes: &[(i64, Outcome, u64)], settings: &Settings, now: Timestamp) -> Self {
            let minutes = minutes.iter().map(|(at, outcome, count)| minute(*at, *outcome, *count));
            Self::new(answers(minutes), settings, now, 0)
        }
    }

    pub(super) fn answers(minutes: impl IntoIterator<Item = MinuteCounts>) -> Answers {
        let survey = Survey { requests: requests(minutes), totals: Totals::default(), summaries: Vec::new() };
        Answers { survey, day: Vec::new(), misses: Vec::new(), invalidations: Vec::new() }
    }

    pub(super) fn facts(minutes: impl IntoIterator<Item = MinuteCounts>, now: Timestamp) -> StatusFacts {
        StatusFacts::new(answers(minutes), &Settings::default(), now, 0)
    }
}
