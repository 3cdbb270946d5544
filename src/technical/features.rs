//! The technical features of bars.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

use crate::definition::{Indicator, Over, Period, Prices};
use crate::error::Result;
use crate::indicator::{Columns, compute};
use crate::technical::bars::BarsSlice;

/// Names of the features, in the order of [`Features::columns`].
pub const FEATURE_NAMES: [&str; 7] =
    ["log_ret_5m", "log_ret_1h", "log_ret_4h", "rsi_9", "atr_pct", "adx_14", "close_z_20"];

/// Period of the relative strength index.
const RSI_PERIOD: i64 = 9;
/// Period of the average true range and of the average directional index.
const RANGE_PERIOD: i64 = 14;
/// Number of closes a close is compared with, its own included.
const Z_PERIOD: i64 = 20;

/// Features of consecutive bars: one row per bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// Label of each row's bar, nanoseconds since the Unix epoch, UTC; strictly increasing.
    pub ts: Vec<i64>,
    /// One column per name in [`FEATURE_NAMES`], as long as `ts`. Every valid value is finite.
    pub columns: [Float64Array; 7],
}

impl Features {
    /// Schema of [`Self::into_record_batch`]: `event_timestamp` (nanoseconds, UTC, never null),
    /// then the features in the order of [`FEATURE_NAMES`] (Float64, nullable).
    pub fn schema() -> SchemaRef {
        let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        let time = Field::new("event_timestamp", time, false);
        let values = FEATURE_NAMES.map(|name| Field::new(name, DataType::Float64, true));
        Arc::new(Schema::new([vec![time], values.into()].concat()))
    }

    /// The features as a record batch of [`Self::schema`]. Copies no values.
    ///
    /// # Errors
    ///
    /// If a column was changed to another length than `ts`.
    pub fn into_record_batch(self) -> Result<RecordBatch, ArrowError> {
        let time = TimestampNanosecondArray::from(self.ts).with_timezone("UTC");
        let mut columns: Vec<ArrayRef> = vec![Arc::new(time)];
        columns.extend(self.columns.map(|column| Arc::new(column) as ArrayRef));
        RecordBatch::try_new(Self::schema(), columns)
    }
}

/// Computes the features of every bar of `window` labelled `from_ns <= ts < to_ns`.
///
/// `window` holds the bars of one symbol and begins a lookback before `from_ns` (see
/// [`lookback_for`](crate::technical::lookback_for)); bars from `to_ns` on are not looked at. A
/// row depends on its own bar and those before it in the window. It carries its bar's label, so
/// it is known when that bar has closed.
///
/// | feature | is | source |
/// |---|---|---|
/// | `log_ret_5m`, `log_ret_1h`, `log_ret_4h` | `ln(close / close 5 minutes, 1 hour, 4 hours earlier)` | by time, see below |
/// | `rsi_9` | relative strength index, 0 to 100 | TA-Lib `RSI(9)` |
/// | `atr_pct` | average true range in percent of the close | TA-Lib `NATR(14)` |
/// | `adx_14` | average directional index, 0 to 100 | TA-Lib `ADX(14)` |
/// | `close_z_20` | `(close - mean) / deviation` of the last 20 closes, population deviation | TA-Lib `SMA(20)`, `STDDEV(20)`, summed afresh for every bar |
///
/// A value is null while its indicator warms up (9, 14, 27 and 19 bars) and where it is undefined
/// (20 equal closes, a close that is not positive).
///
/// **Returns over gaps.** A return over a span compares with the bar labelled exactly one span
/// earlier; where there is none, with the latest bar before that, as long as the two are less than
/// two spans apart. So a minute without trades changes nothing, an hour's break is bridged by
/// `log_ret_4h` and makes `log_ret_5m` null until 5 minutes after it, and a weekend makes each of
/// them null until it can look back to after the weekend. On bars longer than a span, its return
/// is null.
///
/// # Errors
///
/// `Invalid` if there are more bars than TA-Lib can count (100 million).
pub fn technical_features(window: BarsSlice<'_>, from_ns: i64, to_ns: i64) -> Result<Features> {
    let bars = window.window(i64::MIN, to_ns);
    let first = bars.ts().partition_point(|ts| *ts < from_ns);
    let rows = Columns::new(bars.ts().to_vec())?
        .with("high", &Float64Array::from(bars.high().to_vec()))
        .with("low", &Float64Array::from(bars.low().to_vec()))
        .with("close", &Float64Array::from(bars.close().to_vec()));
    let feature = |indicator: Indicator| -> Result<Float64Array> {
        // Copied, not sliced: what is kept of these rows should not hold the memory of their history.
        Ok(compute(&indicator, &rows)?.iter().skip(first).collect())
    };
    let close = || "close".to_owned();
    let prices = || Prices { high: "high".into(), low: "low".into(), close: close() };
    let log_return = |minutes: u64| {
        feature(Indicator::LogReturn { column: close(), over: Over::Time(Duration::from_secs(60 * minutes)) })
    };
    Ok(Features {
        ts: bars.ts().get(first..).unwrap_or_default().to_vec(),
        columns: [
            log_return(5)?,
            log_return(60)?,
            log_return(240)?,
            feature(Indicator::Rsi { column: close(), period: Period::new(RSI_PERIOD)? })?,
            feature(Indicator::AtrPct { prices: prices(), period: Period::new(RANGE_PERIOD)? })?,
            feature(Indicator::Adx { prices: prices(), period: Period::new(RANGE_PERIOD)? })?,
            feature(Indicator::Zscore { column: close(), period: Period::new(Z_PERIOD)? })?,
        ],
    })
}
