//! Reading, publishing, removing and listing files.

#![expect(clippy::disallowed_methods, reason = "this is where files are published and removed")]

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::OFlags;

use crate::model::Timestamp;
use crate::planted::{self, Bug};

/// Larger files are not blocks: reading one would only exhaust memory.
const LARGEST: u64 = 1 << 30;

/// A file below `blocks/`.
#[derive(Debug, Clone, PartialEq, Eq)]
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

fn no_follow() -> i32 {
    // A link planted in the cache must not lead out of it.
    let no_follow = if planted::is(Bug::LinksFollowed) { OFlags::empty() } else { OFlags::NOFOLLOW };
    (no_follow | OFlags::CLOEXEC).bits().cast_signed()
}

/// Opens a file for reading and writing that only its owner may read, making it where there is none.
pub fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(no_follow())
        .open(path)
}

/// Reads a whole file; `None` where there is none.
pub fn read(path: &Path) -> io::Result<Option<Bytes>> {
    let opened = OpenOptions::new().read(true).custom_flags(no_follow()).open(path);
    let mut file = match opened {
        Err(error) if is_absent(&error) => return Ok(None),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    if length > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{length} bytes are too many for a block")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes.into()))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Writes a new file that only its owner may read.
pub fn write_part(part: &Path, bytes: &[u8], how: Publish) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(no_follow()).open(part)?;
    file.write_all(bytes)?;
    match how {
        Publish::Fast => Ok(()),
        Publish::Durable if planted::is(Bug::FileNotSynced) => Ok(()),
        // Before the rename: a rename that survives a power cut without its data is a file of zeros.
        Publish::Durable => file.sync_all(),
    }
}

/// Renames `part` to `target`, making the directories on the way: whoever looks sees the old file, none or the new one.
///
/// Returns whether directories had to be made.
pub fn rename(part: &Path, target: &Path) -> io::Result<bool> {
    if planted::is(Bug::WrittenInPlace) && target.exists() {
        return std::fs::write(target, std::fs::read(part)?).and_then(|()| std::fs::remove_file(part)).map(|()| false);
    }
    match std::fs::rename(part, target) {
        Err(error) if is_absent(&error) => {
            if let Some(parent) = target.parent() {
                make_private(parent)?;
            }
            std::fs::rename(part, target)?;
            Ok(true)
        }
        renamed => renamed.map(|()| false),
    }
}

/// Makes a directory and its parents, for their owner alone.
pub fn make_private(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Makes a rename in `directory` survive a crash of the machine, and the directories up to `root` where they are new.
pub fn sync_published(directory: &Path, root: &Path, made_directories: bool) -> io::Result<()> {
    if planted::is(Bug::DirectoryNotSynced) {
        return Ok(());
    }
    for directory in directory.ancestors() {
        sync_directory(directory)?;
        if !made_directories || directory == root {
            break;
        }
    }
    Ok(())
}

/// Makes a rename or removal in `directory` survive a crash of the machine.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Removes a file; `false` where there was none.
pub fn remove(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Err(error) if is_absent(&error) => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// What lies at `path` below `root`; `None` where there is no regular file.
pub fn stat(root: &Path, path: &Path) -> Option<FoundFile> {
    let metadata = std::fs::symlink_metadata(root.join(path)).ok()?;
    let modified = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
    let found = FoundFile { path: path.to_owned(), bytes: metadata.len(), modified: Timestamp::from_ns(modified) };
    metadata.is_file().then_some(found)
}

/// Every regular file below `directory`, in no order; what vanishes meanwhile is skipped.
pub fn list(root: &Path, directory: &Path, visit: &mut dyn FnMut(FoundFile)) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if is_absent(&error) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let Ok(below) = path.strip_prefix(root) else { continue };
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => list(root, &path, visit)?,
            Ok(_) => stat(root, below).into_iter().for_each(&mut *visit),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes `directory` and its parents below `root` as long as they are empty.
pub fn prune_empty(directory: &Path, root: &Path) {
    for directory in directory.ancestors().take_while(|directory| *directory != root && directory.starts_with(root)) {
        if std::fs::remove_dir(directory).is_err() {
            break;
        }
    }
}
