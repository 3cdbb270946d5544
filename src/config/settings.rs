//! What can be set, with its defaults and what is allowed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How a published block survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// No fsync. A crash of the process loses nothing; a crash of the machine may lose recent
    /// blocks, which are then computed again. Never a wrong answer.
    Fast,
    /// The file and its directory are fsynced before the call returns.
    Durable,
}

/// Every setting. All are optional in a file; an unknown key is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// zstd level of new blocks, 1 (fast) to 22 (small). Default 3.
    pub compression_level: i32,
    /// How much disk the blocks may take, in GB of 10⁹ bytes. Default 50.
    pub max_cache_size_gb: f64,
    /// The part of `max_cache_size_gb` at which cleaning begins to evict. Default 0.90.
    pub cleanup_threshold: f64,
    /// The part of `max_cache_size_gb` at which evicting stops; at most `cleanup_threshold`. Default 0.80.
    pub cleanup_target: f64,
    /// Days after its last use at which cleaning removes a block. Default 7.
    pub retention_days: f64,
    /// Whether a published block survives a crash of the machine. Default `fast`.
    pub durability: Durability,
    /// Threads that one request may use to read its blocks; 0 means one per core. Default 0.
    pub threads: usize,
    /// The memory tier.
    pub memory: MemorySettings,
    /// Computing on a miss.
    pub compute: ComputeSettings,
    /// Disk use.
    pub disk: DiskSettings,
    /// The journal and the manifest.
    pub manifest: ManifestSettings,
    /// The service level objective.
    pub slo: SloSettings,
    /// What is exported.
    pub metrics: MetricsSettings,
}

/// The memory tier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemorySettings {
    /// What decoded blocks may take, in MB of 10⁶ bytes; 0 keeps none. Default 256.
    pub max_mb: u64,
}

/// Computing on a miss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ComputeSettings {
    /// How long a request waits for another one's compute before it computes itself. Default 30 s.
    #[serde(with = "human")]
    pub wait_timeout: Duration,
    /// How long a failed compute is answered with its error instead of being tried again. Default 1 s.
    #[serde(with = "human")]
    pub error_backoff: Duration,
    /// The most blocks one request may touch. Default 10,000.
    pub max_blocks: u64,
    /// How long one query of SQL in definitions may run: that of a view's rows, or that of its features, for one block.
    /// Default 30 s.
    #[serde(with = "human")]
    pub query_timeout: Duration,
}

/// Disk use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiskSettings {
    /// Free disk, in GB of 10⁹ bytes, below which nothing is published and cleaning evicts. Default 1.
    pub reserve_gb: f64,
    /// Blocks published more recently than this are never removed. Default 60 s.
    #[serde(with = "human")]
    pub min_age: Duration,
    /// How long after its last service a view version that is not the newest becomes an orphan. Default 1 day.
    #[serde(with = "human")]
    pub orphan_after: Duration,
    /// Whether running services clean by themselves when a limit is passed. Default true.
    pub auto_clean: bool,
}

/// The journal and the manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ManifestSettings {
    /// How often a running service folds the journals into the manifest; 0 s means never. Default 5 s.
    #[serde(with = "human")]
    pub fold_interval: Duration,
}

/// The service level objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SloSettings {
    /// The part of the requests that must be served from cache. Default 0.95.
    pub objective: f64,
    /// The time over which the error budget is counted. Default 30 days.
    #[serde(with = "human")]
    pub window: Duration,
}

/// What is exported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSettings {
    /// The longest time between two scrapes of one scraper. The requests of a view are exported as 0 for so long
    /// when it is new, so that each scraper sees them rise. Default 15 s.
    #[serde(with = "human")]
    pub scrape_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            compression_level: 3,
            max_cache_size_gb: 50.0,
            cleanup_threshold: 0.90,
            cleanup_target: 0.80,
            retention_days: 7.0,
            durability: Durability::Fast,
            threads: 0,
            memory: MemorySettings::default(),
            compute: ComputeSettings::default(),
            disk: DiskSettings::default(),
            manifest: ManifestSettings::default(),
            slo: SloSettings::default(),
            metrics: MetricsSettings::default(),
        }
    }
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self { max_mb: 256 }
    }
}

impl Default for ComputeSettings {
    fn default() -> Self {
        Self {
            wait_timeout: Duration::from_secs(30),
            error_backoff: Duration::from_secs(1),
            max_blocks: 10_000,
            query_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for DiskSettings {
    fn default() -> Self {
        Self {
            reserve_gb: 1.0,
            min_age: Duration::from_secs(60),
            orphan_after: Duration::from_secs(86_400),
            auto_clean: true,
        }
    }
}

impl Default for ManifestSettings {
    fn default() -> Self {
        Self { fold_interval: Duration::from_secs(5) }
    }
}

impl Default for SloSettings {
    fn default() -> Self {
        Self { objective: 0.95, window: Duration::from_secs(30 * 86_400) }
    }
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { scrape_interval: Duration::from_secs(15) }
    }
}

/// What each key allows, for error messages and the documentation.
pub(super) const ALLOWED: [(&str, &str); 20] = [
    ("compression_level", "a whole number from 1 to 22"),
    ("max_cache_size_gb", "a number above 0 and at most 1000000"),
    ("cleanup_threshold", "a number above 0 and at most 1"),
    ("cleanup_target", "a number above 0 and at most 1"),
    ("retention_days", "a number above 0 and at most 36500"),
    ("durability", "\"fast\" or \"durable\""),
    ("threads", "a whole number from 0 (one per core) to 256"),
    ("memory.max_mb", "a whole number from 0 to 1000000"),
    ("compute.wait_timeout", "a duration from \"1ms\" to \"1h\", such as \"30s\""),
    ("compute.error_backoff", "a duration from \"0s\" to \"1h\", such as \"1s\""),
    ("compute.max_blocks", "a whole number from 1 to 1000000"),
    ("compute.query_timeout", "a duration from \"1ms\" to \"1h\", such as \"30s\""),
    ("disk.reserve_gb", "a number from 0 to 1000000"),
    ("disk.min_age", "a duration from \"0s\" to \"1day\", such as \"60s\""),
    ("disk.orphan_after", "a duration from \"3h\" to \"365days\", such as \"1day\""),
    ("disk.auto_clean", "true or false"),
    ("manifest.fold_interval", "a duration from \"0s\" (never) to \"1h\", such as \"5s\""),
    ("slo.objective", "a number above 0 and below 1, such as 0.95"),
    ("slo.window", "a duration from \"1h\" to \"30days\""),
    ("metrics.scrape_interval", "a duration from \"0s\" to \"1h\", such as \"15s\""),
];

impl Settings {
    /// Takes over from the settings in force what cannot change while a store is open, and returns the keys of those
    /// that would have.
    pub(crate) fn keep_fixed(&mut self, now: &Self) -> Vec<&'static str> {
        fn keep<T: Clone + PartialEq>(key: &'static str, new: &mut T, now: &T, kept: &mut Vec<&'static str>) {
            if new != now {
                *new = now.clone();
                kept.push(key);
            }
        }
        let mut kept = Vec::new();
        keep("durability", &mut self.durability, &now.durability, &mut kept);
        keep("threads", &mut self.threads, &now.threads, &mut kept);
        keep("compute.query_timeout", &mut self.compute.query_timeout, &now.compute.query_timeout, &mut kept);
        keep("metrics.scrape_interval", &mut self.metrics.scrape_interval, &now.metrics.scrape_interval, &mut kept);
        kept
    }

    /// Checks every value.
    ///
    /// # Errors
    /// `Invalid`, naming the key, the value and what is allowed.
    pub fn validate(&self) -> Result<()> {
        const HOUR: Duration = Duration::from_secs(3600);
        const DAY: Duration = Duration::from_secs(86_400);
        let within = |value: f64, low: f64, high: f64| value > low && value <= high;
        let checks: [(&str, bool, String); 18] = [
            ("compression_level", (1..=22).contains(&self.compression_level), self.compression_level.to_string()),
            ("max_cache_size_gb", within(self.max_cache_size_gb, 0.0, 1e6), self.max_cache_size_gb.to_string()),
            ("cleanup_threshold", within(self.cleanup_threshold, 0.0, 1.0), self.cleanup_threshold.to_string()),
            ("cleanup_target", within(self.cleanup_target, 0.0, 1.0), self.cleanup_target.to_string()),
            ("retention_days", within(self.retention_days, 0.0, 36_500.0), self.retention_days.to_string()),
            ("threads", self.threads <= 256, self.threads.to_string()),
            ("memory.max_mb", self.memory.max_mb <= 1_000_000, self.memory.max_mb.to_string()),
            (
                "compute.wait_timeout",
                in_range(self.compute.wait_timeout, Duration::from_millis(1), HOUR),
                text(self.compute.wait_timeout),
            ),
            ("compute.error_backoff", self.compute.error_backoff <= HOUR, text(self.compute.error_backoff)),
            (
                "compute.max_blocks",
                (1..=1_000_000).contains(&self.compute.max_blocks),
                self.compute.max_blocks.to_string(),
            ),
            (
                "compute.query_timeout",
                in_range(self.compute.query_timeout, Duration::from_millis(1), HOUR),
                text(self.compute.query_timeout),
            ),
            ("disk.reserve_gb", (0.0..=1e6).contains(&self.disk.reserve_gb), self.disk.reserve_gb.to_string()),
            ("disk.min_age", self.disk.min_age <= DAY, text(self.disk.min_age)),
            (
                "disk.orphan_after", // Services say hourly that they are there.
                in_range(self.disk.orphan_after, 3 * HOUR, 365 * DAY),
                text(self.disk.orphan_after),
            ),
            ("manifest.fold_interval", self.manifest.fold_interval <= HOUR, text(self.manifest.fold_interval)),
            ("slo.objective", self.slo.objective > 0.0 && self.slo.objective < 1.0, self.slo.objective.to_string()),
            ("slo.window", in_range(self.slo.window, HOUR, 30 * DAY), text(self.slo.window)),
            ("metrics.scrape_interval", self.metrics.scrape_interval <= HOUR, text(self.metrics.scrape_interval)),
        ];
        match checks.into_iter().find(|(_, fine, _)| !fine) {
            Some((key, _, value)) => {
                Err(Error::invalid(format!("{key} = {value} is not allowed: use {}", allowed(key))))
            }
            None => Ok(()),
        }
    }

    /// Bytes that decoded blocks may take in memory.
    pub(crate) fn memory_limit(&self) -> u64 {
        self.memory.max_mb * 1_000_000
    }

    /// Bytes that the blocks may take.
    pub(crate) fn size_limit(&self) -> u64 {
        bytes(self.max_cache_size_gb)
    }

    /// Bytes of blocks at which evicting begins.
    pub(crate) fn high_watermark(&self) -> u64 {
        bytes(self.max_cache_size_gb * self.cleanup_threshold)
    }

    /// Bytes of blocks at which evicting ends.
    pub(crate) fn low_watermark(&self) -> u64 {
        bytes(self.max_cache_size_gb * self.cleanup_target.min(self.cleanup_threshold))
    }

    /// Bytes of disk that stay free.
    pub(crate) fn reserve(&self) -> u64 {
        bytes(self.disk.reserve_gb)
    }

    /// How long a block may go unused.
    pub(crate) fn retention(&self) -> Duration {
        Duration::from_secs_f64(self.retention_days * 86_400.0)
    }

    /// Threads that one request may use.
    pub(crate) fn read_threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads => threads,
        }
    }
}

pub(super) fn allowed(key: &str) -> &'static str {
    ALLOWED.iter().find(|(name, _)| *name == key).map_or("another value", |(_, allowed)| *allowed)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "validated to lie between 0 and 10^15")]
fn bytes(gb: f64) -> u64 {
    (gb * 1e9) as u64
}

fn in_range(value: Duration, low: Duration, high: Duration) -> bool {
    (low..=high).contains(&value)
}

fn text(duration: Duration) -> String {
    format!("\"{}\"", humantime::format_duration(duration))
}

/// Durations as people write them: `30s`, `5m`, `30d`.
mod human {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map_err(|error| D::Error::custom(format!("\"{text}\" is no duration ({error})")))
    }
}
