//! Counts by time, in buckets of one width; empty buckets take no space.

use std::collections::VecDeque;
use std::time::Duration;

use super::counts::{Counts, MinuteCounts};
use super::report::LONGEST;
use crate::model::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);

/// Counts by time, kept for a while.
#[derive(Debug, Clone)]
pub struct Series {
    width: i64,
    keep: i64,
    // In order of time: a bucket's number, and everything counted up to its end. A request belongs to the
    // bucket that its time, divided by the width, falls into. Sums are differences, because exporters ask
    // for 30 days of minutes of every view at every scrape.
    buckets: VecDeque<(i64, Counts)>,
    // What was counted before the first bucket.
    before: Counts,
}

impl Series {
    /// Buckets of `width`, which [`trim`](Self::trim) forgets once they are older than `keep`.
    pub fn new(width: Duration, keep: Duration) -> Self {
        let ns = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX).max(1);
        Self { width: ns(width), keep: ns(keep), buckets: VecDeque::new(), before: Counts::default() }
    }

    /// Buckets of a minute with these requests, kept for as long as any window looks back.
    pub fn of_minutes(minutes: impl IntoIterator<Item = MinuteCounts>) -> Self {
        // A window has the minutes at both of its ends.
        let mut series = Self::new(MINUTE, LONGEST + 2 * MINUTE);
        minutes.into_iter().for_each(|(minute, counts)| series.add(Timestamp::from_minute(minute), &counts));
        series
    }

    /// The number of the bucket that `at` falls into.
    pub fn bucket_of(&self, at: Timestamp) -> i64 {
        at.as_ns().div_euclid(self.width)
    }

    /// Counts requests of the bucket that `at` falls into, in any order of time.
    pub fn add(&mut self, at: Timestamp, counts: &Counts) {
        if counts.is_empty() {
            return;
        }
        let bucket = self.bucket_of(at);
        let place = self.first_from(bucket);
        if self.buckets.get(place).is_none_or(|(existing, _)| *existing != bucket) {
            self.buckets.insert(place, (bucket, self.counted_before(place)));
        }
        // Nearly always only the last one.
        self.buckets.range_mut(place..).for_each(|(_, sum)| sum.merge(counts));
    }

    /// Forgets what is too old at `now`, and what has not happened yet: a clock that was ahead for a
    /// moment must not make everything since look old. Threads read the clock in any order, so a
    /// minute ahead is no future.
    pub fn trim(&mut self, now: Timestamp) {
        let present = self.bucket_of(now.saturating_add(Duration::from_secs(60)));
        let kept = self.keep / self.width;
        while self.buckets.back().is_some_and(|(bucket, _)| *bucket > present) {
            self.buckets.pop_back();
        }
        while let Some((_, sum)) = self.buckets.pop_front_if(|(bucket, _)| present.saturating_sub(*bucket) > kept) {
            self.before = sum;
        }
    }

    /// What was counted in the last `window` before `now`: buckets that began after its beginning.
    pub fn sum(&self, now: Timestamp, window: Duration) -> Counts {
        let first = self.first_from(self.bucket_of(now.saturating_sub(window)).saturating_add(1));
        let end = self.first_from(self.bucket_of(now).saturating_add(1));
        self.counted_before(end).since(&self.counted_before(first))
    }

    /// Every bucket with its beginning, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, Counts)> {
        self.buckets.iter().enumerate().map(|(place, (bucket, sum))| {
            (Timestamp::from_ns(bucket.saturating_mul(self.width)), sum.since(&self.counted_before(place)))
        })
    }

    /// The place of the first bucket with this number or a later one.
    fn first_from(&self, bucket: i64) -> usize {
        self.buckets.partition_point(|(existing, _)| *existing < bucket)
    }

    /// Everything counted before the bucket at `place`.
    fn counted_before(&self, place: usize) -> Counts {
        let last = place.checked_sub(1).and_then(|last| self.buckets.get(last));
        last.map_or(self.before, |(_, sum)| *sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Outcome;
    use proptest::prelude::*;

    fn hits(n: u64) -> Counts {
        [(Outcome::Hit, n)].into_iter().collect()
    }

    #[test]
    fn a_window_forgets_what_is_older() {
        let mut series = Series::new(Duration::from_secs(60), Duration::from_secs(3600));
        series.add(Timestamp::from_secs(0), &hits(1));
        series.add(Timestamp::from_secs(600), &hits(10));
        let sum = |at, window| series.sum(Timestamp::from_secs(at), Duration::from_secs(window)).total();
        assert_eq!(sum(600, 60), 10);
        assert_eq!(sum(659, 660), 11, "the first minute has not wholly left the window");
        assert_eq!(sum(660, 660), 10);
        assert_eq!(sum(4200, 3600), 0);
    }

    proptest! {
        #[test]
        fn sums_equal_those_of_a_plain_list(
            events in proptest::collection::vec((0i64..2000, 1u64..5), 0..60), now in 0i64..2500, window in 1u64..50
        ) {
            let mut series = Series::new(Duration::from_secs(10), Duration::from_secs(100_000));
            for (at, n) in &events {
                series.add(Timestamp::from_secs(*at), &hits(*n));
            }
            let window = window * 10;
            let begins = (now - i64::try_from(window).unwrap()).div_euclid(10) + 1;
            let expected: u64 = events
                .iter()
                .filter(|(at, _)| (begins..=now.div_euclid(10)).contains(&at.div_euclid(10)))
                .map(|(_, n)| n)
                .sum();
            prop_assert_eq!(series.sum(Timestamp::from_secs(now), Duration::from_secs(window)).total(), expected);
            prop_assert!(series.iter().map(|(at, _)| at).is_sorted());
        }
    }
}
