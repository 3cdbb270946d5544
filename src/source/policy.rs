//! Which rows count, which values are possible, and what a null becomes. Pure.
//!
//! In this order: of rows with one event time the newest created time wins, then `on_duplicate` decides; what is left
//! is checked for impossible values, so that a mistake that was corrected is none; then nulls are filled.

use std::time::Duration;

use crate::definition::{OnDuplicate, Validity};

/// Two rows of one event time where there may be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Duplicate {
    pub(super) rows: [u32; 2],
}

/// The rows that count, in the order of their event times. `created` has a time for each row, or is empty; a row without
/// one is older than any.
pub(super) fn winners(
    times: &[i64],
    created: &[Option<i64>],
    on_duplicate: OnDuplicate,
) -> Result<Vec<u32>, Duplicate> {
    let at = |row: u32| times.get(row as usize).copied();
    let known = |row: u32| created.get(row as usize).copied().flatten();
    let mut rows: Vec<u32> = (0..).zip(times).map(|(row, _)| row).collect();
    if times.is_sorted_by(|a, b| a < b) {
        return Ok(rows);
    }
    // Stable: rows of one event time and created time stay in the order of the data.
    rows.sort_by_key(|row| (at(*row), known(*row)));
    let winner = |same: &[u32]| {
        let newest = same.last().and_then(|row| known(*row));
        let tied = same.get(same.partition_point(|row| known(*row) < newest)..).unwrap_or_default();
        match (on_duplicate, tied) {
            (OnDuplicate::Error, [one, other, ..]) => Some(Err(Duplicate { rows: [*one, *other] })),
            (OnDuplicate::First, _) => tied.first().copied().map(Ok),
            _ => tied.last().copied().map(Ok),
        }
    };
    rows.chunk_by(|a, b| at(*a) == at(*b)).filter_map(winner).collect()
}

/// Whether a value is possible.
pub(super) fn is_possible(value: f64, rules: &Validity) -> bool {
    let beyond = |value: f64, limit: f64| value > limit || (rules.exclusive && value == limit);
    let too_small = rules.min.is_some_and(|min| beyond(-value, -min));
    let too_large = rules.max.is_some_and(|max| beyond(value, max));
    !(too_small || too_large || (rules.finite && !value.is_finite()))
}

/// For each row the row that its value is taken from: its own, or where that has none the last one that has, if that is
/// not older than `within`.
pub(super) fn fill(times: &[i64], values: &[Option<u32>], within: Duration) -> Vec<Option<u32>> {
    let within = i128::try_from(within.as_nanos()).unwrap_or(i128::MAX);
    let mut last: Option<(i64, u32)> = None;
    let filled = times.iter().zip(values).map(|(time, value)| {
        if let Some(value) = value {
            last = Some((*time, *value));
        }
        last.filter(|(at, _)| i128::from(*time) - i128::from(*at) <= within).map(|(_, value)| value)
    });
    filled.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::definition::OnViolation;

    fn policy() -> impl Strategy<Value = OnDuplicate> {
        prop_oneof![Just(OnDuplicate::Last), Just(OnDuplicate::First), Just(OnDuplicate::Error)]
    }

    proptest! {
        /// Against the rule said for one row at a time.
        #[test]
        fn the_newest_created_wins_and_then_the_order_of_the_data(
            rows in prop::collection::vec((0i64..6, prop::option::of(0i64..3)), 0..20),
            policy in policy(),
            with_created in any::<bool>(),
        ) {
            let times: Vec<i64> = rows.iter().map(|row| row.0).collect();
            let created: Vec<_> = rows.iter().filter(|_| with_created).map(|row| row.1).collect();
            let known = |row: usize| created.get(row).copied().flatten();
            let mut expected = Ok(Vec::new());
            for time in 0..6 {
                let same: Vec<usize> = (0..times.len()).filter(|row| times[*row] == time).collect();
                let newest = same.iter().map(|row| known(*row)).max();
                let tied: Vec<usize> = same.into_iter().filter(|row| Some(known(*row)) == newest).collect();
                match (policy, tied.as_slice()) {
                    (_, []) => {}
                    (OnDuplicate::Error, [_, _, ..]) => expected = Err(()),
                    (OnDuplicate::First, [first, ..]) => expected.iter_mut().for_each(|rows| rows.push(*first as u32)),
                    (_, [.., last]) => expected.iter_mut().for_each(|rows| rows.push(*last as u32)),
                }
            }
            prop_assert_eq!(winners(&times, &created, policy).map_err(|_| ()), expected);
        }

        #[test]
        fn a_null_takes_the_last_value_that_is_young_enough(
            steps in prop::collection::vec((1i64..4, any::<bool>()), 0..20),
            within in 0i64..6,
        ) {
            let times: Vec<i64> = steps.iter().scan(0, |at, step| { *at += step.0; Some(*at) }).collect();
            let values: Vec<_> = (0..).zip(&steps).map(|(row, step)| step.1.then_some(row)).collect();
            let filled = fill(&times, &values, Duration::from_nanos(within as u64));
            for row in 0..times.len() {
                let last = (0..=row).rev().find(|earlier| values[*earlier].is_some());
                let young = last.filter(|earlier| times[row] - times[*earlier] <= within);
                prop_assert_eq!(filled[row], young.map(|row| row as u32));
            }
        }
    }

    #[test]
    fn an_error_is_of_the_rows_that_would_count() {
        let times = [5, 5, 5];
        assert_eq!(winners(&times, &[Some(1), Some(1), Some(2)], OnDuplicate::Error), Ok(vec![2]));
        assert_eq!(winners(&times, &[Some(1), Some(2), Some(2)], OnDuplicate::Error), Err(Duplicate { rows: [1, 2] }));
    }

    #[test]
    fn limits_are_possible_unless_they_are_excluded() {
        let rules = |exclusive, finite| Validity {
            min: Some(0.0),
            max: Some(10.0),
            exclusive,
            finite,
            on_violation: OnViolation::Error,
        };
        for (value, inclusive, exclusive) in
            [(0.0, true, false), (-0.1, false, false), (10.0, true, false), (10.1, false, false), (5.0, true, true)]
        {
            assert_eq!(is_possible(value, &rules(false, false)), inclusive, "{value}");
            assert_eq!(is_possible(value, &rules(true, false)), exclusive, "{value}");
        }
        let open = Validity { min: None, max: None, ..rules(false, false) };
        assert!(is_possible(f64::INFINITY, &open) && is_possible(f64::NAN, &open));
        assert!(!is_possible(f64::INFINITY, &Validity { finite: true, ..open }));
        assert!(!is_possible(f64::NAN, &Validity { finite: true, ..open }));
        assert!(is_possible(f64::NAN, &rules(true, false)), "a NaN is possible unless values are finite");
    }
}
