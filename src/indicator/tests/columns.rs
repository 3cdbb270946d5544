//! What is taken for a number, what is null, and what is refused.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int64Array, NullArray, RecordBatch,
    StringArray,
};

use super::{MINUTE, closes, every, over, period, prices, values};
use crate::definition::{Indicator, Over};
use crate::error::ErrorKind;
use crate::indicator::{Columns, compute};

fn lag() -> Indicator {
    Indicator::Lag { column: "close".into(), bars: period(1) }
}

fn two(values: &dyn arrow::array::Array) -> Columns {
    Columns::new(vec![0, MINUTE]).unwrap().with("close", values)
}

#[test]
fn integers_decimals_and_booleans_are_numbers() {
    let decimals = Decimal128Array::from(vec![125, 250]).with_precision_and_scale(10, 2).unwrap();
    for (column, first) in [
        (Arc::new(Int64Array::from(vec![3, 4])) as ArrayRef, Some(3.0)),
        (Arc::new(decimals), Some(1.25)),
        (Arc::new(BooleanArray::from(vec![true, false])), Some(1.0)),
        (Arc::new(Float32Array::from(vec![0.5, 1.0])), Some(0.5)),
        (Arc::new(NullArray::new(2)), None),
    ] {
        assert_eq!(values(&lag(), &two(&column)), [None, first], "{}", column.data_type());
    }
}

#[test]
fn a_batch_gives_its_columns_by_their_names() {
    let close: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0]));
    let venue: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let batch = RecordBatch::try_from_iter([("close", close), ("venue", venue)]).unwrap();
    let rows = Columns::of_batch(vec![0, MINUTE], &batch).unwrap();
    assert_eq!(values(&lag(), &rows), [None, Some(1.0)]);
}

#[test]
fn text_is_no_number_even_where_it_looks_like_one() {
    let rows = two(&StringArray::from(vec!["1", "2"]));
    let error = compute(&lag(), &rows).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.to_string(), "column \"close\" is Utf8: an indicator needs numbers or booleans");
}

#[test]
fn a_missing_column_is_named_with_those_there_are() {
    let rows = closes(&[1.0]).with("bid", &Float64Array::from(vec![1.0]));
    let error = compute(&Indicator::Spread { column: "ask".into(), minus: "bid".into() }, &rows).unwrap_err();
    assert_eq!(error.to_string(), "the rows have no column \"ask\": they have bid, close");
    let error = compute(&lag(), &Columns::new(vec![0]).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "the rows have no column \"close\": they have no columns");
}

#[test]
fn a_column_of_another_length_is_refused() {
    let error = compute(&lag(), &two(&Float64Array::from(vec![1.0]))).unwrap_err();
    assert_eq!(error.to_string(), "column \"close\" has 1 values for 2 rows");
}

#[test]
fn an_infinity_is_refused_with_its_time_by_who_reads_it_alone() {
    let rows = two(&Float64Array::from(vec![1.0, f64::NEG_INFINITY])).with("bid", &Float64Array::from(vec![1.0, 2.0]));
    let error = compute(&lag(), &rows).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Compute);
    assert_eq!(
        error.to_string(),
        "column \"close\" is -inf at 1970-01-01T00:01:00Z: correct it in the source, or make it null there"
    );
    let bid = Indicator::Lag { column: "bid".into(), bars: period(1) };
    assert_eq!(values(&bid, &rows), [None, Some(1.0)]);
}

#[test]
fn what_a_null_hides_is_not_looked_at() {
    let hidden = Float64Array::new(vec![f64::INFINITY, 1.0].into(), Some(vec![false, true].into()));
    assert_eq!(values(&lag(), &two(&hidden)), [None, None]);
}

#[test]
fn a_nan_is_no_value() {
    let rows = closes(&[1.0, f64::NAN, 3.0]);
    assert_eq!(values(&lag(), &rows), [None, None, Some(1.0)]);
}

#[test]
fn rows_out_of_order_are_refused() {
    let error = Columns::new(vec![0, 2 * MINUTE, MINUTE]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "row 2 (the first is 0) is of 1970-01-01T00:01:00Z, the row before it of 1970-01-01T00:02:00Z: sort the rows \
         by event time"
    );
    assert!(Columns::new(vec![0, 0]).is_ok());
}

#[test]
fn no_rows_have_no_values() {
    let empty = Float64Array::from(Vec::<f64>::new());
    let rows = super::COLUMNS.iter().fold(Columns::new(vec![]).unwrap(), |rows, name| rows.with(*name, &empty));
    for indicator in every(5) {
        assert_eq!(values(&indicator, &rows), [], "{indicator:?}");
    }
}

#[test]
fn a_period_that_ta_lib_does_not_have_is_refused_with_its_function() {
    let error = compute(&Indicator::Rsi { column: "close".into(), period: period(1) }, &closes(&[1.0])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().starts_with("TA-Lib's RSI refused its parameters or 1 rows: "), "{error}");
}

#[test]
fn where_a_formula_has_no_value_there_is_null() {
    let column = || "close".to_owned();
    let close = |over| Indicator::LogReturn { column: column(), over };
    assert_eq!(values(&close(Over::Bars(period(1))), &closes(&[1.0, 0.0, 1.0, -1.0, -2.0])), [None; 5]);
    assert_eq!(values(&close(over(1)), &closes(&[1.0, 0.0, 1.0, -1.0, -2.0])), [None; 5]);
    let change = Indicator::Change { column: column(), over: Over::Bars(period(1)), relative: true };
    assert_eq!(values(&change, &closes(&[0.0, 0.0, 1.0, 1.5])), [None, None, None, Some(0.5)]);
    let volatility = Indicator::RealisedVolatility { column: column(), period: period(1), annualise: None };
    assert_eq!(values(&volatility, &closes(&[1.0, 0.0, 1.0, 1.0])), [None, None, None, Some(0.0)]);
    let rank = Indicator::Rank { column: column(), period: period(1) };
    assert_eq!(values(&rank, &closes(&[1.0])), [None]);
    let zero = Float64Array::from(vec![0.0; 3]);
    let rows = ["high", "low", "volume"].into_iter().fold(closes(&[0.0; 3]), |rows, name| rows.with(name, &zero));
    assert_eq!(values(&Indicator::AtrPct { prices: prices(), period: period(1) }, &rows), [None; 3]);
    let vwap = Indicator::Vwap { prices: prices(), volume: "volume".into(), period: period(1) };
    assert_eq!(values(&vwap, &rows), [None; 3]);
}
