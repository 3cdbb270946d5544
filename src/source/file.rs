//! A file, and whether it stayed the same.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where an open file has a name of its own.
const DESCRIPTORS: &str = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };

/// A file that holds rows. Two are equal where nothing was written in between.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// When it was written last, in nanoseconds since the epoch.
    pub modified_ns: i128,
    /// When it or what is known of it was changed last, which nobody can set back.
    pub changed_ns: i128,
    /// The number of its device.
    pub device: u64,
    /// Its number on the device: a file that was put in its place has another.
    pub inode: u64,
}

impl SourceFile {
    /// What is there now.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::new(path, &std::fs::metadata(path)?))
    }

    fn new(path: &Path, metadata: &Metadata) -> Self {
        Self {
            path: path.to_owned(),
            size: metadata.size(),
            modified_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
            changed_ns: i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec()),
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// A file held open.
///
/// DuckDB is given the name of the descriptor. So no character of the path means anything to it, and what it reads is
/// this file, even where another takes its place meanwhile.
pub(super) struct Opened {
    file: File,
    pub(super) was: SourceFile,
}

impl Opened {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let was = SourceFile::new(path, &file.metadata()?);
        Ok(Self { file, was })
    }

    /// Its name in this process for as long as it is open.
    pub(super) fn name(&self) -> String {
        format!("{DESCRIPTORS}/{}", self.file.as_raw_fd())
    }
}
