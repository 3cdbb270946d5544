//! A DuckDB in memory that sees the manifest's tables and the blocks, and may change neither.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use duckdb::{Config, Connection};

use crate::cli::cache::Cache;
use crate::cli::definitions;
use crate::cli::failure::Failure;
use crate::cli::interrupt::Interrupt;
use crate::cli::names::existing;
use crate::cli::session::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{BlockId, EVENT_TIME, EntityKey, FeatureView, KeyType, KeyValue, Timestamp, ViewName};
use crate::sql::{Limits, Sandbox, quoted, sql_type, tables};
use crate::store::block_path;

/// Beside a trading service, so not all of the machine.
const MEMORY: &str = "2GB";
const THREADS: i64 = 2;
/// The schema of feature views, behind that of the manifest's tables.
const FEATURES: &str = "features";
/// What a directory says of a key without a value.
const MISSING: &str = "__HIVE_DEFAULT_PARTITION__";
/// How often Ctrl-C is looked for.
const PAUSE: Duration = Duration::from_millis(50);

/// The database, for one query.
pub struct Engine {
    connection: Connection,
}

impl Engine {
    /// Makes what the query needs. Tables that it does not mention have their columns, and no rows.
    ///
    /// # Errors
    /// `Invalid` where the query is no single `SELECT` or mentions a table that there is not; `NotFound` where there is
    /// no cache; those of the manifest.
    pub fn open(query: &str, session: &Session) -> Result<Self> {
        let mentioned = tables(&Sandbox::new(Limits::default()), query)
            .map_err(|error| Error::new(error.kind(), format!("the query is not allowed: {error}")))?;
        let views = feature_views(session)?;
        let cache = Cache::open(session)?;
        let connection = connect().map_err(internal)?;
        let named = |schema: &str, name: &str| {
            let spellings = [name.to_owned(), format!("{schema}.{name}"), format!("memory.{schema}.{name}")];
            mentioned.read.iter().any(|read| spellings.iter().any(|known| known.eq_ignore_ascii_case(read)))
        };
        // Built from the blocks first where nobody has done that.
        let held = cache.read(session.now(), |query| {
            let wanted = views.values().filter(|view| named(FEATURES, view.name().as_str()));
            let entities = wanted.map(|view| Ok((view.name().clone(), query.entities(Some(view.name()))?)));
            Ok((query.view_summaries()?, entities.collect::<Result<BTreeMap<_, _>>>()?))
        })?;
        let (summaries, entities) = held;
        cache.manifest.copy_into(&connection, |table| named("main", table))?;
        shut(&connection, &cache.dir.root().join("blocks")).map_err(internal)?;
        for view in views.values() {
            let cached = summaries.iter().any(|summary| summary.fingerprint == view.fingerprint());
            let statement = match entities.get(view.name()) {
                Some(entities) if cached => over_blocks(view, entities, cache.dir.root())?,
                _ => without_rows(view)?,
            };
            connection.execute_batch(&statement).map_err(|error| said(&error))?;
        }
        check_names(&connection, &mentioned.read, &mentioned.own)?;
        Ok(Self { connection })
    }

    /// The rows of the query.
    ///
    /// # Errors
    /// `Invalid` where it fails, in DuckDB's words, or gives two columns one name; Ctrl-C.
    pub fn ask(&self, query: &str, interrupt: &Interrupt) -> Result<RecordBatch, Failure> {
        let handle = self.connection.interrupt_handle();
        // Closed when the query is done, so that nobody waits for the rest of a pause.
        let (done, waiting) = mpsc::channel::<()>();
        let asked = std::thread::scope(|threads| {
            threads.spawn(move || {
                while waiting.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                    if interrupt.is_raised() {
                        handle.interrupt();
                    }
                }
            });
            let asked = select(&self.connection, query);
            drop(done);
            asked
        });
        match asked {
            Err(_) if interrupt.is_raised() => Err(Failure::Interrupted("the query was not answered".to_owned())),
            asked => Ok(asked?),
        }
    }
}

fn connect() -> duckdb::Result<Connection> {
    let config = Config::default()
        .threads(THREADS)?
        .max_memory(MEMORY)?
        .enable_autoload_extension(false)?
        .with("autoinstall_known_extensions", "false")?
        // What does not fit into memory fails: nothing is written to a disk.
        .with("temp_directory", "")?
        .with("max_temp_directory_size", "0B")?;
    Connection::open_in_memory_with_flags(config)
}

/// From here on it reads files of `blocks` only, and cannot be told otherwise.
fn shut(connection: &Connection, blocks: &Path) -> duckdb::Result<()> {
    connection.execute_batch(&format!(
        "CREATE SCHEMA {FEATURES}; SET search_path = 'main,{FEATURES}';
         SET allowed_directories = [{}]; SET enable_external_access = false; SET lock_configuration = true",
        text(&format!("{}/", blocks.display()))
    ))
}

/// The views that were applied, without those that need a variable that is not set; none where nothing was applied.
fn feature_views(session: &Session) -> Result<BTreeMap<ViewName, FeatureView>> {
    let definitions = match definitions::applied(session) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        definitions => definitions?,
    };
    let views = definitions.views().keys().filter_map(|name| definitions.feature_view(name).ok());
    Ok(views.map(|view| (view.name().clone(), view)).collect())
}

fn without_rows(view: &FeatureView) -> Result<String> {
    let mut columns = Vec::new();
    for key in view.join_keys() {
        columns.push(format!("{} {}", quoted(key.name.as_str()), key_type(key.key_type)));
    }
    columns.push(format!("{EVENT_TIME} TIMESTAMP_NS"));
    for feature in view.features() {
        let name = feature.name().as_str();
        columns.push(format!("{} {}", quoted(name), sql_type(name, &in_file(feature.data_type()))?));
    }
    Ok(format!("CREATE TABLE {FEATURES}.{} ({})", quoted(view.name().as_str()), columns.join(", ")))
}

/// A view over the block files, whose directories say the keys.
fn over_blocks(view: &FeatureView, entities: &[EntityKey], root: &Path) -> Result<String> {
    let paths = entities.iter().map(|entity| (entity, path(view, entity))).collect::<Vec<_>>();
    if let Some(why) = obstacle(view, &paths) {
        return Err(Error::invalid(format!("view {} cannot be asked with SQL: {why}", view.name())));
    }
    let keys: Vec<String> = view.join_keys().iter().map(|key| quoted(key.name.as_str())).collect();
    let types: Vec<String> =
        view.join_keys().iter().zip(&keys).map(|(key, name)| format!("{name}: {}", key_type(key.key_type))).collect();
    let time = format!("{EVENT_TIME}::TIMESTAMP_NS AS {EVENT_TIME}");
    let features = view.features().iter().map(|feature| quoted(feature.name().as_str()));
    let columns: Vec<String> = keys.iter().cloned().chain([time]).chain(features).collect();
    // The directory of the version is above those of the keys.
    let version = paths.first().and_then(|(_, path)| path.ancestors().nth(keys.len() + 1)).unwrap_or(Path::new(""));
    let files = root.join(version).join("**/*.parquet");
    Ok(format!(
        "CREATE VIEW {FEATURES}.{} AS SELECT {} FROM read_parquet({}, hive_partitioning = true, hive_types = {{{}}})",
        quoted(view.name().as_str()),
        columns.join(", "),
        text(&files.display().to_string()),
        types.join(", ")
    ))
}

/// Where a block of the entity lies.
fn path(view: &FeatureView, entity: &EntityKey) -> PathBuf {
    let range = view.span().block_of(Timestamp::from_ns(0));
    let (view, fingerprint) = (view.name().clone(), view.fingerprint());
    block_path(&BlockId { view, fingerprint, entity: entity.clone(), range })
}

/// Why DuckDB would read wrong keys or features from these paths, if it would.
fn obstacle(view: &FeatureView, paths: &[(&EntityKey, PathBuf)]) -> Option<String> {
    let mut in_path = BTreeSet::from(["view", "fp"]);
    if let Some(key) = view.join_keys().iter().find(|key| !in_path.insert(key.name.as_str())) {
        return Some(format!("its key {} has the name of another part of its paths", key.name));
    }
    if let Some(feature) = view.features().iter().find(|feature| in_path.contains(feature.name().as_str())) {
        return Some(format!("its feature {} has the name of a part of its paths", feature.name()));
    }
    // `blocks`, view, fingerprint, each key, file: a long value is spread over several directories.
    let directories = view.join_keys().len() + 4;
    let is_missing = |value: &KeyValue| matches!(value, KeyValue::Text(value) if **value == *MISSING);
    let (odd, _) = paths.iter().find(|(entity, path)| {
        path.components().count() != directories || entity.pairs().any(|(_, value)| is_missing(value))
    })?;
    Some(format!("DuckDB does not read the keys of {odd} from its path"))
}

fn check_names(connection: &Connection, read: &BTreeSet<String>, own: &BTreeSet<String>) -> Result<()> {
    let list = || -> duckdb::Result<Vec<(String, String)>> {
        let sql = "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal UNION ALL \
                   SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal";
        let mut statement = connection.prepare(sql)?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let known = list().map_err(internal)?;
    let own = |name: &str| own.iter().any(|own| own.eq_ignore_ascii_case(name));
    let exists = |name: &str| {
        known.iter().any(|(schema, table)| {
            [table.clone(), format!("{schema}.{table}"), format!("memory.{schema}.{table}")]
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name))
        })
    };
    // Nothing else may stand there: DuckDB takes a name that it does not know for a file.
    match read.iter().find(|name| !name.is_empty() && !own(name) && !exists(name)) {
        None => Ok(()),
        Some(unknown) => {
            let names = existing(unknown, known.iter().map(|(_, table)| table.as_str()));
            Err(Error::invalid(format!("there is no table {unknown}: there is {names}; `SHOW TABLES` lists them")))
        }
    }
}

fn select(connection: &Connection, query: &str) -> Result<RecordBatch> {
    let failed = |error| said(&error);
    let mut statement = connection.prepare(query).map_err(failed)?;
    let batches: Vec<RecordBatch> = statement.query_arrow([]).map_err(failed)?.collect();
    let schema = statement.schema();
    let mut names = BTreeSet::new();
    if let Some(twice) = schema.fields().iter().find(|field| !names.insert(field.name())) {
        let name = twice.name();
        return Err(Error::invalid(format!("two columns are called {name}: give one of them another name with AS")));
    }
    concat_batches(&schema, &batches).map_err(internal)
}

fn key_type(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Integer => "BIGINT",
        KeyType::Text => "VARCHAR",
    }
}

/// The type of a feature as DuckDB reads it from a file.
fn in_file(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(unit, _) => DataType::Timestamp(*unit, None),
        other => other.clone(),
    }
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// What DuckDB says, without the query itself.
fn said(error: &duckdb::Error) -> Error {
    let text = error.to_string();
    Error::invalid(text.split("\n\nLINE ").next().unwrap_or(&text).to_owned())
}

fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::with_source(ErrorKind::Internal, "the DuckDB for SQL", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_what_gets_past_the_check_reads_no_other_file_and_changes_no_setting() {
        let dir = tempfile::tempdir().unwrap();
        let blocks = dir.path().join("blocks");
        std::fs::create_dir(&blocks).unwrap();
        std::fs::write(dir.path().join("secret.csv"), "a\n1\n").unwrap();
        std::fs::write(blocks.join("block.csv"), "a\n1\n").unwrap();
        let connection = connect().unwrap();
        shut(&connection, &blocks).unwrap();
        let dir = dir.path().display();
        assert!(connection.execute_batch(&format!("FROM read_csv('{dir}/blocks/block.csv')")).is_ok());
        for hostile in [
            format!("FROM read_csv('{dir}/secret.csv')"),
            format!("FROM '{dir}/secret.csv'"),
            format!("FROM read_csv('{dir}/blocks/../secret.csv')"),
            "FROM read_text('/etc/passwd')".to_owned(),
            format!("COPY (SELECT 1) TO '{dir}/written.csv'"),
            format!("ATTACH '{dir}/new.duckdb'"),
            "INSTALL httpfs".to_owned(),
            "LOAD httpfs".to_owned(),
            "SET enable_external_access = true".to_owned(),
            "SET lock_configuration = false".to_owned(),
            "SET allowed_directories = ['/']".to_owned(),
            "SET memory_limit = '1TB'".to_owned(),
        ] {
            let error = connection.execute_batch(&hostile).unwrap_err().to_string();
            assert!(error.contains("Permission Error") || error.contains("has been locked"), "{hostile}: {error}");
        }
    }
}
