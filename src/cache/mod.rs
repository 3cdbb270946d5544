//! `get_or_compute`: from memory, from disk, or by one compute.

mod answer;
#[cfg(feature = "async")]
mod asynchronous;
mod builder;
mod check;
mod core;
mod counters;
mod export;
mod fill;
mod flight;
mod gap;
mod keep;
mod keeper;
mod look;
mod lookup;
mod memory;
mod observe;
mod plan;
mod refresh;
mod request;
mod restore;
mod store;
mod supply;
mod views;

#[cfg(feature = "async")]
pub use self::asynchronous::AsyncFeatureStore;
pub use answer::{Answer, AnswerBlock, Origin};
pub use builder::FeatureStoreBuilder;
pub use gap::{ComputeError, Gap, GapWindow, Source};
pub use store::FeatureStore;
