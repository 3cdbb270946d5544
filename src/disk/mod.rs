//! What Larder asks of a file system.
//!
//! Blocks, pushed rows, journals, applied definitions and locks of a cache directory go through a [`Disk`]. What DuckDB does
//! with its own file does not, nor does the shared table of generations once it is mapped.

mod held;
mod system;

use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

pub(crate) use held::{hold, is_at, wait};
pub use system::SystemDisk;

/// How a file is opened. None of them follows a link in its last place, nor opens what is no regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// To be read.
    Read,
    /// To be read, written and locked by many; made for its owner alone where there is none, and refused where it has a
    /// second name.
    Shared,
    /// To be written at its end; made for its owner alone, and `AlreadyExists` where there is one.
    New,
}

/// A file system, as far as Larder needs one. Any number of threads use it at once.
///
/// Files are those of the operating system, so what implements this wraps [`SystemDisk`]: to count, to trace, to delay, to
/// fail on purpose.
///
/// - A call does all that it says or returns an error; only [`write`](Self::write) may do less, and says so.
/// - [`rename`](Self::rename), [`link`](Self::link) and [`remove`](Self::remove) are atomic: whoever looks sees the state
///   before or the one after.
/// - What was written survives the death of the process. It survives that of the machine once the file is
///   [synced](Self::sync), and its name once the directory [is](Self::sync_directory).
/// - `path` is where `file` was opened, for those who want to know: the file may have another name by now, or none.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Opens a file.
    ///
    /// # Errors
    /// `NotFound` where there is none and none is made; those of the operating system.
    fn open(&self, path: &Path, how: Open) -> io::Result<File>;

    /// Reads into `buffer` what stands from `offset` on; how many bytes, 0 at the end.
    ///
    /// # Errors
    /// Those of the operating system.
    fn read_at(&self, file: &File, path: &Path, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at the end of a file that was opened as [new](Open::New), in one go; how many bytes were written.
    ///
    /// # Errors
    /// Those of the operating system: nothing was written then.
    fn write(&self, file: &File, path: &Path, bytes: &[u8]) -> io::Result<usize>;

    /// Shortens a file.
    ///
    /// # Errors
    /// Those of the operating system.
    fn truncate(&self, file: &File, path: &Path, length: u64) -> io::Result<()>;

    /// Makes what was written survive the death of the machine.
    ///
    /// # Errors
    /// Those of the operating system: how much is on the disk is unknown then.
    fn sync(&self, file: &File, path: &Path) -> io::Result<()>;

    /// Locks a file against everybody who opened it for himself, in this process as well, until it is closed. Does not
    /// wait; `false` where somebody has it.
    ///
    /// # Errors
    /// Those of the operating system.
    fn try_lock(&self, file: &File, path: &Path) -> io::Result<bool>;

    /// What lies at a path; a link itself, not what it leads to.
    ///
    /// # Errors
    /// `NotFound` where there is nothing; those of the operating system.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;

    /// The names in a directory, in no order.
    ///
    /// # Errors
    /// `NotFound` where there is no directory; those of the operating system.
    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>>;

    /// Gives a file another name, in place of what had it.
    ///
    /// # Errors
    /// `NotFound` where there is no such file or no such directory; those of the operating system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file one more name.
    ///
    /// # Errors
    /// `AlreadyExists` where something has it; those of the operating system.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; those who have it open keep it.
    ///
    /// # Errors
    /// `NotFound` where there is none; those of the operating system.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory for its owner alone, with those above it; nothing where it is there.
    ///
    /// # Errors
    /// Those of the operating system.
    fn make_directory(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// Those of the operating system, where it is not empty.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory survive the death of the machine, and that others are gone.
    ///
    /// # Errors
    /// Those of the operating system.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
}

/// Whether an error says that there is nothing at a path.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
