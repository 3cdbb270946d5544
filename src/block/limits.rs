//! How much a block may hold.
//!
//! The same limits stand on both ways: what cannot be encoded cannot be decoded
//! either, so a forged file with a right checksum makes a reader allocate no
//! more than an honest one could.

use super::BlockError;

/// Rows of a row group.
pub(super) const GROUP_ROWS: usize = 1 << 20;
/// Rows of a page: half a megabyte of 8-byte values, which decodes in cache.
pub(super) const PAGE_ROWS: usize = 1 << 16;
/// No data page of that many rows is shorter: its header alone takes them.
const LEAST_PAGE: usize = 24;
/// Bytes of one page before compression.
pub(super) const PAGE_BYTES: usize = 256 << 20;
/// Bytes of a whole block once decoded.
pub(super) const BLOCK_BYTES: usize = 1 << 30;

/// Whether a file of so many bytes has room for the pages of so many rows. A run of equal values takes next to
/// nothing, so this is all that the size of a file says, and keeps a few bytes from asking for gigabytes.
pub(super) fn could_hold(file: usize, rows: usize) -> bool {
    rows.div_ceil(PAGE_ROWS) <= file / LEAST_PAGE
}

/// What is left of [`BLOCK_BYTES`].
pub(super) struct Budget(usize);

impl Budget {
    /// All of it.
    pub(super) fn new() -> Self {
        Self(BLOCK_BYTES)
    }

    /// Takes `bytes`, or says that the block is too large.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), BlockError> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(|| BlockError::TooLarge {
            what: "size of the decoded block in bytes".to_owned(),
            found: BLOCK_BYTES.saturating_sub(self.0).saturating_add(bytes),
            limit: BLOCK_BYTES,
        })?;
        Ok(())
    }
}
