//! How records lie in a journal: pure, no I/O.
//!
//! ```text
//! magic  ff 4c 4a 31   4 bytes
//! length               4 bytes, little-endian: of the payload
//! checksum             8 bytes, little-endian: xxh3-64 of length and payload
//! payload              one record per line, as JSON
//! ```
//!
//! One append is one frame, so what one call wrote is read whole or not at all. `ff` occurs in no
//! UTF-8 text, so a reader that lost its place finds the next frame by looking for it.

use std::hash::Hasher;

use twox_hash::XxHash3_64;

use crate::error::{Error, Result};
use crate::manifest::record::Record;
use crate::planted::{self, Bug};

const MAGIC: [u8; 4] = *b"\xffLJ1";
/// Bytes before the payload.
pub(super) const HEADER: usize = 16;
/// The longest payload. A longer length is damage, and a reader never waits for more than this.
const LONGEST: usize = 64 << 20;

/// What stands at one place of a journal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A whole frame of this many bytes with its payload.
    Frame {
        /// The records.
        payload: &'a [u8],
        /// Header and payload together.
        length: usize,
    },
    /// What may become a frame when there are this many bytes.
    NeedsMore(usize),
    /// No frame.
    Damage,
}

/// Frames `records` behind what `buffer` holds.
pub(super) fn encode(records: &[Record], buffer: &mut Vec<u8>) -> Result<()> {
    let begin = buffer.len();
    buffer.extend_from_slice(&[0; HEADER]);
    for record in records {
        serde_json::to_writer(&mut *buffer, record)
            .map_err(|error| Error::internal(format!("a journal record has no JSON: {error}")))?;
        buffer.push(b'\n');
    }
    let too_long = || Error::invalid("one append to the journal takes at most 64 MiB: append fewer records at once");
    let (header, payload) = buffer.get_mut(begin..).and_then(|frame| frame.split_at_mut_checked(HEADER)).unzip();
    let (header, payload) = (header.unwrap_or_default(), payload.unwrap_or_default());
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= LONGEST).ok_or_else(too_long)?;
    let fields = [&MAGIC[..], &length.to_le_bytes(), &checksum(length, payload).to_le_bytes()].concat();
    header.copy_from_slice(&fields);
    Ok(())
}

/// What `bytes` begins with.
pub(super) fn decode(bytes: &[u8]) -> Found<'_> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        let begun = bytes.get(..MAGIC.len().min(bytes.len())).is_some_and(|start| MAGIC.starts_with(start));
        return if begun { Found::NeedsMore(HEADER) } else { Found::Damage };
    };
    let [m0, m1, m2, m3, l0, l1, l2, l3, sum @ ..] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    let Some(long) = usize::try_from(length).ok().filter(|&long| long <= LONGEST && [m0, m1, m2, m3] == MAGIC) else {
        return Found::Damage;
    };
    match rest.get(..long) {
        None => Found::NeedsMore(HEADER + long),
        Some(payload) if checksum(length, payload) == u64::from_le_bytes(sum) || planted::is(Bug::JournalUnchecked) => {
            Found::Frame { payload, length: HEADER + long }
        }
        Some(_) => Found::Damage,
    }
}

/// Where, after the first byte, the next frame could begin; the length of `bytes` if nowhere.
pub(super) fn next_candidate(bytes: &[u8]) -> usize {
    bytes.iter().skip(1).position(|byte| *byte == MAGIC[0]).map_or(bytes.len(), |at| at + 1)
}

/// The records of a payload, and how many lines are no record this version knows.
pub(super) fn records(payload: &[u8], mut each: impl FnMut(Record) -> Result<()>) -> Result<u64> {
    let mut unknown = 0;
    let mut lines = payload.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        if planted::is(Bug::LastRecordDropped) && lines.peek().is_none() {
            break;
        }
        // The checksum held, so this is no damage: a newer version wrote it.
        match serde_json::from_slice(line) {
            Ok(record) => each(record)?,
            Err(_) => unknown += 1,
        }
    }
    Ok(unknown)
}

fn checksum(length: u32, payload: &[u8]) -> u64 {
    let mut hasher = XxHash3_64::with_seed(0);
    hasher.write(&length.to_le_bytes());
    hasher.write(payload);
    hasher.finish()
}
