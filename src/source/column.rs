//! The columns of a source.

use super::cast::possible;
use super::found::{Found, widens};
use crate::definition::{Layout, SourceDefinition, ValueType};
use crate::error::{Error, Result};

/// A column that can be asked for.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// Its name in the definition.
    pub(super) name: String,
    /// Its name in the data; in a long table, that of the series.
    pub(super) data: String,
    pub(super) value_type: ValueType,
    /// Whether the definition says its type.
    pub(super) declared: bool,
}

impl Column {
    /// Whether values of a type are this column's. `untyped` ones are text only because nothing there has types.
    pub(super) fn takes(&self, found: &Found, untyped: bool) -> bool {
        match (self.declared || untyped, found.value_type()) {
            (true, _) => possible(found, self.value_type),
            (false, own) => own.is_some_and(|own| widens(own, self.value_type)),
        }
    }
}

/// The file or table that says what types there are, and the types that it has.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// What messages call it.
    pub(super) place: String,
    pub(super) columns: Vec<(String, Found)>,
}

impl Sample {
    pub(super) fn found(&self, column: &str) -> Option<&Found> {
        self.columns.iter().find(|(name, _)| name == column).map(|(_, found)| found)
    }

    /// The type of a column.
    ///
    /// # Errors
    /// `Invalid` where there is no such column.
    pub(super) fn required(&self, what: &str, column: &str) -> Result<&Found> {
        self.found(column).ok_or_else(|| {
            let names: Vec<_> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
            let (place, names) = (&self.place, names.join(", "));
            Error::invalid(format!("{what} {column} is not in {place}: its columns are {names}"))
        })
    }
}

/// The columns that can be asked for of a source that is like this sample.
///
/// # Errors
/// `Invalid` where a column is not in it, or does not have the type that the definition says of it.
pub(super) fn columns(source: &SourceDefinition, sample: &Sample) -> Result<Vec<Column>> {
    let of = |name: &str, data: &str, found: &Found| {
        let declared = source.types.get(name).copied();
        if let Some(value_type) = declared
            && !possible(found, value_type)
        {
            let place = &sample.place;
            return Err(Error::invalid(format!("column {name} is {found} in {place}, which gives no {value_type}")));
        }
        let column = declared.or(found.value_type()).map(|value_type| Column {
            name: name.to_owned(),
            data: data.to_owned(),
            value_type,
            declared: declared.is_some(),
        });
        match (&column, source.valid.contains_key(name)) {
            (Some(column), true) if !is_number(column.value_type) => Err(Error::invalid(format!(
                "valid: column {name} is {}, which has no limits: say them of numbers only",
                column.value_type
            ))),
            _ => Ok(column),
        }
    };
    let named = |name: &str, data: &str, found: &Found| {
        of(name, data, found)?.ok_or_else(|| Error::invalid(without_type(name, found, &sample.place)))
    };
    match (&source.layout, &source.columns) {
        (Layout::Long { value, .. }, read) => {
            let found = sample.required("the value column", value)?;
            read.iter().flatten().map(|(name, series)| named(name, series, found)).collect()
        }
        (Layout::Wide, Some(read)) => {
            read.iter().map(|(name, data)| named(name, data, sample.required("column", data)?)).collect()
        }
        (Layout::Wide, None) => {
            sample.columns.iter().filter_map(|(name, found)| of(name, name, found).transpose()).collect()
        }
    }
}

/// That a column holds what features are not computed from.
pub(super) fn without_type(name: &str, found: &Found, place: &str) -> String {
    format!(
        "column {name} is {found} in {place}, of which no feature is made: write a number, text, boolean, date or time \
         instead; of a database, by a query that casts it"
    )
}

fn is_number(value_type: ValueType) -> bool {
    matches!(value_type, ValueType::Integer | ValueType::Float | ValueType::Double)
}
