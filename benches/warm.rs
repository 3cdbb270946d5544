//! A year of 5-minute bars of 14 symbols, warmed in one thread and in as many as there are cores; beside it the same view
//! in pandas, which has one.
//!
//! `PYTHON=python3 cargo bench --bench warm --all-features`; without a Python that has pandas and pyarrow it says so and
//! measures Larder alone. Both read the same Parquet files, and both write Parquet with zstd.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot set up should stop"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampMicrosecondArray};
use larder::compute::Features;
use larder::definition::{Definitions, Environment};
use larder::source::Reader;
use larder::{EntityKey, FeatureStore, TimeRange, Timestamp, ViewName};
use parquet::arrow::ArrowWriter;

const SYMBOLS: usize = 14;
const BAR_US: i64 = 300_000_000;
const DAY_US: i64 = 86_400_000_000;
/// 2024-12-01: a month of history, and then the year.
const HISTORY: i64 = 20_058;
const YEAR: i64 = 20_089;
const DAYS: i64 = 365;
const FEATURES: usize = 6;
const ROUNDS: usize = 5;

const DEFINITIONS: &str = r#"
[entity.symbol]
[source.bars]
kind = "parquet"
path = "symbol=*/bars.parquet"
event_time = "ts"
label = { at = "open", bar = "5m" }
[view.technical_features]
entity = "symbol"
source = "bars"
span = "month"
lookback = "21d"
[view.technical_features.features]
log_ret_5m = { kind = "log_return", column = "close", over = "5m" }
log_ret_1h = { kind = "log_return", column = "close", over = "1h" }
log_ret_4h = { kind = "log_return", column = "close", over = "4h" }
rsi_9 = { kind = "rsi", column = "close", period = 9 }
atr_pct = { kind = "atr_pct", period = 14 }
adx_14 = { kind = "adx", period = 14 }
"#;

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    (0..SYMBOLS).for_each(|symbol| make(dir.path(), symbol));
    std::fs::write(dir.path().join("view.toml"), DEFINITIONS).expect("writes");
    let bench = Bench::new(dir.path());
    let mut pandas = Pandas::start(dir.path());
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    // In turns, because a machine that others use is not as fast from one minute to the next.
    let mut best = Best::default();
    for round in 0..ROUNDS {
        best.note("reading alone", || bench.read());
        best.note("computing, past the cache", || bench.compute());
        best.note("warming, one thread", || bench.warm(&format!("{round}-one"), 1));
        best.note("warming, all cores", || bench.warm(&format!("{round}-all"), cores));
        match &mut pandas {
            Ok(pandas) => pandas.round(&mut best),
            Err(why) if round == 0 => println!("pandas is not measured: {why}"),
            Err(_) => {}
        }
    }
    let rows = ((DAYS * DAY_US / BAR_US) as usize * SYMBOLS) as f64;
    println!("{rows} rows of {FEATURES} features, {cores} cores, best of {ROUNDS} rounds: seconds, and of a processor");
    for (name, (wall, busy)) in &best.0 {
        println!("{name:<32} {wall:.3}  {busy:.3}");
    }
    let (wall, busy) = best.of("warming, one thread");
    let (reading, reading_busy) = best.of("reading alone");
    let (beyond, beyond_busy) = (rows / (wall - reading) / 1e6, rows / (busy - reading_busy) / 1e6);
    println!(
        "beyond reading                   {beyond:.2} M rows/s; {beyond_busy:.2} M rows per second of a processor"
    );
    for pandas in best.0.keys().filter(|name| name.starts_with("pandas") && !name.ends_with("computing")) {
        let (its, its_busy) = best.of(pandas);
        let (all, _) = best.of("warming, all cores");
        println!(
            "{pandas:<32} {:.2} x as long as one thread ({:.2} x of a processor), {:.2} x as long as all cores",
            its / wall,
            its_busy / busy,
            its / all
        );
    }
}

/// The shortest time of each thing that is measured, and the least time of a processor.
#[derive(Default)]
struct Best(BTreeMap<String, (f64, f64)>);

impl Best {
    fn note(&mut self, name: &str, run: impl FnOnce()) {
        let (began, busy) = (Instant::now(), busy());
        run();
        self.add(name, began.elapsed().as_secs_f64(), self::busy() - busy);
    }

    fn add(&mut self, name: &str, wall: f64, busy: f64) {
        let (least, least_busy) = self.0.entry(name.to_owned()).or_insert((wall, busy));
        (*least, *least_busy) = (least.min(wall), least_busy.min(busy));
    }

    fn of(&self, name: &str) -> (f64, f64) {
        self.0[name]
    }
}

/// Seconds of processors that this process has used, to a hundredth.
fn busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in brackets, may hold blanks.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

struct Bench<'a> {
    dir: &'a Path,
    definitions: Definitions,
    reader: Reader,
    features: Features,
    view: ViewName,
}

impl<'a> Bench<'a> {
    fn new(dir: &'a Path) -> Self {
        let definitions = Definitions::read(dir, Environment::default()).expect("definitions");
        let source = definitions.sources().values().next().expect("the source");
        let reader = Reader::open(source, definitions.environment()).expect("opens");
        let features = open(&dir.join("cache"), &definitions);
        Self { dir, reader, features, view: ViewName::new("technical_features").expect("a name"), definitions }
    }

    /// What warming reads: the year with its history.
    fn read(&self) {
        for symbol in 0..SYMBOLS {
            self.reader.read(&entity(symbol), days(HISTORY), &["high", "low", "close"]).expect("reads");
        }
    }

    fn compute(&self) {
        for symbol in 0..SYMBOLS {
            self.features.compute(&self.view, &entity(symbol), days(YEAR)).expect("computes");
        }
    }

    /// As `larder warm --jobs`: each thread takes the next symbol.
    fn warm(&self, cache: &str, threads: usize) {
        let features = open(&self.dir.join(cache), &self.definitions);
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let symbol @ 0..SYMBOLS = next.fetch_add(1, Ordering::Relaxed) {
                        features.warm(&self.view, &entity(symbol), days(YEAR)).expect("computes");
                    }
                });
            }
        });
    }
}

fn open(cache: &Path, definitions: &Definitions) -> Features {
    let store = FeatureStore::builder(cache).open().expect("opens");
    Features::builder(store, definitions.clone()).open().expect("opens")
}

/// From a day to the end of the year.
fn days(first: i64) -> TimeRange {
    let at = |day: i64| Timestamp::from_ns(day * DAY_US * 1_000);
    TimeRange::new(at(first), at(YEAR + DAYS)).expect("a range")
}

/// A Python that runs a round of each of its variants for every line it is given, and says what they took.
struct Pandas(Child, BufReader<ChildStdout>);

impl Pandas {
    fn start(dir: &Path) -> Result<Self, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/warm_pandas.py");
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let mut command = Command::new(&python);
        command.arg(script).arg(dir).args([YEAR.to_string(), DAYS.to_string()]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.map_err(|error| format!("{python}: {error}"))?;
        let mut said = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut ready = String::new();
        match said.read_line(&mut ready) {
            Ok(length) if length > 0 => Ok(Self(child, said)),
            _ => Err(format!("{python} has no pandas and pyarrow")),
        }
    }

    /// Lines of a name, seconds and seconds of a processor, up to an empty one.
    fn round(&mut self, best: &mut Best) {
        writeln!(self.0.stdin.as_mut().expect("a pipe")).expect("asks");
        loop {
            let mut line = String::new();
            self.1.read_line(&mut line).expect("answers");
            let Some((name, seconds)) = line.trim().split_once(':') else { return };
            let seconds: Vec<f64> = seconds.split_whitespace().map(|word| word.parse().expect("seconds")).collect();
            best.add(name, seconds[0], seconds[1]);
        }
    }
}

fn entity(symbol: usize) -> EntityKey {
    EntityKey::new([("symbol", format!("S{symbol:02}"))]).expect("a symbol")
}

/// Bars of a random walk, the same in every run.
fn make(dir: &Path, symbol: usize) {
    let bars = (YEAR - HISTORY + DAYS) * DAY_US / BAR_US;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(symbol as u64 + 1);
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    };
    let (mut price, mut high, mut low, mut close) = (4_000.0, Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bars {
        let open = price;
        price += random() * 4.0;
        high.push(f64::max(open, price) + random().abs());
        low.push(f64::min(open, price) - random().abs());
        close.push(price);
    }
    let times = (0..bars).map(|bar| HISTORY * DAY_US + bar * BAR_US);
    let columns: [(&str, ArrayRef); 4] = [
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))),
        ("high", Arc::new(Float64Array::from(high))),
        ("low", Arc::new(Float64Array::from(low))),
        ("close", Arc::new(Float64Array::from(close))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns");
    let place = dir.join(format!("symbol=S{symbol:02}"));
    std::fs::create_dir(&place).expect("makes");
    let file = File::create(place.join("bars.parquet")).expect("creates");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("writes");
    writer.close().expect("closes");
}
