//! Features defined in files: entities, sources, views, on-demand features and services.
//!
//! Reading a definition executes nothing and opens no data.

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
    CsvFormat, EpochUnit, Fill, Label, Layout, OnDuplicate, OnNullTime, OnViolation, PostgresRows, SourceDefinition,
    SourceKeys, SourceKind, Validity,
};
pub use template::{Environment, PathPattern, Template};
pub use value_type::ValueType;
pub use view::{EntityDefinition, Expression, FeatureDefinition, Parameter, ViewDefinition, ViewSource};
pub use zone::Zone;
