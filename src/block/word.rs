//! Fixed-width values as bare bits.
//!
//! Everything is coded by bits and never by value: `-0.0` equals `0.0` and no
//! NaN equals itself, so a dictionary of values would merge the first two and
//! lose the payloads of the others.

use std::hash::Hash;

use arrow::datatypes::{ArrowNativeType, ToByteSlice};

// PLAIN is little endian, and values are written from memory as they lie.
const _: () = assert!(cfg!(target_endian = "little"), "blocks need a little-endian machine");

/// `u32` or `u64`: the bits of one value.
pub(super) trait Word: ArrowNativeType + ToByteSlice + Hash + Eq + Ord {
    /// Bytes per value.
    const BYTES: usize;

    /// Zero-extended to 64 bits.
    fn widen(self) -> u64;

    /// The low bits of `bits`.
    fn narrow(bits: u64) -> Self;

    /// Appends PLAIN values; `false` if `bytes` is no whole number of them.
    fn plain(bytes: &[u8], out: &mut Vec<Self>) -> bool;
}

macro_rules! word {
    ($word:ty) => {
        impl Word for $word {
            const BYTES: usize = size_of::<$word>();

            #[inline]
            fn widen(self) -> u64 {
                u64::from(self)
            }

            #[inline]
            fn narrow(bits: u64) -> Self {
                bits as $word
            }

            fn plain(bytes: &[u8], out: &mut Vec<Self>) -> bool {
                let (words, rest) = bytes.as_chunks::<{ size_of::<$word>() }>();
                out.extend(words.iter().map(|word| <$word>::from_le_bytes(*word)));
                rest.is_empty()
            }
        }
    };
}

word!(u32);
word!(u64);

/// BYTE_STREAM_SPLIT: all first bytes, then all second bytes, and so on.
pub(super) fn split<W: Word>(values: &[W]) -> Vec<u8> {
    let mut out = Vec::with_capacity(values.len() * W::BYTES);
    for byte in 0..W::BYTES {
        out.extend(values.iter().map(|value| (value.widen() >> (8 * byte)) as u8));
    }
    out
}

/// Appends what [`split`] wrote; `false` if `bytes` is no whole number of values.
pub(super) fn join<W: Word>(bytes: &[u8], out: &mut Vec<W>) -> bool {
    let count = bytes.len() / W::BYTES;
    if count * W::BYTES != bytes.len() {
        return false;
    }
    if count == 0 {
        return true;
    }
    out.reserve(count);
    for start in (0..count).step_by(SQUARE) {
        let mut rows = [0; SQUARE];
        for (row, stream) in rows.iter_mut().zip(bytes.chunks_exact(count)) {
            *row = eight_bytes(stream.get(start..).unwrap_or_default());
        }
        let words = transpose(rows).into_iter().take(count - start);
        out.extend(words.map(W::narrow));
    }
    true
}

/// Values whose bytes are turned from streams into words at once.
const SQUARE: usize = 8;

/// The first eight bytes, or as many as there are and zeros.
fn eight_bytes(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or_else(
        || bytes.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte)),
        |bytes| u64::from_le_bytes(*bytes),
    )
}

/// Transposes eight by eight bytes, by halves, quarters and single bytes
/// (Hacker's Delight, second edition, section 7-3). Gathering the bytes of each
/// value one by one takes three times as long.
fn transpose(rows: [u64; SQUARE]) -> [u64; SQUARE] {
    let swap = |above: u64, below: u64, shift: u32, low: u64| {
        let moved = ((above >> shift) ^ below) & low;
        (above ^ (moved << shift), below ^ moved)
    };
    let [a, b, c, d, e, f, g, h] = rows;
    let halves = |above, below| swap(above, below, 32, 0x0000_0000_ffff_ffff);
    let ((a, e), (b, f), (c, g), (d, h)) = (halves(a, e), halves(b, f), halves(c, g), halves(d, h));
    let pairs = |above, below| swap(above, below, 16, 0x0000_ffff_0000_ffff);
    let ((a, c), (b, d), (e, g), (f, h)) = (pairs(a, c), pairs(b, d), pairs(e, g), pairs(f, h));
    let bytes = |above, below| swap(above, below, 8, 0x00ff_00ff_00ff_00ff);
    let ((a, b), (c, d), (e, f), (g, h)) = (bytes(a, b), bytes(c, d), bytes(e, f), bytes(g, h));
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn streams_are_laid_out_as_the_format_says() {
        assert_eq!(split(&[0x0403_0201u32, 0x1413_1211]), [1, 0x11, 2, 0x12, 3, 0x13, 4, 0x14]);
    }

    #[test]
    fn bytes_left_over_are_refused() {
        assert!(!join::<u64>(&[0; 9], &mut Vec::new()));
        assert!(!u32::plain(&[0; 9], &mut Vec::new()));
    }

    proptest! {
        #[test]
        fn split_values_come_back(
            longs in prop::collection::vec(any::<u64>(), 0..40),
            shorts in prop::collection::vec(any::<u32>(), 0..40),
        ) {
            let (mut long, mut short) = (Vec::new(), Vec::new());
            prop_assert!(join(&split(&longs), &mut long));
            prop_assert!(join(&split(&shorts), &mut short));
            prop_assert_eq!((long, short), (longs, shorts));
        }
    }
}
