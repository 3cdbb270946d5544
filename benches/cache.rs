//! What a request costs: from memory, from disk, and on a miss beyond the compute itself; and an invalidation.
//!
//! `cargo bench --bench cache --features prometheus` prints the table of `docs/performance.md`; `-- memory`, `-- disk`,
//! `-- miss` and `-- invalidate` print a part of it. The data are those of the
//! targets: blocks of 1,440 one-minute rows x 32 `Float64` features, 100 symbols x 20 days.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot set up should stop"
)]

mod market;

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::config::Durability;
use larder::metrics::PrometheusRecorder;
use larder::{EntityKey, FeatureStore, FeatureView, Gap, Outcome, Settings, TimeRange, Timestamp};

const SYMBOLS: usize = 100;
const DAYS: usize = 20;
const DAY: i64 = 86_400_000_000_000;

fn settings(memory_mb: u64) -> Settings {
    let mut settings = Settings::default();
    settings.memory.max_mb = memory_mb;
    settings.manifest.fold_interval = Duration::ZERO;
    settings.disk.reserve_gb = 0.0;
    settings.threads = 1;
    settings
}

fn open(dir: &Path, settings: Settings) -> FeatureStore {
    FeatureStore::builder(dir).settings(settings).open().expect("the store opens")
}

fn symbol(at: usize) -> EntityKey {
    EntityKey::new([("symbol", format!("SYM{at:03}"))]).expect("a plain symbol")
}

fn day(at: usize) -> TimeRange {
    let start = market::FIRST_DAY + at as i64 * DAY;
    TimeRange::new(Timestamp::from_ns(start), Timestamp::from_ns(start + DAY)).expect("a day")
}

fn days() -> TimeRange {
    TimeRange::new(day(0).start(), day(DAYS - 1).end()).expect("days")
}

/// Requests in an order that no cache line prefetcher knows.
fn shuffled(n: usize) -> Vec<(EntityKey, TimeRange)> {
    let symbols: Vec<_> = (0..SYMBOLS).map(symbol).collect();
    let mut random = market::Random(7);
    (0..n).map(|_| (symbols[random.below(SYMBOLS)].clone(), day(random.below(DAYS)))).collect()
}

fn percentile(sorted: &[Duration], part: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

fn print(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let p50 = percentile(&times, 0.5);
    println!("{what:<58} p50 {p50:>10.1?}   p99 {:>10.1?}   n {}", percentile(&times, 0.99), times.len());
    p50
}

fn no_compute(_: &Gap) -> larder::Result<arrow::array::RecordBatch> {
    panic!("everything is cached")
}

fn hit(store: &FeatureStore, view: &FeatureView, request: &(EntityKey, TimeRange)) {
    let answer = store.get_or_compute(view, &request.0, request.1, no_compute).expect("a hit");
    assert_eq!(answer.outcome(), Outcome::Hit);
    black_box(answer.batches().next());
}

fn main() {
    // Under `cargo test --benches` the program only has to start.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let view = market::view();
    let blocks = market::blocks(&view, SYMBOLS.min(10), DAYS);
    let compute = |gap: &Gap| -> larder::Result<arrow::array::RecordBatch> { Ok(market::cut(&blocks, gap)) };
    if is_asked_for("miss") {
        misses(dir.path(), &view, &compute);
    }
    let cache = dir.path().join("cache");
    fill(&cache, &view, &compute);
    if is_asked_for("memory") {
        memory(&cache, &view);
    }
    if is_asked_for("disk") {
        disk(&cache, &view);
    }
    if is_asked_for("invalidate") {
        invalidations(&cache, &view, &compute);
    }
}

/// Whether a part was named on the command line, or none was.
fn is_asked_for(part: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    named.peek().is_none() || named.any(|name| name == part)
}

fn fill(cache: &Path, view: &FeatureView, compute: &impl Fn(&Gap) -> larder::Result<arrow::array::RecordBatch>) {
    let store = open(cache, settings(0));
    for at in 0..SYMBOLS {
        store.get_or_compute(view, &symbol(at), days(), compute).expect("computed");
    }
}

fn memory(cache: &Path, view: &FeatureView) {
    let recorder = Arc::new(PrometheusRecorder::new());
    let store =
        FeatureStore::builder(cache).settings(settings(4_000)).recorder(Arc::clone(&recorder)).open().expect("opens");
    for at in 0..SYMBOLS {
        store.get_or_compute(view, &symbol(at), days(), no_compute).expect("on disk");
    }
    let requests = shuffled(20_000);
    let rounds = 25;
    let pass = |requests: &[(EntityKey, TimeRange)]| {
        let began = Instant::now();
        requests.iter().for_each(|request| hit(&store, view, request));
        began.elapsed() / requests.len() as u32
    };
    pass(&requests);
    // Batches of 100, because reading the clock twice costs a part of what is measured.
    let single: Vec<_> = (0..rounds).flat_map(|_| requests.chunks(100).map(pass)).collect();
    let one = print("hit in memory, one block, all counting included", single);
    let throughput = |threads: usize| {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (store, requests) = (&store, &requests);
                scope.spawn(move || {
                    for round in 0..rounds * 4 {
                        let offset = (thread * 7919 + round * 104_729) % requests.len();
                        requests[offset..]
                            .iter()
                            .chain(&requests[..offset])
                            .for_each(|request| hit(store, view, request));
                    }
                });
            }
        });
        (threads * rounds * 4 * requests.len()) as f64 / began.elapsed().as_secs_f64()
    };
    let (alone, both) = (throughput(1), throughput(2));
    println!(
        "{:<58} {:.2}x   ({:.2} M/s, {:.2} M/s)",
        "two threads instead of one",
        both / alone,
        alone / 1e6,
        both / 1e6
    );
    black_box(one);
}

fn disk(cache: &Path, view: &FeatureView) {
    let store = open(cache, settings(0));
    let requests = shuffled(4_000);
    requests.iter().for_each(|request| hit(&store, view, request));
    let timed = |request: &(EntityKey, TimeRange)| {
        let began = Instant::now();
        hit(&store, view, request);
        began.elapsed()
    };
    let one = print("hit on disk, one block", requests.iter().map(timed).collect());
    for (threads, days) in [(1, 1), (1, 2), (1, 5), (1, DAYS), (2, DAYS)] {
        let mut many = settings(0);
        many.threads = threads;
        let store = open(cache, many);
        let range = TimeRange::new(day(0).start(), day(days - 1).end()).expect("days");
        let several = |at: usize| {
            let began = Instant::now();
            hit(&store, view, &(symbol(at % SYMBOLS), range));
            began.elapsed()
        };
        let all = print(
            &format!("{days} days of one symbol from disk, threads = {threads}"),
            (0..10 * SYMBOLS).map(several).collect(),
        );
        println!(
            "{:<58} {:.2}",
            "  against so many times one block",
            all.as_secs_f64() / (days as f64 * one.as_secs_f64())
        );
    }
}

fn misses(dir: &Path, view: &FeatureView, compute: &impl Fn(&Gap) -> larder::Result<arrow::array::RecordBatch>) {
    for durability in [Durability::Fast, Durability::Durable] {
        let mut settings = settings(512);
        settings.durability = durability;
        let store = open(&dir.join(format!("{durability:?}")), settings);
        let mut times = Vec::new();
        for at in 0..60 {
            for on in 0..if durability == Durability::Fast { DAYS } else { 5 } {
                let mut inside = Duration::ZERO;
                let began = Instant::now();
                let answer = store.get_or_compute(view, &symbol(at), day(on), |gap| {
                    let began = Instant::now();
                    let batch = compute(gap);
                    inside = began.elapsed();
                    batch
                });
                assert_eq!(answer.expect("computed").outcome(), Outcome::Miss);
                times.push(began.elapsed() - inside);
            }
        }
        print(&format!("a miss beyond the compute, {durability:?}").to_lowercase(), times);
    }
}

/// Each is on the disk when it returns.
fn invalidations(
    cache: &Path,
    view: &FeatureView,
    compute: &impl Fn(&Gap) -> larder::Result<arrow::array::RecordBatch>,
) {
    let store = open(cache, settings(0));
    let timed = |blocks: u64, what: &dyn Fn() -> larder::Result<u64>| {
        let began = Instant::now();
        assert_eq!(what().expect("invalidated"), blocks);
        began.elapsed()
    };
    let one = |at: usize| timed(1, &|| store.invalidate(view, &symbol(at), day(0)));
    print("an invalidation of one block", (0..SYMBOLS).map(one).collect());
    let entity = |at: usize| timed(DAYS as u64 - 1, &|| store.invalidate(view, &symbol(at), days()));
    print("an invalidation of an entity's 19 blocks", (0..SYMBOLS / 2).map(entity).collect());
    let whole = |_| {
        for at in 0..SYMBOLS {
            store.get_or_compute(view, &symbol(at), days(), compute).expect("computed");
        }
        timed((SYMBOLS * DAYS) as u64, &|| store.invalidate_view(view))
    };
    print("an invalidation of a view of 2,000 blocks, 100 entities", (0..3).map(whole).collect());
}
