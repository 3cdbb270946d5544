//! Exact sums, against integers.

use proptest::prelude::*;

use crate::indicator::sum::{ExactSum, rolling};

/// A float that is a whole number, of at most 2^113.
fn whole() -> impl Strategy<Value = (f64, i128)> {
    (-(1i64 << 53)..=1 << 53, 0u32..=60).prop_map(|(digits, shift)| {
        let value = i128::from(digits) << shift;
        (value as f64, value)
    })
}

proptest! {
    #[test]
    fn a_sum_is_that_of_integers_rounded_once(values in proptest::collection::vec(whole(), 0..40)) {
        let sum: ExactSum = values.iter().map(|(float, _)| *float).collect();
        let exact: i128 = values.iter().map(|(_, integer)| integer).sum();
        prop_assert_eq!(sum.value(), exact as f64);
    }

    #[test]
    fn a_rolling_sum_is_that_of_its_window_rounded_once(
        values in proptest::collection::vec(whole(), 0..60),
        period in 1usize..20,
    ) {
        let floats: Vec<f64> = values.iter().map(|(float, _)| *float).collect();
        let sums = rolling(&floats, period);
        prop_assert_eq!(sums.len(), values.len());
        for (row, sum) in sums.into_iter().enumerate() {
            if row + 1 < period {
                prop_assert!(sum.is_nan());
            } else {
                let exact: i128 = values[row + 1 - period..=row].iter().map(|(_, integer)| integer).sum();
                prop_assert_eq!(sum, exact as f64);
            }
        }
    }

    #[test]
    fn a_product_is_that_of_integers_rounded_once(
        products in proptest::collection::vec((-(1i64 << 53)..1 << 53, -(1i64 << 53)..1 << 53), 0..20),
    ) {
        let mut sum = ExactSum::default();
        products.iter().for_each(|(a, b)| sum.add_product(*a as f64, *b as f64));
        let exact: i128 = products.iter().map(|(a, b)| i128::from(*a) * i128::from(*b)).sum();
        prop_assert_eq!(sum.value(), exact as f64);
    }
}

#[test]
fn half_way_between_two_floats_what_is_left_below_decides() {
    let (one, half, little) = (1.0, f64::EPSILON / 2.0, f64::EPSILON.powi(3));
    let sum = |values: [f64; 3]| values.into_iter().collect::<ExactSum>().value();
    assert_eq!(sum([one, half, 0.0]), 1.0);
    assert_eq!(sum([one, half, little]), 1.0 + f64::EPSILON);
    assert_eq!(sum([one, half, -little]), 1.0);
    assert_eq!(sum([1.0 + f64::EPSILON, half, -little]), 1.0 + f64::EPSILON);
}

#[test]
fn a_sum_that_was_too_large_once_is_right_again_when_that_has_left() {
    let sums = rolling(&[1.0, f64::MAX, f64::MAX, 2.0, 3.0, 4.0], 2);
    assert!(!sums[2].is_finite());
    assert_eq!(sums[4..], [5.0, 7.0]);
}
