//! A DuckDB that reads no file, loads nothing and cannot be told to.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, SchemaRef};
use duckdb::{Config, Connection};
use serde_json::Value;

use super::column::{quoted, sql_type};
use super::select::{ROWS, Select};
use crate::error::{Error, ErrorKind, Result};
use crate::model::EVENT_TIME;

/// Connections that are kept for the next query.
const KEPT: usize = 16;

/// What a query may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory of all queries together. Default: 1 GiB.
    pub memory: u64,
    /// Threads of all queries together. Default: 2.
    pub threads: u16,
    /// How long one query may run: that of a view's rows, or that of its features, for one block. Default: 30 seconds.
    pub query_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 1 << 30, threads: 2, query_timeout: Duration::from_secs(30) }
    }
}

/// A DuckDB in memory for the SQL of definitions. It is shared by all threads; each query has a connection of its own
/// and sees only the rows that it was given.
///
/// It starts with the first SQL, for which it takes some ten milliseconds: most definitions have none.
pub struct Sandbox {
    limits: Limits,
    idle: Mutex<Vec<Connection>>,
    started: OnceLock<Started>,
    /// Held by whoever starts it.
    starting: Mutex<()>,
}

/// A DuckDB that runs.
struct Started {
    origin: Mutex<Connection>,
    functions: BTreeMap<String, String>,
}

impl Sandbox {
    /// One that may take so much.
    pub fn new(limits: Limits) -> Self {
        Self { limits, idle: Mutex::default(), started: OnceLock::new(), starting: Mutex::default() }
    }

    /// The DuckDB that runs.
    ///
    /// # Errors
    /// `Unavailable` where it does not start. Whoever asks next tries again.
    fn started(&self) -> Result<&Started> {
        if let Some(started) = self.started.get() {
            return Ok(started);
        }
        let _starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        match self.started.get() {
            Some(started) => Ok(started),
            None => {
                let started = Started::start(self.limits)?;
                Ok(self.started.get_or_init(|| started))
            }
        }
    }

    /// The values of expressions over `rows`, which have a column of event times: one array each, as long as `rows`
    /// and in their order.
    ///
    /// The window `w` is all rows up to this one in the order of their event times: `lag(close) OVER w`.
    ///
    /// # Errors
    /// `Compute`, naming the expression, where it does not fit the rows (a column that does not exist, a value that
    /// cannot be cast) or takes more than the limits.
    pub fn expressions(&self, rows: &RecordBatch, wanted: &[(&str, &Select, &DataType)]) -> Result<Vec<ArrayRef>> {
        let mut list = Vec::with_capacity(wanted.len());
        for (name, select, data_type) in wanted {
            let sql_type = sql_type(name, &without_zone(data_type))?;
            list.push(format!("CAST((\n{}\n) AS {sql_type}) AS {}", select.text(), quoted(name)));
        }
        let sql = |list: &[String]| {
            format!(
                "SELECT {} FROM {ROWS} WINDOW w AS (ORDER BY {EVENT_TIME} ROWS UNBOUNDED PRECEDING) ORDER BY {EVENT_TIME}",
                list.join(", ")
            )
        };
        self.with_rows(ROWS, rows, |connection| {
            let found = select(connection, &sql(&list)).map_err(|error| {
                if is_too_slow(&error) {
                    // Not asked which of them it is: each alone could take as long again.
                    let names: Vec<_> = wanted.iter().map(|(name, ..)| *name).collect();
                    let features = if names.len() == 1 { "feature" } else { "one of the features" };
                    return self.too_slow(&format!("{features} {}: its SQL", names.join(", ")));
                }
                // Which of them it was: the first that fails alone.
                let culprit = list.iter().zip(wanted).find_map(|(one, (name, ..))| {
                    select(connection, &sql(std::slice::from_ref(one))).err().map(|error| (*name, error))
                });
                match culprit {
                    Some((name, error)) => failed(&format!("feature {name}: its SQL fails"), &error),
                    None => failed("the SQL of its features fails", &error),
                }
            })?;
            let found = joined(found)?;
            if found.num_rows() != rows.num_rows() {
                return Err(Error::internal(format!("{} rows became {}", rows.num_rows(), found.num_rows())));
            }
            found.columns().iter().zip(wanted).map(|(column, (.., to))| cast(column, to).map_err(internal)).collect()
        })
    }

    /// The result of a query over `rows`, which it knows as `table`.
    ///
    /// # Errors
    /// `Compute` where it does not fit the rows or takes more than the limits.
    pub fn query(&self, table: &str, rows: &RecordBatch, query: &Select) -> Result<RecordBatch> {
        self.with_rows(table, rows, |connection| {
            joined(select(connection, query.text()).map_err(|error| match is_too_slow(&error) {
                true => self.too_slow("its SQL"),
                false => failed("its SQL fails", &error),
            })?)
        })
    }

    /// What DuckDB's parser makes of a text.
    pub(super) fn parse(&self, sql: &str) -> Result<Value> {
        let connection = self.connection()?;
        let parsed: String =
            connection.query_row("SELECT json_serialize_sql(?::VARCHAR)", [sql], |row| row.get(0)).map_err(internal)?;
        self.keep(connection);
        serde_json::from_str(&parsed).map_err(internal)
    }

    /// Every function and whether it is always the same.
    pub(super) fn functions(&self) -> Result<&BTreeMap<String, String>> {
        Ok(&self.started()?.functions)
    }

    fn with_rows<T>(&self, table: &str, rows: &RecordBatch, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let mut columns = Vec::with_capacity(rows.num_columns());
        let mut arrays = Vec::with_capacity(rows.num_columns());
        for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
            // Instants go in as times without a zone, which are UTC: DuckDB's own type for instants has microseconds.
            let to = without_zone(field.data_type());
            columns.push(format!("{} {}", quoted(field.name()), sql_type(field.name(), &to)?));
            arrays.push((field.name().clone(), cast(column, &to).map_err(internal)?));
        }
        let batch =
            RecordBatch::try_from_iter_with_nullable(arrays.into_iter().map(|(name, array)| (name, array, true)))
                .map_err(internal)?;
        let connection = self.connection()?;
        // A table of this connection alone.
        let create = format!("CREATE OR REPLACE TEMP TABLE {} ({})", quoted(table), columns.join(", "));
        connection.execute_batch(&create).map_err(internal)?;
        let mut appender = connection.appender_to_catalog_and_db(table, "temp", "main").map_err(internal)?;
        appender.append_record_batch(batch).map_err(internal)?;
        // An error in its drop would be lost.
        appender.flush().map_err(internal)?;
        drop(appender);
        let done = work(&connection);
        if connection.execute_batch(&format!("DROP TABLE {}", quoted(table))).is_ok() {
            self.keep(connection);
        }
        done
    }

    fn too_slow(&self, what: &str) -> Error {
        let limit = humantime::format_duration(self.limits.query_timeout);
        let advice = "let it do less, give the view a shorter span, or raise compute.query_timeout";
        Error::new(ErrorKind::Compute, format!("{what} was not done within {limit}: {advice}"))
    }

    fn connection(&self) -> Result<Connection> {
        if let Some(connection) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(connection);
        }
        self.started()?.origin.lock().unwrap_or_else(PoisonError::into_inner).try_clone().map_err(internal)
    }

    #[cfg(test)]
    pub(super) fn has_started(&self) -> bool {
        self.started.get().is_some()
    }

    #[cfg(test)]
    pub(super) fn connection_for_tests(&self) -> Connection {
        self.connection().unwrap()
    }

    #[cfg(test)]
    pub(super) fn idle_for_tests(&self) -> usize {
        self.idle.lock().unwrap().len()
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(connection);
        }
    }
}

impl Started {
    fn start(limits: Limits) -> Result<Self> {
        let origin = connect(limits).map_err(|error| {
            Error::with_source(ErrorKind::Unavailable, "cannot start DuckDB for the SQL of definitions", error)
        })?;
        let functions = functions(&origin).map_err(internal)?;
        Ok(Self { origin: Mutex::new(origin), functions })
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}

fn connect(limits: Limits) -> duckdb::Result<Connection> {
    let config = Config::default()
        .threads(limits.threads.max(1).into())?
        .max_memory(&format!("{}B", limits.memory))?
        .enable_autoload_extension(false)?
        .with("autoinstall_known_extensions", "false")?
        // What does not fit into memory fails: nothing is written to a disk.
        .with("temp_directory", "")?
        .with("max_temp_directory_size", "0B")?
        // Of each query, in milliseconds; 0 would be no limit.
        .with(
            "max_execution_time",
            i64::try_from(limits.query_timeout.as_millis()).unwrap_or(i64::MAX).max(1).to_string(),
        )?;
    let connection = Connection::open_in_memory_with_flags(config)?;
    // The last one makes the others stay: not even they themselves can be set any more.
    connection.execute_batch("SET enable_external_access = false; SET lock_configuration = true")?;
    Ok(connection)
}

fn functions(connection: &Connection) -> duckdb::Result<BTreeMap<String, String>> {
    // Of several by one name, the least reliable.
    let sql = "SELECT function_name, max(coalesce(stability, 'CONSISTENT')) FROM duckdb_functions() \
               WHERE function_type IN ('scalar', 'aggregate') GROUP BY ALL";
    let mut statement = connection.prepare(sql)?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The batches of a result, which may be none, and their columns.
fn select(connection: &Connection, sql: &str) -> duckdb::Result<(SchemaRef, Vec<RecordBatch>)> {
    let mut statement = connection.prepare(sql)?;
    let batches: Vec<RecordBatch> = statement.query_arrow([])?.collect();
    Ok((statement.schema(), batches))
}

fn joined((schema, batches): (SchemaRef, Vec<RecordBatch>)) -> Result<RecordBatch> {
    concat_batches(&schema, &batches).map_err(internal)
}

fn without_zone(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(unit, _) => DataType::Timestamp(*unit, None),
        DataType::Dictionary(_, values) => without_zone(values),
        other => other.clone(),
    }
}

/// Whether a query took longer than `max_execution_time`.
fn is_too_slow(error: &duckdb::Error) -> bool {
    matches!(error, duckdb::Error::DuckDBFailure(_, Some(text)) if text.starts_with("INTERRUPT Error"))
}

fn failed(what: &str, error: &duckdb::Error) -> Error {
    // The rest of DuckDB's message shows the query as we wrote it, which is not how anybody else knows it.
    let text = error.to_string();
    let text = text.split("\n\nLINE ").next().unwrap_or(&text).replace('\n', " ");
    Error::new(ErrorKind::Compute, format!("{what}: {text}"))
}

fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::with_source(ErrorKind::Internal, "the DuckDB for the SQL of definitions", error)
}
