//! Which row counts at a time.

use std::time::Duration;

use crate::planted::{self, Bug};

/// What is known at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// The row that counts.
    Present(usize),
    /// The newest row, which is too old.
    Expired(usize),
    /// There is no row at or before the time.
    Missing,
}

impl Match {
    /// The newest row that is not later than `at`, by its age; all in nanoseconds.
    pub(super) fn of(row: usize, time: i64, at: i64, ttl: Duration) -> Self {
        let ttl = i64::try_from(ttl.as_nanos()).unwrap_or(i64::MAX);
        let ttl = ttl.saturating_sub(i64::from(planted::is(Bug::TtlExclusive)));
        if at.saturating_sub(time) <= ttl { Self::Present(row) } else { Self::Expired(row) }
    }

    /// The row that counts.
    pub fn row(self) -> Option<usize> {
        match self {
            Self::Present(row) => Some(row),
            Self::Expired(_) | Self::Missing => None,
        }
    }
}

/// The row that counts at each of the times `at`: of the rows with these ascending event times the newest one with
/// `at - ttl <= event time <= at`, both ends included. All in nanoseconds. `O(at · log times)`.
pub fn as_of(times: &[i64], at: &[i64], ttl: Duration) -> Vec<Match> {
    at.iter().map(|at| newest(times, *at, *at, ttl)).collect()
}

/// The same at one time, of the rows up to `until`.
pub(super) fn newest(times: &[i64], until: i64, at: i64, ttl: Duration) -> Match {
    let row = times.partition_point(|time| *time <= until).checked_sub(1);
    match row.and_then(|row| Some((row, *times.get(row)?))) {
        Some((row, time)) => Match::of(row, time, at, ttl),
        None => Match::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_ends_of_the_ttl_are_included() {
        let ttl = Duration::from_nanos(10);
        let found = as_of(&[100, 100, 120], &[99, 100, 110, 111, 120, 131], ttl);
        let expected = [
            Match::Missing,
            Match::Present(1),
            Match::Present(1),
            Match::Expired(1),
            Match::Present(2),
            Match::Expired(2),
        ];
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn it_is_the_newest_row_that_is_not_later(
            mut times in proptest::collection::vec(-50_i64..50, 0..20), at in -60_i64..60, ttl in 0_u64..40,
        ) {
            times.sort_unstable();
            let found = as_of(&times, &[at], Duration::from_nanos(ttl));
            let newest = (0..times.len()).rfind(|row| times[*row] <= at);
            let expected = match newest {
                None => Match::Missing,
                Some(row) if at - times[row] <= i64::try_from(ttl).unwrap() => Match::Present(row),
                Some(row) => Match::Expired(row),
            };
            prop_assert_eq!(found, [expected]);
        }
    }
}
