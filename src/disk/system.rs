//! The file system of the operating system.

#![expect(clippy::disallowed_methods, reason = "this is what all others ask")]

use std::ffi::OsString;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::{Disk, Open};
use crate::planted::{self, Bug};

/// The file system of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

/// Asks again where a signal came in between.
fn uninterrupted<T>(mut ask: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match ask() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

impl Disk for SystemDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<File> {
        let mut options = OpenOptions::new();
        match how {
            Open::Read => options.read(true),
            Open::Shared => options.read(true).write(true).create(true).truncate(false),
            Open::New => options.append(true).create_new(true),
        };
        // A link planted in the cache must not lead out of it, and nobody waits for the other end of a planted pipe.
        let no_follow = if planted::is(Bug::LinksFollowed) { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = no_follow | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = options.mode(0o600).custom_flags(flags.bits().cast_signed()).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other(format!("{} is no regular file: remove it", path.display())));
        }
        // Of two locks that are one file the second would wait for the first for ever; and what is written into the table
        // of generations would be written into somebody's file.
        if how == Open::Shared && metadata.nlink() > 1 {
            let what = format!("{} has a second name (a hard link): remove it", path.display());
            return Err(io::Error::other(what));
        }
        Ok(file)
    }

    fn read_at(&self, file: &File, _: &Path, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        uninterrupted(|| file.read_at(buffer, offset))
    }

    fn write(&self, mut file: &File, _: &Path, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| file.write(bytes))
    }

    fn truncate(&self, file: &File, _: &Path, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn sync(&self, file: &File, _: &Path) -> io::Result<()> {
        file.sync_all()
    }

    fn try_lock(&self, file: &File, _: &Path) -> io::Result<bool> {
        match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        std::fs::symlink_metadata(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        // Nobody waits for the other end of a pipe that lies in its place.
        let flags = (OFlags::DIRECTORY | OFlags::CLOEXEC).bits().cast_signed();
        OpenOptions::new().read(true).custom_flags(flags).open(path)?.sync_all()
    }
}
