//! What the checks are made of, and where it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use crate::config::Settings;
use crate::error::{ErrorKind, Result};
use crate::inspect::slo::SloFacts;
use crate::inspect::survey::Survey;
use crate::manifest::{FoldReport, Manifest, Query, RemovalReason, Removals, ViewSummary, ViewVersion, Vitals};
use crate::model::{Timestamp, ViewName};
use crate::slo::{Counts, report};
use crate::store::CacheDir;
use crate::upkeep::{CleanReport, VerifyReport};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

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
#[derive(Debug, Clone)]
pub struct KnownFacts {
    /// The service level of all views.
    pub slo: SloFacts,
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
#[derive(Debug, Clone, Default)]
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
    /// Those of a manifest that knows of nothing.
    pub(super) fn nothing(settings: &Settings) -> Self {
        let slo = report(settings.slo.objective, settings.slo.window, |_| Counts::default());
        Self {
            slo: SloFacts::of(slo, None),
            journals: JournalFacts::default(),
            blocks: 0,
            bytes: 0,
            vitals: Vitals::default(),
            views: Vec::new(),
            old_versions: OldVersions::default(),
            removed: BTreeMap::new(),
        }
    }

    fn gather(manifest: &Manifest, settings: &Settings, now: Timestamp) -> Result<(Self, FoldReport)> {
        manifest.read(|query| {
            let survey = Survey::read(query, now)?;
            Ok((Self::read(query, &survey, settings, now)?, query.report().clone()))
        })
    }

    pub(in crate::inspect) fn read(
        query: &Query<'_>,
        survey: &Survey,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<Self> {
        let hour_ago = now.saturating_sub(HOUR);
        let in_use: BTreeSet<ViewName> = query.outcomes(hour_ago, now)?.into_iter().map(|row| row.view).collect();
        let Survey { requests, totals, summaries } = survey;
        Ok(Self {
            slo: SloFacts::new(requests, &settings.slo, now),
            blocks: totals.blocks,
            bytes: totals.bytes,
            vitals: query.vitals(now)?,
            views: views(summaries, &query.current_views()?, &in_use),
            old_versions: old_versions(summaries, &query.views()?, settings, now),
            journals: journals(query.report()),
            removed: removed(&query.removals(hour_ago)?, &query.removals(now.saturating_sub(DAY))?),
        })
    }
}

fn removed(hour: &[Removals], day: &[Removals]) -> BTreeMap<RemovalReason, Removed> {
    let mut removed: BTreeMap<RemovalReason, Removed> = BTreeMap::new();
    for of in day {
        removed.insert(of.reason, Removed { hour: 0, day: of.blocks, day_young: of.young });
    }
    for of in hour {
        removed.entry(of.reason).or_default().hour = of.blocks;
    }
    removed
}

fn journals(report: &FoldReport) -> JournalFacts {
    let damaged = report.damaged + report.torn + report.unreadable;
    JournalFacts { unfolded: report.bytes, oldest: report.oldest, damaged }
}

fn views(summaries: &[ViewSummary], current: &[ViewVersion], in_use: &BTreeSet<ViewName>) -> Vec<ViewFacts> {
    let newest = |view: &ViewName| {
        let current = summaries.iter().filter(|summary| summary.view == *view && summary.current);
        current.filter_map(|summary| summary.newest).max()
    };
    let facts = |version: &ViewVersion| ViewFacts {
        view: version.view.clone(),
        newest: newest(&version.view),
        ttl: version.ttl(),
        in_use: in_use.contains(&version.view),
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
