//! Files that are locked by `flock`, although others may remove or replace them.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Disk, Open, is_absent};

/// Between two tries: flock has no timeout, so this asks again and again.
const PAUSES: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(2));

/// Opens and locks the file that is at a path, whatever others remove or replace meanwhile. `TimedOut` where somebody has it
/// for longer than `patience`.
pub(crate) fn hold(disk: &dyn Disk, path: &Path, how: Open, patience: Duration) -> io::Result<File> {
    let mut held = None;
    wait(patience, PAUSES, || {
        // Opened each time, because the file that it was may be another one by now.
        let file = disk.open(path, how)?;
        held = (disk.try_lock(&file, path)? && is_at(disk, &file, path)?).then_some(file);
        Ok(held.is_some())
    })?;
    held.ok_or_else(|| {
        let held = match patience {
            Duration::ZERO => "is held by another process, for which somebody waited in vain a moment ago".to_owned(),
            patience => format!("was held by another process for {patience:?}"),
        };
        let what = format!("{} {held}: see whether that one was stopped or its disk hangs", path.display());
        io::Error::new(io::ErrorKind::TimedOut, what)
    })
}

/// Whether a file is still what others find at its path: it was not removed or replaced, nor its directory renamed.
pub(crate) fn is_at(disk: &dyn Disk, file: &File, path: &Path) -> io::Result<bool> {
    let place = |metadata: Metadata| (metadata.dev(), metadata.ino());
    match disk.metadata(path) {
        Err(error) if is_absent(&error) => Ok(false),
        found => Ok(place(found?) == place(file.metadata()?)),
    }
}

/// Tries until it succeeds, at most for `timeout`, with pauses from the first to the second; whether it did.
pub(crate) fn wait(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;

    /// A file system where somebody replaces a file between the first time that it is opened and locked.
    #[derive(Debug, Default)]
    struct Replacing(std::sync::atomic::AtomicBool);

    impl Disk for Replacing {
        fn try_lock(&self, file: &File, path: &Path) -> io::Result<bool> {
            if !self.0.swap(true, std::sync::atomic::Ordering::Relaxed) {
                std::fs::write(path.with_extension("new"), b"new")?;
                std::fs::rename(path.with_extension("new"), path)?;
            }
            SystemDisk.try_lock(file, path)
        }
        fn open(&self, path: &Path, how: Open) -> io::Result<File> {
            SystemDisk.open(path, how)
        }
        fn metadata(&self, path: &Path) -> io::Result<Metadata> {
            SystemDisk.metadata(path)
        }
        fn read_at(&self, _: &File, _: &Path, _: &mut [u8], _: u64) -> io::Result<usize> {
            unreachable!()
        }
        fn write(&self, _: &File, _: &Path, _: &[u8]) -> io::Result<usize> {
            unreachable!()
        }
        fn truncate(&self, _: &File, _: &Path, _: u64) -> io::Result<()> {
            unreachable!()
        }
        fn sync(&self, _: &File, _: &Path) -> io::Result<()> {
            unreachable!()
        }
        fn list(&self, _: &Path) -> io::Result<Vec<std::ffi::OsString>> {
            unreachable!()
        }
        fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
            unreachable!()
        }
        fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
            unreachable!()
        }
        fn remove(&self, _: &Path) -> io::Result<()> {
            unreachable!()
        }
        fn make_directory(&self, _: &Path) -> io::Result<()> {
            unreachable!()
        }
        fn remove_directory(&self, _: &Path) -> io::Result<()> {
            unreachable!()
        }
        fn sync_directory(&self, _: &Path) -> io::Result<()> {
            unreachable!()
        }
    }

    #[test]
    fn a_file_that_is_replaced_before_it_is_locked_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows");
        std::fs::write(&path, b"old").unwrap();
        let held = hold(&Replacing::default(), &path, Open::Read, Duration::from_secs(5)).unwrap();
        assert_eq!(io::read_to_string(held).unwrap(), "new");
    }
}
