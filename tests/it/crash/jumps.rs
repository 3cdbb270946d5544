//! A clock that jumps between any two questions.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use larder::clock::Clock;
use larder::{ErrorKind, FeatureStore, Outcome, TimeRange, Timestamp};

use crate::desk::{NOW, checked_rows, minutes, quiet, symbol, time, view};

const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;
/// Further than any clock is wrong, and small enough to be a time.
const JUMPS: [i64; 4] = [HOUR, -HOUR, DAY, -3_650 * DAY];

/// Right but for one question, or from one question on.
#[derive(Debug, Default)]
struct Jumping {
    asked: AtomicU64,
    at: AtomicU64,
    by: AtomicI64,
    for_ever: bool,
}

impl Clock for Jumping {
    fn now_ns(&self) -> i64 {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let at = self.at.load(Ordering::SeqCst);
        let jumps = asked == at || (self.for_ever && asked > at);
        time(NOW).as_ns() + if jumps { self.by.load(Ordering::SeqCst) } else { 0 }
    }
}

/// Asks for two days, of which the second is not over, while the clock jumps; how often it was asked.
fn jumps(at: u64, by: i64, for_ever: bool) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(Jumping { at: at.into(), by: by.into(), for_ever, ..Jumping::default() });
    let store = FeatureStore::builder(dir.path()).settings(quiet()).clock(Arc::clone(&clock)).open().unwrap();
    let entity = symbol("S");
    let now = time(NOW);
    let begin = Timestamp::from_ns(now.as_ns() - 36 * HOUR);
    let range = TimeRange::new(begin, Timestamp::from_ns(now.as_ns() + 12 * HOUR)).unwrap();
    for _ in 0..3 {
        // Whatever the clock says, what is answered is right.
        match store.get_or_compute(&view(), &entity, range, minutes) {
            Ok(answer) => drop(checked_rows(&answer, &entity)),
            // All of it is to come.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error}"),
        }
        store.flush();
    }
    let asked = clock.asked.load(Ordering::SeqCst);
    // The clock is right again: nothing is missing, and nothing is answered that cannot be known yet.
    clock.at.store(u64::MAX, Ordering::SeqCst);
    for expected in [None, Some(Outcome::Hit)] {
        let past = TimeRange::new(begin, Timestamp::from_ns(now.as_ns() - 12 * HOUR)).unwrap();
        let answer = store.get_or_compute(&view(), &entity, past, minutes).unwrap();
        assert_eq!(
            checked_rows(&answer, &entity),
            24 * 60,
            "the clock jumped by {by} ns when asked for the {at}th time"
        );
        assert!(expected.is_none_or(|expected| answer.outcome() == expected), "{:?}", answer.outcome());
        let answer = store.get_or_compute(&view(), &entity, range, minutes).unwrap();
        assert_eq!(
            checked_rows(&answer, &entity),
            36 * 60,
            "the clock jumped by {by} ns when asked for the {at}th time"
        );
    }
    asked
}

#[test]
fn a_clock_that_jumps_changes_no_value() {
    let mut points = 0;
    for by in JUMPS {
        for for_ever in [false, true] {
            let asked = (0..).take_while(|at| jumps(*at, by, for_ever) > *at).count();
            assert!(asked > 0, "the clock was never asked");
            points += asked;
        }
    }
    println!("the clock jumped at each of {points} moments");
}
