//! Processes that run beside each other on one cache, and what has to hold once all of them are gone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::Timestamp;
use larder::clock::{Clock, SystemClock};
use larder::config::Durability;
use larder::manifest::Manifest;
use larder::store::{CacheDir, Publish};
use larder::upkeep::{Finding, FindingKind, Silent, repair, verify};
use rustix::process::Signal;

use super::child::{CACHE, DURABILITY, Desk, SEED, SLOT, WAYS, WORLD, Ways};
use super::world::{Count, SLOTS, World};
use crate::desk::quiet;
use crate::mutate::Dice;
use crate::worker::{Worker, binary};

type Environment = Box<dyn Fn(usize) -> Vec<(String, String)>>;

/// How many processes run beside each other, unless a test says otherwise.
pub const PROCESSES: usize = 4;

pub struct Fleet {
    // They end before what they work on is removed.
    processes: Vec<Worker>,
    pub cache: PathBuf,
    /// Where what is true is written down, and what the processes complain of.
    desk: tempfile::TempDir,
    ways: Ways,
    durability: Option<Durability>,
    /// How many processes run beside each other.
    size: usize,
    /// What each process has in its environment besides, by its slot.
    environment: Environment,
    pub dice: Dice,
    begun: u64,
}

impl Fleet {
    /// `durability` is that of all processes, or each has another one.
    pub fn new(cache: &Path, seed: u64, ways: Ways, durability: Option<Durability>) -> Self {
        let desk = tempfile::tempdir().unwrap();
        let (cache, dice) = (cache.to_owned(), Dice::new(seed));
        let (processes, environment): (_, Environment) = (Vec::new(), Box::new(|_| Vec::new()));
        Self { cache, desk, ways, durability, size: PROCESSES, environment, dice, processes, begun: seed << 32 }
    }

    /// The same with another number of processes.
    pub fn of(mut self, size: usize) -> Self {
        assert!(size <= SLOTS);
        self.size = size;
        self
    }

    /// The same with this in the environment of its processes, by their slots.
    pub fn with(mut self, environment: impl Fn(usize) -> Vec<(String, String)> + 'static) -> Self {
        self.environment = Box::new(environment);
        self
    }

    pub fn world(&self) -> World {
        World::open(&self.path("world"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.desk.path().join(name)
    }

    fn start(&mut self, slot: usize) -> Worker {
        self.begun += 1;
        let mut command = binary();
        command.env(CACHE, &self.cache).env(WORLD, self.path("world"));
        command.env(SEED, self.begun.to_string()).env(SLOT, slot.to_string()).env(WAYS, self.ways.as_str());
        if let Some(durability) = self.durability {
            command.env(DURABILITY, format!("{durability:?}"));
        }
        command.envs((self.environment)(slot));
        let stderr = self.path(&format!("stderr-{slot}"));
        command.stderr(std::fs::File::options().append(true).create(true).open(stderr).unwrap());
        Worker::run(command, "crash::child::child")
    }

    pub fn start_all(&mut self) {
        self.processes = (0..self.size).map(|slot| self.start(slot)).collect();
    }

    /// Kills one process once it and others have asked a little, and starts it again.
    pub fn kill_one(&mut self) {
        let slot = self.dice.roll(self.size);
        // Some are killed while they open the cache.
        if self.dice.roll(8) > 0 {
            self.wait_until_open(slot);
        }
        self.wait_for_requests(16);
        assert!(!self.processes[slot].has_ended(), "{}", self.last_words(slot));
        let next = self.start(slot);
        std::mem::replace(&mut self.processes[slot], next).kill();
    }

    pub fn wait_until_all_are_open(&mut self) {
        (0..self.size).for_each(|slot| self.wait_until_open(slot));
    }

    /// Waits until all processes, which were told to, have come to their end.
    pub fn wait_until_all_are_done(&mut self) {
        for slot in 0..self.size {
            let mut said = self.processes[slot].hear_or_end();
            while said.as_ref().is_some_and(|said| said != "done") {
                said = self.processes[slot].hear_or_end();
            }
            assert!(said.is_some(), "{}", self.last_words(slot));
        }
        self.processes.clear();
        self.world().check_panics();
    }

    /// Fails where a process has ended.
    pub fn check_that_all_live(&mut self) {
        for slot in 0..self.size {
            assert!(!self.processes[slot].has_ended(), "{}", self.last_words(slot));
        }
    }

    /// One of the processes.
    pub fn process(&self, slot: usize) -> &Worker {
        &self.processes[slot]
    }

    fn wait_until_open(&mut self, slot: usize) {
        assert!(self.processes[slot].hear_or_end().is_some(), "{}", self.last_words(slot));
    }

    /// Waits until fewer than `most` more requests have begun, in whichever process, and then for a moment.
    pub fn wait_for_requests(&mut self, most: usize) {
        let world = self.world();
        let until = world.counted(Count::Asked) + self.dice.roll(most) as u64;
        // Only so that whatever hangs is told.
        let deadline = Instant::now() + Duration::from_secs(600);
        while world.counted(Count::Asked) < until {
            assert!(Instant::now() < deadline, "nobody asks any more");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(self.dice.roll(5_000) as u64));
    }

    /// What the process in a slot said before it ended.
    fn last_words(&self, slot: usize) -> String {
        let said = std::fs::read_to_string(self.path(&format!("stderr-{slot}"))).unwrap_or_default();
        format!("process {slot} ended by itself: {said}")
    }

    /// Stops all processes where they are, does something, and kills them.
    pub fn kill_all(&mut self, meanwhile: impl FnOnce()) {
        for process in &self.processes {
            process.signal(Signal::STOP);
        }
        meanwhile();
        for (slot, mut process) in std::mem::take(&mut self.processes).into_iter().enumerate() {
            assert!(!process.has_ended(), "{}", self.last_words(slot));
            process.kill();
        }
        // Who fails writes down what is in its memory before it ends, and may be killed meanwhile.
        self.world().check_panics();
    }

    /// Fails where something is wrong, or lost that was acknowledged.
    pub fn look(&self) {
        self.world().check_panics();
        let mut settings = quiet();
        settings.durability = self.durability.unwrap_or(settings.durability);
        for slot in 0..self.size {
            let mut desk = Desk::open(&self.cache, &self.path("world"), slot, settings.clone());
            desk.check_pushed();
            if slot == 0 {
                desk.try_to_check_shared().unwrap();
            }
            if slot == 0 && self.ways == Ways::Keeping {
                desk.check_kept();
            }
            if slot == 1 {
                desk.check_values();
            }
        }
        whole(&self.cache, self.durability == Some(Durability::Fast) || self.ways == Ways::Robbed);
    }

    /// Waits until everything that may happen has happened once more from now on.
    pub fn wait_for_everything(&mut self) {
        let (before, deadline) = (self.counted(), Instant::now() + Duration::from_secs(600));
        while !self.missing(before).is_empty() {
            assert!(Instant::now() < deadline, "not any more: {:?}", self.missing(before));
            self.wait_for_requests(60);
            self.check_that_all_live();
        }
    }

    fn counted(&self) -> [u64; Count::ALL.len()] {
        let world = self.world();
        Count::ALL.map(|count| world.counted(count))
    }

    /// What may happen and has not happened more often than this.
    fn missing(&self, before: [u64; Count::ALL.len()]) -> Vec<Count> {
        let more = Count::ALL.into_iter().zip(self.counted()).zip(before);
        more.filter(|((count, now), before)| self.ways.allow(*count) && now <= before)
            .map(|((count, _), _)| count)
            .collect()
    }

    /// How often everything has happened; fails where something has not that may.
    pub fn counts(&self) -> String {
        assert_eq!(self.missing([0; _]), [], "nothing was shown of that");
        self.world().told()
    }
}

/// Blocks that the manifest does not know although nobody is about to tell it.
pub fn unknown(cache: &Path) -> Vec<Finding> {
    let dir = CacheDir::open(cache, Publish::Fast, "look").unwrap();
    let manifest = Manifest::new(cache, Arc::new(SystemClock));
    let later = Timestamp::from_ns(SystemClock.now_ns()).saturating_add(Duration::from_secs(60));
    let findings = verify(&dir, &manifest, later, &mut Silent).unwrap().findings;
    findings.into_iter().filter(|finding| finding.kind == FindingKind::NotInManifest).collect()
}

/// Every file is whole, unless some may be bad, and after repairing the manifest says what the files are.
pub fn whole(cache: &Path, may_be_bad: bool) {
    let dir = CacheDir::open(cache, Publish::Fast, "look").unwrap();
    let manifest = Manifest::new(cache, Arc::new(SystemClock));
    let now = || Timestamp::from_ns(SystemClock.now_ns());
    let repaired = repair(&dir, &manifest, now(), &mut Silent).unwrap();
    assert!(may_be_bad || repaired.quarantined.is_empty(), "{repaired:?}");
    let later = now().saturating_add(Duration::from_secs(60));
    assert_eq!(verify(&dir, &manifest, later, &mut Silent).unwrap().findings, []);
    dir.tidy().unwrap();
    let left: Vec<_> = std::fs::read_dir(cache.join("tmp")).unwrap().flatten().collect();
    assert_eq!(left.len(), 0, "half-written files stay: {left:?}");
    assert!(may_be_bad || std::fs::read_dir(cache.join("quarantine")).unwrap().count() == 0);
}
