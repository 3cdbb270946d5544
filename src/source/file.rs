//! A file, and whether it stayed the same.

use std::path::PathBuf;

/// A file that holds rows. Two are equal where nothing was written in between.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// When it was written last, in nanoseconds since the epoch.
    pub modified_ns: i128,
    /// The number of its device.
    pub device: u64,
    /// Its number on the device: a file that was put in its place has another.
    pub inode: u64,
}
