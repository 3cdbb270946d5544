//! Where a value stands among those before it.

use crate::definition::Period;

/// `(below + equal / 2) / (period - 1)` of the values before it in its window.
pub(super) fn rank(values: &[f64], period: Period) -> Vec<f64> {
    let others = period.rows() - 1;
    let places = places(values);
    let mut counts = Counts(vec![0; values.len() + 1]);
    let mut oldest = places.iter();
    let mut found = Vec::with_capacity(values.len());
    for (row, place) in places.iter().enumerate() {
        if row < others {
            found.push(f64::NAN);
        } else {
            let below = counts.below(*place);
            let equal = counts.below(place + 1) - below;
            found.push((f64::from(below) + f64::from(equal) / 2.0) / others as f64);
        }
        counts.add(*place, 1);
        if row >= others {
            oldest.next().into_iter().for_each(|place| counts.add(*place, -1));
        }
    }
    found
}

/// For each value, how many smaller ones there are, counting equal ones once.
fn places(values: &[f64]) -> Vec<usize> {
    let mut sorted: Vec<f64> = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.dedup();
    values.iter().map(|value| sorted.partition_point(|other| other < value)).collect()
}

/// How many values stand at each place, in sums that make counting all below one as fast as changing one (Fenwick,
/// "A new data structure for cumulative frequency tables", 1994). Index 0 is not used.
struct Counts(Vec<i32>);

impl Counts {
    fn add(&mut self, place: usize, count: i32) {
        let mut index = place + 1;
        while let Some(sum) = self.0.get_mut(index) {
            *sum += count;
            index += index & index.wrapping_neg();
        }
    }

    /// How many values stand at places before this one.
    fn below(&self, place: usize) -> i32 {
        let mut index = place;
        let mut count = 0;
        while index > 0 {
            count += self.0.get(index).copied().unwrap_or_default();
            index &= index - 1;
        }
        count
    }
}
