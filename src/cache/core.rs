//! What a store consists of, and the small duties that every part of it has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::flight::Flights;
use super::memory::Memory;
use super::views::Views;
use arc_swap::ArcSwap;

use crate::clock::Clock;
use crate::config::Settings;
use crate::error::Error;
use crate::manifest::{BlockRef, Journal, Manifest, Record};
use crate::metrics::{Recorder, catalogue};
use crate::model::{BlockId, EntityKey, MissReason, Timestamp, ViewName};
use crate::repeats::Repeats;
use crate::store::CacheDir;

/// So many different misses are told apart between two writes to the journal; more are not remembered.
const MOST_MISSES: usize = 10_000;

/// So many records of blocks wait until the journal can be written; what is more, `larder repair` finds.
const MOST_LATE: usize = 10_000;

/// So many records are appended at once.
const RECORDS: usize = 20_000;

/// The parts of a store.
pub struct Core {
    pub settings: ArcSwap<Settings>,
    pub read_threads: usize,
    pub clock: Arc<dyn Clock>,
    pub recorder: Arc<dyn Recorder>,
    pub dir: CacheDir,
    pub manifest: Manifest,
    pub memory: Memory,
    pub flights: Flights,
    pub views: Views,
    pub journal: JournalSlot,
    pub misses: Misses,
    pub counters: super::counters::Counters,
    pub restored: super::restore::Restored,
    pub refresher: super::refresh::Refresher,
    pub look: super::look::LastLook,
    pub last_fold: super::keeper::LastFold,
    pub repeats: Repeats,
    /// Whether what all processes did is counted, and not only what this one did.
    pub observes: bool,
    pub observed: super::observe::Observed,
}

/// This process's journal, made when there is something to write.
#[derive(Default)]
pub struct JournalSlot {
    journal: Mutex<Option<Journal>>,
    /// What could not be written, and nobody else remembers.
    late: Mutex<Vec<Record>>,
}

/// Misses that are not in the journal yet.
#[derive(Default)]
pub struct Misses(Mutex<HashMap<(ViewName, EntityKey, MissReason), u64>>);

impl Core {
    /// The settings in force.
    pub fn settings(&self) -> arc_swap::Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_ns(self.clock.now_ns())
    }

    /// Writes to the journal. A failure costs bookkeeping, never a request: the blocks are the truth,
    /// and `larder repair` finds what the manifest does not know.
    /// Returns whether it worked.
    pub fn journal(&self, records: &[Record]) -> bool {
        // In parts, because one append has an upper limit.
        let result = records.chunks(RECORDS).try_for_each(|part| self.try_journal(part));
        if let Err(error) = &result {
            self.io_error("journal", error);
        }
        result.is_ok()
    }

    /// The same for what nobody else remembers: it is written as soon as that works.
    pub fn tell(&self, records: &[Record]) {
        if !self.journal(records) {
            let mut late = lock(&self.journal.late);
            let room = MOST_LATE.saturating_sub(late.len());
            late.extend(records.iter().take(room).cloned());
        }
    }

    /// Writes what could not be written before.
    pub fn tell_late(&self) {
        let late = std::mem::take(&mut *lock(&self.journal.late));
        self.tell(&late);
    }

    fn try_journal(&self, records: &[Record]) -> crate::error::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut slot = lock(&self.journal.journal);
        if slot.is_none() {
            *slot = Some(Journal::create_on(Arc::clone(self.dir.disk()), self.dir.root())?);
        }
        slot.as_ref().map_or(Ok(()), |journal| journal.append(records))
    }

    /// Counts and logs a failed operation on the cache directory, which the caller survives.
    pub fn io_error(&self, operation: &str, error: &Error) {
        self.count(&catalogue::IO_ERRORS, &[operation], 1);
        if let Some(left_out) = self.repeats.left_out(operation) {
            tracing::warn!(target: "larder::cache", operation, %error, left_out, "the cache could not be used; going on without");
        }
    }

    /// Remembers a miss for the journal.
    pub fn count_miss(&self, view: &ViewName, entity: &EntityKey, reason: MissReason) {
        let mut misses = lock(&self.misses.0);
        if misses.len() < MOST_MISSES || misses.contains_key(&(view.clone(), entity.clone(), reason)) {
            *misses.entry((view.clone(), entity.clone(), reason)).or_default() += 1;
        }
    }

    /// Takes misses back that could not be written.
    pub fn put_back_misses(&self, taken: HashMap<(ViewName, EntityKey, MissReason), u64>) {
        let mut misses = lock(&self.misses.0);
        taken.into_iter().for_each(|(miss, count)| *misses.entry(miss).or_default() += count);
    }

    /// Takes the misses that are not in the journal yet.
    pub fn take_misses(&self) -> HashMap<(ViewName, EntityKey, MissReason), u64> {
        std::mem::take(&mut *lock(&self.misses.0))
    }
}

/// The identity of a block as the manifest has it.
pub fn block_ref(id: &BlockId) -> BlockRef {
    BlockRef { view: id.view.clone(), fingerprint: id.fingerprint, entity: id.entity.clone(), start: id.range.start() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these guard is valid between any two steps.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
