//! Counting what every process that shares the directory did, for one that only watches.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::core::Core;
use crate::error::Result;
use crate::manifest::{MinuteCount, MinuteCounter, Query};
use crate::model::{Outcome, Timestamp, ViewName};

/// How late a process may write its counts and still be counted.
const LATEST_MINUTES: i64 = 60;

/// What the manifest said at the last look, of the minutes that may still change.
///
/// Held while this store's own counts go to the journal, so that they are never taken for another's.
#[derive(Default)]
pub struct Observed(Mutex<Seen>);

impl Observed {
    /// Takes hold of what was seen.
    pub fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is counted by the minute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Series {
    /// Requests of this view with this outcome.
    Requests(ViewName, Outcome),
    /// The metric of this name with these values of its labels.
    Counter(String, Vec<String>),
}

/// So much of a series in a minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minute {
    series: Series,
    minute: i64,
    count: u64,
}

/// How much of each series and minute is counted already.
///
/// The clock may jump, and a minute that was forgotten and comes back would count twice. So this knows from which
/// minute on it forgot nothing: what turns up before that is remembered from then on, and not counted.
pub struct Seen {
    counts: HashMap<(Series, i64), u64>,
    complete_from: i64,
}

impl Default for Seen {
    fn default() -> Self {
        Self { counts: HashMap::new(), complete_from: i64::MAX }
    }
}

impl Seen {
    /// What the manifest says of the minutes that may have changed.
    ///
    /// # Errors
    /// Those of the manifest.
    pub fn ask(&self, query: &Query<'_>, now: Timestamp) -> Result<Vec<Minute>> {
        let since = self.ask_from(now);
        let of_view = |MinuteCount { minute, view, outcome, count }| Minute {
            series: Series::Requests(view, outcome),
            minute,
            count,
        };
        let of_metric = |MinuteCounter { minute, metric, labels, count }| Minute {
            series: Series::Counter(metric, labels),
            minute,
            count,
        };
        let requests = query.requests_per_minute(since)?.into_iter().map(of_view);
        Ok(requests.chain(query.counters_per_minute(since)?.into_iter().map(of_metric)).collect())
    }

    /// Not the last hour alone: after a suspend that would leave out what came just before it.
    fn ask_from(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_minute(self.complete_from.min(an_hour_before(now)))
    }

    /// Takes what the manifest [says](Self::ask), and returns what is new in it.
    pub fn look(&mut self, rows: Vec<Minute>, now: Timestamp) -> Vec<Minute> {
        let newest = rows.iter().map(|row| row.minute).max();
        let mut news = Vec::new();
        for row in rows {
            let before = self.counts.insert((row.series.clone(), row.minute), row.count).unwrap_or(0);
            let count = row.count.saturating_sub(before);
            if count > 0 && row.minute >= self.complete_from {
                news.push(Minute { count, ..row });
            }
        }
        self.complete_from = self.complete_from.min(an_hour_before(now));
        // Where nothing newer was seen, a clock that is further is ahead or was, and may come back.
        if let Some(newest) = newest {
            let settled = newest.saturating_sub(LATEST_MINUTES).min(an_hour_before(now));
            self.complete_from = self.complete_from.max(settled);
        }
        self.counts.retain(|(_, minute), _| *minute >= self.complete_from);
        news
    }

    /// Counts what this store wrote to its journal itself.
    pub fn wrote(&mut self, series: Series, minute: i64, count: u64) {
        *self.counts.entry((series, minute)).or_default() += count;
    }
}

/// The first minute that may still change.
fn an_hour_before(now: Timestamp) -> i64 {
    now.minute().saturating_sub(LATEST_MINUTES)
}

impl Core {
    /// Counts what came into the manifest since the last time.
    ///
    /// # Errors
    /// Those of the manifest: then it is counted the next time.
    pub fn observe_others(&self) -> Result<()> {
        let mut seen = self.observed.lock();
        let now = self.now();
        let rows = self.manifest.read(|query| seen.ask(query, now))?;
        for Minute { series, minute, count } in seen.look(rows, now) {
            match series {
                Series::Requests(view, outcome) => {
                    self.views.ledger(&view, now).observe(now, minute, &[(outcome, count)].into_iter().collect());
                }
                Series::Counter(metric, labels) => self.count_of_others(&metric, &labels, count),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A manifest, whoever watches it, and a clock, in minutes.
    struct Watch {
        manifest: BTreeMap<i64, u64>,
        seen: Seen,
        now: i64,
        counted: u64,
    }

    impl Watch {
        /// Begins to watch after ten requests, which are history.
        fn begin() -> Self {
            let mut watch = Self { manifest: BTreeMap::new(), seen: Seen::default(), now: 30_000_000, counted: 0 };
            watch.request(10);
            watch.look();
            assert_eq!(watch.counted, 0, "history is not new");
            watch
        }

        fn request(&mut self, n: u64) {
            *self.manifest.entry(self.now).or_default() += n;
        }

        fn requests(&self) -> u64 {
            self.manifest.values().sum::<u64>() - 10
        }

        fn look(&mut self) {
            let now = Timestamp::from_secs(self.now * 60 + 30);
            let from = self.seen.ask_from(now).as_ns().div_euclid(60_000_000_000);
            let row = |(minute, count): (&i64, &u64)| Minute {
                series: Series::Requests(ViewName::new("prices").unwrap(), Outcome::Hit),
                minute: *minute,
                count: *count,
            };
            let rows = self.manifest.range(from..).map(row).collect();
            self.counted += self.seen.look(rows, now).iter().map(|row| row.count).sum::<u64>();
        }
    }

    #[test]
    fn a_clock_that_was_ahead_for_a_while_counts_nothing_twice() {
        for requests_meanwhile in [0, 7] {
            let mut watch = Watch::begin();
            watch.request(5);
            watch.look();
            watch.now += 180;
            watch.request(requests_meanwhile);
            watch.look();
            watch.look();
            watch.now -= 180;
            watch.look();
            watch.request(3);
            watch.look();
            assert_eq!(watch.counted, watch.requests());
        }
    }

    #[test]
    fn what_came_just_before_a_suspend_is_counted_after_it() {
        let mut watch = Watch::begin();
        watch.request(5);
        watch.now += 600;
        watch.look();
        assert_eq!(watch.counted, 5);
    }

    #[test]
    fn what_cannot_change_any_more_is_forgotten() {
        let mut watch = Watch::begin();
        for _ in 0..1000 {
            watch.now += 1;
            watch.request(1);
            watch.look();
        }
        assert!(watch.seen.counts.len() <= 62, "{}", watch.seen.counts.len());
    }

    proptest! {
        #[test]
        fn nothing_counts_twice_wherever_the_clock_jumps(
            steps in proptest::collection::vec((-300i64..300, 0u64..5, any::<bool>()), 1..60)
        ) {
            let mut watch = Watch::begin();
            for (jump, requests, looks) in steps {
                watch.now += jump;
                watch.request(requests);
                if looks {
                    watch.look();
                }
                prop_assert!(watch.counted <= watch.requests());
            }
        }

        #[test]
        fn everything_counts_while_the_clock_goes_forward(
            steps in proptest::collection::vec((0i64..300, 0u64..5, any::<bool>()), 1..60)
        ) {
            let mut watch = Watch::begin();
            for (jump, requests, looks) in steps {
                watch.now += jump;
                watch.request(requests);
                if looks {
                    watch.look();
                }
            }
            watch.look();
            prop_assert_eq!(watch.counted, watch.requests());
        }
    }
}
