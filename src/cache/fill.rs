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
use crate::error::{Error, ErrorKind};
use crate::metrics::catalogue;
use crate::model::{FeatureBlock, TimeRange, Timestamp, event_times};
use crate::store::Generation;

/// A compute, and what its caller knows of its source.
pub struct Supplier<'a> {
    /// Computes a gap.
    pub compute: &'a mut dyn FnMut(&Gap) -> Result<RecordBatch, ComputeError>,
    /// The event time up to which the source is complete; what is later is answered and not kept.
    pub watermark: Timestamp,
    /// The version of the source.
    pub input_version: Option<String>,
}

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
        supplier: &mut Supplier<'_>,
    ) -> (Vec<Filled>, Option<Failed>) {
        let Some(first) = tasks.first() else { return (Vec::new(), None) };
        let _lock = self.dir.lock_compute(&wanted.id(first.block), self.settings.compute.wait_timeout).unwrap_or_else(
            |error| {
                // Without the lock two processes may compute the same block, and publishing twice is harmless.
                self.io_error("lock", &error);
                None
            },
        );
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
        let failed = self.compute_gaps(wanted, left, supplier, generation, &mut filled);
        (filled, failed)
    }

    /// Computes what the tasks lack, gap by gap.
    pub fn compute_gaps(
        &self,
        wanted: &Wanted<'_>,
        tasks: Vec<Task<'_>>,
        supplier: &mut Supplier<'_>,
        generation: Generation,
        filled: &mut Vec<Filled>,
    ) -> Option<Failed> {
        let lacking: Vec<_> = tasks
            .iter()
            .map(|task| Lacking {
                block: task.block,
                known_until: task.tail.as_ref().map_or(task.block.start(), |tail| tail.block.known_until),
            })
            .collect();
        let mut tasks = tasks.into_iter();
        for planned in gaps(&lacking, wanted.range.end(), supplier.watermark) {
            let mine: Vec<_> = tasks.by_ref().take(planned.blocks.len()).collect();
            let gap = Gap::new(wanted.view.clone(), wanted.entity.clone(), planned.range);
            let began = Instant::now();
            match self.compute(&gap, supplier.compute) {
                Ok(batch) => {
                    let took = began.elapsed() / u32::try_from(mine.len()).unwrap_or(u32::MAX).max(1);
                    let computed = Computed { range: gap.range(), batch, took, generation };
                    filled.extend(mine.into_iter().map(|task| self.settle(wanted, task, &computed, supplier)));
                }
                Err(error) => {
                    let until = wanted.now.saturating_add(self.settings.compute.error_backoff);
                    let mut indexes: Vec<_> = mine.iter().map(|task| task.index).collect();
                    mine.into_iter().filter_map(|task| task.lead).for_each(|lead| lead.fail(error.clone(), until));
                    // The flights of the rest are abandoned, and whoever waits for them computes.
                    indexes.extend(tasks.map(|task| task.index));
                    return Some(Failed { indexes, error });
                }
            }
        }
        None
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
        self.recorder.add(&catalogue::COMPUTE_FAILURES, &[view, reason], 1.0);
        tracing::warn!(target: "larder::cache", view, entity = %gap.entity(), range = %gap.range(), reason, %error, "get_or_compute: compute failed");
        Err(error)
    }

    /// Makes a block from what was cached and what was computed, keeps what is settled, and lands the flight.
    fn settle(&self, wanted: &Wanted<'_>, task: Task<'_>, computed: &Computed, supplier: &Supplier<'_>) -> Filled {
        let Computed { range, took, generation, .. } = *computed;
        let new = cut(&computed.batch, task.block.start().max(range.start()), task.block.end());
        let tail = task.tail.as_ref().map(|tail| &tail.block);
        let until = task.block.end().min(range.end());
        let block = FeatureBlock {
            id: wanted.id(task.block),
            known_until: until,
            created: self.created(wanted, tail),
            compute_time: tail.map_or(Duration::ZERO, |tail| tail.compute_time) + took,
            input_version: supplier.input_version.clone(),
            batch: join(tail.map(|tail| &tail.batch), &new),
        };
        let settled_until = until.min(supplier.watermark);
        let known_before = tail.map_or(task.block.start(), |tail| tail.known_until);
        let cached = if settled_until == until {
            self.keep(wanted, block, generation)
        } else {
            if settled_until > known_before {
                let batch = join(None, &cut(&block.batch, task.block.start(), settled_until));
                self.keep(wanted, FeatureBlock { known_until: settled_until, batch, ..block.clone() }, generation);
            }
            Arc::new(CachedBlock::new(block, wanted.slots, generation, self.memory.used()))
        };
        task.lead.into_iter().for_each(|lead| lead.land(Arc::clone(&cached)));
        Filled { index: task.index, cached, origin: Origin::Compute, took, extended: task.tail.is_some() }
    }

    /// When a block counts as computed. Extending a tail does not make its older part young, where age matters.
    fn created(&self, wanted: &Wanted<'_>, tail: Option<&FeatureBlock>) -> Timestamp {
        let oldest = tail.filter(|_| wanted.view.max_age().is_some()).map(|tail| tail.created);
        oldest.unwrap_or_else(|| self.now())
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

/// The rows of `batch` with `start <= event time < end`.
pub fn cut(batch: &RecordBatch, start: Timestamp, end: Timestamp) -> RecordBatch {
    let times = event_times(batch);
    let first = times.partition_point(|time| *time < start.as_ns());
    let end = times.partition_point(|time| *time < end.as_ns());
    batch.slice(first, end.saturating_sub(first))
}

/// Copies the rows into arrays of their own, so that a block in memory does not pin the caller's buffers.
fn join(before: Option<&RecordBatch>, after: &RecordBatch) -> RecordBatch {
    // An empty batch in front, because joining one batch alone would only share it.
    let empty = RecordBatch::new_empty(after.schema());
    concat_batches(&after.schema(), [before.unwrap_or(&empty), after]).unwrap_or_else(|_| after.clone())
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
