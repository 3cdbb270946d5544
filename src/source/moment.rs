//! What the times in a file mean.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int64Type, TimeUnit, TimestampNanosecondType};
use chrono::DateTime;
use jiff::civil::{DateTime as WallTime, Time};
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::cast::lost;
use super::found::{Found, Kind};
use crate::definition::{EpochUnit, Zone};

const NS_PER_DAY: i64 = 86_400_000_000_000;

/// How the times of a source are read.
///
/// An instant is itself. A time without a zone is on the wall clock of the source's zone: where a clock that is set
/// back shows it twice it is the first of the two, and where a clock that is set forward skips it there is no such
/// time, which is an error. A date is the first instant of its day. A whole number counts the source's unit since
/// 1970, and without a unit it is no time. Text is any of these as ISO 8601 writes it.
#[derive(Debug, Clone)]
pub(super) struct Clockface {
    zone: Zone,
    unit: Option<EpochUnit>,
}

/// The first time of a column that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadTime {
    pub(super) row: usize,
    /// What it is and why it is no time.
    pub(super) what: String,
}

impl Clockface {
    pub(super) fn new(zone: &Zone, unit: Option<EpochUnit>) -> Self {
        Self { zone: zone.clone(), unit }
    }

    /// Why columns of this type hold no times, where they hold none.
    pub(super) fn objection(&self, found: &Found) -> Option<String> {
        match found.kind {
            Kind::Date | Kind::Naive(_) | Kind::Instant(_) | Kind::Text => None,
            Kind::Integer if self.unit.is_some() => None,
            Kind::Integer => Some(format!("is {found}: say what its numbers count with time_unit = \"ms\"")),
            _ => {
                Some(format!("is {found}, which is no time: use a timestamp, a date, ISO 8601 text or a whole number"))
            }
        }
    }

    /// The instants of a column in nanoseconds; null where it is null.
    pub(super) fn instants(&self, values: &ArrayRef, found: &Found) -> Result<Int64Array, BadTime> {
        match found.kind {
            Kind::Naive(_) if *self.zone.rules() != TimeZone::UTC => {
                self.each(&nanoseconds(values)?, |wall| self.on_wall(wall_time(wall)?))
            }
            Kind::Naive(_) | Kind::Instant(_) => nanoseconds(values),
            Kind::Date => {
                let days = values.as_primitive_opt::<Date32Type>().ok_or_else(|| unlike(values))?;
                let instants = (0..days.len()).map(|row| {
                    let day = days.is_valid(row).then(|| days.value(row));
                    day.map(|day| self.day(i64::from(day)).map_err(|what| BadTime { row, what })).transpose()
                });
                instants.collect()
            }
            Kind::Integer => {
                let counts = integers(values)?;
                self.each(&counts, |count| self.counted(count))
            }
            _ => {
                let texts = cast(values, &DataType::Utf8).map_err(|_| unlike(values))?;
                let texts = texts.as_string::<i32>();
                let read = |(row, text): (usize, Option<&str>)| {
                    text.map(|text| self.text(text).map_err(|what| BadTime { row, what })).transpose()
                };
                texts.iter().enumerate().map(read).collect()
            }
        }
    }

    fn each(&self, values: &Int64Array, read: impl Fn(i64) -> Result<i64, String>) -> Result<Int64Array, BadTime> {
        let one = |(row, value): (usize, Option<i64>)| {
            value.map(|value| read(value).map_err(|what| BadTime { row, what })).transpose()
        };
        values.iter().enumerate().map(one).collect()
    }

    fn counted(&self, count: i64) -> Result<i64, String> {
        let unit = self.unit.ok_or_else(|| format!("{count} is a number: say what it counts with time_unit"))?;
        count.checked_mul(unit.nanoseconds()).ok_or_else(|| format!("{count} {OUTSIDE}"))
    }

    /// The instant that a clock on the wall shows.
    fn on_wall(&self, wall: WallTime) -> Result<i64, String> {
        let offset = match self.zone.rules().to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Fold { before, .. } => before,
            AmbiguousOffset::Gap { .. } => {
                return Err(format!("{wall} does not exist in {}, where clocks were set forward over it", self.zone));
            }
        };
        offset.to_timestamp(wall).ok().and_then(in_range).ok_or_else(|| format!("{wall} {OUTSIDE}"))
    }

    /// The first instant of a day since 1970-01-01.
    fn day(&self, day: i64) -> Result<i64, String> {
        let midnight = day.checked_mul(NS_PER_DAY).ok_or_else(|| format!("day {day} {OUTSIDE}"))?;
        self.midnight(wall_time(midnight)?)
    }

    fn midnight(&self, wall: WallTime) -> Result<i64, String> {
        match self.zone.rules().to_ambiguous_timestamp(wall).offset() {
            // Clocks were set forward over midnight: the day began when they were.
            AmbiguousOffset::Gap { .. } => {
                let later = self.zone.rules().to_ambiguous_timestamp(wall).later().ok();
                let behind = later.and_then(|later| later.checked_add(SignedDuration::from_nanos(1)).ok());
                let set = behind.and_then(|behind| self.zone.rules().preceding(behind).next());
                set.and_then(|set| in_range(set.timestamp())).ok_or_else(|| format!("{wall} {OUTSIDE}"))
            }
            _ => self.on_wall(wall),
        }
    }

    fn text(&self, text: &str) -> Result<i64, String> {
        if self.unit.is_some()
            && let Ok(count) = text.parse()
        {
            return self.counted(count);
        }
        let bad = || format!("{text:?} is no time: write 2024-03-01T09:30:00Z, 2024-03-01 09:30:00 or 2024-03-01");
        let pieces = Pieces::parse(text).map_err(|_| bad())?;
        if pieces.time_zone_annotation().is_some() {
            return Err(bad());
        }
        let wall = pieces.date().to_datetime(pieces.time().unwrap_or(Time::midnight()));
        match (pieces.offset(), pieces.time()) {
            (Some(PiecesOffset::Zulu), _) => at_offset(wall, jiff::tz::Offset::UTC, text),
            (Some(PiecesOffset::Numeric(numeric)), _) => at_offset(wall, numeric.offset(), text),
            (Some(_), _) => Err(bad()),
            (None, Some(_)) => self.on_wall(wall),
            (None, None) => self.midnight(wall),
        }
    }

    /// The SQL that is true of the values of `column` from one instant up to another, and of no others; `None` where
    /// only reading the values tells.
    pub(super) fn between(&self, column: &str, found: &Found, from: i64, to: i64) -> Option<String> {
        let bounds = self.bounds(found, from, to)?;
        let condition = |(comparison, value)| format!("{column} {comparison} {}", literal(found, value));
        let conditions: Vec<_> = bounds.into_iter().map(condition).collect();
        Some(if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") })
    }

    /// The comparisons that are true of the values from one instant up to another, and of no others; `None` where only
    /// reading the values tells. The extremes of time are no bounds.
    ///
    /// A bound is in nanoseconds since 1970, by the clock on the wall for a time without a zone; of a date it is the
    /// number of its day, and a whole number is itself.
    pub(super) fn bounds(&self, found: &Found, from: i64, to: i64) -> Option<Vec<(&'static str, i64)>> {
        let from = (from > i64::MIN + 2 * NS_PER_DAY).then_some((">=", from));
        let to = (to < i64::MAX - 2 * NS_PER_DAY).then_some(("<", to));
        let bound = |(comparison, instant)| Some((comparison, self.bound(found, instant)?));
        from.into_iter().chain(to).map(bound).collect()
    }

    /// The smallest value that stands for this instant or a later one. Later values stand for later instants, so a
    /// comparison of values is one of instants.
    fn bound(&self, found: &Found, instant: i64) -> Option<i64> {
        Some(match found.kind {
            Kind::Instant(unit) => round_up(instant, unit),
            Kind::Naive(unit) => round_up(self.first_wall(instant)?, unit),
            Kind::Integer => {
                let unit = self.unit?.nanoseconds();
                round_up(instant, unit) / unit
            }
            Kind::Date => {
                let today = self.wall(instant)?.div_euclid(NS_PER_DAY);
                if self.day(today).ok()? >= instant { today } else { today + 1 }
            }
            _ => return None,
        })
    }

    /// What the clock on the wall shows, in nanoseconds since it showed 1970-01-01.
    fn wall(&self, instant: i64) -> Option<i64> {
        let offset = self.zone.rules().to_offset(Timestamp::from_nanosecond(instant.into()).ok()?);
        instant.checked_add(i64::from(offset.seconds()) * 1_000_000_000)
    }

    /// The first reading of the clock that stands for this instant or a later one.
    fn first_wall(&self, instant: i64) -> Option<i64> {
        let wall = self.wall(instant)?;
        let at = Timestamp::from_nanosecond(instant.into()).ok()?;
        let rules = self.zone.rules();
        if let AmbiguousOffset::Fold { before, after } = rules.to_ambiguous_timestamp(wall_time(wall).ok()?).offset()
            && rules.to_offset(at) == after
        {
            // The clock shows this for the second time, and what it shows means the first. The first new reading is
            // the one at which it was set back.
            let set = rules.preceding(Timestamp::from_nanosecond(i128::from(instant) + 1).ok()?).next()?;
            return in_range(set.timestamp())?.checked_add(i64::from(before.seconds()) * 1_000_000_000);
        }
        Some(wall)
    }
}

/// A bound as SQL.
fn literal(found: &Found, bound: i64) -> String {
    let stamp = |value: i64, format: &str| DateTime::from_timestamp_nanos(value).format(format).to_string();
    let text = match found.kind {
        Kind::Integer => return bound.to_string(),
        Kind::Date => stamp(bound.saturating_mul(NS_PER_DAY), "%Y-%m-%d"),
        Kind::Instant(_) => stamp(bound, "%Y-%m-%d %H:%M:%S%.9f+00"),
        _ => stamp(bound, "%Y-%m-%d %H:%M:%S%.9f"),
    };
    format!("CAST('{text}' AS {})", found.sql)
}

const OUTSIDE: &str = "is outside of what can be expressed, the years 1678 to 2261";

fn round_up(value: i64, unit: i64) -> i64 {
    value.saturating_add((-value.rem_euclid(unit)).rem_euclid(unit))
}

fn in_range(timestamp: Timestamp) -> Option<i64> {
    i64::try_from(timestamp.as_nanosecond()).ok()
}

fn at_offset(wall: WallTime, offset: jiff::tz::Offset, text: &str) -> Result<i64, String> {
    offset.to_timestamp(wall).ok().and_then(in_range).ok_or_else(|| format!("{text} {OUTSIDE}"))
}

fn wall_time(wall: i64) -> Result<WallTime, String> {
    let at = Timestamp::from_nanosecond(wall.into()).map_err(|_| format!("{wall} {OUTSIDE}"))?;
    Ok(TimeZone::UTC.to_datetime(at))
}

/// A timestamp column as what it counts, in nanoseconds.
fn nanoseconds(values: &ArrayRef) -> Result<Int64Array, BadTime> {
    let DataType::Timestamp(_, zone) = values.data_type() else { return Err(unlike(values)) };
    let to = DataType::Timestamp(TimeUnit::Nanosecond, zone.clone());
    let cast = cast(values, &to).map_err(|_| unlike(values))?;
    if let Some(row) = lost(values, &cast) {
        return Err(BadTime { row, what: format!("a time {OUTSIDE}") });
    }
    Ok(cast.as_primitive::<TimestampNanosecondType>().reinterpret_cast::<Int64Type>())
}

fn integers(values: &ArrayRef) -> Result<Int64Array, BadTime> {
    let cast = cast(values, &DataType::Int64).map_err(|_| unlike(values))?;
    if let Some(row) = lost(values, &cast) {
        return Err(BadTime { row, what: format!("a number {OUTSIDE}") });
    }
    Ok(cast.as_primitive::<Int64Type>().clone())
}

/// The engine gave something else than it had announced.
fn unlike(values: &ArrayRef) -> BadTime {
    BadTime { row: 0, what: format!("a {} is no time", values.data_type()) }
}
