//! How far back a value depends on rows.

use std::time::Duration;

use crate::definition::{Indicator, Over, Period};

/// How far back a value depends on rows. Only those count that have all the columns the indicator reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Memory {
    /// On so many rows, its own included, and on no other.
    Rows(usize),
    /// On the rows that are less than this older than its own, and on no other.
    Time(Duration),
    /// On all rows, the less the older they are: TA-Lib begins with the mean of the first rows and smooths from there.
    Decaying {
        /// Rows up to the first value, that value's included.
        warm_up: usize,
        /// The part of what was known that each further row keeps.
        factor: f64,
        /// How many smoothings feed one another: 1, or 2 where what is smoothed was.
        passes: u8,
    },
}

impl Memory {
    /// Rows, the value's own included, after which no more than `tolerance` is left of what came before them: exactly
    /// nothing, unless it is [`Self::Decaying`]. `None` where it is a time and not rows that counts.
    ///
    /// What is left is a part of the difference that the older rows made at first. A bad print before the window, or
    /// rows that stand still within it, make that difference many times the value; so this is advice for a
    /// `lookback`, and comparing with a longer one is the proof.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float too large is the largest integer, and below 0 is 0"
    )]
    pub fn rows(&self, tolerance: f64) -> Option<usize> {
        match *self {
            Self::Rows(rows) => Some(rows),
            Self::Time(_) => None,
            Self::Decaying { warm_up, factor, passes } => {
                // Two passes leave factor^n * (1 + n * (1 - factor) / factor). The logarithm of the bracket grows so
                // slowly that putting the last n into it converges from below.
                let mut rows = 0.0;
                for _ in 0..50 {
                    let slower = (1.0 + rows * (1.0 / factor - 1.0)).powi(i32::from(passes) - 1);
                    rows = ((tolerance / slower).ln() / factor.ln()).max(0.0);
                }
                Some(warm_up.saturating_add(rows.ceil() as usize))
            }
        }
    }
}

/// How far back a value of the indicator depends on rows.
pub fn memory(indicator: &Indicator) -> Memory {
    match indicator {
        Indicator::LogReturn { over, .. } | Indicator::Change { over, .. } => match over {
            Over::Time(span) => Memory::Time(span.saturating_mul(2)),
            Over::Bars(bars) => Memory::Rows(bars.rows() + 1),
        },
        Indicator::Sma { period, .. }
        | Indicator::RollingStd { period, .. }
        | Indicator::Zscore { period, .. }
        | Indicator::Bollinger { period, .. }
        | Indicator::Vwap { period, .. }
        | Indicator::RollingMin { period, .. }
        | Indicator::RollingMax { period, .. }
        | Indicator::Rank { period, .. } => Memory::Rows(period.rows()),
        Indicator::RealisedVolatility { period, .. } => Memory::Rows(period.rows() + 1),
        Indicator::Lag { bars, .. } => Memory::Rows(bars.rows() + 1),
        Indicator::Spread { .. } | Indicator::TimeOfDay { .. } | Indicator::DayOfWeek { .. } => Memory::Rows(1),
        Indicator::Ema { period, .. } => {
            Memory::Decaying { warm_up: period.rows(), factor: exponential(*period), passes: 1 }
        }
        Indicator::Rsi { period, .. } | Indicator::Atr { period, .. } | Indicator::AtrPct { period, .. } => {
            Memory::Decaying { warm_up: period.rows() + 1, factor: wilder(*period), passes: 1 }
        }
        Indicator::Adx { period, .. } => {
            Memory::Decaying { warm_up: 2 * period.rows(), factor: wilder(*period), passes: 2 }
        }
        Indicator::Macd { slow, signal, fast, .. } => Memory::Decaying {
            warm_up: slow.max(fast).rows() + signal.rows() - 1,
            factor: exponential(*slow.max(fast).max(signal)),
            passes: 2,
        },
    }
}

/// What `e + 2 / (n + 1) * (v - e)` keeps of `e`.
fn exponential(period: Period) -> f64 {
    let rows = period.rows() as f64;
    (rows - 1.0) / (rows + 1.0)
}

/// What Wilder's `e + (v - e) / n` keeps of `e`.
fn wilder(period: Period) -> f64 {
    let rows = period.rows() as f64;
    (rows - 1.0) / rows
}
