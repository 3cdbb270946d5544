//! Append-only files, one per open store, in which processes tell what they did.
//!
//! The owner of a journal holds an exclusive `flock` on it for as long as it lives, so whoever can
//! take that lock knows that nothing will be added any more.

mod directory;
mod frame;
mod reader;
mod writer;

pub(super) use directory::{Claim, Listed, list};
pub(super) use reader::Reader;
#[cfg(test)]
pub(super) use reader::Scanned;
pub use writer::Journal;

/// Where the journals are, below the cache directory.
pub(super) const DIRECTORY: &str = "journal";
