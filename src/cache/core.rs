//! What a store consists of, and the small duties that every part of it has.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// So many records are appended at once.
const RECORDS: usize = 20_000;

/// So much, as [`weight`] says, waits until the journal can be written, which one append takes. What is more is lost, and the
/// manifest made again from the files once it can.
const MOST_LATE: usize = RECORDS;

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
    /// Whether some of it is lost.
    lost: AtomicBool,
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
            self.tell_later(records.iter().cloned());
        }
    }

    fn tell_later(&self, records: impl Iterator<Item = Record>) {
        let mut late = lock(&self.journal.late);
        let mut waiting: usize = late.iter().map(weight).sum();
        for record in records {
            waiting += weight(&record);
            if waiting > MOST_LATE {
                self.journal.lost.store(true, Ordering::Relaxed);
                break;
            }
            late.push(record);
        }
    }

    /// Writes what could not be written before.
    pub fn tell_late(&self) {
        let late = std::mem::take(&mut *lock(&self.journal.late));
        if !self.journal(&late) {
            self.tell_later(late.into_iter());
        }
    }

    /// Whether records of blocks were lost that the manifest needs, since this was asked last.
    pub fn take_lost(&self) -> bool {
        lock(&self.journal.late).is_empty() && self.journal.lost.swap(false, Ordering::Relaxed)
    }

    /// Has the next one who asks for what was lost told so again.
    pub fn remember_lost(&self) {
        self.journal.lost.store(true, Ordering::Relaxed);
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
        for (miss, count) in taken {
            if misses.len() < MOST_MISSES || misses.contains_key(&miss) {
                *misses.entry(miss).or_default() += count;
            }
        }
    }

    /// Takes the misses that are not in the journal yet.
    pub fn take_misses(&self) -> HashMap<(ViewName, EntityKey, MissReason), u64> {
        std::mem::take(&mut *lock(&self.misses.0))
    }
}

/// What a record takes: the statistics of a column are about as long as any other record, some 250 bytes.
fn weight(record: &Record) -> usize {
    match record {
        Record::Published { stats, .. } => 1 + stats.len(),
        _ => 1,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FeatureStore;
    use crate::block::ColumnStats;
    use crate::manifest::BlockRow;

    /// A block of a view with so many features.
    fn lost_block(number: usize, features: usize) -> Record {
        let start = Timestamp::from_secs(number as i64 * 86_400);
        let block = BlockRow {
            view: ViewName::new("wide").unwrap(),
            fingerprint: "ce20d9dfd7046a750a2891dbead1269d".parse().unwrap(),
            entity: EntityKey::new([("symbol", "A")]).unwrap(),
            start,
            end: start,
            known_until: start,
            rows: 1,
            bytes: 1,
            created: start,
            compute_ms: 1.0,
            input_version: None,
            file: number.to_string(),
            last_used: start,
            uses: 0,
            newest: None,
        };
        let column = ColumnStats {
            name: "a_feature_whose_name_is_as_long_as_some_of_those_are".to_owned(),
            count: u64::MAX,
            nulls: u64::MAX,
            nans: u64::MAX,
            min: Some(-f64::MAX),
            max: Some(f64::MAX),
            mean: Some(f64::MIN_POSITIVE),
            std: Some(f64::MIN_POSITIVE),
            p25: Some(f64::MIN_POSITIVE),
            p50: Some(f64::MIN_POSITIVE),
            p75: Some(f64::MIN_POSITIVE),
        };
        Record::Published { block, stats: vec![column; features] }
    }

    #[test]
    fn as_many_blocks_of_wide_views_wait_as_one_append_takes() {
        let (root, store) = without_journal();
        let core = store.core();
        let fit = MOST_LATE / 4_097;
        (0..fit).for_each(|number| core.tell(&[lost_block(number, 4_096)]));
        let waiting = || lock(&core.journal.late).len();
        assert_eq!(waiting(), fit);
        core.tell(&[lost_block(fit, 4_096)]);
        assert_eq!(waiting(), fit, "and no more");
        std::fs::remove_file(root.path().join("cache/journal")).unwrap();
        core.tell_late();
        assert!(core.take_lost());
        let blocks = || core.manifest.read(|query| query.totals()).unwrap().blocks;
        assert_eq!(blocks(), fit as u64);
    }

    fn lost_view(number: usize) -> Record {
        Record::ViewSeen {
            at: Timestamp::from_ns(0),
            view: ViewName::new(&format!("view_{number}")).unwrap(),
            fingerprint: "ce20d9dfd7046a750a2891dbead1269d".parse().unwrap(),
            definition: String::new(),
        }
    }

    /// The parts of a store whose journal cannot be written until the file in its place is removed.
    fn without_journal() -> (tempfile::TempDir, FeatureStore) {
        let root = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.manifest.fold_interval = std::time::Duration::ZERO;
        let store = FeatureStore::builder(root.path().join("cache")).settings(settings).open().unwrap();
        let journal = root.path().join("cache/journal");
        let _ = std::fs::remove_dir_all(&journal);
        std::fs::write(&journal, "").unwrap();
        (root, store)
    }

    #[test]
    fn what_could_not_be_told_is_told_once_and_whatever_was_lost_is_known() {
        let (root, store) = without_journal();
        let core = store.core();
        let records: Vec<_> = (0..MOST_LATE).map(lost_view).collect();
        core.tell(&records);
        core.tell_late();
        assert!(!core.take_lost(), "there is room for all");
        core.tell(&[lost_view(MOST_LATE)]);
        assert!(!core.take_lost(), "it cannot be written yet");
        std::fs::remove_file(root.path().join("cache/journal")).unwrap();
        core.tell_late();
        assert_eq!((core.take_lost(), core.take_lost()), (true, false));
        let views = core.manifest.read(|query| query.views()).unwrap();
        assert_eq!(views.len(), MOST_LATE);
    }

    #[test]
    fn misses_that_cannot_be_written_do_not_grow_for_ever() {
        let (_root, store) = without_journal();
        let core = store.core();
        let (view, entity) = (ViewName::new("v").unwrap(), |number: usize| {
            EntityKey::new([("symbol", number.to_string().as_str())]).unwrap()
        });
        for round in 0..3 {
            let taken = core.take_misses();
            (0..MOST_MISSES / 2)
                .for_each(|at| core.count_miss(&view, &entity(round * MOST_MISSES + at), MissReason::Absent));
            core.put_back_misses(taken);
        }
        assert_eq!(core.take_misses().len(), MOST_MISSES);
    }
}
