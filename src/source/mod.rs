//! Rows of one entity from the files or the database of a source.
//!
//! Reading asks an in-memory DuckDB of its own, file by file, for the rows of one entity and range; what a definition
//! says of times, types, duplicates and impossible values is done here.
//!
//! | module | |
//! |---|---|
//! | `reader` | the rows of a range, the entities, the newest row |
//! | `rows`, `versions` | what a reader returns; that before it is decided which rows count |
//! | `walk`, `pattern`, `partition` | which files hold them: globs, and directories named `key=value` |
//! | `file`, `attempt` | a file; reading again what changed meanwhile |
//! | `sheet`, `found` | a file as a table, and the types in it |
//! | `scan` | the rows of one file |
//! | `engine`, `literal` | DuckDB, and values in its SQL |
//! | `moment`, `cast` | what times mean; casts that change no value |
//! | `postgres` | the same from a PostgreSQL database (feature `postgres`) |
//! | `column` | the columns that can be asked for |
//! | `pushed` | rows that programs push |
//! | `intake` | what is taken of rows as they come |
//! | `gather`, `settle`, `policy` | rows put together; which count, which values are possible, what a null becomes |

mod attempt;
mod cast;
mod column;
mod engine;
mod file;
mod found;
mod gather;
mod intake;
mod literal;
mod moment;
mod partition;
mod pattern;
mod policy;
#[cfg(feature = "postgres")]
mod postgres;
mod pushed;
mod reader;
mod rows;
mod scan;
mod settle;
mod sheet;
#[cfg(test)]
mod tests;
mod versions;
mod walk;

pub use file::SourceFile;
#[cfg(feature = "cli")]
pub(crate) use pattern::{is_match, is_pattern};
pub use pushed::{NewRows, Pushed};
pub use reader::Reader;
pub use rows::Rows;
pub use versions::Versions;
