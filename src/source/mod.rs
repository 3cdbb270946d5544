//! Rows of one entity from the files of a source.
//!
//! Reading asks an in-memory DuckDB of its own, file by file, for the rows of one entity and range; what a definition
//! says of times, types, duplicates and impossible values is done here.
//!
//! | module | |
//! |---|---|
//! | `reader` | the rows of a range, the entities, the newest row |
//! | `rows` | what a reader returns |
//! | `file` | a file, and whether it stayed the same |

mod file;
mod reader;
mod rows;

pub use file::SourceFile;
pub use reader::Reader;
pub use rows::Rows;
