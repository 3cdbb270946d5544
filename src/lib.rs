//! Larder
pub mod clock;
pub mod config;
pub mod error;
pub mod metrics;
pub mod model;
pub mod slo;
pub mod store;
