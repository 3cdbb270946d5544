//! How much history the technical features need.

use std::time::Duration;

use crate::technical::bars::Bars;

/// Bars of history after which every technical feature equals, to a relative 1e-9, what all history
/// would have given; the `min_bars` for [`lookback_for`].
///
/// Wilder's smoothing keeps `(n - 1) / n` of the past at every bar, so of a wrong beginning
/// `((n - 1) / n)^bars` is left. For n = 14 that is 1e-9 after 280 bars. ADX smooths twice, which
/// leaves about `(1 + bars / 14)` times as much: 320 bars. A run of bars that do not move makes the
/// true value shrink as fast as what is left of the past, so it does not count: 75 bars where
/// a feed repeats itself. And a bad print before the window can make the beginning wrong by far
/// more than the value itself.
///
/// Measured on real bars (5-minute crypto and pesos, 1-minute and hourly shares), the first number
/// that keeps all of them within 1e-9 is 400; 500 keeps them within 1e-13.
pub const MIN_BARS: usize = 500;

const DAY_NS: i64 = 86_400_000_000_000;

/// The smallest whole number of days, at least one, such that the window of that length before any
/// UTC day with bars holds at least `min_bars` bars of that symbol or reaches back to its first.
///
/// A block that begins on a day without bars sees no less: the window moves back into days that
/// are then part of it. Linear in the number of bars.
pub fn lookback_for<'a>(bars: impl IntoIterator<Item = &'a Bars>, min_bars: usize) -> Duration {
    let days = bars.into_iter().map(|bars| days_needed(bars.as_slice().ts(), min_bars));
    Duration::from_secs(86_400 * days.max().unwrap_or(1).max(1))
}

/// Days that a window must reach back from each day with a label in `ts`, at most.
fn days_needed(ts: &[i64], min_bars: usize) -> u64 {
    let mut needed = 0;
    let mut day = None;
    for (row, label) in ts.iter().enumerate() {
        let label_day = label.div_euclid(DAY_NS);
        if day.replace(label_day) == Some(label_day) {
            continue;
        }
        // `row` is the first bar of its day: the window must hold `min_bars` of those before it,
        // or all.
        if let Some(oldest) = ts.get(row.saturating_sub(min_bars)) {
            // A window begins at midnight, so it holds a label if it begins on its day or before.
            needed = needed.max(label_day.abs_diff(oldest.div_euclid(DAY_NS)));
        }
    }
    needed
}
