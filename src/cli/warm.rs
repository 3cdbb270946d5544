//! `larder warm`: features are computed before anybody asks for them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
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
use crate::cache::Origin;
use crate::compute::Features;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{EntityKey, TimeRange, Timestamp, ViewName};
use crate::upkeep::Progress;

const EXAMPLES: &str = "\
Examples:
  larder warm --start 2025-11-01
  larder warm --view technical_features --entity symbol=USD/COP --start 2025-01-01 --end 2025-12-01 --jobs 2

What is cached is skipped, so that it may be stopped and run again. Beyond the newest row of a source there is nothing to \
compute yet. Nothing of it counts towards the service level.";

/// So many blocks are computed at a time, from one reading of the source.
const BLOCKS_AT_A_TIME: usize = 32;
/// So many failures are told one by one.
const MOST_FAILURES: usize = 5;

/// Compute features before anybody asks for them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Only this view; may be repeated [default: every view that can be computed]
    #[arg(long = "view", value_name = "NAME", value_parser = ViewName::new)]
    views: Vec<ViewName>,
    /// Only this entity; may be repeated [default: those with rows in the range]
    #[arg(long = "entity", value_name = "KEY=VALUE[,…]")]
    entities: Vec<String>,
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
    let views = views(options, &features)?;
    let entities = entities(options, &features, &views, range)?;
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
    let done = work(&features, &tasks, jobs, session, |task, result| {
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
    if done < tasks.len() {
        let what = format!("{done} of {} parts are cached; the same command goes on from there", tasks.len());
        return Err(Failure::Interrupted(what));
    }
    Ok(WarmFacts {
        start: range.start().to_string(),
        end: range.end().to_string(),
        views: facts.into_values().collect(),
        took_seconds: took.as_secs_f64(),
        failures,
    })
}

/// What became of a task.
struct Warmed {
    blocks: u64,
    computed: u64,
    rows: u64,
}

/// Does the tasks in this many threads, and tells of each; returns how many were done before Ctrl-C.
fn work(
    features: &Features,
    tasks: &[Task],
    jobs: usize,
    session: &Session,
    tell: impl FnMut(&Task, Result<Warmed>) + Send,
) -> usize {
    let mut watch = Watch::begin("warming", &session.interrupt);
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

fn views(options: &Options, features: &Features) -> Result<Vec<ViewName>> {
    let known: Vec<&ViewName> = features.definitions().views().keys().collect();
    if options.views.is_empty() {
        return Ok(known.into_iter().cloned().collect());
    }
    if let Some(unknown) = options.views.iter().find(|view| !known.contains(view)) {
        if let Some(other) = definitions::other_kind(features.definitions(), unknown.as_str()) {
            return Err(Error::new(ErrorKind::NotFound, format!("only views can be warmed: {other}")));
        }
        let known = existing(unknown.as_str(), known.into_iter().map(ViewName::as_str));
        let what = format!("there is no view {unknown} that can be computed: there is {known}");
        return Err(Error::new(ErrorKind::NotFound, what));
    }
    Ok(options.views.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect())
}

/// The entities of each view: those that were named, or those with rows.
fn entities(
    options: &Options,
    features: &Features,
    views: &[ViewName],
    range: TimeRange,
) -> Result<BTreeMap<ViewName, BTreeSet<EntityKey>>> {
    let definitions = features.definitions();
    let mut entities = BTreeMap::new();
    let mut of_every = Vec::new();
    for view in views {
        let Some(definition) = definitions.views().get(view) else { continue };
        let found: BTreeSet<EntityKey> = match options.entities.as_slice() {
            [] => match features.entities(view, range)? {
                Some(found) => found,
                None => {
                    of_every.push(view);
                    continue;
                }
            },
            named => named
                .iter()
                .map(|text| definitions::entity(definitions, &definition.entity, text))
                .collect::<Result<_>>()?,
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
        for failure in &self.failures {
            page.line(&format!("{} {failure}", Tone::Bad.paint("failed:")));
        }
    }

    fn exit(&self) -> Exit {
        if self.failures.is_empty() { Exit::Good } else { Exit::Finding }
    }
}
