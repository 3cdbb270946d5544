//! What lies beside a cache, which nothing that happens in the cache may change.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Everything in a directory except one of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<PathBuf, Seen>);

/// Kind and mode, owner, length, when it changed last, and content. What was made in a directory and removed again has
/// changed it.
type Seen = (u32, u32, u64, (i64, i64), Vec<u8>);

impl Snapshot {
    pub fn of(directory: &Path, except: &Path) -> Self {
        let mut found = BTreeMap::new();
        walk(directory, except, &mut found);
        Self(found)
    }
}

fn walk(path: &Path, except: &Path, found: &mut BTreeMap<PathBuf, Seen>) {
    if path == except {
        return;
    }
    let metadata = std::fs::symlink_metadata(path).unwrap();
    let content = if metadata.is_file() { std::fs::read(path).unwrap() } else { Vec::new() };
    // The length of a directory is the file system's affair.
    let length = if metadata.is_dir() { 0 } else { metadata.len() };
    let changed = (metadata.mtime(), metadata.mtime_nsec());
    found.insert(path.to_owned(), (metadata.mode(), metadata.uid(), length, changed, content));
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), except, found);
        }
    }
}

/// A file and a directory that others are led to.
pub struct Canary {
    pub file: PathBuf,
    pub directory: PathBuf,
    /// A place without anything.
    pub nothing: PathBuf,
}

impl Canary {
    pub fn new(home: &Path) -> Self {
        let canary =
            Self { file: home.join("canary"), directory: home.join("elsewhere"), nothing: home.join("nothing") };
        std::fs::write(&canary.file, "sings").unwrap();
        std::fs::create_dir(&canary.directory).unwrap();
        std::fs::write(canary.directory.join("lock"), "of somebody else").unwrap();
        std::fs::write(canary.directory.join("20240301T000000Z.parquet"), "of somebody else").unwrap();
        for path in [&canary.file, &canary.directory] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o754)).unwrap();
        }
        canary
    }
}
