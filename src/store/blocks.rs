//! The blocks of a directory: published and taken away, so that none comes back that was invalidated.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use twox_hash::XxHash3_64;

use super::directory::{CacheDir, unavailable};
use super::files::{self, FoundFile, Publish};
use super::generations::{Generation, Slots};
use super::layout::{BLOCKS, PathIdentity, QUARANTINE, block_path, entity_directories, identity_of, view_path};
use crate::error::{Error, Result};
use crate::model::{BlockId, EntityKey, Timestamp, ViewName};
use crate::planted::{self, Bug};
#[cfg(feature = "definitions")]
use {super::layout::version_path, crate::model::Fingerprint};

/// A block that has its place.
#[derive(Debug)]
pub struct Published {
    /// When it got it.
    pub at: Timestamp,
    /// Why it may be lost if the machine crashes, although it should not be.
    pub not_synced: Option<Error>,
}

impl CacheDir {
    /// Puts a block's file in its place, unless `generation` is no longer the present one.
    ///
    /// `None` where it is not. Atomic: a reader sees the old file, none, or the new one.
    ///
    /// # Errors
    /// `Unavailable` where the file cannot be written, `Busy` where whoever publishes or invalidates does not come to an
    /// end; nothing is left behind then. That it is there and could not be synced is no error of these: it is served.
    pub fn publish(
        &self,
        id: &BlockId,
        bytes: &[u8],
        generation: Generation,
        now: impl Fn() -> Timestamp,
    ) -> Result<Option<Published>> {
        let target = self.root.join(block_path(id));
        let failed = |error| unavailable("publish", &target, error);
        self.rejoin()?;
        let part = self.part().map_err(failed)?;
        let published = self.write_and_rename(&part, &target, id, bytes, generation, now);
        if !matches!(published, Ok(Some(_))) {
            let _ = files::remove(&*self.disk, &part);
        }
        published.map_err(failed)
    }

    fn write_and_rename(
        &self,
        part: &Path,
        target: &Path,
        id: &BlockId,
        bytes: &[u8],
        generation: Generation,
        now: impl Fn() -> Timestamp,
    ) -> io::Result<Option<Published>> {
        files::write_part(&*self.disk, part, bytes, self.publish)?;
        let slots = self.slots(&id.view, &id.entity);
        let (made_directories, at) = {
            // Checked and renamed under one lock, which `invalidate` takes too: a compute that began
            // before an invalidation must not put its values back after it.
            let lock = self.locking(|| self.locks.publish_in_passing(publish_stripe(&id.view)))?;
            lock.check()?;
            // Somebody may have deleted the table while the file was written, and invalidated in another one.
            self.rejoin().map_err(io::Error::other)?;
            if self.generation(slots) != generation && !planted::is(Bug::PublishedUnchecked) {
                return Ok(None);
            }
            let made_directories = self.rename(part, target)?;
            // Where somebody removed the lock's file, an invalidation may have come in between. It raises before it
            // looks for files, so it is seen here, or it removes this file too.
            if self.generation(slots) != generation && !planted::is(Bug::PublishedUnchecked) {
                // Before, because this may be its last step; and after, for whoever read it in between, under the
                // generation that is the present one by now.
                let generations = self.generations.load();
                let raised = generations.raise_entity(slots);
                files::remove(&*self.disk, target)?;
                return raised.and_then(|()| generations.raise_entity(slots)).map(|()| None);
            }
            (made_directories, now())
        };
        let not_synced = (self.publish == Publish::Durable)
            .then(|| self.sync_published(target, made_directories).err())
            .flatten()
            .map(|error| unavailable("sync", target, error));
        Ok(Some(Published { at, not_synced }))
    }

    /// Removes those blocks of one entity, or of a whole view, for which `goes` says so, in every
    /// version of the view, and makes every copy in any process's memory old.
    ///
    /// When this returns, no process serves the removed blocks, no compute that began before can
    /// publish them, and a crash of the machine does not bring them back. Returns what is gone, also where the rest
    /// failed, and when it was done.
    ///
    /// # Errors
    /// `Unavailable` where a file cannot be removed, `Busy` where whoever publishes does not come to an end: the
    /// invalidation is not done, repeat it.
    pub fn invalidate(
        &self,
        view: &ViewName,
        entity: Option<&EntityKey>,
        now: impl Fn() -> Timestamp,
        goes: impl FnMut(&FoundFile, &PathIdentity) -> bool,
    ) -> (Vec<(PathBuf, PathIdentity)>, Result<Timestamp>) {
        let mut gone = Vec::new();
        let at = self.invalidate_into(&mut gone, view, entity, now, goes);
        // One may have come again in between.
        gone.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        gone.dedup_by(|(one, _), (other, _)| one == other);
        (gone, at)
    }

    fn invalidate_into(
        &self,
        gone: &mut Vec<(PathBuf, PathIdentity)>,
        view: &ViewName,
        entity: Option<&EntityKey>,
        now: impl Fn() -> Timestamp,
        mut goes: impl FnMut(&FoundFile, &PathIdentity) -> bool,
    ) -> Result<Timestamp> {
        let failed = |error| unavailable("invalidate blocks in", &self.root, error);
        let all_know_the_table = || self.rejoin().map(|()| self.generations.load().wait_until_noticed());
        all_know_the_table()?;
        // Asked first, because a table that cannot be written must not cost blocks.
        if !self.generations.load().is_writable() {
            return Err(failed(io::ErrorKind::ReadOnlyFilesystem.into()));
        }
        let raise = || match entity {
            _ if planted::is(Bug::GenerationNotRaised) => Ok(()),
            Some(entity) => self.generations.load().raise_entity(self.slots(view, entity)),
            None => self.generations.load().raise_view(Slots::of(view, "")),
        };
        let remove = |path: &Path| files::remove(&*self.disk, &self.root.join(path)).map(drop);
        let (mut staying, hasher) = (HashSet::new(), RandomState::new());
        let mut sweep = || -> io::Result<()> {
            // What is read through a link would be read again.
            self.take_links_away(view, entity)?;
            let mut found = Vec::new();
            for directory in self.directories_of(view, entity)? {
                let mut visit = |file: FoundFile| {
                    let (Some(identity), looked_at) = (identity_of(&file.path), hasher.hash_one(&file)) else { return };
                    if staying.contains(&looked_at) {
                        return;
                    }
                    if goes(&file, &identity) {
                        found.push((file.path, identity));
                    } else {
                        staying.insert(looked_at);
                    }
                };
                files::list(&*self.disk, &self.root, &directory, &mut visit)?;
            }
            for (path, identity) in found {
                if !planted::is(Bug::RemovedAfterRaise) {
                    remove(&path)?;
                }
                gone.push((path, identity));
            }
            Ok(())
        };
        // First without the lock, which nobody gets who publishes for the view: to read and to remove many files takes
        // long. Nobody who publishes meanwhile is disturbed.
        sweep().map_err(failed)?;
        let at = {
            let lock = self.locking(|| self.locks.publish(publish_stripe(view))).map_err(failed)?;
            // For somebody who publishes although this holds the lock, because its file was removed: he sees it, or his
            // block is among those found below.
            raise().map_err(failed)?;
            sweep().map_err(failed)?;
            all_know_the_table()?;
            // Whoever extends a tail that was still there would publish its old part again, and whoever read a file keeps a
            // copy: from here on their generation is old.
            raise().map_err(failed)?;
            // Or somebody read the one in between, and has published with another lock.
            lock.check().map_err(failed)?;
            now()
        };
        if planted::is(Bug::RemovedAfterRaise) {
            gone.iter().try_for_each(|(path, _)| remove(path)).map_err(failed)?;
        }
        if !planted::is(Bug::RemovalNotSynced) {
            self.sync_removed(view, entity).map_err(failed)?;
        }
        Ok(at)
    }

    /// Makes every copy of a view's blocks in any process's memory old, and forbids what is computed at this moment to be
    /// published. No block is removed.
    ///
    /// # Errors
    /// `Unavailable` where the table of generations cannot be written.
    #[cfg(feature = "definitions")]
    pub(crate) fn raise(&self, view: &ViewName) -> Result<()> {
        let failed = |error| unavailable("raise the generation in", &self.root, error);
        self.rejoin()?;
        self.generations.load().wait_until_noticed();
        let _lock = self.locking(|| self.locks.publish(publish_stripe(view))).map_err(failed)?;
        self.generations.load().raise_view(Slots::of(view, "")).map_err(failed)
    }

    /// The paths of the blocks of one version of a view, in no order, with what they say.
    ///
    /// # Errors
    /// `Unavailable` where a directory cannot be read.
    #[cfg(feature = "definitions")]
    pub(crate) fn blocks_of(&self, view: &ViewName, fingerprint: Fingerprint) -> Result<Vec<(PathBuf, PathIdentity)>> {
        let directory = self.root.join(version_path(view, fingerprint));
        let mut found = Vec::new();
        let mut visit = |file: FoundFile| found.extend(identity_of(&file.path).map(|identity| (file.path, identity)));
        files::list(&*self.disk, &self.root, &directory, &mut visit)
            .map_err(|error| unavailable("list", &directory, error))?;
        Ok(found)
    }

    fn take_links_away(&self, view: &ViewName, entity: Option<&EntityKey>) -> io::Result<()> {
        let disk = &*self.disk;
        let view = self.root.join(view_path(view));
        files::take_links_away(disk, &self.root, &view)?;
        let Some(entity) = entity else { return files::take_links_away_below(disk, &view) };
        let keys: PathBuf = entity_directories(entity).iter().collect();
        let mut versions = files::names(disk, &view)?.into_iter().map(|name| view.join(name).join(&keys));
        versions.try_for_each(|directory| files::take_links_away(disk, &self.root, &directory))
    }

    /// Makes blocks that are gone stay away after a crash of the machine, also where publishing is not durable.
    ///
    /// All that may have held some is synced, not only where one was removed just now: somebody may have removed others
    /// and failed here, and cleaning syncs neither the blocks that it removes nor the directories. From below: a directory
    /// that is gone by its turn went before the one above it is synced.
    fn sync_removed(&self, view: &ViewName, entity: Option<&EntityKey>) -> io::Result<()> {
        let disk = &*self.disk;
        let view = self.root.join(view_path(view));
        match entity {
            None => files::sync_tree(disk, &view)?,
            Some(entity) => {
                let keys: PathBuf = entity_directories(entity).iter().collect();
                for version in files::directories(disk, &view)? {
                    for directory in version.join(&keys).ancestors().take_while(|directory| *directory != view) {
                        files::sync_present(disk, directory)?;
                    }
                }
                files::sync_present(disk, &view)?;
            }
        }
        files::sync_present(disk, &self.root.join(BLOCKS))
    }

    fn directories_of(&self, view: &ViewName, entity: Option<&EntityKey>) -> io::Result<Vec<PathBuf>> {
        let view = self.root.join(view_path(view));
        let Some(entity) = entity else { return Ok(vec![view]) };
        let keys: PathBuf = entity_directories(entity).iter().collect();
        let versions = files::directories(&*self.disk, &view)?;
        Ok(versions.into_iter().map(|version| version.join(&keys)).collect())
    }

    /// Removes a block's file where `goes`, which is asked about what is there now, says so; whether it is gone. What is
    /// behind a link is none of the cache's, so there is nothing then.
    ///
    /// `tell` is called once it is, before anybody can publish it again.
    ///
    /// # Errors
    /// `Unavailable` where it cannot be removed, or nobody can say what is there: it was not told then.
    pub fn evict(
        &self,
        id: &BlockId,
        goes: impl FnOnce(Option<&FoundFile>) -> bool,
        tell: impl FnOnce(),
    ) -> Result<bool> {
        let below = block_path(id);
        let path = self.root.join(&below);
        let failed = |error| unavailable("remove", &path, error);
        // Under the lock of publishing, so that the file is not replaced between asking and removing.
        let _lock = self.locking(|| self.locks.publish_in_passing(publish_stripe(&id.view))).map_err(failed)?;
        let led_astray = path.parent().and_then(|parent| files::link_on_the_way(&*self.disk, &self.root, parent));
        let file = if led_astray.is_some() { None } else { self.stat(&below)? };
        if !goes(file.as_ref()) {
            return Ok(false);
        }
        if file.is_some() {
            files::remove(&*self.disk, &path).map_err(failed)?;
        }
        tell();
        if let Some(parent) = path.parent().filter(|_| file.is_some()) {
            files::prune_empty(&*self.disk, parent, &self.root.join(BLOCKS));
        }
        Ok(true)
    }

    /// Moves a file to `quarantine/`, out of every reader's way, if what is there now is still bad.
    /// Returns where it is then, or `None` where somebody replaced or removed it meanwhile.
    ///
    /// # Errors
    /// `Unavailable` where it can be neither moved nor removed.
    pub fn quarantine(&self, path: &Path, is_bad: impl Fn(&Bytes) -> bool) -> Result<Option<PathBuf>> {
        let Some(identity) = identity_of(path) else { return Ok(None) };
        let from = self.root.join(path);
        let failed = |error| unavailable("quarantine", &from, error);
        let _lock = self.locking(|| self.locks.publish_in_passing(publish_stripe(&identity.view))).map_err(failed)?;
        // A link is read by nobody, and is bad whatever it points to.
        if from.parent().is_some_and(|parent| files::link_on_the_way(&*self.disk, &self.root, parent).is_some()) {
            return Ok(None);
        }
        let still_bad = files::read(&*self.disk, &from).map_or(true, |bytes| bytes.is_some_and(|bytes| is_bad(&bytes)));
        if !still_bad {
            return Ok(None);
        }
        let hash = XxHash3_64::oneshot(path.as_os_str().as_encoded_bytes());
        let name = from.file_name().map_or_else(Default::default, |name| name.to_string_lossy().into_owned());
        // One place per path: a block that is damaged again and again does not fill the disk.
        let to = Path::new(QUARANTINE).join(format!("{hash:016x}-{name}"));
        match self.rename(&from, &self.root.join(&to)) {
            Ok(_) => Ok(Some(to)),
            Err(_) => files::remove(&*self.disk, &from).map(|_| Some(to)).map_err(failed),
        }
    }
}

fn publish_stripe(view: &ViewName) -> u64 {
    XxHash3_64::oneshot(view.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;
    use crate::model::{Span, TimeRange};
    use crate::store::layout::GENERATIONS;

    fn id() -> BlockId {
        let range: TimeRange = Span::Day.block_of("2024-03-01".parse().unwrap());
        BlockId {
            view: ViewName::new("prices").unwrap(),
            fingerprint: "ce20d9dfd7046a750a2891dbead1269d".parse().unwrap(),
            entity: EntityKey::new([("symbol", "EURUSD")]).unwrap(),
            range,
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_ns(0)
    }

    fn open(root: &Path) -> CacheDir {
        CacheDir::open(&root.join("cache"), Publish::Fast, "test").unwrap()
    }

    #[test]
    fn whoever_read_a_block_during_its_invalidation_cannot_publish_it_again() {
        let root = tempfile::tempdir().unwrap();
        // Two handles are two processes to the locks.
        let (dir, other) = (open(root.path()), open(root.path()));
        let (id, slots) = (id(), dir.slots(&id().view, &id().entity));
        assert!(dir.publish(&id, b"old", dir.generation(slots), now).unwrap().is_some());
        std::thread::scope(|scope| {
            let (mut looks, mut extending) = (0, None);
            let (gone, done) = dir.invalidate(&id.view, Some(&id.entity), now, |file, _| {
                looks += 1;
                let (other, id) = (&other, &id);
                // The file is still there: somebody reads it under the present generation.
                let generation = other.generation(slots);
                assert!(other.read(id).unwrap().is_some());
                if looks == 1 {
                    assert!(
                        other.publish(id, b"old and more", generation, now).unwrap().is_some(),
                        "nobody has to wait yet"
                    );
                    return false;
                }
                assert_eq!(file.bytes, 12, "what came meanwhile is looked at too");
                extending =
                    Some(scope.spawn(move || other.publish(id, b"old and still more", generation, now).unwrap()));
                true
            });
            done.unwrap();
            assert_eq!((gone.len(), looks), (1, 2));
            assert!(extending.unwrap().join().unwrap().is_none(), "its generation is old by then");
        });
        assert!(dir.read(&id).unwrap().is_none());
    }

    #[test]
    fn an_invalidation_whose_lock_is_removed_says_so_and_what_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let dir = open(root.path());
        let (id, slots) = (id(), dir.slots(&id().view, &id().entity));
        assert!(dir.publish(&id, b"old", dir.generation(slots), now).unwrap().is_some());
        let lock = root.path().join("cache/locks").join(format!("p{:03x}", publish_stripe(&id.view) % 4096));
        let mut looks = 0;
        let invalidate = |looks: &mut u32| {
            dir.invalidate(&id.view, None, now, |_, _| {
                *looks += 1;
                // It is held from the second look on, for which there is something new.
                match *looks {
                    1 => assert!(dir.publish(&id, b"old and more", dir.generation(slots), now).unwrap().is_some()),
                    _ => std::fs::remove_file(&lock).unwrap(),
                }
                *looks > 1
            })
        };
        let (gone, done) = invalidate(&mut looks);
        assert!(done.unwrap_err().to_string().contains("cannot invalidate"), "somebody may have published since");
        assert_eq!((gone.len(), looks), (1, 2));
        assert_eq!(invalidate(&mut looks).1.unwrap(), Timestamp::from_ns(0));
    }

    #[test]
    fn a_copy_under_a_table_that_is_made_during_an_invalidation_is_old_after_it() {
        let root = tempfile::tempdir().unwrap();
        let dir = open(root.path());
        let (id, slots) = (id(), dir.slots(&id().view, &id().entity));
        assert!(dir.publish(&id, b"old", dir.generation(slots), now).unwrap().is_some());
        let mut copied = None;
        let (_, done) = dir.invalidate(&id.view, None, now, |_, _| {
            std::fs::remove_file(root.path().join("cache").join(GENERATIONS)).unwrap();
            let other = open(root.path());
            assert!(other.read(&id).unwrap().is_some());
            copied = Some((other.generation(slots), other));
            true
        });
        done.unwrap();
        let (generation, other) = copied.unwrap();
        assert_ne!(other.generation(slots), generation);
    }

    #[test]
    fn whoever_waited_to_publish_while_the_table_was_deleted_does_not() {
        let root = tempfile::tempdir().unwrap();
        let (dir, other) = (open(root.path()), open(root.path()));
        let (id, slots) = (id(), dir.slots(&id().view, &id().entity));
        let held = other.locks.publish(publish_stripe(&id.view)).unwrap();
        let generation = dir.generation(slots);
        std::thread::scope(|scope| {
            let publishing = scope.spawn(|| dir.publish(&id, b"old", generation, now).unwrap());
            let tmp = root.path().join("cache").join("tmp");
            let mut written = 0;
            while written == 0 && !publishing.is_finished() {
                files::list(&SystemDisk, &tmp, &tmp, &mut |file| written += u64::from(file.bytes == 3)).unwrap();
            }
            std::fs::remove_file(root.path().join("cache").join(GENERATIONS)).unwrap();
            // Somebody invalidates in the one that he makes.
            open(root.path());
            drop(held);
            assert!(publishing.join().unwrap().is_none());
        });
        assert!(dir.read(&id).unwrap().is_none());
    }

    #[test]
    fn copies_are_old_as_long_as_the_present_table_cannot_be_mapped() {
        let root = tempfile::tempdir().unwrap();
        let dir = open(root.path());
        let (slots, table) = (dir.slots(&id().view, &id().entity), root.path().join("cache").join(GENERATIONS));
        let mut seen = vec![dir.generation(slots)];
        std::fs::remove_file(&table).unwrap();
        std::fs::create_dir(&table).unwrap();
        for look in 1..4 {
            dir.stay_joined(Timestamp::from_secs(1));
            assert!(!seen.contains(&dir.generation(slots)), "look {look}");
            seen.push(dir.generation(slots));
        }
        dir.publish(&id(), b"x", dir.generation(slots), now).unwrap_err();
        dir.invalidate(&id().view, None, now, |_, _| true).1.unwrap_err();
        std::fs::remove_dir(&table).unwrap();
        dir.stay_joined(Timestamp::from_secs(1));
        assert!(dir.publish(&id(), b"x", dir.generation(slots), now).unwrap().is_some());
    }

    #[test]
    fn only_what_is_still_bad_is_quarantined() {
        let root = tempfile::tempdir().unwrap();
        let dir = open(root.path());
        let slots = dir.slots(&id().view, &id().entity);
        dir.publish(&id(), b"new", dir.generation(slots), now).unwrap();
        let path = block_path(&id());
        assert_eq!(dir.quarantine(&path, |bytes| bytes.as_ref() == b"bad").unwrap(), None);
        assert!(dir.read(&id()).unwrap().is_some());
        let quarantined = dir.quarantine(&path, |bytes| bytes.as_ref() == b"new").unwrap().unwrap();
        assert!(dir.read(&id()).unwrap().is_none() && dir.stat(&quarantined).unwrap().is_some());
    }

    #[test]
    fn after_the_table_of_generations_was_deleted_old_copies_are_old() {
        let root = tempfile::tempdir().unwrap();
        let dir = open(root.path());
        let slots = dir.slots(&id().view, &id().entity);
        let before = dir.generation(slots);
        std::fs::remove_file(root.path().join("cache").join(GENERATIONS)).unwrap();
        assert!(dir.publish(&id(), b"x", before, now).unwrap().is_none());
        assert_ne!(dir.generation(slots), before);
    }
}
