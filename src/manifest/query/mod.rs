//! Questions to the manifest, while it is open.

mod blocks;
mod coverage;
mod history;
pub(super) mod sql;
mod summary;

use duckdb::{Params, Row};

use super::database::Database;
use super::fold::FoldReport;
use crate::error::Result;

pub use blocks::{BlockFilter, Page};
pub use coverage::{Coverage, Hole};
pub use history::{
    FirstSeen, MinuteCount, MinuteCounter, MinuteMisses, MinuteRemovals, OutcomeCount, Removals, TopMiss, ViewVersion,
};
pub use summary::{Totals, ViewSummary, Vitals};

/// The opened manifest, with everything folded that the journals held a moment ago.
#[derive(Debug)]
pub struct Query<'a> {
    database: &'a Database<'a>,
    report: &'a FoldReport,
}

impl<'a> Query<'a> {
    pub(super) fn new(database: &'a Database<'a>, report: &'a FoldReport) -> Self {
        Self { database, report }
    }

    /// What the fold before these questions found.
    pub fn report(&self) -> &FoldReport {
        self.report
    }

    /// The rows of a statement. A row that is not understood is left out: a person may have edited
    /// it, and the others are no worse for that.
    fn rows<T, P: Params>(
        &self,
        doing: &str,
        sql: &str,
        params: P,
        mut row: impl FnMut(&Row<'_>) -> duckdb::Result<T>,
    ) -> Result<Vec<T>> {
        let read = || -> duckdb::Result<Vec<T>> {
            let mut statement = self.database.connection().prepare(sql)?;
            let mut rows = statement.query(params)?;
            let mut found = Vec::new();
            while let Some(next) = rows.next()? {
                match row(next) {
                    Ok(value) => found.push(value),
                    Err(duckdb::Error::FromSqlConversionFailure(column, _, error)) => {
                        tracing::warn!(target: "larder::manifest", doing, column, %error, "left out a row of the manifest that is not understood");
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(found)
        };
        read().map_err(|error| self.database.failed(doing, error))
    }
}
