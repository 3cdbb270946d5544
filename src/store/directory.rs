//! The cache directory as a whole.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use twox_hash::XxHash3_64;

use super::files::{self, FoundFile, Publish};
use super::generations::{Generation, Generations, NOTICED, Slots};
use super::layout::{BLOCKS, GENERATIONS, LOCKS, QUARANTINE, TMP, block_path, entity_directories};
use super::locks::{Locks, RebuildGuard, StripeGuard};
use super::root::{Identity, check_root, identity, sync_above};
use super::staging::{Staging, sweep};
use crate::disk::{Disk, SystemDisk};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{BlockId, EntityKey, Timestamp, ViewName};
use crate::planted::{self, Bug};

/// An opened cache directory. Only its owner may read it; any number of processes may share it.
pub struct CacheDir {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) root: PathBuf,
    /// Which directory it was when those above it were synced last, to notice that somebody made it anew.
    synced_root: Mutex<Identity>,
    pub(super) publish: Publish,
    pub(super) process: String,
    pub(super) locks: Locks,
    // Swapped when somebody deletes the file, so that this process joins the others again.
    pub(super) generations: ArcSwap<Generations>,
    /// When the table of generations was last looked at, in nanoseconds.
    joined: AtomicI64,
    staging: Mutex<Option<Staging>>,
    /// Directories whose names are known to survive a crash of the machine: by the hash of the path, the inode and when it was
    /// made. Not those that are there: whoever made them may have failed to sync them, or does not have to.
    synced: Mutex<HashMap<u64, (u64, SystemTime)>>,
}

impl CacheDir {
    /// Opens `root`, making it with mode 0700 where there is none.
    ///
    /// A directory on a read-only disk opens too: hits are served from it, and publishing fails.
    ///
    /// # Errors
    /// `Unavailable` where it is a file, cannot be made, or belongs to another user; `Invalid` where
    /// it holds other things than a cache.
    pub fn open(root: &Path, publish: Publish, process: &str) -> Result<Self> {
        Self::open_on(Arc::new(SystemDisk), root, publish, process)
    }

    /// The same on a file system of one's own.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_on(disk: Arc<dyn Disk>, root: &Path, publish: Publish, process: &str) -> Result<Self> {
        let root = std::path::absolute(root).map_err(|error| unavailable("find", root, error))?;
        check_root(&*disk, &root)?;
        for below in [BLOCKS, TMP, LOCKS, QUARANTINE] {
            let path = root.join(below);
            disk.make_directory(&path).map_err(|error| unavailable("make the directory", &path, error))?;
        }
        let generations = map_generations(&*disk, &root)?;
        let identity = identity(&*disk, &root);
        Ok(Self {
            synced_root: Mutex::new(identity.map_err(|error| unavailable("look at", &root, error))?),
            locks: Locks::new(Arc::clone(&disk), &root.join(LOCKS)),
            disk,
            root,
            publish,
            process: process.to_owned(),
            generations: ArcSwap::from_pointee(generations),
            joined: AtomicI64::new(0),
            staging: Mutex::default(),
            synced: Mutex::default(),
        })
    }

    /// Whether there is a cache in `root`. Touches nothing.
    pub fn exists(root: &Path) -> bool {
        root.join(BLOCKS).is_dir()
    }

    /// The file system that it is on.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The directory itself, as an absolute path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reads a block's file; `None` where there is none. One `open`, no question to anybody.
    ///
    /// # Errors
    /// `Unavailable` where it is there and cannot be read.
    pub fn read(&self, id: &BlockId) -> Result<Option<Bytes>> {
        self.read_path(&block_path(id))
    }

    /// Reads a file below the cache directory; `None` where there is none.
    ///
    /// # Errors
    /// `Unavailable` where it is there and cannot be read.
    pub fn read_path(&self, path: &Path) -> Result<Option<Bytes>> {
        let path = self.root.join(path);
        files::read(&*self.disk, &path).map_err(|error| unavailable("read", &path, error))
    }

    /// Waits until no other process computes for the block's entity, at most `timeout`; `None` after it.
    ///
    /// # Errors
    /// `Unavailable` where the lock file cannot be used.
    pub fn lock_compute(&self, id: &BlockId, timeout: Duration) -> Result<Option<StripeGuard<'_>>> {
        if planted::is(Bug::ProcessesNotOrdered) {
            return Ok(None);
        }
        self.locking(|| self.locks.compute(compute_stripe(id), timeout))
            .map_err(|error| unavailable("lock a file in", &self.root.join(LOCKS), error))
    }

    /// Whether any process computes for the block's entity.
    pub fn is_computing(&self, id: &BlockId) -> bool {
        self.locks.is_computing(compute_stripe(id))
    }

    /// Waits until nobody else rebuilds the manifest, at most `timeout`; `None` after it.
    ///
    /// # Errors
    /// `Unavailable` where the lock file cannot be used.
    pub fn lock_rebuild(&self, timeout: Duration) -> Result<Option<RebuildGuard>> {
        self.locking(|| self.locks.rebuild(timeout))
            .map_err(|error| unavailable("lock a file in", &self.root.join(LOCKS), error))
    }

    /// The counters that cover an entity of a view.
    pub fn slots(&self, view: &ViewName, entity: &EntityKey) -> Slots {
        Slots::of(view, &entity_directories(entity).join("/"))
    }

    /// The present generation of those counters.
    pub fn generation(&self, slots: Slots) -> Generation {
        self.generations.load().now(slots)
    }

    /// What a path below the cache directory holds now; `None` where there is no regular file.
    ///
    /// # Errors
    /// `Unavailable` where nobody can say.
    pub fn stat(&self, path: &Path) -> Result<Option<FoundFile>> {
        files::stat(&*self.disk, &self.root, path).map_err(|error| unavailable("look at", &self.root.join(path), error))
    }

    /// Visits every file below `blocks/`, in no order.
    ///
    /// # Errors
    /// `Unavailable` where a directory cannot be read.
    pub fn files(&self, mut visit: impl FnMut(FoundFile)) -> Result<()> {
        let blocks = self.root.join(BLOCKS);
        files::list(&*self.disk, &self.root, &blocks, &mut visit).map_err(|error| unavailable("list", &blocks, error))
    }

    /// Writes and removes a small file, to know whether blocks could be published.
    ///
    /// # Errors
    /// `Unavailable` where that fails.
    pub fn probe(&self) -> Result<()> {
        let failed = |error| unavailable("write in", &self.root, error);
        let part = self.part().map_err(failed)?;
        files::write_part(&*self.disk, &part, b"probe", Publish::Fast)
            .and_then(|()| files::remove(&*self.disk, &part))
            .map(drop)
            .map_err(failed)
    }

    /// How many files are in quarantine.
    ///
    /// # Errors
    /// `Unavailable` where the directory cannot be read.
    pub fn quarantined(&self) -> Result<u64> {
        let quarantine = self.root.join(QUARANTINE);
        let mut count = 0;
        files::list(&*self.disk, &self.root, &quarantine, &mut |_| count += 1)
            .map_err(|error| unavailable("list", &quarantine, error))?;
        Ok(count)
    }

    /// Bytes of the disk that are free for this user.
    ///
    /// # Errors
    /// `Unavailable` where the file system does not say.
    pub fn free_bytes(&self) -> Result<u64> {
        let space =
            rustix::fs::statvfs(&self.root).map_err(|error| unavailable("look at", &self.root, error.into()))?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// Removes half-written files of processes that are gone, and joins the other processes again
    /// where somebody deleted the table of generations.
    ///
    /// # Errors
    /// `Unavailable` where a directory cannot be used.
    pub fn tidy(&self) -> Result<()> {
        let tmp = self.root.join(TMP);
        sweep(&*self.disk, &tmp).map_err(|error| unavailable("sweep", &tmp, error))?;
        self.rejoin()
    }

    /// Maps the table of generations again where somebody deleted it: until then this process sees
    /// no invalidation of the others, nor they one of this. Copies made before are old by that.
    ///
    /// Also where it could only be read: the disk may be writable by now.
    pub(super) fn rejoin(&self) -> Result<()> {
        let path = self.root.join(GENERATIONS);
        loop {
            let mapped = self.generations.load();
            let is_current = mapped.is_current(&*self.disk, &path);
            if is_current && mapped.is_writable() {
                return Ok(());
            }
            let again = match mapped.again(&*self.disk, &path) {
                Ok(again) if !is_current || again.is_writable() => again,
                Err(error) if !is_current => {
                    self.generations.store(mapped.lost().into());
                    // The next request tries again.
                    self.joined.store(i64::MIN, Ordering::Relaxed);
                    return Err(unavailable("map", &path, error));
                }
                _ => return Ok(()),
            };
            // Or another thread has mapped a still newer one meanwhile, which this one must not take the place of.
            if Arc::ptr_eq(&self.generations.compare_and_swap(&mapped, again.into()), &mapped) {
                return Ok(());
            }
        }
    }

    /// The same every so often, by the clock that says `now`; costs a comparison in between.
    ///
    /// So a hit from memory is none of a table that was deleted longer than [`NOTICED`] ago.
    pub(crate) fn stay_joined(&self, now: Timestamp) {
        let (now, last) = (now.as_ns(), self.joined.load(Ordering::Relaxed));
        // Both ways, because the clock may be set back. Threads that do it twice do no harm.
        if now.abs_diff(last) >= NOTICED.as_nanos() as u64 {
            match self.rejoin() {
                // Not before: nobody goes by the old table because somebody else is about to look.
                Ok(()) => self.joined.store(now, Ordering::Relaxed),
                Err(error) => {
                    tracing::debug!(target: "larder::cache", %error, "the table of generations cannot be joined");
                }
            }
        }
    }

    /// Renames within the cache, whatever links somebody put on the way.
    pub(super) fn rename(&self, part: &Path, target: &Path) -> io::Result<bool> {
        if let Some(parent) = target.parent() {
            files::take_links_away(&*self.disk, &self.root, parent)?;
        }
        files::rename(&*self.disk, part, target)
    }

    /// The same with one more name, which nothing may have.
    pub(super) fn link(&self, part: &Path, target: &Path) -> io::Result<()> {
        if let Some(parent) = target.parent() {
            files::take_links_away(&*self.disk, &self.root, parent)?;
            // Whoever calls this tries another name where this one is taken, and not where no directory can be made.
            self.disk.make_directory(parent).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
                _ => error,
            })?;
        }
        self.disk.link(part, target)
    }

    pub(super) fn part(&self) -> io::Result<PathBuf> {
        let mut staging = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        if !staging.as_ref().is_some_and(Staging::exists) {
            // The old one first: dropping it removes its directory, which may be the new one's path.
            *staging = None;
            *staging = Some(Staging::create(&self.disk, &self.root.join(TMP), &self.process)?);
        }
        staging.as_ref().map(Staging::path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes the name of a file survive a crash of the machine, with those of the directories above it.
    pub(super) fn sync_published(&self, target: &Path, made_directories: bool) -> io::Result<()> {
        let Some(parent) = target.parent().filter(|_| !planted::is(Bug::DirectoryNotSynced)) else { return Ok(()) };
        // As long as it is the same one, nobody has removed those above it. Its inode alone may be another's by now.
        let metadata = self.disk.metadata(parent)?;
        let (path, born) = (XxHash3_64::oneshot(parent.as_os_str().as_encoded_bytes()), metadata.created().ok());
        let synced = || self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let known = born.map(|born| (metadata.ino(), born));
        let is_synced = !made_directories && known.is_some() && synced().get(&path).copied() == known;
        for directory in parent.ancestors() {
            self.disk.sync_directory(directory)?;
            if is_synced || directory == self.root {
                break;
            }
        }
        if !is_synced {
            let identity = identity(&*self.disk, &self.root)?;
            let synced_root = || self.synced_root.lock().unwrap_or_else(PoisonError::into_inner);
            if *synced_root() != identity {
                sync_above(&*self.disk, &self.root)?;
                *synced_root() = identity;
            }
        }
        if let Some(known) = known {
            synced().insert(path, known);
        }
        Ok(())
    }

    /// Puts a file in its place where `goes`, which is asked last, says so; in one step, and on the disk before this returns.
    /// Whether it went.
    pub(super) fn publish_synced(
        &self,
        part: &Path,
        target: &Path,
        bytes: &[u8],
        goes: impl FnOnce() -> io::Result<bool>,
    ) -> io::Result<bool> {
        let disk = &*self.disk;
        let written = files::write_part(disk, part, bytes, Publish::Durable).and_then(|()| {
            if let Some(parent) = target.parent() {
                files::take_links_away(disk, &self.root, parent)?;
            }
            if !goes()? {
                return Ok(false);
            }
            let made = files::rename(disk, part, target)?;
            self.sync_published(target, made).map(|()| true)
        });
        if !matches!(written, Ok(true)) {
            let _ = files::remove(disk, part);
        }
        written
    }

    /// Takes a lock, making the directory of the locks again where somebody removed it.
    pub(super) fn locking<T>(&self, take: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match take() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.disk.make_directory(&self.root.join(LOCKS))?;
                take()
            }
            taken => taken,
        }
    }
}

pub(super) fn unavailable(what: &str, path: &Path, error: io::Error) -> Error {
    // A lock whose holder does not go on.
    if error.kind() == io::ErrorKind::TimedOut {
        return Error::new(ErrorKind::Busy, format!("cannot {what} {}: {error}", path.display()));
    }
    Error::with_source(ErrorKind::Unavailable, format!("cannot {what} {}", path.display()), error)
}

fn compute_stripe(id: &BlockId) -> u64 {
    id.entity.stable_hash() ^ id.fingerprint.low_bits()
}

fn map_generations(disk: &dyn Disk, root: &Path) -> Result<Generations> {
    let path = root.join(GENERATIONS);
    Generations::open(disk, &path).map_err(|error| unavailable("map", &path, error))
}
