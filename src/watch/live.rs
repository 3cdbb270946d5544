//! Features that follow their files.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::look::{Looker, Touched};
use super::wake::Wake;
use crate::cache::FeatureStore;
use crate::compute::{Features, FeaturesBuilder};
use crate::definition::Environment;
use crate::error::{Error, ErrorKind, Result};

/// How often everything is looked at, whatever is told of files.
const INTERVAL: Duration = Duration::from_secs(10);

/// Where definitions come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The definition files of a directory.
    Directory(PathBuf),
    /// Those that were applied last to the store's cache directory.
    Applied,
}

/// Builds [`Features`] of definitions, as with registered functions.
pub(super) type Configure = dyn Fn(FeaturesBuilder) -> FeaturesBuilder + Send + Sync;

/// Features whose definitions, settings and source files are watched.
///
/// Definitions and settings that hold a mistake are logged and leave the old ones in force. Blocks that were computed from
/// rows that are others now are forgotten, those alone. It ends when it is dropped.
pub struct Live {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

pub(super) struct Shared {
    pub(super) current: ArcSwap<Features>,
    pub(super) looker: Mutex<Looker>,
    wake: Wake,
}

/// Collects what [`Live`] needs.
pub struct LiveBuilder {
    store: FeatureStore,
    origin: Origin,
    environment: Environment,
    configure: Box<Configure>,
    settings: Option<PathBuf>,
    interval: Duration,
    #[cfg(test)]
    deaf: bool,
}

impl LiveBuilder {
    /// Looks only when it is told to.
    #[cfg(test)]
    pub(super) fn deaf(mut self) -> Self {
        self.deaf = true;
        self
    }

    /// What is done with each set of definitions before it is opened, such as registering functions.
    #[must_use]
    pub fn configure(mut self, configure: impl Fn(FeaturesBuilder) -> FeaturesBuilder + Send + Sync + 'static) -> Self {
        self.configure = Box::new(configure);
        self
    }

    /// The settings file that the store was opened with. Default: none is watched.
    #[must_use]
    pub fn settings_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.settings = Some(file.into());
        self
    }

    /// The variables that definitions name. Default: those of this process.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// How often everything is looked at, whatever is told of files: where nothing is, as of network disks, or not
    /// all, this is how late a change may be seen. Default: 10 s.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Reads the definitions, holds every cached block against its source, and begins to watch.
    ///
    /// A source that cannot be read is logged and tried again: what is cached of it is served.
    ///
    /// # Errors
    /// Those of reading definitions and of [`FeaturesBuilder::open`]; `Invalid` for settings that are not allowed;
    /// `Unavailable` where no thread can be started.
    pub fn open(self) -> Result<Live> {
        #[cfg(test)]
        let deaf = self.deaf;
        #[cfg(not(test))]
        let deaf = false;
        let Self { store, origin, environment, configure, settings, interval, .. } = self;
        let wake = Wake::new();
        let (looker, features) = Looker::begin(store, origin, environment, configure, settings)?;
        let shared = Shared { current: ArcSwap::from_pointee(features), looker: Mutex::new(looker), wake };
        let live = Live { shared: Arc::new(shared), thread: None };
        // First to what happens from now on, and only then to what is.
        if !deaf {
            live.shared.listen();
        }
        live.check();
        live.start(interval)
    }
}

impl Live {
    /// Begins to follow the definitions of `origin`.
    pub fn builder(store: FeatureStore, origin: Origin) -> LiveBuilder {
        LiveBuilder {
            store,
            origin,
            environment: Environment::of_process(),
            configure: Box::new(|builder| builder),
            settings: None,
            interval: INTERVAL,
            #[cfg(test)]
            deaf: false,
        }
    }

    /// The features as they are defined now. Ask anew for each request.
    pub fn features(&self) -> Arc<Features> {
        self.shared.current.load_full()
    }

    /// Looks at everything now, instead of soon.
    pub fn check(&self) {
        self.shared.look(&Touched::Unknown);
    }

    /// Keeps what the system tells of files from being taken until this is dropped.
    #[cfg(test)]
    pub(super) fn hold(&self) -> impl Drop + '_ {
        self.shared.wake.hold()
    }

    fn start(mut self, interval: Duration) -> Result<Self> {
        let shared = Arc::clone(&self.shared);
        let run = move || {
            while let Some(touched) = shared.wake.wait(interval) {
                shared.look(&touched);
                shared.listen();
            }
        };
        let thread = std::thread::Builder::new().name("larder-watch".to_owned()).spawn(run);
        self.thread = Some(thread.map_err(|error| {
            Error::with_source(ErrorKind::Unavailable, "cannot start the thread that watches files", error)
        })?);
        Ok(self)
    }
}

impl Shared {
    fn looker(&self) -> MutexGuard<'_, Looker> {
        self.looker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, touched: &Touched) {
        let mut looker = self.looker();
        if let Some(features) = looker.look(&self.current.load(), touched) {
            self.current.store(Arc::new(features));
        }
        if looker.is_waiting() {
            self.wake.again_soon();
        }
    }

    /// Listens at the directories that matter now.
    fn listen(&self) {
        self.wake.listen(self.looker().directories(&self.current.load()));
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.wake.stop();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("features", &self.features()).finish_non_exhaustive()
    }
}
