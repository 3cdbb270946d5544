//! Processes that are killed at random moments.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use larder::Timestamp;
use larder::clock::{Clock, SystemClock};
use larder::manifest::Manifest;
use larder::store::{CacheDir, Publish};
use larder::upkeep::{Silent, repair, verify};

use super::child::{CACHE, Desk, Dice, SEED, SLOT, WAYS, WORLD, Ways};
use super::times;
use super::world::{Count, SLOTS, World};
use crate::desk::{quiet, view};
use crate::worker::Worker;

/// After so many kills all processes are killed, and the whole cache is looked at.
const LOOK: u64 = 25;

struct Crashes {
    dir: tempfile::TempDir,
    ways: Ways,
    dice: Dice,
    processes: Vec<Worker>,
    begun: u64,
}

impl Crashes {
    fn new(seed: u64, ways: Ways) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut crashes = Self { dir, ways, dice: Dice::new(seed), processes: Vec::new(), begun: seed << 32 };
        crashes.start_all();
        crashes
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&mut self, slot: usize) -> Worker {
        self.begun += 1;
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "crash::child::child", "--nocapture", "--include-ignored"]);
        command.env(CACHE, self.path("cache")).env(WORLD, self.path("world"));
        command.env(SEED, self.begun.to_string()).env(SLOT, slot.to_string()).env(WAYS, self.ways.as_str());
        command.stderr(std::fs::File::create(self.path(&format!("stderr-{slot}"))).unwrap());
        Worker::run(command)
    }

    fn start_all(&mut self) {
        self.processes = (0..SLOTS).map(|slot| self.start(slot)).collect();
    }

    /// Kills one process and starts it again.
    fn kill_one(&mut self) {
        let slot = self.dice.roll(SLOTS as u64) as usize;
        // Some are killed while they open the cache.
        if self.dice.roll(8) > 0 && self.processes[slot].hear_or_end().is_none() {
            panic!("{}", self.last_words(slot));
        }
        let more = self.dice.roll(40);
        self.wait_for_requests(more);
        std::thread::sleep(Duration::from_micros(self.dice.roll(5_000)));
        let next = self.start(slot);
        let mut killed = std::mem::replace(&mut self.processes[slot], next);
        assert!(!killed.has_ended(), "{}", self.last_words(slot));
        killed.kill();
    }

    /// Waits until so many more requests have begun, in whichever process.
    fn wait_for_requests(&self, more: u64) {
        let world = World::open(&self.path("world"));
        let (until, deadline) = (world.counted(Count::Asked) + more, Instant::now() + Duration::from_secs(600));
        while world.counted(Count::Asked) < until {
            assert!(Instant::now() < deadline, "nobody asks any more");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What the process in a slot said before it ended.
    fn last_words(&self, slot: usize) -> String {
        let said = std::fs::read_to_string(self.path(&format!("stderr-{slot}"))).unwrap_or_default();
        format!("process {slot} ended by itself: {said}")
    }

    /// Kills all and looks at everything.
    fn look(&mut self) {
        for (slot, mut process) in std::mem::take(&mut self.processes).into_iter().enumerate() {
            assert!(!process.has_ended(), "{}", self.last_words(slot));
            process.kill();
        }
        let (cache, world) = (self.path("cache"), self.path("world"));
        for slot in 0..SLOTS {
            let mut desk = Desk::open(&cache, &world, slot, quiet());
            desk.check_pushed();
            if self.ways == Ways::Keeping && slot == 0 {
                desk.check_kept();
            }
        }
        whole(&cache, false);
    }
}

/// Every file is whole, unless some may be bad, and after repairing the manifest says what the files are.
pub fn whole(cache: &Path, may_quarantine: bool) {
    let dir = CacheDir::open(cache, Publish::Fast, "look").unwrap();
    let manifest = Manifest::new(cache, std::sync::Arc::new(SystemClock));
    let now = || Timestamp::from_ns(SystemClock.now_ns());
    let repaired = repair(&dir, &manifest, now(), &mut Silent).unwrap();
    assert!(may_quarantine || repaired.quarantined.is_empty(), "{repaired:?}");
    let later = now().saturating_add(Duration::from_secs(60));
    assert_eq!(verify(&dir, &manifest, later, &mut Silent).unwrap().findings, []);
    dir.tidy().unwrap();
    let left: Vec<_> = std::fs::read_dir(cache.join("tmp")).unwrap().flatten().collect();
    assert_eq!(left.len(), 0, "half-written files stay: {left:?}");
    assert!(may_quarantine || std::fs::read_dir(cache.join("quarantine")).unwrap().count() == 0);
}

fn processes_are_killed(ways: Ways, kills: u64) {
    let mut crashes = Crashes::new(kills, ways);
    for kill in 1..=kills {
        crashes.kill_one();
        if kill % LOOK == 0 || kill == kills {
            crashes.look();
            if kill < kills {
                crashes.start_all();
            }
        }
    }
    let world = World::open(&crashes.path("world"));
    let counts: Vec<_> = Count::ALL.iter().map(|count| format!("{count:?} {}", world.counted(*count))).collect();
    println!("{kills} kills: {}", counts.join(", "));
    let manifest = Manifest::new(crashes.path("cache"), std::sync::Arc::new(SystemClock));
    let minutes = manifest.read(|query| query.requests(Timestamp::MIN, Some(view().name()))).unwrap();
    let known: u64 = minutes.iter().map(|minute| minute.1.total()).sum();
    let (flushed, asked) = (world.counted(Count::Flushed), world.counted(Count::Asked));
    assert!((flushed..=asked).contains(&known), "{known} requests are known, of {flushed} flushed and {asked} asked");
}

#[test]
fn processes_that_are_killed_lose_nothing_and_serve_nothing_wrong() {
    processes_are_killed(Ways::Keeping, times(100, 5_000));
    processes_are_killed(Ways::All, times(100, 5_000));
}
