//! The tables of the manifest, for us and for people with DuckDB's own shell.
//!
//! No primary keys and no indexes: they cost more than they give here, and recovering them after a
//! crash has been a source of corruption in DuckDB. Folding keeps every block to one row.

use std::path::Path;
use std::sync::OnceLock;

use arrow::datatypes::Fields;
use duckdb::Connection;

use super::failure::classify;
use crate::error::{Error, ErrorKind, Result};

/// The version this code writes and the newest it understands.
pub(super) const VERSION: i64 = 3;

/// Tables and views. Each statement may run again over a manifest that has them.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS meta (key VARCHAR NOT NULL, value VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS journals (name VARCHAR NOT NULL, read_to BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS manifest (
    view VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL, entity VARCHAR NOT NULL, symbol VARCHAR,
    start_ts TIMESTAMP_NS NOT NULL, end_ts TIMESTAMP_NS NOT NULL, known_until TIMESTAMP_NS NOT NULL,
    rows BIGINT NOT NULL, bytes BIGINT NOT NULL, created TIMESTAMP_NS NOT NULL, compute_ms DOUBLE NOT NULL,
    input_version VARCHAR, file VARCHAR NOT NULL, last_used TIMESTAMP_NS NOT NULL, uses BIGINT NOT NULL,
    state VARCHAR NOT NULL, newest_ts TIMESTAMP_NS);
CREATE TABLE IF NOT EXISTS column_stats (
    view VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL, entity VARCHAR NOT NULL, start_ts TIMESTAMP_NS NOT NULL,
    column_name VARCHAR NOT NULL, count BIGINT NOT NULL, nulls BIGINT NOT NULL, nan BIGINT NOT NULL,
    min DOUBLE, max DOUBLE, mean DOUBLE, std DOUBLE, p25 DOUBLE, p50 DOUBLE, p75 DOUBLE);
CREATE TABLE IF NOT EXISTS removals (
    view VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL, entity VARCHAR NOT NULL, start_ts TIMESTAMP_NS NOT NULL,
    removed_at TIMESTAMP_NS NOT NULL, reason VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS removals_per_minute (
    minute TIMESTAMP NOT NULL, view VARCHAR NOT NULL, entity VARCHAR NOT NULL, reason VARCHAR NOT NULL,
    blocks BIGINT NOT NULL, young BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS requests_per_minute (
    minute TIMESTAMP NOT NULL, view VARCHAR NOT NULL, outcome VARCHAR NOT NULL, count BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS misses (
    minute TIMESTAMP NOT NULL, view VARCHAR NOT NULL, entity VARCHAR NOT NULL, reason VARCHAR NOT NULL,
    count BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS counters_per_minute (
    minute TIMESTAMP NOT NULL, metric VARCHAR NOT NULL, labels VARCHAR NOT NULL, count BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS invalidations (
    invalidated_at TIMESTAMP_NS NOT NULL, view VARCHAR NOT NULL, entity VARCHAR, start_ts TIMESTAMP_NS NOT NULL,
    end_ts TIMESTAMP_NS NOT NULL, cause VARCHAR NOT NULL, blocks BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS views (
    view VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL, definition VARCHAR NOT NULL,
    first_seen TIMESTAMP_NS NOT NULL, last_seen TIMESTAMP_NS NOT NULL);
CREATE VIEW IF NOT EXISTS hit_ratio_per_hour AS
    SELECT date_trunc('hour', minute) AS hour, view, sum(count)::BIGINT AS requests,
           sum(count) FILTER (outcome IN ('hit', 'stale')) / sum(count) AS hit_ratio
    FROM requests_per_minute GROUP BY ALL ORDER BY ALL;
CREATE VIEW IF NOT EXISTS size_per_view AS
    SELECT view, fingerprint, count(*) AS blocks, sum(rows)::BIGINT AS rows, sum(bytes)::BIGINT AS bytes,
           count(DISTINCT entity) AS entities, min(start_ts) AS first_start, max(end_ts) AS last_end
    FROM manifest GROUP BY ALL ORDER BY ALL;
";

/// What each version added to the one before it; the first entry makes version 2 of version 1.
///
/// `newest_ts` says how old the newest value of a view is, `removals_per_minute` what was removed, for
/// 40 days: `removals` only orders events, and forgets a block that is published again. `counters_per_minute`
/// carries the counters of each process to whoever exports those of all.
const MIGRATIONS: [&str; 2] = [
    "
ALTER TABLE manifest ADD COLUMN newest_ts TIMESTAMP_NS;
CREATE TABLE removals_per_minute (
    minute TIMESTAMP NOT NULL, view VARCHAR NOT NULL, entity VARCHAR NOT NULL, reason VARCHAR NOT NULL,
    blocks BIGINT NOT NULL, young BIGINT NOT NULL);
",
    "
CREATE TABLE counters_per_minute (
    minute TIMESTAMP NOT NULL, metric VARCHAR NOT NULL, labels VARCHAR NOT NULL, count BIGINT NOT NULL);
",
];

/// Nothing, with every column of every table.
///
/// One statement that only has to be bound takes a millisecond. DuckDB's catalogue functions and
/// `information_schema` would say the same in twenty, which is more than all the rest of opening.
const EVERY_COLUMN: &str = "
SELECT * FROM meta, journals, manifest, column_stats, removals, removals_per_minute, requests_per_minute, misses,
              counters_per_minute, invalidations, views
LIMIT 0";

/// Makes the tables where there are none or brings older ones up to date, and says in `meta` that a
/// rebuild is due then.
///
/// # Errors
/// `Unavailable` where a newer version wrote them, and nothing is changed then; `Corrupt` where they
/// are not ours.
pub(super) fn prepare(connection: &Connection, path: &Path) -> Result<()> {
    match connection.query_row(VALUE, ["schema_version"], |row| row.get::<_, Option<String>>(0)) {
        Ok(version) => migrate(connection, path, check_version(path, version.as_deref())?)?,
        Err(error) if is_missing(&error) => begin(connection, path)?,
        Err(error) => return Err(classify(path, "reading the schema version", error)),
    }
    check_columns(connection, path)
}

fn begin(connection: &Connection, path: &Path) -> Result<()> {
    let failed = |error| classify(path, "making the tables", error);
    connection.execute_batch("BEGIN").map_err(failed)?;
    connection.execute_batch(TABLES).map_err(failed)?;
    set(connection, path, "schema_version", &VERSION.to_string())?;
    set(connection, path, NEEDS_REBUILD, "true")?;
    connection.execute_batch("COMMIT").map_err(failed)
}

/// Brings the tables of version `from` up to date in one transaction. History stays as it is. What
/// blocks have in addition comes as they are published again, or with `larder repair`: a rebuild by every
/// process that meets the new version would read the whole cache several times over.
fn migrate(connection: &Connection, path: &Path, from: i64) -> Result<()> {
    let steps = MIGRATIONS.iter().skip(usize::try_from(from - 1).unwrap_or_default());
    if steps.len() == 0 {
        return Ok(());
    }
    let failed = |error: duckdb::Error| match &error {
        missing if is_missing(missing) => {
            not_ours(path, &format!("its tables are not those of version {from} ({error})"))
        }
        _ => classify(path, "bringing the tables up to date", error),
    };
    let migrated = (|| {
        connection.execute_batch("BEGIN").map_err(failed)?;
        steps.into_iter().try_for_each(|sql| connection.execute_batch(sql)).map_err(failed)?;
        set(connection, path, "schema_version", &VERSION.to_string())?;
        connection.execute_batch("COMMIT").map_err(failed)
    })();
    if migrated.is_err() {
        // Fails where the commit itself failed and the transaction is over; nothing is open either way.
        let _ = connection.execute_batch("ROLLBACK");
    }
    migrated
}

/// The key of `meta` that says that block files may exist of which this manifest does not know.
pub(super) const NEEDS_REBUILD: &str = "needs_rebuild";

/// Without the maximum a second row, made by hand, would make the answer arbitrary.
const VALUE: &str = "SELECT max(value) FROM meta WHERE key = ?";

/// A value of `meta`.
pub(super) fn value(connection: &Connection, path: &Path, key: &str) -> Result<Option<String>> {
    connection.query_row(VALUE, [key], |row| row.get(0)).map_err(|error| classify(path, "reading meta", error))
}

/// Sets a value of `meta`.
pub(super) fn set(connection: &Connection, path: &Path, key: &str, value: &str) -> Result<()> {
    connection
        .execute("DELETE FROM meta WHERE key = ?", [key])
        .and_then(|_| connection.execute("INSERT INTO meta VALUES (?, ?)", [key, value]))
        .map(drop)
        .map_err(|error| classify(path, "writing meta", error))
}

/// The stored version, where this code understands it.
fn check_version(path: &Path, stored: Option<&str>) -> Result<i64> {
    let file = path.display();
    match stored.and_then(|version| version.parse::<i64>().ok()) {
        Some(known @ 1..=VERSION) => Ok(known),
        Some(newer) if newer > VERSION => Err(Error::new(
            ErrorKind::Unavailable,
            format!(
                "manifest {file} has schema version {newer}, this larder knows up to {VERSION} and leaves it \
                 untouched: use the newer larder"
            ),
        )),
        _ => Err(not_ours(path, "its meta table names no known schema version")),
    }
}

fn check_columns(connection: &Connection, path: &Path) -> Result<()> {
    static EXPECTED: OnceLock<Fields> = OnceLock::new();
    if EXPECTED.get().is_none() {
        let expected = Connection::open_in_memory()
            .and_then(|memory| memory.execute_batch(TABLES).and_then(|()| columns(&memory)))
            .map_err(|error| classify(path, "making a model of the tables", error))?;
        // Another thread may have been quicker, with the same columns.
        EXPECTED.get_or_init(|| expected);
    }
    match columns(connection) {
        Ok(found) if EXPECTED.get() == Some(&found) => Ok(()),
        Ok(_) => Err(not_ours(path, "its columns are not those of its schema version")),
        Err(error) if is_missing(&error) => Err(not_ours(path, &format!("a table is missing ({error})"))),
        Err(error) => Err(classify(path, "reading the columns", error)),
    }
}

fn columns(connection: &Connection) -> duckdb::Result<Fields> {
    let mut statement = connection.prepare(EVERY_COLUMN)?;
    let stream = statement.stream_arrow([])?;
    Ok(stream.get_schema().fields().clone())
}

/// Whether the failure is that a table does not exist.
fn is_missing(error: &duckdb::Error) -> bool {
    error.to_string().starts_with("Catalog Error")
}

fn not_ours(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("manifest {} is damaged: {why}: run `larder repair`", path.display()))
}
