//! Which Parquet encoding a column of fixed-width values gets.
//!
//! Decided from the values alone, so the same column is always written alike.

use super::delta;
use super::hybrid;
use super::word::Word;

/// Most entries of a dictionary: half a megabyte of 8-byte values, which stays
/// in the second-level cache while a page is looked up.
const MOST_ENTRIES: usize = 1 << 16;

/// A column ready to be written in one of the encodings of format version 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Coding<W> {
    /// PLAIN: values as they lie in memory.
    Plain,
    /// BYTE_STREAM_SPLIT: for floats whose high bytes alone repeat.
    Split,
    /// DELTA_BINARY_PACKED: for integers that advance evenly.
    Delta,
    /// RLE_DICTIONARY: for few distinct values, as those of a market are, which
    /// moves in ticks.
    Dictionary(Dictionary<W>),
}

/// Distinct values in order of appearance, and for each value its place there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dictionary<W> {
    /// Distinct bit patterns.
    pub(super) entries: Vec<W>,
    /// One per value, below `entries.len()`.
    pub(super) indices: Vec<u32>,
}

/// Chooses for integers: the smaller of delta and dictionary, if either is at
/// most 60 % of the plain size.
pub(super) fn for_integers(values: &[u64]) -> Coding<u64> {
    let plain = size_of_val(values);
    let delta = delta::size(values);
    let paid = worth(plain);
    if delta <= paid / 4 {
        // A clock or a counter: no dictionary comes near.
        return Coding::Delta;
    }
    match Dictionary::build(values, paid.min(delta)) {
        Some(dictionary) => Coding::Dictionary(dictionary),
        None if delta <= paid => Coding::Delta,
        None => Coding::Plain,
    }
}

/// Chooses for floats and short integers: a dictionary if it takes at most
/// 60 % of the plain size; else `smaller_split` says which of the other two.
///
/// `smaller_split` is handed values from the middle of the column.
pub(super) fn for_words<W: Word>(values: &[W], smaller_split: impl FnOnce(&[W]) -> bool) -> Coding<W> {
    if let Some(dictionary) = Dictionary::build(values, worth(size_of_val(values))) {
        return Coding::Dictionary(dictionary);
    }
    if smaller_split(middle(values)) { Coding::Split } else { Coding::Plain }
}

/// What an encoding may take where PLAIN takes `plain` bytes. zstd alone gets
/// values that seldom repeat down to about 80 %.
fn worth(plain: usize) -> usize {
    plain / 5 * 3
}

/// A sample that keeps the values' neighbourhood, which zstd lives by.
fn middle<W>(values: &[W]) -> &[W] {
    const SAMPLE: usize = 256;
    let start = values.len().saturating_sub(SAMPLE) / 2;
    let end = (start + SAMPLE).min(values.len());
    values.get(start..end).unwrap_or_default()
}

impl<W: Word> Dictionary<W> {
    /// The dictionary of `values`, unless it and its indices take over `budget` bytes.
    ///
    /// Gives up at the first entry too many: a column of distinct values costs
    /// only the part of it that the budget covers. About 3 ns a value.
    pub(super) fn build(values: &[W], budget: usize) -> Option<Self> {
        let most = most_entries(values.len(), W::BYTES, budget);
        let mut places = Places::with_room(most);
        if values.is_empty() {
            // A dictionary without entries is one more case for every reader.
            return None;
        }
        let mut entries: Vec<W> = Vec::new();
        let mut indices = Vec::with_capacity(values.len());
        for value in values {
            let place = places.of(*value, &entries)?;
            if place as usize == entries.len() {
                if entries.len() == most {
                    return None;
                }
                entries.push(*value);
            }
            indices.push(place);
        }
        Some(Self { entries, indices })
    }

    /// Bits that hold any index.
    pub(super) fn width(&self) -> usize {
        hybrid::width(self.entries.len().saturating_sub(1) as u32)
    }
}

/// Most entries that leave room for `count` indices in `budget` bytes.
fn most_entries(count: usize, bytes: usize, budget: usize) -> usize {
    let fits = |bits: usize| budget.saturating_sub(count * bits / 8) / bytes;
    let bits = hybrid::width((budget / bytes).min(MOST_ENTRIES) as u32);
    fits(bits).min(MOST_ENTRIES)
}

/// An open-addressing table from bits to their place among the entries.
///
/// std's `HashMap` costs five times as much here: its hash resists attackers,
/// and this one need not; a bad case only makes an encode slower.
struct Places {
    slots: Vec<u32>,
    shift: u32,
}

impl Places {
    const FREE: u32 = u32::MAX;

    /// At most half full with `entries` and one more.
    fn with_room(entries: usize) -> Self {
        let slots = ((entries + 1) * 2).next_power_of_two();
        Self { slots: vec![Self::FREE; slots], shift: u64::BITS - slots.trailing_zeros() }
    }

    /// Where `value` is among `entries`, or `entries.len()` if it is new, which
    /// is then noted. `None` never happens while there is room.
    fn of<W: Word>(&mut self, value: W, entries: &[W]) -> Option<u32> {
        // Fibonacci hashing: the high bits of a product with 2^64 / phi.
        let hash = value.widen().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let start = (hash >> self.shift) as usize;
        let (before, from) = self.slots.split_at_mut_checked(start)?;
        for slot in from.iter_mut().chain(before) {
            if *slot == Self::FREE {
                *slot = entries.len() as u32;
                return Some(*slot);
            }
            if entries.get(*slot as usize) == Some(&value) {
                return Some(*slot);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noise(count: u64) -> Vec<u64> {
        // The finaliser of splitmix64 over a counter.
        let mix = |at: u64| (at ^ (at >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (1..=count).map(|at| mix(mix(at.wrapping_mul(0x9e37_79b9_7f4a_7c15))) >> 1).collect()
    }

    fn levels(count: u64, levels: u64) -> Vec<u64> {
        noise(count).into_iter().map(|bits| f64::to_bits((bits % levels) as f64 * 1e-5)).collect()
    }

    #[test]
    fn few_levels_become_a_dictionary() {
        let values = levels(1440, 400);
        let Coding::Dictionary(dictionary) = for_words(&values, |_| false) else {
            panic!("400 levels of 1440 values pay");
        };
        let entries = &dictionary.entries;
        let back: Vec<_> = dictionary.indices.iter().map(|at| entries[*at as usize]).collect();
        assert_eq!(back, values);
        assert_eq!(dictionary.width(), 9);
    }

    #[test]
    fn many_levels_become_what_the_race_says() {
        let values = levels(1440, 1_000_000);
        assert_eq!(for_words(&values, |_| true), Coding::Split);
        assert_eq!(for_words(&values, |_| false), Coding::Plain);
    }

    #[test]
    fn the_race_is_over_a_sample_from_the_middle() {
        let values: Vec<_> = (0..1440u64).map(|at| at << 32).collect();
        for_words(&values, |sample| {
            assert_eq!(sample, &values[592..848]);
            false
        });
    }

    #[test]
    fn zeros_of_both_signs_and_nans_are_entries_of_their_own() {
        let odd = [0.0f64.to_bits(), (-0.0f64).to_bits(), 0x7ff8 << 48, (0x7ff8 << 48) | 1];
        let values: Vec<_> = odd.into_iter().cycle().take(400).collect();
        let dictionary = Dictionary::build(&values, usize::MAX / 2).expect("four levels fit");
        assert_eq!(dictionary.entries, odd);
    }

    #[test]
    fn a_dictionary_has_as_many_entries_as_fit_and_no_more() {
        for budget in (7_000..20_000).step_by(250) {
            let most = most_entries(4_000, 8, budget);
            let of_levels = |levels: usize| {
                let values: Vec<_> = noise(levels as u64).into_iter().cycle().take(4_000).collect();
                Dictionary::build(&values, budget).map(|dictionary| dictionary.entries.len())
            };
            assert_eq!((of_levels(most), of_levels(most + 1)), (Some(most), None), "in {budget} bytes");
        }
    }

    #[test]
    fn an_even_clock_is_written_as_deltas() {
        let clock: Vec<_> = (0..1440).map(|row| row * 60_000_000_000).collect();
        assert_eq!(for_integers(&clock), Coding::Delta);
    }

    #[test]
    fn a_jittering_clock_is_written_as_deltas() {
        let ticks = noise(1440).into_iter().zip(0..).map(|(n, at)| at * 1_000_000 + n % 999_999);
        assert_eq!(for_integers(&ticks.collect::<Vec<_>>()), Coding::Delta);
    }

    #[test]
    fn integers_of_few_wild_levels_become_a_dictionary() {
        let wild: Vec<_> = noise(1440).into_iter().map(|bits| (bits % 7) << 58).collect();
        assert!(matches!(for_integers(&wild), Coding::Dictionary(_)));
    }

    #[test]
    fn noise_stays_plain() {
        assert_eq!(for_integers(&noise(1440)), Coding::Plain);
    }

    #[test]
    fn nothing_and_one_value_are_no_trouble() {
        assert_eq!(for_integers(&[]), Coding::Delta);
        assert_eq!(for_words::<u64>(&[], |_| false), Coding::Plain);
        assert_eq!(for_words(&[1u32], |_| false), Coding::Plain);
    }

    proptest! {
        #[test]
        fn a_dictionary_never_exceeds_its_budget(
            values in prop::collection::vec(0u64..200, 0..600),
            budget in 0usize..3000,
        ) {
            if let Some(dictionary) = Dictionary::build(&values, budget) {
                let size = dictionary.entries.len() * 8 + values.len() * dictionary.width() / 8;
                prop_assert!(values.is_empty() || size <= budget, "{size} > {budget}");
                for (value, at) in values.iter().zip(&dictionary.indices) {
                    prop_assert_eq!(dictionary.entries[*at as usize], *value);
                }
            }
        }
    }
}
