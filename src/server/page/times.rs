//! Where to write times below a chart.

use crate::model::Timestamp;

const HOUR: i64 = 3600;
const DAY: i64 = 86_400;
/// As many as fit beside each other on a phone.
const MOST: i64 = 7;
/// A label nearer than this part of the width to the beginning would be cut off.
const MARGIN: f64 = 0.025;

/// Round times between `start` and `end`, as seconds since the epoch with their labels.
pub(super) fn labels(start: Timestamp, end: Timestamp) -> Vec<(f64, String)> {
    let (first, last) = (start.as_ns().div_euclid(1_000_000_000), end.as_ns().div_euclid(1_000_000_000));
    let length = last.saturating_sub(first);
    let steps = [300, 600, 900, 1800, HOUR, 2 * HOUR, 4 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 5 * DAY];
    let step = steps.into_iter().find(|step| length / step < MOST).unwrap_or(10 * DAY);
    let (low, high) = (seconds(start), seconds(end));
    let margin = (high - low) * MARGIN;
    // From the end backwards in days, so that the labels of a month do not jump with its length.
    let offset = if step > DAY { last.div_euclid(DAY) * DAY } else { 0 };
    let before = (first - offset).div_euclid(step);
    let between = (before..).map(|n| offset + n * step).take_while(|at| *at <= last);
    between
        .map(|at| (seconds(Timestamp::from_secs(at)), label(Timestamp::from_secs(at), step)))
        .filter(|(at, _)| (low + margin..=high).contains(at))
        .collect()
}

/// Seconds since the epoch, for the axis of a chart.
#[expect(clippy::cast_precision_loss, reason = "an axis needs no nanoseconds")]
pub(super) fn seconds(at: Timestamp) -> f64 {
    at.as_ns() as f64 / 1e9
}

fn label(at: Timestamp, step: i64) -> String {
    at.to_utc().format(if step >= DAY { "%-d %b" } else { "%H:%M" }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(start: &str, end: &str) -> Vec<String> {
        labels(start.parse().unwrap(), end.parse().unwrap()).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn a_day_has_hours_and_a_month_has_days() {
        assert_eq!(
            texts("2024-03-14T12:10", "2024-03-15T12:10"),
            ["16:00", "20:00", "00:00", "04:00", "08:00", "12:00"]
        );
        assert_eq!(
            texts("2024-02-14T12:00", "2024-03-15T12:00"),
            ["19 Feb", "24 Feb", "29 Feb", "5 Mar", "10 Mar", "15 Mar"]
        );
        assert_eq!(
            texts("2024-03-15T11:00", "2024-03-15T12:00"),
            ["11:10", "11:20", "11:30", "11:40", "11:50", "12:00"]
        );
    }

    #[test]
    fn the_ends_of_time_have_labels_too() {
        assert!(labels(Timestamp::MIN, Timestamp::MAX).len() < 30_000);
        assert!(labels(Timestamp::from_secs(5), Timestamp::from_secs(5)).len() <= 1);
    }
}
