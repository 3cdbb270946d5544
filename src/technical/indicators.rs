//! Indicators over consecutive bars: TA-Lib's, and the two that need no memory.

use ta_lib::{Core, OutRange, RetCode};

use crate::technical::bars::BarsSlice;
use crate::technical::error::IndicatorError;

/// Period of the relative strength index.
pub(super) const RSI_PERIOD: i32 = 9;
/// Period of the average true range and of the average directional index.
pub(super) const RANGE_PERIOD: i32 = 14;
/// Number of closes a close is compared with, its own included.
pub(super) const Z_PERIOD: usize = 20;

/// TA-Lib's `RSI(close, 9)`, one value per bar, NaN while warming up.
pub(super) fn rsi(bars: BarsSlice<'_>) -> Result<Vec<f64>, IndicatorError> {
    run("RSI", bars, |core, last, out| core.rsi(0, last, bars.close(), RSI_PERIOD, out))
}

/// TA-Lib's `NATR(high, low, close, 14)`: average true range in percent of the close; one value
/// per bar, NaN while warming up.
pub(super) fn natr(bars: BarsSlice<'_>) -> Result<Vec<f64>, IndicatorError> {
    run("NATR", bars, |core, last, out| core.natr(0, last, bars.high(), bars.low(), bars.close(), RANGE_PERIOD, out))
}

/// TA-Lib's `ADX(high, low, close, 14)`, one value per bar, NaN while warming up.
pub(super) fn adx(bars: BarsSlice<'_>) -> Result<Vec<f64>, IndicatorError> {
    run("ADX", bars, |core, last, out| core.adx(0, last, bars.high(), bars.low(), bars.close(), RANGE_PERIOD, out))
}

fn run(
    indicator: &'static str,
    bars: BarsSlice<'_>,
    compute: impl FnOnce(&Core, usize, &mut [f64]) -> Result<OutRange, RetCode>,
) -> Result<Vec<f64>, IndicatorError> {
    let mut values = vec![f64::NAN; bars.len()];
    let Some(last) = bars.len().checked_sub(1) else {
        return Ok(values);
    };
    let written = compute(&Core::new(), last, &mut values).map_err(|source| IndicatorError {
        indicator,
        bars: bars.len(),
        source,
    })?;
    // TA-Lib writes its first value to the front and as many fewer as it warmed up for: turned by
    // that number, every value stands at its bar and the NaNs left over stand before the first.
    values.rotate_right(written.beg_idx.min(bars.len()));
    Ok(values)
}

/// Natural logarithm of the close of bar `row` over the close `span_ns` earlier, looked up by time.
///
/// The earlier close is that of the bar labelled exactly `span_ns` before, or else, where that
/// bar does not exist, of the latest one before it: nobody traded in between, so it was the price
/// then. It must be younger than `2 * span_ns`, seen from `row`; an older one would make a
/// return over a night or a weekend look like one over five minutes. `None` then, and where
/// a close is not positive.
pub(super) fn log_return(ts: &[i64], close: &[f64], row: usize, span_ns: i64) -> Option<f64> {
    let due = ts.get(row)?.checked_sub(span_ns)?;
    let base = ts.get(..row)?.partition_point(|ts| *ts <= due).checked_sub(1)?;
    if due.checked_sub(*ts.get(base)?)? >= span_ns {
        return None;
    }
    let (now, then) = (*close.get(row)?, *close.get(base)?);
    (now > 0.0 && then > 0.0).then(|| (now / then).ln())
}

/// `(close - SMA) / STDDEV` of the last 20 closes up to and with bar `row`, the deviation over the
/// population as TA-Lib's `STDDEV` has it. `None` for the first 19 bars and where the 20 closes
/// are all equal.
///
/// Computed afresh from the 20 differences to the last close. TA-Lib's `SMA` and `STDDEV` carry sums
/// from bar to bar, whose last digits depend on all history; that of closes also loses digits where
/// a move is small against the price.
pub(super) fn close_z(close: &[f64], row: usize) -> Option<f64> {
    let end = row.checked_add(1)?;
    let recent = close.get(end.checked_sub(Z_PERIOD)?..end)?;
    let last = recent.last()?;
    let count = Z_PERIOD as f64;
    // Equal closes differ by exactly 0 from one another, while their mean may round.
    let mean = recent.iter().map(|close| close - last).sum::<f64>() / count;
    let variance = recent.iter().map(|close| (close - last - mean).powi(2)).sum::<f64>() / count;
    (variance > 0.0).then(|| -mean / variance.sqrt())
}
