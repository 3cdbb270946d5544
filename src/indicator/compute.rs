//! Which function an indicator is.

use arrow::array::Float64Array;

use super::columns::Columns;
use super::memory::{Memory, memory};
use super::moments::moments;
use super::{calendar, rank, returns, talib, window};
use crate::definition::{BollingerOutput, Indicator, Period, Prices};
use crate::error::Result;

/// One value for each row, from that row and those before it.
///
/// An indicator runs over the rows that have all the columns it reads, as if there were no others, and is null on
/// the others. It is null while it warms up and where it has no finite value; a valid value is finite.
///
/// | indicator | null on the first rows | and where |
/// |---|---|---|
/// | `LogReturn` | while there is no earlier row | the earlier row is too old ([`Over::Time`](crate::definition::Over)), a price is not positive |
/// | `Change` | the same | the earlier row is too old, the earlier value of a relative change is 0 |
/// | `Sma`, `Ema` | `period - 1` | |
/// | `RollingStd` | `period - 1` | never: 0 where all values are equal |
/// | `Zscore` | `period - 1` | all values are equal |
/// | `Rsi` | `period` | never: 50 where the price never moved, as TA-Lib has it |
/// | `Atr` | `period` | |
/// | `AtrPct` | `period` | the close is 0, for which TA-Lib writes 0 |
/// | `Adx` | `2 * period - 1` | never: 0 where the price never moved, as TA-Lib has it |
/// | `Macd` | `slow + signal - 2`, of each line | |
/// | `Bollinger` | `period - 1` | `PercentB`: all values are equal; `Width`: the mean is 0 |
/// | `Vwap` | `period - 1` | the volumes add up to 0 |
/// | `RealisedVolatility` | `period` | one of the prices is not positive |
/// | `RollingMin`, `RollingMax` | `period - 1` | |
/// | `Rank` | `period - 1` | `period` is 1 |
/// | `Lag` | `bars` | |
/// | `Spread`, `TimeOfDay`, `DayOfWeek` | none | |
///
/// What smooths (`Ema`, `Rsi`, `Atr`, `AtrPct`, `Adx`, `Macd`) is TA-Lib's own function, and depends on the first row
/// handed in: see [`memory`](super::memory). Everything else depends on the rows of its window and nothing before, to
/// the last bit. TA-Lib's `SMA`, `STDDEV` and `BBANDS` do not: they carry sums from row to row, whose rounding is that
/// of all history, so that the same row would have one value in one block and another in the next. Here sums are
/// exact and rounded once, and a deviation is that from the row's own value; both are TA-Lib's to within its rounding.
///
/// The time it takes does not grow with the period (and with the rows in proportion; a rank sorts them first).
///
/// # Errors
/// As [`Columns::column`]; `Invalid` where TA-Lib refuses a parameter or more than 100 million rows.
pub fn compute(indicator: &Indicator, rows: &Columns) -> Result<Float64Array> {
    match indicator {
        Indicator::LogReturn { column, over } => {
            rows.map([column], |times, [values]| Ok(returns::compare(times, values, *over, returns::logarithmic)))
        }
        Indicator::Change { column, over, relative } => {
            let change = if *relative { returns::relative } else { returns::difference };
            rows.map([column], |times, [values]| Ok(returns::compare(times, values, *over, change)))
        }
        Indicator::Sma { column, period } => rows.map([column], |_, [values]| Ok(window::mean(values, *period))),
        Indicator::RollingStd { column, period } => {
            rows.map([column], |_, [values]| Ok(moments(values, *period, |moments| moments.deviation())))
        }
        Indicator::Zscore { column, period } => {
            rows.map([column], |_, [values]| Ok(moments(values, *period, |moments| moments.score())))
        }
        Indicator::Bollinger { column, period, width, output } => {
            rows.map([column], |_, [values]| Ok(bollinger(values, *period, *width, *output)))
        }
        Indicator::Vwap { prices, volume, period } => rows
            .map([&prices.high, &prices.low, &prices.close, volume], |_, [high, low, close, volume]| {
                Ok(window::weighted_price([high, low, close], volume, *period))
            }),
        Indicator::RealisedVolatility { column, period, annualise } => {
            rows.map([column], |_, [values]| Ok(window::volatility(values, *period, *annualise)))
        }
        Indicator::RollingMin { column, period } => {
            rows.map([column], |_, [values]| Ok(window::extreme(values, *period, |a, b| a <= b)))
        }
        Indicator::RollingMax { column, period } => {
            rows.map([column], |_, [values]| Ok(window::extreme(values, *period, |a, b| a >= b)))
        }
        Indicator::Rank { column, period } => rows.map([column], |_, [values]| Ok(rank::rank(values, *period))),
        Indicator::Lag { column, bars } => rows.map([column], |_, [values]| Ok(window::lag(values, *bars))),
        Indicator::Spread { column, minus } => rows.map([column, minus], |_, [values, minus]| {
            Ok(values.iter().zip(minus).map(|(value, minus)| value - minus).collect())
        }),
        Indicator::TimeOfDay { encode, zone } => {
            rows.map([], |times, []| Ok(times.iter().map(|time| calendar::time_of_day(*time, zone, *encode)).collect()))
        }
        Indicator::DayOfWeek { encode, zone } => {
            rows.map([], |times, []| Ok(times.iter().map(|time| calendar::day_of_week(*time, zone, *encode)).collect()))
        }
        Indicator::Ema { column, period } => rows.map([column], |_, [values]| talib::ema(values, *period)),
        Indicator::Rsi { column, period } => rows.map([column], |_, [values]| talib::rsi(values, *period)),
        Indicator::Macd { column, fast, slow, signal, output } => {
            rows.map([column], |_, [values]| talib::macd(values, [*fast, *slow, *signal], *output))
        }
        Indicator::Atr { prices, period } => rows.map(names(prices), |_, bars| talib::atr(bars, *period)),
        Indicator::AtrPct { prices, period } => rows.map(names(prices), |_, bars| talib::natr(bars, *period)),
        Indicator::Adx { prices, period } => rows.map(names(prices), |_, bars| talib::adx(bars, *period)),
    }
}

/// The values of the rows from this one on: to the last bit those that [`compute`] has there, from no more of the rows
/// before than they depend on.
///
/// # Errors
/// As [`compute`].
pub fn compute_from(indicator: &Indicator, rows: &Columns, first: usize) -> Result<Float64Array> {
    let start = oldest(indicator, rows, first);
    let values = compute(indicator, &rows.since(start))?;
    let skipped = first.saturating_sub(start).min(values.len());
    Ok(values.slice(skipped, values.len() - skipped))
}

/// The oldest row that the values from `first` on depend on.
fn oldest(indicator: &Indicator, rows: &Columns, first: usize) -> usize {
    let Some(time) = rows.times().get(first) else { return 0 };
    match memory(indicator) {
        // Rows that lack a value do not count.
        Memory::Rows(count) if rows.lacks_none(&indicator.columns()) => (first + 1).saturating_sub(count),
        Memory::Time(span) => {
            let span = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
            let forgotten = time.saturating_sub(span);
            // At the beginning of time nothing is so old.
            if forgotten == i64::MIN { 0 } else { rows.times().partition_point(|time| *time <= forgotten) }
        }
        Memory::Rows(_) | Memory::Decaying { .. } => 0,
    }
}

fn names(prices: &Prices) -> [&str; 3] {
    [&prices.high, &prices.low, &prices.close]
}

fn bollinger(values: &[f64], period: Period, width: f64, output: BollingerOutput) -> Vec<f64> {
    if output == BollingerOutput::PercentB {
        // The band is 2 * width deviations wide, and the score says how many of them the value is from its middle.
        return moments(values, period, |moments| 0.5 + moments.score() / (2.0 * width));
    }
    let means = window::mean(values, period);
    if output == BollingerOutput::Middle {
        return means;
    }
    let deviations = moments(values, period, |moments| moments.deviation());
    let bands = means.into_iter().zip(deviations);
    bands
        .map(|(mean, deviation)| match output {
            BollingerOutput::Upper => mean + width * deviation,
            BollingerOutput::Lower => mean - width * deviation,
            BollingerOutput::Middle | BollingerOutput::PercentB => mean,
            BollingerOutput::Width => 2.0 * width * deviation / mean,
        })
        .collect()
}
