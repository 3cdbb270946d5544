//! What is true, kept outside of the cache: a file of numbers that every process of a test shares and none caches.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use larder::{EntityKey, Timestamp};
use memmap2::MmapRaw;

/// Entities whose features are asked for.
pub const ENTITIES: usize = 6;
/// Days that are asked for, from [`day`] 0 on.
pub const DAYS: usize = 12;
/// Processes that push, at the most.
pub const SLOTS: usize = 8;

const MINUTE: i64 = 60_000_000_000;
const DAY: i64 = 1_440 * MINUTE;
/// 2024-02-01T00:00:00Z.
const FIRST: i64 = 1_706_745_600_000_000_000;

/// A number that all processes share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// The present version of what the values of an entity are computed from.
    Version(usize),
    /// The version of the entity's last invalidation that has returned.
    Acknowledged(usize),
    /// One more than the version of which a day's block was kept, as an answer has told; 0 for none.
    Kept(usize, usize),
    /// The rows that a process has pushed, as its last push has told.
    Pushed(Rows, usize),
    /// The requests that a process has begun.
    AskedBy(usize),
    /// How often that happened.
    Count(Count),
}

/// Whose rows are pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Of an entity of each process's own.
    Own,
    /// Of one entity, whose days all processes have in common.
    Shared,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Requests that have begun.
    Asked,
    /// Requests that the journal has, as `flush` has told.
    Flushed,
    /// Blocks whose values were compared.
    Checked,
    /// Of them, those that no compute of this request made.
    Cached,
    Invalidations,
    Folds,
    Cleanings,
    Evictions,
    Repairs,
    Pushes,
    /// Computes, where each is counted.
    Computes,
    /// Assertions that failed, whatever became of the process after that.
    Panics,
    /// Processes that came to a point where they wait for each other.
    Arrived,
    /// What was refused because somebody else did not come to an end with his.
    Busy,
}

impl Count {
    /// Those that are told of.
    pub const ALL: [Self; 10] = [
        Self::Asked,
        Self::Flushed,
        Self::Checked,
        Self::Cached,
        Self::Invalidations,
        Self::Folds,
        Self::Cleanings,
        Self::Evictions,
        Self::Repairs,
        Self::Pushes,
    ];
}

impl Cell {
    fn index(self) -> usize {
        match self {
            Self::Version(entity) => entity,
            Self::Acknowledged(entity) => ENTITIES + entity,
            Self::Kept(entity, day) => 2 * ENTITIES + entity * DAYS + day,
            Self::Pushed(rows, slot) => (2 + DAYS) * ENTITIES + rows as usize * SLOTS + slot,
            Self::AskedBy(slot) => (2 + DAYS) * ENTITIES + 2 * SLOTS + slot,
            Self::Count(count) => (2 + DAYS) * ENTITIES + 3 * SLOTS + count as usize,
        }
    }
}

/// The file. It is changed through a map, which takes no system call: those are counted and may fail.
pub struct World {
    map: MmapRaw,
    path: PathBuf,
}

const BYTES: usize = 4096;

fn open(path: &Path) -> std::io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

impl World {
    /// Opens it, making it where there is none.
    pub fn open(path: &Path) -> Self {
        let file = open(path).unwrap();
        file.set_len(BYTES as u64).unwrap();
        Self { map: MmapRaw::map_raw(&file).unwrap(), path: path.to_owned() }
    }

    /// Raises the version of an entity. While the answer lives, nobody else invalidates it: otherwise an invalidation that
    /// takes its time would remove what is computed after another one.
    pub fn invalidating(&self, entity: usize) -> (Option<File>, u64) {
        // There may be no descriptor for it, where nobody else is.
        let lock = open(&self.path.with_extension(entity.to_string())).ok();
        if let Some(lock) = &lock {
            let _ = lock.lock();
        }
        (lock, self.change(Cell::Version(entity), |version| version + 1))
    }

    #[expect(unsafe_code, reason = "numbers in shared memory have no safe form")]
    fn cell(&self, cell: Cell) -> &AtomicU64 {
        assert!(cell.index() < BYTES / 8);
        // SAFETY: the map is page-aligned, `BYTES` long, lives as long as `self`, and is only accessed through atomics.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().cast::<u64>().add(cell.index())) }
    }

    pub fn get(&self, cell: Cell) -> u64 {
        self.cell(cell).load(Ordering::SeqCst)
    }

    /// Changes a number and returns the new one.
    pub fn change(&self, cell: Cell, change: impl Fn(u64) -> u64) -> u64 {
        let before = self.cell(cell).fetch_update(Ordering::SeqCst, Ordering::SeqCst, |known| Some(change(known)));
        before.map(change).unwrap()
    }

    pub fn count(&self, count: Count, more: u64) {
        self.change(Cell::Count(count), |known| known + more);
    }

    pub fn counted(&self, count: Count) -> u64 {
        self.get(Cell::Count(count))
    }

    /// What was counted, in words.
    pub fn told(&self) -> String {
        let and_busy = Count::ALL.into_iter().chain([Count::Busy]);
        and_busy.map(|count| format!("{count:?} {}", self.counted(count))).collect::<Vec<_>>().join(", ")
    }

    /// Says of whatever fails in this process from now on what it was, for those who kill it before it ends.
    pub fn watch_panics(&self) {
        let (world, usual) = (Self::open(&self.path), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| {
            let said = File::options().append(true).create(true).open(world.panics());
            // The number says so where there is no room for the words.
            let _ = said.and_then(|mut file| file.write_all(format!("{panic}\n").as_bytes()));
            world.count(Count::Panics, 1);
            usual(panic);
        }));
    }

    fn panics(&self) -> PathBuf {
        self.path.with_extension("panics")
    }

    /// Fails where something has failed in a process.
    pub fn check_panics(&self) {
        let count = self.counted(Count::Panics);
        assert_eq!(count, 0, "{}", std::fs::read_to_string(self.panics()).unwrap_or_default());
    }

    /// Says that a day's block of this version was kept, for a request before which the invalidations up to `acknowledged`
    /// had returned. One that has not returned may remove the block.
    pub fn kept(&self, entity: usize, day: usize, version: u64, acknowledged: u64) {
        if acknowledged == version && self.get(Cell::Version(entity)) == version {
            self.change(Cell::Kept(entity, day), |_| version + 1);
        }
    }
}

pub fn entity(number: usize) -> EntityKey {
    crate::desk::symbol(&format!("S{number}"))
}

/// The number of the entity.
pub fn number(entity: &EntityKey) -> usize {
    (0..ENTITIES).find(|number| self::entity(*number) == *entity).unwrap()
}

/// The midnight at which a day begins.
pub fn day(number: usize) -> Timestamp {
    Timestamp::from_ns(FIRST + number as i64 * DAY)
}

/// How much a value of the next version is larger.
const VERSION: f64 = 1e9;

/// What the value of an entity at a time is in a version. All of it is exact.
pub fn values(entity: &EntityKey, version: u64) -> impl Fn(i64) -> f64 + use<> {
    let values = crate::desk::values(entity);
    move |ns| values(ns) + version as f64 * VERSION
}

/// The version of which this is the value.
pub fn version_of(entity: &EntityKey, ns: i64, value: f64) -> Option<u64> {
    let version = ((value - crate::desk::value(entity, ns)) / VERSION).round();
    (version >= 0.0 && values(entity, version as u64)(ns) == value).then_some(version as u64)
}

impl Rows {
    /// The event times of the rows that a process pushes. Those that are shared lie between each other's, and before all
    /// others, because some clocks are late.
    pub fn at(self, slot: usize, row: u64) -> i64 {
        match self {
            Self::Own => FIRST + slot as i64 * 100 * DAY + row as i64 * 10 * MINUTE,
            Self::Shared => FIRST - 100 * DAY + (row * SLOTS as u64 + slot as u64) as i64 * MINUTE,
        }
    }

    /// What stands in them, which no two have in common.
    pub fn value(self, slot: usize, row: u64) -> f64 {
        match self {
            Self::Own => row as f64,
            Self::Shared => (row * SLOTS as u64 + slot as u64) as f64,
        }
    }

    pub fn entity(self, slot: usize) -> EntityKey {
        match self {
            Self::Own => crate::desk::symbol(&format!("P{slot}")),
            Self::Shared => crate::desk::symbol("P"),
        }
    }
}
