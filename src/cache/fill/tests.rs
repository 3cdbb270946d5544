use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::DataType;

use super::*;
use crate::cache::{ComputeError, FeatureStore, Source};
use crate::clock::ManualClock;
use crate::metrics::{Metric, Recorder};
use crate::model::{EntityKey, FeatureView, Outcome};

const MINUTE: i64 = 60_000_000_000;
/// 2024-03-08T00:00:00Z.
const DAY: i64 = 1_709_856_000_000_000_000;

/// A row a minute; asked for its version, it says these words one after the other, the last one again and again.
struct Wavering(Mutex<VecDeque<&'static str>>);

impl Wavering {
    fn saying(words: &[&'static str]) -> Self {
        Self(Mutex::new(words.iter().copied().collect()))
    }
}

impl Source for Wavering {
    fn compute(&self, gap: &Gap) -> Result<RecordBatch, ComputeError> {
        let times: Vec<i64> = (0..1440)
            .map(|minute| DAY + minute * MINUTE)
            .filter(|at| gap.range().contains(Timestamp::from_ns(*at)))
            .collect();
        let values: ArrayRef = Arc::new(times.iter().map(|at| (at - DAY) as f64).collect::<Float64Array>());
        Ok(gap.batch(times, vec![values])?)
    }

    fn version(&self, _: &Gap) -> Option<String> {
        let mut words = self.0.lock().unwrap();
        let word = if words.len() > 1 { words.pop_front() } else { words.front().copied() };
        word.map(str::to_owned)
    }
}

/// The same; it does not know up to when it is complete.
struct Unsure(Wavering);

impl Source for Unsure {
    fn compute(&self, gap: &Gap) -> Result<RecordBatch, ComputeError> {
        self.0.compute(gap)
    }

    fn watermark(&self, _: &FeatureView, _: &EntityKey, _: Timestamp) -> Result<Timestamp, ComputeError> {
        Err("the newest row is not found".into())
    }
}

/// The reasons for which blocks were not kept.
#[derive(Clone, Default)]
struct Dropped(Arc<Mutex<Vec<String>>>);

impl Recorder for Dropped {
    fn add(&self, metric: &'static Metric, labels: &[&str], _: f64) {
        if metric == &catalogue::DROPPED_PUBLISHES {
            self.0.lock().unwrap().extend(labels.iter().map(ToString::to_string));
        }
    }
}

struct Desk {
    _dir: tempfile::TempDir,
    store: FeatureStore,
    view: FeatureView,
    clock: Arc<ManualClock>,
    dropped: Dropped,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(DAY + 600 * MINUTE));
        let dropped = Dropped::default();
        let builder = FeatureStore::builder(dir.path().join("cache")).clock(Arc::clone(&clock));
        let store = builder.recorder(dropped.clone()).open().unwrap();
        let view = FeatureView::builder("v").entity("symbol").feature("x", DataType::Float64).build().unwrap();
        Self { _dir: dir, store, view, clock, dropped }
    }

    /// What asking up to a minute of the day turns out to be.
    fn ask(&self, until: i64, source: &impl Source) -> Outcome {
        self.clock.set(DAY + (until + 10) * MINUTE);
        let range = TimeRange::new(Timestamp::from_ns(DAY), Timestamp::from_ns(DAY + until * MINUTE)).unwrap();
        let entity = EntityKey::new([("symbol", "A")]).unwrap();
        self.store.get_or_compute_from(&self.view, &entity, range, source).unwrap().outcome()
    }
}

#[test]
fn a_tail_of_the_same_rows_is_extended_and_kept() {
    let desk = Desk::new();
    let steady = Wavering::saying(&["one"]);
    assert_eq!(desk.ask(100, &steady), Outcome::Miss);
    assert_eq!(desk.ask(200, &steady), Outcome::Partial);
    assert_eq!(desk.ask(200, &steady), Outcome::Hit);
}

#[test]
fn a_tail_of_other_rows_is_computed_from_its_beginning() {
    let desk = Desk::new();
    assert_eq!(desk.ask(100, &Wavering::saying(&["one"])), Outcome::Miss);
    assert_eq!(desk.ask(200, &Wavering::saying(&["two"])), Outcome::Miss, "nothing of it was used");
    assert_eq!(desk.ask(200, &Wavering::saying(&["two"])), Outcome::Hit);
}

#[test]
fn a_tail_whose_rows_change_while_it_is_extended_is_not_kept() {
    let desk = Desk::new();
    assert_eq!(desk.ask(100, &Wavering::saying(&["one"])), Outcome::Miss);
    // As before when it is decided to extend it, and another when its parts are put together.
    assert_eq!(desk.ask(200, &Wavering::saying(&["one", "two"])), Outcome::Partial);
    assert_eq!(desk.ask(200, &Wavering::saying(&["two"])), Outcome::Miss, "its older part is of rows that are gone");
}

#[test]
fn of_a_source_that_fails_to_say_its_watermark_rows_are_answered_and_counted_as_not_kept() {
    let desk = Desk::new();
    let unsure = Unsure(Wavering::saying(&["one"]));
    assert_eq!((desk.ask(100, &unsure), desk.ask(100, &unsure)), (Outcome::Miss, Outcome::Miss));
    assert_eq!(*desk.dropped.0.lock().unwrap(), ["watermark"; 2]);
}
