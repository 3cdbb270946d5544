//! Disks with little room left: at every level each request is answered, and blocks are kept again once there is room.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::clock::ManualClock;
use larder::{ErrorKind, FeatureStore, Outcome, Settings};

use super::child::{Desk, Operation};
use super::fleet::whole;
use super::is_long;
use super::strace::Prepared;
use super::world::{DAYS, ENTITIES, Rows};
use crate::bad_luck::Disk;
use crate::damage::files;
use crate::desk::{checked_rows, minutes, quiet, range, symbol, time, view};
use crate::mutate::times;

const PAGE: u64 = 4096;
/// Blocks have to be kept again so soon after there is room.
const RECOVERY: Duration = Duration::from_secs(5);

/// What there is little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    /// So many pages are free.
    Room(u64),
    /// So many files can be made.
    Inodes(u64),
}

/// Takes the disk up until it is given back.
struct Filler(PathBuf);

impl Filler {
    fn new(disk: &Disk, lack: Lack) -> Self {
        let filler = Self(disk.dir.path().join("filler"));
        match lack {
            Lack::Room(pages) => {
                let mut file = File::create(&filler.0).unwrap();
                let page = [1; PAGE as usize];
                let written = std::iter::from_fn(|| file.write(&page).ok()).sum::<usize>() as u64;
                file.set_len(written.saturating_sub(pages * PAGE)).unwrap();
            }
            Lack::Inodes(left) => {
                std::fs::create_dir(&filler.0).unwrap();
                let made = (0..).take_while(|number| File::create(filler.0.join(number.to_string())).is_ok()).count();
                for number in 0..left.min(made as u64) {
                    std::fs::remove_file(filler.0.join(number.to_string())).unwrap();
                }
            }
        }
        filler
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0).or_else(|_| std::fs::remove_file(&self.0));
    }
}

/// Nothing stays in memory, so that what is kept lies on the disk.
fn settings() -> Settings {
    let mut settings = quiet();
    settings.memory.max_mb = 0;
    settings
}

fn blocks(cache: &Path) -> usize {
    files(&cache.join("blocks")).len()
}

/// A tail that is known until noon, or asked for until one.
fn ask_for_a_tail(cache: &Path, until: &str) -> Outcome {
    let clock = Arc::new(ManualClock::new(time("2024-03-01T14:00:00Z").as_ns()));
    let store = FeatureStore::builder(cache).settings(settings()).clock(clock).open().unwrap();
    let tail = symbol("TAIL");
    let answer = store.get_or_compute(&view(), &tail, range("2024-03-01", until), minutes).unwrap();
    let rows = if until.contains("T12") { 720 } else { 780 };
    assert_eq!(checked_rows(&answer, &tail), rows);
    answer.outcome()
}

/// Whatever it was, it was done or refused with a reason.
fn done_or_refused(what: &str, done: larder::Result<()>) -> bool {
    if let Err(error) = &done {
        let kinds = [ErrorKind::Unavailable, ErrorKind::Busy];
        assert!(kinds.contains(&error.kind()) && error.to_string().contains('/'), "{what}: {error}");
    }
    done.is_ok()
}

/// Does everything while there is little, and looks at what there is afterwards; what was done, and how long it took
/// until a block was kept again.
fn live(disk: &Disk, before: &Prepared, lack: Lack, opened_before: bool) -> ([bool; 4], Duration) {
    let (cache, world) = (disk.cache(), tempfile::tempdir().unwrap());
    let world = world.path().join("world");
    let _ = std::fs::remove_dir_all(&cache);
    assert!(Command::new("cp").arg("-a").arg(before.cache()).arg(&cache).status().unwrap().success());
    std::fs::copy(before.world(), &world).unwrap();
    let open = || Desk::open(&cache, &world, 0, settings());
    let early = opened_before.then(open);
    let filler = Filler::new(disk, lack);
    let mut desk = early.unwrap_or_else(open);
    desk.is_faulty = true;
    let kept = blocks(&cache);
    assert_eq!(desk.ask(0, 0, 3), 3, "what is there is served");
    desk.ask(ENTITIES - 1, 0, 2);
    ask_for_a_tail(&cache, "2024-03-01T13:00:00Z");
    desk.flush();
    let pushed = done_or_refused("push", desk.try_to_push(Rows::Own));
    let invalidated = done_or_refused("invalidate", desk.invalidate(1));
    desk.ask(1, 0, 3);
    let folded = done_or_refused("fold", desk.store.manifest().fold().map(drop));
    desk.check_pushed();
    let published = blocks(&cache) > kept;
    let half = files(&cache.join("tmp")).into_iter().find(|file| !file.ends_with("lock"));
    assert_eq!(half, None, "half-written files stay");
    drop(filler);
    let (began, kept) = (Instant::now(), blocks(&cache));
    let recovered = (0..DAYS).find(|day| {
        desk.ask(2, *day, 1);
        blocks(&cache) > kept
    });
    let took = began.elapsed();
    assert_eq!(recovered, Some(0), "the first block is kept once there is room");
    desk.is_faulty = false;
    desk.push();
    desk.invalidate(1).unwrap();
    desk.fold();
    drop(desk);
    let mut desk = open();
    desk.check_pushed();
    desk.check_kept();
    desk.check_values();
    drop(desk);
    whole(&cache, false);
    ([published, pushed, invalidated, folded], took)
}

/// Lives through levels until everything fits at one; `None` where none does.
fn sweep(name: &str, levels: impl Iterator<Item = Lack>) {
    let Some(disk) = Disk::mount_with("size=24m,nr_inodes=2000") else { return };
    let before = Prepared::new(Operation::Evict);
    ask_for_a_tail(&before.cache(), "2024-03-01T12:00:00Z");
    let (mut worst, mut first) = (Duration::ZERO, [None; 4]);
    for (count, lack) in (1..).zip(levels) {
        let mut all = true;
        for opened_before in [true, false] {
            let (done, took) = live(&disk, &before, lack, opened_before);
            worst = worst.max(took);
            assert!(took <= RECOVERY, "a block was kept after {took:?} with {lack:?}");
            for (first, done) in first.iter_mut().zip(done) {
                *first = first.or_else(|| done.then_some(lack));
            }
            all &= done.iter().all(|done| *done);
        }
        if all {
            let [published, pushed, invalidated, folded] = first.map(Option::unwrap);
            eprintln!(
                "{name}: {count} levels up to {lack:?}, each for who opens it before and after; every request answered, a \
                 block kept {worst:?} after there was room at the latest; published from {published:?}, pushed from \
                 {pushed:?}, invalidated from {invalidated:?}, folded from {folded:?}"
            );
            return;
        }
    }
    panic!("there is always too little: {first:?}");
}

#[test]
fn at_every_level_of_a_full_disk_requests_are_answered_and_blocks_are_kept_again_afterwards() {
    // Page by page where blocks and journals begin to fit, in larger steps where DuckDB does.
    let step = times(96, 1);
    let fine = if is_long() { 0..64 } else { 0..20 };
    let coarse = (fine.end..4_096).step_by(step as usize);
    sweep("a full disk", fine.chain(coarse).map(Lack::Room));
}

#[test]
fn at_every_number_of_inodes_requests_are_answered_and_blocks_are_kept_again_afterwards() {
    sweep("a disk without inodes", (0..200).map(Lack::Inodes));
}
