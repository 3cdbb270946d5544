//! Which journals there are, and whether their owners live.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::DIRECTORY;

/// A journal that was found.
#[derive(Debug, Clone)]
pub(in crate::manifest) struct Listed {
    /// The file's name, by which offsets are kept.
    pub(in crate::manifest) name: String,
    /// The file.
    pub(in crate::manifest) path: PathBuf,
    /// Its size when it was listed.
    pub(in crate::manifest) size: u64,
}

/// The journals of a cache directory, in the order of their names. None where there is no directory yet.
pub(in crate::manifest) fn list(cache_dir: &Path) -> io::Result<Vec<Listed>> {
    let entries = match std::fs::read_dir(cache_dir.join(DIRECTORY)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().filter(|name| name.ends_with(".jnl")).map(str::to_owned) else {
            continue;
        };
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => found.push(Listed { name, path: entry.path(), size: metadata.len() }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Whether a journal's owner lives.
#[derive(Debug)]
pub(in crate::manifest) enum Claim {
    /// More may be appended at any time.
    Alive,
    /// Nothing will be appended any more. The lock is ours as long as the file is held.
    Dead(File),
}

impl Claim {
    /// Asks for the journal at `path`.
    pub(in crate::manifest) fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self::Dead(file)),
            Err(TryLockError::WouldBlock) => Ok(Self::Alive),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
