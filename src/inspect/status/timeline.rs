//! Requests along time: how the budget went, and what a day's requests turned out to be.

use std::time::Duration;

use crate::config::SloSettings;
use crate::model::Timestamp;
use crate::slo::{Counts, Series};

/// How long a bin of the last day is.
const BIN: Duration = Duration::from_secs(900);
/// How many there are; the last is the one that is still going on.
const BINS: i64 = 96;
/// The burn-down has at most so many points between its ends.
const POINTS: u64 = 720;

/// What was left of the error budget of the window that ends now, at one time in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetPoint {
    /// When.
    pub at: Timestamp,
    /// Requests since the window began.
    pub requests: u64,
    /// Of these, misses.
    pub spent: u64,
    /// 1 - spent / what the requests of the whole window allow.
    pub remaining: f64,
}

/// The requests of a quarter of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bin {
    /// When it began.
    pub start: Timestamp,
    /// Its requests by outcome.
    pub counts: Counts,
}

impl Bin {
    /// When it ends.
    pub fn end(&self) -> Timestamp {
        self.start.saturating_add(BIN)
    }
}

/// The budget left, from the beginning of the objective's window to now; empty without requests.
///
/// It is measured against what the requests of the whole window allow, so it only falls, and the last point
/// is what the report says of the budget. The alternative, the sliding window's budget at each time, would
/// need the requests of two windows, and the manifest's readers ask for one.
#[expect(clippy::cast_precision_loss, reason = "2^53 requests are enough")]
pub(super) fn burn_down(series: &Series, slo: &SloSettings, now: Timestamp) -> Vec<BudgetPoint> {
    let total = series.sum(now, slo.window).total();
    if total == 0 {
        return Vec::new();
    }
    let allowed = (1.0 - slo.objective) * total as f64;
    let start = now.saturating_sub(slo.window);
    // The same minutes that the report adds up: those that began after the window did.
    let (first, last) = (series.bucket_of(start) + 1, series.bucket_of(now));
    let mut minutes = series.iter().filter(|(at, _)| (first..=last).contains(&series.bucket_of(*at))).peekable();
    let mut seen = Counts::default();
    let mut points = Vec::new();
    for at in ticks(start, now, step(slo.window)) {
        while let Some((_, counts)) = minutes.next_if(|(minute, _)| *minute < at || at == now) {
            seen.merge(&counts);
        }
        let spent = seen.total() - seen.good();
        points.push(BudgetPoint { at, requests: seen.total(), spent, remaining: 1.0 - spent as f64 / allowed });
    }
    points
}

/// Whole minutes, and whole hours where the window is long, so that days begin at a point.
fn step(window: Duration) -> Duration {
    let minutes = window.as_secs() / 60;
    let whole = [1, 2, 5, 10, 15, 30].into_iter().find(|step| minutes / step <= POINTS).unwrap_or(60);
    Duration::from_secs(whole * 60)
}

/// `start`, every multiple of `step` in between, and `end`.
fn ticks(start: Timestamp, end: Timestamp, step: Duration) -> impl Iterator<Item = Timestamp> {
    let width = i64::try_from(step.as_nanos()).unwrap_or(i64::MAX).max(1);
    let (first, last) = (start.as_ns().div_euclid(width) + 1, end.as_ns());
    let between = (first..).map(move |n| n.saturating_mul(width)).take_while(move |ns| *ns < last);
    std::iter::once(start).chain(between.map(Timestamp::from_ns)).chain(std::iter::once(end))
}

/// The last 24 hours in quarters of an hour, the one that is going on included.
pub(super) fn day(series: &Series, now: Timestamp) -> Vec<Bin> {
    let width = i64::try_from(BIN.as_nanos()).unwrap_or(i64::MAX);
    let last = now.as_ns().div_euclid(width);
    let first = last - BINS + 1;
    let start = |bin: i64| Timestamp::from_ns(bin.saturating_mul(width));
    let mut bins: Vec<Bin> = (first..=last).map(|bin| Bin { start: start(bin), counts: Counts::default() }).collect();
    for (at, counts) in series.iter().filter(|(at, _)| *at <= now) {
        let place = usize::try_from(at.as_ns().div_euclid(width) - first).ok();
        if let Some(bin) = place.and_then(|place| bins.get_mut(place)) {
            bin.counts.merge(&counts);
        }
    }
    bins
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::facts;
    use super::*;
    use crate::inspect::slo::tests::minute;
    use crate::model::Outcome;
    use crate::slo::MinuteCounts;

    /// Minutes of the 31 days before minute 100,000, some of them after it.
    fn any_minutes() -> impl Strategy<Value = Vec<MinuteCounts>> {
        let one = (55_000i64..100_100, 0usize..Outcome::ALL.len(), 1u64..1000);
        prop::collection::vec(one, 0..200)
            .prop_map(|all| all.into_iter().map(|(at, outcome, n)| minute(at, Outcome::ALL[outcome], n)).collect())
    }

    proptest! {
        #[test]
        fn the_burn_down_ends_at_what_the_report_says_is_left(minutes in any_minutes(), second in 0i64..60) {
            let facts = facts(minutes, Timestamp::from_secs(100_000 * 60 + second));
            let last = facts.burn_down.last();
            prop_assert_eq!(last.map(|point| point.remaining), facts.slo.budget.remaining);
            prop_assert_eq!(last.map_or(0, |point| point.requests), facts.slo.budget.requests);
        }

        #[test]
        fn the_budget_only_falls_and_time_only_passes(minutes in any_minutes(), hours in 1u64..=720) {
            let slo = SloSettings { window: Duration::from_secs(hours * 3600), ..SloSettings::default() };
            let points = burn_down(&Series::of_minutes(minutes), &slo, Timestamp::from_secs(100_000 * 60 + 7));
            prop_assert!(points.windows(2).all(|pair| pair[0].at < pair[1].at));
            prop_assert!(points.windows(2).all(|pair| pair[0].remaining >= pair[1].remaining));
            prop_assert!(points.len() <= 724, "{} points", points.len());
            prop_assert!(points.first().is_none_or(|point| point.spent == 0));
        }

        #[test]
        fn the_bins_hold_every_request_of_their_time(minutes in any_minutes()) {
            let now = Timestamp::from_secs(100_000 * 60 + 59);
            let bins = day(&Series::of_minutes(minutes.iter().copied()), now);
            prop_assert_eq!(bins.len(), 96);
            prop_assert!(bins.windows(2).all(|pair| pair[0].end() == pair[1].start));
            let of_the_day = |(at, _): &&MinuteCounts| (bins[0].start.minute()..=100_000).contains(at);
            let expected: u64 = minutes.iter().filter(of_the_day).map(|(_, counts)| counts.total()).sum();
            prop_assert_eq!(bins.iter().map(|bin| bin.counts.total()).sum::<u64>(), expected);
        }
    }

    #[test]
    fn an_incident_shows_where_it_happened() {
        let minutes = [minute(100_000 - 20 * 1440, Outcome::Hit, 950), minute(100_000 - 2 * 1440, Outcome::Miss, 50)];
        let facts = facts(minutes, Timestamp::from_secs(100_000 * 60));
        let at = |days: i64| {
            let at = Timestamp::from_secs((100_000 - days * 1440) * 60 + 3600);
            facts.burn_down.iter().find(|point| point.at >= at).unwrap().remaining
        };
        assert_eq!((at(19), at(3)), (1.0, 1.0));
        assert!(at(1).abs() < 1e-9);
    }

    #[test]
    fn without_requests_there_is_no_burn_down() {
        let now = Timestamp::from_secs(100_000 * 60);
        assert!(facts([], now).burn_down.is_empty());
        let ahead = [minute(100_500, Outcome::Hit, 1)];
        assert!(facts(ahead, now).burn_down.is_empty(), "what has not happened yet counts nowhere");
    }
}
