//! The columns of a source.

use std::path::PathBuf;

use super::cast::possible;
use super::found::Found;
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

/// The file that says what types there are, and the types that it has.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) path: PathBuf,
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
            let path = self.path.display();
            Error::invalid(format!("{what} {column} is not in {path}: its columns are {}", names.join(", ")))
        })
    }
}

/// The columns that can be asked for of a source whose files are like this one.
///
/// # Errors
/// `Invalid` where a column is not in the file, or does not have the type that the definition says of it.
pub(super) fn columns(source: &SourceDefinition, sample: &Sample) -> Result<Vec<Column>> {
    let of = |name: &str, data: &str, found: &Found| {
        let declared = source.types.get(name).copied();
        if let Some(value_type) = declared
            && !possible(found, value_type)
        {
            let path = sample.path.display();
            return Err(Error::invalid(format!("column {name} is {found} in {path}, which gives no {value_type}")));
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
    let read = match (&source.layout, &source.columns) {
        (Layout::Long { value, .. }, named) => {
            let found = sample.required("the value column", value)?;
            named.iter().flatten().map(|(name, series)| of(name, series, found)).collect::<Result<Vec<_>>>()?
        }
        (Layout::Wide, Some(named)) => named
            .iter()
            .map(|(name, data)| of(name, data, sample.required("column", data)?))
            .collect::<Result<Vec<_>>>()?,
        (Layout::Wide, None) => {
            sample.columns.iter().map(|(name, found)| of(name, name, found)).collect::<Result<Vec<_>>>()?
        }
    };
    Ok(read.into_iter().flatten().collect())
}

fn is_number(value_type: ValueType) -> bool {
    matches!(value_type, ValueType::Integer | ValueType::Float | ValueType::Double)
}
