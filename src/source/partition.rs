//! What directories named `key=value` say of the rows below them.

use std::path::Path;

use chrono::{Datelike, Months, NaiveDate};

const NS_PER_DAY: i64 = 86_400_000_000_000;
/// Directories whose value is the day of their rows; so is one named like the column of the event time.
const DAY_NAMES: [&str; 3] = ["date", "day", "dt"];
/// How Hive writes a null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The name and value of a directory `name=value`. The value is percent-decoded; a null is `None`.
pub(super) fn pair(directory: &str) -> Option<(&str, Option<String>)> {
    let (name, value) = directory.split_once('=').filter(|(name, _)| !name.is_empty())?;
    Some((name, (value != NULL).then(|| decode(value))))
}

/// The columns that the directories above a file are.
pub(super) fn columns(path: &Path) -> Vec<(String, Option<String>)> {
    let directories = path.parent().into_iter().flat_map(Path::components);
    let pairs = directories.filter_map(|directory| pair(directory.as_os_str().to_str()?));
    pairs.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Whatever is not an escape stands for itself.
fn decode(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = match rest {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { rest.get(3..).unwrap_or_default() } else { behind };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| value.to_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Days since 1970-01-01, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Days {
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Days {
    /// The UTC days of the instants `from <= t < to`.
    pub(super) fn of(from_ns: i64, to_ns: i64) -> Self {
        Self { first: from_ns.div_euclid(NS_PER_DAY), last: to_ns.saturating_sub(1).div_euclid(NS_PER_DAY) }
    }

    /// Whether rows of the days in `self` may have times in `wanted`. A directory's day may be that of another zone,
    /// or a session that began on the evening before: so a day more on both sides.
    pub(super) fn may_hold(self, wanted: Self) -> bool {
        self.first - 1 <= wanted.last && self.last + 1 >= wanted.first
    }

    /// The instant before which all rows of these days are, with the same day more.
    pub(super) fn end_ns(self) -> i64 {
        (self.last + 2).saturating_mul(NS_PER_DAY)
    }
}

/// What the directories so far say of the days of their rows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Calendar {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    date: Option<NaiveDate>,
}

impl Calendar {
    /// The same with what one more directory says.
    pub(super) fn with(mut self, name: &str, value: &str, event_time: &str) -> Self {
        if name == event_time || DAY_NAMES.contains(&name) {
            self.date = NaiveDate::parse_from_str(value, "%Y-%m-%d").ok().or(self.date);
        }
        match name {
            "year" => self.year = value.parse().ok(),
            "month" => self.month = value.parse().ok(),
            "day" => self.day = value.parse().ok(),
            _ => {}
        }
        self
    }

    /// The days, where they are known.
    pub(super) fn days(&self) -> Option<Days> {
        let (first, end) = match (self.date, self.year, self.month, self.day) {
            (Some(date), ..) => (date, date.succ_opt()?),
            (None, Some(year), Some(month), Some(day)) => {
                let date = NaiveDate::from_ymd_opt(year, month, day)?;
                (date, date.succ_opt()?)
            }
            (None, Some(year), Some(month), None) => {
                let first = NaiveDate::from_ymd_opt(year, month, 1)?;
                (first, first.checked_add_months(Months::new(1))?)
            }
            (None, Some(year), None, _) => {
                (NaiveDate::from_ymd_opt(year, 1, 1)?, NaiveDate::from_ymd_opt(year.checked_add(1)?, 1, 1)?)
            }
            _ => return None,
        };
        let number = |date: NaiveDate| i64::from(date.num_days_from_ce()) - 719_163;
        Some(Days { first: number(first), last: number(end) - 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_whatever_else_stays() {
        for (directory, value) in [
            ("symbol=BRK%2FB", Some("BRK/B")),
            ("symbol=a=b", Some("a=b")),
            ("symbol=100%", Some("100%")),
            ("symbol=%zz%4", Some("%zz%4")),
            ("symbol=%FF", Some("%FF")),
            ("symbol=%D0%BA", Some("к")),
            ("symbol=__HIVE_DEFAULT_PARTITION__", None),
        ] {
            assert_eq!(pair(directory), Some(("symbol", value.map(str::to_owned))), "{directory}");
        }
        assert_eq!(pair("plain"), None);
        assert_eq!(pair("=x"), None);
    }

    #[test]
    fn a_directory_says_its_days() {
        let days = |parts: &[(&str, &str)]| {
            let all = parts.iter().fold(Calendar::default(), |so_far, (name, value)| so_far.with(name, value, "ts"));
            all.days().map(|days| (days.first, days.last))
        };
        assert_eq!(days(&[("date", "1970-01-02")]), Some((1, 1)));
        assert_eq!(days(&[("ts", "1970-01-02")]), Some((1, 1)));
        assert_eq!(days(&[("year", "1970")]), Some((0, 364)));
        assert_eq!(days(&[("year", "1970"), ("month", "02")]), Some((31, 58)));
        assert_eq!(days(&[("year", "1970"), ("month", "2"), ("day", "1")]), Some((31, 31)));
        assert_eq!(days(&[("month", "2")]), None);
        assert_eq!(days(&[("download", "1970-01-02")]), None, "a date of something else says nothing of the rows");
    }

    #[test]
    fn a_day_holds_the_evening_before_and_the_night_after() {
        let day = Days { first: 10, last: 10 };
        let of = |first: i64, last: i64| day.may_hold(Days::of(first * NS_PER_DAY, last * NS_PER_DAY));
        assert!(of(9, 10) && of(10, 11) && of(11, 12));
        assert!(!of(8, 9) && !of(12, 13));
    }
}
