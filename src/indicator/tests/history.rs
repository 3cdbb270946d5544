//! What a value depends on: nothing after its row, and no more before it than `memory` says.

use proptest::prelude::*;

use super::{MINUTE, Row, bars, bits, closes, columns_of, every, noise, over, period, prices, rows_of, values};
use crate::definition::{Indicator, Over};
use crate::indicator::{Columns, Memory, compute_from, memory};

/// The rows that have all the columns the indicator reads.
fn complete(indicator: &Indicator, bars: &[Row]) -> Vec<usize> {
    let reads: Vec<usize> = (0..4).filter(|at| indicator.columns().contains(&super::COLUMNS[*at])).collect();
    let has_all = |row: &usize| reads.iter().all(|column| bars[*row].1[*column].is_some());
    (0..bars.len()).filter(has_all).collect()
}

/// The same bars, `changed` of which have other values (and are not null where they were not).
fn with_others(bars: &[Row], others: &[Row], changed: impl Fn(usize) -> bool) -> Vec<Row> {
    let mut rows = bars.to_vec();
    for (row, (_, values)) in rows.iter_mut().enumerate().filter(|(row, _)| changed(*row)) {
        for (value, other) in values.iter_mut().zip(others[row % others.len()].1) {
            *value = value.map(|value| 1e6 * other.unwrap_or(value));
        }
    }
    rows
}

proptest! {
    #[test]
    fn a_changed_row_changes_no_earlier_value(
        bars in bars(1..60),
        others in bars(1..60),
        cut in 0usize..60,
        rows in 2usize..9,
    ) {
        let cut = cut.min(bars.len());
        let changed = with_others(&bars, &others, |row| row >= cut);
        for indicator in every(rows) {
            let (before, after) = (values(&indicator, &rows_of(&bars)), values(&indicator, &rows_of(&changed)));
            prop_assert_eq!(bits(&before[..cut]), bits(&after[..cut]), "{:?}", indicator);
        }
    }

    #[test]
    fn rows_after_a_value_may_as_well_not_be_there(bars in bars(1..60), cut in 0usize..60, rows in 2usize..9) {
        let cut = cut.min(bars.len());
        for indicator in every(rows) {
            let (all, part) = (values(&indicator, &rows_of(&bars)), values(&indicator, &rows_of(&bars[..cut])));
            prop_assert_eq!(bits(&all[..cut]), bits(&part), "{:?}", indicator);
        }
    }

    #[test]
    fn rows_beyond_an_exact_memory_change_not_a_bit(
        bars in bars(1..180),
        others in bars(1..60),
        last in 0usize..180,
        rows in prop_oneof![2usize..9, 126usize..132],
    ) {
        for indicator in every(rows) {
            let complete = complete(&indicator, &bars);
            let Some(last) = complete.get(last.min(complete.len().saturating_sub(1))).copied() else { continue };
            let (times, _) = columns_of(&bars);
            let oldest = match memory(&indicator) {
                Memory::Rows(rows) => {
                    let place = complete.iter().position(|row| *row == last).unwrap();
                    complete[(place + 1).saturating_sub(rows)]
                }
                Memory::Time(span) => {
                    let span = i64::try_from(span.as_nanos()).unwrap();
                    times.iter().position(|time| times[last] - time < span).unwrap()
                }
                Memory::Decaying { .. } => continue,
            };
            let changed = with_others(&bars, &others, |row| row < oldest);
            let (before, after) = (values(&indicator, &rows_of(&bars)), values(&indicator, &rows_of(&changed)));
            prop_assert_eq!(bits(&before[last..=last]), bits(&after[last..=last]), "{:?}", indicator);
        }
    }
}

proptest! {
    #[test]
    fn values_from_a_row_on_are_those_of_all_rows(
        bars in bars(1..180),
        whole in any::<bool>(),
        first in 0usize..190,
        rows in prop_oneof![2usize..9, 126usize..132],
    ) {
        let mut bars = bars;
        for value in bars.iter_mut().filter(|_| whole).flat_map(|(_, values)| values) {
            *value = value.or(Some(1.0));
        }
        let columns = rows_of(&bars);
        for indicator in every(rows) {
            let all = values(&indicator, &columns);
            let some: Vec<_> = compute_from(&indicator, &columns, first).unwrap().iter().collect();
            prop_assert_eq!(bits(&all[first.min(all.len())..]), bits(&some), "{:?}", indicator);
        }
    }
}

/// Prices that move by about 1 at every row, in columns; those before `changed` are others.
fn market(count: usize, changed: usize) -> Columns {
    let mut price = 5_000.0;
    let rows = noise(11).zip(noise(5)).take(count).enumerate().map(|(row, (noise, other))| {
        price += noise.signum() * (0.5 + noise.abs() / 2.0);
        let close = if row < changed { 4_990.0 + 10.0 * other } else { price };
        [Some(close + 0.5), Some(close - 0.5), Some(close), Some(1.0 + noise.abs())]
    });
    rows_of(&rows.map(|values| (1, values)).collect::<Vec<_>>())
}

#[test]
fn the_oldest_row_of_an_exact_memory_counts() {
    for indicator in every(129).into_iter().chain(every(5)) {
        let (Memory::Rows(rows @ 2..), count) = (memory(&indicator), 200) else { continue };
        let bars: Vec<Row> = {
            let (high, low) = (noise(1).map(|noise| 102.0 + noise), noise(2).map(|noise| 98.0 + noise));
            let rows = high.zip(low).take(count).map(|(high, low)| [high, low, (high + low) / 2.0, 7.0]);
            rows.map(|values| (1, values.map(Some))).collect()
        };
        let scaled = |factor: f64| {
            let mut bars = bars.clone();
            let (_, values) = &mut bars[count - rows];
            *values = values.map(|value| value.map(|value| value * factor));
            values_at_end(&indicator, &rows_of(&bars))
        };
        assert!([1e3, 1e-3].into_iter().any(|factor| scaled(factor) != scaled(1.0)), "{indicator:?}");
    }
}

fn values_at_end(indicator: &Indicator, rows: &Columns) -> Option<f64> {
    *values(indicator, rows).last().unwrap()
}

#[test]
fn what_an_average_keeps_of_older_rows_is_the_part_of_their_difference_that_was_asked_for() {
    for indicator in every(14) {
        let decaying @ Memory::Decaying { warm_up, .. } = memory(&indicator) else { continue };
        let left = |rows: usize| {
            let end = |changed| values_at_end(&indicator, &market(600 + rows, changed)).unwrap();
            (end(0) - end(600)).abs()
        };
        let at_first = (1..=warm_up).map(left).fold(0.0, f64::max);
        for tolerance in [1e-3, 1e-6, 1e-9] {
            let rows = decaying.rows(tolerance).unwrap();
            let (all, some) = (left(rows) / at_first, left(rows * 6 / 10) / at_first);
            assert!(all <= 10.0 * tolerance, "{indicator:?} {tolerance}: {rows} rows leave {all}");
            assert!(some > 2.0 * tolerance, "{indicator:?} {tolerance}: 0.6 * {rows} rows leave no more than {some}");
        }
    }
}

#[test]
fn a_lookback_follows_from_the_factor() {
    // (13 / 14)^280 is 1e-9, as `MIN_BARS` of the technical features has it.
    let rsi = memory(&Indicator::Rsi { column: "close".into(), period: period(14) });
    assert_eq!(rsi, Memory::Decaying { warm_up: 15, factor: 13.0 / 14.0, passes: 1 });
    assert_eq!(rsi.rows(1e-9), Some(15 + 280));
    let adx = memory(&Indicator::Adx { prices: prices(), period: period(14) });
    let Memory::Decaying { warm_up, factor, passes: 2 } = adx else { panic!("{adx:?}") };
    let steps = adx.rows(1e-9).unwrap() - warm_up;
    let left = |steps: usize| factor.powf(steps as f64) * (1.0 + steps as f64 / 13.0);
    assert!(left(steps) <= 1e-9 && left(steps - 1) > 1e-9, "{steps}");
    assert_eq!(Memory::Rows(20).rows(1e-9), Some(20));
    assert_eq!(Memory::Decaying { warm_up: 2, factor: 0.0, passes: 1 }.rows(1e-9), Some(2));
}

#[test]
fn a_return_over_a_time_forgets_what_is_twice_as_old() {
    let five = Indicator::LogReturn { column: "close".into(), over: over(5) };
    let Memory::Time(span) = memory(&five) else { panic!("a time") };
    assert_eq!(span.as_secs(), 600);
    assert_eq!(memory(&five).rows(1e-9), None);
    let apart = |time: i64| {
        let rows = Columns::new(vec![0, time]).unwrap();
        values(&five, &rows.with("close", &arrow::array::Float64Array::from(vec![2.0, 4.0])))[1]
    };
    assert_eq!(apart(5 * MINUTE - 1), None);
    assert_eq!(apart(5 * MINUTE), Some(2f64.ln()));
    assert_eq!(apart(10 * MINUTE - 1), Some(2f64.ln()));
    assert_eq!(apart(10 * MINUTE), None);
}

#[test]
fn times_at_the_ends_of_what_nanoseconds_hold_are_no_trouble() {
    let rows = Columns::new(vec![i64::MIN, i64::MIN + 1, -1, i64::MAX]).unwrap();
    let rows = rows.with("close", &arrow::array::Float64Array::from(vec![1.0; 4]));
    assert_eq!(values(&Indicator::LogReturn { column: "close".into(), over: over(5) }, &rows), [None; 4]);
}

#[test]
fn a_deviation_is_not_that_of_the_history_before() {
    let column = || "close".to_owned();
    let recent: Vec<f64> = noise(3).take(300).map(|noise| 1e9 + noise).collect();
    for rows in [20, 200] {
        for indicator in [
            Indicator::Sma { column: column(), period: period(rows) },
            Indicator::RollingStd { column: column(), period: period(rows) },
            Indicator::Zscore { column: column(), period: period(rows) },
        ] {
            let alone = values_at_end(&indicator, &closes(&recent));
            for before in [1e300, 1e-300, -1e17] {
                let history: Vec<f64> = std::iter::repeat_n(before, 500).chain(recent.clone()).collect();
                assert_eq!(values_at_end(&indicator, &closes(&history)), alone, "{indicator:?} after {before}");
            }
        }
    }
    for rows in [20, 200] {
        let score = Indicator::Zscore { column: column(), period: period(rows) };
        assert_eq!(values_at_end(&score, &closes(&[0.1; 200])), None);
        let beyond: Vec<f64> = noise(3).take(200).map(|noise| 1e200 * noise).collect();
        assert_eq!(values_at_end(&score, &closes(&beyond)), None);
    }
    let change = Indicator::Change { column: column(), over: Over::Bars(period(1)), relative: true };
    assert_eq!(values(&change, &closes(&[1e300, -1e300])), [None, Some(-2.0)]);
}
