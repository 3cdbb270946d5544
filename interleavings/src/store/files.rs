//! Files, each change of which is a step.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
// Not a step of its own.
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use shuttle::sync::Mutex;

use crate::model::Timestamp;

/// Each with when it was written, counted in steps.
type Files = BTreeMap<PathBuf, (Bytes, i64)>;

/// What lies on the disk of a machine: files, and the directories that they make. Nobody puts a link there.
#[derive(Default)]
pub struct Disk(Mutex<Files>, AtomicI64);

impl Disk {
    // Not with `yield_now`: where threads have priorities, whoever yields gets the lowest one, and no order in which
    // somebody goes on through several steps is tried.
    fn step<T>(&self, change: impl FnOnce(&mut Files) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FoundFile {
    pub path: PathBuf,
    pub bytes: u64,
    pub modified: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    Fast,
    Durable,
}

pub fn read(disk: &Disk, path: &Path) -> io::Result<Option<Bytes>> {
    Ok(disk.step(|files| files.get(path).map(|(bytes, _)| bytes.clone())))
}

pub fn write_part(disk: &Disk, part: &Path, bytes: &[u8], _: Publish) -> io::Result<()> {
    let written = disk.1.fetch_add(1, Ordering::Relaxed);
    disk.step(|files| files.insert(part.to_owned(), (Bytes::copy_from_slice(bytes), written)));
    Ok(())
}

pub fn rename(disk: &Disk, part: &Path, target: &Path) -> io::Result<bool> {
    disk.step(|files| {
        let bytes = files.remove(part).ok_or(io::ErrorKind::NotFound)?;
        files.insert(target.to_owned(), bytes);
        Ok(false)
    })
}

pub fn remove(disk: &Disk, path: &Path) -> io::Result<bool> {
    Ok(disk.step(|files| files.remove(path).is_some()))
}

pub fn stat(disk: &Disk, root: &Path, path: &Path) -> Option<FoundFile> {
    let found = |(bytes, written): &(Bytes, i64)| FoundFile {
        path: path.to_owned(),
        bytes: bytes.len() as u64,
        modified: Timestamp::from_ns(*written),
    };
    disk.step(|files| files.get(&root.join(path)).map(found))
}

pub fn list(disk: &Disk, root: &Path, directory: &Path, visit: &mut dyn FnMut(FoundFile)) -> io::Result<()> {
    let paths: Vec<_> = disk.step(|files| files.keys().filter(|path| path.starts_with(directory)).cloned().collect());
    paths.iter().filter_map(|path| stat(disk, root, path.strip_prefix(root).ok()?)).for_each(visit);
    Ok(())
}

pub fn directories(disk: &Disk, directory: &Path) -> io::Result<Vec<PathBuf>> {
    let in_it = |path: &PathBuf| {
        let mut below = path.strip_prefix(directory).ok()?.components();
        // What has nothing below it is a file.
        let name = below.next().filter(|_| below.next().is_some())?;
        Some(directory.join(name))
    };
    let found: BTreeSet<_> = disk.step(|files| files.keys().filter_map(in_it).collect());
    Ok(found.into_iter().collect())
}

/// There are no links here.
pub fn names(_: &Disk, _: &Path) -> io::Result<Vec<OsString>> {
    Ok(Vec::new())
}

pub fn take_links_away(_: &Disk, _: &Path, _: &Path) -> io::Result<()> {
    Ok(())
}

pub fn take_links_away_below(_: &Disk, _: &Path) -> io::Result<()> {
    Ok(())
}

pub fn link_on_the_way(_: &Disk, _: &Path, _: &Path) -> Option<PathBuf> {
    None
}

pub fn sync_present(_: &Disk, _: &Path) -> io::Result<()> {
    Ok(())
}

pub fn sync_tree(_: &Disk, _: &Path) -> io::Result<()> {
    Ok(())
}

pub fn prune_empty(_: &Disk, _: &Path, _: &Path) {}
