use std::time::Duration;

use super::{DAY, HOUR, days_of, flat};
use crate::technical::{Bars, lookback_for, synthetic_bars};

fn days(count: u64) -> Duration {
    Duration::from_secs(86_400 * count)
}

/// `per_day` hourly bars from 13:00 on each of these days.
fn sessions(on: &[i64], per_day: i64) -> Bars {
    let session = |day: &i64| (0..per_day).map(|hour| *day * DAY + (13 + hour) * HOUR).collect();
    on.iter().flat_map(|day| -> Vec<i64> { session(day) }).map(|ts| flat(ts, 1.0)).collect()
}

/// What the lookback promises, counted out window by window.
fn holds(bars: &Bars, lookback: i64, min_bars: usize) -> bool {
    days_of(bars).into_iter().all(|day| {
        let start = (day - lookback) * DAY;
        bars.window(start, day * DAY).len() >= min_bars || start <= bars.as_slice().ts()[0]
    })
}

#[test]
fn a_window_reaches_over_a_weekend_for_its_bars() {
    let bars = sessions(&[0, 1, 4, 5], 5);
    assert_eq!(lookback_for([&bars], 5), days(3));
    assert_eq!(lookback_for([&bars], 10), days(4));
}

#[test]
fn a_window_that_holds_the_first_bar_is_long_enough() {
    let bars = sessions(&[10, 11, 12], 5);
    assert_eq!(lookback_for([&bars], 1_000), days(2));
}

#[test]
fn the_neediest_symbol_decides() {
    let busy = sessions(&[0, 1, 2, 3, 4, 5, 6, 7], 10);
    let thin = sessions(&[0, 1, 2, 3, 4, 5, 6, 7], 2);
    assert_eq!(lookback_for([&busy], 10), days(1));
    assert_eq!(lookback_for([&busy, &thin], 10), days(5));
}

#[test]
fn a_lookback_is_never_less_than_a_day() {
    assert_eq!(lookback_for([], 500), days(1));
    assert_eq!(lookback_for([&sessions(&[3], 5)], 500), days(1));
    assert_eq!(lookback_for([&sessions(&[3, 4], 5)], 0), days(1));
}

#[test]
fn a_lookback_is_enough_and_a_day_less_is_not() {
    let market = synthetic_bars(&["EURUSD"], 30, 20_003 * DAY + 7 * HOUR, 3).remove("EURUSD");
    let holidays = sessions(&[-9, -8, -5, -4, -3, -2, -1, 2, 3, 8, 9, 10, 11, 12, 30, 31], 5);
    for bars in [market.unwrap(), holidays] {
        for min_bars in [1, 2, 4, 5, 6, 17, 60, 500, 1_441, 9_000] {
            let lookback = lookback_for([&bars], min_bars).as_secs() as i64 / 86_400;
            assert!(holds(&bars, lookback, min_bars), "{lookback} days, {min_bars} bars");
            let less = lookback > 1 && holds(&bars, lookback - 1, min_bars);
            assert!(!less, "{lookback} days are too many for {min_bars} bars");
        }
    }
}
