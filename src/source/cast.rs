//! Casts that change no value.

use arrow::array::{Array, ArrayRef, AsArray, TimestampNanosecondArray, new_null_array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::util::display::array_value_to_string;

use super::found::{Found, Kind};
use super::moment::Clockface;
use crate::definition::ValueType;

/// A value that a type does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadValue {
    pub(super) row: usize,
    /// The value, and why not.
    pub(super) what: String,
}

/// How values of a source are cast.
#[derive(Debug, Clone)]
pub(super) struct Caster {
    pub(super) clock: Clockface,
    /// What stands before the digits of a fraction in text.
    pub(super) decimal: char,
}

/// Whether there are values of one type that have a value of the other.
pub(super) fn possible(found: &Found, to: ValueType) -> bool {
    use ValueType::{Boolean, Date, Double, Float, Integer, Text, Timestamp};
    match found.kind {
        Kind::Other => false,
        Kind::Text => true,
        Kind::Boolean => matches!(to, Boolean | Text),
        Kind::Integer => matches!(to, Integer | Float | Double | Text | Timestamp),
        Kind::Float | Kind::Double | Kind::Decimal => matches!(to, Integer | Float | Double),
        Kind::Date => matches!(to, Date | Text | Timestamp),
        Kind::Naive(_) | Kind::Instant(_) => matches!(to, Timestamp),
    }
}

impl Caster {
    /// The values in the type `to`. Each is the same as before: text is read as a whole, a number keeps its value, but
    /// for a decimal's or a double's nearest float.
    pub(super) fn cast(&self, values: &ArrayRef, found: &Found, to: ValueType) -> Result<ArrayRef, BadValue> {
        if values.null_count() == values.len() {
            return Ok(new_null_array(&to.data_type(), values.len()));
        }
        if to == ValueType::Timestamp {
            let instants = self.clock.instants(values, found);
            let instants = instants.map_err(|bad| BadValue { row: bad.row, what: bad.what })?;
            let (_, instants, nulls) = instants.into_parts();
            return Ok(std::sync::Arc::new(TimestampNanosecondArray::new(instants, nulls).with_timezone("UTC")));
        }
        let number = matches!(to, ValueType::Float | ValueType::Double);
        let values = match found.kind {
            Kind::Text if number && self.decimal != '.' => &self.with_points(values),
            _ => values,
        };
        let cast = try_cast(values, &to.data_type()).ok_or_else(|| refused(values, 0, to))?;
        if let Some(row) = lost(values, &cast) {
            return Err(refused(values, row, to));
        }
        match changed_number(values, &cast, found, to) {
            Some(row) => Err(refused(values, row, to)),
            None => Ok(cast),
        }
    }

    /// A point where the text has a comma. A point itself then is no part of a number.
    fn with_points(&self, values: &ArrayRef) -> ArrayRef {
        let Some(texts) = values.as_string_opt::<i32>() else { return values.clone() };
        let point = |text: &str| match text.contains('.') {
            true => format!("{text} has a point"),
            false => text.replace(self.decimal, "."),
        };
        std::sync::Arc::new(texts.iter().map(|text| text.map(point)).collect::<arrow::array::StringArray>())
    }
}

fn refused(values: &ArrayRef, row: usize, to: ValueType) -> BadValue {
    let value = array_value_to_string(values, row).unwrap_or_else(|_| "a value".to_owned());
    BadValue { row, what: format!("{value:?} is no {to}") }
}

fn try_cast(values: &ArrayRef, to: &DataType) -> Option<ArrayRef> {
    cast_with_options(values, to, &CastOptions { safe: true, ..CastOptions::default() }).ok()
}

/// The first value that is null after a cast and was none before. A cast makes no value of a null, so equal counts say
/// without a look at each that there is none.
pub(super) fn lost(before: &dyn Array, after: &dyn Array) -> Option<usize> {
    if before.null_count() == after.null_count() {
        return None;
    }
    (0..before.len()).find(|row| before.is_valid(*row) && after.is_null(*row))
}

/// The first number that is another one after the cast.
fn changed_number(before: &ArrayRef, after: &ArrayRef, found: &Found, to: ValueType) -> Option<usize> {
    match (found.kind, to) {
        (Kind::Integer, ValueType::Float | ValueType::Double)
        | (Kind::Float | Kind::Double | Kind::Decimal, ValueType::Integer) => {
            let Some(back) = try_cast(after, before.data_type()) else { return Some(0) };
            let changed = distinct(&back, before).ok()?;
            (0..changed.len()).find(|row| changed.value(*row))
        }
        (Kind::Double, ValueType::Float) => {
            let (wide, narrow) = (before.as_primitive::<Float64Type>(), after.as_primitive::<Float32Type>());
            let lost = |row: &usize| wide.value(*row).is_finite() && !narrow.value(*row).is_finite();
            (0..wide.len()).find(|row| wide.is_valid(*row) && lost(row))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray};

    use super::*;
    use crate::definition::Zone;

    fn cast(values: ArrayRef, sql: &str, to: ValueType) -> Result<ArrayRef, String> {
        let found = Found::new(sql);
        assert!(possible(&found, to));
        let caster = Caster { clock: Clockface::new(&Zone::utc(), None), decimal: '.' };
        caster.cast(&values, &found, to).map_err(|bad| format!("{}: {}", bad.row, bad.what))
    }

    fn texts(texts: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(texts))
    }

    #[test]
    fn a_cast_that_would_change_a_value_is_refused() {
        let doubles = |values: &[f64]| -> ArrayRef { Arc::new(Float64Array::from(values.to_vec())) };
        let decimals: ArrayRef =
            Arc::new(Decimal128Array::from(vec![150, 125]).with_precision_and_scale(9, 2).unwrap());
        let refused = [
            (cast(doubles(&[1.0, 1.5]), "DOUBLE", ValueType::Integer), "1: \"1.5\" is no integer"),
            (cast(doubles(&[f64::NAN]), "DOUBLE", ValueType::Integer), "0: \"NaN\" is no integer"),
            (cast(doubles(&[9.3e18]), "DOUBLE", ValueType::Integer), "0: \"9.3e18\" is no integer"),
            (cast(doubles(&[1e300]), "DOUBLE", ValueType::Float), "0: \"1e300\" is no float"),
            (cast(decimals, "DECIMAL(9,2)", ValueType::Integer), "0: \"1.50\" is no integer"),
            (
                cast(Arc::new(Int64Array::from(vec![(1 << 53) + 1])), "BIGINT", ValueType::Double),
                "0: \"9007199254740993\" is no double",
            ),
            (cast(texts(&["1", "abc"]), "VARCHAR", ValueType::Double), "1: \"abc\" is no double"),
            (cast(texts(&["1.5"]), "VARCHAR", ValueType::Integer), "0: \"1.5\" is no integer"),
            (cast(texts(&["1 2"]), "VARCHAR", ValueType::Double), "0: \"1 2\" is no double"),
            (cast(texts(&[""]), "VARCHAR", ValueType::Double), "0: \"\" is no double"),
            (cast(texts(&["2024-02-30"]), "VARCHAR", ValueType::Date), "0: \"2024-02-30\" is no date"),
        ];
        for (result, message) in refused {
            assert_eq!(result.unwrap_err(), message);
        }
    }

    #[test]
    fn a_cast_that_keeps_values_is_done() {
        let ints: ArrayRef = Arc::new(Int32Array::from(vec![Some(3), None]));
        assert_eq!(
            cast(ints.clone(), "INTEGER", ValueType::Double).unwrap().as_primitive::<Float64Type>(),
            &Float64Array::from(vec![Some(3.0), None])
        );
        assert_eq!(cast(ints, "INTEGER", ValueType::Text).unwrap().as_string::<i32>().value(0), "3");
        assert_eq!(
            cast(texts(&["1e3", "-0.5"]), "VARCHAR", ValueType::Double).unwrap().as_primitive::<Float64Type>().values(),
            &[1000.0, -0.5]
        );
        assert_eq!(
            cast(texts(&["true"]), "VARCHAR", ValueType::Boolean).unwrap().as_boolean(),
            &BooleanArray::from(vec![true])
        );
        let decimals: ArrayRef = Arc::new(Decimal128Array::from(vec![300]).with_precision_and_scale(9, 2).unwrap());
        let whole = cast(decimals, "DECIMAL(9,2)", ValueType::Integer).unwrap();
        assert_eq!(whole.as_ref(), &Int64Array::from(vec![3]) as &dyn Array);
    }
}
