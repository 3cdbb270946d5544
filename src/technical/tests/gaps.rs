//! Returns by time: over missing bars, nights and weekends.

use super::{DAY, HOUR, MINUTE, features_of, flat, minutes, values};
use crate::technical::{Bars, synthetic_bars};

/// The last `log_ret_5m` of flat bars at these minutes with these closes.
fn last_return_5m(bars: &[(i64, f64)]) -> Option<f64> {
    let bars: Bars = bars.iter().map(|(minute, close)| flat(minute * MINUTE, *close)).collect();
    *values(&features_of(&bars), "log_ret_5m").last().unwrap()
}

#[test]
fn a_return_looks_back_by_time_and_not_by_rows() {
    let bars = minutes([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 128.0]);
    let expected = [None, None, None, None, None, Some(32f64.ln()), Some(64f64.ln())];
    assert_eq!(values(&features_of(&bars), "log_ret_5m"), expected);
}

#[test]
fn a_return_compares_with_the_bar_exactly_one_span_earlier() {
    let bars = [(4, 3.0), (5, 2.0), (6, 3.0), (9, 3.0), (10, 8.0)];
    assert_eq!(last_return_5m(&bars), Some(4f64.ln()));
}

#[test]
fn where_that_bar_is_missing_the_latest_before_it_counts() {
    assert_eq!(last_return_5m(&[(1, 3.0), (3, 2.0), (6, 5.0), (10, 8.0)]), Some(4f64.ln()));
}

#[test]
fn a_return_never_spans_twice_its_name() {
    assert_eq!(last_return_5m(&[(1, 2.0), (10, 8.0)]), Some(4f64.ln()));
    assert_eq!(last_return_5m(&[(0, 2.0), (10, 8.0)]), None);
}

#[test]
fn a_bar_younger_than_the_span_is_no_substitute() {
    assert_eq!(last_return_5m(&[(6, 2.0), (10, 8.0)]), None);
}

#[test]
fn a_close_that_is_not_positive_has_no_return() {
    assert_eq!(last_return_5m(&[(0, 2.0), (5, -36.98)]), None);
    assert_eq!(last_return_5m(&[(0, 0.0), (5, 2.0)]), None);
}

#[test]
fn hourly_bars_have_returns_over_hours_and_none_over_minutes() {
    let bars: Bars = (0..6).map(|hour| flat(hour * HOUR, 2f64.powi(hour as i32))).collect();
    let features = features_of(&bars);
    assert_eq!(values(&features, "log_ret_5m"), [None; 6]);
    assert_eq!(values(&features, "log_ret_1h")[1], Some(2f64.ln()));
    assert_eq!(values(&features, "log_ret_4h")[3..], [None, Some(16f64.ln()), Some(16f64.ln())]);
}

#[test]
fn after_a_weekend_each_return_is_null_until_it_need_not_look_over_it() {
    // The Unix epoch was a Thursday: ten days hold one weekend, opening on day 3 at 22:00.
    let bars = synthetic_bars(&["EURUSD"], 10, 10 * DAY, 1).remove("EURUSD").unwrap();
    let features = features_of(&bars);
    let opening = 3 * DAY + 22 * HOUR;
    let row = features.ts.iter().position(|ts| *ts == opening).unwrap();
    for (name, span) in [("log_ret_5m", 5), ("log_ret_1h", 60), ("log_ret_4h", 240)] {
        let returns = values(&features, name);
        assert!(returns[row - 1].is_some(), "{name} on Friday");
        assert_eq!(returns[row..row + span], vec![None; span], "{name} on Sunday");
        assert!(returns[row + span..].iter().all(Option::is_some), "{name} from then on");
    }
}

#[test]
fn over_an_hours_break_only_the_long_return_is_known_at_once() {
    let trading = (0..600).filter(|minute| !(300..360).contains(minute));
    let bars: Bars = trading.map(|minute| flat(minute * MINUTE, 1.0 + minute as f64)).collect();
    let features = features_of(&bars);
    let row = features.ts.iter().position(|ts| *ts == 360 * MINUTE).unwrap();
    assert_eq!(values(&features, "log_ret_5m")[row], None);
    // One hour earlier the break began: the last close before it was the price then.
    assert_eq!(values(&features, "log_ret_1h")[row], Some((361.0f64 / 300.0).ln()));
    assert_eq!(values(&features, "log_ret_4h")[row], Some((361.0f64 / 121.0).ln()));
}
