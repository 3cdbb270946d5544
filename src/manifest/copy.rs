//! The tables of the manifest in a database in memory, for questions that nobody here has thought of.

use duckdb::Connection;

use super::failure::classify;
use super::handle::Manifest;
use super::schema;
use crate::error::Result;

const TABLES: &str = "SELECT table_name FROM duckdb_tables() WHERE NOT internal";
const VIEWS: &str = "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal";

impl Manifest {
    /// Makes the tables and views of the manifest in `memory`, with the rows of those that are wanted.
    ///
    /// The manifest is open, and folds have to wait, only while the rows are copied. Tables that are not wanted are
    /// there without rows: `column_stats` has one for each column of each block, of which each takes some 300 bytes, so
    /// that a million blocks of seven features would not fit into 2 GB.
    ///
    /// # Errors
    /// Those of [`fold`](Self::fold).
    pub(crate) fn copy_into(&self, memory: &Connection, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let failed = |error| classify(&self.path(), "copying its tables", error);
        memory.execute_batch(schema::TABLES).map_err(failed)?;
        let wanted = tables_with(memory, wanted).map_err(failed)?;
        self.while_closed(|path| {
            let path = path.display().to_string().replace('\'', "''");
            let attach = format!("ATTACH '{path}' AS closed_soon (READ_ONLY)");
            memory.execute_batch(&attach).map_err(failed)?;
            let copied = wanted.iter().try_for_each(|table| {
                memory.execute_batch(&format!("INSERT INTO {table} BY NAME FROM closed_soon.{table}"))
            });
            memory.execute_batch("DETACH closed_soon").map_err(failed)?;
            copied.map_err(failed)
        })
    }
}

/// Those of the tables that are wanted, and those that wanted views read.
fn tables_with(memory: &Connection, wanted: impl Fn(&str) -> bool) -> duckdb::Result<Vec<String>> {
    let mut statement = memory.prepare(VIEWS)?;
    let views: Vec<(String, String)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<duckdb::Result<_>>()?;
    let of_view = |table: &str| views.iter().any(|(view, sql)| wanted(view) && sql.contains(table));
    let mut statement = memory.prepare(TABLES)?;
    let tables: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<duckdb::Result<_>>()?;
    Ok(tables.into_iter().filter(|table| wanted(table) || of_view(table)).collect())
}
