//! The length of a block, and which block an instant belongs to.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

use super::time::{TimeRange, Timestamp};
use crate::error::{Error, Result};

const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;
/// 1970-01-01 was a Thursday; weeks begin on Mondays, as ISO 8601 has them.
const FIRST_MONDAY: i64 = 4 * DAY;

/// The length of a block. Blocks are aligned in UTC, so every instant belongs to exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    /// From a full hour to the next.
    Hour,
    /// From midnight UTC to the next.
    Day,
    /// From Monday midnight UTC to the next.
    Week,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
}

impl Span {
    /// Every span, shortest first.
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// The block that `at` belongs to. At the ends of expressible time it is cut there.
    pub fn block_of(self, at: Timestamp) -> TimeRange {
        let (start, end) = match self {
            Self::Hour => aligned(at, HOUR, 0),
            Self::Day => aligned(at, DAY, 0),
            Self::Week => aligned(at, WEEK, FIRST_MONDAY),
            Self::Month | Self::Year => self.calendar_block(at),
        };
        // Both ends surround `at` or are cut to the range of time, so one of them moves away from it.
        TimeRange::new(start, end).unwrap_or_else(|_| cut_range(at))
    }

    /// The blocks that `range` touches, in order of time.
    pub fn blocks(self, range: TimeRange) -> impl Iterator<Item = TimeRange> {
        let mut next = Some(range.start());
        std::iter::from_fn(move || {
            let block = self.block_of(next?);
            next = (block.end() < range.end()).then_some(block.end());
            Some(block)
        })
    }

    /// How many blocks `range` touches, without listing them; an upper bound for months and years.
    pub fn count(self, range: TimeRange) -> u64 {
        let shortest = match self {
            Self::Hour => HOUR,
            Self::Day => DAY,
            Self::Week => WEEK,
            Self::Month => 28 * DAY,
            Self::Year => 365 * DAY,
        };
        let ns = u64::try_from(range.duration().as_nanos()).unwrap_or(u64::MAX);
        ns / shortest.unsigned_abs() + 2
    }

    fn calendar_block(self, at: Timestamp) -> (Timestamp, Timestamp) {
        let date = at.to_utc().date_naive();
        let (year, month) = match self {
            Self::Year => (date.year(), 1),
            _ => (date.year(), date.month()),
        };
        let (next_year, next_month) = match self {
            Self::Year => (year + 1, 1),
            _ if month == 12 => (year + 1, 1),
            _ => (year, month + 1),
        };
        (first_of(year, month).unwrap_or(Timestamp::MIN), first_of(next_year, next_month).unwrap_or(Timestamp::MAX))
    }
}

fn first_of(year: i32, month: u32) -> Option<Timestamp> {
    let midnight = NaiveDate::from_ymd_opt(year, month, 1)?.and_hms_opt(0, 0, 0)?;
    midnight.and_utc().timestamp_nanos_opt().map(Timestamp::from_ns)
}

fn aligned(at: Timestamp, length: i64, origin: i64) -> (Timestamp, Timestamp) {
    // i128, because the first and the last block reach beyond i64.
    let (at, length, origin) = (i128::from(at.as_ns()), i128::from(length), i128::from(origin));
    let start = (at - origin).div_euclid(length) * length + origin;
    (clamp(start), clamp(start + length))
}

fn clamp(ns: i128) -> Timestamp {
    let ns = ns.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    Timestamp::from_ns(i64::try_from(ns).unwrap_or(i64::MAX))
}

fn cut_range(at: Timestamp) -> TimeRange {
    let before = Timestamp::from_ns(at.as_ns().saturating_sub(1));
    TimeRange::new(before, at.max(Timestamp::from_ns(i64::MIN + 1))).unwrap_or_else(|_| cut_range(Timestamp::MAX))
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        })
    }
}

impl FromStr for Span {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|span| span.to_string() == text)
            .ok_or_else(|| Error::invalid(format!("span {text:?} is unknown: use hour, day, week, month or year")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(start: &str, end: &str) -> TimeRange {
        TimeRange::parse(start, end).unwrap()
    }

    fn block(span: Span, at: &str) -> String {
        span.block_of(at.parse().unwrap()).to_string()
    }

    #[test]
    fn blocks_follow_the_calendar_in_utc() {
        assert_eq!(block(Span::Hour, "2024-02-29T23:59:59.999999999Z"), "2024-02-29T23:00:00Z to 2024-03-01T00:00:00Z");
        assert_eq!(block(Span::Day, "1969-12-31T00:00:00Z"), "1969-12-31T00:00:00Z to 1970-01-01T00:00:00Z");
        assert_eq!(block(Span::Week, "2024-03-03T12:00:00Z"), "2024-02-26T00:00:00Z to 2024-03-04T00:00:00Z");
        assert_eq!(block(Span::Month, "2023-12-31T12:00:00Z"), "2023-12-01T00:00:00Z to 2024-01-01T00:00:00Z");
        assert_eq!(block(Span::Year, "2024-06-01"), "2024-01-01T00:00:00Z to 2025-01-01T00:00:00Z");
    }

    #[test]
    fn the_end_of_a_range_is_exclusive() {
        let days: Vec<_> = Span::Day.blocks(range("2024-03-01", "2024-03-03")).collect();
        assert_eq!(days.len(), 2);
        let one_more = Span::Day.blocks(range("2024-03-01", "2024-03-03T00:00:00.000000001Z")).count();
        assert_eq!(one_more, 3);
    }

    #[test]
    fn the_ends_of_time_have_blocks_too() {
        for span in Span::ALL {
            for at in [Timestamp::MIN, Timestamp::from_ns(i64::MAX - 1)] {
                assert!(span.block_of(at).contains(at), "{span} at {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn blocks_tile_every_range(start in -4_000_000_000i64..8_000_000_000, secs in 1i64..40_000_000, which in 0usize..5) {
            let span = Span::ALL[which];
            let secs = if span == Span::Hour { secs % 1_000_000 + 1 } else { secs };
            let wanted = TimeRange::new(Timestamp::from_secs(start), Timestamp::from_secs(start + secs)).unwrap();
            let blocks: Vec<_> = span.blocks(wanted).collect();
            prop_assert!(blocks[0].contains(wanted.start()));
            prop_assert!(blocks.last().unwrap().end() >= wanted.end());
            prop_assert!(blocks.last().unwrap().start() < wanted.end());
            for pair in blocks.windows(2) {
                prop_assert_eq!(pair[0].end(), pair[1].start());
            }
            for block in &blocks {
                prop_assert_eq!(span.block_of(block.start()), *block);
                prop_assert_eq!(span.block_of(Timestamp::from_ns(block.end().as_ns() - 1)), *block);
            }
            prop_assert!(span.count(wanted) >= blocks.len() as u64);
        }
    }
}
