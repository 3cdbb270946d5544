//! A file system in which any call may fail, and which may lose what was not synced: a simulation, in this process.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use larder::disk::{Disk, Open, SystemDisk};
use rustix::io::Errno;

use crate::mutate::Dice;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and the next one succeeds.
    Once,
    /// It and all that follow fail. A write comes half-way first, as where the disk becomes full.
    ForEver,
    /// As `ForEver`, but the half of the write is told nobody: what a machine that dies leaves.
    Torn,
}

impl Fault {
    pub const ALL: [Self; 3] = [Self::Once, Self::ForEver, Self::Torn];
}

/// Such a file system. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Faulty(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// What happens, and to the how manieth call from now on.
    plan: Option<(u64, Fault)>,
    /// How many calls have failed since that was planned, and in all.
    failed_as_planned: u64,
    failed: u64,
    /// What somebody does before the how manieth call from now on.
    interruption: Option<(u64, Meanwhile)>,
    /// Where files are kept that may come back.
    attic: tempfile::TempDir,
    put_away: u64,
    /// Changes of names that are not on the disk yet, in their order.
    changes: Vec<Change>,
    /// By inode, the contents that are on the disk where they are not the present ones.
    synced: BTreeMap<u64, Vec<u8>>,
    /// Inodes of which a sync has failed: Linux forgets what it could not write, and the next sync says that all is well.
    given_up: BTreeSet<u64>,
}

/// What somebody else does.
struct Meanwhile(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Meanwhile")
    }
}

/// What happened to a name.
#[derive(Debug)]
enum Change {
    Made(PathBuf),
    MadeDirectory(PathBuf),
    /// The second path is where the file is kept.
    Removed(PathBuf, PathBuf),
    RemovedDirectory(PathBuf),
    /// The third path is where what had the name before is kept.
    Renamed(PathBuf, PathBuf, Option<PathBuf>),
}

impl Change {
    /// The directory that has to be synced.
    fn directory(&self) -> Option<&Path> {
        let (Self::Made(path)
        | Self::MadeDirectory(path)
        | Self::Removed(path, _)
        | Self::RemovedDirectory(path)
        | Self::Renamed(_, path, _)) = self;
        path.parent()
    }

    fn undo(&self) {
        // What lies in a directory that is lost is lost with it.
        let _ = match self {
            Self::Made(path) => fs::remove_file(path),
            Self::MadeDirectory(path) => fs::remove_dir_all(path),
            Self::Removed(path, kept) => fs::rename(kept, path),
            Self::RemovedDirectory(path) => fs::create_dir(path),
            Self::Renamed(from, to, kept) => {
                // Nothing that has the old name by now is harmed.
                let _ = fs::hard_link(to, from);
                let _ = fs::remove_file(to);
                kept.as_ref().map_or(Ok(()), |kept| fs::rename(kept, to))
            }
        };
    }
}

impl State {
    /// Counts a call, and says how it fails, if it does.
    fn next(&mut self) -> Option<Fault> {
        let (calls, fault) = self.plan.as_mut()?;
        if *calls > 0 {
            *calls -= 1;
            return None;
        }
        let fault = *fault;
        if fault == Fault::Once {
            self.plan = None;
        }
        self.failed += 1;
        self.failed_as_planned += 1;
        Some(fault)
    }

    /// Counts a call, and gives out what somebody does before it.
    fn interrupted(&mut self) -> Option<Meanwhile> {
        let (calls, _) = self.interruption.as_mut()?;
        if *calls > 0 {
            *calls -= 1;
            return None;
        }
        self.interruption.take().map(|(_, meanwhile)| meanwhile)
    }

    /// What was done to the names in a directory is on the disk from now on.
    fn synced_directory(&mut self, path: &Path) {
        // What was done in another directory, which had the path before, is that one's.
        let is_before = |change: &Change| matches!(change, Change::RemovedDirectory(gone) if path.starts_with(gone));
        let present = self.changes.iter().rposition(is_before).map_or(0, |at| at + 1);
        for change in self.changes.split_off(present) {
            match &change {
                _ if change.directory() != Some(path) => self.changes.push(change),
                // It comes back with nothing in it, if one of that path comes back at all.
                Change::RemovedDirectory(gone) => {
                    self.changes.retain(|change| !change.directory().is_some_and(|below| below.starts_with(gone)));
                }
                _ => {}
            }
        }
    }

    /// One more name for a file that is about to lose its own.
    fn put_away(&mut self, path: &Path) -> Option<PathBuf> {
        self.put_away += 1;
        let kept = self.attic.path().join(self.put_away.to_string());
        fs::hard_link(path, &kept).ok().map(|()| kept)
    }

    fn about_to_change(&mut self, file: &File) -> io::Result<()> {
        let metadata = file.metadata()?;
        if let std::collections::btree_map::Entry::Vacant(entry) = self.synced.entry(metadata.ino()) {
            let mut bytes = vec![0; metadata.len() as usize];
            // A file that is only appended to cannot be read by its descriptor.
            File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file)))?
                .read_exact_at(&mut bytes, 0)?;
            entry.insert(bytes);
        }
        Ok(())
    }
}

impl Faulty {
    /// `beside` is a directory on the same file system.
    pub fn new(beside: &Path) -> Self {
        Self(Arc::new(Mutex::new(State {
            plan: None,
            failed_as_planned: 0,
            failed: 0,
            interruption: None,
            attic: tempfile::tempdir_in(beside).unwrap(),
            put_away: 0,
            changes: Vec::new(),
            synced: BTreeMap::new(),
            given_up: BTreeSet::new(),
        })))
    }

    pub fn as_disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    /// Lets the call after so many others fail.
    pub fn fail(&self, after: u64, fault: Fault) {
        self.with(|state| (state.plan, state.failed_as_planned) = (Some((after, fault)), 0));
    }

    /// Has somebody do something before the call after so many others.
    pub fn interrupt(&self, after: u64, meanwhile: impl FnOnce() + Send + 'static) {
        self.with(|state| state.interruption = Some((after, Meanwhile(Box::new(meanwhile)))));
    }

    /// Begins a call: how it fails, if it does, and whether it is the first that does.
    fn next(&self) -> (Option<Fault>, bool) {
        // Without holding the state, for somebody who goes through the same file system.
        if let Some(meanwhile) = self.with(State::interrupted) {
            meanwhile.0();
        }
        self.with(|state| (state.next(), state.failed_as_planned == 1))
    }

    /// Lets no more calls fail.
    pub fn heal(&self) {
        self.with(|state| state.plan = None);
    }

    /// How many calls have failed.
    pub fn failed(&self) -> u64 {
        self.with(|state| state.failed)
    }

    /// Forgets that anything is not on the disk.
    pub fn settle(&self) {
        self.with(|state| {
            state.changes.clear();
            state.synced.clear();
            state.given_up.clear();
        });
    }

    /// Leaves below `root` what is there after a power cut: of the names that were not synced, the changes up to some
    /// moment; of the contents, whatever. Nobody may have anything open.
    pub fn lose_power(&self, root: &Path, dice: &mut Dice) {
        let kept = self.with(|state| dice.roll(state.changes.len() + 1));
        self.lose_after(kept, root, |synced, present| torn(synced, present, dice));
    }

    /// The same with nothing of what was not synced.
    pub fn lose_all(&self, root: &Path) {
        self.lose_after(0, root, |synced, _| synced.to_vec());
    }

    fn lose_after(&self, kept: usize, root: &Path, mut left: impl FnMut(&[u8], &[u8]) -> Vec<u8>) {
        self.with(|state| {
            state.changes.split_off(kept).iter().rev().for_each(Change::undo);
            state.changes.clear();
            state.given_up.clear();
            for (inode, synced) in std::mem::take(&mut state.synced) {
                if let Some(path) = crate::damage::files(root)
                    .into_iter()
                    .find(|path| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.ino() == inode))
                {
                    fs::write(&path, left(&synced, &fs::read(&path).unwrap())).unwrap();
                }
            }
        });
    }

    fn before(&self) -> io::Result<()> {
        match self.next().0 {
            None => Ok(()),
            Some(_) => Err(Errno::IO.into()),
        }
    }

    /// Does what changes names, and remembers it until the directory is synced.
    fn changing(
        &self,
        act: impl FnOnce() -> io::Result<()>,
        change: impl FnOnce(&mut State) -> Option<Change>,
    ) -> io::Result<()> {
        self.before()?;
        self.with(|state| {
            let change = change(state);
            act()?;
            state.changes.extend(change);
            Ok(())
        })
    }
}

/// Of a file that was not synced, there may be what was, what is, the length without the contents, a page without them, or
/// less.
fn torn(synced: &[u8], present: &[u8], dice: &mut Dice) -> Vec<u8> {
    // Where it only grew, what was synced stays.
    let stays = if present.starts_with(synced) { synced.len() } else { 0 };
    let zeroed = |from: usize, to: usize| {
        let mut bytes = present.to_vec();
        bytes[from.min(to)..to].fill(0);
        bytes
    };
    match dice.roll(5) {
        0 => synced.to_vec(),
        1 => present.to_vec(),
        2 => zeroed(stays, present.len()),
        3 => {
            let page = dice.roll(present.len() / PAGE + 1) * PAGE;
            zeroed(page.max(stays), (page + PAGE).clamp(stays, present.len()))
        }
        _ => present[..stays + dice.roll(present.len() - stays + 1)].to_vec(),
    }
}

const PAGE: usize = 4096;

impl Disk for Faulty {
    fn open(&self, path: &Path, how: Open) -> io::Result<File> {
        self.before()?;
        self.with(|state| {
            let is_new = fs::symlink_metadata(path).is_err();
            let file = SystemDisk.open(path, how)?;
            if is_new {
                state.changes.push(Change::Made(path.to_owned()));
            }
            Ok(file)
        })
    }

    fn read_at(&self, file: &File, path: &Path, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.before()?;
        SystemDisk.read_at(file, path, buffer, offset)
    }

    fn write(&self, file: &File, path: &Path, bytes: &[u8]) -> io::Result<usize> {
        let (fault, is_first) = self.next();
        self.with(|state| state.about_to_change(file))?;
        let half = &bytes[..bytes.len() / 2];
        match fault {
            None => SystemDisk.write(file, path, bytes),
            Some(Fault::ForEver) if is_first && !half.is_empty() => SystemDisk.write(file, path, half),
            Some(Fault::Torn) => {
                SystemDisk.write(file, path, half)?;
                Err(Errno::IO.into())
            }
            Some(_) => Err(Errno::NOSPC.into()),
        }
    }

    fn truncate(&self, file: &File, path: &Path, length: u64) -> io::Result<()> {
        self.before()?;
        self.with(|state| state.about_to_change(file))?;
        SystemDisk.truncate(file, path, length)
    }

    fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        let inode = file.metadata()?.ino();
        self.before().inspect_err(|_| {
            self.with(|state| state.given_up.insert(inode));
        })?;
        SystemDisk.sync(file, path)?;
        self.with(|state| {
            if !state.given_up.contains(&inode) {
                state.synced.remove(&inode);
            }
        });
        Ok(())
    }

    fn try_lock(&self, file: &File, path: &Path) -> io::Result<bool> {
        self.before()?;
        SystemDisk.try_lock(file, path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.before()?;
        SystemDisk.metadata(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.before()?;
        SystemDisk.list(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.changing(
            || SystemDisk.rename(from, to),
            |state| Some(Change::Renamed(from.to_owned(), to.to_owned(), state.put_away(to))),
        )
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.changing(|| SystemDisk.link(from, to), |_| Some(Change::Made(to.to_owned())))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = |state: &mut State| state.put_away(path).map(|kept| Change::Removed(path.to_owned(), kept));
        self.changing(|| SystemDisk.remove(path), removed)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.before()?;
        self.with(|state| {
            let missing: Vec<_> = path.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
            SystemDisk.make_directory(path)?;
            state.changes.extend(missing.into_iter().rev().map(Change::MadeDirectory));
            Ok(())
        })
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.changing(|| SystemDisk.remove_directory(path), |_| Some(Change::RemovedDirectory(path.to_owned())))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.before()?;
        SystemDisk.sync_directory(path)?;
        self.with(|state| state.synced_directory(path));
        Ok(())
    }
}

#[test]
fn a_file_does_not_come_back_into_a_directory_that_was_made_after_its_own_was_gone() {
    let desk = tempfile::tempdir().unwrap();
    let (faulty, root) = (Faulty::new(desk.path()), desk.path().join("root"));
    let (below, file, part) = (root.join("a/b"), root.join("a/b/file"), root.join("part"));
    let put = |bytes: &[u8]| {
        let written = faulty.open(&part, Open::New).unwrap();
        faulty.write(&written, &part, bytes).unwrap();
        faulty.sync(&written, &part).unwrap();
        faulty.rename(&part, &file).unwrap();
    };
    faulty.make_directory(&below).unwrap();
    put(b"old");
    faulty.settle();
    faulty.remove(&file).unwrap();
    for directory in [&below, &root.join("a")] {
        faulty.remove_directory(directory).unwrap();
    }
    // With it goes all that was below.
    faulty.sync_directory(&root).unwrap();
    faulty.make_directory(&below).unwrap();
    put(b"new");
    faulty.sync_directory(&root).unwrap();
    faulty.sync_directory(&root.join("a")).unwrap();
    faulty.lose_all(&root);
    assert!(!file.exists(), "{:?}", fs::read(&file).map(String::from_utf8));
}
