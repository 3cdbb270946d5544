//! `larder sql`: questions in SQL to the manifest and to what is cached.

mod engine;

use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use self::engine::Engine;
use super::failure::Failure;
use super::output::{self, Format, Rows};
use super::page::Page;
use super::quantity;
use super::report::Report;
use super::session::Session;
use crate::error::{Error, ErrorKind, Result};

const EXAMPLES: &str = "\
Examples:
  larder sql \"SELECT view, count(*) AS blocks, sum(bytes) FROM manifest GROUP BY view\"
  larder sql \"SELECT symbol, max(event_timestamp), avg(rsi_9) FROM technical_features GROUP BY symbol\"
  larder sql --output day.parquet < day.sql
  larder sql \"SHOW TABLES\"

The tables are those of the manifest and, by its name, each view that was applied: the rows of it that are cached now,
with the entity's keys as columns. A view that has the name of a table is features.NAME.
It is one SELECT of DuckDB's SQL, which reads only. Blocks are read without checking their checksums: that is for
`larder get` and `larder verify`.";

/// At most so many rows are shown.
const SHOWN: usize = 40;

/// Ask the manifest and the cached features in SQL
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// The query [default: what stdin says]
    #[arg(value_name = "SELECT")]
    query: Option<String>,
    /// Write the rows to this file: .csv, .parquet or .arrow
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct SqlFacts {
    num_rows: usize,
    took_seconds: f64,
    output: Option<PathBuf>,
    /// All rows, where they are not written to a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<Rows>,
}

/// Asks.
///
/// # Errors
/// `NotFound` where there is no cache; `Invalid` for a query that is none or fails, in DuckDB's words; those of the
/// manifest and of the file.
pub fn run(options: &Options, session: &Session) -> Result<SqlFacts, Failure> {
    let format = options.output.as_deref().map(Format::of).transpose()?;
    let query = options.query.clone().map_or_else(from_stdin, Ok)?;
    let engine = Engine::open(&query, session)?;
    let began = Instant::now();
    let batch = engine.ask(&query, &session.interrupt)?;
    let took = began.elapsed();
    if let (Some(format), Some(path)) = (format, &options.output) {
        format.write(path, &batch)?;
    }
    Ok(SqlFacts {
        num_rows: batch.num_rows(),
        took_seconds: took.as_secs_f64(),
        output: options.output.clone(),
        rows: options.output.is_none().then_some(Rows(batch)),
    })
}

fn from_stdin() -> Result<String> {
    let mut stdin = io::stdin();
    let mut query = String::new();
    if !stdin.is_terminal() {
        let read = stdin.read_to_string(&mut query);
        read.map_err(|error| Error::with_source(ErrorKind::Invalid, "the query cannot be read from stdin", error))?;
    }
    if query.trim().is_empty() {
        return Err(Error::invalid("there is no query: give one, such as `larder sql \"SHOW TABLES\"`"));
    }
    Ok(query)
}

impl Report for SqlFacts {
    fn write(&self, page: &mut Page) {
        if let Some(rows) = self.rows.as_ref().filter(|rows| rows.0.num_rows() > 0) {
            output::table(page, &rows.0, SHOWN);
            page.gap();
        }
        let rows = quantity::counted(self.num_rows as u64, "row", "rows");
        page.line(&format!("{rows}, {}.", quantity::duration(Duration::from_secs_f64(self.took_seconds))));
        if let Some(output) = &self.output {
            page.field("File", &output.display().to_string());
        }
    }
}
