//! What a store remembers of every view that was asked for.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use arrow::array::RecordBatch;

use super::gap::{ComputeError, Gap};
use super::memory::Mix;
use crate::model::{FeatureView, Fingerprint, Timestamp, ViewName};
use crate::slo::Ledger;

/// A compute that outlives the request: for refreshing in the background, or as a fallback.
pub type RegisteredCompute = dyn Fn(&Gap) -> Result<RecordBatch, ComputeError> + Send + Sync;

/// One version of a view in this store.
pub struct ViewState {
    /// The view.
    pub view: FeatureView,
    /// Its requests; versions of one view share them.
    pub ledger: Arc<Ledger>,
    /// Whether the journal knows that this process serves it.
    pub seen: AtomicBool,
    /// Refreshes stale blocks.
    pub refresh: ArcSwapOption<Box<RegisteredCompute>>,
    /// Answers where computing fails.
    pub fallback: ArcSwapOption<Box<RegisteredCompute>>,
}

/// The views of a store. Reading takes no lock, because every hit reads.
#[derive(Default)]
pub struct Views {
    by_fingerprint: ArcSwap<HashMap<Fingerprint, Arc<ViewState>, Mix>>,
    // By name, views of earlier runs included. Also held while a view is added.
    ledgers: Mutex<BTreeMap<ViewName, Arc<Ledger>>>,
}

impl Views {
    /// Runs `work` with the state of a view, which is made where there is none.
    pub fn with<T>(
        &self,
        view: &FeatureView,
        now: impl Fn() -> Timestamp,
        work: impl FnOnce(&Arc<ViewState>) -> T,
    ) -> T {
        let views = self.by_fingerprint.load();
        match views.get(&view.fingerprint()) {
            Some(state) => work(state),
            None => work(&self.add(view, now())),
        }
    }

    /// All that this process has asked for.
    pub fn all(&self) -> Vec<Arc<ViewState>> {
        self.by_fingerprint.load().values().cloned().collect()
    }

    /// The ledger of a view, which is made where there is none.
    pub fn ledger(&self, view: &ViewName, now: Timestamp) -> Arc<Ledger> {
        Arc::clone(self.lock().entry(view.clone()).or_insert_with(|| Arc::new(Ledger::new(now))))
    }

    /// Every ledger, in the order of the views' names.
    pub fn ledgers(&self) -> Vec<(ViewName, Arc<Ledger>)> {
        self.lock().iter().map(|(view, ledger)| (view.clone(), Arc::clone(ledger))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ViewName, Arc<Ledger>>> {
        self.ledgers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn add(&self, view: &FeatureView, now: Timestamp) -> Arc<ViewState> {
        let ledger = self.ledger(view.name(), now);
        let _adding = self.lock();
        let existing = self.by_fingerprint.load();
        if let Some(state) = existing.get(&view.fingerprint()) {
            return Arc::clone(state);
        }
        let state = Arc::new(ViewState {
            view: view.clone(),
            ledger,
            seen: AtomicBool::new(false),
            refresh: ArcSwapOption::empty(),
            fallback: ArcSwapOption::empty(),
        });
        let mut views = HashMap::clone(&existing);
        views.insert(view.fingerprint(), Arc::clone(&state));
        self.by_fingerprint.store(Arc::new(views));
        state
    }
}
