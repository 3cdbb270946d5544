//! Rows as columns of numbers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, Float64Array, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use crate::error::{Error, ErrorKind, Result};
use crate::model::Timestamp;

/// The rows of one entity in the order of their event times: columns of numbers of one length.
///
/// A number is finite or null. NaN, which other tools write where they have no value, is null; an infinity is an
/// error of the one who asks for its column.
#[derive(Debug, Clone)]
pub struct Columns {
    times: ScalarBuffer<i64>,
    columns: BTreeMap<String, Result<Float64Array>>,
}

impl Columns {
    /// Rows with these event times, in nanoseconds since the Unix epoch, and no columns yet.
    ///
    /// # Errors
    /// `Invalid` where a time is before the one ahead of it.
    pub fn new(times: impl Into<ScalarBuffer<i64>>) -> Result<Self> {
        let times = times.into();
        if let Some(((_, earlier), (row, time))) =
            times.iter().enumerate().zip(times.iter().enumerate().skip(1)).find(|((_, a), (_, b))| a > b)
        {
            return Err(Error::invalid(format!(
                "row {row} (the first is 0) is of {}, the row before it of {}: sort the rows by event time",
                Timestamp::from_ns(*time),
                Timestamp::from_ns(*earlier)
            )));
        }
        Ok(Self { times, columns: BTreeMap::new() })
    }

    /// Rows with these event times and the columns of the batch.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_batch(times: impl Into<ScalarBuffer<i64>>, batch: &RecordBatch) -> Result<Self> {
        let schema = batch.schema();
        let named = schema.fields().iter().zip(batch.columns());
        Ok(named.fold(Self::new(times)?, |rows, (field, values)| rows.with(field.name(), values)))
    }

    /// The same with one more column, or with this one in the place of the column of its name. Integers, decimals and
    /// booleans become floats, once; what cannot is an error of the one who asks for it.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, values: &dyn Array) -> Self {
        let name = name.into();
        let numbers = numbers(&name, values, &self.times);
        self.columns.insert(name, numbers);
        self
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Event time of each row, in nanoseconds since the Unix epoch.
    pub fn times(&self) -> &ScalarBuffer<i64> {
        &self.times
    }

    /// The numbers of a column.
    ///
    /// # Errors
    /// `Invalid` where there is no such column, where it holds no numbers or another count of them than there are
    /// rows; `Compute` where one is infinite.
    pub fn column(&self, name: &str) -> Result<&Float64Array> {
        match self.columns.get(name) {
            Some(numbers) => numbers.as_ref().map_err(Error::clone),
            None => {
                let names: Vec<&str> = self.columns.keys().map(String::as_str).collect();
                let present = if names.is_empty() { "no columns".into() } else { names.join(", ") };
                Err(Error::invalid(format!("the rows have no column {name:?}: they have {present}")))
            }
        }
    }

    /// The rows from this one on. Copies nothing.
    pub(super) fn since(&self, row: usize) -> Self {
        let row = row.min(self.len());
        if row == 0 {
            return self.clone();
        }
        let length = self.len() - row;
        let columns = self.columns.iter().map(|(name, numbers)| {
            let rest = numbers.as_ref().map(|numbers| numbers.slice(row, length));
            (name.clone(), rest.map_err(Error::clone))
        });
        Self { times: self.times.slice(row, length), columns: columns.collect() }
    }

    /// Whether every row has all these columns.
    pub(super) fn lacks_none(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.column(name).is_ok_and(|numbers| numbers.null_count() == 0))
    }

    /// What `function` makes of the rows that have all these columns: one value for each of them. It is null on the
    /// other rows, and where it is not finite.
    pub(super) fn map<const N: usize>(
        &self,
        names: [&str; N],
        function: impl FnOnce(&[i64], [&[f64]; N]) -> Result<Vec<f64>>,
    ) -> Result<Float64Array> {
        let columns = names.map(|name| self.column(name));
        if let Some(error) = columns.iter().find_map(|column| column.as_ref().err()) {
            return Err(error.clone());
        }
        let complete = columns.iter().flatten().fold(None, |complete: Option<NullBuffer>, column| {
            NullBuffer::union(complete.as_ref(), column.nulls()).filter(|nulls| nulls.null_count() > 0)
        });
        let times = chosen(&self.times, complete.as_ref());
        let columns = columns.map(|column| column.map(|column| chosen(column.values(), complete.as_ref())));
        let slices = columns.each_ref().map(|column| column.as_deref().unwrap_or_default());
        let values = function(&times, slices)?;
        Ok(spread(values, complete.as_ref()))
    }
}

/// The values of the rows that are complete.
fn chosen<'a, T: Copy>(values: &'a [T], complete: Option<&NullBuffer>) -> Cow<'a, [T]> {
    match complete {
        None => Cow::Borrowed(values),
        Some(complete) => values.iter().zip(complete).filter_map(|(value, has)| has.then_some(*value)).collect(),
    }
}

/// The values of the complete rows, each at its row.
fn spread(mut values: Vec<f64>, complete: Option<&NullBuffer>) -> Float64Array {
    if let Some(complete) = complete {
        let mut rest = values.into_iter();
        values = complete.iter().map(|has| if has { rest.next() } else { None }.unwrap_or(f64::NAN)).collect();
    }
    let finite =
        BooleanBuffer::collect_bool(values.len(), |row| values.get(row).is_some_and(|value| value.is_finite()));
    for value in values.iter_mut().filter(|value| !value.is_finite()) {
        *value = 0.0;
    }
    Float64Array::new(values.into(), Some(NullBuffer::new(finite)).filter(|nulls| nulls.null_count() > 0))
}

fn numbers(name: &str, values: &dyn Array, times: &[i64]) -> Result<Float64Array> {
    let found = values.data_type();
    if values.len() != times.len() {
        return Err(Error::invalid(format!("column {name:?} has {} values for {} rows", values.len(), times.len())));
    }
    // Text too can be cast, and what is no number in it would silently be null.
    if !(found.is_numeric() || matches!(found, DataType::Boolean | DataType::Null)) {
        return Err(Error::invalid(format!("column {name:?} is {found}: an indicator needs numbers or booleans")));
    }
    let numbers = cast(values, &DataType::Float64).map_err(|source| {
        Error::with_source(ErrorKind::Invalid, format!("column {name:?} of {found} cannot be read as numbers"), source)
    })?;
    let numbers = numbers.as_primitive::<Float64Type>();
    if numbers.values().iter().all(|value| value.is_finite()) {
        return Ok(numbers.clone());
    }
    match numbers.iter().zip(times).find(|(value, _)| value.is_some_and(f64::is_infinite)) {
        Some((value, time)) => Err(Error::new(
            ErrorKind::Compute,
            format!(
                "column {name:?} is {} at {}: correct it in the source, or make it null there",
                value.unwrap_or_default(),
                Timestamp::from_ns(*time)
            ),
        )),
        None => Ok(numbers.iter().map(|value| value.filter(|value| !value.is_nan())).collect()),
    }
}
