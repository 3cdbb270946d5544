//! A process that does everything that a service or an operator may do, checks each answer, and is killed at any moment.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::Float64Type;
use larder::clock::{Clock, SystemClock};
use larder::compute::Features;
use larder::config::Durability;
use larder::definition::{Definitions, Environment};
use larder::disk::{Disk, SystemDisk};
use larder::manifest::{Journal, Record};
use larder::model::SourceName;
use larder::registry::{DefinitionFile, Registry};
use larder::store::{CacheDir, Publish};
use larder::upkeep::{CleanOptions, Silent, clean, repair};
use larder::{
    Answer, AnswerBlock, ComputeError, EntityKey, ErrorKind, FeatureStore, Gap, Origin, Settings, Source, TimeRange,
    Timestamp, ViewName,
};

use super::faulty::Faulty;
use super::is_long;
use super::world::{Cell, Count, DAYS, ENTITIES, Rows, SLOTS, World, day, entity, number, values, version_of};
use crate::desk::{quiet, view};
use crate::mutate::Dice;
use crate::worker::say;

pub const CACHE: &str = "CRASH_CACHE";
pub const WORLD: &str = "CRASH_WORLD";
pub const SEED: &str = "CRASH_SEED";
pub const SLOT: &str = "CRASH_SLOT";
/// [`Durability`]; where it is not set, the seed decides.
pub const DURABILITY: &str = "CRASH_DURABILITY";
pub const OPERATION: &str = "CRASH_OPERATION";
/// What the process may do: [`Ways`] as text.
pub const WAYS: &str = "CRASH_WAYS";
/// After so many things that it did it says `done`; where it is not set, it goes on until it is killed.
pub const ACTS: &str = "CRASH_ACTS";

/// The rows that are pushed, and the view of them.
const DEFINITIONS: &str = r#"
[entity.symbol]
[source.ticks]
kind = "push"
types = { number = "double" }
[view.ticks]
entity = "symbol"
source = "ticks"
[view.ticks.features]
number = { column = "number" }
"#;

const MINUTE: usize = 60_000_000_000;

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ways {
    /// Everything, also that blocks are evicted.
    All,
    /// Everything but evicting: what was kept stays until it is invalidated.
    Keeping,
    /// Asking for the most part, and neither pushing nor warming nor repairing.
    Asking,
    /// Everything but pushing and warming, and applying definitions besides. All but answering may fail: somebody takes
    /// away what lies on the disk.
    Robbed,
}

impl Ways {
    const EVERY: [Self; 4] = [Self::All, Self::Keeping, Self::Asking, Self::Robbed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Keeping => "keeping",
            Self::Asking => "asking",
            Self::Robbed => "robbed",
        }
    }

    /// Whether this may happen.
    pub fn allow(self, count: Count) -> bool {
        match count {
            Count::Cleanings | Count::Evictions => self != Self::Keeping,
            Count::Repairs => self != Self::Asking,
            Count::Pushes => matches!(self, Self::All | Self::Keeping),
            _ => true,
        }
    }
}

/// A cache with what is true beside it.
pub struct Desk {
    pub store: FeatureStore,
    features: Features,
    cache: PathBuf,
    world: World,
    slot: usize,
    /// Where calls of the file system may fail in this process.
    faulty: Option<Faulty>,
    /// Whether calls fail, so that what was answered need not be kept.
    pub is_faulty: bool,
    /// Whether the power is cut, so that only what was synced stays.
    power: bool,
    /// Whether files are bad, because a test made them so.
    may_quarantine: bool,
    /// Requests that the journal may not have yet.
    unflushed: u64,
    /// The bytes of blocks that cleaning leaves.
    pub clean_to: u64,
}

#[test]
#[ignore = "a process of other tests, which are: cargo test --release --all-features --test it crash"]
fn child() {
    let Ok(cache) = std::env::var(CACHE) else { return };
    let variable = |name| std::env::var(name).unwrap();
    let seed = variable(SEED).parse().unwrap();
    let mut dice = Dice::new(seed);
    let mut settings = quiet();
    settings.manifest.fold_interval = Duration::from_millis(1 + dice.roll(30) as u64);
    settings.durability = match std::env::var(DURABILITY) {
        Ok(text) if text == format!("{:?}", Durability::Fast) => Durability::Fast,
        Err(_) if dice.roll(4) > 0 => Durability::Fast,
        _ => Durability::Durable,
    };
    settings.memory.max_mb = dice.roll(2) as u64;
    let ways = Ways::EVERY.into_iter().find(|ways| variable(WAYS) == ways.as_str()).unwrap();
    if ways == Ways::Asking {
        // Or they would wait for each other most of the time.
        settings.manifest.fold_interval *= 20;
    }
    let slot = variable(SLOT).parse().unwrap();
    World::open(Path::new(&variable(WORLD))).watch_panics();
    let mut desk = Desk::open(Path::new(&cache), Path::new(&variable(WORLD)), slot, settings);
    say("ready");
    desk.power = std::env::var_os(DURABILITY).is_some();
    // What was not synced may be bad then.
    desk.may_quarantine = std::env::var(DURABILITY).is_ok_and(|text| text == format!("{:?}", Durability::Fast));
    desk.is_faulty = ways == Ways::Robbed;
    desk.may_quarantine |= desk.is_faulty;
    let acts = std::env::var(ACTS).map_or(u64::MAX, |acts| acts.parse().unwrap());
    for _ in 0..acts {
        match ways {
            Ways::All | Ways::Keeping => desk.act(&mut dice, ways),
            Ways::Asking => desk.ask_mostly(&mut dice),
            Ways::Robbed => desk.act_robbed(&mut dice),
        }
    }
    say("done");
}

/// What is done once, to be killed at each of its system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Publish,
    PublishDurable,
    Invalidate,
    Evict,
    Flush,
    Fold,
    Repair,
    Push,
    /// The same with the first row of a day.
    PushFirst,
    Warm,
}

impl Operation {
    pub const ALL: [Self; 10] = [
        Self::Publish,
        Self::PublishDurable,
        Self::Invalidate,
        Self::Evict,
        Self::Flush,
        Self::Fold,
        Self::Repair,
        Self::Push,
        Self::PushFirst,
        Self::Warm,
    ];

    pub fn settings(self) -> Settings {
        let mut settings = quiet();
        if self == Self::PublishDurable {
            settings.durability = Durability::Durable;
        }
        settings
    }

    /// Whether DuckDB is needed for it, or on the way out.
    pub fn opens_the_manifest(self) -> bool {
        matches!(self, Self::Evict | Self::Flush | Self::Fold | Self::Repair)
    }
}

#[test]
#[ignore = "a process of other tests, which are: cargo test --release --all-features --test it crash"]
fn once() {
    let Ok(cache) = std::env::var(CACHE) else { return };
    let variable = |name| std::env::var(name).unwrap();
    let name = variable(OPERATION);
    let operation = Operation::ALL.into_iter().find(|operation| format!("{operation:?}") == name).unwrap();
    let settings = operation.settings();
    World::open(Path::new(&variable(WORLD))).watch_panics();
    let mut desk = Desk::open(Path::new(&cache), Path::new(&variable(WORLD)), 0, settings);
    if operation == Operation::Flush {
        desk.ask(0, 0, 3);
    }
    desk.may_quarantine = operation == Operation::Repair;
    say("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    // Whether calls fail, so that nothing but answering has to succeed. It says nothing: that may fail too.
    desk.is_faulty = line.trim() == "try";
    let done = desk.run(operation);
    if desk.is_faulty {
        // What lies in memory is written on the way out.
        drop(desk);
        std::process::exit(0);
    }
    done.unwrap();
    say("done");
}

impl Desk {
    pub fn open(cache: &Path, world: &Path, slot: usize, settings: Settings) -> Self {
        Self::try_open(cache, world, slot, settings, None).unwrap()
    }

    /// The same on another file system.
    pub fn try_open(
        cache: &Path,
        world: &Path,
        slot: usize,
        settings: Settings,
        faulty: Option<Faulty>,
    ) -> larder::Result<Self> {
        let store = FeatureStore::builder(cache).settings(settings).disk(disk(faulty.as_ref())).open()?;
        let texts = [(PathBuf::from("ticks.toml"), DEFINITIONS.to_owned())];
        let definitions = Definitions::of_texts(texts, Environment::default()).unwrap();
        let features = Features::builder(store.clone(), definitions).open()?;
        Ok(Self {
            store,
            features,
            cache: cache.to_owned(),
            world: World::open(world),
            slot,
            faulty,
            is_faulty: false,
            power: false,
            may_quarantine: false,
            unflushed: 0,
            clean_to: 40_000,
        })
    }

    /// What has to be expected from now on.
    pub fn expect(&mut self, nothing_kept: bool, bad_files: bool) {
        self.is_faulty = nothing_kept;
        self.power = self.faulty.is_some();
        self.may_quarantine = bad_files;
    }

    /// Fails where something is still wrong although nothing fails any more.
    pub fn recovers(&mut self) {
        self.ask(2, DAYS - 1, 1);
        assert_eq!(self.ask(2, DAYS - 1, 1), 1, "nothing is kept any more");
    }

    pub fn run(&mut self, operation: Operation) -> larder::Result<()> {
        match operation {
            Operation::Publish | Operation::PublishDurable => {
                self.ask(ENTITIES - 1, 0, 2);
                Ok(())
            }
            Operation::Invalidate => self.invalidate(0),
            Operation::Evict => self.evict(),
            Operation::Flush => {
                self.flush();
                Ok(())
            }
            Operation::Fold => self.store.manifest().fold().map(drop),
            Operation::Repair => self.repair(),
            Operation::Push => self.try_to_push(Rows::Own),
            Operation::PushFirst => self.try_to_push(Rows::Shared),
            Operation::Warm => self.warm(ENTITIES - 1),
        }
    }

    /// How many calls have failed so far.
    fn failed(&self) -> u64 {
        self.faulty.as_ref().map_or(0, Faulty::failed)
    }

    /// Whether nothing has failed since this number was told.
    fn is_sound(&self, failed: u64) -> bool {
        !self.is_faulty && self.failed() == failed
    }

    /// Asks for a few days of an entity.
    fn ask_any(&mut self, dice: &mut Dice) {
        let first = dice.roll(DAYS);
        let days = (1 + dice.roll(3)).min(DAYS - first);
        self.ask(dice.roll(ENTITIES), first, days);
    }

    fn ask_mostly(&mut self, dice: &mut Dice) {
        match dice.roll(1_000) {
            0..6 => self.invalidate(dice.roll(ENTITIES)).unwrap(),
            6 => self.invalidate_view().unwrap(),
            7 => self.fold(),
            8 => self.flush(),
            // Somebody else may be at the manifest for longer than one waits.
            9 => self.clean().unwrap_or_default(),
            _ => self.ask_any(dice),
        }
    }

    fn act_robbed(&mut self, dice: &mut Dice) {
        match dice.roll(100) {
            0..8 => self.invalidate(dice.roll(ENTITIES)).unwrap_or_default(),
            8 => self.invalidate_view().unwrap_or_default(),
            9..12 => self.fold(),
            12..15 => self.flush(),
            15..17 => self.clean().unwrap_or_default(),
            17 => self.repair().unwrap_or_default(),
            18..20 => self.apply().unwrap_or_default(),
            _ => self.ask_any(dice),
        }
    }

    pub fn act(&mut self, dice: &mut Dice, ways: Ways) {
        if let Err(error) = self.try_to_act(dice, ways) {
            // Somebody else has stood in the way for seconds, on a machine that has other things to do.
            assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
            self.world.count(Count::Busy, 1);
        }
    }

    /// Does something; fails where it may.
    pub fn try_to_act(&mut self, dice: &mut Dice, ways: Ways) -> larder::Result<()> {
        match dice.roll(100) {
            0..66 => self.ask_any(dice),
            66..74 => self.invalidate(dice.roll(ENTITIES))?,
            74 => self.invalidate_view()?,
            75..80 => self.fold(),
            80..84 => self.flush(),
            // Somebody else may be at the manifest for longer than one waits.
            84..88 if ways == Ways::All => self.clean().unwrap_or_default(),
            88..91 => self.repair().unwrap_or_default(),
            // Only where there is time to look into what it finds: among 500 kills it has failed once.
            94..96 if is_long() => self.try_to_push(Rows::Shared)?,
            97..99 if is_long() => self.try_to_check_shared()?,
            91..96 => self.try_to_push(Rows::Own)?,
            96..99 => drop(self.try_to_check_pushed()?),
            99 => self.warm(dice.roll(ENTITIES))?,
            _ => {}
        }
        Ok(())
    }

    /// Asks for days of an entity and checks every value; how many of the days no compute made for this request.
    pub fn ask(&mut self, number: usize, first: usize, days: usize) -> u64 {
        let (entity, world) = (entity(number), &self.world);
        let range = TimeRange::new(day(first), day(first + days)).unwrap();
        let low = world.get(Cell::Acknowledged(number));
        let failed = self.failed();
        world.count(Count::Asked, 1);
        world.change(Cell::AskedBy(self.slot), |asked| asked + 1);
        self.unflushed += 1;
        let answer = self.store.get_or_compute(&view(), &entity, range, |gap| compute(world, gap)).unwrap();
        let high = world.get(Cell::Version(number));
        let versions = versions(&answer, &entity, first, days);
        for (at, version) in versions.iter().enumerate() {
            assert!((low..=high).contains(version), "{entity} day {at}: version {version}, not {low} to {high}");
            // Another process that published it may not have synced it yet.
            if self.is_sound(failed) && (!self.power || answer.blocks()[at].origin() == Origin::Compute) {
                world.kept(number, first + at, *version, low);
            }
        }
        let cached =
            answer.blocks().iter().filter(|block| matches!(block.origin(), Origin::Memory | Origin::Disk)).count()
                as u64;
        world.count(Count::Checked, days as u64);
        world.count(Count::Cached, cached);
        cached
    }

    /// Fails where a day that was kept has to be computed again.
    pub fn check_kept(&mut self) {
        for number in 0..ENTITIES {
            for at in 0..DAYS {
                let (kept, version) = (self.world.get(Cell::Kept(number, at)), self.world.get(Cell::Version(number)));
                if kept == version + 1 {
                    assert_eq!(self.ask(number, at, 1), 1, "day {at} of {} was lost", entity(number));
                }
            }
        }
    }

    /// Fails where a value is wrong, or older than an invalidation that has returned.
    pub fn check_values(&mut self) {
        for number in 0..ENTITIES {
            self.ask(number, 0, DAYS);
        }
    }

    pub fn invalidate(&self, number: usize) -> larder::Result<()> {
        let (_lock, version) = self.world.invalidating(number);
        self.store.invalidate(&view(), &entity(number), TimeRange::new(day(0), day(DAYS)).unwrap())?;
        self.invalidated(number, version);
        Ok(())
    }

    pub fn invalidate_view(&self) -> larder::Result<()> {
        let all: Vec<_> = (0..ENTITIES).map(|number| self.world.invalidating(number)).collect();
        self.store.invalidate_view(&view())?;
        all.iter().enumerate().for_each(|(number, (_, version))| self.invalidated(number, *version));
        Ok(())
    }

    fn invalidated(&self, number: usize, version: u64) {
        self.world.change(Cell::Acknowledged(number), |known| known.max(version));
        self.world.count(Count::Invalidations, 1);
    }

    /// Has a day of an entity computed that nobody asked for.
    fn warm(&self, number: usize) -> larder::Result<()> {
        let range = TimeRange::new(day(0), day(1)).unwrap();
        let (entity, world, failed) = (entity(number), &self.world, self.failed());
        let low = world.get(Cell::Acknowledged(number));
        let answer = self.store.warm_from(&view(), &entity, range, world)?;
        let version = versions(&answer, &entity, 0, 1)[0];
        assert!((low..=world.get(Cell::Version(number))).contains(&version), "{entity} was warmed with {version}");
        if self.is_sound(failed) && (!self.power || answer.blocks()[0].origin() == Origin::Compute) {
            world.kept(number, 0, version, low);
        }
        Ok(())
    }

    pub fn flush(&mut self) {
        self.store.flush();
        self.world.count(Count::Flushed, std::mem::take(&mut self.unflushed));
    }

    pub fn fold(&self) {
        // Somebody else may be at it for longer than one waits.
        if self.store.manifest().fold().is_ok() {
            self.world.count(Count::Folds, 1);
        }
    }

    fn dir(&self) -> larder::Result<CacheDir> {
        CacheDir::open_on(disk(self.faulty.as_ref()), &self.cache, Publish::Fast, "crash")
    }

    fn clean(&self) -> larder::Result<()> {
        let dir = self.dir()?;
        let journal = Journal::create_on(disk(self.faulty.as_ref()), &self.cache)?;
        let mut settings = (*self.store.settings()).clone();
        settings.max_cache_size_gb = self.clean_to as f64 / 1e9;
        settings.disk.min_age = Duration::ZERO;
        let now = Timestamp::from_ns(SystemClock.now_ns());
        let append = |records: &[Record]| {
            let appended = journal.append(records);
            assert!(self.is_faulty || self.faulty.is_some() || appended.is_ok(), "{appended:?}");
        };
        let options = CleanOptions::default();
        let report = clean(&dir, self.store.manifest(), &settings, now, options, append, &mut Silent)?;
        self.world.count(Count::Cleanings, 1);
        self.world.count(Count::Evictions, report.removed.len() as u64);
        Ok(())
    }

    /// Has blocks removed, of which there have to be some.
    fn evict(&mut self) -> larder::Result<()> {
        let evictions = |desk: &Self| desk.world.counted(Count::Evictions);
        let (before, failed) = (evictions(self), self.failed());
        self.clean_to = 3_000;
        self.clean()?;
        assert!(!self.is_sound(failed) || evictions(self) > before, "nothing was evicted");
        Ok(())
    }

    fn repair(&self) -> larder::Result<()> {
        let dir = self.dir()?;
        let now = Timestamp::from_ns(SystemClock.now_ns());
        let report = repair(&dir, self.store.manifest(), now, &mut Silent)?;
        assert!(self.may_quarantine || report.quarantined.is_empty(), "no file is ever bad: {report:?}");
        self.world.count(Count::Repairs, 1);
        Ok(())
    }

    /// Applies the next definitions, which say what the last ones were.
    fn apply(&self) -> larder::Result<()> {
        let registry = Registry::on(disk(self.faulty.as_ref()), &self.cache);
        let of = |base: u64| vec![DefinitionFile { path: "/a.toml".into(), text: format!("[view.after_{base}]") }];
        let latest = registry.latest()?;
        let base = latest.as_ref().map_or(0, |version| version.number);
        assert!(latest.is_none_or(|version| version.files == of(base - 1)), "other definitions than were applied");
        registry.add(base, of(base), Timestamp::MIN, "crash").map(drop)
    }

    pub fn push(&self) {
        self.try_to_push(Rows::Own).unwrap();
    }

    /// How often folding has succeeded.
    pub fn folds(&self) -> u64 {
        self.world.counted(Count::Folds)
    }

    /// Pushes the next row, unless it is pushed already.
    pub fn try_to_push(&self, rows: Rows) -> larder::Result<()> {
        let pushed = Cell::Pushed(rows, self.slot);
        let row = self.world.get(pushed);
        let columns: [(&str, ArrayRef); 2] = [
            ("event_timestamp", Arc::new(TimestampNanosecondArray::from(vec![rows.at(self.slot, row)]))),
            ("number", Arc::new(Float64Array::from(vec![rows.value(self.slot, row)]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        self.features.push(&SourceName::new("ticks").unwrap(), &rows.entity(self.slot), &batch)?;
        // One that is about to be killed may still be at it, for the same slot.
        self.world.change(pushed, |known| known.max(row + 1));
        self.world.count(Count::Pushes, 1);
        Ok(())
    }

    /// Fails where a row that was pushed is not there; one more may be, of a process that was killed in between.
    pub fn check_pushed(&self) {
        self.try_to_check_pushed().unwrap();
    }

    /// The same where the rows may not be readable. How many there are.
    pub fn try_to_check_pushed(&self) -> larder::Result<usize> {
        let rows = self.world.get(Cell::Pushed(Rows::Own, self.slot));
        let found = self.pushed(Rows::Own, rows + 2)?;
        assert!((rows..=rows + 1).contains(&(found.len() as u64)), "{} of {rows} pushed rows", found.len());
        for (row, found) in (0..).zip(&found) {
            assert_eq!(*found, (Rows::Own.at(self.slot, row), Rows::Own.value(self.slot, row)));
        }
        Ok(found.len())
    }

    /// The same with the rows of an entity that all processes push to, whichever of them pushed a row.
    pub fn try_to_check_shared(&self) -> larder::Result<()> {
        let pushed: Vec<u64> = (0..SLOTS).map(|slot| self.world.get(Cell::Pushed(Rows::Shared, slot))).collect();
        let most = pushed.iter().max().unwrap() + 2;
        let found = self.pushed(Rows::Shared, most)?;
        let rows = (0..most).flat_map(|row| (0..SLOTS).map(move |slot| (slot, row)));
        let there: Vec<_> = rows
            .filter(|(slot, row)| found.contains(&(Rows::Shared.at(*slot, *row), Rows::Shared.value(*slot, *row))))
            .collect();
        assert_eq!(there.len(), found.len(), "rows that nobody pushed");
        for (slot, pushed) in pushed.iter().enumerate() {
            let there = there.iter().filter(|(of, row)| *of == slot && row < pushed).count();
            assert_eq!(there as u64, *pushed, "of {pushed} rows that process {slot} pushed beside others");
        }
        Ok(())
    }

    /// The rows that were pushed up to one.
    fn pushed(&self, rows: Rows, until: u64) -> larder::Result<Vec<(i64, f64)>> {
        let slot = if rows == Rows::Own { self.slot } else { 0 };
        let time = |row| Timestamp::from_ns(rows.at(slot, row));
        let range = TimeRange::new(time(0), time(until)).unwrap();
        let answer = self.features.get_or_compute(&ViewName::new("ticks").unwrap(), &rows.entity(self.slot), range)?;
        let batch = answer.to_batch().unwrap();
        let numbers = batch.column_by_name("number").unwrap().as_primitive::<Float64Type>();
        Ok(larder::event_times(&batch).iter().copied().zip(numbers.values().iter().copied()).collect())
    }
}

fn disk(faulty: Option<&Faulty>) -> Arc<dyn Disk> {
    faulty.map_or(Arc::new(SystemDisk), Faulty::as_disk)
}

/// One row a minute, of the version that is the present one when this begins.
fn compute(world: &World, gap: &Gap) -> larder::Result<RecordBatch> {
    let version = world.get(Cell::Version(number(gap.entity())));
    let times: Vec<i64> = (gap.range().start().as_ns()..gap.range().end().as_ns()).step_by(MINUTE).collect();
    let values = times.iter().copied().map(values(gap.entity(), version));
    let values: ArrayRef = Arc::new(Float64Array::from_iter_values(values));
    gap.batch(times, vec![values])
}

impl Source for World {
    fn compute(&self, gap: &Gap) -> Result<RecordBatch, ComputeError> {
        Ok(compute(self, gap)?)
    }
}

/// The version of which each day's values are: all of one version, and none missing.
fn versions(answer: &Answer, entity: &EntityKey, first: usize, days: usize) -> Vec<u64> {
    assert_eq!(answer.blocks().len(), days);
    let version = |(at, block): (usize, &AnswerBlock)| {
        let (times, numbers) = (larder::event_times(block.batch()), block.batch().column(1));
        let numbers = numbers.as_primitive::<Float64Type>().values();
        let expected: Vec<i64> = (day(first + at).as_ns()..day(first + at + 1).as_ns()).step_by(MINUTE).collect();
        assert_eq!(*times, *expected, "the times of {entity}, day {}", first + at);
        let version = version_of(entity, times[0], numbers[0]);
        let version = version.unwrap_or_else(|| panic!("{entity}, day {}: {}", first + at, numbers[0]));
        let right = values(entity, version);
        for (time, number) in times.iter().zip(numbers) {
            assert_eq!(*number, right(*time), "{entity} at {}", Timestamp::from_ns(*time));
        }
        version
    };
    answer.blocks().iter().enumerate().map(version).collect()
}
