//! A cache directory that several processes have open.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::files::{self, Disk, FoundFile, Publish};
use super::generations::{Generation, Generations, Slots};
use super::layout::{block_path, entity_directories};
use super::locks::{Locks, Stripe};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{BlockId, EntityKey, ViewName};

/// What the processes of a machine share: the disk, the table of generations and the locks.
pub struct Machine {
    generations: Arc<Generations>,
    stripe: Arc<Stripe>,
}

impl Machine {
    /// With an empty disk.
    pub fn new() -> Self {
        Disk::clear();
        Self { generations: Arc::default(), stripe: Arc::default() }
    }

    /// The directory as one process has it open.
    pub fn open(&self) -> CacheDir {
        CacheDir {
            root: PathBuf::from("/cache"),
            publish: Publish::Fast,
            locks: Locks(Arc::clone(&self.stripe)),
            generations: Mapped(Arc::clone(&self.generations)),
            parts: AtomicU64::new(0),
        }
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

/// An opened cache directory.
pub struct CacheDir {
    pub(super) root: PathBuf,
    pub(super) publish: Publish,
    pub(super) locks: Locks,
    pub(super) generations: Mapped,
    parts: AtomicU64,
}

pub(super) struct Mapped(Arc<Generations>);

impl Mapped {
    pub fn load(&self) -> &Generations {
        &self.0
    }
}

impl CacheDir {
    pub fn read(&self, id: &BlockId) -> Result<Option<Bytes>> {
        let path = self.root.join(block_path(id));
        files::read(&path).map_err(|error| unavailable("read", &path, error))
    }

    pub fn slots(&self, view: &ViewName, entity: &EntityKey) -> Slots {
        Slots::of(view, &entity_directories(entity).join("/"))
    }

    pub fn generation(&self, slots: Slots) -> Generation {
        self.generations.load().now(slots)
    }

    pub fn stat(&self, path: &Path) -> Option<FoundFile> {
        files::stat(&self.root, path)
    }

    pub(super) fn rejoin(&self) -> Result<()> {
        Ok(())
    }

    pub(super) fn part(&self) -> io::Result<PathBuf> {
        let number = self.parts.fetch_add(1, Ordering::Relaxed);
        Ok(self.root.join(format!("tmp/{:p}-{number}.part", self)))
    }

    pub(super) fn locking<T>(&self, take: impl Fn() -> io::Result<T>) -> io::Result<T> {
        take()
    }
}

pub(super) fn unavailable(what: &str, path: &Path, error: io::Error) -> Error {
    Error::with_source(ErrorKind::Unavailable, format!("cannot {what} {}", path.display()), error)
}
