//! Making the manifest true again from what the block files say.

use super::database::Database;
use super::query::sql::nanos;
use super::record::{BlockRow, Record};
use super::schema;
use super::stage::Stage;
use crate::block::ColumnStats;
use crate::error::Result;
use crate::model::Timestamp;

/// What a rebuild changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Blocks in the manifest now.
    pub blocks: u64,
    /// Blocks that the manifest did not know.
    pub added: u64,
    /// Blocks that the manifest knew and that have no file.
    pub dropped: u64,
}

/// One row per scanned block, and the blocks that no row tells of. `latest` keeps one row per block.
///
/// What others did since the scan began is newer than the scan: a block published since then stays,
/// one removed since then stays away. Everything else is as the files say, even where the manifest
/// believes in a later file: that one may have been lost with the machine. What is said to have happened
/// later than now was written by a clock that is wrong, and would outlive every repair: the files count.
const COMPARE: &str = "
CREATE OR REPLACE TEMP TABLE scanned AS
SELECT p.* EXCLUDE (at_ns), m.created AS old_created, m.uses AS old_uses, m.last_used AS old_last_used
FROM staged_published p
SEMI JOIN (SELECT (max(at_ns::HUGEINT * 1099511627776 + seq) & 1099511627775)::BIGINT AS seq
           FROM staged_published GROUP BY view, fingerprint, entity, start_ts) USING (seq)
LEFT JOIN manifest m USING (view, fingerprint, entity, start_ts)
LEFT JOIN removals r USING (view, fingerprint, entity, start_ts)
WHERE (r.removed_at IS NULL OR r.removed_at NOT BETWEEN make_timestamp_ns($1) AND make_timestamp_ns($2))
    AND (m.created IS NULL OR m.created NOT BETWEEN make_timestamp_ns($1) AND make_timestamp_ns($2)
        OR m.created <= p.created)";
const GONE: &str = "
CREATE OR REPLACE TEMP TABLE gone AS
SELECT view, fingerprint, entity, start_ts FROM manifest
ANTI JOIN staged_published USING (view, fingerprint, entity, start_ts)
WHERE created NOT BETWEEN make_timestamp_ns($1) AND make_timestamp_ns($2)";

/// Statistics of a file that stayed are kept where the scan brought none.
const REPLACE: &str = "
DELETE FROM column_stats USING gone g WHERE column_stats.view = g.view
    AND column_stats.fingerprint = g.fingerprint AND column_stats.entity = g.entity
    AND column_stats.start_ts = g.start_ts;
DELETE FROM column_stats USING scanned s WHERE column_stats.view = s.view
    AND column_stats.fingerprint = s.fingerprint AND column_stats.entity = s.entity
    AND column_stats.start_ts = s.start_ts
    AND (s.old_created IS DISTINCT FROM s.created OR s.seq IN (SELECT seq FROM staged_stats));
DELETE FROM manifest USING gone g WHERE manifest.view = g.view AND manifest.fingerprint = g.fingerprint
    AND manifest.entity = g.entity AND manifest.start_ts = g.start_ts;
DELETE FROM manifest USING scanned s WHERE manifest.view = s.view AND manifest.fingerprint = s.fingerprint
    AND manifest.entity = s.entity AND manifest.start_ts = s.start_ts;
DELETE FROM removals USING scanned s WHERE removals.view = s.view AND removals.fingerprint = s.fingerprint
    AND removals.entity = s.entity AND removals.start_ts = s.start_ts;
INSERT INTO manifest SELECT * EXCLUDE (seq, old_created, old_uses, old_last_used) REPLACE (
    greatest(uses, coalesce(old_uses, 0)) AS uses,
    greatest(last_used, coalesce(old_last_used, last_used)) AS last_used)
FROM scanned;
INSERT INTO column_stats SELECT s.* EXCLUDE (seq) FROM staged_stats s SEMI JOIN scanned USING (seq);
";

const COUNT: &str = "
SELECT (SELECT count(*) FROM manifest), (SELECT count(*) FROM scanned WHERE old_created IS NULL),
       (SELECT count(*) FROM gone)";

/// Replaces blocks and their statistics in one transaction.
pub(super) fn rebuild(
    database: &Database<'_>,
    (scan_began, now): (Timestamp, Timestamp),
    rows: impl IntoIterator<Item = (BlockRow, Vec<ColumnStats>)>,
) -> Result<Rebuilt> {
    database.transaction(|| {
        let mut stage = Stage::new(database)?;
        for (block, stats) in rows {
            stage.record(&Record::Published { block, stats })?;
        }
        stage.finish()?;
        for sql in [COMPARE, GONE] {
            let meanwhile = [nanos(scan_began), nanos(now)];
            database
                .connection()
                .execute(sql, meanwhile)
                .map_err(|error| database.failed("comparing blocks", error))?;
        }
        database.run("replacing blocks", REPLACE)?;
        schema::set(database.connection(), database.path(), schema::NEEDS_REBUILD, "false")?;
        let count =
            |row: &duckdb::Row<'_>| Ok(Rebuilt { blocks: row.get(0)?, added: row.get(1)?, dropped: row.get(2)? });
        database.connection().query_row(COUNT, [], count).map_err(|error| database.failed("counting blocks", error))
    })
}
