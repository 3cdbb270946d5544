//! In whichever order threads run: nothing that was invalidated is served afterwards, one thread computes, nobody waits for
//! ever. And each of these protocols, broken on purpose, is found to be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::DataType;
use interleavings::cache::flight::{Claim, Flights, Landing};
use interleavings::cache::memory::{CachedBlock, Memory};
use interleavings::error::{Error, ErrorKind};
use interleavings::model::{BlockId, EntityKey, FeatureBlock, FeatureView, Span, Timestamp};
use interleavings::planted::{self, Bug};
use interleavings::store::{CacheDir, Machine};
use shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use shuttle::thread;

const NOW: Timestamp = Timestamp::from_secs(1_709_251_200);

fn view() -> FeatureView {
    FeatureView::builder("prices").entity("symbol").feature("value", DataType::Float64).span(Span::Day).build().unwrap()
}

fn id() -> BlockId {
    let view = view();
    BlockId {
        view: view.name().clone(),
        fingerprint: view.fingerprint(),
        entity: EntityKey::new([("symbol", "EURUSD")]).unwrap(),
        range: view.span().block_of(NOW),
    }
}

/// A block of one row, whose value is the version of what it is computed from.
fn block(id: &BlockId, version: u64) -> FeatureBlock {
    let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![id.range.start().as_ns()]).with_timezone("UTC"));
    let values: ArrayRef = Arc::new(Float64Array::from(vec![version as f64]));
    FeatureBlock {
        id: id.clone(),
        known_until: id.range.end(),
        created: NOW,
        extended: NOW,
        newest_created: None,
        compute_time: Duration::ZERO,
        input_version: None,
        batch: RecordBatch::try_new(Arc::clone(view().schema()), vec![times, values]).unwrap(),
    }
}

fn version_of(block: &FeatureBlock) -> u64 {
    block.batch.column(1).as_any().downcast_ref::<Float64Array>().unwrap().value(0) as u64
}

/// What is true, beside the cache.
#[derive(Default)]
struct World {
    /// What computes are computed from.
    version: AtomicU64,
    /// The version of the last invalidation that has returned.
    acknowledged: AtomicU64,
    computes: AtomicUsize,
}

/// A store, as one process has it.
struct Process {
    dir: CacheDir,
    memory: Memory,
    flights: Flights,
    id: BlockId,
    world: Arc<World>,
}

impl Process {
    fn new(machine: &Machine, world: &Arc<World>) -> Arc<Self> {
        let (memory, flights) = (Memory::new(1 << 20), Flights::default());
        Arc::new(Self { dir: machine.open(), memory, flights, id: id(), world: Arc::clone(world) })
    }

    /// What `Core::look_up_one` and `Core::load` do: memory first, then the disk.
    fn look(&self) -> Option<Arc<CachedBlock>> {
        let slots = self.dir.slots(&self.id.view, &self.id.entity);
        let generation = self.dir.generation(slots);
        let in_memory = self.memory.get(self.id.fingerprint, &self.id.entity, self.id.range.start());
        thread::yield_now();
        if let Some(cached) = in_memory
            && (cached.generation == generation || planted::is(Bug::MemoryUnchecked))
        {
            return Some(cached);
        }
        let bytes = self.dir.read(&self.id).unwrap()?;
        let block = block(&self.id, u64::from_le_bytes(bytes.as_ref().try_into().unwrap()));
        let cached = Arc::new(CachedBlock::new(block, slots, generation, self.memory.used()));
        self.memory.insert(Arc::clone(&cached));
        Some(cached)
    }

    /// What `Core::fill`, `Core::settle` and `Core::keep` do.
    fn compute(&self) -> Arc<CachedBlock> {
        let slots = self.dir.slots(&self.id.view, &self.id.entity);
        let generation = self.dir.generation(slots);
        if let Some(cached) = self.look() {
            return cached;
        }
        self.world.computes.fetch_add(1, Ordering::SeqCst);
        let version = self.world.version.load(Ordering::SeqCst);
        let cached = Arc::new(CachedBlock::new(block(&self.id, version), slots, generation, self.memory.used()));
        if self.dir.publish(&self.id, &version.to_le_bytes(), generation, || NOW).unwrap().is_some() {
            self.memory.insert(Arc::clone(&cached));
        }
        cached
    }

    /// What `Core::serve` does: the version that is answered.
    fn ask(&self) -> u64 {
        loop {
            if let Some(cached) = self.look() {
                return version_of(&cached.block);
            }
            let generation = self.dir.generation(self.dir.slots(&self.id.view, &self.id.entity));
            let claim = self.flights.claim([self.id.clone()], generation, NOW).pop();
            match claim.unwrap() {
                Claim::Lead(lead) => {
                    let cached = self.compute();
                    lead.land(Arc::clone(&cached));
                    return version_of(&cached.block);
                }
                Claim::Follow(flight) => match flight.wait(for_ever()) {
                    Some(Landing::Arrived(cached)) => return version_of(&cached.block),
                    Some(Landing::Abandoned) => {}
                    Some(Landing::Failed(error)) => panic!("{error}"),
                    None => panic!("it waited for ever"),
                },
                Claim::Refused(error) => panic!("{error}"),
            }
        }
    }

    /// Asks, and fails where what is answered was invalidated before.
    fn check(&self) {
        let low = self.world.acknowledged.load(Ordering::SeqCst);
        let version = self.ask();
        let high = self.world.version.load(Ordering::SeqCst);
        assert!((low..=high).contains(&version), "version {version} was served, not {low} to {high}");
    }

    fn invalidate(&self) {
        let version = self.world.version.fetch_add(1, Ordering::SeqCst) + 1;
        // Again where the file of its lock was removed.
        while self.dir.invalidate(&self.id.view, None, || NOW, |_, _| true).1.is_err() {}
        self.world.acknowledged.store(version, Ordering::SeqCst);
    }
}

/// Nobody's patience ends here.
fn for_ever() -> Instant {
    Instant::now() + Duration::from_secs(1_000_000)
}

/// Two processes, one of them with two threads, ask and invalidate.
fn processes_ask_and_invalidate() {
    let (machine, world) = (Machine::default(), Arc::new(World::default()));
    let (one, other) = (Process::new(&machine, &world), Process::new(&machine, &world));
    one.check();
    let threads: Vec<_> = [Arc::clone(&one), Arc::clone(&one), Arc::clone(&other)]
        .into_iter()
        .map(|process| {
            thread::spawn(move || {
                process.check();
                process.check();
            })
        })
        .collect();
    for _ in 0..2 {
        other.invalidate();
        other.check();
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    one.check();
    other.check();
}

/// Threads of one process ask for what nobody has: one of them computes.
fn threads_ask_for_one_key() {
    let (machine, world) = (Machine::default(), Arc::new(World::default()));
    let process = Process::new(&machine, &world);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let process = Arc::clone(&process);
            thread::spawn(move || process.check())
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(world.computes.load(Ordering::SeqCst), 1);
}

/// A leader gives up, as one does whose other block failed; the next of those who wait leads.
fn a_leader_gives_up() {
    let (machine, world) = (Machine::default(), Arc::new(World::default()));
    let process = Process::new(&machine, &world);
    let generation = process.dir.generation(process.dir.slots(&process.id.view, &process.id.entity));
    let mut claims = process.flights.claim([process.id.clone()], generation, NOW);
    let asking = {
        let process = Arc::clone(&process);
        thread::spawn(move || process.check())
    };
    thread::yield_now();
    drop(claims.pop());
    asking.join().unwrap();
}

/// Whoever was told of the end of a flight does not join it again.
fn nobody_joins_a_flight_that_has_landed() {
    let (machine, world) = (Machine::default(), Arc::new(World::default()));
    let process = Process::new(&machine, &world);
    let generation = process.dir.generation(process.dir.slots(&process.id.view, &process.id.entity));
    let claim = move |process: &Process| -> Option<Arc<interleavings::cache::flight::Flight>> {
        match process.flights.claim([process.id.clone()], generation, NOW).pop().unwrap() {
            Claim::Follow(flight) => Some(flight),
            Claim::Lead(_) | Claim::Refused(_) => None,
        }
    };
    let mut claims = process.flights.claim([process.id.clone()], generation, NOW);
    let Some(Claim::Lead(lead)) = claims.pop() else { panic!("nobody leads") };
    let following = {
        let process = Arc::clone(&process);
        thread::spawn(move || {
            let Some(first) = claim(&process) else { return };
            assert!(first.wait(for_ever()).is_some());
            let again = claim(&process);
            assert!(again.is_none_or(|again| !Arc::ptr_eq(&again, &first)), "it joined what had landed");
        })
    };
    let failed = Error::new(ErrorKind::Compute, "down");
    lead.fail(failed, NOW, Duration::ZERO);
    following.join().unwrap();
}

/// A flight from before an invalidation ends while a younger one is in its place, which others have joined.
fn an_old_flight_ends_beside_a_younger_one() {
    let (machine, world) = (Machine::default(), Arc::new(World::default()));
    let process = Process::new(&machine, &world);
    let generation =
        |process: &Process| process.dir.generation(process.dir.slots(&process.id.view, &process.id.entity));
    let before = generation(&process);
    let (claimed, wait) = shuttle::sync::mpsc::channel();
    let old = {
        let process = Arc::clone(&process);
        thread::spawn(move || {
            let old = process.flights.claim([process.id.clone()], before, NOW).pop();
            claimed.send(()).unwrap();
            drop(old);
        })
    };
    wait.recv().unwrap();
    process.invalidate();
    let claim = || process.flights.claim([process.id.clone()], generation(&process), NOW).pop();
    let younger = claim();
    assert!(matches!(younger, Some(Claim::Lead(_))), "what was invalidated is waited for");
    thread::yield_now();
    assert!(matches!(claim(), Some(Claim::Follow(_))), "the younger flight is still under way");
    drop(younger);
    old.join().unwrap();
}

/// Somebody removes the file of a lock while one process publishes under it, and another one invalidates under the next.
///
/// Until the first one notices, what it computed before can be read; not once it is done.
fn the_file_of_a_lock_is_removed() {
    let (machine, world) = (Machine::default(), Arc::new(World::default()));
    let (one, other) = (Process::new(&machine, &world), Process::new(&machine, &world));
    let before = one.dir.generation(one.dir.slots(&one.id.view, &one.id.entity));
    let publishing = thread::spawn(move || {
        // It is told, where the file was removed before it began.
        let _ = one.dir.publish(&one.id, &0_u64.to_le_bytes(), before, || NOW);
    });
    machine.remove_lock();
    other.invalidate();
    other.look();
    publishing.join().unwrap();
    other.check();
}

/// One process publishes a block again while another one invalidates, and lets that block be.
fn what_is_not_invalidated_stays() {
    let (machine, world) = (Machine::default(), Arc::new(World::default()));
    let (one, other) = (Process::new(&machine, &world), Process::new(&machine, &world));
    one.check();
    let publishing = {
        let one = Arc::clone(&one);
        thread::spawn(move || {
            let generation = one.dir.generation(one.dir.slots(&one.id.view, &one.id.entity));
            one.dir.publish(&one.id, &0_u64.to_le_bytes(), generation, || NOW).unwrap();
        })
    };
    let (gone, done) = other.dir.invalidate(&other.id.view, None, || NOW, |_, _| false);
    done.unwrap();
    publishing.join().unwrap();
    assert!(gone.is_empty() && one.dir.read(&one.id).unwrap().is_some(), "a block is gone that nobody invalidated");
}

type Scene = fn();

const SCENES: [(&str, Scene); 7] = [
    ("what is not invalidated stays", what_is_not_invalidated_stays),
    ("processes ask and invalidate", processes_ask_and_invalidate),
    ("threads ask for one key", threads_ask_for_one_key),
    ("a leader gives up", a_leader_gives_up),
    ("nobody joins a flight that has landed", nobody_joins_a_flight_that_has_landed),
    ("an old flight ends beside a younger one", an_old_flight_ends_beside_a_younger_one),
    ("the file of a lock is removed", the_file_of_a_lock_is_removed),
];

/// How many orders of each scene are tried.
fn orders() -> usize {
    if std::env::var_os("LARDER_LONG").is_some() { 1_000_000 } else { 4_000 }
}

#[test]
fn in_whichever_order_threads_run_nothing_is_wrong() {
    for (name, scene) in SCENES {
        shuttle::check_random(scene, orders());
        shuttle::check_pct(scene, orders() / 4, 3);
        eprintln!("interleavings: {name}: {} orders at random, {} by priority", orders(), orders() / 4);
    }
}

/// Whether a scene shows a bug in one of so many orders.
fn shows(scene: Scene, bug: Bug, orders: usize) -> bool {
    // In a thread of its own: what a failed scene leaves behind goes with it.
    let tried = std::thread::spawn(move || {
        planted::plant(bug);
        // In turns: some bugs show where threads take turns, some where one stands still while another does much.
        for _ in 0..orders / 200 {
            shuttle::check_random(scene, 100);
            shuttle::check_pct(scene, 100, 3);
        }
    });
    tried.join().is_err()
}

#[test]
fn each_broken_protocol_is_found() {
    let broken: [(Bug, Scene); 9] = [
        (Bug::PublishedUnchecked, processes_ask_and_invalidate),
        (Bug::GenerationNotRaised, processes_ask_and_invalidate),
        (Bug::RemovedAfterRaise, processes_ask_and_invalidate),
        (Bug::MemoryUnchecked, processes_ask_and_invalidate),
        (Bug::FlightNotJoined, threads_ask_for_one_key),
        (Bug::OldFlightJoined, an_old_flight_ends_beside_a_younger_one),
        (Bug::FlightNotLanded, a_leader_gives_up),
        (Bug::LandedBeforeLeaving, nobody_joins_a_flight_that_has_landed),
        (Bug::YoungerFlightRemoved, an_old_flight_ends_beside_a_younger_one),
    ];
    for (bug, scene) in broken {
        assert!(shows(scene, bug, 50_000), "{} is not found", bug.name());
        assert!(!shows(scene, Bug::Nothing, 200), "a bug that changes nothing is called found");
    }
    eprintln!("interleavings: {} broken protocols, all found", broken.len());
}
