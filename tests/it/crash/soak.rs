//! Processes that work for long, and hold no more at the end than in the middle.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use larder::clock::SystemClock;
use larder::manifest::Manifest;
use larder::{EntityKey, FeatureView, Gap, TimeRange, Timestamp};

use super::child::{CACHE, Desk, SEED, SLOT, WORLD, Ways};
use super::figures::{Figures, Sample};
use super::fleet::whole;
use super::world::{Count, World, day};
use crate::damage::files;
use crate::desk::{quiet, symbol, value, view};
use crate::mutate::{Dice, times};
use crate::worker::{Worker, binary, say};

const PROCESSES: usize = 4;
/// For how many seconds, where somebody says so.
const SECONDS: &str = "CRASH_SOAK_SECONDS";
/// Set where processes are to hold on to whatever they can, to see that it is noticed.
const LEAK: &str = "CRASH_SOAK_LEAK";
/// What the memory tier of each process may take, in megabytes.
const MEMORY: u64 = 256;
/// Blocks of a third of a megabyte in memory: more than the tier takes, so that they come and go.
const WIDE_ENTITIES: usize = 30;
const WIDE_DAYS: usize = 30;
const COLUMNS: usize = 4;
const STEP: usize = 10_000_000_000;
/// What is done, and then a pause, so that other tests get on.
const PAUSE: Duration = Duration::from_millis(20);

fn wide() -> FeatureView {
    let view = FeatureView::builder("wide").entity("symbol");
    (0..COLUMNS).fold(view, |view, at| view.feature(&format!("f{at}"), DataType::Float64)).build().unwrap()
}

fn wide_value(entity: &EntityKey, ns: i64, column: usize) -> f64 {
    value(entity, ns) * (column + 1) as f64
}

fn wide_rows(gap: &Gap) -> larder::Result<arrow::array::RecordBatch> {
    let times: Vec<i64> = (gap.range().start().as_ns()..gap.range().end().as_ns()).step_by(STEP).collect();
    let column = |at| Float64Array::from_iter_values(times.iter().map(|ns| wide_value(gap.entity(), *ns, at)));
    let columns = (0..COLUMNS).map(|at| Arc::new(column(at)) as ArrayRef).collect();
    gap.batch(times.clone(), columns)
}

/// Asks for a day of a wide entity and checks every value.
fn ask_wide(desk: &Desk, number: usize) {
    let entity = symbol(&format!("W{}", number / WIDE_DAYS));
    let first = number % WIDE_DAYS;
    let range = TimeRange::new(day(first), day(first + 1)).unwrap();
    let answer = desk.store.get_or_compute(&wide(), &entity, range, wide_rows).unwrap();
    let batch = answer.to_batch().unwrap();
    let times = larder::event_times(&batch);
    let expected: Vec<i64> = (range.start().as_ns()..range.end().as_ns()).step_by(STEP).collect();
    assert_eq!(*times, *expected, "the times of {entity} {range}");
    for at in 0..COLUMNS {
        let column = batch.column(at + 1).as_primitive::<Float64Type>().values();
        assert!(times.iter().zip(column).all(|(ns, got)| *got == wide_value(&entity, *ns, at)), "{entity} {range}");
    }
    // The tier is made of shards, each of which may be over its part for a moment.
    let held = desk.store.memory_bytes();
    assert!(held <= MEMORY * 1_000_000, "{held} bytes of blocks in memory");
}

#[test]
#[ignore = "a process of another test, which is: cargo test --release --all-features --test it crash::soak"]
fn tireless() {
    let Ok(cache) = std::env::var(CACHE) else { return };
    let variable = |name| std::env::var(name).unwrap();
    let mut dice = Dice::new(variable(SEED).parse().unwrap());
    let mut settings = quiet();
    settings.manifest.fold_interval = Duration::from_secs(1);
    settings.memory.max_mb = MEMORY;
    let slot: usize = variable(SLOT).parse().unwrap();
    World::open(Path::new(&variable(WORLD))).watch_panics();
    let mut desk = Desk::open(Path::new(&cache), Path::new(&variable(WORLD)), slot, settings);
    let leaks = std::env::var_os(LEAK).is_some();
    // The memory is full before anybody looks.
    for number in (0..WIDE_ENTITIES * WIDE_DAYS).filter(|_| !leaks) {
        ask_wide(&desk, (number + slot * 200) % (WIDE_ENTITIES * WIDE_DAYS));
    }
    // What is wide stays on the disk for the most part.
    let bytes: u64 = files(&Path::new(&cache).join("blocks"))
        .iter()
        .filter_map(|file| file.metadata().ok())
        .map(|file| file.len())
        .sum();
    desk.clean_to = bytes / 100 * 95;
    say("ready");
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        told.store(true, Ordering::SeqCst);
    });
    while !stop.load(Ordering::SeqCst) {
        desk.act(&mut dice, Ways::All);
        if leaks {
            leak(Path::new(&cache));
        } else {
            ask_wide(&desk, dice.roll(WIDE_ENTITIES * WIDE_DAYS));
        }
        std::thread::sleep(PAUSE);
    }
    drop(desk);
    say("done");
}

/// Takes a little of everything and gives nothing back.
fn leak(cache: &Path) {
    std::mem::forget(std::fs::File::open("/dev/null").unwrap());
    // Seen by nobody, it would not be made.
    std::mem::forget(std::hint::black_box(vec![1_u8; 1 << 20]));
    std::thread::spawn(std::thread::park);
    // Beside the files of a process that lives, where nobody sweeps.
    let directory = std::fs::read_dir(cache.join("tmp")).unwrap().flatten().next();
    if let Some(directory) = directory {
        let name = format!("{}-{:?}", std::process::id(), Instant::now()).replace(|c: char| !c.is_alphanumeric(), "");
        let _ = std::fs::write(directory.path().join(name), b"half");
    }
}

fn start(cache: &Path, desk: &Path, slot: usize, leaks: bool) -> Worker {
    let mut command = binary();
    command.env(CACHE, cache).env(WORLD, desk.join("world")).env(SEED, (slot + 1).to_string());
    command.env(SLOT, slot.to_string()).envs(leaks.then_some((LEAK, "1")));
    command.stderr(std::fs::File::create(desk.join(format!("stderr-{slot}"))).unwrap());
    Worker::run(command, "crash::soak::tireless")
}

/// Has processes work for so long and measures what they hold meanwhile.
fn soak(desk: &Path, seconds: u64, leaks: bool) -> Figures {
    let cache = desk.join("cache");
    let mut processes: Vec<_> = (0..PROCESSES).map(|slot| start(&cache, desk, slot, leaks)).collect();
    let last_words = |slot: usize| std::fs::read_to_string(desk.join(format!("stderr-{slot}"))).unwrap_or_default();
    for (slot, process) in processes.iter_mut().enumerate() {
        assert_eq!(process.hear_or_end().as_deref(), Some("ready"), "{}", last_words(slot));
    }
    let mut figures = Figures::default();
    let (begun, duration) = (Instant::now(), Duration::from_secs(seconds));
    while begun.elapsed() < duration {
        std::thread::sleep(duration / 240);
        for (slot, process) in processes.iter_mut().enumerate() {
            assert!(!process.has_ended(), "process {slot} ended by itself: {}", last_words(slot));
        }
        figures.take(Sample::of(&cache, &processes));
    }
    for (slot, process) in processes.iter_mut().enumerate() {
        process.say("stop");
        assert_eq!(process.hear_or_end().as_deref(), Some("done"), "{}", last_words(slot));
    }
    let world = World::open(&desk.join("world"));
    world.check_panics();
    eprintln!("soak: {PROCESSES} processes for {seconds} s, leaks: {leaks}: {}\n{figures}", world.told());
    figures
}

#[test]
fn processes_that_work_for_long_hold_no_more_at_the_end_than_in_the_middle() {
    let seconds = std::env::var(SECONDS).map_or_else(|_| times(120, 3_600), |seconds| seconds.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let figures = soak(dir.path(), seconds, false);
    assert_eq!(figures.grown(), Vec::<String>::new());
    // Everybody is gone: what they told is in the manifest, and their journals and half-written files are not there.
    let cache = dir.path().join("cache");
    let manifest = Manifest::new(&cache, Arc::new(SystemClock));
    manifest.fold().unwrap();
    whole(&cache, false);
    assert_eq!(std::fs::read_dir(cache.join("journal")).unwrap().count(), 0, "journals without an owner stay");
    let asked = manifest.read(|query| query.requests(Timestamp::MIN, Some(view().name()))).unwrap();
    let known: u64 = asked.iter().map(|(_, counts)| counts.total()).sum();
    assert_eq!(known, World::open(&dir.path().join("world")).counted(Count::Asked), "requests that are known");
}

#[test]
fn what_is_held_on_to_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let grown = soak(dir.path(), 16, true).grown();
    for kind in ["file descriptors", "threads", "resident kB", "half-written files"] {
        assert!(grown.iter().any(|what| what.starts_with(kind)), "{kind}: {grown:?}");
    }
}
