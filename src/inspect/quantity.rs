//! Numbers for people; JSON has them as they are.

use std::time::Duration;

use crate::model::{TimeRange, Timestamp};

const DAY_NS: i64 = 86_400_000_000_000;

/// `46,080`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 block`, `46,080 blocks`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// `4.2 MB`, in powers of 1000 as the settings have them.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn bytes(number: u64) -> String {
    if number < 1000 {
        return format!("{number} B");
    }
    let mut value = number as f64 / 1e3;
    let mut units = ["kB", "MB", "GB", "TB", "PB", "EB"].into_iter().peekable();
    let mut unit = units.next().unwrap_or_default();
    // What would be rounded to 1000 belongs to the next unit.
    while value >= 999.5 && units.peek().is_some() {
        value /= 1e3;
        unit = units.next().unwrap_or_default();
    }
    format!("{} {unit}", three_digits(value))
}

/// `12.3 ms`, `4.10 µs`, `2 min 5 s`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s >= 60.0 => rough(duration),
        s if s >= 0.9995 => format!("{} s", three_digits(s)),
        s if s >= 0.000_999_5 => format!("{} ms", three_digits(s * 1e3)),
        s => format!("{} µs", three_digits(s * 1e6)),
    }
}

/// Its two largest units: `30 days`, `24 h`, `3 h 20 min`.
pub fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    // "Two days" begin at two: people say 24 h and 36 h.
    let days = if seconds >= 2 * 86_400 { seconds / 86_400 } else { 0 };
    let rest = seconds - days * 86_400;
    let units = [(days, "days"), (rest / 3600, "h"), (rest / 60 % 60, "min"), (rest % 60, "s")];
    let used = units.into_iter().skip_while(|(number, _)| *number == 0).take(2).filter(|(number, _)| *number > 0);
    let parts: Vec<_> = used.map(|(number, unit)| format!("{} {unit}", count(number))).collect();
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

/// `95 %`, `99.37 %`; never rounded up, so that only a whole is `100 %`.
pub fn percent(ratio: f64) -> String {
    // The tolerance is for ratios such as 0.29, whose hundredfold is 28.999….
    let hundredths = (ratio * 1e4 + 1e-6).floor() / 100.0;
    format!("{hundredths} %")
}

/// The same of a ratio that may not exist.
pub fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "no data".to_owned(), percent)
}

/// `2024-03-08` at midnight, `2024-03-08 14:30` otherwise.
pub fn time(at: Timestamp) -> String {
    let text = at.to_utc().format("%Y-%m-%d %H:%M").to_string();
    if at.as_ns().rem_euclid(DAY_NS) == 0 { text.split(' ').take(1).collect() } else { text }
}

/// `2024-03-08 to 2024-03-13`.
pub fn times(range: TimeRange) -> String {
    format!("{} to {}", time(range.start()), time(range.end()))
}

fn three_digits(value: f64) -> String {
    match value {
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(counted(1, "block", "blocks"), "1 block");
    }

    #[test]
    fn sizes_and_times_have_three_digits() {
        assert_eq!(
            [0, 999, 1000, 999_499, 999_500, 50_000_000_000].map(bytes),
            ["0 B", "999 B", "1.00 kB", "999 kB", "1.00 MB", "50.0 GB"]
        );
        let nanos = [810, 12_345, 999_600, 12_300_000, 999_600_000, 59_000_000_000, 125_000_000_000];
        assert_eq!(
            nanos.map(|ns| duration(Duration::from_nanos(ns))),
            ["0.81 µs", "12.3 µs", "1.00 ms", "12.3 ms", "1.00 s", "59.0 s", "2 min 5 s"]
        );
    }

    #[test]
    fn long_times_have_two_units() {
        let seconds = [0, 59, 60, 3600, 86_400, 172_800, 200_000, 30 * 86_400, 7201];
        assert_eq!(
            seconds.map(|seconds| rough(Duration::from_secs(seconds))),
            ["0 s", "59 s", "1 min", "1 h", "24 h", "2 days", "2 days 7 h", "30 days", "2 h"]
        );
    }

    #[test]
    fn only_a_whole_is_a_hundred_percent() {
        assert_eq!(
            [1.0, 0.99999, 0.95, 0.29, 2.0 / 3.0, 0.0].map(percent),
            ["100 %", "99.99 %", "95 %", "29 %", "66.66 %", "0 %"]
        );
        assert_eq!(ratio(None), "no data");
    }

    #[test]
    fn midnight_is_a_date() {
        let range = TimeRange::parse("2024-03-08", "2024-03-13T14:30:59Z").unwrap();
        assert_eq!(times(range), "2024-03-08 to 2024-03-13 14:30");
    }
}
