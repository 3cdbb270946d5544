//! Indicators over the rows of one entity, as pure functions of columns.
//!
//! ```
//! use arrow::array::Float64Array;
//! use larder::definition::{Indicator, Over, Period};
//! use larder::indicator::{Columns, compute};
//!
//! let prices = Float64Array::from(vec![Some(8.0), None, Some(4.0), Some(-1.0)]);
//! let rows = Columns::new(vec![0, 60, 120, 180])?.with("close", &prices);
//! let change = Indicator::Change { column: "close".into(), over: Over::Bars(Period::new(1)?), relative: false };
//!
//! let values: Vec<_> = compute(&change, &rows)?.iter().collect();
//! assert_eq!(values, [None, None, Some(-4.0), Some(-5.0)]);
//! # Ok::<(), larder::Error>(())
//! ```
//!
//! | module | |
//! |---|---|
//! | `columns` | the rows, as numbers |
//! | `compute` | which function an indicator is |
//! | `returns` | comparisons with an earlier row |
//! | `sum`, `moments`, `window` | over the last rows: exact sums; mean and deviation; the rest |
//! | `rank` | how many of the last values are less |
//! | `talib` | TA-Lib's functions that smooth |
//! | `calendar` | the row's time |
//! | `memory` | how far back a value depends on rows |

mod calendar;
mod columns;
mod compute;
mod memory;
mod moments;
mod rank;
mod returns;
mod sum;
mod talib;
#[cfg(test)]
mod tests;
mod window;

pub use columns::Columns;
pub use compute::{compute, compute_from};
pub use memory::{Memory, memory};
