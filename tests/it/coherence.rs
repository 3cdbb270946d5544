//! Invalidation, in this process and in others.

use std::sync::{Arc, Mutex};
use std::thread::{ThreadId, current};
use std::time::Duration;

use arrow::datatypes::DataType;
use larder::clock::{Clock, ManualClock};
use larder::{FeatureStore, FeatureView, Outcome};

use crate::desk::{Desk, checked_rows, range, symbol, view};

#[test]
fn an_invalidated_block_is_computed_again_in_every_store() {
    let desk = Desk::new();
    let (view, eurusd) = (view(), symbol("EURUSD"));
    let days = range("2024-03-01", "2024-03-04");
    // Two stores on one directory share nothing in memory, as two processes do not.
    let (one, other) = (desk.open(), desk.open());
    one.get_or_compute(&view, &eurusd, days, |gap| desk.compute(gap)).unwrap();
    let warm = other.get_or_compute(&view, &eurusd, days, |gap| desk.compute(gap)).unwrap();
    assert_eq!((warm.outcome(), desk.computes()), (Outcome::Hit, 1));
    let blocks = one.invalidate(&view, &eurusd, range("2024-03-02T12:00:00Z", "2024-03-02T13:00:00Z")).unwrap();
    assert_eq!(blocks, 1);
    let after = other.get_or_compute(&view, &eurusd, days, |gap| desk.compute(gap)).unwrap();
    assert_eq!((after.outcome(), desk.computes()), (Outcome::Partial, 2));
    assert_eq!(checked_rows(&after, &eurusd), 3 * 1440);
}

/// One row a minute, counted by the desk.
struct Minutes<'a>(&'a Desk);

impl larder::Source for Minutes<'_> {
    fn compute(&self, gap: &larder::Gap) -> Result<arrow::array::RecordBatch, larder::ComputeError> {
        Ok(self.0.compute(gap)?)
    }
}

#[test]
fn who_only_warms_gets_nothing_that_was_invalidated_after_the_table_of_generations_was_deleted() {
    let desk = Desk::new();
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    let one = desk.open();
    let warm = || one.warm_from(&view, &eurusd, day, &Minutes(&desk)).unwrap().outcome();
    assert_eq!((warm(), warm(), desk.computes()), (Outcome::Miss, Outcome::Hit, 1));
    std::fs::remove_file(desk.dir.path().join("cache/generations")).unwrap();
    desk.open().invalidate(&view, &eurusd, day).unwrap();
    // As long as invalidating waits, so that everybody notices.
    desk.clock.advance(Duration::from_millis(100));
    assert_eq!((warm(), desk.computes()), (Outcome::Miss, 2));
}

#[test]
fn a_compute_that_began_before_an_invalidation_is_answered_and_not_published() {
    let desk = Desk::new();
    let (view, eurusd) = (view(), symbol("EURUSD"));
    let day = range("2024-03-01", "2024-03-02");
    let (one, other) = (desk.open(), desk.open());
    let answer = one
        .get_or_compute(&view, &eurusd, day, |gap| {
            other.invalidate(&view, &eurusd, day).unwrap();
            desk.compute(gap)
        })
        .unwrap();
    assert_eq!(checked_rows(&answer, &eurusd), 1440);
    for store in [&one, &other] {
        assert!(store.get(&view, &eurusd, day).unwrap().is_none());
    }
}

/// A clock that does something whenever one thread asks it, so that this happens in the middle of what the thread does.
struct Watched {
    clock: Arc<ManualClock>,
    thread: ThreadId,
    look: Mutex<Box<dyn FnMut() + Send>>,
}

impl Clock for Watched {
    fn now_ns(&self) -> i64 {
        if current().id() == self.thread {
            (self.look.lock().unwrap())();
        }
        self.clock.now_ns()
    }
}

#[test]
fn who_reads_in_the_middle_of_an_invalidation_serves_nothing_of_it_afterwards() {
    let desk = Desk::new();
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    let other = desk.open();
    other.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
    let reading = {
        let (other, view, eurusd) = (other.clone(), view.clone(), eurusd.clone());
        move || drop(other.get(&view, &eurusd, day).unwrap())
    };
    let clock = Watched { clock: desk.clock.clone(), thread: current().id(), look: Mutex::new(Box::new(reading)) };
    let one = FeatureStore::builder(desk.dir.path().join("cache"))
        .settings(desk.settings.clone())
        .clock(Arc::new(clock))
        .open()
        .unwrap();
    assert_eq!(one.invalidate(&view, &eurusd, day).unwrap(), 1);
    assert!(other.get(&view, &eurusd, day).unwrap().is_none());
}

#[test]
fn whoever_serves_from_memory_notices_that_the_table_was_deleted_before_others_invalidate_in_a_new_one() {
    let aging = FeatureView::builder("aging").entity("symbol").feature("value", DataType::Float64);
    for view in [view(), aging.max_age(Duration::from_secs(3600)).build().unwrap()] {
        let desk = Desk::new();
        let (eurusd, day) = (symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
        let (one, other) = (desk.open(), desk.open());
        let ask = || one.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap().outcome();
        assert_eq!((ask(), ask()), (Outcome::Miss, Outcome::Hit));
        std::fs::remove_file(desk.dir.path().join("cache/generations")).unwrap();
        other.invalidate(&view, &eurusd, day).unwrap();
        // So long the invalidation has waited for others to notice.
        desk.clock.advance(Duration::from_millis(100));
        assert_eq!(ask(), Outcome::Miss, "{}", view.name());
    }
}
