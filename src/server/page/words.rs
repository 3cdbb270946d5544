//! Facts as words.

use std::time::Duration;

use crate::inspect::quantity;
use crate::model::{MissReason, Timestamp};

/// `4 min ago`, `in 2 h`, `now`: as exact as one cares to know.
pub(super) fn ago(now: Timestamp, at: Timestamp) -> String {
    let (past, future) = (about(now.since(at)), about(at.since(now)));
    match (past.as_secs(), future.as_secs()) {
        (0, 0) => "now".to_owned(),
        (0, _) => format!("in {}", quantity::rough(future)),
        _ => format!("{} ago", quantity::rough(past)),
    }
}

/// Seconds say nothing after a minute, minutes nothing after six hours.
fn about(duration: Duration) -> Duration {
    let seconds = duration.as_secs();
    let unit = match seconds {
        0..60 => 1,
        60..21_600 => 60,
        21_600..864_000 => 3600,
        _ => 86_400,
    };
    Duration::from_secs(seconds / unit * unit)
}

/// Numbers are not torn from their signs at the end of a line.
pub(super) fn together(text: &str) -> String {
    text.replace(" %", "\u{a0}%").replace(" ×", "\u{a0}×")
}

/// `count` of `all`, nothing of nothing.
#[expect(clippy::cast_precision_loss, reason = "a percentage is shown")]
pub(super) fn part(count: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { count as f64 / all as f64 }
}

/// `74 %`, `4.2 %`, `< 0.1 %`: what is small is not nothing.
pub(super) fn share(count: u64, all: u64) -> String {
    match part(count, all) * 100.0 {
        0.0 => "0\u{a0}%".to_owned(),
        share if share < 0.1 => "<\u{a0}0.1\u{a0}%".to_owned(),
        share if share < 10.0 => format!("{share:.1}\u{a0}%"),
        share => format!("{share:.0}\u{a0}%"),
    }
}

/// `2026-11-21 03:12:45 UTC`.
pub(super) fn instant(at: Timestamp) -> String {
    at.to_utc().format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Text of unknown origin. Control characters have no place on a page, and some end the parsing of it.
pub(super) fn foreign(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// `9,800`, `12 k`, `1.5 M`: round numbers beside an axis.
pub(super) fn short(number: f64) -> String {
    let scaled =
        [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")].into_iter().find(|(unit, _)| number >= *unit * 0.9999);
    match scaled {
        Some((unit, _)) if unit < 1e4 && number < 9_999.5 => quantity::count(whole(number)),
        Some((unit, name)) => format!("{} {name}", trimmed(number / unit)),
        None => trimmed(number),
    }
}

/// `12.5 %`, `250 % over` for what is overspent: an axis has round numbers, so this one may round.
pub(super) fn axis_percent(ratio: f64) -> String {
    let percent = trimmed(ratio.abs() * 100.0);
    if ratio < 0.0 { format!("{percent} % over") } else { format!("{percent} %") }
}

/// Why a block had to be computed, as the end of "blocks that were …".
pub(super) fn reason(reason: MissReason) -> &'static str {
    match reason {
        MissReason::Absent => "not in the cache",
        MissReason::Tail => "cached up to an earlier time",
        MissReason::Expired => "older than max_age",
        MissReason::Clock => "computed in the future: a clock is wrong",
        MissReason::Corrupt => "damaged on disk",
        MissReason::Unreadable => "unreadable on disk",
    }
}

/// How many misses are allowed; with a tenth where they are few.
pub(super) fn misses(allowed: f64) -> String {
    if allowed < 100.0 { trimmed((allowed * 10.0).round() / 10.0) } else { quantity::count(whole(allowed)) }
}

/// `8.42 ×`.
pub(super) fn times(rate: f64) -> String {
    format!("{rate:.2} ×")
}

/// At most two decimals, and none that say nothing.
fn trimmed(number: f64) -> String {
    let text = format!("{number:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float becomes the nearest u64")]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_lie_behind_or_ahead() {
        let now = Timestamp::from_secs(1_000_000);
        let at = |secs: i64| ago(now, Timestamp::from_secs(1_000_000 + secs));
        assert_eq!([at(-250), at(0), at(7200), at(-90_000)], ["4 min ago", "now", "in 2 h", "25 h ago"]);
        assert_eq!([at(-59), at(-11_250), at(-530_000)], ["59 s ago", "3 h 7 min ago", "6 days 3 h ago"]);
        assert!(ago(Timestamp::MIN, Timestamp::MAX).starts_with("in "));
    }

    #[test]
    fn numbers_beside_an_axis_are_short() {
        let numbers = [0.0, 0.5, 20.0, 1000.0, 2500.0, 9800.0, 12_000.0, 1_500_000.0, 3e9];
        assert_eq!(numbers.map(short), ["0", "0.5", "20", "1,000", "2,500", "9,800", "12 k", "1.5 M", "3 G"]);
        assert_eq!([1.0, -2.5, 0.125, -0.0].map(axis_percent), ["100 %", "250 % over", "12.5 %", "0 %"]);
    }

    #[test]
    fn a_small_share_is_not_nothing() {
        let shares = [(0, 0), (0, 9), (1, 100_000), (42, 1000), (740, 1000), (9, 9)].map(|(n, all)| share(n, all));
        assert_eq!(shares, ["0 %", "0 %", "< 0.1 %", "4.2 %", "74 %", "100 %"].map(|text| text.replace(' ', "\u{a0}")));
    }

    #[test]
    fn control_characters_do_not_reach_the_page() {
        assert_eq!(foreign("a\0b\u{1b}[31m\nü"), "a\u{fffd}b\u{fffd}[31m\u{fffd}ü");
    }
}
