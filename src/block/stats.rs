//! Statistics of a block's columns: drift and quality without reading data.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use serde::{Deserialize, Serialize};

/// What one column of a block looks like.
///
/// Numbers are over the values that are neither null nor NaN nor infinite, as
/// `f64`: booleans as 0 and 1, decimals with their scale applied. They are
/// `None` where there is no such value, and for text, bytes, dates and times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnStats {
    /// Name of the column.
    pub name: String,
    /// Rows, nulls among them.
    pub count: u64,
    /// Rows that are null.
    pub nulls: u64,
    /// Rows that are NaN.
    pub nans: u64,
    /// Smallest value.
    pub min: Option<f64>,
    /// Largest value.
    pub max: Option<f64>,
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Sample standard deviation (n - 1 below the line); `None` for one value.
    pub std: Option<f64>,
    /// First quartile. Quantiles interpolate linearly between the two nearest
    /// values (type 7 of Hyndman and Fan 1996, numpy's default).
    pub p25: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// Third quartile.
    pub p75: Option<f64>,
}

/// Statistics of every column but the event time, which is the first one.
///
/// Linear in the number of values: quantiles are selected, not sorted for.
pub fn column_stats(batch: &RecordBatch) -> Vec<ColumnStats> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).skip(1);
    columns.map(|(field, column)| of(field.name(), column)).collect()
}

fn of(name: &str, column: &ArrayRef) -> ColumnStats {
    let mut values = numbers(column).unwrap_or_default();
    let nans = values.iter().filter(|value| value.is_nan()).count();
    if !values.iter().all(|value| value.is_finite()) {
        values.retain(|value| value.is_finite());
    }
    let mean = mean(&values);
    let [p25, p50, p75] = quartiles(&mut values);
    ColumnStats {
        name: name.to_owned(),
        count: column.len() as u64,
        nulls: column.logical_null_count() as u64,
        nans: nans as u64,
        min: first(&values, |a, b| a < b),
        max: first(&values, |a, b| a > b),
        mean,
        std: mean.and_then(|mean| deviation(&values, mean)),
        p25,
        p50,
        p75,
    }
}

/// The values that are not null, if they are numbers.
fn numbers(column: &ArrayRef) -> Option<Vec<f64>> {
    macro_rules! numbers {
        ($type:ty) => {{
            let array = column.as_primitive_opt::<$type>()?;
            match array.nulls() {
                None => array.values().iter().map(|value| *value as f64).collect(),
                Some(_) => array.iter().flatten().map(|value| value as f64).collect(),
            }
        }};
    }
    Some(match column.data_type() {
        DataType::Boolean => column.as_boolean_opt()?.iter().flatten().map(|bit| f64::from(u8::from(bit))).collect(),
        DataType::Int8 => numbers!(Int8Type),
        DataType::Int16 => numbers!(Int16Type),
        DataType::Int32 => numbers!(Int32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::UInt8 => numbers!(UInt8Type),
        DataType::UInt16 => numbers!(UInt16Type),
        DataType::UInt32 => numbers!(UInt32Type),
        DataType::UInt64 => numbers!(UInt64Type),
        DataType::Float32 => numbers!(Float32Type),
        DataType::Float64 => numbers!(Float64Type),
        DataType::Decimal128(_, scale) => {
            let unit = 10f64.powi(i32::from(*scale));
            let values: Vec<f64> = numbers!(Decimal128Type);
            values.into_iter().map(|value| value / unit).collect()
        }
        _ => return None,
    })
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| sum(values, |value| value) / values.len() as f64)
}

/// How many values are looked at side by side: each then need not wait for the one before it.
const LANES: usize = 8;

/// The sum of what `term` makes of each value.
fn sum(values: &[f64], term: impl Fn(f64) -> f64) -> f64 {
    let (rows, rest) = values.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for row in rows {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += term(*value));
    }
    sums.into_iter().sum::<f64>() + rest.iter().map(|value| term(*value)).sum::<f64>()
}

/// The value that is `before` all others.
fn first(values: &[f64], before: impl Fn(f64, f64) -> bool) -> Option<f64> {
    let better = |a: f64, b: f64| if before(b, a) { b } else { a };
    let (rows, rest) = values.as_chunks::<LANES>();
    let mut lanes = [*values.first()?; LANES];
    for row in rows {
        lanes.iter_mut().zip(row).for_each(|(lane, value)| *lane = better(*lane, *value));
    }
    lanes.into_iter().chain(rest.iter().copied()).reduce(better)
}

/// In two passes: subtracting the square of a large mean would cancel digits.
fn deviation(values: &[f64], mean: f64) -> Option<f64> {
    let squares = sum(values, |value| (value - mean).powi(2));
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

/// Reorders `values`. The median is selected first; what lies below it holds
/// the first quartile and both its neighbours, what lies above it the third.
fn quartiles(values: &mut [f64]) -> [Option<f64>; 3] {
    const FEW: usize = 8;
    let last = values.len().saturating_sub(1);
    if values.len() < FEW {
        // Too few for the halves to hold both neighbours.
        values.sort_unstable_by(f64::total_cmp);
        return [last, 2 * last, 3 * last].map(|quarters| quantile(values, quarters));
    }
    let p50 = quantile(values, 2 * last);
    let (below, above) = values.split_at_mut(last / 2);
    let skipped = below.len() * 4;
    [quantile(below, last), p50, quantile(above, 3 * last - skipped)]
}

/// The value at place `quarters / 4` of `values`, counted from zero.
fn quantile(values: &mut [f64], quarters: usize) -> Option<f64> {
    let at = quarters / 4;
    if at >= values.len() {
        return None;
    }
    // All are finite. A total order would tell the zeros apart too, and takes a third longer.
    let (_, below, above) = values.select_nth_unstable_by(at, |a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    let next = first(above, |a, b| a < b).unwrap_or(*below);
    Some(*below + (next - *below) * (quarters % 4) as f64 / 4.0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BooleanArray, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
        StringArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
    };
    use proptest::prelude::*;

    use super::*;

    fn stats(array: impl Array + 'static) -> ColumnStats {
        of("x", &(Arc::new(array) as ArrayRef))
    }

    /// By sorting everything, straight from the definitions.
    fn naive(values: &[f64]) -> [Option<f64>; 7] {
        let mut sorted: Vec<_> = values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let mean = (count > 0).then(|| sorted.iter().sum::<f64>() / count as f64);
        let squares = |mean: f64| sorted.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let std = mean.filter(|_| count > 1).map(|mean| (squares(mean) / (count as f64 - 1.0)).sqrt());
        let quantile = |part: f64| {
            let at = part * (count.max(1) - 1) as f64;
            let (low, high) = (sorted.get(at.floor() as usize)?, sorted.get(at.ceil() as usize)?);
            Some(low + (high - low) * at.fract())
        };
        let ends = (sorted.first().copied(), sorted.last().copied());
        [ends.0, ends.1, mean, std, quantile(0.25), quantile(0.5), quantile(0.75)]
    }

    fn numbers_of(stats: &ColumnStats) -> [Option<f64>; 7] {
        [stats.min, stats.max, stats.mean, stats.std, stats.p25, stats.p50, stats.p75]
    }

    #[test]
    fn numbers_known_beforehand_come_out() {
        // numpy.percentile and statistics.stdev of 1, 2, 4, 8.
        let stats = stats(Float64Array::from(vec![8.0, 1.0, 4.0, 2.0]));
        let std = Some(3.095_695_936_834_452);
        let wanted = [Some(1.0), Some(8.0), Some(3.75), std, Some(1.75), Some(3.0), Some(5.0)];
        assert_eq!(numbers_of(&stats), wanted);
    }

    #[test]
    fn nulls_nans_and_infinities_are_counted_and_left_out() {
        let values = [Some(1.0), None, Some(f64::NAN), Some(f64::INFINITY), Some(3.0)];
        let stats = stats(Float64Array::from(values.to_vec()));
        assert_eq!((stats.count, stats.nulls, stats.nans), (5, 1, 1));
        assert_eq!((stats.min, stats.max, stats.mean), (Some(1.0), Some(3.0), Some(2.0)));
    }

    #[test]
    fn one_value_has_no_deviation_and_none_has_nothing() {
        let one = stats(Float64Array::from(vec![2.5]));
        assert_eq!((one.std, one.p25, one.p75), (None, Some(2.5), Some(2.5)));
        let none = stats(Float64Array::from(vec![None, Some(f64::NAN)]));
        assert_eq!(numbers_of(&none), [None; 7]);
    }

    #[test]
    fn booleans_integers_and_decimals_are_numbers_and_text_is_not() {
        assert_eq!(stats(BooleanArray::from(vec![true, false, true, true])).mean, Some(0.75));
        macro_rules! integers {
            ($($array:ty)*) => {
                $(assert_eq!(stats(<$array>::from(vec![3, 5])).mean, Some(4.0), stringify!($array));)*
            };
        }
        integers!(Int8Array Int16Array Int32Array Int64Array UInt8Array UInt16Array UInt32Array UInt64Array);
        assert_eq!(stats(Float32Array::from(vec![0.5, 1.0])).mean, Some(0.75));
        let decimal = Decimal128Array::from(vec![125, 375]).with_precision_and_scale(9, 2);
        assert_eq!(stats(decimal.expect("three digits fit nine")).mean, Some(2.5));
        let text = stats(StringArray::from(vec![Some("a"), None]));
        assert_eq!((text.count, text.nulls, numbers_of(&text)), (2, 1, [None; 7]));
    }

    #[test]
    fn the_event_time_has_no_statistics() {
        let values: ArrayRef = Arc::new(Int8Array::from(vec![1]));
        let columns = [("event_timestamp", values.clone()), ("rsi_9", values)];
        let batch = RecordBatch::try_from_iter(columns).expect("two columns of one row");
        let names: Vec<_> = column_stats(&batch).into_iter().map(|stats| stats.name).collect();
        assert_eq!(names, ["rsi_9"]);
    }

    proptest! {
        #[test]
        fn statistics_are_those_of_the_definitions(
            values in prop::collection::vec(
                prop_oneof![8 => -1e6..1e6f64, 2 => Just(0.5), 1 => Just(f64::NAN)], 0..120),
        ) {
            let found = numbers_of(&stats(Float64Array::from(values.clone())));
            for (found, wanted) in found.into_iter().zip(naive(&values)) {
                prop_assert_eq!(found.is_some(), wanted.is_some());
                let (found, wanted) = (found.unwrap_or(0.0), wanted.unwrap_or(0.0));
                prop_assert!((found - wanted).abs() <= 1e-9 * (1.0 + wanted.abs()), "{} {}", found, wanted);
            }
        }
    }
}
