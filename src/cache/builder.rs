//! What a store is opened with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::core::Core;
use super::keeper::LastFold;
use super::memory::Memory;
use super::store::FeatureStore;
use crate::clock::{Clock, SystemClock};
use crate::config::{Durability, Settings};
use crate::disk::{Disk, SystemDisk};
use crate::error::Result;
use crate::manifest::Manifest;
use crate::metrics::{Recorder, catalogue};
use crate::model::Timestamp;
use crate::store::{CacheDir, Publish};

/// Collects what a [`FeatureStore`] is opened with.
pub struct FeatureStoreBuilder {
    dir: PathBuf,
    settings: Settings,
    clock: Arc<dyn Clock>,
    disk: Arc<dyn Disk>,
    recorder: Option<Arc<dyn Recorder>>,
    observes: bool,
}

impl FeatureStoreBuilder {
    /// The settings. Default: [`Settings::default`].
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// The clock. Default: the operating system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The file system of the cache directory. Default: the operating system's.
    #[must_use]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }

    /// Who receives the metrics. Default: a [`PrometheusRecorder`](crate::metrics::PrometheusRecorder) of
    /// its own that is scraped every `metrics.scrape_interval`, for [`metrics_text`](FeatureStore::metrics_text); nobody without the feature `prometheus`.
    #[must_use]
    pub fn recorder(mut self, recorder: impl Recorder) -> Self {
        self.recorder = Some(Arc::new(recorder));
        self
    }

    /// Counts the requests of every process that shares the directory, and what their counters count, seconds
    /// after it happened, as if it were this one's: for a process that watches the cache and makes no requests of its own.
    #[must_use]
    pub fn observe_others(mut self) -> Self {
        self.observes = true;
        self
    }

    /// Opens the store. Nothing is loaded: the first answer does not wait for a large cache.
    ///
    /// # Errors
    /// `Invalid` for settings that are not allowed, or a directory that holds other things than a
    /// cache; `Unavailable` where the directory is a file, belongs to somebody else or cannot be used.
    pub fn open(self) -> Result<FeatureStore> {
        self.settings.validate()?;
        let publish = match self.settings.durability {
            Durability::Fast => Publish::Fast,
            Durability::Durable => Publish::Durable,
        };
        let dir = CacheDir::open_on(self.disk, &self.dir, publish, &process_name(&*self.clock))?;
        let recorder = self.recorder.unwrap_or_else(|| default_recorder(&self.settings));
        let core = Arc::new(Core {
            manifest: Manifest::new(dir.root(), Arc::clone(&self.clock)).with_disk(Arc::clone(dir.disk())),
            memory: Memory::new(self.settings.memory_limit()),
            dir,
            read_threads: self.settings.read_threads(),
            settings: ArcSwap::from_pointee(self.settings),
            last_fold: LastFold::new(Timestamp::from_ns(self.clock.now_ns())),
            clock: self.clock,
            recorder,
            flights: Default::default(),
            views: Default::default(),
            journal: Default::default(),
            misses: Default::default(),
            counters: Default::default(),
            restored: Default::default(),
            refresher: Default::default(),
            look: Default::default(),
            repeats: Default::default(),
            observes: self.observes,
            observed: Default::default(),
        });
        core.announce();
        Ok(FeatureStore::of(core))
    }
}

#[cfg(feature = "prometheus")]
fn default_recorder(settings: &Settings) -> Arc<dyn Recorder> {
    Arc::new(crate::metrics::PrometheusRecorder::scraped_every(settings.metrics.scrape_interval))
}

#[cfg(not(feature = "prometheus"))]
fn default_recorder(_: &Settings) -> Arc<dyn Recorder> {
    Arc::new(crate::metrics::NoRecorder)
}

fn process_name(clock: &dyn Clock) -> String {
    static OPENED: AtomicU64 = AtomicU64::new(0);
    format!("{}-{:x}-{}", std::process::id(), clock.now_ns(), OPENED.fetch_add(1, Ordering::Relaxed))
}

impl FeatureStore {
    /// Begins to open the cache in `dir`, which is made where there is none.
    pub fn builder(dir: impl AsRef<Path>) -> FeatureStoreBuilder {
        FeatureStoreBuilder {
            dir: dir.as_ref().to_owned(),
            settings: Settings::default(),
            clock: Arc::new(SystemClock),
            disk: Arc::new(SystemDisk),
            recorder: None,
            observes: false,
        }
    }
}

impl Core {
    /// Tells the recorder what stays as it is from now on.
    fn announce(&self) {
        self.recorder.set(&catalogue::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
        self.configured(true);
        // So that it is there, at 0, before the first compute.
        self.recorder.add(&catalogue::COMPUTES_IN_FLIGHT, &[], 0.0);
    }
}
