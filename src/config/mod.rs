//! Settings: data with defaults, read from a file, the environment or the builder.

#[cfg(test)]
mod fuzz;
mod load;
mod settings;

#[cfg(feature = "definitions")]
pub(crate) use load::distance;
pub use load::{default_cache_dir, load, load_from};
pub use settings::{
    ComputeSettings, DiskSettings, Durability, ManifestSettings, MemorySettings, MetricsSettings, Settings, SloSettings,
};
