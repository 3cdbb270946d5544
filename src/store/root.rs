//! Whether a directory may be a cache.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

use super::directory::unavailable;
use super::layout::{BLOCKS, GENERATIONS, LOCKS, PUSHED, QUARANTINE, TMP};
use crate::disk::{Disk, is_absent};
use crate::error::{Error, ErrorKind, Result};

const MANIFEST: &str = "manifest.";
/// The bit of a directory's mode (the sticky one, which says nothing where only the owner may write) that is set as long
/// as it was not searched for what others left in it.
const UNSEARCHED: u32 = 0o1000;

/// Makes the directory where there is none, and only its owner may use it.
pub(super) fn check_root(disk: &dyn Disk, root: &Path) -> Result<()> {
    let metadata = match std::fs::metadata(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = disk.make_directory(root).and_then(|()| sync_above(disk, root));
            return made.map_err(|error| unavailable("make the cache directory", root, error));
        }
        metadata => metadata.map_err(|error| unavailable("look at the cache directory", root, error))?,
    };
    let wrong = |kind, what: String| Err(Error::new(kind, format!("cache directory {} {what}", root.display())));
    if !metadata.is_dir() {
        return wrong(ErrorKind::Unavailable, "is a file: give a directory".to_owned());
    }
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != user {
        return wrong(
            ErrorKind::Unavailable,
            format!(
                "belongs to user {owner}, this process runs as user {user}: run as its owner or give another directory"
            ),
        );
    }
    if !root.join(BLOCKS).is_dir() {
        let stranger = disk
            .list(root)
            .map_err(|error| unavailable("list the cache directory", root, error))?
            .into_iter()
            // Another process may be making the cache at this moment.
            .find(|name| !is_ours(&name.to_string_lossy()));
        if let Some(name) = stranger {
            let name = name.to_string_lossy().into_owned();
            return wrong(
                ErrorKind::Invalid,
                format!("holds other things, such as {name}: give a new or empty directory"),
            );
        }
        // Whoever made it may have died before it was on the disk, or could not sync it.
        sync_above(disk, root).map_err(|error| unavailable("make the cache directory", root, error))?;
    }
    let set_mode = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(root, mode).map_err(|error| unavailable("make private", root, error))
    };
    // Where others could write, they may have left something deep inside.
    let deep = metadata.mode() & (0o022 | UNSEARCHED) != 0;
    if metadata.mode() & 0o077 != 0 {
        // Nobody else can add to it from here on, and whoever opens it next does not take it for clean.
        set_mode(if deep { 0o700 | UNSEARCHED } else { 0o700 })?;
    }
    check_pieces(disk, root, user, deep)?;
    if deep {
        // Where the disk is read-only by now, the next one searches it again.
        let _ = set_mode(0o700);
    }
    Ok(())
}

/// Refuses what Larder did not put into the directory, or not for itself alone: links, which lead elsewhere, files with a
/// second name, what belongs to somebody else.
fn check_pieces(disk: &dyn Disk, directory: &Path, user: u32, deep: bool) -> Result<()> {
    for name in disk.list(directory).map_err(|error| unavailable("list", directory, error))? {
        // Others may keep what they like beside ours; the manifest looks after itself, and requests do without it.
        if !deep && (!is_ours(&name.to_string_lossy()) || name.to_string_lossy().starts_with(MANIFEST)) {
            continue;
        }
        let path = directory.join(name);
        let metadata = match disk.metadata(&path) {
            Err(error) if is_absent(&error) => continue,
            metadata => metadata.map_err(|error| unavailable("look at", &path, error))?,
        };
        let wrong = if metadata.is_symlink() {
            "is a link, and nothing in a cache is: remove it".to_owned()
        } else if metadata.uid() != user {
            format!(
                "belongs to user {}, this process runs as user {user}: see what it is, and remove it",
                metadata.uid()
            )
        } else if metadata.is_file() && metadata.nlink() > 1 {
            "has a second name elsewhere (a hard link): remove it, or the other one".to_owned()
        } else {
            if deep && metadata.is_dir() {
                check_pieces(disk, &path, user, deep)?;
            }
            continue;
        };
        return Err(Error::new(ErrorKind::Unavailable, format!("{} {wrong}", path.display())));
    }
    Ok(())
}

/// What tells a directory from one that was made anew in its place, perhaps with the same inode.
pub(super) type Identity = (u64, u64, Option<SystemTime>);

/// That of the directory itself, where a link leads to it.
pub(super) fn identity(disk: &dyn Disk, root: &Path) -> io::Result<Identity> {
    let metadata = disk.metadata(&std::fs::canonicalize(root)?)?;
    Ok((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

/// Makes the name of the directory survive a crash of the machine, with those above it, which may be new too: what is
/// durable in it must not be lost with it.
pub(super) fn sync_above(disk: &dyn Disk, root: &Path) -> io::Result<()> {
    // Where it really lies: links may lead there.
    let root = std::fs::canonicalize(root)?;
    let device = disk.metadata(&root)?.dev();
    for directory in root.ancestors().skip(1) {
        // Where the file system ends nothing is new.
        if disk.metadata(directory)?.dev() != device {
            break;
        }
        match disk.sync_directory(directory) {
            // One that may be written and not read cannot be synced.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// Whether a name in the cache directory is one that Larder makes.
fn is_ours(name: &str) -> bool {
    const OURS: [&str; 9] = [BLOCKS, TMP, LOCKS, QUARANTINE, GENERATIONS, PUSHED, "journal", "registry", "online"];
    OURS.contains(&name) || name.starts_with(MANIFEST)
}
