//! A desk to test on: a view, an entity, a compute whose values are a pure function of entity and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow::datatypes::DataType;
use larder::clock::ManualClock;
use larder::config::Settings;
use larder::{EntityKey, FeatureStore, FeatureView, Gap, Span, TimeRange, Timestamp};

/// Noon of the day on which all tests happen.
pub const NOW: &str = "2024-03-15T12:00:00Z";

pub fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn range(start: &str, end: &str) -> TimeRange {
    TimeRange::parse(start, end).unwrap()
}

pub fn symbol(name: &str) -> EntityKey {
    EntityKey::new([("symbol", name)]).unwrap()
}

pub fn view() -> FeatureView {
    FeatureView::builder("prices")
        .entity("symbol")
        .feature("value", DataType::Float64)
        .span(Span::Day)
        .lookback(Duration::from_secs(3600))
        .build()
        .unwrap()
}

/// Settings under which nothing happens by itself, and everything at once.
pub fn quiet() -> Settings {
    let mut settings = Settings::default();
    settings.manifest.fold_interval = Duration::ZERO;
    settings.disk.reserve_gb = 0.0;
    settings.metrics.scrape_interval = Duration::ZERO;
    settings.compute.wait_timeout = Duration::from_secs(20);
    settings
}

pub struct Desk {
    pub dir: tempfile::TempDir,
    pub clock: Arc<ManualClock>,
    pub settings: Settings,
    /// How often a compute ran.
    pub computes: AtomicUsize,
}

impl Desk {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::new(time(NOW).as_ns())),
            settings: quiet(),
            computes: AtomicUsize::new(0),
        }
    }

    pub fn open(&self) -> FeatureStore {
        FeatureStore::builder(self.dir.path().join("cache"))
            .settings(self.settings.clone())
            .clock(Arc::clone(&self.clock))
            .open()
            .unwrap()
    }

    pub fn compute(&self, gap: &Gap) -> larder::Result<RecordBatch> {
        self.computes.fetch_add(1, Ordering::SeqCst);
        minutes(gap)
    }

    pub fn computes(&self) -> usize {
        self.computes.load(Ordering::SeqCst)
    }
}

/// What the value of an entity at a time has to be.
pub fn value(entity: &EntityKey, ns: i64) -> f64 {
    values(entity)(ns)
}

/// The same for many times.
pub fn values(entity: &EntityKey) -> impl Fn(i64) -> f64 + use<> {
    // FNV: a sum of the bytes would be the same for W11 and W20.
    let hash = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let seed = entity.to_string().bytes().fold(0xcbf2_9ce4_8422_2325, hash) % 1_000_000;
    move |ns| (ns / 60_000_000_000) as f64 * 0.5 + seed as f64
}

/// One row a minute.
pub fn minutes(gap: &Gap) -> larder::Result<RecordBatch> {
    let minute = 60_000_000_000;
    let first = gap.range().start().as_ns().div_euclid(minute) * minute;
    let first = if first < gap.range().start().as_ns() { first + minute } else { first };
    let times: Vec<i64> = (first..gap.range().end().as_ns()).step_by(minute as usize).collect();
    let values: ArrayRef = Arc::new(Float64Array::from_iter_values(times.iter().copied().map(values(gap.entity()))));
    gap.batch(times, vec![values])
}

/// The rows of an answer, checked against what they have to be.
pub fn checked_rows(answer: &larder::Answer, entity: &EntityKey) -> usize {
    let mut rows = 0;
    let mut last = i64::MIN;
    for batch in answer.batches() {
        let times = larder::event_times(batch);
        let values = batch.column(1).as_any().downcast_ref::<Float64Array>().unwrap();
        for (time, got) in times.iter().zip(values.values()) {
            assert!(*time > last && answer.range().contains(Timestamp::from_ns(*time)));
            assert_eq!(*got, value(entity, *time), "{entity} at {}", Timestamp::from_ns(*time));
            last = *time;
            rows += 1;
        }
    }
    rows
}
