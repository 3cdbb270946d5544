//! When to look: events of the operating system, put together, or when time is up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};

use super::look::Touched;

/// Events that follow each other faster than this are looked at together.
const CALM: Duration = Duration::from_millis(50);
/// But not later than this.
const LATEST: Duration = Duration::from_secs(1);
/// When to try again what failed.
const AGAIN: Duration = Duration::from_secs(2);

/// Tells when to look, and what may have changed.
pub(super) struct Wake {
    state: Arc<State>,
    watcher: Mutex<Option<RecommendedWatcher>>,
    watched: Mutex<BTreeMap<PathBuf, bool>>,
}

#[derive(Default)]
struct State {
    pending: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Default)]
struct Pending {
    files: BTreeSet<PathBuf>,
    /// Events were lost.
    lost: bool,
    first: Option<Instant>,
    last: Option<Instant>,
    again: bool,
    stop: bool,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, event: notify::Result<Event>) {
        let mut pending = self.lock();
        match event {
            // Reading changes nothing.
            Ok(event) if event.kind.is_access() && !event.need_rescan() => return,
            Ok(event) => {
                pending.lost |= event.need_rescan();
                pending.files.extend(event.paths);
            }
            Err(error) => {
                tracing::warn!(target: "larder::watch", %error, "events of files were lost: looking at all of them");
                pending.lost = true;
            }
        }
        let now = Instant::now();
        pending.first.get_or_insert(now);
        pending.last = Some(now);
        drop(pending);
        self.changed.notify_all();
    }
}

impl Wake {
    pub(super) fn new() -> Self {
        let state = Arc::new(State::default());
        let taking = Arc::clone(&state);
        let watcher = notify::recommended_watcher(move |event| taking.take(event));
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!(target: "larder::watch", %error, "the system tells nothing of files: they are looked at now and then");
            })
            .ok();
        Self { state, watcher: Mutex::new(watcher), watched: Mutex::default() }
    }

    /// Listens at these directories, of those marked at all that is below them, and at no others. A directory that is
    /// not there yet is tried again the next time.
    pub(super) fn listen(&self, wanted: BTreeMap<PathBuf, bool>) {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(watcher) = &mut *watcher else { return };
        // One that was removed and made again is another, of which nothing is told.
        watched.retain(|directory, deep| {
            let keep = wanted.get(directory) == Some(deep) && directory.is_dir();
            if !keep {
                drop(watcher.unwatch(directory));
            }
            keep
        });
        for (directory, deep) in wanted {
            if watched.contains_key(&directory) {
                continue;
            }
            let mode = if deep { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            match watcher.watch(&directory, mode) {
                Ok(()) => drop(watched.insert(directory, deep)),
                Err(error) => {
                    let directory = directory.display();
                    tracing::debug!(target: "larder::watch", %directory, %error, "nothing is told of this directory: it is looked at now and then");
                }
            }
        }
    }

    /// Waits until something may have changed, or `interval` is over; `None` once it is to end.
    pub(super) fn wait(&self, interval: Duration) -> Option<Touched> {
        let began = Instant::now();
        let mut pending = self.state.lock();
        loop {
            if pending.stop {
                return None;
            }
            let now = Instant::now();
            let calm = pending.last.map(|last| last + CALM).zip(pending.first.map(|first| first + LATEST));
            let due = match calm {
                Some((calm, latest)) => calm.min(latest),
                None if pending.again => began + AGAIN.min(interval),
                None => began + interval,
            };
            if due <= now {
                let was = std::mem::take(&mut *pending);
                // Whatever else is due is looked at too: a look at all files costs little.
                return Some(if was.lost || was.first.is_none() {
                    Touched::Unknown
                } else {
                    Touched::Files(was.files)
                });
            }
            let waited = self.state.changed.wait_timeout(pending, due - now);
            pending = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Something failed: do not wait for the whole interval.
    pub(super) fn again_soon(&self) {
        self.state.lock().again = true;
        self.state.changed.notify_all();
    }

    pub(super) fn stop(&self) {
        self.state.lock().stop = true;
        self.state.changed.notify_all();
    }

    /// Keeps what the system tells from being taken until this is dropped.
    #[cfg(test)]
    pub(super) fn hold(&self) -> impl Drop + '_ {
        struct Held<'a>(#[expect(dead_code, reason = "held")] MutexGuard<'a, Pending>);
        impl Drop for Held<'_> {
            fn drop(&mut self) {}
        }
        Held(self.state.lock())
    }
}
