//! A trading service: another process, this test binary again, that asks a feature store for features at a steady
//! rate, checks every value, and serves its metrics. Only what it computes from is made up.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch};
use arrow::datatypes::DataType;
use larder::clock::{Clock, ManualClock, SystemClock};
use larder::server::{Options, Server};
use larder::{Answer, EntityKey, FeatureStore, FeatureView, Gap, Settings, Span, TimeRange, Timestamp};

use super::stack::Process;
use crate::desk::{quiet, range, symbol};

const SECOND: i64 = 1_000_000_000;
/// How long a value of the live view is valid.
pub const TTL: Duration = Duration::from_secs(10);

/// What a service asks for: request after request from the first kind below whose turn it is.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub struct Load {
    /// Requests a second.
    pub rate: u64,
    /// Every so manieth request is for what was never asked before.
    pub new_every: u64,
    /// Every so manieth request is for the next of the blocks that are asked for seldom ...
    pub seldom_every: u64,
    /// ... of which there are so many.
    pub seldom: u64,
    /// Every so manieth request is for the last minutes of a feed with a row a second.
    pub live_every: u64,
    /// All others go round so many blocks.
    pub hot: u64,
    /// So many large blocks lie in the cache that nobody asks for.
    pub archive: u64,
}

/// What a service asks for next.
enum Request {
    Block(EntityKey),
    Live,
}

impl Load {
    fn request(&self, turn: u64) -> Request {
        let is_turn = |every: u64| every > 0 && turn.is_multiple_of(every);
        if is_turn(self.new_every) {
            // Another process goes on with names of its own.
            Request::Block(symbol(&format!("NEW{}-{turn}", std::process::id())))
        } else if is_turn(self.seldom_every) {
            Request::Block(symbol(&format!("SELDOM{}", turn / self.seldom_every % self.seldom)))
        } else if is_turn(self.live_every) {
            Request::Live
        } else {
            Request::Block(symbol(&format!("HOT{}", turn % self.hot)))
        }
    }

    fn blocks(&self) -> impl Iterator<Item = EntityKey> {
        let hot = (0..self.hot).map(|at| symbol(&format!("HOT{at}")));
        hot.chain((0..self.seldom).map(|at| symbol(&format!("SELDOM{at}"))))
    }
}

/// A day of a symbol, a row a minute.
fn prices() -> FeatureView {
    let view = FeatureView::builder("prices").entity("symbol").feature("value", DataType::Float64);
    view.span(Span::Day).build().unwrap()
}

/// The same for the live feed, a row a second.
fn live() -> FeatureView {
    let view = FeatureView::builder("live").entity("symbol").feature("value", DataType::Float64);
    view.span(Span::Hour).ttl(TTL).lateness(Duration::from_secs(1)).build().unwrap()
}

fn archive() -> FeatureView {
    let view = FeatureView::builder("archive").entity("symbol").feature("value", DataType::Float64);
    view.span(Span::Month).build().unwrap()
}

fn day() -> TimeRange {
    range("2024-03-01", "2024-03-02")
}

/// Noise, because it does not compress, that depends on entity and time alone.
fn value(seed: u64, ns: i64) -> f64 {
    let mixed = (seed ^ (ns as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (mixed ^ (mixed >> 32)) as f64
}

fn seed(entity: &EntityKey) -> u64 {
    entity.to_string().bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte))
}

/// The rows of a gap, one every `step` up to `end`.
fn rows(gap: &Gap, step: i64, end: i64) -> larder::Result<RecordBatch> {
    let range = gap.range();
    let first = (range.start().as_ns() + step - 1).div_euclid(step) * step;
    let times: Vec<i64> = (first..range.end().as_ns().min(end)).step_by(step as usize).collect();
    let seed = seed(gap.entity());
    let values: ArrayRef = Arc::new(Float64Array::from_iter_values(times.iter().map(|ns| value(seed, *ns))));
    gap.batch(times, vec![values])
}

/// How many rows there are; every value is right.
fn checked(answer: &Answer, entity: &EntityKey) -> usize {
    let seed = seed(entity);
    let check = |batch: &RecordBatch| {
        let values = batch.column(1).as_any().downcast_ref::<Float64Array>().unwrap();
        let times = larder::event_times(batch);
        assert_eq!(times.len(), values.len());
        for (ns, got) in times.iter().zip(values.values()) {
            assert_eq!(*got, value(seed, *ns), "{entity} at {}", Timestamp::from_ns(*ns));
        }
        values.len()
    };
    answer.batches().map(check).sum()
}

/// Fills the cache as of an hour ago, so that what a service asks for is there when it begins, and the misses of that
/// hour are not those of the test.
pub fn warm(cache: &Path, load: &Load) {
    let settings = Settings { threads: 1, ..quiet() };
    let clock = ManualClock::new(SystemClock.now_ns() - 3600 * SECOND);
    let store = FeatureStore::builder(cache).settings(settings).clock(clock).open().unwrap();
    let minute = 60 * SECOND;
    for entity in load.blocks() {
        store.get_or_compute(&prices(), &entity, day(), |gap| rows(gap, minute, i64::MAX)).unwrap();
    }
    for at in 0..load.archive {
        let month = range("2024-01-01", "2024-02-01");
        let entity = symbol(&format!("OLD{at}"));
        store.get_or_compute(&archive(), &entity, month, |gap| rows(gap, minute, i64::MAX)).unwrap();
    }
}

/// How a service is started.
#[derive(Debug, Clone)]
pub struct Orders {
    pub cache: PathBuf,
    pub load: Load,
    /// Where it serves its metrics, if it does.
    pub serve: Option<SocketAddr>,
    /// Settings, as the environment has them.
    pub settings: Vec<(String, String)>,
    /// Where faults of what it computes from are switched on, by files.
    pub faults: PathBuf,
}

/// Its compute fails while this file is there.
pub const SOURCE_IS_DOWN: &str = "source-is-down";
/// Its feed brings nothing later than the nanosecond in this file.
pub const FEED_STOPPED: &str = "feed-stopped";

/// A running service.
pub struct Service {
    process: Process,
    orders: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Service {
    /// Starts one that has opened the store and listens, and asks for nothing before [`go`](Self::go).
    pub fn start(orders: &Orders) -> Self {
        let mut process = Process::start(&std::env::current_exe().unwrap(), |command: &mut Command| {
            command
                .args(["--exact", "gameday::service::role", "--nocapture", "--include-ignored"])
                .env("GAME_CACHE", &orders.cache)
                .env("GAME_FAULTS", &orders.faults)
                .env("GAME_LOAD", serde_json::to_string(&orders.load).unwrap())
                .env("GAME_SERVE", orders.serve.map(|address| address.to_string()).unwrap_or_default())
                .envs(orders.settings.iter().map(|(key, value)| (key, value)))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
        });
        let (to, from) = (process.child().stdin.take().unwrap(), process.child().stdout.take().unwrap());
        let mut lines = BufReader::new(from).lines();
        let ready = lines.any(|line| line.unwrap().ends_with("game: ready"));
        assert!(ready, "the service ended before it was ready");
        Self { process, orders: to, said: lines }
    }

    /// Lets it make its requests.
    pub fn go(&mut self) {
        self.order("go");
    }

    /// Lets it rest; a request that has begun ends.
    pub fn pause(&mut self) {
        self.order("pause");
    }

    /// The hit ratio of the last five minutes, as the engine in the service has it.
    pub fn engine_ratio(&mut self) -> f64 {
        self.order("slo");
        let answer = self.said.find_map(|line| line.unwrap().strip_prefix("game: ").map(str::to_owned));
        answer.expect("the service ended").parse().unwrap()
    }

    /// Lets it end as a service should: what it counted is written.
    pub fn stop(mut self) {
        self.order("stop");
        assert!(self.process.child().wait().unwrap().success());
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    /// One that makes requests at once, as after a restart.
    pub fn started(orders: &Orders) -> Self {
        let mut service = Self::start(orders);
        service.go();
        service
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

#[test]
#[ignore = "a process of another test, which is: cargo test --release --all-features --test it -- --ignored gameday::every"]
fn role() {
    let Ok(cache) = std::env::var("GAME_CACHE") else { return };
    let load: Load = serde_json::from_str(&std::env::var("GAME_LOAD").unwrap()).unwrap();
    let faults = PathBuf::from(std::env::var("GAME_FAULTS").unwrap());
    let store = FeatureStore::builder(cache).settings(larder::config::load(None).unwrap()).open().unwrap();
    // So that every series is there before the first request.
    assert!(store.get(&prices(), &symbol("NONE"), day()).unwrap().is_none());
    let address = std::env::var("GAME_SERVE").unwrap();
    let _server = (!address.is_empty()).then(|| {
        let options = Options { listen: address.parse().unwrap(), ..Options::default() };
        Server::start(&store, options).unwrap()
    });
    let orders = Arc::new(Standing::default());
    let given = Arc::clone(&orders);
    let slo = store.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            match line.as_str() {
                "go" => given.going.store(true, Ordering::SeqCst),
                "pause" => given.going.store(false, Ordering::SeqCst),
                "slo" => println!("\ngame: {}", slo.slo().windows[0].hit_ratio.unwrap()),
                "stop" => {
                    given.stopped.store(true, Ordering::SeqCst);
                    return;
                }
                other => panic!("no order {other}"),
            }
        }
        // Whoever gave the orders is gone, and a service without a test is a stray.
        std::process::exit(0);
    });
    println!("\ngame: ready");
    let period = Duration::from_nanos(1_000_000_000 / load.rate);
    let (mut next, mut turn) = (Instant::now(), 0);
    while !orders.stopped.load(Ordering::SeqCst) {
        if orders.going.load(Ordering::SeqCst) {
            if std::panic::catch_unwind(AssertUnwindSafe(|| ask(&store, &load, turn, &faults))).is_err() {
                // A value was wrong: the test sees that its service is gone.
                std::process::exit(3);
            }
            turn += 1;
        }
        // Behind time, it goes on at its rate and does not catch up in a burst.
        next = (next + period).max(Instant::now() - period);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// The orders in force.
#[derive(Default)]
struct Standing {
    going: AtomicBool,
    stopped: AtomicBool,
}

fn ask(store: &FeatureStore, load: &Load, turn: u64, faults: &Path) {
    let compute = |gap: &Gap, step: i64, end: i64| {
        if faults.join(SOURCE_IS_DOWN).exists() {
            return Err("the source is down".into());
        }
        rows(gap, step, end).map_err(larder::ComputeError::from)
    };
    match load.request(turn) {
        Request::Block(entity) => {
            match store.get_or_compute(&prices(), &entity, day(), |gap| compute(gap, 60 * SECOND, i64::MAX)) {
                Ok(answer) => assert_eq!(checked(&answer, &entity), 1440),
                Err(error) => assert_eq!(error.kind(), larder::ErrorKind::Compute, "{error}"),
            }
        }
        Request::Live => {
            // Up to the close of the last two-second bar that is surely there.
            let end = (SystemClock.now_ns() / (2 * SECOND) - 1) * 2 * SECOND;
            let asked = TimeRange::new(Timestamp::from_ns(end - 120 * SECOND), Timestamp::from_ns(end)).unwrap();
            let stopped = std::fs::read_to_string(faults.join(FEED_STOPPED)).ok();
            let newest = stopped.map_or(i64::MAX, |ns| ns.trim().parse().unwrap());
            let entity = symbol("LIVE");
            let answer = store.get_or_compute(&live(), &entity, asked, |gap| compute(gap, SECOND, newest)).unwrap();
            checked(&answer, &entity);
        }
    }
}
