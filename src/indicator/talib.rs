//! TA-Lib's functions that smooth.

use ta_lib::{Core, OutRange, RetCode};

use crate::definition::{MacdOutput, Period};
use crate::error::{Error, ErrorKind, Result};

pub(super) fn ema(values: &[f64], period: Period) -> Result<Vec<f64>> {
    run("EMA", values.len(), |core, last, out| core.ema(0, last, values, rows(period), out))
}

pub(super) fn rsi(values: &[f64], period: Period) -> Result<Vec<f64>> {
    run("RSI", values.len(), |core, last, out| core.rsi(0, last, values, rows(period), out))
}

pub(super) fn atr([high, low, close]: [&[f64]; 3], period: Period) -> Result<Vec<f64>> {
    run("ATR", close.len(), |core, last, out| core.atr(0, last, high, low, close, rows(period), out))
}

pub(super) fn natr([high, low, close]: [&[f64]; 3], period: Period) -> Result<Vec<f64>> {
    let mut values =
        run("NATR", close.len(), |core, last, out| core.natr(0, last, high, low, close, rows(period), out))?;
    // TA-Lib writes 0 there.
    values.iter_mut().zip(close).filter(|(_, close)| **close == 0.0).for_each(|(value, _)| *value = f64::NAN);
    Ok(values)
}

pub(super) fn adx([high, low, close]: [&[f64]; 3], period: Period) -> Result<Vec<f64>> {
    run("ADX", close.len(), |core, last, out| core.adx(0, last, high, low, close, rows(period), out))
}

pub(super) fn macd(values: &[f64], [fast, slow, signal]: [Period; 3], output: MacdOutput) -> Result<Vec<f64>> {
    run("MACD", values.len(), |core, last, out| {
        let (mut second, mut third) = (vec![0.0; values.len()], vec![0.0; values.len()]);
        let (macd, signals, histogram) = match output {
            MacdOutput::Macd => (out, second.as_mut_slice(), third.as_mut_slice()),
            MacdOutput::Signal => (second.as_mut_slice(), out, third.as_mut_slice()),
            MacdOutput::Histogram => (second.as_mut_slice(), third.as_mut_slice(), out),
        };
        core.macd(0, last, values, rows(fast), rows(slow), rows(signal), macd, signals, histogram)
    })
}

/// The values of a function, one for each row, NaN while it warms up.
fn run(
    function: &str,
    count: usize,
    compute: impl FnOnce(&Core, usize, &mut [f64]) -> Result<OutRange, RetCode>,
) -> Result<Vec<f64>> {
    let mut values = vec![f64::NAN; count];
    let Some(last) = count.checked_sub(1) else {
        return Ok(values);
    };
    let written = compute(&Core::new(), last, &mut values).map_err(|source| {
        Error::with_source(
            ErrorKind::Invalid,
            format!("TA-Lib's {function} refused its parameters or {count} rows"),
            source,
        )
    })?;
    // TA-Lib writes its first value to the front and as many fewer as it warmed up for: turned by
    // that number, every value stands at its row and the NaNs left over stand before the first.
    values.rotate_right(written.beg_idx.min(count));
    Ok(values)
}

fn rows(period: Period) -> i32 {
    i32::try_from(period.rows()).unwrap_or(i32::MAX)
}
