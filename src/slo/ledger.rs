//! The requests of one view, counted without locks and kept by time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::counts::{Counts, MinuteCounts};
use super::series::Series;
use crate::metrics::RequestCells;
use crate::model::{Outcome, Timestamp};

const FINE: Duration = Duration::from_secs(5);
const FINE_KEPT: Duration = Duration::from_secs(3700);

/// Counts the requests of one view.
///
/// A request adds to its thread's cells and compares one number. Whoever is first in a new five
/// seconds moves what was counted since into the series, under a lock.
pub struct Ledger {
    cells: Arc<RequestCells>,
    current: AtomicI64,
    history: Mutex<History>,
}

struct History {
    moved: Counts,
    fine: Series,
    minutes: Series,
    unwritten: Series,
}

impl History {
    fn trim(&mut self, now: Timestamp) {
        self.fine.trim(now);
        self.minutes.trim(now);
        self.unwritten.trim(now);
    }
}

impl Ledger {
    /// Begins to count at `now`.
    pub fn new(now: Timestamp) -> Self {
        let history = History {
            moved: Counts::default(),
            fine: Series::new(FINE, FINE_KEPT),
            minutes: Series::of_minutes([]),
            unwritten: Series::of_minutes([]),
        };
        let current = AtomicI64::new(bucket(now));
        Self { cells: Arc::default(), current, history: Mutex::new(history) }
    }

    /// The counters that the exporter pulls.
    pub fn cells(&self) -> &Arc<RequestCells> {
        &self.cells
    }

    /// Counts one request that ended at `now`.
    pub fn record(&self, now: Timestamp, outcome: Outcome, duration: Duration) {
        // Relaxed: a request counted five seconds early or late changes nothing.
        if self.current.load(Ordering::Relaxed) != bucket(now) {
            drop(self.lock_and_move(now));
        }
        self.cells.record(outcome, duration);
    }

    /// What was counted in the last `window` before `now`, this moment's requests included.
    pub fn sum(&self, now: Timestamp, window: Duration) -> Counts {
        let history = self.lock_and_move(now);
        let series = if window <= Duration::from_secs(3600) { &history.fine } else { &history.minutes };
        series.sum(now, window)
    }

    /// Adds what was counted by others or before a restart.
    pub fn restore(&self, now: Timestamp, minutes: impl IntoIterator<Item = MinuteCounts>) {
        let mut history = self.lock();
        for (minute, counts) in minutes {
            let at = Timestamp::from_minute(minute);
            history.minutes.add(at, &counts);
            history.fine.add(at, &counts);
        }
        history.trim(now);
    }

    /// Counts requests that other processes answered, which are in their journals already.
    pub fn observe(&self, now: Timestamp, minute: i64, counts: &Counts) {
        let mut history = self.lock_and_move(now);
        counts.iter().for_each(|(outcome, count)| self.cells.observe(outcome, count));
        // The cells have them now, and they must not be moved as if this process had counted them.
        history.moved.merge(counts);
        // They happened within the last seconds, but the minute is all that is known for certain.
        history.fine.add(now, counts);
        history.minutes.add(Timestamp::from_minute(minute), counts);
    }

    /// Takes counts back that could not be written to the journal.
    pub fn put_back(&self, minutes: &[MinuteCounts]) {
        let mut history = self.lock();
        for (minute, counts) in minutes {
            history.unwritten.add(Timestamp::from_minute(*minute), counts);
        }
    }

    /// Takes the counts that are not written to the journal yet.
    pub fn take_unwritten(&self, now: Timestamp) -> Vec<MinuteCounts> {
        let mut history = self.lock_and_move(now);
        let taken = std::mem::replace(&mut history.unwritten, Series::of_minutes([]));
        taken.iter().map(|(at, counts)| (at.minute(), counts)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        // Every step leaves the counts valid, so a panic elsewhere does not make them wrong.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves what was counted since the last time into the bucket in which it was counted.
    fn lock_and_move(&self, now: Timestamp) -> MutexGuard<'_, History> {
        let mut history = self.lock();
        let counted_in = self.current.swap(bucket(now), Ordering::Relaxed);
        let at = Timestamp::from_secs(counted_in.saturating_mul(5));
        let totals = Counts::from(&self.cells.totals());
        let new = totals.since(&history.moved);
        history.moved = totals;
        history.fine.add(at, &new);
        history.minutes.add(at, &new);
        history.unwritten.add(at, &new);
        history.trim(now);
        history
    }
}

fn bucket(now: Timestamp) -> i64 {
    now.as_ns().div_euclid(5_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn requests_fall_into_the_time_in_which_they_happened() {
        let ledger = Ledger::new(at(1000));
        ledger.record(at(1000), Outcome::Hit, Duration::ZERO);
        ledger.record(at(1290), Outcome::Miss, Duration::ZERO);
        let five_minutes = Duration::from_secs(300);
        assert_eq!(ledger.sum(at(1294), five_minutes).total(), 2);
        assert_eq!(ledger.sum(at(1300), five_minutes).get(Outcome::Hit), 0);
        assert_eq!(ledger.sum(at(1300), five_minutes).get(Outcome::Miss), 1);
        assert_eq!(ledger.sum(at(9000), five_minutes).ratio(), None, "no data is not a ratio");
        assert_eq!(ledger.sum(at(9000), Duration::from_secs(86_400)).total(), 2);
    }

    #[test]
    fn every_request_is_written_once() {
        let ledger = Ledger::new(at(0));
        ledger.record(at(10), Outcome::Hit, Duration::ZERO);
        ledger.record(at(70), Outcome::Hit, Duration::ZERO);
        let minutes: Vec<_> = ledger.take_unwritten(at(71)).iter().map(|(minute, c)| (*minute, c.total())).collect();
        assert_eq!(minutes, [(0, 1), (1, 1)]);
        assert!(ledger.take_unwritten(at(72)).is_empty());
    }

    #[test]
    fn restored_minutes_count_but_are_not_written_again() {
        let ledger = Ledger::new(at(100_000));
        let counts = [(Outcome::Hit, 9), (Outcome::Miss, 1)].into_iter().collect();
        ledger.restore(at(100_000), [(99_990 / 60, counts)]);
        assert_eq!(ledger.sum(at(100_000), Duration::from_secs(300)).ratio(), Some(0.9));
        assert_eq!(ledger.sum(at(100_000), Duration::from_secs(86_400)).ratio(), Some(0.9));
        assert!(ledger.take_unwritten(at(100_001)).is_empty());
    }

    #[test]
    fn requests_of_others_count_but_are_not_written_again() {
        let ledger = Ledger::new(at(100_000));
        ledger.record(at(100_000), Outcome::Hit, Duration::ZERO);
        ledger.observe(at(100_001), 100_000 / 60, &[(Outcome::Miss, 3)].into_iter().collect());
        assert_eq!(ledger.sum(at(100_002), Duration::from_secs(300)).ratio(), Some(0.25));
        assert_eq!(ledger.sum(at(100_002), Duration::from_secs(86_400)).ratio(), Some(0.25));
        assert_eq!(ledger.cells().totals().count(Outcome::Miss), 3);
        assert_eq!(ledger.cells().totals().timed(Outcome::Miss), 0);
        let written: u64 = ledger.take_unwritten(at(100_003)).iter().map(|(_, counts)| counts.total()).sum();
        assert_eq!(written, 1);
    }

    #[test]
    fn a_clock_that_was_ahead_for_a_moment_does_not_hide_what_comes_after() {
        let ledger = Ledger::new(at(1000));
        ledger.record(at(1000), Outcome::Miss, Duration::ZERO);
        ledger.record(at(1_000_000_000), Outcome::Hit, Duration::ZERO);
        ledger.record(at(1010), Outcome::Hit, Duration::ZERO);
        ledger.record(at(1015), Outcome::Hit, Duration::ZERO);
        let recent = ledger.sum(at(1015), Duration::from_secs(300));
        assert!(recent.get(Outcome::Hit) >= 2, "{recent:?}");
    }

    #[test]
    fn what_could_not_be_written_is_written_later() {
        let ledger = Ledger::new(at(0));
        ledger.record(at(10), Outcome::Hit, Duration::ZERO);
        let taken = ledger.take_unwritten(at(11));
        ledger.put_back(&taken);
        assert_eq!(ledger.take_unwritten(at(12)), taken);
    }

    #[test]
    fn threads_lose_nothing_while_time_moves() {
        let ledger = Ledger::new(at(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5000).for_each(|i| ledger.record(at(i / 100), Outcome::Hit, Duration::ZERO)));
            }
        });
        assert_eq!(ledger.sum(at(60), Duration::from_secs(3600)).total(), 20_000);
    }
}
