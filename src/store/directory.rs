//! The cache directory as a whole.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::files::{self, FoundFile, Publish, make_private};
use super::generations::{Generation, Generations, Slots};
use super::layout::{BLOCKS, GENERATIONS, LOCKS, QUARANTINE, TMP, block_path, entity_directories};
use super::locks::{Locks, RebuildGuard, StripeGuard};
use super::root::check_root;
use super::staging::{Staging, sweep};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{BlockId, EntityKey, ViewName};
use crate::planted::{self, Bug};

/// An opened cache directory. Only its owner may read it; any number of processes may share it.
pub struct CacheDir {
    pub(super) root: PathBuf,
    pub(super) publish: Publish,
    pub(super) process: String,
    pub(super) locks: Locks,
    // Swapped when somebody deletes the file, so that this process joins the others again.
    pub(super) generations: ArcSwap<Generations>,
    staging: Mutex<Option<Staging>>,
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
        let root = std::path::absolute(root).map_err(|error| unavailable("find", root, error))?;
        check_root(&root)?;
        for below in [BLOCKS, TMP, LOCKS, QUARANTINE] {
            let path = root.join(below);
            make_private(&path).map_err(|error| unavailable("make the directory", &path, error))?;
        }
        let generations = map_generations(&root)?;
        Ok(Self {
            locks: Locks::new(&root.join(LOCKS)),
            root,
            publish,
            process: process.to_owned(),
            generations: ArcSwap::from_pointee(generations),
            staging: Mutex::default(),
        })
    }

    /// Whether there is a cache in `root`. Touches nothing.
    pub fn exists(root: &Path) -> bool {
        root.join(BLOCKS).is_dir()
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
        files::read(&path).map_err(|error| unavailable("read", &path, error))
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
    pub fn stat(&self, path: &Path) -> Option<FoundFile> {
        files::stat(&self.root, path)
    }

    /// Visits every file below `blocks/`, in no order.
    ///
    /// # Errors
    /// `Unavailable` where a directory cannot be read.
    pub fn files(&self, mut visit: impl FnMut(FoundFile)) -> Result<()> {
        let blocks = self.root.join(BLOCKS);
        files::list(&self.root, &blocks, &mut visit).map_err(|error| unavailable("list", &blocks, error))
    }

    /// Writes and removes a small file, to know whether blocks could be published.
    ///
    /// # Errors
    /// `Unavailable` where that fails.
    pub fn probe(&self) -> Result<()> {
        let failed = |error| unavailable("write in", &self.root, error);
        let part = self.part().map_err(failed)?;
        files::write_part(&part, b"probe", Publish::Fast).and_then(|()| files::remove(&part)).map(drop).map_err(failed)
    }

    /// How many files are in quarantine.
    ///
    /// # Errors
    /// `Unavailable` where the directory cannot be read.
    pub fn quarantined(&self) -> Result<u64> {
        let quarantine = self.root.join(QUARANTINE);
        let mut count = 0;
        files::list(&self.root, &quarantine, &mut |_| count += 1)
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
        sweep(&tmp).map_err(|error| unavailable("sweep", &tmp, error))?;
        self.rejoin()
    }

    /// Maps the table of generations again where somebody deleted it: until then this process sees
    /// no invalidation of the others, nor they one of this. Copies made before are old by that.
    pub(super) fn rejoin(&self) -> Result<()> {
        if !self.generations.load().is_current(&self.root.join(GENERATIONS)) {
            self.generations.store(map_generations(&self.root)?.into());
        }
        Ok(())
    }

    pub(super) fn part(&self) -> io::Result<PathBuf> {
        let mut staging = self.staging.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !staging.as_ref().is_some_and(Staging::exists) {
            // The old one first: dropping it removes its directory, which may be the new one's path.
            *staging = None;
            *staging = Some(Staging::create(&self.root.join(TMP), &self.process)?);
        }
        staging.as_ref().map(Staging::path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Takes a lock, making the directory of the locks again where somebody removed it.
    pub(super) fn locking<T>(&self, take: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match take() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_private(&self.root.join(LOCKS))?;
                take()
            }
            taken => taken,
        }
    }
}

pub(super) fn unavailable(what: &str, path: &Path, error: io::Error) -> Error {
    Error::with_source(ErrorKind::Unavailable, format!("cannot {what} {}", path.display()), error)
}

fn compute_stripe(id: &BlockId) -> u64 {
    id.entity.stable_hash() ^ id.fingerprint.low_bits()
}

fn map_generations(root: &Path) -> Result<Generations> {
    let path = root.join(GENERATIONS);
    Generations::open(&path).map_err(|error| unavailable("map", &path, error))
}
