//! Manifests of older versions.

use crate::manifest::testing::{DAY, at, block, blocks, counted, manifest};
use crate::manifest::{BlockFilter, BlockRow, Manifest};
use crate::model::MissReason;

/// The tables as version 1 made them.
const VERSION_1: &str = "
CREATE TABLE meta (key VARCHAR NOT NULL, value VARCHAR NOT NULL);
CREATE TABLE journals (name VARCHAR NOT NULL, read_to BIGINT NOT NULL);
CREATE TABLE manifest (
    view VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL, entity VARCHAR NOT NULL, symbol VARCHAR,
    start_ts TIMESTAMP_NS NOT NULL, end_ts TIMESTAMP_NS NOT NULL, known_until TIMESTAMP_NS NOT NULL,
    rows BIGINT NOT NULL, bytes BIGINT NOT NULL, created TIMESTAMP_NS NOT NULL, compute_ms DOUBLE NOT NULL,
    input_version VARCHAR, file VARCHAR NOT NULL, last_used TIMESTAMP_NS NOT NULL, uses BIGINT NOT NULL,
    state VARCHAR NOT NULL);
CREATE TABLE column_stats (
    view VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL, entity VARCHAR NOT NULL, start_ts TIMESTAMP_NS NOT NULL,
    column_name VARCHAR NOT NULL, count BIGINT NOT NULL, nulls BIGINT NOT NULL, nan BIGINT NOT NULL,
    min DOUBLE, max DOUBLE, mean DOUBLE, std DOUBLE, p25 DOUBLE, p50 DOUBLE, p75 DOUBLE);
CREATE TABLE removals (
    view VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL, entity VARCHAR NOT NULL, start_ts TIMESTAMP_NS NOT NULL,
    removed_at TIMESTAMP_NS NOT NULL, reason VARCHAR NOT NULL);
CREATE TABLE requests_per_minute (
    minute TIMESTAMP NOT NULL, view VARCHAR NOT NULL, outcome VARCHAR NOT NULL, count BIGINT NOT NULL);
CREATE TABLE misses (
    minute TIMESTAMP NOT NULL, view VARCHAR NOT NULL, entity VARCHAR NOT NULL, reason VARCHAR NOT NULL,
    count BIGINT NOT NULL);
CREATE TABLE invalidations (
    invalidated_at TIMESTAMP_NS NOT NULL, view VARCHAR NOT NULL, entity VARCHAR, start_ts TIMESTAMP_NS NOT NULL,
    end_ts TIMESTAMP_NS NOT NULL, cause VARCHAR NOT NULL, blocks BIGINT NOT NULL);
CREATE TABLE views (
    view VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL, definition VARCHAR NOT NULL,
    first_seen TIMESTAMP_NS NOT NULL, last_seen TIMESTAMP_NS NOT NULL);
CREATE VIEW hit_ratio_per_hour AS
    SELECT date_trunc('hour', minute) AS hour, view, sum(count)::BIGINT AS requests,
           sum(count) FILTER (outcome IN ('hit', 'stale')) / sum(count) AS hit_ratio
    FROM requests_per_minute GROUP BY ALL ORDER BY ALL;
CREATE VIEW size_per_view AS
    SELECT view, fingerprint, count(*) AS blocks, sum(rows)::BIGINT AS rows, sum(bytes)::BIGINT AS bytes,
           count(DISTINCT entity) AS entities, min(start_ts) AS first_start, max(end_ts) AS last_end
    FROM manifest GROUP BY ALL ORDER BY ALL;
";

/// What a version 1 that had been in use for a while holds of block A, day 1, of the other tests.
const CONTENTS: &str = "
INSERT INTO meta VALUES ('schema_version', '1'), ('needs_rebuild', 'false');
INSERT INTO manifest VALUES ('v', $FP, '{\"symbol\":\"A\"}', 'A', make_timestamp_ns(86400000000000),
    make_timestamp_ns(172800000000000), make_timestamp_ns(172800000000000), 1440, 10000, make_timestamp_ns(1), 12.5,
    NULL, 'blocks/view=v/fp=x/symbol=A/1.parquet', make_timestamp_ns(9), 4, 'complete');
INSERT INTO requests_per_minute VALUES (make_timestamp(60000000), 'v', 'hit', 5);
INSERT INTO misses VALUES (make_timestamp(60000000), 'v', '{\"symbol\":\"A\"}', 'absent', 3);
INSERT INTO views VALUES ('v', $FP, '{}', make_timestamp_ns(1), make_timestamp_ns(2));
";

fn version_1(more: &str) -> (tempfile::TempDir, Manifest) {
    let dir = tempfile::tempdir().unwrap();
    let manifest = manifest(dir.path());
    let fingerprint = format!("'{}'", block("A", 1, 1).fingerprint);
    let connection = duckdb::Connection::open(manifest.path()).unwrap();
    connection.execute_batch(VERSION_1).unwrap();
    connection.execute_batch(&CONTENTS.replace("$FP", &fingerprint)).unwrap();
    connection.execute_batch(more).unwrap();
    connection.close().unwrap();
    (dir, manifest)
}

fn old_block() -> BlockRow {
    BlockRow { uses: 4, last_used: at(9), newest: None, ..block("A", 1, 1) }
}

#[test]
fn version_1_becomes_the_present_version_and_keeps_its_history() {
    let (_dir, manifest) = version_1("");
    let report = manifest.fold().unwrap();
    assert_eq!((report.set_aside, report.needs_rebuild), (None, false));
    assert_eq!(counted(&manifest), 5);
    manifest
        .read(|query| {
            assert_eq!(query.blocks(&BlockFilter::default())?, [old_block()]);
            assert_eq!(query.view_summaries()?[0].newest, None);
            let miss = query.top_misses(at(0), 9)?.remove(0);
            assert_eq!((miss.reason, miss.count, query.views()?.len()), (MissReason::Absent, 3, 1));
            assert_eq!(query.removals_per_minute(at(0))?, []);
            assert_eq!(query.counters_per_minute(at(0))?, []);
            Ok(())
        })
        .unwrap();
}

/// What version 2 had in addition, and its number.
const VERSION_2: &str = "
ALTER TABLE manifest ADD COLUMN newest_ts TIMESTAMP_NS;
CREATE TABLE removals_per_minute (
    minute TIMESTAMP NOT NULL, view VARCHAR NOT NULL, entity VARCHAR NOT NULL, reason VARCHAR NOT NULL,
    blocks BIGINT NOT NULL, young BIGINT NOT NULL);
INSERT INTO removals_per_minute VALUES (make_timestamp(60000000), 'v', '{\"symbol\":\"A\"}', 'size', 2, 1);
UPDATE meta SET value = '2' WHERE key = 'schema_version';
";

#[test]
fn version_2_becomes_the_present_version_and_keeps_its_history() {
    let (_dir, manifest) = version_1(VERSION_2);
    let report = manifest.fold().unwrap();
    assert_eq!((report.set_aside, report.needs_rebuild), (None, false));
    assert_eq!(counted(&manifest), 5);
    manifest
        .read(|query| {
            assert_eq!(query.removals_per_minute(at(0))?.iter().map(|row| row.blocks).sum::<u64>(), 2);
            assert_eq!(query.counters_per_minute(at(0))?, []);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_rebuild_after_the_migration_brings_what_version_1_did_not_know() {
    let (_dir, manifest) = version_1("");
    let found = BlockRow { newest: Some(at(2 * DAY - 7)), ..block("A", 1, 1) };
    manifest.rebuild(at(10), [(found, vec![])]).unwrap();
    assert!(!manifest.fold().unwrap().needs_rebuild);
    assert_eq!(blocks(&manifest), [BlockRow { newest: Some(at(2 * DAY - 7)), ..old_block() }]);
    assert_eq!(counted(&manifest), 5);
}

#[test]
fn a_migration_that_cannot_be_finished_changes_nothing() {
    // The second step fails: the table that it makes is there.
    let (_dir, manifest) = version_1("CREATE TABLE removals_per_minute (minute TIMESTAMP)");
    let report = manifest.fold().unwrap();
    let aside = report.set_aside.expect("tables that version 1 did not have are damage");
    let connection = duckdb::Connection::open(aside).unwrap();
    let version: String =
        connection.query_row("SELECT value FROM meta WHERE key = 'schema_version'", [], |row| row.get(0)).unwrap();
    assert_eq!(version, "1");
    assert!(connection.prepare("SELECT newest_ts FROM manifest").is_err());
}
