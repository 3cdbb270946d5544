//! The one lock that everybody takes before touching the DuckDB file.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::disk::{Disk, Open};
use crate::error::{Error, ErrorKind, Result};

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Exclusive use of the manifest until it is dropped.
///
/// A `flock`, because it belongs to the opened file and not to the process: it keeps threads apart as
/// well, it ends with the process however that ends, and unlike DuckDB's own `fcntl` lock it is not
/// lost when somebody else in the process opens and closes the file.
#[derive(Debug)]
pub(super) struct ManifestLock {
    /// Closing it is the release.
    _file: File,
}

impl ManifestLock {
    /// Takes the lock at `path`, waiting at most `timeout`.
    ///
    /// `flock` has no timeout, so this asks again and again; a lock that is free costs one call.
    pub(super) fn acquire(disk: &dyn Disk, path: &Path, timeout: Duration) -> Result<Self> {
        let unusable = |error: std::io::Error| {
            Error::with_source(
                ErrorKind::Unavailable,
                format!("cannot lock {}: check that the cache directory exists and can be written", path.display()),
                error,
            )
        };
        let file = disk.open(path, Open::Shared).map_err(unusable)?;
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            if disk.try_lock(&file, path).map_err(unusable)? {
                return Ok(Self { _file: file });
            }
            if begun.elapsed() >= timeout {
                return Err(busy(path, timeout));
            }
            std::thread::sleep(pause.min(timeout.saturating_sub(begun.elapsed())));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
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
        drop(held);
        ManifestLock::acquire(&SystemDisk, &path, Duration::ZERO).unwrap();
    }
}
