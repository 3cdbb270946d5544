//! Features: the columns of a view.

use arrow::datatypes::DataType;

use super::data_type::type_name;
use super::name::FeatureName;
use crate::error::{Error, Result};

/// The column that holds the event time, `Timestamp(Nanosecond, "UTC")` without nulls.
pub const EVENT_TIME: &str = "event_timestamp";

/// One column of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    name: FeatureName,
    data_type: DataType,
    allow_null: bool,
    allow_nan: bool,
}

impl Feature {
    /// A feature in which nulls and NaN are values like any other.
    ///
    /// # Errors
    /// `Invalid` for a name that is not plain, or a type that a block cannot hold.
    pub fn new(name: &str, data_type: DataType) -> Result<Self> {
        let name = FeatureName::new(name)?;
        if name.as_str() == EVENT_TIME {
            return Err(Error::invalid(format!("feature name {EVENT_TIME} is taken by the event time")));
        }
        type_name(&data_type).map_err(|error| Error::invalid(format!("feature {name}: {error}")))?;
        Ok(Self { name, data_type, allow_null: true, allow_nan: true })
    }

    /// Makes a null an error of the compute.
    #[must_use]
    pub fn forbid_null(mut self) -> Self {
        self.allow_null = false;
        self
    }

    /// Makes a NaN an error of the compute.
    #[must_use]
    pub fn forbid_nan(mut self) -> Self {
        self.allow_nan = false;
        self
    }

    /// Its name.
    pub fn name(&self) -> &FeatureName {
        &self.name
    }

    /// Its Arrow type.
    pub fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// Whether a null is a value.
    pub fn allows_null(&self) -> bool {
        self.allow_null
    }

    /// Whether a NaN is a value.
    pub fn allows_nan(&self) -> bool {
        self.allow_nan
    }
}
