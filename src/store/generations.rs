//! A small shared table of counters that says, in nanoseconds, whether a cached copy is still good.
//!
//! `<cache dir>/generations` holds 16,384 64-bit counters, memory-mapped by every process. An
//! invalidation raises the counter of its view or of its entity; a copy in memory remembers the sum
//! of both under which it was loaded and is not served once the sum is another. Two entities that
//! share a counter cost each other a read from disk, never a wrong answer. What a counter is raised by
//! is drawn at random: a flipped bit, which would undo a raise by one, leads back to no old sum.
//!
//! Larder never shortens or replaces the file. Whoever deletes it cuts the processes off from each other until they
//! look again, which each does within [`NOTICED`] while it is asked; so nobody invalidates in a younger table. Whoever
//! truncates it in place ends the processes that have it mapped with `SIGBUS`: only its owner can, and a table that is
//! read by system calls instead would cost every hit two of them.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memmap2::MmapRaw;
use rustix::fs::{FallocateFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;
use twox_hash::XxHash3_64;

use crate::disk::{Disk, Open};
use crate::model::ViewName;

const COUNTERS: usize = 16_384;
const BYTES: u64 = (COUNTERS * size_of::<u64>()) as u64;

/// How long after a table was deleted and made again a process may still go by the old one.
pub(super) const NOTICED: Duration = Duration::from_millis(100);

/// The sum of the counters that cover an entity at one moment, in one map of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    // A table that was deleted and made again begins at 0: without this, old copies would fit it.
    map: u64,
    sum: u64,
}

/// Which counters cover an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    view: usize,
    entity: usize,
}

impl Slots {
    /// The counters of `view` and of the entity whose keys have this path, so that a command that
    /// knows only the path raises the same ones.
    pub fn of(view: &ViewName, entity_path: &str) -> Self {
        let hash = |text: String| XxHash3_64::oneshot(text.as_bytes());
        // Even counters are views', odd ones entities': a view's never rises with an entity's of its own.
        let slot = |hash: u64, odd: usize| usize::try_from(hash % (COUNTERS as u64 / 2)).unwrap_or(0) * 2 + odd;
        Self { view: slot(hash(view.to_string()), 0), entity: slot(hash(format!("{view}/{entity_path}")), 1) }
    }
}

/// The mapped table.
pub struct Generations {
    map: Arc<MmapRaw>,
    number: u64,
    inode: u64,
    writable: bool,
    /// From when on every process has noticed that this is the table.
    noticed: Instant,
}

impl Generations {
    /// Maps the table, making it first where there is none. On a read-only disk it can be read only.
    pub fn open(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let (file, writable) = match disk.open(path, Open::Shared) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied) =>
            {
                (disk.open(path, Open::Read)?, false)
            }
            file => (file?, true),
        };
        if writable {
            allocate(&file)?;
        }
        if file.metadata()?.len() < BYTES {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the table is too short, and cannot be written here",
            ));
        }
        let mut options = memmap2::MmapOptions::new();
        options.len(COUNTERS * size_of::<u64>());
        let map = if writable { options.map_raw(&file)? } else { options.map_raw_read_only(&file)? };
        let noticed = Instant::now() + NOTICED.saturating_sub(age(&file));
        Ok(Self { map: map.into(), number: next_number(), inode: file.metadata()?.ino(), writable, noticed })
    }

    /// Maps it again. Where it is the same file, copies made before stay good.
    pub fn again(&self, disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let again = Self::open(disk, path)?;
        // The inode of a file that is mapped is given to no other.
        let number = if again.inode == self.inode { self.number } else { again.number };
        Ok(Self { number, ..again })
    }

    /// What to go by where another table is there and cannot be mapped: copies made before are old, and those made under
    /// this one are as soon as it is tried again.
    pub fn lost(&self) -> Self {
        Self { map: Arc::clone(&self.map), number: next_number(), inode: 0, writable: false, noticed: self.noticed }
    }

    /// Waits until no process goes by another table that was deleted; no time at all where this one is not brand-new.
    pub fn wait_until_noticed(&self) {
        std::thread::sleep(self.noticed.saturating_duration_since(Instant::now()));
    }

    /// The present generation of an entity.
    pub fn now(&self, slots: Slots) -> Generation {
        // Acquire pairs with the release of `raise`: whoever sees the new count also sees that the
        // files are gone. Wrapping, because only equality is asked.
        let view = self.counter(slots.view).load(Ordering::Acquire);
        let entity = self.counter(slots.entity).load(Ordering::Acquire);
        Generation { map: self.number, sum: view.wrapping_add(entity) }
    }

    /// Whether anything can be invalidated in it.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Makes every copy of this entity's blocks old.
    pub fn raise_entity(&self, slots: Slots) -> io::Result<()> {
        self.raise(slots.entity)
    }

    /// Makes every copy of this view's blocks old.
    pub fn raise_view(&self, slots: Slots) -> io::Result<()> {
        self.raise(slots.view)
    }

    fn raise(&self, slot: usize) -> io::Result<()> {
        // Writing to a read-only map would end the process.
        if !self.writable {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        // Odd, so that it is never 0.
        let step = RandomState::new().build_hasher().finish() | 1;
        self.counter(slot).fetch_add(step, Ordering::AcqRel);
        Ok(())
    }

    /// Whether `path` is still the mapped file. Somebody who deletes it cuts this process off from the others.
    pub fn is_current(&self, disk: &dyn Disk, path: &Path) -> bool {
        disk.metadata(path).is_ok_and(|now| now.ino() == self.inode && now.len() >= BYTES)
    }

    #[expect(unsafe_code, reason = "counters in shared memory have no safe form")]
    fn counter(&self, slot: usize) -> &AtomicU64 {
        let slot = slot % COUNTERS;
        // SAFETY: the map is `COUNTERS * 8` bytes long, page-aligned (so each slot is 8-byte
        // aligned), lives as long as `self`, and is only ever accessed through atomics, here and in
        // other processes. The file is never shortened by Larder.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().cast::<u64>().add(slot)) }
    }
}

/// The number of a map, which no other has in this process.
fn next_number() -> u64 {
    static MAPS: AtomicU64 = AtomicU64::new(0);
    MAPS.fetch_add(1, Ordering::Relaxed)
}

/// How old the file is, by the clock of its file system alone; nothing where that does not say.
fn age(file: &File) -> Duration {
    let (omit, now) = (Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, Timespec { tv_sec: 0, tv_nsec: UTIME_NOW });
    let touched = rustix::fs::futimens(file, &Timestamps { last_access: omit, last_modification: now });
    let age = || {
        let metadata = file.metadata().ok()?;
        metadata.modified().ok()?.duration_since(metadata.created().ok()?).ok()
    };
    touched.ok().and_then(|()| age()).unwrap_or_default()
}

/// Makes the table as long as it has to be, with disk behind every byte of it.
///
/// A hole would be filled at the first touch through the map, and where the disk is full then, the
/// touch ends the process. What is there stays; two processes doing this at once do the same.
fn allocate(file: &File) -> io::Result<()> {
    match rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, FallocateFlags::empty(), 0, BYTES)) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            let length = file.metadata()?.len();
            let missing = usize::try_from(BYTES.saturating_sub(length)).unwrap_or(0);
            file.write_all_at(&vec![0; missing], length)
        }
        allocated => allocated.map_err(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;

    fn table(path: &Path) -> Generations {
        Generations::open(&SystemDisk, path).unwrap()
    }

    /// One of no file, which is what Miri can map.
    fn without_file(writable: bool) -> Generations {
        let map = memmap2::MmapOptions::new().len(COUNTERS * size_of::<u64>()).map_anon().unwrap();
        Generations { map: Arc::new(map.into()), number: 0, inode: 0, writable, noticed: Instant::now() }
    }

    #[test]
    fn every_slot_is_a_counter_of_its_own_within_the_table() {
        let table = without_file(true);
        for slot in [0, 1, COUNTERS - 1] {
            table.raise(slot).unwrap();
        }
        let counts = || (0..COUNTERS).map(|slot| table.counter(slot).load(Ordering::Relaxed)).collect::<Vec<_>>();
        let differ = |one: &[u64], other: &[u64]| (0..COUNTERS).filter(|at| one[*at] != other[*at]).collect::<Vec<_>>();
        let raised = counts();
        assert_eq!(differ(&raised, &[0; COUNTERS]), [0, 1, COUNTERS - 1]);
        // What no `Slots` has goes round.
        table.raise(COUNTERS).unwrap();
        table.raise(usize::MAX).unwrap();
        assert_eq!(differ(&raised, &counts()), [0, COUNTERS - 1]);
        assert_eq!(without_file(false).raise(0).unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
    }

    #[test]
    fn no_bit_that_flips_makes_an_old_generation_of_the_present_one() {
        let (table, slots) = (without_file(true), Slots { view: 0, entity: 1 });
        let mut old = vec![table.now(slots)];
        for _ in 0..100 {
            table.raise_entity(slots).unwrap();
            table.raise_view(slots).unwrap();
            for (slot, bit) in (0..2).flat_map(|slot| (0..u64::BITS).map(move |bit| (slot, bit))) {
                table.counter(slot).fetch_xor(1 << bit, Ordering::Relaxed);
                assert!(!old.contains(&table.now(slots)), "bit {bit} of counter {slot}");
                table.counter(slot).fetch_xor(1 << bit, Ordering::Relaxed);
            }
            old.push(table.now(slots));
        }
    }

    #[test]
    fn whoever_sees_a_raise_sees_what_was_done_before_it() {
        let (table, slots) = (without_file(true), Slots { view: 0, entity: 1 });
        let removed = std::sync::atomic::AtomicBool::new(false);
        let before = table.now(slots);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                removed.store(true, Ordering::Relaxed);
                table.raise_view(slots).unwrap();
            });
            while table.now(slots) == before {
                std::thread::yield_now();
            }
            assert!(removed.load(Ordering::Relaxed));
        });
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn a_raise_in_one_map_is_seen_in_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("generations");
        let (one, other) = (table(&path), table(&path));
        let view = ViewName::new("v").unwrap();
        let (a, b) = (Slots::of(&view, "symbol=A"), Slots::of(&view, "symbol=B"));
        let before = (other.now(a), other.now(b));
        one.raise_entity(a).unwrap();
        assert_ne!(other.now(a), before.0);
        assert_eq!(other.now(b), before.1);
        one.raise_view(a).unwrap();
        assert_ne!(other.now(b), before.1);
        let raised = other.now(b).sum;
        drop((one, other));
        assert_eq!(table(&path).now(b).sum, raised, "it survives the processes");
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn a_deleted_table_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("generations");
        let mapped = table(&path);
        assert!(mapped.is_current(&SystemDisk, &path));
        std::fs::remove_file(&path).unwrap();
        assert!(!mapped.is_current(&SystemDisk, &path));
        let _new = table(&path);
        assert!(!mapped.is_current(&SystemDisk, &path));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn copies_outlive_another_map_of_the_same_table_but_not_another_table() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("generations");
        let (mapped, slots) = (table(&path), Slots::of(&ViewName::new("v").unwrap(), "symbol=A"));
        assert_eq!(mapped.again(&SystemDisk, &path).unwrap().now(slots), mapped.now(slots));
        std::fs::remove_file(&path).unwrap();
        assert_ne!(mapped.again(&SystemDisk, &path).unwrap().now(slots), mapped.now(slots));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn nobody_waits_for_a_table_that_is_not_brand_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("generations");
        let new = table(&path);
        assert!(new.noticed > Instant::now(), "others may still go by one that was deleted");
        new.wait_until_noticed();
        assert!(table(&path).noticed <= Instant::now());
    }
}
