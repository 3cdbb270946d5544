//! The index of a cache directory: journals that processes write, and the DuckDB file they are folded into.
//!
//! The block files are the truth. What is kept here can be made again from them, except for history:
//! requests, misses, invalidations, and when views were seen.
//!
//! | file | part |
//! |---|---|
//! | `record` | what a process tells |
//! | `journal` | the file in which it tells it |
//! | `handle` | [`Manifest`]: lock, fold, read, rebuild |
//! | `lock`, `database`, `failure`, `schema` | the DuckDB file, its tables, and what its errors mean |
//! | `copy` | its tables in memory, for SQL of others |
//! | `fold`, `stage`, `sheet`, `merge`, `rebuild` | from records to rows |
//! | `query` | questions |

#[cfg(feature = "cli")]
mod copy;
mod database;
mod failure;
mod fold;
mod handle;
mod journal;
mod lock;
mod merge;
mod query;
mod rebuild;
mod record;
mod schema;
mod sheet;
mod stage;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use fold::FoldReport;
pub use handle::Manifest;
pub use journal::Journal;
pub use query::{
    BlockFilter, Coverage, FirstSeen, Hole, MinuteCount, MinuteCounter, MinuteMisses, MinuteRemovals, OutcomeCount,
    Page, Query, Removals, TopMiss, Totals, ViewSummary, ViewVersion, Vitals,
};
pub use rebuild::Rebuilt;
pub use record::{BlockRef, BlockRow, Invalidation, Record, RemovalReason};
