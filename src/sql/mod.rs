//! SQL of definitions, run by DuckDB over rows in memory and nothing else.
//!
//! | module | |
//! |---|---|
//! | `select` | what a definition's SQL may be: one `SELECT`, whose values depend on its rows alone |
//! | `sandbox` | a DuckDB that reads no file, loads nothing and cannot be told to |
//! | `column` | Arrow's types in DuckDB, and names as SQL |

mod column;
mod sandbox;
mod select;
#[cfg(test)]
mod tests;

pub(crate) use column::{quoted, sql_type};
pub use sandbox::{Limits, Sandbox};
pub use select::Select;
#[cfg(feature = "cli")]
pub(crate) use select::tables;
