//! `larder warm`: features are computed before anybody asks for them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::definitions;
use super::failure::{Exit, Failure};
use super::names::existing;
use super::page::{Align, Page, Tone};
use super::progress::Watch;
use super::quantity;
use super::report::Report;
use super::session::Session;
use crate::cache::{FeatureStore, Origin};
use crate::compute::Features;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{EntityKey, TimeRange, Timestamp, ViewName};
use crate::source::{is_match, is_pattern};
use crate::upkeep::Progress;

const EXAMPLES: &str = "\
Examples:
  larder warm --start 2025-11-01
  larder warm --view technical_features --entity symbol=USD/COP --start 2025-01-01 --end 2025-12-01 --jobs 2
  larder warm --view 'tech*' --entity 'symbol=USD*' --start 2025-11-01
  larder warm --top-misses 20 --start 2025-11-01

What is cached is skipped, so that it may be stopped and run again. Beyond the newest row of a source there is nothing to \
compute yet. Where the cache is so full that more would evict others, it stops. Nothing of it counts towards the service level.";

/// So many blocks are computed at a time, from one reading of the source.
const BLOCKS_AT_A_TIME: usize = 32;
/// How often is looked whether there is room for more.
const LOOK: Duration = Duration::from_secs(2);
/// How far back misses count.
const MISSED_WITHIN: Duration = Duration::from_secs(7 * 86_400);
/// So many failures are told one by one.
const MOST_FAILURES: usize = 5;

/// Compute features before anybody asks for them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Only this view, or those that a pattern such as 'tech*' stands for; may be repeated [default: every view]
    #[arg(long = "view", value_name = "NAME")]
    views: Vec<String>,
    /// Only this entity, or those with rows that a pattern such as 'symbol=USD*' stands for; may be repeated [default:
    /// those with rows in the range]
    #[arg(long = "entity", value_name = "KEY=VALUE[,…]")]
    entities: Vec<String>,
    /// Only the entities in this file, one in a line
    #[arg(long, value_name = "FILE")]
    entities_from: Option<PathBuf>,
    /// Only the so many views and entities that were missed most often in the last seven days
    #[arg(long, value_name = "N", conflicts_with_all = ["entities", "entities_from"])]
    top_misses: Option<NonZeroU32>,
    /// From this time on, such as 2024-03-08 or 2024-03-08T09:30:00Z
    #[arg(long, value_name = "TIME")]
    start: Timestamp,
    /// Up to this time, which is not in it [default: now]
    #[arg(long, value_name = "TIME")]
    end: Option<Timestamp>,
    /// How many computes at a time [default: one for each processor]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

/// What was warmed.
#[derive(Debug, Serialize)]
pub struct WarmFacts {
    start: String,
    end: String,
    views: Vec<ViewFacts>,
    took_seconds: f64,
    /// The first failures.
    failures: Vec<String>,
    /// Why not all was done.
    stopped: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct ViewFacts {
    view: String,
    /// Up to where: the end of the range, or of the rows that its source has.
    end: String,
    #[serde(skip)]
    up_to: String,
    entities: u64,
    blocks: u64,
    computed: u64,
    rows: u64,
    failed: u64,
}

/// A part of the work.
struct Task {
    view: ViewName,
    entity: EntityKey,
    range: TimeRange,
}

/// Warms.
///
/// # Errors
/// `NotFound` for a view that is not defined or an entity that nothing tells of; `Invalid` for a wrong entity or
/// range; Ctrl-C.
pub fn run(options: &Options, session: &Session) -> Result<WarmFacts, Failure> {
    let features = definitions::features(session)?;
    let range = TimeRange::new(options.start, options.end.map_or_else(|| session.now(), |end| end.min(session.now())))?;
    let mut views = views(options, &features)?;
    let entities = match options.top_misses {
        Some(limit) => top_misses(&features, &views, limit, session.now())?,
        None => entities(&named(options)?, &features, &views, range)?,
    };
    views.retain(|view| entities.contains_key(view));
    let mut tasks = Vec::new();
    let mut facts: BTreeMap<ViewName, ViewFacts> = BTreeMap::new();
    for view in &views {
        // What is later would be computed each time and not kept.
        let end = range.end().min(features.known_until(view)?).max(range.start());
        let of_view = entities.get(view).into_iter().flatten();
        if let Ok(known) = TimeRange::new(range.start(), end) {
            tasks.extend(parts(&features, view, of_view.clone(), known)?);
        }
        let entities = of_view.count() as u64;
        let (name, up_to) = (view.to_string(), quantity::time(end));
        let one = ViewFacts { view: name, end: end.to_string(), up_to, entities, ..ViewFacts::default() };
        facts.insert(view.clone(), one);
    }
    let jobs = options
        .jobs
        .map_or_else(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get), NonZeroUsize::get);
    let began = Instant::now();
    let mut failures = Vec::new();
    let mut stopped = None;
    let done = work(&features, &tasks, jobs, (session, &mut stopped), |task, result| {
        let Some(view) = facts.get_mut(&task.view) else { return };
        match result {
            Ok(warmed) => {
                view.blocks += warmed.blocks;
                view.computed += warmed.computed;
                view.rows += warmed.rows;
            }
            Err(error) => {
                view.failed += 1;
                if failures.len() < MOST_FAILURES {
                    failures.push(format!("{} of {} in {}: {error}", task.view, task.entity, task.range));
                }
            }
        }
    });
    let took = began.elapsed();
    features.store().flush();
    if done < tasks.len() && stopped.is_none() {
        let what = format!("{done} of {} parts are cached; the same command goes on from there", tasks.len());
        return Err(Failure::Interrupted(what));
    }
    Ok(WarmFacts {
        start: range.start().to_string(),
        end: range.end().to_string(),
        views: facts.into_values().collect(),
        took_seconds: took.as_secs_f64(),
        failures,
        stopped,
    })
}

/// What became of a task.
struct Warmed {
    blocks: u64,
    computed: u64,
    rows: u64,
}

/// Does the tasks in this many threads, and tells of each; returns how many were done before Ctrl-C, or before there was no
/// more room.
fn work(
    features: &Features,
    tasks: &[Task],
    jobs: usize,
    (session, stopped): (&Session, &mut Option<String>),
    tell: impl FnMut(&Task, Result<Warmed>) + Send,
) -> usize {
    let mut watch = Watch::begin("warming", &session.interrupt);
    *stopped = no_room(features.store());
    if stopped.is_some() {
        return 0;
    }
    let mut looked = Instant::now();
    let (next, done, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let tell = Mutex::new(tell);
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(tasks.len()) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    let result = warm(features, task);
                    tell.lock().unwrap_or_else(PoisonError::into_inner)(task, result);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // This thread has nothing to do but to show how far it is and to listen.
        while done.load(Ordering::Relaxed) < tasks.len() {
            let total = Some(tasks.len() as u64);
            if !watch.advance(done.load(Ordering::Relaxed) as u64, total) {
                stop.store(true, Ordering::Relaxed);
                return;
            }
            if looked.elapsed() >= LOOK {
                *stopped = no_room(features.store());
                if stopped.is_some() {
                    stop.store(true, Ordering::Relaxed);
                    return;
                }
                looked = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    done.into_inner()
}

fn warm(features: &Features, task: &Task) -> Result<Warmed> {
    let answer = features.warm(&task.view, &task.entity, task.range)?;
    let computed = answer.blocks().iter().filter(|block| block.origin() == Origin::Compute).count();
    Ok(Warmed { blocks: answer.blocks().len() as u64, computed: computed as u64, rows: answer.num_rows() as u64 })
}

/// Why nothing more should be cached: others would be evicted for it, or it would not be kept.
fn no_room(store: &FeatureStore) -> Option<String> {
    let settings = store.settings();
    let size = quantity::bytes;
    let (free, reserve) = (store.cache_dir().free_bytes().unwrap_or(u64::MAX), settings.reserve());
    if free < reserve {
        return Some(format!(
            "the disk has {} free, less than disk.reserve_gb ({}): make room",
            size(free),
            size(reserve)
        ));
    }
    store.flush();
    let (limit, used) = (settings.high_watermark(), store.manifest().read(|query| query.totals()).ok()?.bytes);
    let what = || {
        let (used, limit) = (size(used), size(limit));
        format!("{used} are cached, and from {limit} on cleaning evicts: raise max_cache_size_gb, or warm less")
    };
    (used >= limit).then(what)
}

fn views(options: &Options, features: &Features) -> Result<Vec<ViewName>> {
    let known: Vec<&ViewName> = features.definitions().views().keys().collect();
    if options.views.is_empty() {
        return Ok(known.into_iter().cloned().collect());
    }
    let mut wanted = BTreeSet::new();
    for name in &options.views {
        let found: Vec<&ViewName> = match is_pattern(name) {
            true => known.iter().copied().filter(|view| is_match(name, view.as_str())).collect(),
            false => known.iter().copied().filter(|view| view.as_str() == name).collect(),
        };
        if found.is_empty() {
            if let Some(other) = definitions::other_kind(features.definitions(), name) {
                return Err(Error::new(ErrorKind::NotFound, format!("only views can be warmed: {other}")));
            }
            let known = existing(name, known.iter().map(|view| view.as_str()));
            return Err(Error::new(ErrorKind::NotFound, format!("there is no view {name}: there is {known}")));
        }
        wanted.extend(found.into_iter().cloned());
    }
    Ok(wanted.into_iter().collect())
}

/// The entities that were named, one by one or in a file.
fn named(options: &Options) -> Result<Vec<String>> {
    let Some(file) = &options.entities_from else { return Ok(options.entities.clone()) };
    let text = std::fs::read_to_string(file).map_err(|error| {
        Error::with_source(ErrorKind::Invalid, format!("cannot read the entities in {}", file.display()), error)
    })?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let named: Vec<String> = options.entities.iter().cloned().chain(lines.map(str::to_owned)).collect();
    match named.is_empty() {
        true => Err(Error::invalid(format!("{} names no entity: write one in each line", file.display()))),
        false => Ok(named),
    }
}

/// What was missed most often, of views that are defined.
fn top_misses(
    features: &Features,
    views: &[ViewName],
    limit: NonZeroU32,
    now: Timestamp,
) -> Result<BTreeMap<ViewName, BTreeSet<EntityKey>>> {
    let store = features.store();
    store.flush();
    let misses = store.manifest().read(|query| query.top_misses(now.saturating_sub(MISSED_WITHIN), u32::MAX))?;
    let mut counts: BTreeMap<(ViewName, EntityKey), u64> = BTreeMap::new();
    for miss in misses.into_iter().filter(|miss| views.contains(&miss.view)) {
        *counts.entry((miss.view, miss.entity)).or_default() += miss.count;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut wanted: BTreeMap<ViewName, BTreeSet<EntityKey>> = BTreeMap::new();
    for ((view, entity), _) in counts.into_iter().take(limit.get() as usize) {
        wanted.entry(view).or_default().insert(entity);
    }
    Ok(wanted)
}

/// The entities of each view: those that were named, or those with rows.
fn entities(
    named: &[String],
    features: &Features,
    views: &[ViewName],
    range: TimeRange,
) -> Result<BTreeMap<ViewName, BTreeSet<EntityKey>>> {
    let definitions = features.definitions();
    let mut entities = BTreeMap::new();
    let mut of_every = Vec::new();
    for view in views {
        let Some(definition) = definitions.views().get(view) else { continue };
        let found: BTreeSet<EntityKey> = match named {
            [] => match features.entities(view, range)? {
                Some(found) => found,
                None => {
                    of_every.push(view);
                    continue;
                }
            },
            named => {
                let mut found = BTreeSet::new();
                for text in named {
                    if is_pattern(text) {
                        let with_rows = features.entities(view, range)?.unwrap_or_default();
                        found.extend(with_rows.into_iter().filter(|entity| is_match(text, &entity.to_string())));
                    } else {
                        found.insert(definitions::entity(definitions, &definition.entity, text)?);
                    }
                }
                found
            }
        };
        entities.insert(view.clone(), found);
    }
    // Rows that belong to every entity are wanted for those that other views have.
    for view in of_every {
        let entity = definitions.views().get(view).map(|view| &view.entity);
        let alike = definitions.views().values().filter(|other| Some(&other.entity) == entity);
        let mut found = BTreeSet::new();
        for other in alike {
            found.extend(features.entities(&other.name, range)?.unwrap_or_default());
        }
        if found.is_empty() {
            let what = format!("the rows of view {view} belong to every entity: say for which with --entity");
            return Err(Error::invalid(what));
        }
        entities.insert(view.clone(), found);
    }
    Ok(entities)
}

/// What there is to do of a view, a few blocks of an entity at a time.
fn parts<'a>(
    features: &Features,
    view: &ViewName,
    entities: impl Iterator<Item = &'a EntityKey>,
    range: TimeRange,
) -> Result<Vec<Task>> {
    let blocks: Vec<TimeRange> = features.view(view)?.span().blocks(range).collect();
    let parts: Vec<TimeRange> = blocks
        .chunks(BLOCKS_AT_A_TIME)
        .filter_map(|part| {
            let whole = TimeRange::new(part.first()?.start(), part.last()?.end()).ok()?;
            whole.intersect(&range)
        })
        .collect();
    let task = |entity: &EntityKey, part: &TimeRange| Task { view: view.clone(), entity: entity.clone(), range: *part };
    Ok(entities.flat_map(|entity| parts.iter().map(move |part| task(entity, part))).collect())
}

impl Report for WarmFacts {
    fn write(&self, page: &mut Page) {
        page.line(&format!(
            "{} to {}, in {}.",
            self.start,
            self.end,
            quantity::duration(Duration::from_secs_f64(self.took_seconds))
        ));
        page.gap();
        page.table(
            [
                ("view", Align::Left),
                ("up to", Align::Left),
                ("entities", Align::Right),
                ("blocks", Align::Right),
                ("computed", Align::Right),
                ("rows", Align::Right),
                ("failed", Align::Right),
            ],
            self.views.iter().map(|view| {
                let counts = [view.entities, view.blocks, view.computed, view.rows, view.failed].map(quantity::count);
                let [entities, blocks, computed, rows, failed] = counts;
                [view.view.clone(), view.up_to.clone(), entities, blocks, computed, rows, failed]
            }),
        );
        if let Some(stopped) = &self.stopped {
            page.line(&format!("{} {stopped}", Tone::Warning.paint("stopped:")));
        }
        for failure in &self.failures {
            page.line(&format!("{} {failure}", Tone::Bad.paint("failed:")));
        }
    }

    fn exit(&self) -> Exit {
        if self.failures.is_empty() && self.stopped.is_none() { Exit::Good } else { Exit::Finding }
    }
}
