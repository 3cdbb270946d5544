//! Points and ranges in time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, from 1677 to 2262.
///
/// Reads and prints RFC 3339. A date alone means its midnight, and a missing zone means UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest point that can be expressed.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest point that can be expressed.
    pub const MAX: Self = Self(i64::MAX);

    /// From nanoseconds since the epoch.
    pub const fn from_ns(ns: i64) -> Self {
        Self(ns)
    }

    /// From whole seconds since the epoch; beyond the range, the nearest end of it.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// The beginning of this minute, in whole minutes since the epoch; beyond the range, the nearest end of it.
    pub const fn from_minute(minute: i64) -> Self {
        Self::from_secs(minute.saturating_mul(60))
    }

    /// The minute that this point lies in, in whole minutes since the epoch.
    pub const fn minute(self) -> i64 {
        self.0.div_euclid(60_000_000_000)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_ns(self) -> i64 {
        self.0
    }

    /// This point moved later; at the end of the range it stays there.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(saturating_ns(by)))
    }

    /// This point moved earlier; at the beginning of the range it stays there.
    #[must_use]
    pub fn saturating_sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(saturating_ns(by)))
    }

    /// How long ago `earlier` was, or zero if it is later than this point.
    pub fn since(self, earlier: Self) -> Duration {
        let ns = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_nanos(u64::try_from(ns.max(0)).unwrap_or(u64::MAX))
    }

    pub(crate) fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(self.0)
    }
}

fn saturating_ns(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = DateTime::parse_from_rfc3339(text).map(|zoned| zoned.with_timezone(&Utc)).ok().or_else(|| {
            ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
                .iter()
                .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
                .or_else(|| {
                    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
                    date.and_hms_opt(0, 0, 0)
                })
                .map(|naive| naive.and_utc())
        });
        parsed.and_then(|at| at.timestamp_nanos_opt()).map(Self).ok_or_else(|| {
            Error::invalid(format!(
                "time {text:?} is not understood: write a date (2024-03-01) or RFC 3339 \
                 (2024-03-01T09:30:00Z) between the years 1678 and 2261"
            ))
        })
    }
}

/// A half-open range of time, `start <= t < end`, that holds at least one nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeRange {
    start: Timestamp,
    end: Timestamp,
}

impl TimeRange {
    /// The range from `start` to just before `end`.
    ///
    /// # Errors
    /// `Invalid` where `end` is not later than `start`.
    pub fn new(start: Timestamp, end: Timestamp) -> Result<Self> {
        if start < end {
            return Ok(Self { start, end });
        }
        let what = if start == end { "empty" } else { "reversed" };
        Err(Error::invalid(format!(
            "time range {start} to {end} is {what}: the end is exclusive and must be later than the start"
        )))
    }

    /// The same from text; see [`Timestamp`] for what is understood.
    ///
    /// # Errors
    /// `Invalid` where a text is no time, or the range is empty or reversed.
    pub fn parse(start: &str, end: &str) -> Result<Self> {
        Self::new(start.parse()?, end.parse()?)
    }

    /// The first instant.
    pub const fn start(&self) -> Timestamp {
        self.start
    }

    /// The instant after the last one.
    pub const fn end(&self) -> Timestamp {
        self.end
    }

    /// Whether `at` lies inside.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    /// Whether the two share an instant.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// What the two share.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let (start, end) = (self.start.max(other.start), self.end.min(other.end));
        (start < end).then_some(Self { start, end })
    }

    /// From the end of the range back to its start.
    pub fn duration(&self) -> Duration {
        self.end.since(self.start)
    }
}

impl fmt::Display for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn times_read_as_they_print() {
        for text in ["2024-03-01T09:30:00Z", "1969-12-31T23:59:59.999999999Z", "2261-01-01T00:00:00.001Z"] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        }
        assert_eq!("2024-03-01".parse::<Timestamp>().unwrap().to_string(), "2024-03-01T00:00:00Z");
        assert_eq!("2024-03-01T04:30-05:00".parse::<Timestamp>().unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!("2024-03-01T04:30:00-05:00".parse::<Timestamp>().unwrap().to_string(), "2024-03-01T09:30:00Z");
    }

    #[test]
    fn a_wrong_time_says_what_to_write() {
        let message = "yesterday".parse::<Timestamp>().unwrap_err().to_string();
        assert!(message.contains("\"yesterday\"") && message.contains("2024-03-01T09:30:00Z"), "{message}");
    }

    #[test]
    fn an_empty_or_reversed_range_is_invalid() {
        let empty = TimeRange::parse("2024-03-01", "2024-03-01").unwrap_err();
        assert!(empty.to_string().contains("is empty"), "{empty}");
        let reversed = TimeRange::parse("2024-03-02", "2024-03-01").unwrap_err();
        assert!(reversed.to_string().contains("is reversed"), "{reversed}");
        assert_eq!(reversed.kind(), ErrorKind::Invalid);
    }

    #[test]
    fn arithmetic_stays_inside_the_range_of_time() {
        assert_eq!(Timestamp::MAX.saturating_add(Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.saturating_sub(Duration::MAX), Timestamp::MIN);
        assert_eq!(Timestamp::MIN.since(Timestamp::MAX), Duration::ZERO);
    }
}
