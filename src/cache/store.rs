//! The store that services open.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Instant;

use arrow::array::RecordBatch;

use super::answer::Answer;
use super::core::Core;
use super::gap::{ComputeError, Gap, Source};
use super::keeper::Keeper;
use super::lookup::Purpose;
use super::supply::{Closure, FromSource, Supply};
use super::views::{RegisteredCompute, ViewState};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::manifest::{Manifest, Record};
#[cfg(feature = "server")]
use crate::metrics::Recorder;
use crate::metrics::{MetricsSource, catalogue};
use crate::model::{EntityKey, FeatureView, Fingerprint, Outcome, Span, TimeRange, Timestamp, ViewName};
use crate::slo::SloReport;
#[cfg(any(feature = "server", feature = "definitions"))]
use crate::store::CacheDir;
use crate::upkeep;

/// A cache of features in one directory, shared by all threads and by any number of processes.
///
/// Cheap to clone; every clone is the same store. When the last one is dropped, what was counted is
/// written to the journal.
#[derive(Clone)]
pub struct FeatureStore(Arc<Handle>);

struct Handle {
    core: Arc<Core>,
    // Declared after the core, and stopped before it is flushed: see `Drop`.
    keeper: Option<Keeper>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.keeper = None;
        self.core.journal_views();
        self.core.flush();
        self.core.recorder.detach(&source(&self.core));
    }
}

impl FeatureStore {
    /// The store of these parts, from now on.
    pub(super) fn of(core: Arc<Core>) -> Self {
        core.recorder.attach(source(&core));
        let keeper = Some(Keeper::start(&core));
        Self(Arc::new(Handle { core, keeper }))
    }
}

#[cfg(test)]
impl FeatureStore {
    pub(super) fn core(&self) -> &Core {
        &self.0.core
    }
}

/// A store as exporters know it.
fn source(core: &Arc<Core>) -> Weak<dyn MetricsSource> {
    let source: Weak<Core> = Arc::downgrade(core);
    source
}

impl FeatureStore {
    /// The features of `entity` in `range`: from memory, from disk, or by calling `compute` for what
    /// is missing, once however many ask.
    ///
    /// `compute` receives a [`Gap`] and returns a batch with the columns of [`FeatureView::schema`],
    /// in any order, sorted by event time, every time inside the gap and at most once. It is called
    /// once per gap, on this thread. Its values are trusted up to `now - lateness`; what is later is
    /// answered and not kept. A range that ends in the future is cut at the present.
    ///
    /// One call is one event of the service level, unless the request is `Invalid`.
    ///
    /// # Errors
    /// `Invalid` for an entity with other keys than the view's, a range in the future or one of too
    /// many blocks. `Compute` where computing failed and nothing else could answer. Trouble with the
    /// disk is no error: the features are computed then.
    pub fn get_or_compute<F, E>(
        &self,
        view: &FeatureView,
        entity: &EntityKey,
        range: TimeRange,
        mut compute: F,
    ) -> Result<Answer>
    where
        F: FnMut(&Gap) -> Result<RecordBatch, E>,
        E: Into<ComputeError>,
    {
        self.request(view, entity, range, &mut Closure(move |gap: &Gap| compute(gap).map_err(Into::into)))
    }

    /// The same from a [`Source`], which knows its watermark and version.
    ///
    /// # Errors
    /// As [`get_or_compute`](Self::get_or_compute).
    pub fn get_or_compute_from(
        &self,
        view: &FeatureView,
        entity: &EntityKey,
        range: TimeRange,
        source: &impl Source,
    ) -> Result<Answer> {
        self.request(view, entity, range, &mut FromSource(source))
    }

    /// Sees to it that a range is cached, computing what is not. No event of the service level, because nobody
    /// asked for it yet; `featurestore_warmed_total` counts it.
    ///
    /// # Errors
    /// As [`get_or_compute`](Self::get_or_compute).
    pub fn warm_from(
        &self,
        view: &FeatureView,
        entity: &EntityKey,
        range: TimeRange,
        source: &impl Source,
    ) -> Result<Answer> {
        self.warm_until(view, entity, range, source, self.0.core.now())
    }

    /// The same, with a range that may reach beyond the present, up to `until`: of rows that are known then already.
    pub(crate) fn warm_until(
        &self,
        view: &FeatureView,
        entity: &EntityKey,
        range: TimeRange,
        source: &impl Source,
        until: Timestamp,
    ) -> Result<Answer> {
        let core = &*self.0.core;
        let now = core.now();
        view.check_entity(entity)?;
        let wanted = core.want_until(view, entity, range, (now, until), Purpose::Warming)?;
        let result = core.views.with(view, || now, |state| core.serve(state, &wanted, &mut FromSource(source)));
        let outcome = result.as_ref().map_or(Outcome::Error, Answer::outcome);
        core.count(&catalogue::WARMED, &[view.name().as_str(), outcome.as_str()], 1);
        result
    }

    /// Computes a gap as for a request, with the same checks, and keeps nothing of it.
    #[cfg(feature = "definitions")]
    pub(crate) fn compute_past(
        &self,
        gap: &Gap,
        mut compute: impl FnMut(&Gap) -> Result<RecordBatch>,
    ) -> Result<RecordBatch> {
        self.0.core.compute(gap, &mut |gap| Ok(compute(gap)?))
    }

    /// What the cache holds of a range, or `None` where that is not all of it. Never computes, and is
    /// no event of the service level.
    ///
    /// # Errors
    /// `Invalid` as for [`get_or_compute`](Self::get_or_compute).
    pub fn get(&self, view: &FeatureView, entity: &EntityKey, range: TimeRange) -> Result<Option<Answer>> {
        let core = &self.0.core;
        view.check_entity(entity)?;
        let now = core.now();
        core.views.with(view, || now, |_| ());
        if let Some(answer) = core.hit(view, entity, range, now) {
            return Ok(Some(answer));
        }
        Ok(core.get(&core.want(view, entity, range, now, Purpose::Serving)?))
    }

    /// Forgets the blocks of an entity that overlap `range`, in every version of the view. Returns how
    /// many there were.
    ///
    /// When this returns, no process on this machine serves them, and no compute that began before can
    /// bring them back. Blocks are forgotten as a whole.
    ///
    /// # Errors
    /// `Invalid` for an entity with other keys than the view's; `Unavailable` where a file cannot be
    /// removed: then repeat it.
    pub fn invalidate(&self, view: &FeatureView, entity: &EntityKey, range: TimeRange) -> Result<u64> {
        view.check_entity(entity)?;
        self.invalidate_scope(view.name(), Some(entity), Some(range), ("request", None))
    }

    /// Forgets every block of a view, in every version. Returns how many there were.
    ///
    /// # Errors
    /// `Unavailable` where a file cannot be removed: then repeat it.
    pub fn invalidate_view(&self, view: &FeatureView) -> Result<u64> {
        self.invalidate_scope(view.name(), None, None, ("request", None))
    }

    /// Makes copies in memory old, and forbids whatever is computed at this moment to be kept.
    #[cfg(feature = "definitions")]
    pub(crate) fn fence(&self, view: &ViewName) -> Result<()> {
        self.0.core.dir.raise(view)
    }

    /// Forgets the blocks of an entity, or of all, that overlap a range, or all of them, because of `cause`, which is
    /// one of the catalogue's. Of a version whose spans are known no block is read for its end.
    pub(crate) fn invalidate_scope(
        &self,
        view: &ViewName,
        entity: Option<&EntityKey>,
        range: Option<TimeRange>,
        (cause, version): (&str, Option<(Fingerprint, Span)>),
    ) -> Result<u64> {
        let core = &self.0.core;
        let scope = upkeep::Scope { view, version, entity, range };
        // Somebody asked for it, or something went: a push that took nothing away is no news.
        let is_news = |record: &Record| matches!(record, Record::Removed { .. });
        let journal = |records: &[Record]| {
            if cause == "request" || records.iter().any(is_news) {
                core.tell(records);
            }
        };
        let blocks = upkeep::invalidate(&core.dir, &scope, cause, || core.now(), journal)?;
        // A failure may have come from the very inputs that now changed.
        core.flights.forgive(|id| id.view == *view && entity.is_none_or(|entity| id.entity == *entity));
        if cause == "request" || blocks > 0 {
            core.count(&catalogue::INVALIDATIONS, &[view.as_str(), cause], 1);
        }
        Ok(blocks)
    }

    /// Registers what computes a view's stale blocks again in the background; without it a block past
    /// its `max_age` is computed by the request that meets it.
    pub fn on_refresh<F, E>(&self, view: &FeatureView, compute: F)
    where
        F: Fn(&Gap) -> Result<RecordBatch, E> + Send + Sync + 'static,
        E: Into<ComputeError>,
    {
        let core = &self.0.core;
        core.refresher.start(core);
        let compute: Box<RegisteredCompute> = Box::new(move |gap| compute(gap).map_err(Into::into));
        core.views.with(view, || core.now(), |state| state.refresh.store(Some(Arc::new(compute))));
    }

    /// Registers what answers, as `fallback` and without being kept, where computing a view fails.
    pub fn on_failure<F, E>(&self, view: &FeatureView, compute: F)
    where
        F: Fn(&Gap) -> Result<RecordBatch, E> + Send + Sync + 'static,
        E: Into<ComputeError>,
    {
        let core = &self.0.core;
        let compute: Box<RegisteredCompute> = Box::new(move |gap| compute(gap).map_err(Into::into));
        core.views.with(view, || core.now(), |state| state.fallback.store(Some(Arc::new(compute))));
    }

    /// The service level: every window's hit ratio, the error budget and the burn rates, over this
    /// directory's history at the opening and this store's requests since.
    pub fn slo(&self) -> SloReport {
        self.0.core.slo(None)
    }

    /// The same of one view.
    pub fn slo_of(&self, view: &FeatureView) -> SloReport {
        self.0.core.slo(Some(view.name()))
    }

    /// Writes what was counted to the journal now, instead of within the fold interval.
    pub fn flush(&self) {
        let core = &self.0.core;
        if core.restore_history() {
            core.journal_views();
            core.flush();
        }
    }

    /// The manifest of this cache.
    pub fn manifest(&self) -> &Manifest {
        &self.0.core.manifest
    }

    /// The cache directory.
    pub fn dir(&self) -> &Path {
        self.0.core.dir.root()
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.0.core.settings.load_full()
    }

    /// Takes other settings, from now on. Returns the keys of those that need a restart, which stay as they were.
    ///
    /// # Errors
    /// `Invalid` for settings that are not allowed: then all stay as they were.
    pub fn reconfigure(&self, settings: Settings) -> Result<Vec<&'static str>> {
        let core = &self.0.core;
        let result = settings.validate().map(|()| {
            let mut settings = settings;
            let fixed = settings.keep_fixed(&core.settings());
            core.memory.resize(settings.memory_limit());
            core.settings.store(Arc::new(settings));
            fixed
        });
        core.configured(result.is_ok());
        result
    }

    /// Tells the metrics whether the settings and definitions that were read last are in force.
    #[cfg(feature = "watch")]
    pub(crate) fn reloaded(&self, all_hold: bool) {
        self.0.core.configured(all_hold);
    }

    /// Everything measured, in the text format that Prometheus scrapes; `None` where the store's recorder
    /// keeps no such text.
    pub fn metrics_text(&self) -> Option<String> {
        self.0.core.recorder.text()
    }

    /// The present, by the store's clock.
    #[cfg(any(feature = "server", feature = "definitions"))]
    pub(crate) fn now(&self) -> Timestamp {
        self.0.core.now()
    }

    #[cfg(feature = "server")]
    pub(crate) fn recorder(&self) -> &dyn Recorder {
        &*self.0.core.recorder
    }

    #[cfg(any(feature = "server", feature = "definitions"))]
    pub(crate) fn cache_dir(&self) -> &CacheDir {
        &self.0.core.dir
    }

    /// Bytes of decoded blocks in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.0.core.memory.bytes()
    }

    /// The answer from memory alone, counted as a request; otherwise nothing is counted.
    #[cfg(feature = "async")]
    pub(super) fn hit_in_memory(
        &self,
        view: &FeatureView,
        entity: &EntityKey,
        range: TimeRange,
    ) -> Result<Option<Answer>> {
        let (began, core) = (Instant::now(), &*self.0.core);
        let now = core.now();
        core.views.with(view, || now, |state| core.quick(state, view, entity, range, now, began))
    }

    fn request(
        &self,
        view: &FeatureView,
        entity: &EntityKey,
        range: TimeRange,
        supply: &mut dyn Supply,
    ) -> Result<Answer> {
        let began = Instant::now();
        let core = &*self.0.core;
        let now = core.now();
        core.views.with(
            view,
            || now,
            |state| {
                if let Some(answer) = core.quick(state, view, entity, range, now, began)? {
                    return Ok(answer);
                }
                let wanted =
                    core.want(view, entity, range, now, Purpose::Serving).map_err(|error| core.invalid(view, error))?;
                let result = core.serve(state, &wanted, supply);
                let outcome = result.as_ref().map_or(Outcome::Error, Answer::outcome);
                // When it ended, because that is when the counters rise.
                state.ledger.record(core.now(), outcome, began.elapsed());
                core.log(view, entity, range, outcome, &result);
                result
            },
        )
    }
}

impl Core {
    /// Counts and returns the answer from memory alone, or `None` where there is more to do.
    fn quick(
        &self,
        state: &ViewState,
        view: &FeatureView,
        entity: &EntityKey,
        range: TimeRange,
        now: Timestamp,
        began: Instant,
    ) -> Result<Option<Answer>> {
        view.check_entity(entity).map_err(|error| self.invalid(view, error))?;
        let answer = self.hit(view, entity, range, now);
        if answer.is_some() {
            state.ledger.record(now, Outcome::Hit, began.elapsed());
            tracing::debug!(target: "larder::cache", view = %view.name(), %entity, %range, "get_or_compute: Cache HIT");
        }
        Ok(answer)
    }

    /// Tells the recorder whether the last settings and definitions that were read are in force.
    pub(super) fn configured(&self, is_good: bool) {
        if is_good {
            self.recorder.set(&catalogue::CONFIG_RELOAD, &[], self.now().as_ns() as f64 / 1e9);
        }
        self.recorder.set(&catalogue::CONFIG_RELOAD_OK, &[], f64::from(u8::from(is_good)));
    }

    fn invalid(&self, view: &FeatureView, error: Error) -> Error {
        self.count(&catalogue::INVALID_REQUESTS, &[view.name().as_str()], 1);
        error
    }

    fn log(&self, view: &FeatureView, entity: &EntityKey, range: TimeRange, outcome: Outcome, result: &Result<Answer>) {
        for block in result.iter().flat_map(Answer::blocks) {
            self.count(&catalogue::READS, &[view.name().as_str(), block.origin().as_str()], 1);
        }
        let phrase = if outcome.is_good() { "Cache HIT" } else { "Cache MISS" };
        tracing::debug!(target: "larder::cache", view = %view.name(), %entity, %range, %outcome, "get_or_compute: {phrase}");
    }
}
