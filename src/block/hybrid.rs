//! Parquet's hybrid of run-length and bit-packed runs: validity and dictionary
//! indices.

use arrow::array::BooleanBufferBuilder;
use arrow::buffer::BooleanBuffer;

use super::varint;

/// Values in one bit-packed group; a group of width `w` takes `w` bytes.
const GROUP: usize = 8;

/// Bits that hold `max`; at least one, since some readers stumble over none.
pub(super) fn width(max: u32) -> usize {
    (u32::BITS - max.leading_zeros()).max(1) as usize
}

/// Appends `values`, each below `2^width`: one repeated run if they are all the
/// same, else one bit-packed run.
///
/// Cutting the column into many runs was rejected: zstd finds the repetitions,
/// and one run decodes without branches.
pub(super) fn write(values: &[u32], width: usize, out: &mut Vec<u8>) {
    match values.split_first() {
        Some((first, rest)) if rest.iter().all(|value| value == first) => {
            write_repeated(*first, values.len(), width, out);
        }
        _ => {
            varint::write(((values.len().div_ceil(GROUP) as u64) << 1) | 1, out);
            for group in values.chunks(GROUP) {
                pack(group, width, out);
            }
        }
    }
}

/// Appends one run of `count` times `value`.
pub(super) fn write_repeated(value: u32, count: usize, width: usize, out: &mut Vec<u8>) {
    varint::write((count as u64) << 1, out);
    out.extend(value.to_le_bytes().iter().take(width.div_ceil(8)));
}

/// Packs up to eight values into exactly `width` bytes.
fn pack(group: &[u32], width: usize, out: &mut Vec<u8>) {
    let (mut bits, mut held) = (0u64, 0);
    let padded = group.iter().copied().chain(std::iter::repeat(0)).take(GROUP);
    for value in padded {
        bits |= u64::from(value) << held;
        held += width;
        while held >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            held -= 8;
        }
    }
}

/// Appends `count` values of `width` bits; `None` if `bytes` does not hold them.
pub(super) fn read(bytes: &[u8], width: usize, count: usize, out: &mut Vec<u32>) -> Option<()> {
    let mut bytes = bytes;
    let end = out.len() + count;
    out.reserve(count);
    while out.len() < end {
        let missing = end - out.len();
        match Run::next(&mut bytes, width)? {
            Run::Repeated { value, count } => {
                let count = count.min(missing);
                out.extend(std::iter::repeat_n(value, count));
            }
            Run::Packed(groups) => {
                unpack(groups, width, missing.min(groups.len() / width * GROUP), out)?;
            }
        }
    }
    Some(())
}

/// One run, not yet unpacked.
enum Run<'a> {
    Repeated { value: u32, count: usize },
    Packed(&'a [u8]),
}

impl<'a> Run<'a> {
    /// Takes a run that holds at least one value off the front.
    fn next(bytes: &mut &'a [u8], width: usize) -> Option<Self> {
        let header = varint::read(bytes)?;
        let length = usize::try_from(header >> 1).ok().filter(|length| *length > 0)?;
        if header & 1 == 0 {
            let (value, rest) = bytes.split_at_checked(width.div_ceil(8))?;
            *bytes = rest;
            let mut word = [0; 4];
            for (byte, part) in word.iter_mut().zip(value) {
                *byte = *part;
            }
            let value = u32::from_le_bytes(word);
            return Some(Self::Repeated { value, count: length });
        }
        // Some writers leave out the padding of the last group.
        let whole = length.checked_mul(width)?.min(bytes.len() / width * width);
        let (groups, rest) = bytes.split_at_checked(whole)?;
        *bytes = rest;
        (!groups.is_empty()).then_some(Self::Packed(groups))
    }
}

/// Appends `count` packed values, which the groups are long enough for.
fn unpack(groups: &[u8], width: usize, count: usize, out: &mut Vec<u32>) -> Option<()> {
    macro_rules! dispatch {
        ($($width:literal)*) => {
            match width {
                $($width => unpack_groups::<$width>(groups, out),)*
                17..=32 => unpack_wide(groups, width, out),
                _ => return None,
            }
        };
    }
    let end = out.len() + count;
    dispatch!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
    out.truncate(end);
    Some(())
}

/// Eight values of at most 16 bits fit one 128-bit word; with the width known
/// to the compiler all shifts are constants.
fn unpack_groups<const WIDTH: usize>(groups: &[u8], out: &mut Vec<u32>) {
    let mask = (1u128 << WIDTH) - 1;
    let (groups, _) = groups.as_chunks::<WIDTH>();
    for group in groups {
        let mut bytes = [0; 16];
        for (byte, part) in bytes.iter_mut().zip(group) {
            *byte = *part;
        }
        let bits = u128::from_le_bytes(bytes);
        let values: [u32; GROUP] = std::array::from_fn(|at| ((bits >> (at * WIDTH)) & mask) as u32);
        out.extend_from_slice(&values);
    }
}

fn unpack_wide(groups: &[u8], width: usize, out: &mut Vec<u32>) {
    let (mut bits, mut held) = (0u64, 0);
    let mask = (1u64 << width) - 1;
    for byte in groups {
        bits |= u64::from(*byte) << held;
        held += 8;
        if held >= width {
            out.push((bits & mask) as u32);
            bits >>= width;
            held -= width;
        }
    }
}

/// Appends the definition levels of a nullable flat column.
///
/// A bit-packed run of width one is Arrow's validity bitmap, byte for byte.
pub(super) fn write_levels(valid: &BooleanBuffer, out: &mut Vec<u8>) {
    let set = valid.count_set_bits();
    if set == 0 || set == valid.len() {
        write_repeated(u32::from(set > 0), valid.len(), 1, out);
        return;
    }
    let bitmap = valid.sliced();
    let bytes = valid.len().div_ceil(8);
    varint::write(((bytes as u64) << 1) | 1, out);
    out.extend(bitmap.iter().take(bytes));
}

/// Appends `count` definition levels to `out`; `None` if `bytes` does not hold them.
pub(super) fn read_levels(bytes: &[u8], count: usize, out: &mut BooleanBufferBuilder) -> Option<()> {
    let mut bytes = bytes;
    let mut missing = count;
    while missing > 0 {
        missing -= match Run::next(&mut bytes, 1)? {
            Run::Repeated { value, count } => {
                let count = count.min(missing);
                out.append_n(count, value == 1);
                count
            }
            Run::Packed(bitmap) => {
                let count = missing.min(bitmap.len() * 8);
                out.append_packed_range(0..count, bitmap);
                count
            }
        };
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_format_is_packed_as_the_format_says() {
        // Parquet's description of encodings: 0 to 7 in three bits.
        let mut out = Vec::new();
        write(&[0, 1, 2, 3, 4, 5, 6, 7], 3, &mut out);
        assert_eq!(out, [0b11, 0b1000_1000, 0b1100_0110, 0b1111_1010]);
    }

    #[test]
    fn a_constant_column_takes_three_bytes() {
        let mut out = Vec::new();
        write(&[5; 1000], 3, &mut out);
        assert_eq!(out, [0xd0, 0x0f, 5]);
    }

    #[test]
    fn runs_of_both_kinds_in_turn_are_read() {
        // Four times 1, eight packed, twice 2: as other writers mix them.
        let bytes = [4 << 1, 1, 0b11, 0b1000_1000, 0b1100_0110, 0b1111_1010, 2 << 1, 2];
        let mut out = Vec::new();
        read(&bytes, 3, 14, &mut out).expect("three runs");
        assert_eq!(out, [1, 1, 1, 1, 0, 1, 2, 3, 4, 5, 6, 7, 2, 2]);
    }

    #[test]
    fn runs_that_end_early_or_hold_nothing_are_refused() {
        for bytes in [&[][..], &[0], &[1], &[0x80], &[4 << 1], &[0b11], &[0, 1, 0, 1]] {
            assert_eq!(read(bytes, 3, 5, &mut Vec::new()), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_last_run_may_say_that_it_has_groups_that_are_not_there() {
        // Two groups of the three that it says, and a byte of the third.
        let bytes = [(3 << 1) | 1, 0b1000_1000, 0b1100_0110, 0b1111_1010, 0b1000_1000, 0b1100_0110, 0b1111_1010, 0];
        let mut out = Vec::new();
        read(&bytes, 3, 16, &mut out).expect("two groups");
        assert_eq!(out, [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(read(&bytes, 3, 17, &mut Vec::new()), None, "and no more");
    }

    #[test]
    fn a_run_longer_than_the_page_gives_no_more_than_was_asked() {
        let mut out = Vec::new();
        let mut bytes = Vec::new();
        write_repeated(1, usize::MAX >> 1, 3, &mut bytes);
        read(&bytes, 3, 5, &mut out).expect("enough for five");
        assert_eq!(out, [1; 5]);
    }

    proptest! {
        #[test]
        fn indices_of_any_width_come_back(
            width in 1usize..=32,
            seeds in prop::collection::vec(any::<u32>(), 1..100),
        ) {
            let values: Vec<_> = seeds.iter().map(|seed| seed >> (32 - width)).collect();
            let mut bytes = Vec::new();
            write(&values, width, &mut bytes);
            let mut out = vec![9];
            prop_assert!(read(&bytes, width, values.len(), &mut out).is_some());
            prop_assert_eq!(&out[1..], values);
        }

        #[test]
        fn levels_come_back_from_any_offset(
            valid in prop::collection::vec(any::<bool>(), 1..200),
            skip in any::<prop::sample::Index>(),
        ) {
            let skip = skip.index(valid.len());
            let buffer = BooleanBuffer::from(valid);
            let slice = buffer.slice(skip, buffer.len() - skip);
            let mut bytes = Vec::new();
            write_levels(&slice, &mut bytes);
            let mut out = BooleanBufferBuilder::new(0);
            prop_assert!(read_levels(&bytes, slice.len(), &mut out).is_some());
            prop_assert_eq!(out.finish(), slice);
        }
    }
}
