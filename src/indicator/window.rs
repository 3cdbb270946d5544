//! Values of the last rows.

use std::collections::VecDeque;

use super::returns;
use super::sum::rolling;
use crate::definition::Period;

/// The mean of the last values.
pub(super) fn mean(values: &[f64], period: Period) -> Vec<f64> {
    let count = period.rows() as f64;
    rolling(values, period.rows()).into_iter().map(|sum| sum / count).collect()
}

/// `sum(typical * volume) / sum(volume)` of the last rows.
pub(super) fn weighted_price([high, low, close]: [&[f64]; 3], volume: &[f64], period: Period) -> Vec<f64> {
    let typical = high.iter().zip(low).zip(close).map(|((high, low), close)| (high + low + close) / 3.0);
    let turnover: Vec<f64> = typical.zip(volume).map(|(typical, volume)| typical * volume).collect();
    let sums = rolling(&turnover, period.rows()).into_iter().zip(rolling(volume, period.rows()));
    sums.map(|(turnover, volume)| turnover / volume).collect()
}

/// The root of the sum of the last squared logarithmic returns from row to row.
pub(super) fn volatility(prices: &[f64], period: Period, annualise: Option<f64>) -> Vec<f64> {
    let pairs = prices.iter().skip(1).zip(prices);
    let returns: Vec<f64> = pairs.map(|(now, then)| returns::logarithmic(*now, *then)).collect();
    // A return that there is not must not stay in the sum, so it is counted beside it.
    let squares: Vec<f64> = returns.iter().map(|value| if value.is_finite() { value * value } else { 0.0 }).collect();
    let lacking: Vec<f64> = returns.iter().map(|value| f64::from(!value.is_finite())).collect();
    let scale = annualise.map_or(1.0, |rows| rows / period.rows() as f64).sqrt();
    let sums = rolling(&squares, period.rows()).into_iter().zip(rolling(&lacking, period.rows()));
    let values = sums.map(|(squares, lacking)| if lacking == 0.0 { squares.sqrt() * scale } else { f64::NAN });
    std::iter::once(f64::NAN).chain(values).take(prices.len()).collect()
}

/// The one of the last values that is `before` every other, in constant time a row: a value that has a better one
/// after it is never the answer again.
pub(super) fn extreme(values: &[f64], period: Period, before: impl Fn(f64, f64) -> bool) -> Vec<f64> {
    let mut candidates: VecDeque<(usize, f64)> = VecDeque::new();
    let rows = values.iter().enumerate();
    rows.map(|(row, value)| {
        while candidates.pop_back_if(|(_, candidate)| before(*value, *candidate)).is_some() {}
        candidates.push_back((row, *value));
        let first = (row + 1).checked_sub(period.rows())?;
        candidates.pop_front_if(|(row, _)| *row < first);
        candidates.front().map(|(_, value)| *value)
    })
    .map(|value| value.unwrap_or(f64::NAN))
    .collect()
}

/// The value so many rows earlier.
pub(super) fn lag(values: &[f64], rows: Period) -> Vec<f64> {
    let warming = std::iter::repeat_n(f64::NAN, rows.rows());
    warming.chain(values.iter().copied()).take(values.len()).collect()
}
