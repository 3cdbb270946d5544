//! From the temporary tables into the manifest, set by set.

use super::database::Database;
use super::query::sql::nanos;
use super::stage::Sheets;
use crate::error::Result;
use crate::model::Timestamp;

/// The one event that counts for each block among what was staged: of the latest time, and of those
/// the last one. `removed_at` is the latest removal. An event older than what is stored does not count.
///
/// Time and order are packed into one number, because a maximum over numbers is cheap: 2^40 records
/// are more than one transaction can stage.
const LATEST: &str = "
CREATE OR REPLACE TEMP TABLE latest AS
WITH events AS (
    SELECT view, fingerprint, entity, start_ts, seq, at_ns, created AS happened, NULL::TIMESTAMP_NS AS removed_at
    FROM staged_published
    UNION ALL
    SELECT view, fingerprint, entity, start_ts, seq, at_ns, removed_at, removed_at FROM staged_removed
), winners AS (
    SELECT view, fingerprint, entity, start_ts, max(happened) AS happened, max(removed_at) AS removed_at,
           (max(at_ns::HUGEINT * 1099511627776 + seq) & 1099511627775)::BIGINT AS seq
    FROM events GROUP BY view, fingerprint, entity, start_ts
)
SELECT w.*, m.created AS old_created, m.uses AS old_uses, m.last_used AS old_last_used
FROM winners w
LEFT JOIN manifest m USING (view, fingerprint, entity, start_ts)
LEFT JOIN removals r USING (view, fingerprint, entity, start_ts)
WHERE (m.created IS NULL OR m.created <= w.happened) AND (r.removed_at IS NULL OR r.removed_at <= w.happened);
";

/// What replaces a block goes on counting its uses, unless the block was removed in between.
const BLOCKS: &str = "
DELETE FROM manifest USING latest l WHERE manifest.view = l.view AND manifest.fingerprint = l.fingerprint
    AND manifest.entity = l.entity AND manifest.start_ts = l.start_ts;
DELETE FROM column_stats USING latest l WHERE column_stats.view = l.view
    AND column_stats.fingerprint = l.fingerprint AND column_stats.entity = l.entity
    AND column_stats.start_ts = l.start_ts;
DELETE FROM removals USING latest l WHERE removals.view = l.view AND removals.fingerprint = l.fingerprint
    AND removals.entity = l.entity AND removals.start_ts = l.start_ts;
INSERT INTO manifest
SELECT p.* EXCLUDE (seq, at_ns) REPLACE (
    CASE WHEN l.old_created > coalesce(l.removed_at, '-infinity') OR l.removed_at IS NULL
         THEN least(p.uses::HUGEINT + coalesce(l.old_uses, 0), 9223372036854775807)::BIGINT
         ELSE p.uses END AS uses,
    CASE WHEN l.old_created > coalesce(l.removed_at, '-infinity') OR l.removed_at IS NULL
         THEN greatest(p.last_used, coalesce(l.old_last_used, p.last_used))
         ELSE p.last_used END AS last_used)
FROM staged_published p JOIN latest l USING (seq);
INSERT INTO column_stats SELECT s.* EXCLUDE (seq) FROM staged_stats s SEMI JOIN latest l USING (seq);
INSERT INTO removals SELECT r.* EXCLUDE (seq, at_ns) FROM staged_removed r SEMI JOIN latest l USING (seq);
";

/// What was removed, and how much of it within an hour of its publication. Runs before the blocks are
/// merged: afterwards nobody knows when a removed one was published. What is not known to have been
/// there is not counted, so a removal that two processes tell of counts once.
const REMOVALS: &str = "
MERGE INTO removals_per_minute t
USING (
    SELECT make_timestamp((at_ns // 60000000000) * 60000000) AS minute, view, entity, reason, count(*) AS blocks,
           count(*) FILTER (at_ns::HUGEINT - published < 3600000000000) AS young
    FROM (
        SELECT view, fingerprint, entity, start_ts, r.at_ns, r.reason, max(epoch_ns(p.created)) AS published
        FROM (SELECT view, fingerprint, entity, start_ts, max(at_ns) AS at_ns, arg_max(reason, at_ns) AS reason
              FROM staged_removed GROUP BY ALL) r
        JOIN (SELECT view, fingerprint, entity, start_ts, created FROM manifest
              UNION ALL SELECT view, fingerprint, entity, start_ts, created FROM staged_published) p
            USING (view, fingerprint, entity, start_ts)
        WHERE epoch_ns(p.created) <= r.at_ns
        GROUP BY ALL)
    GROUP BY ALL) s
ON t.minute = s.minute AND t.view = s.view AND t.entity = s.entity AND t.reason = s.reason
WHEN MATCHED THEN UPDATE SET blocks = t.blocks + s.blocks, young = t.young + s.young
WHEN NOT MATCHED THEN INSERT VALUES (s.minute, s.view, s.entity, s.reason, s.blocks, s.young);
";

/// Uses of blocks that are not there count for nothing.
const USED: &str = "
UPDATE manifest SET
    uses = least(manifest.uses::HUGEINT + u.uses, 9223372036854775807)::BIGINT,
    last_used = greatest(manifest.last_used, u.last_used)
FROM (SELECT view, fingerprint, entity, start_ts, sum(uses) AS uses, max(last_used) AS last_used
      FROM staged_used GROUP BY ALL) u
WHERE manifest.view = u.view AND manifest.fingerprint = u.fingerprint AND manifest.entity = u.entity
    AND manifest.start_ts = u.start_ts;
";

/// Counts of one minute are added up, so the table grows with time and not with the number of flushes.
const REQUESTS: &str = "
MERGE INTO requests_per_minute t
USING (SELECT minute, view, outcome, least(sum(count), 9223372036854775807)::BIGINT AS count
       FROM staged_requests GROUP BY ALL) s
ON t.minute = s.minute AND t.view = s.view AND t.outcome = s.outcome
WHEN MATCHED THEN UPDATE SET count = least(t.count::HUGEINT + s.count, 9223372036854775807)::BIGINT
WHEN NOT MATCHED THEN INSERT VALUES (s.minute, s.view, s.outcome, s.count);
";

const MISSES: &str = "
MERGE INTO misses t
USING (SELECT minute, view, entity, reason, least(sum(count), 9223372036854775807)::BIGINT AS count
       FROM staged_misses GROUP BY ALL) s
ON t.minute = s.minute AND t.view = s.view AND t.entity = s.entity AND t.reason = s.reason
WHEN MATCHED THEN UPDATE SET count = least(t.count::HUGEINT + s.count, 9223372036854775807)::BIGINT
WHEN NOT MATCHED THEN INSERT VALUES (s.minute, s.view, s.entity, s.reason, s.count);
";

const COUNTERS: &str = "
MERGE INTO counters_per_minute t
USING (SELECT minute, metric, labels, least(sum(count), 9223372036854775807)::BIGINT AS count
       FROM staged_counters GROUP BY ALL) s
ON t.minute = s.minute AND t.metric = s.metric AND t.labels = s.labels
WHEN MATCHED THEN UPDATE SET count = least(t.count::HUGEINT + s.count, 9223372036854775807)::BIGINT
WHEN NOT MATCHED THEN INSERT VALUES (s.minute, s.metric, s.labels, s.count);
";

const INVALIDATIONS: &str = "INSERT INTO invalidations SELECT * FROM staged_invalidations;";

const VIEWS: &str = "
MERGE INTO views t
USING (SELECT view, fingerprint, arg_max(definition, seen) AS definition, min(seen) AS first, max(seen) AS last
       FROM staged_views GROUP BY ALL) s
ON t.view = s.view AND t.fingerprint = s.fingerprint
WHEN MATCHED THEN UPDATE SET
    definition = CASE WHEN s.last >= t.last_seen THEN s.definition ELSE t.definition END,
    first_seen = least(t.first_seen, s.first), last_seen = greatest(t.last_seen, s.last)
WHEN NOT MATCHED THEN INSERT VALUES (s.view, s.fingerprint, s.definition, s.first, s.last);
";

/// A journal that is gone is forgotten: names never come back.
const JOURNALS: &str = "DELETE FROM journals; INSERT INTO journals SELECT * FROM staged_journals;";

/// How long the history of requests, misses and invalidations is kept: the window of the objective is
/// 30 days, and somebody looks back at it.
const HISTORY_DAYS: u64 = 40;
/// How long a removal is remembered, and what was counted: longer than any journal can lag behind another, and
/// whoever exports the counters of all asks every few seconds.
const RECENT_DAYS: u64 = 2;

/// Merges everything that was staged. Runs inside the caller's transaction.
pub(super) fn merge(database: &Database<'_>, staged: &Sheets, now: Timestamp) -> Result<()> {
    if staged.removed.rows() > 0 {
        database.run("counting removals", REMOVALS)?;
    }
    if staged.published.rows() + staged.removed.rows() > 0 {
        database.run("ordering events", LATEST)?;
        database.run("merging blocks", BLOCKS)?;
    }
    // After the blocks: a block may have been published and used in one fold.
    let steps = [
        (&staged.used, "merging uses", USED),
        (&staged.requests, "merging requests", REQUESTS),
        (&staged.misses, "merging misses", MISSES),
        (&staged.counters, "merging counters", COUNTERS),
        (&staged.invalidations, "merging invalidations", INVALIDATIONS),
        (&staged.views, "merging views", VIEWS),
    ];
    for (_, doing, sql) in steps.into_iter().filter(|(sheet, ..)| sheet.rows() > 0) {
        database.run(doing, sql)?;
    }
    database.run("storing how far journals were read", JOURNALS)?;
    prune(database, now)
}

fn prune(database: &Database<'_>, now: Timestamp) -> Result<()> {
    let ago = |days: u64| now.saturating_sub(std::time::Duration::from_secs(days * 86_400));
    let minute = ago(HISTORY_DAYS).minute();
    let steps = [
        ("DELETE FROM requests_per_minute WHERE minute < make_timestamp(?)", minute * 60_000_000),
        ("DELETE FROM misses WHERE minute < make_timestamp(?)", minute * 60_000_000),
        ("DELETE FROM removals_per_minute WHERE minute < make_timestamp(?)", minute * 60_000_000),
        ("DELETE FROM counters_per_minute WHERE minute < make_timestamp(?)", ago(RECENT_DAYS).minute() * 60_000_000),
        ("DELETE FROM invalidations WHERE invalidated_at < make_timestamp_ns(?)", nanos(ago(HISTORY_DAYS))),
        ("DELETE FROM removals WHERE removed_at < make_timestamp_ns(?)", nanos(ago(RECENT_DAYS))),
    ];
    for (sql, cutoff) in steps {
        database.connection().execute(sql, [cutoff]).map_err(|error| database.failed("pruning history", error))?;
    }
    Ok(())
}
