//! Features defined in files: entities, sources, views, on-demand features and services.
//!
//! [`Definitions::read`] reads a directory of TOML files; `docs/definitions.md` describes them. Reading executes nothing and
//! opens no data.
//!
//! ```
//! use std::path::Path;
//! use larder::ViewName;
//! use larder::definition::{Definitions, Environment};
//!
//! let environment = Environment::from_iter([("MARKET_DATA".to_owned(), "/data".to_owned())]);
//! let definitions = Definitions::read(Path::new("config/features"), environment)?;
//! let view = definitions.feature_view(&ViewName::new("technical_features")?)?;
//! assert_eq!(view.features().len(), 6);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod canonical;
mod connection;
mod definitions;
mod indicator;
mod place;
mod read;
mod service;
mod source;
mod template;
mod value_type;
mod view;
mod zone;

pub use connection::{PostgresUrl, Secret};
pub use definitions::Definitions;
pub use indicator::{BollingerOutput, Encode, Indicator, MacdOutput, Over, Period, Prices};
pub use place::{Finding, Place};
pub use read::ReadError;
pub use service::{FeatureReference, OnDemandDefinition, ServiceDefinition, ServiceFeature};
pub use source::{
    CsvFormat, EpochUnit, Fill, Label, Layout, OnDuplicate, OnNullTime, OnViolation, Postgres, PostgresRows,
    SourceDefinition, SourceKeys, SourceKind, Validity,
};
pub use template::{Environment, PathPattern, Template};
pub use value_type::ValueType;
pub use view::{EntityDefinition, Expression, FeatureDefinition, Parameter, ViewDefinition, ViewSource};
pub use zone::Zone;

#[cfg(test)]
mod tests;
