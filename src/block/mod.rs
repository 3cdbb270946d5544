//! The block codec: one record batch, one sealed Parquet file.
//!
//! A block is plain Parquet that any engine reads, with a checksum over every
//! byte hidden where no reader looks (see `seal`). It decodes to the same bits
//! that were encoded, or to an error, never to anything else. The format is set
//! down in `FORMAT.md`.

mod column;
mod decode;
mod delta;
mod description;
mod encode;
mod encoding;
mod error;
mod footer;
mod hybrid;
mod layout;
mod limits;
mod pages;
mod seal;
mod stats;
mod values;
mod varint;
mod word;
mod zstandard;

#[cfg(test)]
mod tests;

pub use decode::{Decoded, Described, decode, describe};
pub use description::BlockMeta;
pub use encode::encode;
pub use error::{BlockError, EncodeError};
pub use layout::supports;
pub use stats::{ColumnStats, column_stats};

/// Key-value metadata of a block, in the order in which it is written.
pub type Description = Vec<(String, String)>;
