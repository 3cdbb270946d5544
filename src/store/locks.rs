//! Locks between processes: `flock` on one file per stripe of entities or views, and on one for rebuilding the manifest.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::disk::{Disk, Open};

/// How many stripes there are. Two entities that share one merely wait for each other.
const STRIPES: u64 = 4096;

/// What a stripe is locked for. One never waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Computing a block: long, shared by the threads of one process.
    Compute,
    /// Renaming a block into place or invalidating: microseconds.
    Publish,
    /// Adding rows to a file of pushed rows: as long as writing it takes.
    Push,
}

/// The lock files of a cache directory.
pub struct Locks {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Stripes that this process computes in: the locked file, and by how many threads.
    held: Mutex<HashMap<u64, (File, usize)>>,
}

/// Nobody else rebuilds the manifest until this is dropped, or its process ends however that is.
#[derive(Debug)]
pub struct RebuildGuard {
    /// Closing it is the release.
    _file: File,
}

/// Holds a stripe until it is dropped.
pub struct StripeGuard<'a> {
    locks: &'a Locks,
    stripe: u64,
    exclusive: Option<File>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these guard is valid after a panic at any point: counts and open files.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Locks {
    pub fn new(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        Self { disk, dir: dir.to_owned(), held: Mutex::default() }
    }

    /// Waits until no other process computes in this stripe, at most `timeout`.
    ///
    /// Threads of this process share it: among them the flights keep order. `None` after the timeout.
    pub fn compute(&self, hash: u64, timeout: Duration) -> io::Result<Option<StripeGuard<'_>>> {
        let stripe = hash % STRIPES;
        let taken = wait(timeout, || self.try_compute(stripe))?;
        Ok(taken.then(|| StripeGuard { locks: self, stripe, exclusive: None }))
    }

    /// Waits until nobody else rebuilds the manifest, at most `timeout`; `None` after it.
    pub fn rebuild(&self, timeout: Duration) -> io::Result<Option<RebuildGuard>> {
        let path = self.dir.join("rebuild");
        let file = self.disk.open(&path, Open::Shared)?;
        let taken = wait(timeout, || self.disk.try_lock(&file, &path))?;
        Ok(taken.then_some(RebuildGuard { _file: file }))
    }

    fn try_compute(&self, stripe: u64) -> io::Result<bool> {
        let mut held = lock(&self.held);
        if let Some((_, threads)) = held.get_mut(&stripe) {
            *threads += 1;
            return Ok(true);
        }
        let path = self.file(Purpose::Compute, stripe);
        let file = self.disk.open(&path, Open::Shared)?;
        let taken = self.disk.try_lock(&file, &path)?;
        if taken {
            held.insert(stripe, (file, 1));
        }
        Ok(taken)
    }

    /// Takes a stripe for itself. Held for a short time, so this waits without a limit.
    pub fn exclusive(&self, purpose: Purpose, hash: u64) -> io::Result<StripeGuard<'_>> {
        let stripe = hash % STRIPES;
        let path = self.file(purpose, stripe);
        let file = self.disk.open(&path, Open::Shared)?;
        self.disk.lock(&file, &path)?;
        Ok(StripeGuard { locks: self, stripe, exclusive: Some(file) })
    }

    /// Whether any process, this one included, computes in this stripe.
    pub fn is_computing(&self, hash: u64) -> bool {
        let stripe = hash % STRIPES;
        if lock(&self.held).contains_key(&stripe) {
            return true;
        }
        let path = self.file(Purpose::Compute, stripe);
        let Ok(file) = self.disk.open(&path, Open::Shared) else { return false };
        self.disk.try_lock(&file, &path).is_ok_and(|taken| !taken)
    }

    fn file(&self, purpose: Purpose, stripe: u64) -> PathBuf {
        let letter = match purpose {
            Purpose::Compute => 'c',
            Purpose::Publish => 'p',
            Purpose::Push => 'a',
        };
        self.dir.join(format!("{letter}{stripe:03x}"))
    }
}

/// Tries until it succeeds, at most for `timeout`; whether it did.
fn wait(timeout: Duration, mut take: impl FnMut() -> io::Result<bool>) -> io::Result<bool> {
    let deadline = Instant::now() + timeout;
    let mut pause = Duration::from_micros(200);
    loop {
        if take()? {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        // Polled, because flock has no timeout; the pause stays far below what a compute takes.
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

impl Drop for StripeGuard<'_> {
    fn drop(&mut self) {
        if self.exclusive.take().is_some() {
            return;
        }
        let mut held = lock(&self.locks.held);
        if let Some((_, threads)) = held.get_mut(&self.stripe) {
            *threads -= 1;
            if *threads == 0 {
                // Dropping the entry closes the file and so releases the lock.
                held.remove(&self.stripe);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;

    fn locks(dir: &Path) -> Locks {
        Locks::new(Arc::new(SystemDisk), dir)
    }

    #[test]
    fn threads_of_one_process_share_and_others_wait() {
        let dir = tempfile::tempdir().unwrap();
        // Two `Locks` are two open files, which flock tells apart as it does two processes.
        let (mine, other) = (locks(dir.path()), locks(dir.path()));
        let brief = Duration::from_millis(20);
        let first = mine.compute(7, brief).unwrap().unwrap();
        let second = mine.compute(7, brief).unwrap().unwrap();
        assert!(other.compute(7, brief).unwrap().is_none());
        assert!(other.is_computing(7) && mine.is_computing(7) && !other.is_computing(8));
        drop(first);
        assert!(other.compute(7, brief).unwrap().is_none(), "the second thread still computes");
        drop(second);
        assert!(other.compute(7, brief).unwrap().is_some());
        assert!(!mine.is_computing(7));
    }

    #[test]
    fn publishing_does_not_wait_for_a_compute() {
        let dir = tempfile::tempdir().unwrap();
        let locks = locks(dir.path());
        let _computing = locks.compute(7, Duration::ZERO).unwrap().unwrap();
        drop(locks.exclusive(Purpose::Publish, 7).unwrap());
        drop(locks.exclusive(Purpose::Publish, 7).unwrap());
    }
}
