//! Larder: a local, disk-cached feature store for trading services.
pub mod block;
pub mod cache;
pub mod clock;
pub mod config;
pub mod error;
pub mod manifest;
pub mod metrics;
pub mod model;
pub mod slo;
pub mod store;
#[cfg(feature = "technical")]
pub mod technical;
pub mod upkeep;

pub use cache::{Answer, AnswerBlock, ComputeError, FeatureStore, FeatureStoreBuilder, Gap, GapWindow, Origin, Source};
pub use config::Settings;
pub use error::{Error, ErrorKind, Result};
pub use model::{
    EVENT_TIME, EntityKey, Feature, FeatureView, FeatureViewBuilder, KeyType, KeyValue, MissReason, Outcome, Span,
    TimeRange, Timestamp, ViewName, event_times,
};
