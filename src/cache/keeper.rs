//! The thread that does what need not be done while somebody waits.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::core::{Core, block_ref};
use super::observe::Series;
use crate::error::{Error, ErrorKind};
use crate::manifest::Record;
use crate::metrics::catalogue;
use crate::model::{BlockId, EntityKey, FeatureView, MissReason, Timestamp, ViewName};
use crate::upkeep;

/// How long counts stay in memory alone, however seldom the journals are folded.
const LONGEST_TICK: Duration = Duration::from_secs(5);
const TIDY_EVERY: Duration = Duration::from_secs(10);
/// How often uses are written, the directory is looked at and its limits are checked; sooner where the
/// journals are folded more often than usual, because none of the three knows more than the manifest.
const ROUND_EVERY: Duration = Duration::from_secs(60);
const FOLDS_A_ROUND: u32 = 12;
const HEARTBEAT_EVERY: Duration = Duration::from_secs(3600);

/// When the journals were last folded, and how long that took; until then, when the store was opened.
pub struct LastFold(Mutex<(Timestamp, Option<Duration>)>);

impl LastFold {
    pub fn new(opened: Timestamp) -> Self {
        Self(Mutex::new((opened, None)))
    }

    pub fn get(&self) -> (Timestamp, Option<Duration>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, at: Timestamp, took: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (at, Some(took));
    }
}

/// Runs the keeper until it is dropped, then waits for its end.
pub struct Keeper {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread. Without it the store works, and its journal is folded by others.
    pub fn start(core: &Arc<Core>) -> Self {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (core, stopped) = (Arc::downgrade(core), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("larder-keeper".to_owned()).spawn(move || run(&core, &stopped));
        if let Err(error) = &thread {
            tracing::warn!(target: "larder::cache", %error, "no thread for keeping house: nothing is folded or cleaned by this process");
        }
        Self { stop, thread: thread.ok() }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let (stopped, changed) = &*self.stop;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        // The last handle may be dropped by the keeper's own thread, which cannot wait for itself.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

fn run(core: &Weak<Core>, stop: &(Mutex<bool>, Condvar)) {
    let mut duties = Duties::default();
    let (stopped, changed) = stop;
    // Whoever only watches has nothing to show before the first round.
    if let Some(core) = core.upgrade().filter(|core| core.observes) {
        duties.run(&core);
    }
    loop {
        let interval = match core.upgrade() {
            Some(core) => Some(core.settings().manifest.fold_interval).filter(|interval| !interval.is_zero()),
            None => return,
        };
        let tick = interval.unwrap_or(LONGEST_TICK).min(LONGEST_TICK);
        let stopped = stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if *stopped || changed.wait_timeout(stopped, tick).is_ok_and(|(stopped, _)| *stopped) {
            return;
        }
        match core.upgrade() {
            Some(core) => duties.run(&core),
            None => return,
        }
    }
}

/// When each duty was last done.
#[derive(Default)]
struct Duties {
    folded: Option<Instant>,
    used: Option<Instant>,
    tidied: Option<Instant>,
    cleaned: Option<Instant>,
    looked: Option<Instant>,
    seen: Option<Instant>,
    views_seen: usize,
}

fn due(last: &mut Option<Instant>, every: Duration) -> bool {
    let due = last.is_none_or(|last| last.elapsed() >= every);
    if due {
        *last = Some(Instant::now());
    }
    due
}

fn round(fold_interval: Duration) -> Duration {
    if fold_interval.is_zero() { ROUND_EVERY } else { ROUND_EVERY.min(fold_interval * FOLDS_A_ROUND) }
}

impl Duties {
    fn run(&mut self, core: &Core) {
        let interval = core.settings().manifest.fold_interval;
        let round = round(interval);
        if core.restore_history() {
            core.flush_counts();
            if due(&mut self.used, round) {
                core.flush_uses();
            }
        }
        let views = core.views.all();
        if due(&mut self.seen, HEARTBEAT_EVERY) || views.len() != self.views_seen {
            self.views_seen = views.len();
            core.journal_views();
        }
        if !interval.is_zero() && due(&mut self.folded, interval) {
            core.fold();
            core.observe();
        }
        if due(&mut self.looked, round) {
            core.look_at_directory();
        }
        if due(&mut self.tidied, TIDY_EVERY) {
            core.tidy();
        }
        if core.settings().disk.auto_clean && due(&mut self.cleaned, round) {
            core.clean_if_needed();
        }
    }
}

impl Core {
    /// Writes everything that is not in the journal yet.
    pub fn flush(&self) {
        self.flush_counts();
        self.flush_uses();
    }

    /// Writes which blocks were used since the last time: one record a block, so not at every turn.
    fn flush_uses(&self) {
        let now = self.now();
        let uses = self.memory.take_uses();
        let used = |(id, uses): &(BlockId, u64)| Record::Used { block: block_ref(id), uses: *uses, last_used: now };
        if !self.journal(&uses.iter().map(used).collect::<Vec<_>>()) {
            self.memory.put_back_uses(uses);
        }
    }

    /// Writes the requests, misses and counters that were counted since the last time; what cannot be written is kept.
    fn flush_counts(&self) {
        self.tell_late();
        let now = self.now();
        for (view, ledger) in self.views.ledgers() {
            let mut seen = self.observes.then(|| self.observed.lock());
            let minutes = ledger.take_unwritten(now);
            let record = |minute, (outcome, count)| Record::Requests { minute, view: view.clone(), outcome, count };
            let records: Vec<_> = minutes
                .iter()
                .flat_map(|(minute, counts)| counts.iter().map(|count| (*minute, count)).collect::<Vec<_>>())
                .filter(|(_, (_, count))| *count > 0)
                .map(|(minute, count)| record(minute, count))
                .collect();
            if !self.journal(&records) {
                ledger.put_back(&minutes);
                continue;
            }
            for (minute, (outcome, count)) in
                minutes.iter().flat_map(|(minute, counts)| counts.iter().map(move |count| (*minute, count)))
            {
                if let Some(seen) = &mut seen {
                    seen.wrote(Series::Requests(view.clone(), outcome), minute, count);
                }
            }
        }
        let minute = now.minute();
        let misses = self.take_misses();
        let missed = |((view, entity, reason), count): (&(ViewName, EntityKey, MissReason), &u64)| Record::Missed {
            minute,
            view: view.clone(),
            entity: entity.clone(),
            reason: *reason,
            count: *count,
        };
        if !self.journal(&misses.iter().map(missed).collect::<Vec<_>>()) {
            self.put_back_misses(misses);
        }
        self.flush_counters();
    }

    /// Tells the journal that a version is served, before its first block: without that, cleaning
    /// would take the blocks of a process that lives for seconds for those of an old version.
    pub fn journal_view_once(&self, view: &FeatureView) {
        let now = self.now();
        if self.views.with(view, || now, |state| !state.seen.swap(true, Ordering::Relaxed)) {
            self.tell(&[seen(now, view)]);
        }
    }

    /// Tells the journal which versions of which views this process serves.
    pub fn journal_views(&self) {
        let at = self.now();
        let seen: Vec<_> = self.views.all().iter().map(|state| seen(at, &state.view)).collect();
        self.journal(&seen);
    }

    fn fold(&self) {
        let began = Instant::now();
        match self.manifest.fold() {
            Ok(report) => {
                self.last_fold.set(self.now(), began.elapsed());
                let lost = self.take_lost();
                if report.needs_rebuild || lost {
                    self.rebuild(lost);
                }
            }
            Err(error) => self.io_error("fold", &error),
        }
    }

    /// Makes the manifest again where it asks for that, or where this process knows better.
    fn rebuild(&self, anyway: bool) {
        let rebuild = if anyway { upkeep::rebuild_anyway } else { upkeep::rebuild };
        // Without waiting: this thread has other duties, and the next fold asks again.
        match rebuild(&self.dir, &self.manifest, self.now(), Duration::ZERO) {
            Ok(None) if anyway => self.remember_lost(),
            Ok(None) => {}
            Ok(Some(rebuilt)) => {
                tracing::info!(target: "larder::manifest", blocks = rebuilt.blocks, "manifest rebuilt from the block files")
            }
            Err(error) => {
                self.io_error("fold", &error);
                if anyway {
                    self.remember_lost();
                }
            }
        }
    }

    fn observe(&self) {
        // Without the history everything in the manifest would look new.
        if self.observes
            && self.has_history()
            && let Err(error) = self.observe_others()
        {
            self.io_error("fold", &error);
        }
    }

    fn look_at_directory(&self) {
        if let Err(error) = self.look_around() {
            self.io_error("fold", &error);
        }
    }

    fn tidy(&self) {
        self.flights.tidy(self.now());
        if let Err(error) = self.dir.tidy() {
            self.io_error("tidy", &error);
        }
    }

    fn clean_if_needed(&self) {
        let journal = |records: &[Record]| self.tell(records);
        match upkeep::clean_if_needed(&self.dir, &self.manifest, &self.settings(), self.now(), journal) {
            Ok(report) => {
                for (reason, blocks, bytes) in report.by_reason() {
                    self.count(&catalogue::EVICTED_BLOCKS, &[reason.as_str()], blocks);
                    self.count(&catalogue::EVICTED_BYTES, &[reason.as_str()], bytes);
                }
                if let Some(why) = report.failed {
                    self.io_error("clean", &Error::new(ErrorKind::Unavailable, why));
                }
            }
            Err(error) => self.io_error("clean", &error),
        }
    }
}

fn seen(at: Timestamp, view: &FeatureView) -> Record {
    let features: Vec<_> = view.features().iter().map(|feature| feature.name().as_str()).collect();
    let keys: Vec<_> = view.join_keys().iter().map(|key| key.name.as_str()).collect();
    let ttl = view.ttl().map(|ttl| ("ttl_seconds", json!(ttl.as_secs_f64())));
    let parameters = (!view.parameters().is_empty()).then(|| ("parameters", json!(view.parameters())));
    let definition: BTreeMap<&str, serde_json::Value> = [
        ("join_keys", json!(keys)),
        ("features", json!(features)),
        ("span", json!(view.span())),
        ("version", json!(view.version())),
        ("lookback_seconds", json!(view.lookback().as_secs_f64())),
    ]
    .into_iter()
    .chain(ttl)
    .chain(parameters)
    .collect();
    Record::ViewSeen {
        at,
        view: view.name().clone(),
        fingerprint: view.fingerprint(),
        definition: json!(definition).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_a_minute_unless_the_journals_are_folded_more_often() {
        let second = Duration::from_secs(1);
        for (interval, expected) in [(0, 60), (1, 12), (5, 60), (60, 60), (3600, 60)] {
            assert_eq!(round(second * interval), second * expected, "{interval} s");
        }
    }
}
