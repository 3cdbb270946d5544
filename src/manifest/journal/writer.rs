//! The owner's side of a journal.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{DIRECTORY, frame};
use crate::clock::{Clock, SystemClock};
use crate::disk::{self, Disk, SystemDisk};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::record::Record;

/// How often a new name is tried where a cleaner was quicker to remove the new, still unlocked file.
const ATTEMPTS: usize = 8;

/// From this size on a journal is left to be folded and removed, and a new one begun: a service may run for months.
const LONG: u64 = 16 << 20;

/// The journal of one open store. Any number of threads may append to it.
///
/// Dropping it releases the lock; whoever folds next removes the file once everything in it is in the
/// manifest.
#[derive(Debug)]
pub struct Journal {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    /// Where the last whole append ended; `None` where a failure left that unknown.
    length: Option<u64>,
    buffer: Vec<u8>,
}

impl Journal {
    /// Begins a new journal in the cache directory, which must exist, and locks it.
    ///
    /// # Errors
    /// `Unavailable` where the directory cannot be written.
    pub fn create(cache_dir: &Path) -> Result<Self> {
        Self::create_on(Arc::new(SystemDisk), cache_dir)
    }

    /// The same on a file system of one's own.
    ///
    /// # Errors
    /// Those of [`create`](Self::create).
    pub fn create_on(disk: Arc<dyn Disk>, cache_dir: &Path) -> Result<Self> {
        let directory = cache_dir.join(DIRECTORY);
        let open = Open::create(&*disk, &directory)?;
        Ok(Self { disk, directory, open: Mutex::new(open) })
    }

    /// Appends the records in one write: a folder reads all of them or none.
    ///
    /// They survive the death of the process at once, and that of the machine after [`sync`](Self::sync).
    ///
    /// # Errors
    /// `Unavailable` where they could not be written. Nothing of them is in the journal then, and
    /// later appends are not harmed.
    pub fn append(&self, records: &[Record]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_unlinked() {
            // Somebody removed the directory under us. What is written into a nameless file nobody folds.
            tracing::warn!(target: "larder::manifest", journal = %open.path.display(), "journal was deleted; beginning a new one");
            *open = Open::create(&*self.disk, &self.directory)?;
        } else if open.length.is_some_and(|length| length >= LONG) {
            // Where no new one can be made, the long one goes on. Dropping it releases its lock, and
            // a journal without an owner is removed once it is folded.
            if let Ok(next) = Open::create(&*self.disk, &self.directory) {
                *open = next;
            }
        }
        open.append(&*self.disk, records)
    }

    /// Forces what was appended to the disk.
    ///
    /// # Errors
    /// `Unavailable` where the disk refuses.
    pub fn sync(&self) -> Result<()> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        self.disk.sync(&open.file, &open.path).map_err(|error| unavailable("sync", &open.path, error))
    }

    /// The file. It changes if somebody deletes it.
    pub fn path(&self) -> PathBuf {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).path.clone()
    }
}

impl Open {
    fn create(disk: &dyn Disk, directory: &Path) -> Result<Self> {
        disk.make_directory(directory).map_err(|error| unavailable("create", directory, error))?;
        for _ in 0..ATTEMPTS {
            let path = directory.join(unique_name());
            let file = disk.open(&path, disk::Open::New).map_err(|error| unavailable("create", &path, error))?;
            // A folder may be looking whether this file still has an owner, and may be stopped while it does.
            if !disk.try_lock(&file, &path).map_err(|error| unavailable("lock", &path, error))? {
                continue;
            }
            let open = Self { path, file, length: Some(0), buffer: Vec::new() };
            // Between creation and lock the file looked like that of a dead owner, and may be gone.
            if !open.is_unlinked() {
                return Ok(open);
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("journal directory {}: every new file disappears: see who deletes there", directory.display()),
        ))
    }

    fn is_unlinked(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    fn append(&mut self, disk: &dyn Disk, records: &[Record]) -> Result<()> {
        self.buffer.clear();
        frame::encode(records, &mut self.buffer)?;
        let before = match self.length {
            Some(length) => length,
            None => self.file.metadata().map_err(|error| unavailable("measure", &self.path, error))?.len(),
        };
        let written = disk.write(&self.file, &self.path, &self.buffer);
        self.settle(disk, before, written)
    }

    /// Keeps what a write left behind only if it is whole.
    fn settle(&mut self, disk: &dyn Disk, before: u64, written: std::io::Result<usize>) -> Result<()> {
        let wanted = self.buffer.len();
        let failed = match written {
            Ok(count) if count == wanted => {
                self.length = Some(before.saturating_add(wanted as u64));
                return Ok(());
            }
            Ok(count) => std::io::Error::other(format!("only {count} of {wanted} bytes were written")),
            Err(error) => error,
        };
        // No folder has read beyond `before`: a cut frame is no frame. Where even cutting it off
        // fails, readers skip it.
        self.length = disk.truncate(&self.file, &self.path, before).is_ok().then_some(before);
        Err(unavailable("write", &self.path, failed))
    }
}

/// A name that no journal had before: offsets are kept by name, so none may ever come back.
fn unique_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{}-{:x}-{count}.jnl", std::process::id(), SystemClock.now_ns())
}

fn unavailable(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::with_source(
        ErrorKind::Unavailable,
        format!("cannot {what} {}: check the disk and the owner of the cache directory", path.display()),
        error,
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use std::io::Write;

    use super::*;
    use crate::manifest::journal::{Claim, list};
    use crate::manifest::testing::{read_all, used};

    #[test]
    fn appends_are_read_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::create(dir.path()).unwrap();
        journal.append(&[used(1), used(2)]).unwrap();
        journal.append(&[]).unwrap();
        journal.append(&[used(3)]).unwrap();
        journal.sync().unwrap();
        assert_eq!(read_all(&journal.path()).0, [used(1), used(2), used(3)]);
    }

    #[test]
    fn files_are_for_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::create(dir.path()).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&journal.path()), 0o600);
        assert_eq!(mode(&dir.path().join(DIRECTORY)), 0o700);
    }

    #[test]
    fn a_missing_cache_directory_that_cannot_be_made_is_unavailable() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let error = Journal::create(&file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("file/journal"), "{error}");
    }

    #[test]
    fn a_failed_append_harms_no_later_one() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::create(dir.path()).unwrap();
        journal.append(&[used(1)]).unwrap();
        {
            // What a short write leaves if even cutting it off failed.
            let mut open = journal.open.lock().unwrap();
            open.file.write_all(b"\xffLJ1\x40\0\0\0torn").unwrap();
            open.length = None;
        }
        journal.append(&[used(2)]).unwrap();
        let (records, scanned) = read_all(&journal.path());
        assert_eq!(records, [used(1), used(2)]);
        assert_eq!(scanned.damaged, 1);
    }

    #[test]
    fn a_short_write_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::create(dir.path()).unwrap();
        journal.append(&[used(1)]).unwrap();
        let whole = std::fs::read(journal.path()).unwrap();
        {
            let mut open = journal.open.lock().unwrap();
            let half = whole.len() / 2;
            open.file.write_all(&whole[..half]).unwrap();
            let error = open.settle(&SystemDisk, whole.len() as u64, Ok(half)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
        }
        assert_eq!(std::fs::read(journal.path()).unwrap(), whole);
        journal.append(&[used(2)]).unwrap();
        let (records, scanned) = read_all(&journal.path());
        assert_eq!((records, scanned.damaged), (vec![used(1), used(2)], 0));
    }

    #[test]
    fn a_long_journal_is_left_and_a_new_one_begun() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::create(dir.path()).unwrap();
        let first = journal.path();
        let many: Vec<_> = (0..20_000).map(used).collect();
        while std::fs::metadata(&first).unwrap().len() < LONG {
            journal.append(&many).unwrap();
            assert_eq!(journal.path(), first);
        }
        journal.append(&[used(1)]).unwrap();
        assert_ne!(journal.path(), first);
        let left = File::open(&first).unwrap();
        assert!(left.try_lock().is_ok(), "whoever folds it may remove it");
    }

    #[test]
    fn a_deleted_journal_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::create(dir.path()).unwrap();
        journal.append(&[used(1)]).unwrap();
        std::fs::remove_dir_all(dir.path().join(DIRECTORY)).unwrap();
        journal.append(&[used(2)]).unwrap();
        assert_eq!(read_all(&journal.path()).0, [used(2)]);
    }

    #[test]
    fn the_owner_is_alive_until_it_drops_the_journal() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::create(dir.path()).unwrap();
        let listed = list(&SystemDisk, dir.path()).unwrap();
        assert!(matches!(Claim::of(&SystemDisk, &listed[0].path).unwrap(), Claim::Alive));
        drop(journal);
        assert!(matches!(Claim::of(&SystemDisk, &listed[0].path).unwrap(), Claim::Dead(_)));
    }
}
