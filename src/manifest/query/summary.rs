//! How much there is.

use std::collections::HashMap;
use std::time::Duration;

use duckdb::params;

use super::Query;
use super::sql::nanos;
use crate::block::ColumnStats;
use crate::error::Result;
use crate::manifest::record::BlockRef;
use crate::manifest::stage::entity_json;
use crate::model::{Fingerprint, Timestamp, ViewName};

/// All blocks together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Blocks.
    pub blocks: u64,
    /// Of these, tails.
    pub tails: u64,
    /// Rows in them.
    pub rows: u64,
    /// Their size on disk.
    pub bytes: u64,
}

/// The blocks of one version of a view. A view has several where blocks of older versions are left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewSummary {
    /// The view.
    pub view: ViewName,
    /// The version.
    pub fingerprint: Fingerprint,
    /// How much there is.
    pub totals: Totals,
    /// What computing its blocks took.
    pub computing: Duration,
    /// How many entities have blocks.
    pub entities: u64,
    /// Where the first block starts.
    pub first_start: Timestamp,
    /// Where the last block starts.
    pub last_start: Timestamp,
    /// Up to where the newest values are known.
    pub known_until: Timestamp,
    /// When a block was last served.
    pub last_used: Timestamp,
    /// The event time of its newest row; `None` without rows.
    pub newest: Option<Timestamp>,
    /// Whether it is the version that was served last, which is what readers get. Where nobody said which, as
    /// after the manifest was made anew, every version is.
    pub current: bool,
}

/// Signs of trouble among the blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Blocks that were published after the present: some clock was or is wrong.
    pub future_blocks: u64,
    /// Tails whose span ended more than a day ago, that were used since, and that are known less far than others of
    /// their version: not because the source has no more.
    pub old_tails: u64,
    /// Bytes of the blocks that were published in the last seven days.
    pub week_bytes: u64,
    /// When the oldest block was published.
    pub first_created: Option<Timestamp>,
}

const VITALS: &str = "
WITH versions AS (SELECT view, fingerprint, max(known_until) AS known FROM manifest GROUP BY view, fingerprint)
SELECT count(*) FILTER (created > make_timestamp_ns($1)),
       count(*) FILTER (state <> 'complete' AND end_ts < make_timestamp_ns($2) AND last_used > end_ts
                        AND known_until < known),
       coalesce(sum(bytes) FILTER (created > make_timestamp_ns($3)), 0)::UBIGINT, min(created)
FROM manifest JOIN versions USING (view, fingerprint)";

const TOTALS: &str = "
SELECT count(*), count(*) FILTER (state <> 'complete'), coalesce(sum(rows), 0)::UBIGINT,
       coalesce(sum(bytes), 0)::UBIGINT
FROM manifest";

const SUMMARY: &str = "
SELECT view, fingerprint, count(*), count(*) FILTER (state <> 'complete'), sum(rows)::UBIGINT, sum(bytes)::UBIGINT,
       count(DISTINCT entity), min(start_ts), max(start_ts), max(known_until), max(last_used),
       max(newest_ts), (sum(compute_ms) * 1000)::UBIGINT
FROM manifest GROUP BY view, fingerprint ORDER BY view, min(created), fingerprint";

const STATS: &str = "
SELECT column_name, count, nulls, nan, min, max, mean, std, p25, p50, p75 FROM column_stats
WHERE view = ? AND fingerprint = ? AND entity = ? AND start_ts = make_timestamp_ns(?)";

impl Query<'_> {
    /// All blocks together.
    ///
    /// # Errors
    /// As of every question: `Corrupt` where the file is damaged, `Unavailable` where the disk refuses.
    pub fn totals(&self) -> Result<Totals> {
        let rows = self.rows("adding up blocks", TOTALS, [], |row| {
            Ok(Totals { blocks: row.get(0)?, tails: row.get(1)?, rows: row.get(2)?, bytes: row.get(3)? })
        })?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    /// Signs of trouble among the blocks, at `now`. A minute ahead is no trouble.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn vitals(&self, now: Timestamp) -> Result<Vitals> {
        let day = Duration::from_secs(86_400);
        let times = [now.saturating_add(Duration::from_secs(60)), now.saturating_sub(day), now.saturating_sub(7 * day)];
        let rows = self.rows("looking for trouble", VITALS, times.map(nanos), |row| {
            Ok(Vitals {
                future_blocks: row.get(0)?,
                old_tails: row.get(1)?,
                week_bytes: row.get(2)?,
                first_created: row.get(3)?,
            })
        })?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    /// Every version of every view that has blocks, by view and age.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn view_summaries(&self) -> Result<Vec<ViewSummary>> {
        let served: HashMap<_, _> =
            self.current_views()?.into_iter().map(|version| (version.view, version.fingerprint)).collect();
        self.rows("adding up blocks per view", SUMMARY, [], |row| {
            let (view, fingerprint) = (row.get(0)?, row.get(1)?);
            Ok(ViewSummary {
                current: served.get(&view).is_none_or(|served| *served == fingerprint),
                view,
                fingerprint,
                totals: Totals { blocks: row.get(2)?, tails: row.get(3)?, rows: row.get(4)?, bytes: row.get(5)? },
                entities: row.get(6)?,
                first_start: row.get(7)?,
                last_start: row.get(8)?,
                known_until: row.get(9)?,
                last_used: row.get(10)?,
                newest: row.get(11)?,
                computing: Duration::from_micros(row.get(12)?),
            })
        })
    }

    /// The statistics of the columns of a block, in their order; empty where none were kept.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn column_stats(&self, block: &BlockRef) -> Result<Vec<ColumnStats>> {
        let fingerprint = block.fingerprint.to_string();
        let key = params![block.view.as_str(), fingerprint, entity_json(&block.entity)?, nanos(block.start)];
        self.rows("reading column statistics", STATS, key, |row| {
            Ok(ColumnStats {
                name: row.get(0)?,
                count: row.get(1)?,
                nulls: row.get(2)?,
                nans: row.get(3)?,
                min: row.get(4)?,
                max: row.get(5)?,
                mean: row.get(6)?,
                std: row.get(7)?,
                p25: row.get(8)?,
                p50: row.get(9)?,
                p75: row.get(10)?,
            })
        })
    }
}
