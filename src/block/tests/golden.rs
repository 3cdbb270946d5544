//! Three blocks, and all that can happen to their bytes. Under the seal nothing but the same values, or an error,
//! comes out; under a forged seal nothing panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray,
};
use bytes::Bytes;
use parquet::file::metadata::ParquetMetaDataReader;

use super::{assert_same_bits, description, every_type};
use crate::block::{BlockError, decode, describe, encode, seal};
use crate::mutate::{Dice, mutate, times};

/// A block, and what it holds.
pub(super) struct Golden {
    pub(super) name: &'static str,
    pub(super) batch: RecordBatch,
    pub(super) file: Vec<u8>,
}

impl Golden {
    fn of(name: &'static str, batch: RecordBatch) -> Self {
        let file = encode(&batch, &description(), 3).unwrap();
        Self { name, batch, file }
    }

    /// Whether `file` was refused; fails where it came to other values, or was taken for anything but damage.
    fn is_refused(&self, file: &[u8], what: &str) -> bool {
        let file = Bytes::copy_from_slice(file);
        let (found, said) = (decode(file.clone(), &self.batch.schema()), describe(&file));
        match found {
            Ok(found) => {
                assert_same_bits(&found.batch, &self.batch);
                assert_eq!(found.description, description(), "{}: {what}", self.name);
                false
            }
            Err(error) => {
                assert!(matches!(error, BlockError::Corrupt { .. }), "{}: {what}: {error}", self.name);
                assert!(said.is_err(), "{}: {what}", self.name);
                true
            }
        }
    }

    /// Decodes `file` under a seal made right again; fails only where that panics.
    pub(super) fn forge(&self, mut file: Vec<u8>, what: &str) -> bool {
        seal::close(&mut file);
        let file = Bytes::from(file);
        let decoded = catch_unwind(AssertUnwindSafe(|| {
            let _ = describe(&file);
            decode(file.clone(), &self.batch.schema()).is_ok()
        }));
        decoded.unwrap_or_else(|_| panic!("{}: {what}: panicked over {file:?}", self.name))
    }
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

/// Floats with nulls and every odd value; text, whole numbers, booleans and times; and no rows at all.
pub(super) fn golden() -> [Golden; 3] {
    let odd = [0x7ff8_0000_0000_0000, 0x7ff0_0000_0000_0001, 1 << 63, 0x7ff0_0000_0000_0000, 0xfff0_0000_0000_0000, 1];
    let floats: Vec<_> = (0..60u32)
        .map(|row| match row % 10 {
            0 => None,
            6.. => Some(1.0837 + f64::from(row).sqrt() / 1000.0),
            at => odd.get(at as usize).map(|bits| f64::from_bits(*bits)),
        })
        .collect();
    let short = floats.iter().map(|value| value.map(|value| value as f32)).collect::<Float32Array>();
    let minutes = || Arc::new((0..60).map(|row| Some(row * 60_000_000_000)).collect::<TimestampNanosecondArray>());
    let floats = batch(vec![
        ("event_timestamp", minutes()),
        ("rsi_9", Arc::new(Float64Array::from(floats))),
        ("short", Arc::new(short)),
    ]);
    let kept = |row: &i64| (row % 7 != 3).then_some(*row);
    let rows: Vec<i64> = (0..40).collect();
    let words = batch(vec![
        (
            "at",
            Arc::new(rows.iter().map(|row| kept(row).map(|row| row * 1_000_003)).collect::<TimestampNanosecondArray>()),
        ),
        ("text", Arc::new(rows.iter().map(|row| kept(row).map(|row| format!("größe {row}"))).collect::<StringArray>())),
        ("same", Arc::new(rows.iter().map(|_| Some("EURUSD")).collect::<StringArray>())),
        ("many", Arc::new(rows.iter().map(|row| kept(row).map(|row| row << 40)).collect::<Int64Array>())),
        ("few", Arc::new(rows.iter().map(|row| kept(row).map(|row| row as i32 % 3)).collect::<Int32Array>())),
        ("flag", Arc::new(rows.iter().map(|row| kept(row).map(|row| row % 2 == 0)).collect::<BooleanArray>())),
    ]);
    [Golden::of("floats", floats), Golden::of("words", words), Golden::of("empty", every_type(&[], &[]))]
}

#[test]
fn every_flipped_bit_of_every_byte_is_corrupt_and_no_value() {
    for golden in golden() {
        let (mut file, mut flips) = (golden.file.clone(), 0);
        for at in 0..file.len() {
            for bit in 0..8 {
                file[at] ^= 1 << bit;
                assert!(golden.is_refused(&file, &format!("bit {bit} of byte {at}")), "bit {bit} of byte {at}");
                file[at] ^= 1 << bit;
                flips += 1;
            }
        }
        assert!(!golden.is_refused(&file, "as it was"));
        eprintln!("{flips} flips, every bit of {} bytes ({}): all refused", file.len(), golden.name);
    }
}

#[test]
fn cut_to_any_length_or_longer_than_it_was_it_is_corrupt() {
    for golden in golden() {
        let file = &golden.file;
        for length in 0..file.len() {
            assert!(golden.is_refused(&file[..length], "cut"), "cut to {length}");
            assert!(golden.is_refused(&file[file.len() - length..], "its end alone"), "the last {length}");
        }
        let mut more = 0;
        for count in 1..=300 {
            for tail in [vec![0; count], vec![0xff; count], file[..count.min(file.len())].to_vec()] {
                assert!(golden.is_refused(&[file.as_slice(), &tail].concat(), "longer"), "{count} more");
                assert!(golden.is_refused(&[tail.as_slice(), file].concat(), "shifted"), "{count} before");
                more += 2;
            }
        }
        assert!(golden.is_refused(&[file.as_slice(), file].concat(), "twice"));
        eprintln!("{} lengths from either end, {more} that are longer ({}): all refused", file.len(), golden.name);
    }
}

/// Where the pages of each column lie.
fn chunks(file: &[u8]) -> Vec<std::ops::Range<usize>> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&Bytes::copy_from_slice(file)).unwrap();
    let groups = metadata.row_groups().iter().flat_map(|group| group.columns());
    groups.map(|column| column.byte_range()).map(|(start, length)| start as usize..(start + length) as usize).collect()
}

#[test]
fn with_pages_of_two_columns_exchanged_it_is_corrupt_and_under_a_forged_seal_does_no_harm() {
    let (mut exchanged, mut read) = (0, 0);
    for golden in golden() {
        let chunks = chunks(&golden.file);
        for (at, first) in chunks.iter().enumerate() {
            for second in &chunks[at + 1..] {
                let file = &golden.file;
                let parts = [
                    &file[..first.start],
                    &file[second.clone()],
                    &file[first.end..second.start],
                    &file[first.clone()],
                    &file[second.end..],
                ];
                let swapped = parts.concat();
                assert!(swapped == *file || golden.is_refused(&swapped, "exchanged"));
                read += usize::from(golden.forge(swapped, "exchanged"));
                exchanged += 1;
            }
        }
    }
    assert!(exchanged > 10, "only {exchanged}");
    eprintln!("{exchanged} exchanges of pages: all refused; {read} read under a forged seal, none panicked");
}

#[test]
fn with_every_bit_flipped_under_a_forged_seal_nothing_panics() {
    for golden in golden() {
        let (mut read, mut refused) = (0, 0);
        for at in seal::HEADER..golden.file.len() {
            for bit in 0..8 {
                let mut file = golden.file.clone();
                file[at] ^= 1 << bit;
                let count =
                    if golden.forge(file, &format!("bit {bit} of byte {at}")) { &mut read } else { &mut refused };
                *count += 1;
            }
        }
        eprintln!("forged seal ({}): {refused} flips refused, {read} read, 0 panics", golden.name);
        assert!(refused > 100);
    }
}

#[test]
fn overwritten_at_random_it_is_refused_or_the_same() {
    let (count, mut refused) = (times(30_000, 1_000_000), 0);
    let all = golden();
    for seed in 0..count {
        let (golden, mut dice) = (&all[seed as usize % all.len()], Dice::new(seed));
        let file = mutate(&golden.file, &[b"PAR1", b"LARDER\0\x01"], &mut dice);
        let is_refused = golden.is_refused(&file, &format!("seed {seed}"));
        assert!(is_refused || file == golden.file, "seed {seed}");
        refused += u64::from(is_refused);
    }
    eprintln!("{count} random changes: {refused} refused, {} left it as it was, 0 wrong values", count - refused);
    assert!(refused > count / 2);
}
