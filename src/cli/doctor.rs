//! `larder doctor`: the daily and the weekly checklist of a cache.

use std::os::unix::fs::MetadataExt;

use clap::Args;
use serde::Serialize;

use super::cache::Cache;
use super::failure::{Exit, Failure};
use super::page::{Page, Tone};
use super::progress::Watch;
use super::report::Report;
use super::session::Session;
use crate::inspect::health::{Check, DeepFacts, HealthFacts, Level, ManifestState, Period, checks, left_out};
use crate::inspect::quantity;
use crate::upkeep::{self, CleanOptions};

const EXAMPLES: &str = "\
Examples:
  larder doctor
  larder doctor --weekly
  larder doctor --json | jq '.checks[] | select(.level != \"pass\")'

Removes nothing and is safe beside running services. Exit status 1 where a check fails, not where one warns.";

/// Check a cache: figures against limits, and what to do where one is passed
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Also what takes longer: every checksum, and what cleaning would remove
    #[arg(long)]
    weekly: bool,
}

/// How the checks came out.
#[derive(Debug, Serialize)]
pub struct DoctorFacts {
    cache_dir: String,
    level: Level,
    passed: usize,
    warned: usize,
    failed: usize,
    checks: Vec<CheckLine>,
    /// What asks more.
    #[serde(skip)]
    more: Option<String>,
    #[serde(skip)]
    interrupted: bool,
}

/// A check with its fix as it has to be typed.
#[derive(Debug, Serialize)]
pub struct CheckLine {
    #[serde(flatten)]
    pub check: Check,
    /// What to type, where a command helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub typed: Option<String>,
}

/// Gathers the facts and judges them.
///
/// # Errors
/// `NotFound` for no cache; those of opening its directory. A manifest that does not answer is a finding.
pub fn run(options: &Options, session: &Session) -> Result<DoctorFacts, Failure> {
    let (cache, mut facts) = examine(session)?;
    if options.weekly && facts.known.is_some() {
        facts.deep = Some(deep(session, &cache)?);
    }
    let mut found = checks(&facts);
    found.extend(left_out(&facts, options.weekly));
    let lines = lines(session, found);
    let number = |level| lines.iter().filter(|line| line.check.level == level).count();
    Ok(DoctorFacts {
        cache_dir: session.root.display().to_string(),
        level: lines.iter().map(|line| line.check.level).max().unwrap_or(Level::Pass),
        passed: number(Level::Pass),
        warned: number(Level::Warn),
        failed: number(Level::Fail),
        checks: lines,
        more: (!options.weekly).then(|| session.command("doctor --weekly")),
        interrupted: facts.deep.is_some_and(|deep| deep.verified.interrupted),
    })
}

/// Opens the cache and gathers its facts; a new manifest is made from the block files first.
///
/// # Errors
/// `NotFound` for no cache; those of opening its directory.
pub fn examine(session: &Session) -> Result<(Cache, HealthFacts), Failure> {
    // Opening closes a directory that others may read, so this is the last moment to see it.
    let mode = std::fs::metadata(&session.root).ok().map(|metadata| metadata.mode() & 0o777);
    let cache = Cache::open(session)?;
    let gather = || HealthFacts::gather(&cache.dir, &cache.manifest, &session.settings, session.now());
    let mut facts = gather();
    if matches!(facts.manifest, ManifestState::New | ManifestState::Damaged(_)) && cache.rebuild(session.now()).is_ok()
    {
        let (found, journals) = (facts.manifest, facts.known.map(|known| known.journals));
        facts = gather();
        facts.manifest = found;
        if let (Some(known), Some(journals)) = (&mut facts.known, journals) {
            known.journals = journals;
        }
    }
    facts.directory.mode = mode;
    Ok((cache, facts))
}

/// Checks with what has to be typed in this session.
pub fn lines(session: &Session, checks: Vec<Check>) -> Vec<CheckLine> {
    let typed = |check: &Check| Some(session.command(check.command_line()?));
    checks.into_iter().map(|check| CheckLine { typed: typed(&check), check }).collect()
}

fn deep(session: &Session, cache: &Cache) -> Result<DeepFacts, Failure> {
    let now = session.now();
    let mut watch = Watch::begin("verifying", &session.interrupt);
    let verified = upkeep::verify(&cache.dir, &cache.manifest, now, &mut watch)?;
    let dry = CleanOptions { dry_run: true };
    let cleaning =
        upkeep::clean(&cache.dir, &cache.manifest, &session.settings, now, dry, |_| {}, &mut upkeep::Silent)?;
    Ok(DeepFacts { verified, cleaning })
}

impl CheckLine {
    /// Writes it as a line, with the fix below.
    pub fn write(&self, page: &mut Page) {
        let (check, name) = (&self.check, self.check.name);
        let (label, name) = match check.level {
            Level::Pass => ("PASS", name.to_owned()),
            Level::Warn => ("WARN", Tone::Warning.paint(name)),
            Level::Fail => ("FAIL", Tone::Bad.paint(name)),
        };
        page.field(label, &format!("{name}: {}", check.in_words()));
        if let Some(fix) = &check.fix {
            page.field("  fix", &fix.advice);
        }
        if let Some(typed) = &self.typed {
            page.verbatim(&format!("           {typed}"));
        }
    }
}

impl Report for DoctorFacts {
    fn write(&self, page: &mut Page) {
        page.verbatim(&format!("Cache      {}", self.cache_dir));
        for (period, title) in [(Period::Daily, "Daily"), (Period::Weekly, "Weekly")] {
            let mut lines = self.checks.iter().filter(|line| line.check.period == period).peekable();
            if lines.peek().is_some() {
                page.title(title);
            }
            lines.for_each(|line| line.write(page));
        }
        page.gap();
        let sum = |number: usize, word: &str| format!("{} {word}", quantity::count(number as u64));
        let parts = [sum(self.failed, "failed"), sum(self.warned, "to look at"), sum(self.passed, "passed")];
        let tone = match self.level {
            Level::Pass => Tone::Good,
            Level::Warn => Tone::Warning,
            Level::Fail => Tone::Bad,
        };
        page.field("Result", &tone.paint(&parts.join(", ")));
        if let Some(more) = &self.more {
            page.field("More", &format!("{more} reads every block, too"));
        }
    }

    fn exit(&self) -> Exit {
        match self.level {
            Level::Fail => Exit::Finding,
            _ if self.interrupted => Exit::Interrupted,
            _ => Exit::Good,
        }
    }
}
