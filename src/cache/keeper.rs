//! The thread that does what need not be done while somebody waits.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::core::{Core, block_ref};
use crate::manifest::Record;
use crate::metrics::catalogue;
use crate::model::Timestamp;
use crate::upkeep;

const TIDY_EVERY: Duration = Duration::from_secs(10);
const CLEAN_EVERY: Duration = Duration::from_secs(60);
const USES_EVERY: Duration = Duration::from_secs(60);
const HEARTBEAT_EVERY: Duration = Duration::from_secs(3600);

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
    loop {
        let interval = match core.upgrade() {
            Some(core) => core.settings.manifest.fold_interval,
            None => return,
        };
        let stopped = stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if *stopped || changed.wait_timeout(stopped, interval).is_ok_and(|(stopped, _)| *stopped) {
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
    used: Option<Instant>,
    tidied: Option<Instant>,
    cleaned: Option<Instant>,
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

impl Duties {
    fn run(&mut self, core: &Core) {
        if core.restore_history() {
            core.flush_counts();
            if due(&mut self.used, USES_EVERY) {
                core.flush_uses();
            }
        }
        let views = core.views.all();
        if due(&mut self.seen, HEARTBEAT_EVERY) || views.len() != self.views_seen {
            self.views_seen = views.len();
            core.journal_views();
        }
        core.fold();
        if due(&mut self.tidied, TIDY_EVERY) {
            core.tidy();
        }
        if core.settings.disk.auto_clean && due(&mut self.cleaned, CLEAN_EVERY) {
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
        let used = |(id, uses)| Record::Used { block: block_ref(&id), uses, last_used: now };
        self.journal(&self.memory.take_uses().into_iter().map(used).collect::<Vec<_>>());
    }

    /// Writes the requests and misses that were counted since the last time.
    fn flush_counts(&self) {
        let now = self.now();
        let mut records = Vec::new();
        for (view, ledger) in self.views.ledgers() {
            for (minute, counts) in ledger.take_unwritten(now) {
                let counts = counts.iter().filter(|(_, count)| *count > 0);
                records.extend(counts.map(|(outcome, count)| Record::Requests {
                    minute,
                    view: view.clone(),
                    outcome,
                    count,
                }));
            }
        }
        let minute = now.as_ns().div_euclid(60_000_000_000);
        for ((view, entity, reason), count) in self.take_misses() {
            records.push(Record::Missed { minute, view, entity, reason, count });
        }
        self.journal(&records);
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
                self.recorder.set(&catalogue::LAST_FOLD, &[], self.now().as_ns() as f64 / 1e9);
                self.recorder.set(&catalogue::FOLD_DURATION, &[], began.elapsed().as_secs_f64());
                if report.needs_rebuild {
                    self.rebuild();
                }
            }
            Err(error) => self.io_error("fold", &error),
        }
    }

    fn rebuild(&self) {
        match upkeep::rebuild(&self.dir, &self.manifest, self.now()) {
            Ok(rebuilt) => {
                tracing::info!(target: "larder::manifest", blocks = rebuilt.blocks, "manifest rebuilt from the block files")
            }
            Err(error) => self.io_error("fold", &error),
        }
    }

    fn tidy(&self) {
        self.flights.tidy(self.now());
        match self.dir.tidy() {
            // Others may have invalidated in a table that this process no longer saw.
            Ok(true) => self.memory.clear(),
            Ok(false) => {}
            Err(error) => self.io_error("tidy", &error),
        }
    }

    fn clean_if_needed(&self) {
        let journal = |records: &[Record]| self.journal(records);
        match upkeep::clean_if_needed(&self.dir, &self.manifest, &self.settings, self.now(), journal) {
            Ok(report) => {
                self.recorder.set(&catalogue::DISK_BYTES, &[], report.bytes_before as f64);
                self.recorder.set(&catalogue::DISK_BLOCKS, &[], report.blocks_before as f64);
                for (reason, blocks, bytes) in report.by_reason() {
                    self.recorder.add(&catalogue::EVICTED_BLOCKS, &[reason.as_str()], blocks as f64);
                    self.recorder.add(&catalogue::EVICTED_BYTES, &[reason.as_str()], bytes as f64);
                }
            }
            Err(error) => self.io_error("clean", &error),
        }
    }
}

fn seen(at: Timestamp, view: &crate::model::FeatureView) -> Record {
    let features: Vec<_> = view.features().iter().map(|feature| feature.name().as_str()).collect();
    let keys: Vec<_> = view.join_keys().iter().map(|key| key.name.as_str()).collect();
    let definition = serde_json::json!({
        "join_keys": keys, "features": features, "span": view.span(), "version": view.version(),
        "lookback_seconds": view.lookback().as_secs_f64(),
    });
    Record::ViewSeen {
        at,
        view: view.name().clone(),
        fingerprint: view.fingerprint(),
        definition: definition.to_string(),
    }
}
