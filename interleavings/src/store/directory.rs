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
#[derive(Default)]
pub struct Machine {
    disk: Arc<Disk>,
    generations: Arc<Generations>,
    stripe: Arc<Stripe>,
}

impl Machine {
    /// Somebody removes the file of the lock.
    pub fn remove_lock(&self) {
        self.stripe.remove_file();
    }

    /// The directory as one process has it open.
    pub fn open(&self) -> CacheDir {
        CacheDir {
            disk: Arc::clone(&self.disk),
            root: PathBuf::from("/cache"),
            publish: Publish::Fast,
            locks: Locks(Arc::clone(&self.stripe)),
            generations: Mapped(Arc::clone(&self.generations)),
            parts: AtomicU64::new(0),
        }
    }
}

/// An opened cache directory.
pub struct CacheDir {
    pub(super) disk: Arc<Disk>,
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
        files::read(&self.disk, &path).map_err(|error| unavailable("read", &path, error))
    }

    pub fn slots(&self, view: &ViewName, entity: &EntityKey) -> Slots {
        Slots::of(view, &entity_directories(entity).join("/"))
    }

    pub fn generation(&self, slots: Slots) -> Generation {
        self.generations.load().now(slots)
    }

    pub fn stat(&self, path: &Path) -> Result<Option<FoundFile>> {
        Ok(files::stat(&self.disk, &self.root, path))
    }

    pub(super) fn rejoin(&self) -> Result<()> {
        Ok(())
    }

    pub(super) fn rename(&self, part: &Path, target: &Path) -> io::Result<bool> {
        files::rename(&self.disk, part, target)
    }

    pub(super) fn sync_published(&self, _: &Path, _: bool) -> io::Result<()> {
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
