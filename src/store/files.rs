//! Reading, publishing, removing and listing files.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::disk::{Disk, Open, is_absent};
use crate::model::Timestamp;
use crate::planted::{self, Bug};

/// Larger files are not blocks: reading one would only exhaust memory.
const LARGEST: u64 = 1 << 30;

/// A file below `blocks/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FoundFile {
    /// Its path below the cache directory.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was put there.
    pub modified: Timestamp,
}

/// How to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// Without fsync.
    Fast,
    /// File and directories are fsynced.
    Durable,
}

/// Reads a whole file; `None` where there is none.
pub fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Bytes>> {
    let file = match disk.open(path, Open::Read) {
        Err(error) if is_absent(&error) => return Ok(None),
        opened => opened?,
    };
    read_all(disk, &file, path).map(Some)
}

/// Reads an opened file from its beginning.
pub fn read_all(disk: &dyn Disk, file: &File, path: &Path) -> io::Result<Bytes> {
    let length = file.metadata()?.len();
    if length > LARGEST {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("{length} bytes are more than the {LARGEST} that are read"),
        ));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match disk.read_at(file, path, rest, filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes.into())
}

/// Writes a new file that only its owner may read.
pub fn write_part(disk: &dyn Disk, part: &Path, bytes: &[u8], how: Publish) -> io::Result<()> {
    let file = disk.open(part, Open::New)?;
    write_all(disk, &file, part, bytes)?;
    match how {
        Publish::Fast => Ok(()),
        Publish::Durable if planted::is(Bug::FileNotSynced) => Ok(()),
        // Before the rename: a rename that survives a power cut without its data is a file of zeros.
        Publish::Durable => disk.sync(&file, part),
    }
}

/// Writes all of `bytes` at the end of a file.
pub fn write_all(disk: &dyn Disk, file: &File, path: &Path, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match disk.write(file, path, bytes)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => bytes = bytes.get(count..).unwrap_or_default(),
        }
    }
    Ok(())
}

/// Renames `part` to `target`, making the directories on the way: whoever looks sees the old file, none or the new one.
///
/// Returns whether directories had to be made.
pub fn rename(disk: &dyn Disk, part: &Path, target: &Path) -> io::Result<bool> {
    if planted::is(Bug::WrittenInPlace) && disk.metadata(target).is_ok() {
        return planted::write_in_place(part, target).map(|()| false);
    }
    match disk.rename(part, target) {
        Err(error) if is_absent(&error) => {
            if let Some(parent) = target.parent() {
                disk.make_directory(parent)?;
            }
            disk.rename(part, target)?;
            Ok(true)
        }
        renamed => renamed.map(|()| false),
    }
}

/// Removes a file; `false` where there was none.
pub fn remove(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    match disk.remove(path) {
        Err(error) if is_absent(&error) => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// What lies at `path` below `root`; `None` where there is no regular file.
pub fn stat(disk: &dyn Disk, root: &Path, path: &Path) -> io::Result<Option<FoundFile>> {
    match disk.metadata(&root.join(path)) {
        Err(error) if is_absent(&error) => Ok(None),
        metadata => metadata.map(|metadata| found(path, &metadata)),
    }
}

fn found(path: &Path, metadata: &Metadata) -> Option<FoundFile> {
    let modified = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
    let found = FoundFile { path: path.to_owned(), bytes: metadata.len(), modified: Timestamp::from_ns(modified) };
    metadata.is_file().then_some(found)
}

/// The first link among the directories from below `root` down to `directory`. Larder makes none and follows none: it
/// would lead out of the cache.
pub fn link_on_the_way(disk: &dyn Disk, root: &Path, directory: &Path) -> Option<PathBuf> {
    let mut at = root.to_owned();
    for name in directory.strip_prefix(root).ok()?.components() {
        at.push(name);
        match disk.metadata(&at) {
            Ok(metadata) if metadata.is_symlink() => return Some(at),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    None
}

/// Removes the links on the way to `directory`, and nothing of what they lead to.
pub fn take_links_away(disk: &dyn Disk, root: &Path, directory: &Path) -> io::Result<()> {
    while let Some(link) = link_on_the_way(disk, root, directory) {
        remove(disk, &link)?;
    }
    Ok(())
}

/// The same with the links in `directory` and all below it.
pub fn take_links_away_below(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
    for path in names(disk, directory)?.into_iter().map(|name| directory.join(name)) {
        match disk.metadata(&path) {
            Ok(metadata) if metadata.is_dir() => take_links_away_below(disk, &path)?,
            Ok(metadata) if metadata.is_symlink() => drop(remove(disk, &path)?),
            Err(error) if !is_absent(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The names in a directory; none where it is gone.
pub fn names(disk: &dyn Disk, directory: &Path) -> io::Result<Vec<OsString>> {
    disk.list(directory).or_else(|error| if is_absent(&error) { Ok(Vec::new()) } else { Err(error) })
}

/// Every regular file below `directory`, in no order; what vanishes meanwhile is skipped, and no link is followed.
pub fn list(disk: &dyn Disk, root: &Path, directory: &Path, visit: &mut dyn FnMut(FoundFile)) -> io::Result<()> {
    if link_on_the_way(disk, root, directory).is_some() {
        return Ok(());
    }
    walk(disk, directory, &mut |path, metadata| {
        let below = path.strip_prefix(root).ok();
        below.and_then(|below| found(below, metadata)).into_iter().for_each(&mut *visit);
    })
}

/// The same with whatever is no directory.
pub fn walk(disk: &dyn Disk, directory: &Path, visit: &mut dyn FnMut(&Path, &Metadata)) -> io::Result<()> {
    for path in names(disk, directory)?.into_iter().map(|name| directory.join(name)) {
        match disk.metadata(&path) {
            Ok(metadata) if metadata.is_dir() => walk(disk, &path, visit)?,
            Ok(metadata) => visit(&path, &metadata),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes what was renamed or removed in `directory` survive a crash of the machine; nothing where it is gone.
pub fn sync_present(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
    disk.sync_directory(directory).or_else(|error| if is_absent(&error) { Ok(()) } else { Err(error) })
}

/// The directories in a directory; none where it is gone.
pub fn directories(disk: &dyn Disk, directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in names(disk, directory)?.into_iter().map(|name| directory.join(name)) {
        match disk.metadata(&path) {
            Ok(metadata) if metadata.is_dir() => found.push(path),
            Err(error) if !is_absent(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(found)
}

/// The same as [`sync_present`] of all below a directory, and of itself after that.
pub fn sync_tree(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
    directories(disk, directory)?.iter().try_for_each(|directory| sync_tree(disk, directory))?;
    sync_present(disk, directory)
}

/// Removes `directory` and its parents below `root` as long as they are empty.
pub fn prune_empty(disk: &dyn Disk, directory: &Path, root: &Path) {
    for directory in directory.ancestors().take_while(|directory| *directory != root && directory.starts_with(root)) {
        if disk.remove_directory(directory).is_err() {
            break;
        }
    }
}
