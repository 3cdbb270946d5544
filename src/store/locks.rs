//! Locks between processes: `flock` on one file per stripe of entities or views, and on one for rebuilding the manifest.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::disk::{Disk, Open, is_absent};

/// How many stripes there are. Two entities that share one merely wait for each other.
const STRIPES: u64 = 4096;

/// How long somebody waits for what is held for microseconds: whoever holds it longer was stopped, or its disk hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long somebody waits for a file of pushed rows, which is held as long as writing it takes.
const PUSH_PATIENCE: Duration = Duration::from_secs(10);
/// How long a request waits after somebody has waited in vain, until the lock is had again; and how long others do not
/// wait at all then, such as the other blocks of that request.
const IMPATIENCE: Duration = Duration::from_millis(20);
const NO_PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries to take a lock. flock has no timeout, so this asks again and again; the longest pause stays far
/// below what a compute takes.
const COMPUTE_PAUSES: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(10));
const EXCLUSIVE_PAUSES: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(2));

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
    /// Stripes for which somebody waited in vain, when that last was, and which nobody has had since.
    stuck: Mutex<HashMap<(Purpose, u64), Instant>>,
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
    /// Threads of this process share it: among them the flights keep order. `None` after the timeout.
    pub fn compute(&self, hash: u64, timeout: Duration) -> io::Result<Option<StripeGuard<'_>>> {
        let stripe = hash % STRIPES;
        let taken = wait(timeout, COMPUTE_PAUSES, || self.try_compute(stripe))?;
        Ok(taken.then(|| StripeGuard { locks: self, stripe, exclusive: None }))
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
        let path = self.file(Purpose::Compute, stripe);
        let file = self.disk.open(&path, Open::Shared)?;
        let taken = self.disk.try_lock(&file, &path)?;
        if taken {
            held.insert(stripe, (file, 1));
        }
        Ok(taken)
    }

    /// Takes a stripe for itself. It is held for a short time, so `TimedOut` says that its holder does not go on.
    pub fn exclusive(&self, purpose: Purpose, hash: u64) -> io::Result<StripeGuard<'_>> {
        let patience = if purpose == Purpose::Push { PUSH_PATIENCE } else { PATIENCE };
        self.exclusive_within(purpose, hash % STRIPES, patience)
    }

    /// The same for somebody whom a request waits for: while a holder does not go on, only the first waits for it.
    pub fn exclusive_in_passing(&self, purpose: Purpose, hash: u64) -> io::Result<StripeGuard<'_>> {
        let stripe = hash % STRIPES;
        let patience = match lock(&self.stuck).get(&(purpose, stripe)) {
            None => PATIENCE,
            Some(last) if last.elapsed() < NO_PATIENCE => Duration::ZERO,
            Some(_) => IMPATIENCE,
        };
        self.exclusive_within(purpose, stripe, patience)
    }

    fn exclusive_within(&self, purpose: Purpose, stripe: u64, patience: Duration) -> io::Result<StripeGuard<'_>> {
        let path = self.file(purpose, stripe);
        let mut exclusive = None;
        let taken = wait(patience, EXCLUSIVE_PAUSES, || {
            // Opened each time, because somebody may have removed the file: then others lock another one.
            let file = self.disk.open(&path, Open::Shared)?;
            exclusive = (self.disk.try_lock(&file, &path)? && self.is_at(&file, &path)?).then_some(file);
            Ok(exclusive.is_some())
        })?;
        let mut stuck = lock(&self.stuck);
        if !taken {
            if !patience.is_zero() {
                stuck.insert((purpose, stripe), Instant::now());
            }
            let what = format!(
                "{} was held by another process for {patience:?}: see whether that one was stopped or its disk hangs",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::TimedOut, what));
        }
        stuck.remove(&(purpose, stripe));
        Ok(StripeGuard { locks: self, stripe, exclusive: exclusive.map(|file| (file, path)) })
    }

    /// Whether a file is still what others find at its path: it was not removed, nor its directory renamed.
    fn is_at(&self, file: &File, path: &Path) -> io::Result<bool> {
        let place = |metadata: Metadata| (metadata.dev(), metadata.ino());
        match self.disk.metadata(path) {
            Err(error) if is_absent(&error) => Ok(false),
            found => Ok(place(found?) == place(file.metadata()?)),
        }
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

/// Tries until it succeeds, at most for `timeout`, with pauses from the first to the second; whether it did.
fn wait(
    timeout: Duration,
    (mut pause, longest): (Duration, Duration),
    mut take: impl FnMut() -> io::Result<bool>,
) -> io::Result<bool> {
    let deadline = Instant::now() + timeout;
    loop {
        if take()? {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(longest);
    }
}

impl StripeGuard<'_> {
    /// Fails where somebody removed or renamed the lock's file: then others may have taken the same stripe.
    pub fn check(&self) -> io::Result<()> {
        match &self.exclusive {
            Some((file, path)) if !self.locks.is_at(file, path)? => {
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
        drop(locks.exclusive(Purpose::Publish, 7).unwrap());
        drop(locks.exclusive(Purpose::Publish, 7).unwrap());
    }

    #[test]
    fn for_a_holder_that_does_not_go_on_one_waits_and_the_others_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let (mine, other) = (locks(dir.path()), locks(dir.path()));
        let held = other.exclusive(Purpose::Publish, 7).unwrap();
        let first = mine.exclusive_within(Purpose::Publish, 7, Duration::from_millis(50)).err().unwrap();
        assert_eq!(first.kind(), io::ErrorKind::TimedOut);
        assert!(first.to_string().contains("p007 was held by another process for 50ms"), "{first}");
        let next = |mine: &Locks| mine.exclusive_in_passing(Purpose::Publish, 7).err().unwrap().to_string();
        assert!(next(&mine).contains("for 0ns"), "{}", next(&mine));
        let before = Instant::now().checked_sub(NO_PATIENCE).unwrap();
        lock(&mine.stuck).insert((Purpose::Publish, 7), before);
        let waited = next(&mine);
        assert!(waited.contains("for 20ms"), "{waited}");
        drop(held);
        drop(mine.exclusive_in_passing(Purpose::Publish, 7).unwrap());
        assert!(lock(&mine.stuck).is_empty(), "the next one waits again");
    }

    #[test]
    fn a_lock_whose_file_is_removed_is_taken_anew_and_its_holder_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (mine, other) = (locks(dir.path()), locks(dir.path()));
        let held = other.exclusive(Purpose::Push, 7).unwrap();
        held.check().unwrap();
        std::fs::remove_file(dir.path().join("a007")).unwrap();
        mine.exclusive(Purpose::Push, 7).unwrap().check().unwrap();
        let error = held.check().unwrap_err().to_string();
        assert!(error.contains("a007, its lock, was removed"), "{error}");
    }

    #[test]
    fn a_lock_whose_directory_is_renamed_is_taken_anew_and_its_holder_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("locks");
        std::fs::create_dir(&at).unwrap();
        let (mine, other) = (locks(&at), locks(&at));
        let held = other.exclusive(Purpose::Push, 7).unwrap();
        std::fs::rename(&at, dir.path().join("old")).unwrap();
        std::fs::create_dir(&at).unwrap();
        mine.exclusive(Purpose::Push, 7).unwrap().check().unwrap();
        held.check().unwrap_err();
    }
}
