//! Many ask, one computes.

use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use larder::{ErrorKind, FeatureStore, Outcome};

use crate::desk::{Desk, checked_rows, range, symbol, view};

#[test]
fn thirty_two_threads_that_ask_for_one_key_cause_one_compute() {
    let desk = Desk::new();
    let store = desk.open();
    let (view, eurusd) = (view(), symbol("EURUSD"));
    for day in 1..=20 {
        let day = range(&format!("2024-02-{day:02}"), &format!("2024-02-{:02}", day + 1));
        let before = desk.computes();
        let barrier = Barrier::new(32);
        let outcomes = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| {
                    barrier.wait();
                    let answer = store
                        .get_or_compute(&view, &eurusd, day, |gap| {
                            std::thread::sleep(Duration::from_millis(5));
                            desk.compute(gap)
                        })
                        .unwrap();
                    assert_eq!(checked_rows(&answer, &eurusd), 1440);
                    outcomes.lock().unwrap().push(answer.outcome());
                });
            }
        });
        assert_eq!(desk.computes() - before, 1);
        let outcomes = outcomes.into_inner().unwrap();
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Miss).count(), 1);
        assert!(
            outcomes.iter().all(|o| matches!(o, Outcome::Miss | Outcome::Coalesced | Outcome::Hit)),
            "{outcomes:?}"
        );
    }
}

#[test]
fn a_panic_is_an_error_for_its_caller_and_all_who_wait_and_locks_nothing() {
    let desk = Desk::new();
    let store = desk.open();
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    let barrier = Barrier::new(32);
    let errors = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                barrier.wait();
                let result = store.get_or_compute(&view, &eurusd, day, |_| -> larder::Result<_> {
                    std::thread::sleep(Duration::from_millis(30));
                    panic!("the model is on fire")
                });
                errors.lock().unwrap().push(result.unwrap_err());
            });
        }
    });
    for error in errors.into_inner().unwrap() {
        assert_eq!(error.kind(), ErrorKind::Compute);
        let message = error.to_string();
        assert!(message.contains("panicked") && message.contains("the model is on fire"), "{message}");
        assert!(message.contains("view prices, symbol=EURUSD, 2024-03-01"), "{message}");
    }
    desk.clock.advance(Duration::from_secs(2));
    let answer = store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
    assert_eq!(answer.outcome(), Outcome::Miss);
}

#[test]
fn overlapping_ranges_from_many_threads_compute_each_block_once() {
    let desk = Desk::new();
    let store = desk.open();
    let (view, eurusd) = (view(), symbol("EURUSD"));
    let computed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (store, view, eurusd, computed, desk) = (&store, &view, &eurusd, &computed, &desk);
            scope.spawn(move || {
                for at in 0..20 {
                    let first = 1 + (thread * 3 + at * 5) % 20;
                    let days = range(&format!("2024-02-{first:02}"), &format!("2024-02-{:02}", first + 1 + at % 8));
                    let answer = store
                        .get_or_compute(view, eurusd, days, |gap| {
                            std::thread::sleep(Duration::from_millis(2));
                            computed.lock().unwrap().extend(gap.windows().map(|window| window.range.start()));
                            desk.compute(gap)
                        })
                        .unwrap();
                    assert_eq!(checked_rows(&answer, eurusd), (1 + at % 8) * 1440);
                }
            });
        }
    });
    let mut computed = computed.into_inner().unwrap();
    let total = computed.len();
    computed.sort();
    computed.dedup();
    assert_eq!(computed.len(), total, "a block was computed twice");
}

#[test]
fn a_leader_that_hangs_holds_others_up_only_for_so_long() {
    let mut desk = Desk::new();
    desk.settings.compute.wait_timeout = Duration::from_millis(100);
    let desk = Arc::new(desk);
    let store = desk.open();
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    let (entered, leave) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let hanging = {
        let (store, view, eurusd, desk) = (store.clone(), view.clone(), eurusd.clone(), Arc::clone(&desk));
        let (entered, leave) = (Arc::clone(&entered), Arc::clone(&leave));
        std::thread::spawn(move || {
            store.get_or_compute(&view, &eurusd, day, |gap| {
                entered.wait();
                leave.wait();
                desk.compute(gap)
            })
        })
    };
    entered.wait();
    let answer = store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
    assert_eq!((answer.outcome(), checked_rows(&answer, &eurusd)), (Outcome::Miss, 1440));
    leave.wait();
    assert_eq!(checked_rows(&hanging.join().unwrap().unwrap(), &eurusd), 1440);
}

#[test]
fn whoever_asks_after_an_invalidation_does_not_wait_for_the_compute_before_it() {
    let desk = Desk::new();
    let store = desk.open();
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    let old = store
        .get_or_compute(&view, &eurusd, day, |gap| {
            store.invalidate(&view, &eurusd, day).unwrap();
            // In another thread, because this one leads a flight for the block.
            std::thread::scope(|scope| {
                let new = scope.spawn(|| store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)));
                assert_eq!(new.join().unwrap().unwrap().outcome(), Outcome::Miss);
            });
            desk.compute(gap)
        })
        .unwrap();
    assert_eq!((old.outcome(), desk.computes()), (Outcome::Miss, 2));
    assert_eq!(store.get(&view, &eurusd, day).unwrap().unwrap().num_rows(), 1440, "the younger compute was kept");
}

#[test]
fn a_herd_that_asks_until_now_does_not_compute_one_after_the_other() {
    let desk = Desk::new();
    let store = FeatureStore::builder(desk.dir.path().join("cache")).settings(desk.settings.clone()).open().unwrap();
    let now = larder::Timestamp::from_ns(larder::clock::Clock::now_ns(&larder::clock::SystemClock));
    let hour = larder::TimeRange::new(
        now.saturating_sub(Duration::from_secs(3600)),
        now.saturating_add(Duration::from_secs(3600)),
    );
    let (view, eurusd, hour) = (view(), symbol("EURUSD"), hour.unwrap());
    let barrier = Barrier::new(16);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                barrier.wait();
                let answer = store.get_or_compute(&view, &eurusd, hour, |gap| {
                    std::thread::sleep(Duration::from_millis(100));
                    desk.compute(gap)
                });
                checked_rows(&answer.unwrap(), &eurusd);
            });
        }
    });
    assert!(desk.computes() <= 4, "{} computes for one moment", desk.computes());
}
