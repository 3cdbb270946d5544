//! The indicators a feature may be.

use std::time::Duration;

use serde::Serialize;

use super::canonical::nanoseconds;
use super::zone::Zone;
use crate::error::{Error, Result};

/// A number of rows: 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Period(u16);

impl Period {
    /// The most rows an indicator may look at.
    pub const MOST: u16 = 10_000;

    /// Checks the number.
    ///
    /// # Errors
    /// `Invalid` where it is not 1 to 10,000.
    pub fn new(rows: i64) -> Result<Self> {
        u16::try_from(rows)
            .ok()
            .filter(|rows| (1..=Self::MOST).contains(rows))
            .map(Self)
            .ok_or_else(|| Error::invalid(format!("a period of {rows} is not allowed: use 1 to {}", Self::MOST)))
    }

    /// The number of rows.
    pub fn rows(self) -> usize {
        usize::from(self.0)
    }
}

/// How far back a row is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// With the newest row whose event time is at least this much earlier, and less than twice as much:
    /// over a night or a weekend there is no such row, and the value is null.
    #[serde(serialize_with = "nanoseconds")]
    Time(Duration),
    /// With the row this many rows earlier, however long ago that was.
    Bars(Period),
}

/// Which line of [`Indicator::Macd`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MacdOutput {
    /// `EMA(fast) - EMA(slow)`.
    Macd,
    /// `EMA(signal)` of that line.
    Signal,
    /// The first less the second.
    Histogram,
}

/// Which value of [`Indicator::Bollinger`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BollingerOutput {
    /// Mean plus `width` deviations.
    Upper,
    /// The mean.
    Middle,
    /// Mean less `width` deviations.
    Lower,
    /// `(value - lower) / (upper - lower)`: 0 at the lower band, 1 at the upper.
    PercentB,
    /// `(upper - lower) / middle`.
    Width,
}

/// How a place on a circle (the day, the week) becomes a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Encode {
    /// `sin(2π f)`, where `f` is the fraction.
    Sin,
    /// `cos(2π f)`.
    Cos,
    /// The fraction itself, 0 inclusive to 1 exclusive.
    Fraction,
}

/// The columns of a bar's prices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prices {
    /// The highest price; by default the column `high`.
    pub high: String,
    /// The lowest price; by default the column `low`.
    pub low: String,
    /// The last price; by default the column `close`.
    pub close: String,
}

/// An indicator with its parameters. One value for each row, from that row and those before it.
///
/// A value is null while the indicator warms up, and where its formula has none (a division by 0, the
/// logarithm of what is not positive).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Indicator {
    /// `ln(v / v0)`, where `v0` is the value at the earlier row.
    LogReturn {
        /// The column of `v`.
        column: String,
        /// How far back `v0` is.
        over: Over,
    },
    /// `v / v0 - 1` where `relative`, else `v - v0`. Source: TA-Lib `ROCP` and `MOM` (over bars).
    Change {
        /// The column of `v`.
        column: String,
        /// How far back `v0` is.
        over: Over,
        /// Whether the change is a part of `v0`. Default: true.
        relative: bool,
    },
    /// The mean of the last `period` values. Source: TA-Lib `SMA`.
    Sma {
        /// The column averaged.
        column: String,
        /// From 2.
        period: Period,
    },
    /// `e = e0 + 2 / (period + 1) * (v - e0)`, begun with the mean of the first `period` values.
    /// Source: TA-Lib `EMA`.
    Ema {
        /// The column averaged.
        column: String,
        /// From 2.
        period: Period,
    },
    /// The population's standard deviation of the last `period` values. Source: TA-Lib `STDDEV`, one deviation.
    RollingStd {
        /// The column measured.
        column: String,
        /// From 2.
        period: Period,
    },
    /// `(v - SMA) / STDDEV` over the last `period` values, the deviation over the population.
    /// Source: TA-Lib `SMA`, `STDDEV`.
    Zscore {
        /// The column of `v`.
        column: String,
        /// From 2.
        period: Period,
    },
    /// Relative strength index, 0 to 100, with Wilder's smoothing. Source: TA-Lib `RSI`.
    Rsi {
        /// The column of prices.
        column: String,
        /// From 2.
        period: Period,
    },
    /// Average true range, in the price's unit, with Wilder's smoothing. Source: TA-Lib `ATR`.
    Atr {
        /// The columns of prices.
        #[serde(flatten)]
        prices: Prices,
        /// From 1.
        period: Period,
    },
    /// Average true range in percent of the close. Source: TA-Lib `NATR`.
    AtrPct {
        /// The columns of prices.
        #[serde(flatten)]
        prices: Prices,
        /// From 1.
        period: Period,
    },
    /// Average directional index, 0 to 100, with Wilder's smoothing. Source: TA-Lib `ADX`.
    Adx {
        /// The columns of prices.
        #[serde(flatten)]
        prices: Prices,
        /// From 2.
        period: Period,
    },
    /// Moving average convergence/divergence. Source: TA-Lib `MACD`.
    Macd {
        /// The column of prices.
        column: String,
        /// Period of the fast average, from 2.
        fast: Period,
        /// Period of the slow average, more than `fast`.
        slow: Period,
        /// Period of the signal line, from 1.
        signal: Period,
        /// Which line.
        output: MacdOutput,
    },
    /// Bands of `width` population deviations about the mean of the last `period` values.
    /// Source: TA-Lib `BBANDS` with simple averages; `%b` and width as in Bollinger (2001).
    Bollinger {
        /// The column of prices.
        column: String,
        /// From 2.
        period: Period,
        /// How many deviations, above 0. Default: 2.
        width: f64,
        /// Which value.
        output: BollingerOutput,
    },
    /// `sum(typical * volume) / sum(volume)` of the last `period` rows, where `typical` is
    /// `(high + low + close) / 3`. Source: TA-Lib `TYPPRICE`; Berkowitz, Logue and Noser (1988).
    Vwap {
        /// The columns of prices.
        #[serde(flatten)]
        prices: Prices,
        /// The column of volumes. Default: `volume`.
        volume: String,
        /// From 1.
        period: Period,
    },
    /// `sqrt(sum(r²))` over the last `period` logarithmic returns from row to row; with `annualise`, times
    /// `sqrt(annualise / period)`. Source: Andersen and Bollerslev (1998).
    RealisedVolatility {
        /// The column of prices.
        column: String,
        /// From 1.
        period: Period,
        /// Rows in a year, above 0. Default: not annualised.
        #[serde(skip_serializing_if = "Option::is_none")]
        annualise: Option<f64>,
    },
    /// The smallest of the last `period` values. Source: TA-Lib `MIN`.
    RollingMin {
        /// The column looked at.
        column: String,
        /// From 2.
        period: Period,
    },
    /// The largest of the last `period` values. Source: TA-Lib `MAX`.
    RollingMax {
        /// The column looked at.
        column: String,
        /// From 2.
        period: Period,
    },
    /// `(below + equal / 2) / (period - 1)`, where `below` and `equal` count the `period - 1` earlier values that
    /// are less than this row's and equal to it: 0 for the smallest, 1 for the largest. Source: scipy
    /// `percentileofscore(kind="mean")`.
    Rank {
        /// The column ranked.
        column: String,
        /// From 2.
        period: Period,
    },
    /// The value `bars` rows earlier.
    Lag {
        /// The column looked at.
        column: String,
        /// From 1.
        bars: Period,
    },
    /// `column - minus`, of one row.
    Spread {
        /// The column.
        column: String,
        /// What is taken from it.
        minus: String,
    },
    /// The time of day of the row's event time: the part of 24 hours on the wall clock since midnight.
    TimeOfDay {
        /// As which number. Default: the fraction.
        encode: Encode,
        /// Whose wall clock. Default: UTC.
        zone: Zone,
    },
    /// The day of the week of the row's event time: days since Monday / 7.
    DayOfWeek {
        /// As which number. Default: the fraction.
        encode: Encode,
        /// Whose calendar. Default: UTC.
        zone: Zone,
    },
}

impl Indicator {
    /// The columns it reads.
    pub fn columns(&self) -> Vec<&str> {
        match self {
            Self::LogReturn { column, .. }
            | Self::Change { column, .. }
            | Self::Sma { column, .. }
            | Self::Ema { column, .. }
            | Self::RollingStd { column, .. }
            | Self::Zscore { column, .. }
            | Self::Rsi { column, .. }
            | Self::Macd { column, .. }
            | Self::Bollinger { column, .. }
            | Self::RealisedVolatility { column, .. }
            | Self::RollingMin { column, .. }
            | Self::RollingMax { column, .. }
            | Self::Rank { column, .. }
            | Self::Lag { column, .. } => vec![column],
            Self::Spread { column, minus } => vec![column, minus],
            Self::Atr { prices, .. } | Self::AtrPct { prices, .. } | Self::Adx { prices, .. } => prices.columns(),
            Self::Vwap { prices, volume, .. } => {
                let mut columns = prices.columns();
                columns.push(volume);
                columns
            }
            Self::TimeOfDay { .. } | Self::DayOfWeek { .. } => Vec::new(),
        }
    }
}

impl Prices {
    fn columns(&self) -> Vec<&str> {
        vec![&self.high, &self.low, &self.close]
    }
}
