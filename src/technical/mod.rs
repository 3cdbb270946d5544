//! Bars of prices and the technical features computed from them: what `larder demo` caches.
//!
//! ```
//! use larder::technical::{MIN_BARS, lookback_for, synthetic_bars, technical_features};
//!
//! const DAY: i64 = 86_400_000_000_000;
//! let (from, to) = (20_003 * DAY, 20_004 * DAY);
//!
//! let bars = synthetic_bars(&["EURUSD", "USDJPY"], 14, to, 7);
//! let lookback = lookback_for(bars.values(), MIN_BARS).as_nanos() as i64;
//! let features = technical_features(bars["EURUSD"].window(from - lookback, to), from, to)?;
//! assert_eq!(features.into_record_batch()?.num_rows(), 1_440);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | |
//! |---|---|
//! | `bars` | bars of one symbol, in columns, and windows of them |
//! | `read`, `columns` | bars from a Parquet file |
//! | `synthetic` | bars of a market that does not exist |
//! | `features` | features of the bars in a window |
//! | `lookback` | how long before a range its window begins |
//! | `error` | why bars were refused |

mod bars;
mod columns;
mod error;
mod features;
mod lookback;
mod read;
mod synthetic;
#[cfg(test)]
mod tests;

pub use bars::{Bar, Bars, BarsSlice};
pub use error::BarsError;
pub use features::{FEATURE_NAMES, Features, technical_features};
pub use lookback::{MIN_BARS, lookback_for};
pub use read::read_bars;
pub use synthetic::synthetic_bars;
