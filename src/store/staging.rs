//! Files that are being written: one directory per process, swept when its process is gone.

#![expect(clippy::disallowed_methods, reason = "this is where directories are removed")]

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::files::open_private;

const LOCK: &str = "lock";

/// This process's directory below `tmp/`.
pub struct Staging {
    dir: PathBuf,
    // Locked as long as the process lives: that is how a sweeper knows.
    _lock: File,
    next: AtomicU64,
}

impl Staging {
    /// Makes a directory that no other process has.
    pub fn create(tmp: &Path, process: &str) -> io::Result<Self> {
        let mut attempt = 0u32;
        loop {
            let dir = tmp.join(format!("{process}-{attempt}"));
            attempt += 1;
            DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
            match Self::claim(&dir) {
                Ok(lock) => return Ok(Self { dir, _lock: lock, next: AtomicU64::new(0) }),
                // A sweeper may have taken the directory away between making and locking it.
                Err(_) if attempt < 16 => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn claim(dir: &Path) -> io::Result<File> {
        let path = dir.join(LOCK);
        let lock = open_private(&path)?;
        match lock.try_lock() {
            Ok(()) if path.exists() => Ok(lock),
            Ok(()) => Err(io::ErrorKind::NotFound.into()),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether nobody has removed it.
    pub fn exists(&self) -> bool {
        self.dir.is_dir()
    }

    /// A path for a new file.
    pub fn path(&self) -> PathBuf {
        self.dir.join(format!("{}.part", self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Whatever remains is half-written. A failure leaves it to the next sweep.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Removes the directories of processes that are gone; says how many.
pub fn sweep(tmp: &Path) -> io::Result<u64> {
    let mut removed = 0;
    let entries = match std::fs::read_dir(tmp) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    for entry in entries {
        let dir = entry?.path();
        let Ok(lock) = open_private(&dir.join(LOCK)) else { continue };
        if lock.try_lock().is_ok() && std::fs::remove_dir_all(&dir).is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_files_of_processes_that_are_gone_are_swept() {
        let tmp = tempfile::tempdir().unwrap();
        let living = Staging::create(tmp.path(), "a").unwrap();
        std::fs::write(living.path(), b"half").unwrap();
        let gone = tmp.path().join("b-0");
        std::fs::create_dir(&gone).unwrap();
        std::fs::write(gone.join("0.part"), b"half").unwrap();
        assert_eq!(sweep(tmp.path()).unwrap(), 1);
        assert!(!gone.exists() && living.dir.join("0.part").exists());
        let dir = living.dir.clone();
        drop(living);
        assert!(!dir.exists());
    }

    #[test]
    fn two_stores_of_one_process_get_directories_of_their_own() {
        let tmp = tempfile::tempdir().unwrap();
        let (one, other) = (Staging::create(tmp.path(), "a").unwrap(), Staging::create(tmp.path(), "a").unwrap());
        assert_ne!(one.dir, other.dir);
    }
}
