//! Files of pushed rows, which are the only copy there is, and what has to follow a push.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::directory::{CacheDir, unavailable};
use super::files::{self, Publish};
use super::layout::{PUSHED, pushed_directory, pushed_identity, pushed_path};
use crate::disk::{Disk, Open, hold, is_absent, is_at};
use crate::error::Result;
use crate::model::{EntityKey, SourceName, Timestamp};

/// Where notes of pushes lie whose invalidations are not done yet.
const UNFINISHED: &str = "unfinished";
/// How long somebody waits for whoever writes a file of pushed rows.
const PATIENCE: Duration = Duration::from_secs(10);

/// A file with the rows of one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedFile {
    /// Its path below the cache directory.
    pub path: PathBuf,
    /// Join keys and values, in the order of the path.
    pub keys: Vec<(String, String)>,
    /// Where the day begins.
    pub day: Timestamp,
}

/// A note of what a push is about to change, so that a process that dies on the way leaves no old value in service.
#[derive(Debug)]
pub struct PushIntent {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Locked as long as its process lives.
    _file: File,
}

impl PushIntent {
    /// Removes the note: what it said is done.
    ///
    /// # Errors
    /// `Unavailable` where it cannot be removed: then it is done once more.
    pub fn done(self) -> Result<()> {
        files::remove(&*self.disk, &self.path).map(drop).map_err(|error| unavailable("remove", &self.path, error))
    }
}

impl CacheDir {
    /// The files of rows that were pushed to a source for an entity, or all of them, in the order of their days.
    ///
    /// # Errors
    /// `Unavailable` where a directory cannot be read, or a link is in the place of one or of a file.
    pub fn pushed_files(&self, source: &SourceName, entity: Option<&EntityKey>) -> Result<Vec<PushedFile>> {
        let directory = self.root.join(pushed_directory(source, entity));
        let failed = |error| unavailable("list", &directory, error);
        self.refuse_links(&directory).map_err(failed)?;
        let (mut found, mut link) = (Vec::new(), None);
        files::walk(&*self.disk, &directory, &mut |path, metadata| {
            let below = path.strip_prefix(&self.root).unwrap_or(path);
            if metadata.is_symlink() {
                link = Some(path.to_owned());
            } else if let Some((keys, day)) = pushed_identity(below).filter(|_| metadata.is_file()) {
                found.push(PushedFile { path: below.to_owned(), keys, day });
            }
        })
        .and_then(|()| link.map_or(Ok(()), |link| Err(is_a_link(&link))))
        .map_err(failed)?;
        found.sort_unstable_by_key(|file| file.day);
        Ok(found)
    }

    /// Replaces the file of a day's pushed rows by what `edit` makes of what is there; `None` leaves it. Nobody else
    /// writes it meanwhile, whoever reads it sees the old one or the new one, and when this returns it is on the disk.
    ///
    /// `edit` is asked again where somebody else was the first to make the file.
    ///
    /// # Errors
    /// That of `edit`; `Unavailable` where it can be neither read nor written, `Busy` where whoever writes it does not come
    /// to an end: then the old one is left.
    pub fn amend_pushed(
        &self,
        source: &SourceName,
        entity: Option<&EntityKey>,
        day: Timestamp,
        mut edit: impl FnMut(&Path, Option<Bytes>) -> Result<Option<Vec<u8>>>,
    ) -> Result<()> {
        let (disk, target) = (&*self.disk, self.root.join(pushed_path(source, entity, day)));
        let failed = |error| unavailable("write", &target, error);
        target.parent().map_or(Ok(()), |directory| self.refuse_links(directory)).map_err(failed)?;
        loop {
            // The file itself is what is locked, so that nothing goes wrong where somebody removes all locks.
            let held = match hold(disk, &target, Open::Read, PATIENCE) {
                Err(error) if is_absent(&error) => None,
                held => Some(held.map_err(failed)?),
            };
            let read = |file| files::read_all(disk, file, &target).map_err(|error| unavailable("read", &target, error));
            let before = held.as_ref().map(read).transpose()?;
            let Some(bytes) = edit(&target, before)? else {
                // What is there may be what somebody wrote whose sync of the directory failed.
                return held.map_or(Ok(()), |_| self.sync_published(&target, true).map_err(failed));
            };
            let part = self.part().map_err(failed)?;
            if let Some(file) = &held {
                // Or somebody removed it, and others have begun a new one.
                let is_there = || is_at(disk, file, &target);
                if self.publish_synced(&part, &target, &bytes, is_there).map_err(failed)? {
                    return Ok(());
                }
                continue;
            }
            match self.begin_pushed(&part, &target, &bytes) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                begun => return begun.map_err(failed),
            }
        }
    }

    /// Makes a day's file, of which somebody may have failed to sync the name, survive a crash of the machine if it is there.
    ///
    /// # Errors
    /// `Unavailable` where its directories cannot be synced.
    pub fn sync_pushed(&self, source: &SourceName, entity: Option<&EntityKey>, day: Timestamp) -> Result<()> {
        let target = self.root.join(pushed_path(source, entity, day));
        match self.sync_published(&target, true) {
            Err(error) if !is_absent(&error) => Err(unavailable("sync", &target, error)),
            _ => Ok(()),
        }
    }

    /// Fails where a link is on the way to a directory of pushed rows. Of blocks, what is behind one is computed again; here
    /// it is the only copy, so nobody may go on without it.
    fn refuse_links(&self, directory: &Path) -> io::Result<()> {
        files::link_on_the_way(&*self.disk, &self.root, directory).map_or(Ok(()), |link| Err(is_a_link(&link)))
    }

    /// Makes the file of a day; `AlreadyExists` where there is one.
    fn begin_pushed(&self, part: &Path, target: &Path, bytes: &[u8]) -> io::Result<()> {
        let disk = &*self.disk;
        let linked = files::write_part(disk, part, bytes, Publish::Durable).and_then(|()| self.link(part, target));
        let _ = files::remove(disk, part);
        linked.and_then(|()| self.sync_published(target, true))
    }

    /// Notes what a push is about to change. When this returns, the note is on the disk.
    ///
    /// # Errors
    /// `Unavailable` where it cannot be written.
    pub fn intend_push(&self, what: &[u8]) -> Result<PushIntent> {
        let directory = self.root.join(PUSHED).join(UNFINISHED);
        let failed = |error| unavailable("write in", &directory, error);
        for number in 0_u64.. {
            let path = directory.join(format!("{}-{number}.json", self.process));
            let part = self.part().map_err(failed)?;
            let noted = self.note(&part, &path, what);
            let _ = files::remove(&*self.disk, &part);
            match noted {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                noted => {
                    let file = noted.map_err(failed)?;
                    return Ok(PushIntent { disk: Arc::clone(&self.disk), path, _file: file });
                }
            }
        }
        Err(failed(io::ErrorKind::AlreadyExists.into()))
    }

    /// Writes and locks a note before it has its name: whoever looked at one that is empty or not locked would take it
    /// for one that was left behind.
    fn note(&self, part: &Path, path: &Path, what: &[u8]) -> io::Result<File> {
        let file = self.disk.open(part, Open::New)?;
        self.disk.try_lock(&file, part)?;
        files::write_all(&*self.disk, &file, part, what)?;
        self.disk.sync(&file, part)?;
        // A link and no rename: it fails where the name is taken.
        self.link(part, path)?;
        // With the directories above it, which may be new.
        self.sync_published(path, true).inspect_err(|_| {
            let _ = files::remove(&*self.disk, path);
        })?;
        Ok(file)
    }

    /// What others have noted whose push is not done, whether they live or not.
    ///
    /// # Errors
    /// `Unavailable` where a note cannot be read.
    pub fn other_intents(&self, mine: &PushIntent) -> Result<Vec<Bytes>> {
        let others = self.intents()?.into_iter().filter(|path| *path != mine.path);
        let read = |path: PathBuf| {
            files::read(&*self.disk, &path).map_err(|error| unavailable("read", &path, error)).transpose()
        };
        others.filter_map(read).collect()
    }

    /// The notes that there are.
    fn intents(&self) -> Result<Vec<PathBuf>> {
        let directory = self.root.join(PUSHED).join(UNFINISHED);
        let mut paths = Vec::new();
        files::list(&*self.disk, &self.root, &directory, &mut |file| paths.push(self.root.join(file.path)))
            .map_err(|error| unavailable("read", &directory, error))?;
        Ok(paths)
    }

    /// The notes of processes that died in the middle of a push. Nobody else gets them as long as they are held.
    ///
    /// # Errors
    /// `Unavailable` where they cannot be read.
    pub fn unfinished_pushes(&self) -> Result<Vec<(PushIntent, Vec<u8>)>> {
        let mut unfinished = Vec::new();
        for path in self.intents()? {
            let failed = |error| unavailable("read", &path, error);
            let file = match self.disk.open(&path, Open::Read) {
                Err(error) if is_absent(&error) => continue,
                opened => opened.map_err(failed)?,
            };
            let is_mine = self.disk.try_lock(&file, &path).map_err(failed)?;
            // Its push may have been done, and the note removed, before it was locked here.
            if !is_mine || file.metadata().map_err(failed)?.nlink() == 0 {
                continue;
            }
            let what = files::read_all(&*self.disk, &file, &path).map_err(failed)?.to_vec();
            unfinished.push((PushIntent { disk: Arc::clone(&self.disk), path: path.clone(), _file: file }, what));
        }
        Ok(unfinished)
    }
}

fn is_a_link(path: &Path) -> io::Error {
    let what = format!("{} is a link, and nothing in a cache is: put there what it leads to", path.display());
    io::Error::other(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Publish;

    const DAY: i64 = 1_709_856_000_000_000_000;

    fn open(root: &Path, process: &str) -> CacheDir {
        CacheDir::open(root, Publish::Fast, process).unwrap()
    }

    fn names() -> (SourceName, EntityKey) {
        (SourceName::new("quotes").unwrap(), EntityKey::new([("symbol", "ETH/USDT")]).unwrap())
    }

    #[test]
    fn a_day_is_amended_and_found_again() {
        let root = tempfile::tempdir().unwrap();
        let dir = open(root.path(), "a");
        let (source, entity) = names();
        for (day, text) in [(DAY, "b"), (DAY - 86_400_000_000_000, "a"), (DAY, "c")] {
            let edit =
                |_: &Path, before: Option<Bytes>| Ok(Some([&before.unwrap_or_default(), text.as_bytes()].concat()));
            dir.amend_pushed(&source, Some(&entity), Timestamp::from_ns(day), edit).unwrap();
        }
        let files = dir.pushed_files(&source, None).unwrap();
        let days: Vec<_> = files.iter().map(|file| file.day.as_ns()).collect();
        assert_eq!(days, [DAY - 86_400_000_000_000, DAY]);
        assert_eq!(files[0].keys, [("symbol".to_owned(), "ETH/USDT".to_owned())]);
        assert_eq!(files[1].path, Path::new("pushed/source=quotes/symbol=ETH%2FUSDT/20240308.parquet"));
        assert_eq!(dir.read_path(&files[1].path).unwrap().unwrap(), "bc");
        assert_eq!(dir.pushed_files(&source, Some(&entity)).unwrap(), files);
        let other = EntityKey::new([("symbol", "ETH")]).unwrap();
        assert_eq!(dir.pushed_files(&source, Some(&other)).unwrap(), []);
    }

    #[test]
    fn what_all_add_at_once_is_there_although_somebody_removes_all_locks() {
        const ADDERS: usize = 4;
        const EACH: usize = 25;
        let root = tempfile::tempdir().unwrap();
        let (source, entity) = names();
        let added = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for adder in 0..ADDERS {
                // Handles of their own, as processes have.
                let dir = open(root.path(), &adder.to_string());
                let (source, entity, added) = (&source, &entity, &added);
                scope.spawn(move || {
                    for number in 0..EACH {
                        let line = format!("{adder} {number}\n");
                        let edit = |_: &Path, before: Option<Bytes>| {
                            Ok(Some([&before.unwrap_or_default(), line.as_bytes()].concat()))
                        };
                        dir.amend_pushed(source, Some(entity), Timestamp::from_ns(DAY), edit).unwrap();
                        added.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                });
            }
            while added.load(std::sync::atomic::Ordering::Relaxed) < ADDERS * EACH && !std::thread::panicking() {
                let _ = std::fs::remove_dir_all(root.path().join("locks"));
                std::thread::yield_now();
            }
        });
        let dir = open(root.path(), "reader");
        let file = &dir.pushed_files(&source, None).unwrap()[0];
        let text = String::from_utf8(dir.read_path(&file.path).unwrap().unwrap().to_vec()).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!((lines.len(), text.lines().count()), (ADDERS * EACH, ADDERS * EACH));
    }

    #[test]
    fn where_somebody_removes_the_file_and_others_begin_a_new_one_nothing_of_theirs_is_lost() {
        let root = tempfile::tempdir().unwrap();
        let (dir, other) = (open(root.path(), "a"), open(root.path(), "b"));
        let (source, entity) = names();
        let add = |dir: &CacheDir, text: &str, meanwhile: &dyn Fn(&Path)| {
            let edit = |path: &Path, before: Option<Bytes>| {
                meanwhile(path);
                Ok(Some([&before.unwrap_or_default(), text.as_bytes()].concat()))
            };
            dir.amend_pushed(&source, Some(&entity), Timestamp::from_ns(DAY), edit).unwrap();
        };
        add(&dir, "gone ", &|_| ());
        let edits = std::cell::Cell::new(0);
        add(&dir, "mine ", &|path| {
            edits.set(edits.get() + 1);
            if edits.get() == 1 {
                std::fs::remove_file(path).unwrap();
                add(&other, "theirs ", &|_| ());
            }
        });
        let file = &dir.pushed_files(&source, None).unwrap()[0];
        assert_eq!((dir.read_path(&file.path).unwrap().unwrap(), edits.get()), ("theirs mine ".into(), 2));
    }

    #[test]
    fn an_edit_that_fails_leaves_the_old_file() {
        let root = tempfile::tempdir().unwrap();
        let dir = open(root.path(), "a");
        let (source, entity) = names();
        let amend = |edit: &dyn Fn() -> Result<Option<Vec<u8>>>| {
            dir.amend_pushed(&source, Some(&entity), Timestamp::from_ns(DAY), |_, _| edit())
        };
        amend(&|| Ok(Some(b"old".to_vec()))).unwrap();
        amend(&|| Err(crate::error::Error::invalid("no"))).unwrap_err();
        amend(&|| Ok(None)).unwrap();
        let file = &dir.pushed_files(&source, None).unwrap()[0];
        assert_eq!(dir.read_path(&file.path).unwrap().unwrap(), "old");
    }

    #[test]
    fn only_a_dead_process_leaves_an_unfinished_push() {
        let root = tempfile::tempdir().unwrap();
        let (dir, other) = (open(root.path(), "a"), open(root.path(), "b"));
        let held = dir.intend_push(b"held").unwrap();
        let dropped = dir.intend_push(b"dropped").unwrap();
        dir.intend_push(b"done").unwrap().done().unwrap();
        drop(dropped);
        let found = other.unfinished_pushes().unwrap();
        assert_eq!(found.iter().map(|(_, what)| what.as_slice()).collect::<Vec<_>>(), [b"dropped"]);
        assert_eq!(other.unfinished_pushes().unwrap().len(), 0, "somebody sees to it");
        found.into_iter().for_each(|(intent, _)| intent.done().unwrap());
        drop(held);
        assert_eq!(other.unfinished_pushes().unwrap().len(), 1);
    }
}
