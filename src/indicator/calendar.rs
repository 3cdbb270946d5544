//! The row's time.

use std::f64::consts::TAU;

use crate::definition::{Encode, Zone};

const DAY: i64 = 86_400_000_000_000;
/// The day 0 of the Unix epoch was a Thursday.
const THURSDAY: i64 = 3;

/// The part of the day that has passed.
pub(super) fn time_of_day(time: i64, zone: &Zone, encode: Encode) -> f64 {
    let (_, since_midnight) = local(time, zone);
    encoded(since_midnight as f64 / DAY as f64, encode)
}

/// The part of the week that has passed, in whole days since Monday.
pub(super) fn day_of_week(time: i64, zone: &Zone, encode: Encode) -> f64 {
    let (day, _) = local(time, zone);
    encoded((day + THURSDAY).rem_euclid(7) as f64 / 7.0, encode)
}

/// Days since the epoch, and nanoseconds since midnight, on the zone's clocks.
fn local(time: i64, zone: &Zone) -> (i64, i64) {
    let offset = jiff::Timestamp::from_nanosecond(time.into()).map_or(0, |time| zone.rules().to_offset(time).seconds());
    let since_midnight = time.rem_euclid(DAY) + i64::from(offset) * 1_000_000_000;
    (time.div_euclid(DAY) + since_midnight.div_euclid(DAY), since_midnight.rem_euclid(DAY))
}

fn encoded(fraction: f64, encode: Encode) -> f64 {
    match encode {
        Encode::Sin => (TAU * fraction).sin(),
        Encode::Cos => (TAU * fraction).cos(),
        Encode::Fraction => fraction,
    }
}
