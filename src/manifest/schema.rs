//! The tables of the manifest, for us and for people with DuckDB's own shell.
//!
//! No primary keys and no indexes: they cost more than they give here, and recovering them after a
//! crash has been a source of corruption in DuckDB. Folding keeps every block to one row.

use std::path::Path;
use std::sync::OnceLock;

use duckdb::Connection;

use super::failure::classify;
use crate::error::{Error, ErrorKind, Result};

/// The version this code writes and the newest it understands.
pub(super) const VERSION: i64 = 1;

/// Tables and views. Each statement may run again over a manifest that has them.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS meta (key VARCHAR NOT NULL, value VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS journals (name VARCHAR NOT NULL, read_to BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS manifest (
    view VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL, entity VARCHAR NOT NULL, symbol VARCHAR,
    start_ts TIMESTAMP_NS NOT NULL, end_ts TIMESTAMP_NS NOT NULL, known_until TIMESTAMP_NS NOT NULL,
    rows BIGINT NOT NULL, bytes BIGINT NOT NULL, created TIMESTAMP_NS NOT NULL, compute_ms DOUBLE NOT NULL,
    input_version VARCHAR, file VARCHAR NOT NULL, last_used TIMESTAMP_NS NOT NULL, uses BIGINT NOT NULL,
    state VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS column_stats (
    view VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL, entity VARCHAR NOT NULL, start_ts TIMESTAMP_NS NOT NULL,
    column_name VARCHAR NOT NULL, count BIGINT NOT NULL, nulls BIGINT NOT NULL, nan BIGINT NOT NULL,
    min DOUBLE, max DOUBLE, mean DOUBLE, std DOUBLE, p25 DOUBLE, p50 DOUBLE, p75 DOUBLE);
CREATE TABLE IF NOT EXISTS removals (
    view VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL, entity VARCHAR NOT NULL, start_ts TIMESTAMP_NS NOT NULL,
    removed_at TIMESTAMP_NS NOT NULL, reason VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS requests_per_minute (
    minute TIMESTAMP NOT NULL, view VARCHAR NOT NULL, outcome VARCHAR NOT NULL, count BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS misses (
    minute TIMESTAMP NOT NULL, view VARCHAR NOT NULL, entity VARCHAR NOT NULL, reason VARCHAR NOT NULL,
    count BIGINT NOT NULL);
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

/// The columns that must be there, as one text per table.
const COLUMNS: &str = "
SELECT table_name || '(' || string_agg(column_name || ' ' || data_type, ',' ORDER BY ordinal_position) || ')'
FROM information_schema.columns WHERE table_schema = 'main' AND table_catalog = current_database()
GROUP BY table_name ORDER BY table_name";

/// Makes the tables where there are none, and says in `meta` that a rebuild is due.
///
/// # Errors
/// `Unavailable` where a newer version wrote them, and nothing is changed then; `Corrupt` where they
/// are not ours.
pub(super) fn prepare(connection: &Connection, path: &Path) -> Result<()> {
    let failed = |error| classify(path, "reading the schema version", error);
    let begun =
        "SELECT count(*) > 0 FROM information_schema.tables WHERE table_schema = 'main' AND table_name = 'meta'";
    let has_meta: bool = connection.query_row(begun, [], |row| row.get(0)).map_err(failed)?;
    if has_meta {
        check_version(path, value(connection, path, "schema_version")?.as_deref())?;
        return check_columns(connection, path);
    }
    let failed = |error| classify(path, "making the tables", error);
    connection.execute_batch("BEGIN").map_err(failed)?;
    connection.execute_batch(TABLES).map_err(failed)?;
    set(connection, path, "schema_version", &VERSION.to_string())?;
    set(connection, path, NEEDS_REBUILD, "true")?;
    connection.execute_batch("COMMIT").map_err(failed)
}

/// The key of `meta` that says that block files may exist of which this manifest does not know.
pub(super) const NEEDS_REBUILD: &str = "needs_rebuild";

/// A value of `meta`.
pub(super) fn value(connection: &Connection, path: &Path, key: &str) -> Result<Option<String>> {
    // Without the ordering a hand-made second row would make the answer arbitrary.
    match connection.query_row("SELECT max(value) FROM meta WHERE key = ?", [key], |row| row.get(0)) {
        Ok(value) => Ok(value),
        Err(error) => Err(classify(path, "reading meta", error)),
    }
}

/// Sets a value of `meta`.
pub(super) fn set(connection: &Connection, path: &Path, key: &str, value: &str) -> Result<()> {
    connection
        .execute("DELETE FROM meta WHERE key = ?", [key])
        .and_then(|_| connection.execute("INSERT INTO meta VALUES (?, ?)", [key, value]))
        .map(drop)
        .map_err(|error| classify(path, "writing meta", error))
}

fn check_version(path: &Path, stored: Option<&str>) -> Result<()> {
    let file = path.display();
    match stored.and_then(|version| version.parse::<i64>().ok()) {
        Some(VERSION) => Ok(()),
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
    let columns = |connection: &Connection| -> duckdb::Result<Vec<String>> {
        connection.prepare(COLUMNS)?.query_map([], |row| row.get(0))?.collect()
    };
    let found = columns(connection).map_err(|error| classify(path, "reading the columns", error))?;
    static MODEL: OnceLock<Vec<String>> = OnceLock::new();
    if MODEL.get().is_none() {
        let model = Connection::open_in_memory()
            .and_then(|memory| memory.execute_batch(TABLES).and_then(|()| columns(&memory)))
            .map_err(|error| classify(path, "making a model of the tables", error))?;
        // Another thread may have been quicker, with the same model.
        MODEL.get_or_init(|| model);
    }
    match MODEL.get().into_iter().flatten().find(|table| !found.contains(table)) {
        None => Ok(()),
        Some(missing) => Err(not_ours(path, &format!("it has no table {missing}"))),
    }
}

fn not_ours(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("manifest {} is damaged: {why}: run `larder repair`", path.display()))
}
