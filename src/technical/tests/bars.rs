use std::time::Duration;

use super::{MINUTE, flat, minutes};
use crate::technical::Bars;

fn labels(bars: &Bars) -> &[i64] {
    bars.as_slice().ts()
}

fn at(labels: &[i64]) -> Bars {
    labels.iter().map(|ts| flat(*ts, 1.0)).collect()
}

#[test]
fn rows_in_any_order_become_bars_in_order_of_time() {
    let bars: Bars = [flat(30, 3.0), flat(10, 1.0), flat(20, 2.0)].into_iter().collect();
    assert_eq!(labels(&bars), [10, 20, 30]);
    assert_eq!(bars.as_slice().close(), [1.0, 2.0, 3.0]);
    assert_eq!(bars.duplicates(), 0);
}

#[test]
fn of_rows_with_one_label_the_last_counts() {
    let rows = [flat(10, 1.0), flat(20, 9.0), flat(10, 2.0), flat(10, 3.0)];
    let bars: Bars = rows.into_iter().collect();
    assert_eq!(labels(&bars), [10, 20]);
    assert_eq!(bars.as_slice().close(), [3.0, 9.0]);
    assert_eq!(bars.duplicates(), 2);
}

#[test]
fn a_window_holds_its_start_and_not_its_end() {
    let bars = at(&[10, 20, 30, 40]);
    assert_eq!(bars.window(20, 40).ts(), [20, 30]);
    assert_eq!(bars.window(11, 41).ts(), [20, 30, 40]);
    assert_eq!(bars.window(20, 40).window(i64::MIN, 30).ts(), [20]);
}

#[test]
fn a_window_that_ends_before_it_begins_is_empty() {
    let bars = at(&[10, 20, 30]);
    assert!(bars.window(30, 10).is_empty());
    assert!(bars.window(20, 20).is_empty());
}

#[test]
fn the_length_of_a_bar_is_the_most_common_step() {
    let bars = at(&[0, 5, 10, 100, 105]);
    assert_eq!(bars.bar_length(), Some(Duration::from_nanos(5)));
    assert_eq!(minutes([1.0; 5]).bar_length(), Some(Duration::from_nanos(MINUTE as u64)));
}

#[test]
fn of_two_steps_as_common_the_shorter_is_the_length() {
    assert_eq!(at(&[0, 9, 13]).bar_length(), Some(Duration::from_nanos(4)));
    assert_eq!(at(&[0, 4, 13]).bar_length(), Some(Duration::from_nanos(4)));
}

#[test]
fn a_single_bar_has_no_length() {
    assert_eq!(at(&[7]).bar_length(), None);
}
