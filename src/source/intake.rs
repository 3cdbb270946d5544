//! What is taken of rows as they come from one file or table.

use std::fmt::Display;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::kernels::cmp::eq;
use arrow::compute::{cast, filter, filter_record_batch};
use arrow::datatypes::{DataType, Int64Type};

use super::cast::Caster;
use super::column::Column;
use super::found::Found;
use super::gather::Gathered;
use super::moment::BadTime;
use crate::definition::{Label, Layout, OnNullTime, SourceDefinition};
use crate::error::{Error, Result};
use crate::model::{KeyValue, Timestamp};

/// Columns that hold the keys, with the values that are wanted.
pub(super) type Keys = Vec<(String, KeyValue)>;

/// How rows of one file or table are taken.
pub(super) struct Intake<'a> {
    pub(super) source: &'a SourceDefinition,
    pub(super) caster: &'a Caster,
    /// What messages call it.
    pub(super) place: String,
}

/// The types of what is read.
pub(super) struct Types<'a> {
    pub(super) times: Found,
    /// That of the created time, where there is one.
    pub(super) created: Option<Found>,
    pub(super) columns: &'a [&'a Column],
    /// That of each of these columns.
    pub(super) data: Vec<Found>,
}

/// What has been read at once.
struct Part<'a> {
    event: Int64Array,
    known: Option<Int64Array>,
    values: &'a [ArrayRef],
}

impl Intake<'_> {
    /// Adds the rows of a batch whose event times lie from `from` up to `to`: of a wide table to the only one of
    /// `into`, of a long one to that of each column.
    ///
    /// The batch has the event time, the created time where there is one, and then the columns of a wide table, or the
    /// name and the value of a long one.
    pub(super) fn add(
        &self,
        batch: &RecordBatch,
        types: &Types<'_>,
        keys: &Keys,
        (from, to): (i64, i64),
        into: &mut [Gathered],
    ) -> Result<()> {
        let event = self.event_times(batch, &types.times)?;
        if event.null_count() > 0 && self.source.on_null_time == OnNullTime::Error {
            return Err(self.null_time(keys));
        }
        let is_inside = |at: i64| from <= at && at < to;
        // Most often the engine has left out what lies outside, and there is nothing to copy.
        let all_inside = event.null_count() == 0 && event.values().iter().all(|at| is_inside(*at));
        let (batch, event) = if all_inside {
            (batch.clone(), event)
        } else {
            let inside: BooleanArray = event.iter().map(|at| at.map(is_inside)).collect();
            let batch = filter_record_batch(batch, &inside).map_err(unexpected)?;
            (batch, filter(&event, &inside).map_err(unexpected)?.as_primitive().clone())
        };
        let known = match (&self.source.created_time, &types.created) {
            (Some(column), Some(found)) => Some(self.instants(column, batch.column(1), found)?),
            _ => None,
        };
        let values = batch.columns().get(1 + usize::from(known.is_some())..).unwrap_or_default();
        let part = Part { event, known, values };
        match &self.source.layout {
            Layout::Wide => self.add_wide(&part, types, into),
            Layout::Long { .. } => self.add_long(&part, types, into),
        }
    }

    fn add_wide(&self, part: &Part<'_>, types: &Types<'_>, into: &mut [Gathered]) -> Result<()> {
        let cast = types.columns.iter().zip(&types.data).zip(part.values);
        let cast = cast.map(|((column, found), values)| self.cast(column, values, found, &part.event));
        let cast = cast.collect::<Result<Vec<_>>>()?;
        for gathered in into {
            let known = part.known.iter().flatten();
            gathered.add(&self.place, part.event.values().iter().copied(), known, cast.clone());
        }
        Ok(())
    }

    fn add_long(&self, part: &Part<'_>, types: &Types<'_>, into: &mut [Gathered]) -> Result<()> {
        let [names, values] = part.values else { return Err(Error::internal("a long table has a name and a value")) };
        let names = cast(names, &DataType::Utf8).map_err(unexpected)?;
        for ((column, found), gathered) in types.columns.iter().zip(&types.data).zip(into) {
            let own = eq(&names, &StringArray::new_scalar(&column.data)).map_err(unexpected)?;
            let event = filter(&part.event, &own).map_err(unexpected)?;
            let event: &Int64Array = event.as_primitive();
            let known = part.known.as_ref().map(|known| filter(known, &own)).transpose().map_err(unexpected)?;
            let values = filter(values, &own).map_err(unexpected)?;
            let values = self.cast(column, &values, found, event)?;
            let known = known.as_ref().map(|known| known.as_primitive::<Int64Type>());
            gathered.add(&self.place, event.values().iter().copied(), known.into_iter().flatten(), [values]);
        }
        Ok(())
    }

    /// The event times of a batch, whose first column they are.
    pub(super) fn event_times(&self, batch: &RecordBatch, found: &Found) -> Result<Int64Array> {
        let times = self.instants(&self.source.event_time, batch.column(0), found)?;
        let bar = bar(self.source);
        Ok(times.unary(|at: i64| at.saturating_add(bar)))
    }

    fn instants(&self, column: &str, values: &ArrayRef, found: &Found) -> Result<Int64Array> {
        let instants = self.caster.clock.instants(values, found);
        instants.map_err(|BadTime { what, .. }| self.error(format!("column {column} of {}: {what}", self.place)))
    }

    /// What is wrong where a row has no event time.
    pub(super) fn null_time(&self, keys: &Keys) -> Error {
        self.error(format!(
            "{} has a row of {} without {}: correct it, or leave such rows out with on_null_time = \"drop\"",
            self.place,
            shown(keys),
            self.source.event_time
        ))
    }

    fn cast(&self, column: &Column, values: &ArrayRef, found: &Found, times: &Int64Array) -> Result<ArrayRef> {
        self.caster.cast(values, found, column.value_type).map_err(|bad| {
            let at = Timestamp::from_ns(times.values().get(bad.row).copied().unwrap_or_default());
            let (place, name) = (&self.place, &column.name);
            self.error(format!("column {name} of {place} at {at}: {}: correct it, or its type", bad.what))
        })
    }

    fn error(&self, what: impl Display) -> Error {
        Error::invalid(format!("source {}: {what}", self.source.name))
    }
}

/// How much later than its label a row is known.
pub(super) fn bar(source: &SourceDefinition) -> i64 {
    match source.label {
        Label::Close => 0,
        Label::Open { bar } => i64::try_from(bar.as_nanos()).unwrap_or(i64::MAX),
    }
}

/// Keys for a message.
pub(super) fn shown(keys: &Keys) -> String {
    let pairs: Vec<_> = keys.iter().map(|(column, value)| format!("{column}={value}")).collect();
    if pairs.is_empty() { "any entity".to_owned() } else { pairs.join(",") }
}

/// Arrow refused what it cannot refuse.
fn unexpected(error: arrow::error::ArrowError) -> Error {
    Error::internal(format!("rows of a source cannot be put together: {error}"))
}
