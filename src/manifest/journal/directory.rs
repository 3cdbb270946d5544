//! Which journals there are, and whether their owners live.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::DIRECTORY;
use crate::disk::{Disk, Open, is_absent};

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
pub(in crate::manifest) fn list(disk: &dyn Disk, cache_dir: &Path) -> io::Result<Vec<Listed>> {
    let directory = cache_dir.join(DIRECTORY);
    let names = match disk.list(&directory) {
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        names => names?,
    };
    let mut found = Vec::new();
    for name in names {
        let Some(name) = name.to_str().filter(|name| name.ends_with(".jnl")).map(str::to_owned) else { continue };
        let path = directory.join(&name);
        match disk.metadata(&path) {
            Ok(metadata) if metadata.is_file() => found.push(Listed { name, path, size: metadata.len() }),
            Ok(_) => {}
            Err(error) if is_absent(&error) => {}
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
    pub(in crate::manifest) fn of(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let file = disk.open(path, Open::Read)?;
        Ok(if disk.try_lock(&file, path)? { Self::Dead(file) } else { Self::Alive })
    }
}
