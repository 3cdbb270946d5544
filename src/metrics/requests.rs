//! The counters of requests: the only ones that a hit touches.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::model::Outcome;

const OUTCOMES: usize = Outcome::ALL.len();
const BOUNDS: usize = 22;
/// One more than the bounds, for what is longer than the last.
const BUCKETS: usize = BOUNDS + 1;
/// Threads share a shard only where there are more of them than this.
const SHARDS: usize = 8;

/// Upper bounds of the duration buckets in nanoseconds: 1-2-5 from 1 µs to 10 s, each inclusive.
pub const DURATION_BOUNDS_NS: [u64; BOUNDS] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Requests of one view by outcome and duration, in cells that threads do not share.
///
/// A request costs two relaxed additions in cache lines of its own thread. Reading sums all shards
/// and may miss additions that happen meanwhile, which the next reading finds.
pub struct RequestCells {
    shards: Box<[Shard; SHARDS]>,
    /// Requests that other processes answered, whose durations are not known.
    observed: [AtomicU64; OUTCOMES],
}

// 128, because processors of today fetch cache lines in pairs.
#[repr(align(128))]
struct Shard {
    buckets: [[AtomicU64; BUCKETS]; OUTCOMES],
    sum_ns: [AtomicU64; OUTCOMES],
}

/// Zeros, in as many places as there are outcomes.
fn zeros() -> [AtomicU64; OUTCOMES] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

/// A reading of [`RequestCells`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestTotals {
    buckets: [[u64; BUCKETS]; OUTCOMES],
    sum_ns: [u64; OUTCOMES],
    observed: [u64; OUTCOMES],
}

impl Default for RequestCells {
    fn default() -> Self {
        let shard =
            |_| Shard { buckets: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))), sum_ns: zeros() };
        Self { shards: Box::new(std::array::from_fn(shard)), observed: zeros() }
    }
}

impl RequestCells {
    /// Counts one request.
    pub fn record(&self, outcome: Outcome, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = DURATION_BOUNDS_NS.partition_point(|bound| *bound < ns);
        // Relaxed: the numbers order nothing else.
        if let Some(shard) = self.shards.get(shard_of_thread()) {
            if let Some(cell) = shard.buckets.get(outcome.index()).and_then(|buckets| buckets.get(bucket)) {
                cell.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(sum) = shard.sum_ns.get(outcome.index()) {
                sum.fetch_add(ns, Ordering::Relaxed);
            }
        }
    }

    /// Counts requests that other processes answered.
    pub fn observe(&self, outcome: Outcome, count: u64) {
        if let Some(cell) = self.observed.get(outcome.index()) {
            cell.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Reads all cells.
    pub fn totals(&self) -> RequestTotals {
        let mut totals = RequestTotals::default();
        for (sum, cell) in totals.observed.iter_mut().zip(&self.observed) {
            *sum = cell.load(Ordering::Relaxed);
        }
        for shard in self.shards.iter() {
            for (sums, cells) in totals.buckets.iter_mut().zip(&shard.buckets) {
                for (sum, cell) in sums.iter_mut().zip(cells) {
                    *sum += cell.load(Ordering::Relaxed);
                }
            }
            for (sum, cell) in totals.sum_ns.iter_mut().zip(&shard.sum_ns) {
                *sum = sum.wrapping_add(cell.load(Ordering::Relaxed));
            }
        }
        totals
    }
}

impl RequestTotals {
    /// How many requests had this outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.timed(outcome) + self.observed.get(outcome.index()).copied().unwrap_or(0)
    }

    /// How many of them this process answered, so that their durations are known.
    pub fn timed(&self, outcome: Outcome) -> u64 {
        self.buckets(outcome).iter().sum()
    }

    /// How many requests fell into each bucket of [`DURATION_BOUNDS_NS`], and beyond the last; not cumulative.
    pub fn buckets(&self, outcome: Outcome) -> &[u64] {
        self.buckets.get(outcome.index()).map_or(&[], <[u64; BUCKETS]>::as_slice)
    }

    /// The time that requests with this outcome took together.
    pub fn duration(&self, outcome: Outcome) -> Duration {
        Duration::from_nanos(self.sum_ns.get(outcome.index()).copied().unwrap_or(0))
    }

    /// Adds another reading, of another view.
    pub fn add(&mut self, other: &Self) {
        for (sums, cells) in self.buckets.iter_mut().zip(&other.buckets) {
            sums.iter_mut().zip(cells).for_each(|(sum, cell)| *sum += cell);
        }
        self.sum_ns.iter_mut().zip(&other.sum_ns).for_each(|(sum, cell)| *sum = sum.wrapping_add(*cell));
        self.observed.iter_mut().zip(&other.observed).for_each(|(sum, cell)| *sum += cell);
    }
}

fn shard_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    // A thread that is being torn down counts in the first shard.
    SHARD.try_with(|shard| *shard).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_1_2_5_from_a_microsecond_to_ten_seconds() {
        assert_eq!(DURATION_BOUNDS_NS[..4], [1_000, 2_000, 5_000, 10_000]);
        assert_eq!(DURATION_BOUNDS_NS[BOUNDS - 1], 10_000_000_000);
        assert!(DURATION_BOUNDS_NS.is_sorted());
    }

    #[test]
    fn a_request_on_a_bound_belongs_below_it_as_prometheus_has_it() {
        let cells = RequestCells::default();
        cells.record(Outcome::Hit, Duration::from_micros(1));
        cells.record(Outcome::Hit, Duration::from_nanos(1_001));
        cells.record(Outcome::Error, Duration::from_secs(60));
        let totals = cells.totals();
        assert_eq!(totals.buckets(Outcome::Hit)[..2], [1, 1]);
        assert_eq!(totals.buckets(Outcome::Error)[BOUNDS], 1);
        assert_eq!(totals.duration(Outcome::Hit), Duration::from_nanos(2_001));
    }

    #[test]
    fn no_request_of_any_thread_is_lost() {
        let cells = RequestCells::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..1000).for_each(|_| cells.record(Outcome::Miss, Duration::ZERO)));
            }
        });
        assert_eq!(cells.totals().count(Outcome::Miss), 20_000);
    }
}
