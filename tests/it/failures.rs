//! Computes that fail, and requests that are wrong.

use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow::datatypes::DataType;
use larder::{EntityKey, ErrorKind, FeatureView, Gap, Outcome, TimeRange, Timestamp};
use std::sync::Arc;

use crate::desk::{Desk, checked_rows, minutes, range, symbol, time, view};

fn floats(values: &[f64]) -> Vec<ArrayRef> {
    vec![Arc::new(Float64Array::from(values.to_vec()))]
}

#[test]
fn a_failure_is_answered_to_all_until_the_back_off_is_over_and_not_cached() {
    let desk = Desk::new();
    let store = desk.open();
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    let failing = |_: &Gap| Err::<RecordBatch, _>(std::io::Error::other("the database is down"));
    let error = store.get_or_compute(&view, &eurusd, day, failing).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Compute);
    assert!(error.to_string().ends_with("the database is down"), "{error}");
    let again = store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap_err();
    assert_eq!((again.to_string(), desk.computes()), (error.to_string(), 0), "the back-off holds");
    desk.clock.advance(Duration::from_millis(1001));
    let answer = store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
    assert_eq!((answer.outcome(), desk.computes()), (Outcome::Miss, 1));
}

#[test]
fn an_invalidation_ends_the_back_off() {
    let desk = Desk::new();
    let store = desk.open();
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    store.get_or_compute(&view, &eurusd, day, |_| Err::<RecordBatch, _>("down")).unwrap_err();
    store.invalidate(&view, &eurusd, day).unwrap();
    assert!(store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).is_ok());
}

#[test]
fn what_was_computed_before_a_failure_is_kept() {
    let desk = Desk::new();
    let store = desk.open();
    let (view, eurusd) = (view(), symbol("EURUSD"));
    store.get_or_compute(&view, &eurusd, range("2024-03-02", "2024-03-03"), minutes).unwrap();
    let mut calls = 0;
    let error = store.get_or_compute(&view, &eurusd, range("2024-03-01", "2024-03-04"), |gap| {
        calls += 1;
        if calls == 1 { minutes(gap).map_err(|error| error.to_string()) } else { Err("down".to_owned()) }
    });
    assert!(error.is_err());
    assert!(store.get(&view, &eurusd, range("2024-03-01", "2024-03-02")).unwrap().is_some());
    assert!(store.get(&view, &eurusd, range("2024-03-03", "2024-03-04")).unwrap().is_none());
}

#[test]
fn a_wrong_batch_is_refused_with_column_row_and_value_and_nothing_is_kept() {
    let desk = Desk::new();
    let store = desk.open();
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    let at = time("2024-03-01T09:00:00Z").as_ns();
    let minute = 60_000_000_000;
    type Make = Box<dyn Fn(&Gap) -> larder::Result<RecordBatch>>;
    let cases: Vec<(Make, &str)> = vec![
        (Box::new(move |gap| gap.batch(vec![at, at], floats(&[1.0, 2.0]))), "as in the row before"),
        (Box::new(move |gap| gap.batch(vec![at + minute, at], floats(&[1.0, 2.0]))), "sort the rows"),
        (Box::new(move |gap| gap.batch(vec![at - 86_400 * 1_000_000_000], floats(&[1.0]))), "outside of the gap"),
        (
            Box::new(|gap| {
                let batch = minutes(gap)?;
                Ok(batch.project(&[0]).unwrap())
            }),
            "column \"value\" is missing",
        ),
    ];
    for (make, part) in cases {
        let error = store.get_or_compute(&view, &eurusd, day, make).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Compute);
        assert!(error.to_string().contains(part), "{error}");
        assert!(error.to_string().contains("view prices, symbol=EURUSD"), "{error}");
        assert!(store.get(&view, &eurusd, day).unwrap().is_none());
        desk.clock.advance(Duration::from_secs(2));
    }
}

#[test]
fn wrong_requests_are_invalid_say_what_to_do_and_are_no_events() {
    let desk = Desk::new();
    let store = desk.open();
    let (view, eurusd) = (view(), symbol("EURUSD"));
    let day = range("2024-03-01", "2024-03-02");
    let venue = EntityKey::new([("venue", "XNYS")]).unwrap();
    let number = EntityKey::new([("symbol", 5i64)]).unwrap();
    let ask = |entity: &EntityKey, range: TimeRange| store.get_or_compute(&view, entity, range, minutes).unwrap_err();
    let for_ever = TimeRange::new(Timestamp::MIN, Timestamp::MAX).unwrap();
    for (error, part) in [
        (ask(&venue, day), "keyed by symbol (text), but the entity has venue (text)"),
        (ask(&number, day), "symbol (integer)"),
        (ask(&eurusd, range("2024-03-16", "2024-03-17")), "lies in the future"),
        (ask(&eurusd, for_ever), "compute.max_blocks"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(store.slo().budget.requests, 0);
}

#[test]
fn the_fallback_compute_answers_is_counted_and_not_kept() {
    let desk = Desk::new();
    let store = desk.open();
    let (view, eurusd, days) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-03"));
    store.on_failure(&view, minutes);
    let answer = store.get_or_compute(&view, &eurusd, days, |_| Err::<RecordBatch, _>("down")).unwrap();
    assert_eq!((answer.outcome(), checked_rows(&answer, &eurusd)), (Outcome::Fallback, 2880));
    assert!(store.get(&view, &eurusd, days).unwrap().is_none());
}

#[test]
fn views_with_names_that_are_no_directory_are_refused() {
    for name in ["", "Upper", "../x", "a/b", "ü", "a b"] {
        let error = FeatureView::builder(name).entity("symbol").feature("a", DataType::Float64).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}");
    }
}

#[test]
fn the_back_off_begins_when_the_compute_has_failed_however_long_that_took() {
    let desk = Desk::new();
    let store = desk.open();
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    let slow = |_: &Gap| {
        desk.clock.advance(Duration::from_secs(30));
        Err::<RecordBatch, _>("timed out")
    };
    store.get_or_compute(&view, &eurusd, day, slow).unwrap_err();
    assert!(store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).is_err());
    assert_eq!(desk.computes(), 0);
    desk.clock.set(desk_time() - 3_600_000_000_000);
    let answer = store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap));
    assert!(answer.is_ok(), "a clock that is set back does not prolong it");
}

fn desk_time() -> i64 {
    time(crate::desk::NOW).as_ns()
}

/// What is logged by this thread meanwhile.
#[cfg(feature = "cli")]
pub fn logged(work: impl FnOnce()) -> String {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, work);
    let text = log.0.lock().unwrap().clone();
    String::from_utf8(text).unwrap()
}

#[cfg(feature = "cli")]
#[test]
fn what_fails_with_every_request_is_logged_once_for_each_view() {
    let mut desk = Desk::new();
    desk.settings.compute.error_backoff = Duration::ZERO;
    let store = desk.open();
    let other = FeatureView::builder("other").entity("symbol").feature("value", DataType::Float64);
    let views = [view(), other.build().unwrap()];
    let log = logged(|| {
        for at in 0..20 {
            let ask = |view| {
                store.get_or_compute(view, &symbol(&format!("S{at}")), range("2024-03-01", "2024-03-02"), |_: &Gap| {
                    Err("down")
                })
            };
            views.iter().for_each(|view| assert!(ask(view).is_err()));
        }
    });
    assert_eq!(log.matches("get_or_compute: compute failed").count(), 2, "{log}");
    assert!(log.contains("view=\"prices\"") && log.contains("view=\"other\""), "{log}");
}
