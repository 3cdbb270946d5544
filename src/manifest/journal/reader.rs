//! The folder's side of a journal.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::frame::{self, Found};
use crate::disk::{Disk, Open};
use crate::error::Result;
use crate::manifest::record::Record;

/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// What reading a journal came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::manifest) struct Scanned {
    /// Where the last whole frame ended: from here the next reader goes on.
    pub(in crate::manifest) read_to: u64,
    /// Stretches without a frame that lay before a whole one, and were skipped.
    pub(in crate::manifest) damaged: u64,
    /// Records of kinds that this version does not know.
    pub(in crate::manifest) unknown: u64,
    /// Bytes behind the last whole frame: a frame that is still being written, or one that never will be.
    pub(in crate::manifest) torn: u64,
}

/// Reads the frames of a journal from a place on, skipping what is damaged.
pub(in crate::manifest) struct Reader<'a> {
    journal: Journal<'a>,
    window: Window,
}

/// The file.
struct Journal<'a> {
    disk: &'a dyn Disk,
    path: PathBuf,
    file: File,
}

impl<'a> Reader<'a> {
    /// Opens the journal at `path` to read on at `from`, which is where an earlier reader stopped.
    pub(in crate::manifest) fn open(disk: &'a dyn Disk, path: &Path, from: u64) -> io::Result<Self> {
        let journal = Journal { disk, path: path.to_owned(), file: disk.open(path, Open::Read)? };
        Ok(Self { journal, window: Window { begin: from, at: 0, bytes: Vec::new() } })
    }

    /// The payload of the next whole frame, or `None` at the end of what is there now.
    fn next(&mut self, scanned: &mut Scanned) -> io::Result<Option<std::ops::Range<usize>>> {
        let mut skipping = false;
        loop {
            let rest = self.window.rest();
            let step = match frame::decode(rest) {
                Found::Frame { length, .. } => {
                    let end = self.window.at + length;
                    self.window.at = end;
                    scanned.damaged += u64::from(skipping);
                    scanned.read_to = self.window.position();
                    return Ok(Some(end - length + frame::HEADER..end));
                }
                Found::NeedsMore(wanted) => {
                    if self.window.fill(&self.journal, wanted)? {
                        continue;
                    }
                    // The end of the file. A damaged length may have swallowed frames that follow.
                    if self.window.rest().is_empty() {
                        return Ok(None);
                    }
                    frame::next_candidate(self.window.rest())
                }
                Found::Damage => frame::next_candidate(rest),
            };
            self.window.at += step;
            skipping = true;
        }
    }

    /// Hands over every record, and says how far it came and whether reading failed there.
    ///
    /// # Errors
    /// What `each` returns.
    pub(in crate::manifest) fn records(
        mut self,
        mut each: impl FnMut(Record) -> Result<()>,
    ) -> Result<(Scanned, io::Result<()>)> {
        let mut scanned = Scanned { read_to: self.window.position(), ..Scanned::default() };
        loop {
            match self.next(&mut scanned) {
                Err(error) => return Ok((scanned, Err(error))),
                Ok(None) => break,
                Ok(Some(payload)) => {
                    let payload = self.window.bytes.get(payload).unwrap_or_default();
                    scanned.unknown += frame::records(payload, &mut each)?;
                }
            }
        }
        scanned.torn = self.window.position().saturating_sub(scanned.read_to);
        Ok((scanned, Ok(())))
    }

    /// Whether there is a whole frame.
    pub(in crate::manifest) fn has_frame(mut self) -> io::Result<bool> {
        Ok(self.next(&mut Scanned::default())?.is_some())
    }
}

/// The part of the file that is in memory.
struct Window {
    /// Where in the file `bytes` begins.
    begin: u64,
    /// How much of `bytes` has been dealt with.
    at: usize,
    bytes: Vec<u8>,
}

impl Window {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn position(&self) -> u64 {
        self.begin.saturating_add(self.at as u64)
    }

    /// Reads until `wanted` bytes lie ahead; false where the file has fewer.
    fn fill(&mut self, journal: &Journal<'_>, wanted: usize) -> io::Result<bool> {
        self.bytes.drain(..self.at.min(self.bytes.len()));
        self.begin = self.begin.saturating_add(std::mem::take(&mut self.at) as u64);
        while self.bytes.len() < wanted {
            let have = self.bytes.len();
            // Not all that is wanted: a length is believed only as far as there are bytes.
            self.bytes.resize(have + CHUNK, 0);
            let place = self.begin.saturating_add(have as u64);
            let buffer = self.bytes.get_mut(have..).unwrap_or_default();
            let read = journal.disk.read_at(&journal.file, &journal.path, buffer, place);
            self.bytes.truncate(have + read.as_ref().map_or(0, |count| *count));
            if read? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::journal::Journal;
    use crate::manifest::record::BlockRow;
    use crate::manifest::testing::{block, published, read_all, read_from, stats, used};

    /// A journal of four appends with five records, and where each append ends.
    fn written() -> (Vec<Record>, Vec<u8>, Vec<usize>) {
        let records = vec![
            used(1),
            Record::Published { block: block("ETH/\u{0}\"USDT", 3, 4), stats: vec![stats("rsi_9", 1.0 / 3.0)] },
            used(2),
            published(BlockRow { input_version: Some("v\n7".to_owned()), ..block("EURUSD", 1, 9) }),
            used(3),
        ];
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::create(dir.path()).unwrap();
        let mut ends = Vec::new();
        for batch in [&records[..1], &records[1..3], &records[3..4], &records[4..]] {
            journal.append(batch).unwrap();
            ends.push(std::fs::metadata(journal.path()).unwrap().len() as usize);
        }
        (records, std::fs::read(journal.path()).unwrap(), ends)
    }

    fn read_bytes(bytes: &[u8]) -> (Vec<String>, Scanned) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let (records, scanned) = read_all(file.path());
        (texts(&records), scanned)
    }

    /// NaN differs from itself, its text does not.
    fn texts(records: &[Record]) -> Vec<String> {
        records.iter().map(|record| format!("{record:?}")).collect()
    }

    /// How many records the first appends hold.
    const HELD: [usize; 5] = [0, 1, 3, 4, 5];

    #[test]
    fn cut_anywhere_every_whole_append_before_the_cut_is_read() {
        let (records, bytes, ends) = written();
        let all = texts(&records);
        for cut in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let (read, scanned) = read_bytes(&bytes[..cut]);
            assert_eq!(read, all[..HELD[whole]], "cut at {cut}");
            let end = whole.checked_sub(1).map_or(0, |last| ends[last]);
            assert_eq!((scanned.read_to, scanned.torn), (end as u64, (cut - end) as u64), "cut at {cut}");
            assert_eq!((scanned.damaged, scanned.unknown), (0, 0), "cut at {cut}");
        }
    }

    #[test]
    fn with_any_byte_changed_a_record_is_right_or_skipped_and_counted() {
        let (records, bytes, ends) = written();
        let all = texts(&records);
        for place in 0..bytes.len() {
            let hit = ends.iter().filter(|end| **end <= place).count();
            let rest = [&all[..HELD[hit]], &all[HELD[hit + 1]..]].concat();
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[place] ^= flip;
                let (read, scanned) = read_bytes(&damaged);
                assert_eq!(read, rest, "byte {place} ^ {flip:#x}");
                // Behind the last frame it may still become one, so there it is torn and not damaged.
                let at_the_end = hit + 1 == ends.len();
                assert_eq!(scanned.damaged, u64::from(!at_the_end), "byte {place}");
                assert_eq!(scanned.torn > 0, at_the_end, "byte {place}");
            }
        }
    }

    #[test]
    fn a_reader_goes_on_where_the_last_one_stopped() {
        let (records, bytes, ends) = written();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes[..ends[1] + 5]).unwrap();
        let (first, scanned) = read_all(file.path());
        std::fs::write(file.path(), &bytes).unwrap();
        let (second, _) = read_from(file.path(), scanned.read_to);
        assert_eq!(texts(&[first, second].concat()), texts(&records));
    }

    #[test]
    fn a_frame_longer_than_a_chunk_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::create(dir.path()).unwrap();
        let many: Vec<_> = (0..20_000).map(used).collect();
        journal.append(&many).unwrap();
        journal.append(&[used(1)]).unwrap();
        assert!(std::fs::metadata(journal.path()).unwrap().len() > 2 * CHUNK as u64);
        let (read, _) = read_all(&journal.path());
        assert!(read.len() == 20_001 && read[..20_000] == many[..]);
    }

    #[test]
    fn what_a_newer_version_added_does_not_hide_the_rest() {
        let lines = [
            br#"{"promoted":{"view":"v"}}"#.as_slice(),
            br#"{"used":{"view":"v","fingerprint":"00000000000000000000000000000001","entity":{"symbol":"A"},"start":1,"uses":2,"last_used":3,"colour":"red"}}"#,
        ];
        let mut records = Vec::new();
        let unknown = frame::records(&lines.join(&b'\n'), |record| {
            records.push(record);
            Ok(())
        });
        assert_eq!(unknown.unwrap(), 1);
        assert!(matches!(records[..], [Record::Used { uses: 2, .. }]), "{records:?}");
    }
}
