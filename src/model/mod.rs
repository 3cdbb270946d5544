//! The words of the field as types that cannot be wrong once they exist.

mod block;
mod data_type;
mod entity;
mod feature;
mod fingerprint;
mod id;
mod name;
mod outcome;
mod span;
mod time;
mod view;
mod view_builder;

pub(crate) use block::newest_event;
pub use block::{FeatureBlock, event_times};
pub use data_type::type_name;
pub use entity::{EntityKey, KeyType, KeyValue};
pub use feature::{EVENT_TIME, Feature};
pub use fingerprint::Fingerprint;
pub use id::BlockId;
pub(crate) use id::block_hash;
pub use name::{EntityName, FeatureName, KeyName, ServiceName, SourceName, ViewName};
pub use outcome::{MissReason, Outcome};
pub use span::Span;
pub use time::{TimeRange, Timestamp};
pub use view::{FeatureView, JoinKey};
pub use view_builder::FeatureViewBuilder;
