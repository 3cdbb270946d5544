//! The one lock that everybody takes before touching the DuckDB file.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::disk::{Disk, Open, hold, wait};
use crate::error::{Error, ErrorKind, Result};

const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// The locks that this process has. Where somebody removes the file of one, DuckDB would open its own a second time here,
/// which succeeds and loses rows; that of another process refuses.
static HELD: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// Exclusive use of the manifest until it is dropped.
///
/// A `flock`, because it belongs to the opened file and not to the process: it keeps threads apart as
/// well, it ends with the process however that ends, and unlike DuckDB's own `fcntl` lock it is not
/// lost when somebody else in the process opens and closes the file.
#[derive(Debug)]
pub(super) struct ManifestLock {
    path: PathBuf,
    /// Closing it is the release.
    _file: File,
}

impl ManifestLock {
    /// Takes the lock at `path`, waiting at most `timeout`.
    pub(super) fn acquire(disk: &dyn Disk, path: &Path, timeout: Duration) -> Result<Self> {
        let begun = Instant::now();
        let take = || Ok(held().insert(path.to_owned()));
        if !wait(timeout, PAUSES, take).unwrap_or(false) {
            return Err(busy(path, timeout));
        }
        match hold(disk, path, Open::Shared, timeout.saturating_sub(begun.elapsed())) {
            Ok(file) => Ok(Self { path: path.to_owned(), _file: file }),
            Err(error) => {
                release(path);
                Err(match error.kind() {
                    io::ErrorKind::TimedOut => busy(path, timeout),
                    _ => unusable(path, error),
                })
            }
        }
    }
}

impl Drop for ManifestLock {
    fn drop(&mut self) {
        release(&self.path);
    }
}

fn held() -> MutexGuard<'static, HashSet<PathBuf>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn release(path: &Path) {
    held().remove(path);
}

fn unusable(path: &Path, error: io::Error) -> Error {
    let what = format!("cannot lock {}: check that the cache directory exists and can be written", path.display());
    Error::with_source(ErrorKind::Unavailable, what, error)
}

fn busy(path: &Path, timeout: Duration) -> Error {
    Error::new(
        ErrorKind::Busy,
        format!("{} was held by another process or thread for {timeout:?}: retry after a moment", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;

    #[test]
    fn a_held_lock_is_busy_even_for_a_thread_of_the_same_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manifest.lock");
        let held = ManifestLock::acquire(&SystemDisk, &path, Duration::ZERO).unwrap();
        let error = ManifestLock::acquire(&SystemDisk, &path, Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert!(error.to_string().contains("manifest.lock"), "{error}");
        std::fs::remove_file(&path).unwrap();
        ManifestLock::acquire(&SystemDisk, &path, Duration::ZERO).unwrap_err();
        drop(held);
        ManifestLock::acquire(&SystemDisk, &path, Duration::ZERO).unwrap();
    }
}
