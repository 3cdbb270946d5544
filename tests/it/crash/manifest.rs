//! Manifests that are deleted or damaged, with DuckDB's log beside them: they are made again, and no block is computed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use larder::manifest::Totals;

use super::child::Desk;
use super::fleet::whole;
use super::world::{DAYS, ENTITIES};
use crate::desk::quiet;
use crate::mutate::{Dice, times};

/// What DuckDB reads at once.
const PAGE: usize = 4096;

/// What happens to the files of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Deleted,
    Emptied,
    Truncated,
    BitsFlipped,
    Overwritten,
    PagesSwapped,
    LogAlone,
}

const DAMAGES: [Damage; 7] = [
    Damage::Deleted,
    Damage::Emptied,
    Damage::Truncated,
    Damage::BitsFlipped,
    Damage::Overwritten,
    Damage::PagesSwapped,
    Damage::LogAlone,
];

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

impl Damage {
    fn happen(self, file: &Path, dice: &mut Dice) {
        let length = std::fs::metadata(file).unwrap().len() as usize;
        let mut within = |below: usize| dice.roll(below);
        match self {
            Self::Deleted => std::fs::remove_file(file).unwrap(),
            Self::Emptied => std::fs::write(file, b"").unwrap(),
            Self::Truncated => change(file, |bytes| bytes.truncate(within(length))),
            Self::BitsFlipped => change(file, |bytes| {
                for _ in 0..=within(8) {
                    bytes[within(length)] ^= 1 << within(8);
                }
            }),
            Self::Overwritten => change(file, |bytes| {
                let (from, long) = (within(length), within(20_000));
                bytes.iter_mut().skip(from).take(long).for_each(|byte| *byte = within(256) as u8);
            }),
            Self::PagesSwapped => change(file, |bytes| {
                let pages = length / PAGE;
                let (one, other) = (within(pages) * PAGE, within(pages) * PAGE);
                for at in 0..PAGE.min(bytes.len()) {
                    bytes.swap(one + at, other + at);
                }
            }),
            // As if another file's log had been left beside this one.
            Self::LogAlone => {
                let log: Vec<u8> = (0..within(5_000)).map(|_| within(256) as u8).collect();
                std::fs::write(beside(file), log).unwrap();
            }
        }
    }
}

fn beside(manifest: &Path) -> PathBuf {
    manifest.with_extension("duckdb.wal")
}

/// What the manifest says once it says as much as it did; how long that took.
fn totals_again(desk: &Desk, truth: Totals) -> Duration {
    let began = Instant::now();
    loop {
        let totals = desk.store.manifest().read(|query| query.totals()).unwrap_or_default();
        if totals == truth {
            return began.elapsed();
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{totals:?}, not {truth:?}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

#[test]
fn a_manifest_that_is_deleted_or_damaged_is_made_again_and_no_block_is_computed() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, world) = (dir.path().join("cache"), dir.path().join("world"));
    let mut settings = quiet();
    settings.manifest.fold_interval = Duration::from_millis(30);
    settings.memory.max_mb = 0;
    let open = || Desk::open(&cache, &world, 0, settings.clone());
    let mut desk = open();
    for number in 0..ENTITIES {
        desk.ask(number, 0, 3);
    }
    let truth = desk.store.manifest().read(|query| query.totals()).unwrap();
    assert_eq!(truth.blocks, ENTITIES as u64 * 3);
    drop(desk);
    let (mut dice, count, manifest) = (Dice::new(7), times(100, 1_000), cache.join("manifest.duckdb"));
    let (mut worst, mut asked, mut done) = (Duration::ZERO, 0, [0; DAMAGES.len()]);
    for _ in 0..count {
        let which = dice.roll(DAMAGES.len());
        done[which] += 1;
        DAMAGES[which].happen(&manifest, &mut dice);
        let mut desk = open();
        for number in 0..ENTITIES {
            assert_eq!(desk.ask(number, 0, 3), 3, "{:?}: blocks were computed again", DAMAGES[which]);
            asked += 3;
        }
        worst = worst.max(totals_again(&desk, truth));
        assert_eq!(desk.ask(0, DAYS.min(3) - 1, 1), 1);
    }
    let kinds: Vec<_> = DAMAGES.iter().zip(done).map(|(damage, done)| format!("{damage:?} {done}")).collect();
    eprintln!(
        "{count} manifests ({}): 0 of {asked} blocks computed again, true again after {worst:?} at the latest",
        kinds.join(", ")
    );
    whole(&cache, false);
}
