//! Computing what is missing, keeping it, and landing the flights that others wait for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use super::answer::Origin;
use super::check::check;
use super::core::Core;
use super::flight::Lead;
use super::gap::{ComputeError, Gap};
use super::lookup::{Found, Wanted};
use super::memory::CachedBlock;
use super::plan::{Lacking, gaps};
use super::supply::Supply;
use crate::error::{Error, ErrorKind};
use crate::metrics::catalogue;
use crate::model::{FeatureBlock, TimeRange, Timestamp, event_times};
use crate::planted::{self, Bug};
use crate::store::{Generation, StripeGuard};

/// So long a tail may go on without rows before that is worth writing down.
const QUIET: Duration = Duration::from_secs(60);

/// A block that this request has to bring about.
pub struct Task<'a> {
    /// Its place among the blocks of the request.
    pub index: usize,
    /// Its span of time.
    pub block: TimeRange,
    /// The tail to extend.
    pub tail: Option<Arc<CachedBlock>>,
    /// The duty to land its flight; none where this request gave up waiting for another's.
    pub lead: Option<Lead<'a>>,
}

/// A block that was brought about.
pub struct Filled {
    /// Its place among the blocks of the request.
    pub index: usize,
    /// The block; it may reach further than what is kept.
    pub cached: Arc<CachedBlock>,
    /// Computed here, or found after waiting for another process.
    pub origin: Origin,
    /// How long computing took.
    pub took: Duration,
    /// Whether a part of it was cached.
    pub extended: bool,
}

/// What could not be brought about, and why.
pub struct Failed {
    /// The places of the blocks among those of the request.
    pub indexes: Vec<usize>,
    /// The first error.
    pub error: Error,
}

impl Core {
    /// Brings the tasks' blocks about. What was computed before a failure is kept and returned.
    pub fn fill(
        &self,
        wanted: &Wanted<'_>,
        tasks: Vec<Task<'_>>,
        supply: &mut dyn Supply,
    ) -> (Vec<Filled>, Option<Failed>) {
        let Some(first) = tasks.first() else { return (Vec::new(), None) };
        let patience = wanted.deadline.saturating_duration_since(Instant::now());
        let _lock = self.wait_for_others(wanted, first.block, patience);
        // Before anything is read or computed: an invalidation from now on forbids to publish.
        let generation = self.dir.generation(wanted.slots);
        let mut filled = Vec::with_capacity(tasks.len());
        let mut left = Vec::with_capacity(tasks.len());
        for mut task in tasks {
            // Another thread or process may have published since this request looked.
            match self.look_up_one(wanted, task.block, generation) {
                Found::Whole { cached, took, .. } => {
                    filled.push(Filled {
                        index: task.index,
                        cached: Arc::clone(&cached),
                        origin: Origin::Shared,
                        took,
                        extended: false,
                    });
                    task.lead.into_iter().for_each(|lead| lead.land(Arc::clone(&cached)));
                }
                Found::Lacking { tail, .. } => {
                    task.tail = tail.filter(|tail| tail.generation == generation);
                    left.push(task);
                }
            }
        }
        let failed = self.compute_gaps(wanted, left, supply, generation, &mut filled);
        (filled, failed)
    }

    /// Waits until no other process computes for the block's entity, at most for so long. Without the lock two may compute the
    /// same block, and publishing twice is harmless.
    pub fn wait_for_others(
        &self,
        wanted: &Wanted<'_>,
        block: TimeRange,
        patience: Duration,
    ) -> Option<StripeGuard<'_>> {
        let lock = match self.dir.lock_compute(&wanted.id(block), patience) {
            Ok(lock) => lock,
            Err(error) => {
                self.io_error("lock", &error);
                return None;
            }
        };
        if lock.is_none() && !patience.is_zero() {
            self.count(&catalogue::FLIGHT_WAITS, &["timeout"], 1);
            if let Some(left_out) = self.repeats.left_out(&format!("waited {}", wanted.view.name())) {
                tracing::warn!(target: "larder::cache", view = %wanted.view.name(), entity = %wanted.entity, left_out, "another process has computed for too long, or was stopped; computing here too");
            }
        }
        lock
    }

    /// Computes what the tasks lack, gap by gap.
    pub fn compute_gaps(
        &self,
        wanted: &Wanted<'_>,
        mut tasks: Vec<Task<'_>>,
        supply: &mut dyn Supply,
        generation: Generation,
        filled: &mut Vec<Filled>,
    ) -> Option<Failed> {
        if tasks.is_empty() {
            return None;
        }
        let stated = match self.watermark(wanted, supply) {
            Ok(stated) => stated,
            Err(error) => return Some(self.fail(tasks, error)),
        };
        let watermark = stated.unwrap_or(Timestamp::MIN);
        let watermark = if planted::is(Bug::WatermarkIgnored) { wanted.range.end() } else { watermark };
        for task in &mut tasks {
            task.tail = task.tail.take().filter(|tail| {
                let known = TimeRange::new(task.block.start(), tail.block.known_until);
                known.is_ok_and(|known| self.version(wanted, supply, known) == tail.block.input_version)
                    || planted::is(Bug::VersionIgnored)
            });
        }
        let known = |task: &Task<'_>| task.tail.as_ref().map_or(task.block.start(), |tail| tail.block.known_until);
        let lacking: Vec<_> =
            tasks.iter().map(|task| Lacking { block: task.block, known_until: known(task) }).collect();
        let mut tasks: Vec<Option<Task<'_>>> = tasks.into_iter().map(Some).collect();
        // Whoever asks "until now" gets it until this moment: all who wait asked before it, and need no more.
        let asks_until_now = wanted.range.end() >= wanted.now;
        let until = if asks_until_now { self.now().max(wanted.range.end()) } else { wanted.range.end() };
        for planned in gaps(&lacking, until, watermark) {
            let mine: Vec<_> = planned.blocks.filter_map(|at| tasks.get_mut(at)?.take()).collect();
            let gap = Gap::new(wanted.view.clone(), wanted.entity.clone(), planned.range);
            let began = Instant::now();
            match self.compute(&gap, &mut |gap| supply.compute(gap)) {
                Ok(batch) => {
                    let took = began.elapsed() / u32::try_from(mine.len()).unwrap_or(u32::MAX).max(1);
                    let computed = Computed { range: gap.range(), batch, took, generation };
                    let mut mine = mine.into_iter();
                    while let Some(task) = mine.next() {
                        if stated.is_none() {
                            self.dropped("watermark");
                        }
                        match self.settle(wanted, task, &computed, (supply, watermark)) {
                            Ok(one) => filled.push(one),
                            Err(failed) => return Some(abandon(failed, mine.chain(tasks.into_iter().flatten()))),
                        }
                    }
                }
                Err(error) => return Some(abandon(self.fail(mine, error), tasks.into_iter().flatten())),
            }
        }
        None
    }

    /// Lands the tasks' flights with an error, which is answered until the back-off is over.
    fn fail(&self, tasks: Vec<Task<'_>>, error: Error) -> Failed {
        let indexes = tasks.iter().map(|task| task.index).collect();
        // From now, and not from the request's beginning: a time-out may have taken longer than the back-off.
        let (since, backoff) = (self.now(), self.settings().compute.error_backoff);
        tasks.into_iter().filter_map(|task| task.lead).for_each(|lead| lead.fail(error.clone(), since, backoff));
        Failed { indexes, error }
    }

    /// Asks the source up to where it is complete; `None` where it cannot tell. An error there must not harm those whose
    /// own rows can be read.
    fn watermark(&self, wanted: &Wanted<'_>, supply: &mut dyn Supply) -> Result<Option<Timestamp>, Error> {
        let ask = || supply.watermark(wanted.view, wanted.entity, wanted.now);
        let stated = catch_unwind(AssertUnwindSafe(ask)).map_err(|panic| {
            let what = panic_message(&*panic);
            Error::new(ErrorKind::Compute, format!("the source of view {} panicked: {what}", wanted.view.name()))
        })?;
        Ok(match stated {
            // One that lies at the end of time says: until rows are invalidated.
            Ok(Timestamp::MAX) => Some(Timestamp::MAX),
            Ok(stated) => Some(stated.min(wanted.now)),
            Err(error) => {
                let view = wanted.view.name();
                if let Some(left_out) = self.repeats.left_out(&format!("watermark {view}")) {
                    tracing::warn!(target: "larder::cache", %view, entity = %wanted.entity, %error, left_out, "get_or_compute: the source does not say up to when it is complete; what is computed is answered and not kept");
                }
                None
            }
        })
    }

    /// Asks the source for the version of what a block is computed from; a panic is none.
    fn version(&self, wanted: &Wanted<'_>, supply: &mut dyn Supply, known: TimeRange) -> Option<String> {
        let gap = Gap::new(wanted.view.clone(), wanted.entity.clone(), known);
        catch_unwind(AssertUnwindSafe(|| supply.version(&gap))).ok().flatten()
    }

    /// Asks the source when the last of what a block was computed from became known; a panic is that it does not say.
    fn newest_created(&self, wanted: &Wanted<'_>, supply: &mut dyn Supply, known: TimeRange) -> Option<Timestamp> {
        let gap = Gap::new(wanted.view.clone(), wanted.entity.clone(), known);
        catch_unwind(AssertUnwindSafe(|| supply.newest_created(&gap))).ok().flatten()
    }

    /// Runs a compute: an error, a panic or a wrong batch is an error that names view, entity and gap.
    pub fn compute(
        &self,
        gap: &Gap,
        compute: &mut dyn FnMut(&Gap) -> Result<RecordBatch, ComputeError>,
    ) -> Result<RecordBatch, Error> {
        let view = gap.view().name().as_str();
        let began = Instant::now();
        self.recorder.add(&catalogue::COMPUTES_IN_FLIGHT, &[], 1.0);
        // Unwind safe: nothing that the closure may have left half-done is looked at after a panic.
        let result = catch_unwind(AssertUnwindSafe(|| compute(gap)));
        self.recorder.add(&catalogue::COMPUTES_IN_FLIGHT, &[], -1.0);
        self.recorder.observe(&catalogue::COMPUTE_DURATION, &[view], began.elapsed().as_secs_f64());
        let place = || format!("view {view}, {}, {}", gap.entity(), gap.range());
        let (reason, error) = match result {
            Ok(Ok(batch)) => match check(gap, &batch) {
                Ok(batch) => return Ok(batch),
                Err(what) => (
                    "rejected",
                    Error::new(ErrorKind::Compute, format!("the compute's result was refused ({}): {what}", place())),
                ),
            },
            Ok(Err(error)) => {
                ("error", Error::with_source(ErrorKind::Compute, format!("the compute failed ({})", place()), error))
            }
            Err(panic) => (
                "panic",
                Error::new(
                    ErrorKind::Compute,
                    format!("the compute panicked ({}): {}", place(), panic_message(&*panic)),
                ),
            ),
        };
        self.count(&catalogue::COMPUTE_FAILURES, &[view, reason], 1);
        if let Some(left_out) = self.repeats.left_out(&format!("{reason} {view}")) {
            tracing::warn!(target: "larder::cache", view, entity = %gap.entity(), range = %gap.range(), reason, %error, left_out, "get_or_compute: compute failed");
        }
        Err(error)
    }

    /// Makes a block from what was cached and what was computed, keeps what is settled, and lands the flight.
    fn settle(
        &self,
        wanted: &Wanted<'_>,
        task: Task<'_>,
        computed: &Computed,
        (supply, watermark): (&mut dyn Supply, Timestamp),
    ) -> Result<Filled, Failed> {
        let Computed { range, took, generation, .. } = *computed;
        let new = cut(&computed.batch, task.block.start().max(range.start()), task.block.end());
        let tail = task.tail.as_ref().map(|tail| &tail.block);
        let failed = |error| Failed { indexes: vec![task.index], error };
        let until = task.block.end().min(range.end());
        let known = TimeRange::new(task.block.start(), until).ok();
        let block = FeatureBlock {
            id: wanted.id(task.block),
            known_until: until,
            // Extending a tail does not make its older part young.
            created: tail.map_or_else(|| self.now(), |tail| tail.created),
            // Whichever is later: the first one decides what is complete.
            extended: wanted.now.max(self.now()),
            newest_created: known.and_then(|known| self.newest_created(wanted, supply, known)),
            compute_time: tail.map_or(Duration::ZERO, |tail| tail.compute_time) + took,
            input_version: None,
            batch: join(tail.map(|tail| &tail.batch), &new).map_err(failed)?,
        };
        // Rows may have changed since the tail was looked at: then its part and the new one do not belong together.
        let is_one = tail.is_none_or(|tail| {
            let known = TimeRange::new(task.block.start(), tail.known_until);
            known.is_ok_and(|known| self.version(wanted, supply, known) == tail.input_version)
                || planted::is(Bug::VersionIgnored)
        });
        let settled_until = if is_one { until.min(watermark) } else { task.block.start() };
        let known_before = tail.map_or(task.block.start(), |tail| tail.known_until);
        // A request a second must not write the block every second, only because time went by.
        let new_rows = event_times(&new).partition_point(|time| *time < settled_until.as_ns());
        let is_news = settled_until >= task.block.end() || new_rows > 0 || settled_until.since(known_before) >= QUIET;
        let mut versioned = |block: FeatureBlock| {
            let Ok(known) = TimeRange::new(task.block.start(), block.known_until) else { return block };
            let newest_created = self.newest_created(wanted, supply, known);
            FeatureBlock { newest_created, input_version: self.version(wanted, supply, known), ..block }
        };
        let cached = if settled_until == until && is_news {
            self.keep(wanted, versioned(block), generation)
        } else {
            if settled_until > known_before && is_news {
                let batch = join(None, &cut(&block.batch, task.block.start(), settled_until)).map_err(failed)?;
                let settled = FeatureBlock { known_until: settled_until, batch, ..block.clone() };
                self.keep(wanted, versioned(settled), generation);
            }
            Arc::new(CachedBlock::new(block, wanted.slots, generation, self.memory.used()))
        };
        task.lead.into_iter().for_each(|lead| lead.land(Arc::clone(&cached)));
        Ok(Filled { index: task.index, cached, origin: Origin::Compute, took, extended: task.tail.is_some() })
    }
}

/// What a compute returned for a gap.
struct Computed {
    range: TimeRange,
    batch: RecordBatch,
    /// Its share of each block.
    took: Duration,
    /// The generation under which it began.
    generation: Generation,
}

/// The rest is not computed either: its flights are abandoned, and whoever waits for them computes.
fn abandon<'a>(mut failed: Failed, rest: impl Iterator<Item = Task<'a>>) -> Failed {
    failed.indexes.extend(rest.map(|task| task.index));
    failed
}

/// The rows of `batch` with `start <= event time < end`.
pub fn cut(batch: &RecordBatch, start: Timestamp, end: Timestamp) -> RecordBatch {
    let times = event_times(batch);
    let first = times.partition_point(|time| *time < start.as_ns());
    let end = end.as_ns().saturating_add(i64::from(planted::is(Bug::EndIncluded)));
    let end = times.partition_point(|time| *time < end);
    batch.slice(first, end.saturating_sub(first))
}

/// Copies the rows into arrays of their own, so that a block in memory does not pin the caller's buffers.
fn join(before: Option<&RecordBatch>, after: &RecordBatch) -> Result<RecordBatch, Error> {
    // An empty batch in front, because joining one batch alone would only share it.
    let empty = RecordBatch::new_empty(after.schema());
    concat_batches(&after.schema(), [before.unwrap_or(&empty), after]).map_err(|error| {
        let what = "the rows of a block do not fit together: use a shorter span for the view";
        Error::with_source(ErrorKind::Invalid, what, error)
    })
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests;
