//! Blocks that grow old.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use larder::clock::Clock;
use larder::inspect::StatusFacts;
use larder::inspect::health::HealthFacts;
use larder::store::{CacheDir, Publish};
use larder::{FeatureView, FeatureViewBuilder, Gap, Outcome, Timestamp};

use crate::desk::{Desk, checked_rows, minutes, range, symbol};

const HOUR: Duration = Duration::from_secs(3600);

fn aging() -> FeatureViewBuilder {
    FeatureView::builder("prices").entity("symbol").feature("value", DataType::Float64).max_age(HOUR)
}

#[test]
fn past_its_max_age_a_block_is_computed_again() {
    let desk = Desk::new();
    let store = desk.open();
    let (view, eurusd, day) = (aging().build().unwrap(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    let ask = || store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap().outcome();
    assert_eq!((ask(), ask()), (Outcome::Miss, Outcome::Hit));
    desk.clock.advance(HOUR);
    assert_eq!(ask(), Outcome::Hit, "its last moment");
    desk.clock.advance(Duration::from_nanos(1));
    assert_eq!((ask(), ask()), (Outcome::Miss, Outcome::Hit));
}

#[test]
fn a_stale_block_is_served_at_once_and_refreshed_in_the_background() {
    let desk = Desk::new();
    let store = desk.open();
    let view = aging().stale_while_revalidate(HOUR).build().unwrap();
    let (eurusd, day) = (symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    let refreshed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&refreshed);
    store.on_refresh(&view, move |gap: &Gap| {
        counter.fetch_add(1, Ordering::SeqCst);
        minutes(gap)
    });
    store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
    desk.clock.advance(HOUR + Duration::from_secs(1));
    let stale = store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
    assert_eq!((stale.outcome(), checked_rows(&stale, &eurusd)), (Outcome::Stale, 1440));
    let patience = Instant::now();
    while store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap().outcome() != Outcome::Hit {
        assert!(patience.elapsed() < Duration::from_secs(20), "the refresh did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!((desk.computes(), refreshed.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn without_a_registered_refresh_the_request_computes() {
    let desk = Desk::new();
    let store = desk.open();
    let view = aging().stale_while_revalidate(HOUR).build().unwrap();
    let (eurusd, day) = (symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    for _ in 0..2 {
        let answer = store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
        assert_eq!(answer.outcome(), Outcome::Miss);
        desk.clock.advance(HOUR * 2);
    }
}

#[test]
fn within_max_stale_an_expired_block_answers_where_computing_fails() {
    let desk = Desk::new();
    let store = desk.open();
    let view = aging().max_stale(HOUR).build().unwrap();
    let (eurusd, day) = (symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    let down = |_: &Gap| Err::<RecordBatch, _>("down");
    store.get_or_compute(&view, &eurusd, day, minutes).unwrap();
    desk.clock.advance(HOUR * 2);
    let answer = store.get_or_compute(&view, &eurusd, day, down).unwrap();
    assert_eq!((answer.outcome(), checked_rows(&answer, &eurusd)), (Outcome::Fallback, 1440));
    assert_eq!(answer.blocks()[0].age(), HOUR * 2);
    desk.clock.advance(Duration::from_secs(2));
    assert!(store.get_or_compute(&view, &eurusd, day, down).is_err(), "too old even for that");
}

#[test]
fn extending_a_tail_does_not_make_its_older_part_young() {
    let desk = Desk::new();
    let store = desk.open();
    let (view, eurusd) = (aging().build().unwrap(), symbol("EURUSD"));
    let ask = |end: &str| {
        let answer = store.get_or_compute(&view, &eurusd, range("2024-03-15", end), |gap| desk.compute(gap)).unwrap();
        (answer.outcome(), checked_rows(&answer, &eurusd))
    };
    assert_eq!(ask("2024-03-15T11:59:00Z"), (Outcome::Miss, 719));
    desk.clock.advance(HOUR / 2);
    assert_eq!(ask("2024-03-15T12:29:00Z"), (Outcome::Partial, 749));
    desk.clock.advance(HOUR / 2 + Duration::from_secs(1));
    assert_eq!(ask("2024-03-15T12:29:00Z"), (Outcome::Miss, 749), "the first half is too old");
}

#[test]
fn the_views_of_two_callers_may_differ_in_how_old_a_block_may_be() {
    let desk = Desk::new();
    let store = desk.open();
    let patient = FeatureView::builder("prices").entity("symbol").feature("value", DataType::Float64).build().unwrap();
    let strict = aging().build().unwrap();
    assert_eq!(patient.fingerprint(), strict.fingerprint());
    let (eurusd, day) = (symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    let ask = |view| store.get_or_compute(view, &eurusd, day, |gap| desk.compute(gap)).unwrap().outcome();
    assert_eq!(ask(&patient), Outcome::Miss);
    desk.clock.advance(HOUR * 2);
    assert_eq!((ask(&patient), ask(&strict)), (Outcome::Hit, Outcome::Miss));
}

#[test]
fn an_expired_tail_that_ends_too_early_is_no_fallback() {
    let desk = Desk::new();
    let store = desk.open();
    let view = aging().max_stale(HOUR * 9).build().unwrap();
    let eurusd = symbol("EURUSD");
    store.get_or_compute(&view, &eurusd, range("2024-03-15", "2024-03-15T11:59:00Z"), minutes).unwrap();
    desk.clock.advance(HOUR * 3);
    let down = |_: &Gap| Err::<RecordBatch, _>("down");
    assert!(store.get_or_compute(&view, &eurusd, range("2024-03-15", "2024-03-15T14:00:00Z"), down).is_err());
    desk.clock.advance(Duration::from_secs(2));
    let known = store.get_or_compute(&view, &eurusd, range("2024-03-15", "2024-03-15T11:00:00Z"), down).unwrap();
    assert_eq!((known.outcome(), checked_rows(&known, &eurusd)), (Outcome::Fallback, 660));
}

#[test]
fn a_version_that_lags_behind_the_one_before_it_is_what_gauge_page_and_checks_see() {
    let mut desk = Desk::new();
    desk.settings.manifest.fold_interval = Duration::from_millis(50);
    let store = desk.open();
    let version = |name: &str| FeatureView::builder("prices").entity("symbol").version(name);
    let ask = |name: &str, day: &str, next: &str| {
        let view = version(name).feature("value", DataType::Float64).build().unwrap();
        store.get_or_compute(&view, &symbol("EURUSD"), range(day, next), minutes).unwrap();
    };
    ask("old", "2024-03-14", "2024-03-15");
    desk.clock.advance(Duration::from_secs(1));
    ask("new", "2024-03-01", "2024-03-02");
    store.flush();
    let newest: Timestamp = "2024-03-01T23:59:00Z".parse().unwrap();
    let cache = CacheDir::open(&desk.dir.path().join("cache"), Publish::Fast, "freshness").unwrap();
    let now = Timestamp::from_ns(desk.clock.now_ns());
    let page = StatusFacts::gather(&cache, store.manifest(), &desk.settings, now).unwrap();
    assert_eq!(page.views[0].newest, Some(newest));
    let health = HealthFacts::gather(&cache, store.manifest(), &desk.settings, now);
    assert_eq!(health.known.unwrap().views[0].newest, Some(newest));
    let gauge = || {
        let text = store.metrics_text().unwrap();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix("featurestore_newest_event_timestamp_seconds{view=\"prices\"} "));
        value.map(|value| value.parse::<f64>().unwrap())
    };
    let patience = Instant::now();
    while gauge() != Some(newest.as_ns() as f64 / 1e9) {
        assert!(patience.elapsed() < Duration::from_secs(20), "{:?}", gauge());
        std::thread::sleep(Duration::from_millis(20));
    }
}
