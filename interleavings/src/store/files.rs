//! Files, each change of which is a step.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::model::Timestamp;

thread_local! {
    // All threads of a test are one to the operating system.
    static FILES: RefCell<BTreeMap<PathBuf, Bytes>> = const { RefCell::new(BTreeMap::new()) };
}

/// What lies on the disk of the one machine.
pub struct Disk;

impl Disk {
    pub fn clear() {
        FILES.with_borrow_mut(BTreeMap::clear);
    }
}

/// Others may go on here.
fn step<T>(change: impl FnOnce(&mut BTreeMap<PathBuf, Bytes>) -> T) -> T {
    shuttle::thread::yield_now();
    FILES.with_borrow_mut(change)
}

#[derive(Debug, Clone, PartialEq, Eq)]
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

pub fn read(path: &Path) -> io::Result<Option<Bytes>> {
    Ok(step(|files| files.get(path).cloned()))
}

pub fn write_part(part: &Path, bytes: &[u8], _: Publish) -> io::Result<()> {
    step(|files| files.insert(part.to_owned(), Bytes::copy_from_slice(bytes)));
    Ok(())
}

pub fn rename(part: &Path, target: &Path) -> io::Result<bool> {
    step(|files| {
        let bytes = files.remove(part).ok_or(io::ErrorKind::NotFound)?;
        files.insert(target.to_owned(), bytes);
        Ok(false)
    })
}

pub fn remove(path: &Path) -> io::Result<bool> {
    Ok(step(|files| files.remove(path).is_some()))
}

pub fn stat(root: &Path, path: &Path) -> Option<FoundFile> {
    let found =
        |bytes: &Bytes| FoundFile { path: path.to_owned(), bytes: bytes.len() as u64, modified: Timestamp::from_ns(0) };
    step(|files| files.get(&root.join(path)).map(found))
}

pub fn list(root: &Path, directory: &Path, visit: &mut dyn FnMut(FoundFile)) -> io::Result<()> {
    let paths: Vec<_> = step(|files| files.keys().filter(|path| path.starts_with(directory)).cloned().collect());
    paths.iter().filter_map(|path| stat(root, path.strip_prefix(root).ok()?)).for_each(visit);
    Ok(())
}

pub fn sync_published(_: &Path, _: &Path, _: bool) -> io::Result<()> {
    Ok(())
}

pub fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

pub fn prune_empty(_: &Path, _: &Path) {}
