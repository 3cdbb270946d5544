//! The seal: a checksum over every byte of a block, inside plain Parquet.
//!
//! ```text
//! 0..4     PAR1               compared
//! 4..20    xxh3-128           big endian, of everything from 20 to the end
//! 20..28   LARDER\0, version  hashed
//! 28..     pages, footer      hashed
//! ```
//!
//! Parquet readers go by the offsets in the footer and never look at the bytes
//! between the leading magic and the first page, so the file stays readable by
//! all of them. A checksum in the footer's key-value metadata was rejected: it
//! could not cover the footer, nor the padding and the magic around it.

use twox_hash::XxHash3_128;

use super::BlockError;
use crate::planted::{self, Bug};

/// Bytes before the first page.
pub(super) const HEADER: usize = MAGIC.len() + CHECKSUM + TAG.len() + 1;
/// Newest format this code reads, and the one it writes.
pub(super) const FORMAT_VERSION: u8 = 1;
/// What Parquet files begin and end with.
pub(super) const MAGIC: [u8; 4] = *b"PAR1";

const TAG: [u8; 7] = *b"LARDER\0";
const CHECKSUM: usize = 16;

/// Starts a file: magic, room for the checksum, tag and version.
pub(super) fn open() -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let parts = MAGIC.into_iter().chain([0; CHECKSUM]).chain(TAG).chain([FORMAT_VERSION]);
    for (byte, part) in header.iter_mut().zip(parts) {
        *byte = part;
    }
    header
}

/// Writes the checksum into a finished file that began with [`open`].
pub(super) fn close(file: &mut [u8]) {
    if let Some((head, sealed)) = file.split_at_mut_checked(MAGIC.len() + CHECKSUM) {
        let checksum = XxHash3_128::oneshot(sealed).to_be_bytes();
        for (byte, part) in head.iter_mut().skip(MAGIC.len()).zip(checksum) {
            *byte = part;
        }
    }
}

/// Holds every byte of `file` against the seal.
///
/// The version is looked at only once the checksum holds, or a flipped bit in
/// it would pass for a newer format and spare the file from quarantine.
pub(super) fn verify(file: &[u8]) -> Result<(), BlockError> {
    let rest = file.strip_prefix(&MAGIC).ok_or_else(|| BlockError::corrupt("it does not begin as Parquet"))?;
    let (checksum, sealed) =
        rest.split_first_chunk::<CHECKSUM>().ok_or_else(|| BlockError::corrupt("it ends inside the checksum"))?;
    if XxHash3_128::oneshot(sealed) != u128::from_be_bytes(*checksum) && !planted::is(Bug::ChecksumSkipped) {
        return Err(BlockError::corrupt("its checksum does not match its bytes"));
    }
    match sealed.strip_prefix(&TAG).and_then(<[u8]>::split_first) {
        Some((&FORMAT_VERSION, _)) => Ok(()),
        Some((&found, _)) if found > FORMAT_VERSION => {
            Err(BlockError::NewerFormat { found, supported: FORMAT_VERSION })
        }
        _ => Err(BlockError::corrupt("it carries no known format version")),
    }
}
