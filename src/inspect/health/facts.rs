//! What the checks are made of, and where it comes from.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use crate::config::Settings;
use crate::error::{ErrorKind, Result};
use crate::inspect::slo::Requests;
use crate::manifest::{FoldReport, Manifest, MinuteCount, Query, RemovalReason, ViewSummary, ViewVersion, Vitals};
use crate::model::{Timestamp, ViewName};
use crate::slo::{Counts, Series};
use crate::store::CacheDir;
use crate::upkeep::{CleanReport, VerifyReport};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const KEPT: Duration = Duration::from_secs(31 * 86_400);

/// The windows that the checks look at.
const WINDOWS: [(&str, u64); 8] =
    [("5m", 5), ("30m", 30), ("1h", 60), ("2h", 120), ("6h", 360), ("1d", 1440), ("3d", 4320), ("30d", 43_200)];

/// Everything that the checks look at.
#[derive(Debug, Clone)]
pub struct HealthFacts {
    /// When it was gathered.
    pub now: Timestamp,
    /// The settings in force here.
    pub settings: Settings,
    /// The cache directory.
    pub directory: DirectoryFacts,
    /// How the manifest was found.
    pub manifest: ManifestState,
    /// What the manifest says; `None` where it cannot be read.
    pub known: Option<KnownFacts>,
    /// What only reading every block tells; `None` where that was not asked for.
    pub deep: Option<DeepFacts>,
}

/// The cache directory and its disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirectoryFacts {
    /// Free bytes of its disk.
    pub free: Option<u64>,
    /// Permission bits, before anything was done about them.
    pub mode: Option<u32>,
    /// Why a file cannot be written into it; `None` where one was.
    pub unwritable: Option<String>,
    /// Files in quarantine.
    pub quarantined: Option<u64>,
}

/// How the manifest was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestState {
    /// It answers.
    Sound,
    /// It is new, and was or has to be made from the block files.
    New,
    /// It was damaged and was set aside, to this path.
    Damaged(String),
    /// Somebody else has it open.
    Held(String),
    /// It does not answer for another reason.
    Unreadable(String),
}

/// What the manifest says.
#[derive(Debug, Clone, Default)]
pub struct KnownFacts {
    /// Requests of the windows that the alerts use.
    pub windows: Vec<WindowCounts>,
    /// Requests of `5m` as they were 5 and 10 minutes ago.
    pub earlier: Vec<WindowCounts>,
    /// Requests of the objective's window.
    pub budget: WindowCounts,
    /// The journals before they were read just now.
    pub journals: JournalFacts,
    /// Blocks and their bytes.
    pub blocks: u64,
    /// Bytes of all blocks.
    pub bytes: u64,
    /// Signs of trouble among them.
    pub vitals: Vitals,
    /// Each view in its current version.
    pub views: Vec<ViewFacts>,
    /// Blocks of versions that nobody has served for `disk.orphan_after`.
    pub old_versions: OldVersions,
    /// Blocks that were removed in the last hour and the last day, by reason.
    pub removed: BTreeMap<RemovalReason, Removed>,
}

/// Requests of one window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WindowCounts {
    /// Its name.
    pub name: &'static str,
    /// Requests.
    pub requests: u64,
    /// Those served from cache.
    pub good: u64,
}

impl WindowCounts {
    fn of(name: &'static str, counts: &Counts) -> Self {
        Self { name, requests: counts.total(), good: counts.good() }
    }

    /// good / requests.
    #[expect(clippy::cast_precision_loss, reason = "2^53 requests are enough")]
    pub fn ratio(&self) -> Option<f64> {
        (self.requests > 0).then(|| self.good as f64 / self.requests as f64)
    }
}

/// What the journals held that the manifest did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JournalFacts {
    /// Bytes.
    pub unfolded: u64,
    /// When the oldest record of them was told.
    pub oldest: Option<Timestamp>,
    /// Damaged, torn or unreadable stretches.
    pub damaged: u64,
}

/// One view in its current version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewFacts {
    /// Its name.
    pub view: ViewName,
    /// The event time of its newest row.
    pub newest: Option<Timestamp>,
    /// How long a value is valid.
    pub ttl: Option<Duration>,
    /// Whether it was asked for in the last hour.
    pub in_use: bool,
}

/// Blocks of versions that nobody serves any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OldVersions {
    /// Versions.
    pub versions: u64,
    /// Their blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Blocks that were removed for one reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// In the last hour.
    pub hour: u64,
    /// In the last day.
    pub day: u64,
    /// Of these, within an hour of their publication.
    pub day_young: u64,
}

/// What only reading every block tells.
#[derive(Debug, Clone)]
pub struct DeepFacts {
    /// Every checksum, and the manifest against the files.
    pub verified: VerifyReport,
    /// What cleaning would remove.
    pub cleaning: CleanReport,
}

impl HealthFacts {
    /// Gathers them. The manifest is folded, and begun anew where it is damaged, as by whoever opens it.
    ///
    /// Nothing here is an error: what cannot be found out is a finding.
    pub fn gather(dir: &CacheDir, manifest: &Manifest, settings: &Settings, now: Timestamp) -> Self {
        Self::of(KnownFacts::gather(manifest, settings, now), dir, settings, now)
    }

    /// The same with what the manifest said, or why it said nothing.
    pub(in crate::inspect) fn of(
        read: Result<(KnownFacts, FoldReport)>,
        dir: &CacheDir,
        settings: &Settings,
        now: Timestamp,
    ) -> Self {
        let (state, known) = match read {
            Ok((known, report)) => (state_of(&report), Some(known)),
            Err(error) => match error.kind() {
                ErrorKind::Busy => (ManifestState::Held(error.to_string()), None),
                ErrorKind::Corrupt => (ManifestState::Damaged(error.to_string()), None),
                _ => (ManifestState::Unreadable(error.to_string()), None),
            },
        };
        let directory = DirectoryFacts {
            free: dir.free_bytes().ok(),
            mode: std::fs::metadata(dir.root()).ok().map(|metadata| metadata.mode() & 0o777),
            unwritable: dir.probe().err().map(|error| error.to_string()),
            quarantined: dir.quarantined().ok(),
        };
        Self { now, settings: settings.clone(), directory, manifest: state, known, deep: None }
    }
}

fn state_of(report: &FoldReport) -> ManifestState {
    match &report.set_aside {
        Some(aside) => ManifestState::Damaged(aside.display().to_string()),
        None if report.needs_rebuild => ManifestState::New,
        None => ManifestState::Sound,
    }
}

impl KnownFacts {
    fn gather(manifest: &Manifest, settings: &Settings, now: Timestamp) -> Result<(Self, FoldReport)> {
        manifest.read(|query| Ok((Self::read(query, settings, now)?, query.report().clone())))
    }

    pub(in crate::inspect) fn read(query: &Query<'_>, settings: &Settings, now: Timestamp) -> Result<Self> {
        let requests = Requests::read(query, now)?;
        let totals = query.totals()?;
        let (summaries, versions) = (query.view_summaries()?, query.views()?);
        let mut facts = Self {
            blocks: totals.blocks,
            bytes: totals.bytes,
            vitals: query.vitals(now)?,
            views: views(&summaries, &query.current_views()?, &requests.minutes, now),
            old_versions: old_versions(&summaries, &versions, settings, now),
            journals: journals(query.report()),
            ..Self::default()
        };
        facts.count(&requests.minutes, settings, now);
        for row in query.removals_per_minute(now.saturating_sub(DAY))? {
            let removed = facts.removed.entry(row.reason).or_default();
            let recent = Timestamp::from_secs(row.minute.saturating_mul(60)) >= now.saturating_sub(HOUR);
            removed.hour += if recent { row.blocks } else { 0 };
            removed.day += row.blocks;
            removed.day_young += row.young;
        }
        Ok(facts)
    }

    fn count(&mut self, minutes: &[MinuteCount], settings: &Settings, now: Timestamp) {
        let mut series = Series::new(MINUTE, KEPT);
        for minute in minutes {
            let counts: Counts = [(minute.outcome, minute.count)].into_iter().collect();
            series.add(Timestamp::from_secs(minute.minute.saturating_mul(60)), &counts);
        }
        let sum = |name, at, minutes: u64| WindowCounts::of(name, &series.sum(at, Duration::from_secs(minutes * 60)));
        self.windows = WINDOWS.iter().map(|(name, minutes)| sum(name, now, *minutes)).collect();
        self.earlier = [5, 10].iter().map(|ago| sum("5m", now.saturating_sub(*ago * MINUTE), 5)).collect();
        self.budget = WindowCounts::of("budget", &series.sum(now, settings.slo.window));
    }

    /// The counts of a window.
    pub fn window(&self, name: &str) -> WindowCounts {
        self.windows.iter().find(|window| window.name == name).copied().unwrap_or_default()
    }
}

fn journals(report: &FoldReport) -> JournalFacts {
    let damaged = report.damaged + report.torn + report.unreadable;
    JournalFacts { unfolded: report.bytes, oldest: report.oldest, damaged }
}

fn views(
    summaries: &[ViewSummary],
    current: &[ViewVersion],
    minutes: &[MinuteCount],
    now: Timestamp,
) -> Vec<ViewFacts> {
    let since = now.saturating_sub(HOUR).as_ns().div_euclid(60_000_000_000);
    let facts = |version: &ViewVersion| ViewFacts {
        view: version.view.clone(),
        newest: summaries.iter().filter(|summary| summary.view == version.view).filter_map(|view| view.newest).max(),
        ttl: version.ttl(),
        in_use: minutes.iter().any(|minute| minute.minute >= since && minute.view == version.view),
    };
    current.iter().map(facts).collect()
}

/// Those that cleaning takes for orphans: somebody served them, but not lately, and another version of
/// the view was served after them.
fn old_versions(
    summaries: &[ViewSummary],
    versions: &[ViewVersion],
    settings: &Settings,
    now: Timestamp,
) -> OldVersions {
    let newest =
        |view: &ViewName| versions.iter().filter(|other| other.view == *view).map(|other| other.last_seen).max();
    let is_old = |version: &&ViewVersion| {
        Some(version.last_seen) < newest(&version.view) && now.since(version.last_seen) > settings.disk.orphan_after
    };
    let mut old = OldVersions::default();
    for version in versions.iter().filter(is_old) {
        let same = |summary: &&ViewSummary| summary.view == version.view && summary.fingerprint == version.fingerprint;
        for summary in summaries.iter().filter(same) {
            old.versions += 1;
            old.blocks += summary.totals.blocks;
            old.bytes += summary.totals.bytes;
        }
    }
    old
}
