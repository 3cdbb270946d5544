//! Locks between processes: `flock` on one file per stripe of entities or views, and on one for rebuilding the manifest.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::disk::{Disk, Open, hold, is_at, wait};

/// How many stripes there are. Two entities that share one merely wait for each other.
const STRIPES: u64 = 4096;

/// How long somebody waits for what is held for microseconds: whoever holds it longer was stopped, or its disk hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a request waits after somebody has waited in vain, until the lock is had again.
const IMPATIENCE: Duration = Duration::from_millis(20);
/// For how long nobody waits at all then, such as the other blocks of that request.
const NOT_AGAIN_FOR: Duration = Duration::from_secs(1);
/// Who waited less in vain has not learnt that the holder does not go on.
const STUCK_AFTER: Duration = Duration::from_secs(1);
/// Between two tries to take a lock. flock has no timeout, so this asks again and again; the longest pause stays far
/// below what a compute takes.
const COMPUTE_PAUSES: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(10));

/// The lock files of a cache directory.
pub struct Locks {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Stripes that this process computes in: the locked file, and by how many threads.
    held: Mutex<HashMap<u64, (File, usize)>>,
    /// Stripes for which somebody waited in vain, when that last was, and which nobody has had since.
    stuck: Mutex<HashMap<(For, u64), Instant>>,
}

/// What a stripe is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum For {
    Computing,
    Publishing,
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
    /// The locked file and where it was, unless threads share it.
    exclusive: Option<(File, PathBuf)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these guard is valid after a panic at any point: counts and open files.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Locks {
    pub fn new(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        Self { disk, dir: dir.to_owned(), held: Mutex::default(), stuck: Mutex::default() }
    }

    /// Waits until no other process computes in this stripe, at most `timeout`.
    ///
    /// Threads of this process share it: among them the flights keep order. `None` after the timeout, and soon where
    /// somebody has waited for so long and nobody has had it since: its holder may have been stopped.
    pub fn compute(&self, hash: u64, timeout: Duration) -> io::Result<Option<StripeGuard<'_>>> {
        let stripe = hash % STRIPES;
        let patience = self.patience((For::Computing, stripe), timeout);
        let taken = wait(patience, COMPUTE_PAUSES, || self.try_compute(stripe))?;
        self.has_waited((For::Computing, stripe), taken, patience);
        Ok(taken.then(|| StripeGuard { locks: self, stripe, exclusive: None }))
    }

    /// For how long somebody waits who would wait for so long.
    fn patience(&self, what: (For, u64), longest: Duration) -> Duration {
        match lock(&self.stuck).get(&what) {
            None => longest,
            Some(last) if last.elapsed() < NOT_AGAIN_FOR => Duration::ZERO,
            Some(_) => longest.min(IMPATIENCE),
        }
    }

    fn has_waited(&self, what: (For, u64), taken: bool, patience: Duration) {
        let mut stuck = lock(&self.stuck);
        if taken {
            stuck.remove(&what);
        } else if patience >= STUCK_AFTER || (!patience.is_zero() && stuck.contains_key(&what)) {
            stuck.insert(what, Instant::now());
        }
    }

    /// Waits until nobody else rebuilds the manifest, at most `timeout`; `None` after it.
    pub fn rebuild(&self, timeout: Duration) -> io::Result<Option<RebuildGuard>> {
        let path = self.dir.join("rebuild");
        let file = self.disk.open(&path, Open::Shared)?;
        let taken = wait(timeout, COMPUTE_PAUSES, || self.disk.try_lock(&file, &path))?;
        Ok(taken.then_some(RebuildGuard { _file: file }))
    }

    fn try_compute(&self, stripe: u64) -> io::Result<bool> {
        let mut held = lock(&self.held);
        if let Some((_, threads)) = held.get_mut(&stripe) {
            *threads += 1;
            return Ok(true);
        }
        let path = self.compute_file(stripe);
        let file = self.disk.open(&path, Open::Shared)?;
        let taken = self.disk.try_lock(&file, &path)?;
        if taken {
            held.insert(stripe, (file, 1));
        }
        Ok(taken)
    }

    /// Takes a stripe for publishing or invalidating, which is held for a rename or for listing a view, so `TimedOut` says that
    /// its holder does not go on.
    pub fn publish(&self, hash: u64) -> io::Result<StripeGuard<'_>> {
        self.publish_within(hash % STRIPES, PATIENCE)
    }

    /// The same for somebody whom a request waits for: while a holder does not go on, only the first waits for it.
    pub fn publish_in_passing(&self, hash: u64) -> io::Result<StripeGuard<'_>> {
        let stripe = hash % STRIPES;
        self.publish_within(stripe, self.patience((For::Publishing, stripe), PATIENCE))
    }

    fn publish_within(&self, stripe: u64, patience: Duration) -> io::Result<StripeGuard<'_>> {
        let path = self.dir.join(format!("p{stripe:03x}"));
        let held = hold(&*self.disk, &path, Open::Shared, patience);
        if held.as_ref().err().is_none_or(|error| error.kind() == io::ErrorKind::TimedOut) {
            self.has_waited((For::Publishing, stripe), held.is_ok(), patience);
        }
        Ok(StripeGuard { locks: self, stripe, exclusive: Some((held?, path)) })
    }

    /// Whether any process, this one included, computes in this stripe.
    pub fn is_computing(&self, hash: u64) -> bool {
        let stripe = hash % STRIPES;
        if lock(&self.held).contains_key(&stripe) {
            return true;
        }
        let path = self.compute_file(stripe);
        let Ok(file) = self.disk.open(&path, Open::Shared) else { return false };
        self.disk.try_lock(&file, &path).is_ok_and(|taken| !taken)
    }

    fn compute_file(&self, stripe: u64) -> PathBuf {
        self.dir.join(format!("c{stripe:03x}"))
    }
}

impl StripeGuard<'_> {
    /// Fails where somebody removed or renamed the lock's file: then others may have taken the same stripe.
    pub fn check(&self) -> io::Result<()> {
        match &self.exclusive {
            Some((file, path)) if !is_at(&*self.locks.disk, file, path)? => {
                Err(io::Error::other(format!("{}, its lock, was removed meanwhile: try again", path.display())))
            }
            _ => Ok(()),
        }
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
        drop(locks.publish(7).unwrap());
        drop(locks.publish(7).unwrap());
    }

    #[test]
    fn for_a_holder_that_does_not_go_on_one_waits_and_the_others_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let (mine, other) = (locks(dir.path()), locks(dir.path()));
        let held = other.publish(7).unwrap();
        let first = mine.publish_within(7, STUCK_AFTER).err().unwrap();
        assert_eq!(first.kind(), io::ErrorKind::TimedOut);
        assert!(first.to_string().contains("p007 was held by another process for 1s"), "{first}");
        let next = |mine: &Locks| mine.publish_in_passing(7).err().unwrap().to_string();
        assert!(next(&mine).contains("in vain a moment ago"), "{}", next(&mine));
        let before = Instant::now().checked_sub(NOT_AGAIN_FOR).unwrap();
        lock(&mine.stuck).insert((For::Publishing, 7), before);
        let waited = next(&mine);
        assert!(waited.contains("for 20ms"), "{waited}");
        drop(held);
        drop(mine.publish_in_passing(7).unwrap());
        assert!(lock(&mine.stuck).is_empty(), "the next one waits again");
    }

    #[test]
    fn for_whoever_computes_and_does_not_go_on_one_waits_and_the_others_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let (mine, other) = (locks(dir.path()), locks(dir.path()));
        let held = other.compute(7, Duration::ZERO).unwrap().unwrap();
        let (stripe, hour) = ((For::Computing, 7), Duration::from_secs(3600));
        assert_eq!(mine.patience(stripe, hour), hour);
        assert!(mine.compute(7, Duration::from_millis(50)).unwrap().is_none());
        assert_eq!(mine.patience(stripe, hour), hour, "it may be well");
        assert!(mine.compute(7, STUCK_AFTER).unwrap().is_none());
        assert_eq!(mine.patience(stripe, hour), Duration::ZERO);
        assert!(mine.compute(7, hour).unwrap().is_none());
        lock(&mine.stuck).insert(stripe, Instant::now().checked_sub(NOT_AGAIN_FOR).unwrap());
        assert_eq!(mine.patience(stripe, hour), IMPATIENCE);
        assert!(mine.compute(7, hour).unwrap().is_none());
        drop(held);
        drop(mine.compute(7, hour).unwrap().unwrap());
        assert!(lock(&mine.stuck).is_empty(), "the next one waits again");
    }

    #[test]
    fn a_lock_whose_file_is_removed_is_taken_anew_and_its_holder_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (mine, other) = (locks(dir.path()), locks(dir.path()));
        let held = other.publish(7).unwrap();
        held.check().unwrap();
        std::fs::remove_file(dir.path().join("p007")).unwrap();
        mine.publish(7).unwrap().check().unwrap();
        let error = held.check().unwrap_err().to_string();
        assert!(error.contains("p007, its lock, was removed"), "{error}");
    }

    #[test]
    fn a_lock_whose_directory_is_renamed_is_taken_anew_and_its_holder_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("locks");
        std::fs::create_dir(&at).unwrap();
        let (mine, other) = (locks(&at), locks(&at));
        let held = other.publish(7).unwrap();
        std::fs::rename(&at, dir.path().join("old")).unwrap();
        std::fs::create_dir(&at).unwrap();
        mine.publish(7).unwrap().check().unwrap();
        held.check().unwrap_err();
    }
}
