//! Registered computes: refreshing stale blocks in the background, and answering where computing fails.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::core::Core;
use super::fill::Task;
use super::flight::Claim;
use super::gap::Gap;
use super::lookup::Purpose;
use super::lookup::Wanted;
use super::memory::CachedBlock;
use super::supply::Closure;
use super::views::RegisteredCompute;
use crate::error::Result;
use crate::metrics::catalogue;
use crate::model::{BlockId, FeatureBlock, FeatureView, TimeRange};

/// Refreshes that may wait; beyond that a stale block is asked for again by the next request.
const QUEUE: usize = 256;

struct Job {
    view: FeatureView,
    id: BlockId,
}

/// Hands stale blocks to a thread of its own, so that a slow compute holds up nothing else.
#[derive(Default)]
pub struct Refresher {
    queue: OnceLock<SyncSender<Job>>,
    pending: Mutex<HashSet<BlockId>>,
}

impl Refresher {
    /// Starts the thread, once. It ends when the store does.
    pub fn start(&self, core: &Arc<Core>) {
        self.queue.get_or_init(|| {
            let (sender, receiver) = sync_channel(QUEUE);
            let core = Arc::downgrade(core);
            let thread = std::thread::Builder::new().name("larder-refresh".to_owned());
            if let Err(error) = thread.spawn(move || work(&core, &receiver)) {
                tracing::warn!(target: "larder::cache", %error, "no thread for refreshing: stale blocks are refreshed by requests");
            }
            sender
        });
    }

    fn pending(&self) -> MutexGuard<'_, HashSet<BlockId>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn work(core: &Weak<Core>, jobs: &Receiver<Job>) {
    // The sender lives in the core, so this ends with it.
    while let Ok(job) = jobs.recv() {
        let Some(core) = core.upgrade() else { break };
        let result = if core.refresh(&job) { "ok" } else { "failed" };
        core.refresher.pending().remove(&job.id);
        core.count(&catalogue::REFRESHES, &[job.view.name().as_str(), result], 1);
    }
}

impl Core {
    /// Asks for stale blocks to be computed again, soon and by somebody else.
    pub fn refresh_later(&self, wanted: &Wanted<'_>, blocks: Vec<TimeRange>) {
        let Some(queue) = self.refresher.queue.get() else { return };
        for block in blocks {
            let id = wanted.id(block);
            if !self.refresher.pending().insert(id.clone()) {
                continue;
            }
            let job = Job { view: wanted.view.clone(), id };
            if let Err(full) = queue.try_send(job) {
                let (std::sync::mpsc::TrySendError::Full(job) | std::sync::mpsc::TrySendError::Disconnected(job)) =
                    full;
                self.refresher.pending().remove(&job.id);
                self.count(&catalogue::REFRESHES, &[job.view.name().as_str(), "dropped"], 1);
            }
        }
    }

    /// Computes a block again, whatever is cached of it; whether that worked.
    fn refresh(&self, job: &Job) -> bool {
        let now = self.now();
        let Some(compute) = self.views.with(&job.view, || now, |state| state.refresh.load_full()) else { return false };
        let Ok(wanted) = self.want(&job.view, &job.id.entity, job.id.range, now, Purpose::Warming) else {
            return false;
        };
        let _lock = self.wait_for_others(&wanted, job.id.range, self.settings().compute.wait_timeout);
        let generation = self.dir.generation(wanted.slots);
        let claim = self.flights.claim([job.id.clone()], generation, now).pop();
        let lead = match claim {
            Some(Claim::Lead(lead)) => lead,
            // Whoever computes it already refreshes it as well.
            Some(Claim::Follow(_)) => return true,
            Some(Claim::Refused(_)) | None => return false,
        };
        let mut supply = Closure(|gap: &Gap| compute(gap));
        let task = Task { index: 0, block: job.id.range, tail: None, lead: Some(lead) };
        self.compute_gaps(&wanted, vec![task], &mut supply, generation, &mut Vec::new()).is_none()
    }

    /// A block from the view's fallback compute: answered, and not kept.
    pub fn compute_fallback(
        &self,
        wanted: &Wanted<'_>,
        block: TimeRange,
        fallback: &RegisteredCompute,
    ) -> Result<(Arc<CachedBlock>, Duration)> {
        let began = Instant::now();
        let end = block.end().min(wanted.range.end());
        let range = TimeRange::new(block.start(), end)?;
        let gap = Gap::new(wanted.view.clone(), wanted.entity.clone(), range);
        let batch = self.compute(&gap, &mut |gap| fallback(gap))?;
        let took = began.elapsed();
        let block = FeatureBlock {
            id: wanted.id(block),
            known_until: end,
            created: self.now(),
            extended: self.now(),
            newest_created: None,
            compute_time: took,
            input_version: None,
            batch,
        };
        let generation = self.dir.generation(wanted.slots);
        Ok((Arc::new(CachedBlock::new(block, wanted.slots, generation, self.memory.used())), took))
    }
}
