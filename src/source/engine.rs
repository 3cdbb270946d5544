//! The DuckDB that reads source files.

use std::ops::Deref;
use std::sync::{Mutex, OnceLock, PoisonError};

use arrow::array::RecordBatch;
use duckdb::{Config, Connection};

use crate::error::{Error, ErrorKind, Result};

const THREADS: usize = 4;
const MEMORY: &str = "1GB";
/// Connections kept for the next reader.
const IDLE: usize = 8;

/// One database in memory for the whole process. It holds no table; threads and memory are what is shared.
struct Engine {
    database: Mutex<Connection>,
    idle: Mutex<Vec<Connection>>,
}

static ENGINE: OnceLock<Result<Engine>> = OnceLock::new();

/// A connection for one reader at a time, which goes back when it is dropped.
pub(super) struct Lease {
    engine: &'static Engine,
    connection: Option<Connection>,
}

/// A connection of the process's engine.
pub(super) fn lease() -> Result<Lease> {
    let engine = ENGINE.get_or_init(open).as_ref().map_err(Clone::clone)?;
    let idle = engine.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let connection = match idle {
        Some(connection) => connection,
        None => engine.database.lock().unwrap_or_else(PoisonError::into_inner).try_clone().map_err(unavailable)?,
    };
    Ok(Lease { engine, connection: Some(connection) })
}

fn open() -> Result<Engine> {
    let database = config().and_then(Connection::open_in_memory_with_flags).map_err(unavailable)?;
    Ok(Engine { database: Mutex::new(database), idle: Mutex::default() })
}

/// Modest, because this runs beside a trading service; deaf to the network and to extensions; nothing is written to
/// disk; and nothing of a file is kept, because DuckDB would trust its modification time.
fn config() -> duckdb::Result<Config> {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS));
    Config::default()
        .threads(i64::try_from(threads).unwrap_or(1))?
        .max_memory(MEMORY)?
        .with("temp_directory", "")?
        .with("enable_external_file_cache", "false")?
        .with("preserve_insertion_order", "true")?
        .with("autoinstall_known_extensions", "false")?
        .enable_autoload_extension(false)
}

fn unavailable(error: duckdb::Error) -> Error {
    Error::with_source(ErrorKind::Unavailable, "the engine that reads source files cannot be opened", error)
}

impl Lease {
    /// Gives every batch of a query's result to `take`, until that fails: the inner result is its own.
    pub(super) fn query<E>(
        &self,
        sql: &str,
        mut take: impl FnMut(RecordBatch) -> Result<(), E>,
    ) -> duckdb::Result<Result<(), E>> {
        let mut statement = self.prepare(sql)?;
        for batch in statement.stream_arrow([])? {
            if let Err(error) = take(batch?) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }
}

impl Deref for Lease {
    type Target = Connection;

    #[expect(clippy::expect_used, reason = "taken out in `drop` alone")]
    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("a lease holds its connection until it is dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut idle = self.engine.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.extend(self.connection.take());
        }
    }
}
