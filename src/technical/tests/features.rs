use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampNanosecondType};

use super::{DAY, HOUR, MINUTE, column, days_of, features_of, features_of_day, flat, minutes, rows, value, values};
use crate::technical::{Bar, Bars, FEATURE_NAMES, lookback_for, synthetic_bars, technical_features};

fn market(days: u32) -> Bars {
    synthetic_bars(&["EURUSD"], days, 20_000 * DAY, 7).remove("EURUSD").unwrap()
}

fn assert_close(found: Option<f64>, expected: f64) {
    let found = found.unwrap();
    assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{found} is not {expected}");
}

#[test]
fn rsi_9_is_100_after_nine_gains_and_falls_by_wilders_ninth() {
    let closes = (0..10).map(f64::from).chain([8.0]).map(|close| close + 100.0);
    let rsi = values(&features_of(&minutes(closes)), "rsi_9");
    assert_eq!(rsi[..9], [None; 9]);
    assert_close(rsi[9], 100.0);
    // Average gain 8/9, average loss 1/9.
    assert_close(rsi[10], 100.0 * 8.0 / 9.0);
}

#[test]
fn atr_pct_is_the_range_in_percent_of_the_close() {
    let bar = |minute: i64| Bar { high: 101.0, low: 99.0, ..flat(minute * MINUTE, 100.0) };
    let bars: Bars = (0..16).map(bar).collect();
    let atr = values(&features_of(&bars), "atr_pct");
    assert_eq!(atr[..14], [None; 14]);
    assert_close(atr[14], 2.0);
    assert_close(atr[15], 2.0);
}

#[test]
fn adx_14_of_a_steady_rise_is_100() {
    let bar = |minute: i64| {
        let close = 100.0 + minute as f64;
        Bar { high: close + 0.5, low: close - 0.5, ..flat(minute * MINUTE, close) }
    };
    let bars: Bars = (0..30).map(bar).collect();
    let adx = values(&features_of(&bars), "adx_14");
    assert_eq!(adx[..27], [None; 27]);
    assert_close(adx[27], 100.0);
    assert_close(adx[29], 100.0);
}

#[test]
fn close_z_20_is_the_distance_from_the_mean_in_population_deviations() {
    let z = values(&features_of(&minutes((1..=21).map(f64::from))), "close_z_20");
    assert_eq!(z[..19], [None; 19]);
    // Mean of 1..=20 is 10.5, variance (20^2 - 1) / 12.
    assert_close(z[19], 9.5 / 33.25f64.sqrt());
    assert_close(z[20], 9.5 / 33.25f64.sqrt());
}

#[test]
fn close_z_20_of_equal_closes_is_null_even_where_their_mean_rounds() {
    for price in [0.1, 3875.46997, 1e-7, 1e15] {
        let z = values(&features_of(&minutes([price; 25])), "close_z_20");
        assert_eq!(z, [None; 25], "{price}");
    }
}

#[test]
fn close_z_20_keeps_its_digits_when_moves_are_small_against_the_price() {
    let closes = (1..=20).map(|step| 1e9 + f64::from(step) / 1024.0);
    let z = values(&features_of(&minutes(closes)), "close_z_20");
    assert_close(z[19], 9.5 / 33.25f64.sqrt());
}

#[test]
fn close_z_20_depends_on_its_twenty_closes_and_nothing_before() {
    let recent = (0..20).map(|step| 1.0 + f64::from(step * step % 7) / 1000.0);
    let after = |before: f64| {
        let bars = minutes(std::iter::repeat_n(before, 500).chain(recent.clone()));
        values(&features_of(&bars), "close_z_20")[519]
    };
    assert_eq!(after(1.0), after(1e12));
}

#[test]
fn what_comes_after_a_bar_changes_nothing_at_or_before_it() {
    let bars = market(3);
    let cut = bars.len() / 2;
    let changed: Bars = rows(&bars)
        .into_iter()
        .enumerate()
        .map(|(row, bar)| if row <= cut { bar } else { flat(bar.ts, 5.0 * bar.close) })
        .collect();
    let (before, after) = (features_of(&bars), features_of(&changed));
    for name in FEATURE_NAMES {
        let (before, after) = (column(&before, name), column(&after, name));
        assert_eq!(before.slice(0, cut + 1), after.slice(0, cut + 1), "{name}");
        assert_ne!(before.slice(cut + 1, 1), after.slice(cut + 1, 1), "{name} sees its own bar");
    }
}

#[test]
fn bars_from_the_end_of_the_range_on_are_not_looked_at() {
    let bars = market(3);
    let (from, to) = (19_998 * DAY, 19_999 * DAY);
    let all = technical_features(bars.as_slice(), from, to).unwrap();
    let cut = technical_features(bars.window(i64::MIN, to), from, to).unwrap();
    assert_eq!(all.ts.len(), 1_440);
    assert_eq!(all, cut);
}

#[test]
fn rows_are_those_of_the_range_and_history_only_warms_up() {
    let bars = market(3);
    let (from, to) = (19_998 * DAY + HOUR, 19_998 * DAY + 2 * HOUR);
    let features = technical_features(bars.as_slice(), from, to).unwrap();
    assert_eq!(features.ts.len(), 60);
    assert_eq!((features.ts[0], features.ts[59]), (from, to - MINUTE));
    let whole = features_of(&bars);
    let first = whole.ts.iter().position(|ts| *ts == from).unwrap();
    for name in FEATURE_NAMES {
        assert_eq!(*column(&features, name), column(&whole, name).slice(first, 60), "{name}");
        assert_eq!(column(&features, name).null_count(), 0, "{name}");
    }
}

#[test]
fn a_days_values_are_the_same_alone_and_among_many_days() {
    let bars = market(12);
    // So short that smoothing has not forgotten: a bar from before the window would show.
    let lookback = lookback_for([&bars], 60);
    for day in days_of(&bars) {
        let among_many = features_of_day(&bars, day, lookback);
        let from = day * DAY - i64::try_from(lookback.as_nanos()).unwrap();
        let inside = |bar: &Bar| (from..(day + 1) * DAY).contains(&bar.ts);
        let alone: Bars = rows(&bars).into_iter().filter(inside).collect();
        assert_eq!(features_of_day(&alone, day, lookback), among_many, "day {day}");
    }
}

#[test]
fn a_range_without_bars_has_no_rows() {
    let bars = minutes([1.0; 30]);
    for (from, to) in [(DAY, 2 * DAY), (5 * MINUTE, 5 * MINUTE), (9 * MINUTE, 3 * MINUTE)] {
        let features = technical_features(bars.as_slice(), from, to).unwrap();
        assert_eq!(features.into_record_batch().unwrap().num_rows(), 0);
    }
    let nothing = Bars::default();
    assert!(features_of(&nothing).ts.is_empty());
}

#[test]
fn the_record_batch_has_event_time_first_and_nulls_for_what_is_unknown() {
    let features = features_of(&minutes((1..=30).map(f64::from)));
    let expected = values(&features, "close_z_20");
    let batch: RecordBatch = features.into_record_batch().unwrap();

    let schema = batch.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names[0], "event_timestamp");
    assert_eq!(names[1..], FEATURE_NAMES);
    let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    assert_eq!(*schema.field(0).data_type(), utc);
    assert!(!schema.field(0).is_nullable());
    for field in schema.fields().iter().skip(1) {
        assert_eq!((field.data_type(), field.is_nullable()), (&DataType::Float64, true));
    }
    assert_eq!(batch.column(0).as_primitive::<TimestampNanosecondType>().value(29), 29 * MINUTE);
    let z = batch.column(7).as_primitive::<Float64Type>();
    assert_eq!((0..30).map(|row| value(z, row)).collect::<Vec<_>>(), expected);
    assert_eq!(z.null_count(), 19);
}
