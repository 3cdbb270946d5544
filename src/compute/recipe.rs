//! How one view is computed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options, concat};
use arrow::datatypes::DataType;

use super::function::{Function, FunctionRows, Functions};
use super::rows::{Frame, broken};
use crate::cache::Gap;
use crate::definition::{Expression, FeatureDefinition, Indicator, Parameter, ViewDefinition};
use crate::error::{Error, ErrorKind, Result};
use crate::indicator::{self, Columns};
use crate::model::{FeatureName, FeatureView, TimeRange};
use crate::sql::{Sandbox, Select};

/// The table that a view's own SQL reads.
const SOURCE: &str = "source";

/// How the features of a view are computed from rows.
pub(super) struct Recipe {
    view: FeatureView,
    select: Option<Select>,
    steps: Vec<Step>,
    sandbox: Arc<Sandbox>,
}

/// How one feature is computed.
struct Step {
    name: FeatureName,
    data_type: DataType,
    how: How,
}

enum How {
    Column(String),
    Indicator(Indicator),
    Sql(Select),
    Function(Arc<Function>, BTreeMap<String, Parameter>),
}

impl Recipe {
    /// Checks what only running could tell otherwise: SQL, and functions by their names.
    ///
    /// # Errors
    /// `Invalid`, with the place of the definition.
    pub fn new(
        view: FeatureView,
        definition: &ViewDefinition,
        functions: &Functions,
        sandbox: &Arc<Sandbox>,
    ) -> Result<Self> {
        let select = definition.sql.as_deref().map(|sql| Select::query(sandbox, sql, SOURCE)).transpose();
        let select = select.map_err(|error| {
            let what = format!("{}: view {}: sql: {error}", definition.place, definition.name);
            Error::new(error.kind(), what)
        })?;
        let step = |feature: &FeatureDefinition| Step::new(feature, &view, functions, sandbox);
        let steps = definition.features.iter().map(step).collect::<Result<_>>()?;
        Ok(Self { view, select, steps, sandbox: Arc::clone(sandbox) })
    }

    pub fn view(&self) -> &FeatureView {
        &self.view
    }

    /// The columns that are read of the source; `None` where that may be any.
    pub fn columns(&self) -> Option<BTreeSet<&str>> {
        let mut columns = BTreeSet::new();
        if let Some(select) = &self.select {
            columns.extend(select.columns().iter().map(String::as_str));
        } else {
            for step in &self.steps {
                match &step.how {
                    How::Column(column) => drop(columns.insert(column.as_str())),
                    How::Indicator(indicator) => columns.extend(indicator.columns()),
                    How::Sql(select) => columns.extend(select.columns().iter().map(String::as_str)),
                    How::Function(..) => return None,
                }
            }
        }
        (!columns.contains("*")).then_some(columns)
    }

    /// Whether a query makes its rows, which may give them other event times than those that it reads.
    pub fn is_retimed(&self) -> bool {
        self.select.is_some()
    }

    /// The features of a gap, from rows that begin where its source does.
    pub fn compute(&self, gap: &Gap, rows: &Frame) -> Result<RecordBatch> {
        let mut times = Vec::new();
        let mut parts: Vec<Vec<ArrayRef>> = self.steps.iter().map(|_| Vec::new()).collect();
        for window in gap.windows() {
            let (seen, features) = self.features(&rows.within(window.source), window.range)?;
            times.extend(seen);
            parts.iter_mut().zip(features).for_each(|(parts, feature)| parts.push(feature));
        }
        let whole = |parts: Vec<ArrayRef>| match parts.as_slice() {
            [one] => Ok(Arc::clone(one)),
            _ => concat(&parts.iter().map(|part| &**part).collect::<Vec<_>>()).map_err(broken),
        };
        gap.batch(times, parts.into_iter().map(whole).collect::<Result<_>>()?)
    }

    /// The event times in the range and the features at them, from all of these rows.
    pub fn features(&self, rows: &Frame, range: TimeRange) -> Result<(Vec<i64>, Vec<ArrayRef>)> {
        let made;
        let rows = match &self.select {
            Some(select) => {
                made = self.select(select, rows)?;
                &made
            }
            None => rows,
        };
        let kept = rows.find(range);
        let features = self.evaluate(rows, &kept)?;
        Ok((rows.times().get(kept).unwrap_or_default().to_vec(), features))
    }

    fn select(&self, select: &Select, rows: &Frame) -> Result<Frame> {
        let named = |error: Error| Error::new(error.kind(), format!("view {}: {error}", self.view.name()));
        let found = self.sandbox.query(SOURCE, &rows.batch()?, select).map_err(named)?;
        Frame::of_batch(&found).map_err(named)
    }

    /// The values of every feature at the rows that are kept, in their declared types.
    fn evaluate(&self, rows: &Frame, kept: &Range<usize>) -> Result<Vec<ArrayRef>> {
        let numbers = Columns::of_batch(rows.times().clone(), rows.columns())?;
        let mut selected = self.selected(rows)?.into_iter();
        let mut values = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let found = match &step.how {
                How::Column(column) => rows
                    .columns()
                    .column_by_name(column)
                    .cloned()
                    .ok_or_else(|| Error::new(ErrorKind::Compute, format!("the rows have no column {column}"))),
                How::Indicator(kind) => {
                    // Those that soon forget need not be computed over all the history that others need.
                    indicator::compute_from(kind, &numbers, kept.start).map(|values| Arc::new(values) as ArrayRef)
                }
                How::Sql(_) => selected.next().ok_or_else(|| Error::internal("a column of SQL is missing")),
                How::Function(function, parameters) => call(&**function, rows, parameters),
            };
            let whole = rows.times().len();
            let found = found.and_then(|values| match &step.how {
                How::Indicator(_) => Ok(step.checked(values, whole.saturating_sub(kept.start))?.slice(0, kept.len())),
                _ => Ok(step.checked(values, whole)?.slice(kept.start, kept.len())),
            });
            values.push(found.map_err(|error| self.blame(step, &error))?);
        }
        Ok(values)
    }

    fn selected(&self, rows: &Frame) -> Result<Vec<ArrayRef>> {
        let wanted: Vec<_> = self
            .steps
            .iter()
            .filter_map(|step| match &step.how {
                How::Sql(select) => Some((step.name.as_str(), select, &step.data_type)),
                _ => None,
            })
            .collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        self.sandbox
            .expressions(&rows.batch()?, &wanted)
            .map_err(|error| Error::new(error.kind(), format!("view {}: {error}", self.view.name())))
    }

    fn blame(&self, step: &Step, error: &Error) -> Error {
        // Whatever it was called below: to the caller the compute failed.
        Error::new(ErrorKind::Compute, format!("view {}: feature {}: {error}", self.view.name(), step.name))
    }
}

impl Step {
    fn new(feature: &FeatureDefinition, view: &FeatureView, functions: &Functions, sandbox: &Sandbox) -> Result<Self> {
        let wrong = |what: String| {
            Error::invalid(format!("{}: view {}: feature {}: {what}", feature.place, view.name(), feature.name))
        };
        let how = match &feature.expression {
            Expression::Column(column) => How::Column(column.clone()),
            Expression::Indicator(indicator) => How::Indicator(indicator.clone()),
            Expression::Sql(sql) => {
                let wrong = |error: Error| Error::new(error.kind(), wrong(format!("sql: {error}")).to_string());
                How::Sql(Select::expression(sandbox, sql).map_err(wrong)?)
            }
            Expression::Function { name, parameters } => {
                let function = functions.get(name).ok_or_else(|| {
                    let known: Vec<_> = functions.keys().map(String::as_str).collect();
                    let known =
                        if known.is_empty() { "none is".to_owned() } else { format!("{} are", known.join(", ")) };
                    wrong(format!("function {name} is not registered in this program ({known})"))
                })?;
                How::Function(Arc::clone(function), parameters.clone())
            }
        };
        Ok(Self { name: feature.name.clone(), data_type: feature.value_type.data_type(), how })
    }

    /// The values in the declared type, one for each row.
    fn checked(&self, values: ArrayRef, rows: usize) -> Result<ArrayRef> {
        if values.len() != rows {
            return Err(Error::new(ErrorKind::Compute, format!("{} values for {rows} rows", values.len())));
        }
        if *values.data_type() == self.data_type {
            return Ok(values);
        }
        // Not `safe`: what does not fit is an error, not a null.
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(&values, &self.data_type, &strict).map_err(|error| {
            let what = format!("{} is not its type {}: {error}", values.data_type(), self.data_type);
            Error::new(ErrorKind::Compute, what)
        })
    }
}

fn call(function: &Function, rows: &Frame, parameters: &BTreeMap<String, Parameter>) -> Result<ArrayRef> {
    let given = FunctionRows { times: rows.times(), columns: rows.columns(), parameters };
    function(&given).map_err(|error| Error::with_source(ErrorKind::Compute, "its function failed", error))
}
