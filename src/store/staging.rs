//! Files that are being written: one directory per process, swept when its process is gone.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::{Disk, Open, is_absent};

const LOCK: &str = "lock";

/// This process's directory below `tmp/`.
pub struct Staging {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    // Locked as long as the process lives: that is how a sweeper knows.
    _lock: File,
    next: AtomicU64,
}

impl Staging {
    /// Makes a directory that no other process has.
    pub fn create(disk: &Arc<dyn Disk>, tmp: &Path, process: &str) -> io::Result<Self> {
        let mut attempt = 0u32;
        loop {
            let dir = tmp.join(format!("{process}-{attempt}"));
            attempt += 1;
            disk.make_directory(&dir)?;
            if !disk.metadata(&dir)?.is_dir() {
                // A link that somebody put there.
                continue;
            }
            match Self::claim(&**disk, &dir) {
                Ok(lock) => return Ok(Self { disk: Arc::clone(disk), dir, _lock: lock, next: AtomicU64::new(0) }),
                // A sweeper may have taken the directory away between making and locking it.
                Err(_) if attempt < 16 => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn claim(disk: &dyn Disk, dir: &Path) -> io::Result<File> {
        let path = dir.join(LOCK);
        let lock = disk.open(&path, Open::Shared)?;
        if !disk.try_lock(&lock, &path)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // A sweeper removed it in between, and somebody may have made another one.
        if lock.metadata()?.nlink() == 0 { Err(io::ErrorKind::NotFound.into()) } else { Ok(lock) }
    }

    /// Whether nobody has removed it.
    pub fn exists(&self) -> bool {
        self.disk.metadata(&self.dir).is_ok_and(|metadata| metadata.is_dir())
    }

    /// A path for a new file.
    pub fn path(&self) -> PathBuf {
        self.dir.join(format!("{}.part", self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Whatever remains is half-written. A failure leaves it to the next sweep.
        let _ = remove_all(&*self.disk, &self.dir);
    }
}

/// Removes the directories of processes that are gone; says how many.
pub fn sweep(disk: &dyn Disk, tmp: &Path) -> io::Result<u64> {
    let mut removed = 0;
    let names = match disk.list(tmp) {
        Err(error) if is_absent(&error) => return Ok(0),
        names => names?,
    };
    for name in names {
        let dir = tmp.join(name);
        let path = dir.join(LOCK);
        if !disk.metadata(&dir).is_ok_and(|metadata| metadata.is_dir()) {
            continue;
        }
        let Ok(lock) = disk.open(&path, Open::Shared) else { continue };
        if disk.try_lock(&lock, &path).is_ok_and(|taken| taken) && remove_all(disk, &dir).is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}

/// Removes a directory of files; one that is gone meanwhile is none of ours.
fn remove_all(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    for name in disk.list(dir)? {
        match disk.remove(&dir.join(name)) {
            Err(error) if !is_absent(&error) => return Err(error),
            _ => {}
        }
    }
    disk.remove_directory(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;

    fn disk() -> Arc<dyn Disk> {
        Arc::new(SystemDisk)
    }

    #[test]
    fn only_the_files_of_processes_that_are_gone_are_swept() {
        let tmp = tempfile::tempdir().unwrap();
        let living = Staging::create(&disk(), tmp.path(), "a").unwrap();
        std::fs::write(living.path(), b"half").unwrap();
        let gone = tmp.path().join("b-0");
        std::fs::create_dir(&gone).unwrap();
        std::fs::write(gone.join("0.part"), b"half").unwrap();
        assert_eq!(sweep(&SystemDisk, tmp.path()).unwrap(), 1);
        assert!(!gone.exists() && living.dir.join("0.part").exists());
        let dir = living.dir.clone();
        drop(living);
        assert!(!dir.exists());
    }

    #[test]
    fn two_stores_of_one_process_get_directories_of_their_own() {
        let tmp = tempfile::tempdir().unwrap();
        let (one, other) =
            (Staging::create(&disk(), tmp.path(), "a").unwrap(), Staging::create(&disk(), tmp.path(), "a").unwrap());
        assert_ne!(one.dir, other.dir);
    }
}
