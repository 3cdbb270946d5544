//! DELTA_BINARY_PACKED for 64-bit integers: bars one minute apart take no bits.
//!
//! All arithmetic wraps, as the format demands, so any sequence round-trips.

use super::varint::{self, unzigzag, zigzag};

const BLOCK: usize = 128;
const MINIBLOCKS: usize = 4;
const MINIBLOCK: usize = BLOCK / MINIBLOCKS;

/// Appends `values`.
pub(super) fn write(values: &[u64], out: &mut Vec<u8>) {
    let first = values.first().copied().unwrap_or_default();
    varint::write(BLOCK as u64, out);
    varint::write(MINIBLOCKS as u64, out);
    varint::write(values.len() as u64, out);
    varint::write(zigzag(first as i64), out);
    let deltas: Vec<i64> = deltas(values).collect();
    for block in deltas.chunks(BLOCK) {
        write_block(block, out);
    }
}

fn deltas(values: &[u64]) -> impl Iterator<Item = i64> {
    values.iter().zip(values.iter().skip(1)).map(|(a, b)| b.wrapping_sub(*a) as i64)
}

fn write_block(block: &[i64], out: &mut Vec<u8>) {
    let least = block.iter().copied().min().unwrap_or_default();
    varint::write(zigzag(least), out);
    let above = |delta: &i64| delta.wrapping_sub(least) as u64;
    let widths = block.chunks(MINIBLOCK).map(|mini| width(mini.iter().map(above)));
    out.extend(widths.chain(std::iter::repeat(0)).take(MINIBLOCKS));
    for mini in block.chunks(MINIBLOCK) {
        let width = width(mini.iter().map(above));
        let padded = mini.iter().map(above).chain(std::iter::repeat(0)).take(MINIBLOCK);
        pack(padded, width, out);
    }
}

fn width(values: impl Iterator<Item = u64>) -> u8 {
    (u64::BITS - values.fold(0, |all, value| all | value).leading_zeros()) as u8
}

fn pack(values: impl Iterator<Item = u64>, width: u8, out: &mut Vec<u8>) {
    let (mut bits, mut held) = (0u128, 0);
    for value in values {
        bits |= u128::from(value) << held;
        held += u32::from(width);
        while held >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            held -= 8;
        }
    }
}

/// Bytes that [`write`] takes, without writing; about a nanosecond a value.
pub(super) fn size(values: &[u64]) -> usize {
    let deltas: Vec<i64> = deltas(values).collect();
    let block = |block: &[i64]| {
        let least = block.iter().copied().min().unwrap_or_default();
        let above = |delta: &i64| delta.wrapping_sub(least) as u64;
        let minis = block.chunks(MINIBLOCK);
        let packed = minis.map(|mini| MINIBLOCK / 8 * usize::from(width(mini.iter().map(above))));
        MINIBLOCKS + 2 + packed.sum::<usize>()
    };
    deltas.chunks(BLOCK).map(block).sum()
}

/// Appends exactly `count` values; `None` if `bytes` does not hold them.
pub(super) fn read(bytes: &[u8], count: usize, out: &mut Vec<u64>) -> Option<()> {
    let mut bytes = bytes;
    let header = (varint::read(&mut bytes)?, varint::read(&mut bytes)?);
    let total = varint::read(&mut bytes)?;
    if header != (BLOCK as u64, MINIBLOCKS as u64) || total != count as u64 {
        return None;
    }
    let mut value = unzigzag(varint::read(&mut bytes)?) as u64;
    if count == 0 {
        return Some(());
    }
    out.push(value);
    let mut missing = count - 1;
    while missing > 0 {
        let least = unzigzag(varint::read(&mut bytes)?) as u64;
        let (widths, rest) = bytes.split_first_chunk::<MINIBLOCKS>()?;
        bytes = rest;
        for width in widths {
            let wanted = missing.min(MINIBLOCK);
            if wanted == 0 {
                break;
            }
            let width = usize::from(*width);
            let (packed, rest) = bytes.split_at_checked(MINIBLOCK / 8 * width)?;
            bytes = rest;
            unpack(packed, width, wanted, |above| {
                value = value.wrapping_add(least).wrapping_add(above);
                out.push(value);
            })?;
            missing -= wanted;
        }
    }
    Some(())
}

fn unpack(packed: &[u8], width: usize, count: usize, mut each: impl FnMut(u64)) -> Option<()> {
    if width == 0 {
        (0..count).for_each(|_| each(0));
        return Some(());
    }
    let mask = u64::MAX.checked_shr(u64::BITS.checked_sub(width as u32)?)?;
    let (mut bits, mut held, mut bytes) = (0u128, 0, packed.iter());
    for _ in 0..count {
        while held < width {
            bits |= u128::from(*bytes.next()?) << held;
            held += 8;
        }
        each(bits as u64 & mask);
        bits >>= width;
        held -= width;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_even_clock_takes_a_few_bytes() {
        let mut out = Vec::new();
        write(&(0..1440).map(|row| row * 60_000_000_000).collect::<Vec<_>>(), &mut out);
        assert!(out.len() < 150, "{} bytes", out.len());
    }

    #[test]
    fn the_size_is_what_writing_takes_without_the_header() {
        // Two blocks, whose least delta takes two bytes.
        let values: Vec<_> = (0..257u64).map(|at| at * 100 + at * 37 % 50).collect();
        let mut out = Vec::new();
        write(&values, &mut out);
        let header = 2 + 1 + 2 + 1;
        assert_eq!(size(&values), out.len() - header);
    }

    #[test]
    fn widths_over_64_bits_and_counts_that_differ_are_refused() {
        let values: Vec<_> = (0..40u64).map(|at| at * at).collect();
        let mut bytes = Vec::new();
        write(&values, &mut bytes);
        assert_eq!(read(&bytes, 39, &mut Vec::new()), None);
        let widths = 2 + 1 + 1 + 1 + 1;
        bytes[widths] = 65;
        assert_eq!(read(&bytes, 40, &mut Vec::new()), None);
    }

    proptest! {
        #[test]
        fn any_sequence_comes_back(
            values in prop::collection::vec(
                prop_oneof![any::<u64>(), 0u64..1000, Just(u64::MAX), Just(1 << 63)], 0..400),
        ) {
            let mut bytes = Vec::new();
            write(&values, &mut bytes);
            let mut out = Vec::new();
            prop_assert!(read(&bytes, values.len(), &mut out).is_some());
            prop_assert_eq!(&out, &values);
            for cut in 0..bytes.len() {
                prop_assert!(read(&bytes[..cut], values.len(), &mut Vec::new()).is_none());
            }
        }
    }
}
