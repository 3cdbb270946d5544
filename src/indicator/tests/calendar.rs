use std::f64::consts::TAU;

use proptest::prelude::*;

use super::values;
use crate::definition::{Encode, Indicator, Zone};
use crate::indicator::Columns;

const HOUR: i64 = 3_600_000_000_000;

fn at(indicator: &Indicator, time: i64) -> f64 {
    values(indicator, &Columns::new(vec![time]).unwrap())[0].unwrap()
}

fn fraction_of_day(zone: &str, time: &str) -> f64 {
    let time: jiff::Timestamp = time.parse().unwrap();
    let indicator = Indicator::TimeOfDay { encode: Encode::Fraction, zone: Zone::new(zone).unwrap() };
    at(&indicator, i64::try_from(time.as_nanosecond()).unwrap())
}

fn weekday(zone: &str, time: &str) -> f64 {
    let time: jiff::Timestamp = time.parse().unwrap();
    let indicator = Indicator::DayOfWeek { encode: Encode::Fraction, zone: Zone::new(zone).unwrap() };
    7.0 * at(&indicator, i64::try_from(time.as_nanosecond()).unwrap())
}

#[test]
fn the_time_of_day_is_that_of_the_zones_clocks() {
    assert_eq!(fraction_of_day("UTC", "2024-03-01T18:00:00Z"), 0.75);
    assert_eq!(fraction_of_day("America/Bogota", "2024-03-01T18:00:00Z"), 13.0 / 24.0);
    // Clocks went forward on 2024-03-10: from then on midnight is an hour earlier.
    assert_eq!(fraction_of_day("America/New_York", "2024-03-10T06:59:00Z"), 119.0 / 1440.0);
    assert_eq!(fraction_of_day("America/New_York", "2024-03-10T07:00:00Z"), 3.0 / 24.0);
    assert_eq!(fraction_of_day("UTC", "1969-12-31T23:00:00Z"), 23.0 / 24.0);
}

#[test]
fn the_day_of_the_week_is_that_of_the_zones_calendar() {
    assert_eq!(weekday("UTC", "2024-03-04T00:00:00Z"), 0.0);
    assert_eq!(weekday("America/Bogota", "2024-03-04T00:00:00Z"), 6.0);
    assert_eq!(weekday("Asia/Tokyo", "2024-03-03T15:00:00Z"), 0.0);
    assert_eq!(weekday("UTC", "1969-12-31T00:00:00Z"), 2.0);
}

#[test]
fn a_place_on_the_circle_has_a_sine_and_a_cosine() {
    for (encode, expected) in [(Encode::Sin, (TAU / 8.0).sin()), (Encode::Cos, (TAU / 8.0).cos())] {
        assert_eq!(at(&Indicator::TimeOfDay { encode, zone: Zone::utc() }, 3 * HOUR), expected);
    }
}

proptest! {
    #[test]
    fn any_time_has_a_place_within_its_day_and_week(time: i64) {
        for zone in ["UTC", "Asia/Kolkata", "America/New_York"].map(|zone| Zone::new(zone).unwrap()) {
            let day = at(&Indicator::TimeOfDay { encode: Encode::Fraction, zone: zone.clone() }, time);
            let week = at(&Indicator::DayOfWeek { encode: Encode::Fraction, zone: zone.clone() }, time);
            let local = jiff::Timestamp::from_nanosecond(time.into()).unwrap().to_zoned(zone.rules().clone());
            let midnight = local.datetime().with().time(jiff::civil::Time::midnight()).build().unwrap();
            let passed = local.datetime().duration_since(midnight).as_nanos();
            prop_assert_eq!(day, passed as f64 / (24 * HOUR) as f64);
            prop_assert_eq!(week, f64::from(local.weekday().to_monday_zero_offset()) / 7.0);
        }
    }
}
