//! What happened.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use duckdb::{Row, params};

use super::Query;
use super::sql::{Labels, nanos};
use crate::error::Result;
use crate::manifest::record::{Invalidation, RemovalReason};
use crate::model::{EntityKey, Fingerprint, MissReason, Outcome, Timestamp, ViewName};
use crate::slo::{Counts, MinuteCounts};

/// Requests of one minute, view and outcome, of all processes together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinuteCount {
    /// Whole minutes since the epoch.
    pub minute: i64,
    /// The view.
    pub view: ViewName,
    /// What the requests turned out to be.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
}

/// What all processes together added to a counter in one minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinuteCounter {
    /// Whole minutes since the epoch.
    pub minute: i64,
    /// The name of the metric.
    pub metric: String,
    /// The values of its labels, in their order.
    pub labels: Vec<String>,
    /// How much.
    pub count: u64,
}

/// Requests of one view and outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeCount {
    /// The view.
    pub view: ViewName,
    /// What the requests turned out to be.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
}

/// What had to be computed most often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopMiss {
    /// The view.
    pub view: ViewName,
    /// The entity.
    pub entity: EntityKey,
    /// Why it was not served from the cache.
    pub reason: MissReason,
    /// How many blocks.
    pub count: u64,
}

/// A version of a view that some process has served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewVersion {
    /// The view.
    pub view: ViewName,
    /// The version.
    pub fingerprint: Fingerprint,
    /// Its definition as JSON.
    pub definition: String,
    /// When it was seen first.
    pub first_seen: Timestamp,
    /// When it was seen last.
    pub last_seen: Timestamp,
}

impl ViewVersion {
    /// How long a value of it stays valid; `None` where its definition does not say.
    pub fn ttl(&self) -> Option<Duration> {
        let definition: serde_json::Value = serde_json::from_str(&self.definition).ok()?;
        Duration::try_from_secs_f64(definition.get("ttl_seconds")?.as_f64()?).ok()
    }
}

/// Blocks that were removed in one minute, view and entity for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinuteRemovals {
    /// Whole minutes since the epoch.
    pub minute: i64,
    /// The view.
    pub view: ViewName,
    /// The entity.
    pub entity: EntityKey,
    /// Why they were removed.
    pub reason: RemovalReason,
    /// How many.
    pub blocks: u64,
    /// How many of them within an hour of their publication.
    pub young: u64,
}

/// Blocks that were removed for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removals {
    /// The reason.
    pub reason: RemovalReason,
    /// How many.
    pub blocks: u64,
    /// How many of them within an hour of their publication.
    pub young: u64,
}

/// Blocks that had to be computed in one minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinuteMisses {
    /// Whole minutes since the epoch.
    pub minute: i64,
    /// The view.
    pub view: ViewName,
    /// The entity.
    pub entity: EntityKey,
    /// Why they were not served from the cache.
    pub reason: MissReason,
    /// How many.
    pub blocks: u64,
    /// The requests of the view in that minute, of all its entities, that were not served from the cache and did not
    /// fail.
    pub requests: u64,
}

/// When an entity of a view was first asked for, as far back as history goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstSeen {
    /// The view.
    pub view: ViewName,
    /// The entity.
    pub entity: EntityKey,
    /// The time of its first miss or of its oldest block.
    pub at: Timestamp,
}

const FIRST_SEEN: &str = "
SELECT view, entity, min(seen) AS first FROM (
    SELECT view, entity, minute::TIMESTAMP_NS AS seen FROM misses UNION ALL SELECT view, entity, created FROM manifest)
GROUP BY ALL HAVING first >= make_timestamp_ns(?) ORDER BY ALL";

const REMOVALS: &str = "
SELECT reason, sum(blocks)::UBIGINT, sum(young)::UBIGINT
FROM removals_per_minute WHERE minute >= make_timestamp(?) GROUP BY ALL ORDER BY ALL";

const REMOVALS_PER_MINUTE: &str = "
SELECT epoch_us(minute) // 60000000, view, entity, reason, sum(blocks)::UBIGINT, sum(young)::UBIGINT
FROM removals_per_minute WHERE minute >= make_timestamp(?) GROUP BY ALL ORDER BY ALL";

const MISSES: &str = "
WITH bad AS (SELECT minute, view, sum(count) AS requests FROM requests_per_minute
             WHERE minute >= make_timestamp($1) AND outcome IN ('partial', 'miss', 'coalesced') GROUP BY ALL)
SELECT epoch_us(minute) // 60000000, view, entity, reason, sum(count)::UBIGINT,
       coalesce(any_value(requests), 0)::UBIGINT
FROM misses LEFT JOIN bad USING (minute, view) WHERE minute >= make_timestamp($1)
GROUP BY minute, view, entity, reason ORDER BY minute, view, entity, reason";

const MINUTES: &str = "
SELECT epoch_us(minute) // 60000000, view, outcome, sum(count)::UBIGINT FROM requests_per_minute
WHERE minute >= make_timestamp(?) GROUP BY ALL ORDER BY ALL";

const COUNTERS: &str = "
SELECT epoch_us(minute) // 60000000, metric, labels, sum(count)::UBIGINT FROM counters_per_minute
WHERE minute >= make_timestamp(?) GROUP BY ALL ORDER BY ALL";

const OUTCOMES: &str = "
SELECT view, outcome, sum(count)::UBIGINT FROM requests_per_minute
WHERE minute BETWEEN make_timestamp(?) AND make_timestamp(?) GROUP BY ALL ORDER BY ALL";

const VIEW_NAMES: &str = "
SELECT view FROM views UNION SELECT view FROM requests_per_minute WHERE minute >= make_timestamp(?)";

const TOP_MISSES: &str = "
SELECT view, entity, reason, sum(count)::UBIGINT AS times FROM misses
WHERE minute >= make_timestamp(?) GROUP BY ALL ORDER BY times DESC, view, entity, reason LIMIT ?";

const INVALIDATIONS: &str = "
SELECT invalidated_at, view, entity, start_ts, end_ts, cause, blocks FROM invalidations ORDER BY ALL DESC LIMIT ?";

const INVALIDATIONS_SINCE: &str = "
SELECT invalidated_at, view, entity, start_ts, end_ts, cause, blocks FROM invalidations
WHERE invalidated_at >= make_timestamp_ns(?) AND blocks > 0 ORDER BY ALL";

const VIEWS: &str = "
SELECT view, fingerprint, definition, first_seen, last_seen FROM views ORDER BY view, first_seen, fingerprint";

impl Query<'_> {
    /// Requests of one view, or of all together, minute by minute from that of `since` on, in order of time.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn requests(&self, since: Timestamp, view: Option<&ViewName>) -> Result<Vec<MinuteCounts>> {
        // One row a minute, and not one an outcome: adding up is DuckDB's work, taking rows over costs.
        let sums = Outcome::ALL.map(|of| format!("coalesce(sum(count) FILTER (outcome = '{of}'), 0)::UBIGINT"));
        let sql = format!(
            "SELECT epoch_us(minute) // 60000000, {} FROM requests_per_minute
             WHERE minute >= make_timestamp($1) AND ($2::VARCHAR IS NULL OR view = $2) GROUP BY minute ORDER BY minute",
            sums.join(", ")
        );
        let which = params![minute_of(since), view.map(ViewName::as_str)];
        self.rows("adding up requests per minute", &sql, which, |row| {
            let counts = Outcome::ALL.into_iter().zip(1..).map(|(outcome, at)| Ok((outcome, row.get(at)?)));
            Ok((row.get(0)?, counts.collect::<duckdb::Result<Counts>>()?))
        })
    }

    /// Views that were ever served, or asked for from the minute of `since` on.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn view_names(&self, since: Timestamp) -> Result<BTreeSet<ViewName>> {
        let names = self.rows("listing views", VIEW_NAMES, [minute_of(since)], |row| row.get(0))?;
        Ok(names.into_iter().collect())
    }

    /// Requests per minute, view and outcome from the minute of `since` on, in order of time.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn requests_per_minute(&self, since: Timestamp) -> Result<Vec<MinuteCount>> {
        self.rows("reading requests per minute", MINUTES, [minute_of(since)], |row| {
            Ok(MinuteCount { minute: row.get(0)?, view: row.get(1)?, outcome: row.get(2)?, count: row.get(3)? })
        })
    }

    /// What was added to counters, per minute from that of `since` on, in order of time; two days of it are kept.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn counters_per_minute(&self, since: Timestamp) -> Result<Vec<MinuteCounter>> {
        self.rows("reading counters per minute", COUNTERS, [minute_of(since)], |row| {
            let labels: Labels = row.get(2)?;
            Ok(MinuteCounter { minute: row.get(0)?, metric: row.get(1)?, labels: labels.0, count: row.get(3)? })
        })
    }

    /// Requests per view and outcome from the minute of `since` to that of `until`.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn outcomes(&self, since: Timestamp, until: Timestamp) -> Result<Vec<OutcomeCount>> {
        self.rows("adding up outcomes", OUTCOMES, [minute_of(since), minute_of(until)], |row| {
            Ok(OutcomeCount { view: row.get(0)?, outcome: row.get(1)?, count: row.get(2)? })
        })
    }

    /// What had to be computed most often from the minute of `since` on, the most frequent first.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn top_misses(&self, since: Timestamp, limit: u32) -> Result<Vec<TopMiss>> {
        self.rows("adding up misses", TOP_MISSES, [minute_of(since), i64::from(limit)], |row| {
            Ok(TopMiss { view: row.get(0)?, entity: row.get(1)?, reason: row.get(2)?, count: row.get(3)? })
        })
    }

    /// The latest invalidations, the newest first.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn invalidations(&self, limit: u32) -> Result<Vec<Invalidation>> {
        self.rows("reading invalidations", INVALIDATIONS, [i64::from(limit)], invalidation)
    }

    /// Removals by reason from the minute of `since` on.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn removals(&self, since: Timestamp) -> Result<Vec<Removals>> {
        self.rows("adding up removals", REMOVALS, [minute_of(since)], |row| {
            Ok(Removals { reason: row.get(0)?, blocks: row.get(1)?, young: row.get(2)? })
        })
    }

    /// Removals per minute from the minute of `since` on, in order of time.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn removals_per_minute(&self, since: Timestamp) -> Result<Vec<MinuteRemovals>> {
        self.rows("reading removals per minute", REMOVALS_PER_MINUTE, [minute_of(since)], |row| {
            Ok(MinuteRemovals {
                minute: row.get(0)?,
                view: row.get(1)?,
                entity: row.get(2)?,
                reason: row.get(3)?,
                blocks: row.get(4)?,
                young: row.get(5)?,
            })
        })
    }

    /// Misses per minute from the minute of `since` on, in order of time.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn misses_per_minute(&self, since: Timestamp) -> Result<Vec<MinuteMisses>> {
        self.rows("reading misses per minute", MISSES, [minute_of(since)], |row| {
            Ok(MinuteMisses {
                minute: row.get(0)?,
                view: row.get(1)?,
                entity: row.get(2)?,
                reason: row.get(3)?,
                blocks: row.get(4)?,
                requests: row.get(5)?,
            })
        })
    }

    /// Entities that were never asked for before `since`, by view and entity.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn new_entities(&self, since: Timestamp) -> Result<Vec<FirstSeen>> {
        self.rows("looking for new entities", FIRST_SEEN, [nanos(since)], |row| {
            Ok(FirstSeen { view: row.get(0)?, entity: row.get(1)?, at: row.get(2)? })
        })
    }

    /// Invalidations from `since` on that removed blocks, in order of time.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn invalidations_since(&self, since: Timestamp) -> Result<Vec<Invalidation>> {
        self.rows("reading invalidations", INVALIDATIONS_SINCE, [nanos(since)], invalidation)
    }

    /// The version of each view that was served last, by view.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn current_views(&self) -> Result<Vec<ViewVersion>> {
        let mut newest: BTreeMap<ViewName, ViewVersion> = BTreeMap::new();
        for version in self.views()? {
            let later = newest.get(&version.view).is_none_or(|known| known.last_seen <= version.last_seen);
            if later {
                newest.insert(version.view.clone(), version);
            }
        }
        Ok(newest.into_values().collect())
    }

    /// Every version of every view that was ever served from this cache, by view and age.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn views(&self) -> Result<Vec<ViewVersion>> {
        self.rows("reading views", VIEWS, [], |row| {
            Ok(ViewVersion {
                view: row.get(0)?,
                fingerprint: row.get(1)?,
                definition: row.get(2)?,
                first_seen: row.get(3)?,
                last_seen: row.get(4)?,
            })
        })
    }
}

fn invalidation(row: &Row<'_>) -> duckdb::Result<Invalidation> {
    Ok(Invalidation {
        at: row.get(0)?,
        view: row.get(1)?,
        entity: row.get(2)?,
        start: row.get(3)?,
        end: row.get(4)?,
        cause: row.get(5)?,
        blocks: row.get(6)?,
    })
}

/// The minute of `at` in microseconds, as the tables hold it.
fn minute_of(at: Timestamp) -> i64 {
    at.minute() * 60_000_000
}
