//! A local, disk-cached feature store for trading services, with its service level watched from the
//! first request.
//!
//! A [`FeatureStore`] answers feature requests from memory, from zstd-compressed Parquet blocks on
//! local disk, or by computing once, and counts every request against an objective.
//!
//! ```
//! use std::sync::Arc;
//! use arrow::array::{ArrayRef, Float64Array};
//! use arrow::datatypes::DataType;
//! use larder::{EntityKey, FeatureStore, FeatureView, Gap, Outcome, TimeRange};
//!
//! # let dir = tempfile::tempdir()?;
//! # let cache_dir = dir.path().join("cache");
//! let store = FeatureStore::builder(cache_dir).open()?;
//! let view = FeatureView::builder("prices").entity("symbol").feature("mid", DataType::Float64).build()?;
//! let eurusd = EntityKey::new([("symbol", "EURUSD")])?;
//! let day = TimeRange::parse("2024-03-01", "2024-03-02")?;
//!
//! let compute = |gap: &Gap| {
//!     let noon = gap.range().start().as_ns() + 12 * 3_600_000_000_000;
//!     let mid: ArrayRef = Arc::new(Float64Array::from(vec![1.0837]));
//!     gap.batch(vec![noon], vec![mid])
//! };
//! assert_eq!(store.get_or_compute(&view, &eurusd, day, compute)?.outcome(), Outcome::Miss);
//! assert_eq!(store.get_or_compute(&view, &eurusd, day, compute)?.outcome(), Outcome::Hit);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Modules, lowest layer first
//!
//! Imports point down this list only, and `tests/architecture.rs` proves it.
//!
//! | module | |
//! |---|---|
//! | [`error`] | the one public error |
//! | [`clock`] | who knows the time |
//! | [`disk`] | what Larder asks of a file system |
//! | [`model`] | the field's words as types |
//! | [`config`] | settings |
//! | `definition` | features defined in files (feature `definitions`) |
//! | `sql` | their SQL, run over rows in memory (feature `definitions`) |
//! | `indicator` | indicators over the rows of one entity (feature `definitions`) |
//! | [`metrics`] | the catalogue, and the seam through which measurements leave |
//! | [`slo`] | counting requests, windows, error budget, burn rates |
//! | [`block`] | one batch as one sealed Parquet file |
//! | [`store`] | block files, locks and generations of a cache directory |
//! | `source` | rows of one entity, from files and pushes (feature `definitions`) or PostgreSQL (feature `postgres`) |
//! | [`manifest`] | journals, and the DuckDB index they are folded into |
//! | [`upkeep`] | clean, invalidate, verify, repair |
//! | [`inspect`] | what is cached and how it is doing, for people |
//! | [`cache`] | `get_or_compute` |
//! | `registry` | definitions that were applied (feature `definitions`) |
//! | `compute` | features computed as their definitions say (feature `definitions`) |
//! | `watch` | following definitions, settings and source files (feature `watch`) |
//! | `technical` | bars and TA-Lib features (feature `technical`) |
//! | `server` | metrics, health and a status page over HTTP (feature `server`) |
//! | `cli` | the `larder` program (feature `cli`) |
//!
//! # Cargo features
//!
//! | feature | brings |
//! |---|---|
//! | `cli` (default) | the `larder` program |
//! | `prometheus` (default) | `metrics::PrometheusRecorder` |
//! | `server` (default) | `server`: axum routes, and `larder serve` |
//! | `definitions` | `definition`, `sql`, `indicator` and `source`, with jiff and its time zones, and the official Rust port of TA-Lib |
//! | `watch` | `watch`, on top of `definitions`, with notify |
//! | `postgres` | sources in PostgreSQL, on top of `definitions`, with tokio-postgres and rustls |
//! | `technical` | `technical`, on top of `definitions` |
//! | `async` | `AsyncFeatureStore`, on tokio |
//! | `planted` | bugs on purpose, for the tests that have to find them; never in a program that serves anybody |
//!
//! `default-features = false` is the bare in-process cache, without clap or tokio.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make and break files"))]

pub mod block;
pub mod cache;
#[cfg(test)]
mod checkout;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
#[cfg(feature = "definitions")]
pub mod compute;
pub mod config;
#[cfg(feature = "definitions")]
pub mod definition;
pub mod disk;
pub mod error;
#[cfg(feature = "definitions")]
pub mod indicator;
pub mod inspect;
pub mod manifest;
pub mod metrics;
pub mod model;
#[cfg(test)]
mod mutate;
#[doc(hidden)]
pub mod planted;
#[cfg(feature = "definitions")]
pub mod registry;
mod repeats;
#[cfg(feature = "server")]
pub mod server;
pub mod slo;
#[cfg(feature = "definitions")]
pub mod source;
#[cfg(feature = "definitions")]
pub mod sql;
pub mod store;
mod sync;
#[cfg(feature = "technical")]
pub mod technical;
pub mod upkeep;
#[cfg(feature = "watch")]
pub mod watch;

#[cfg(feature = "async")]
pub use cache::AsyncFeatureStore;
pub use cache::{Answer, AnswerBlock, ComputeError, FeatureStore, FeatureStoreBuilder, Gap, GapWindow, Origin, Source};
pub use config::Settings;
pub use error::{Error, ErrorKind, Result};
pub use model::{
    EVENT_TIME, EntityKey, Feature, FeatureView, FeatureViewBuilder, KeyType, KeyValue, MissReason, Outcome, Span,
    TimeRange, Timestamp, ViewName, event_times,
};
