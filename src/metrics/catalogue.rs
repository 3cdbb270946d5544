//! Every metric: name, kind, unit, help, labels. Runbooks, dashboards and alerts use these names.

use crate::model::Outcome;

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in the buckets of [`DURATION_BOUNDS_NS`](super::DURATION_BOUNDS_NS), in seconds.
    Histogram,
}

/// How the answers of several stores of one process become one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// They add up.
    Sum,
    /// The least: of what is better the more there is.
    Least,
    /// The most.
    Most,
}

/// Whose work a process exports that observes others, such as `larder serve`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// That of all processes of the cache directory.
    All,
    /// Only its own.
    Own,
}

/// One label of a metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// The values whose series exist at 0 from the beginning; empty where there is no telling them in
    /// advance.
    pub values: &'static [&'static str],
}

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, unit included.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What one of it is.
    pub unit: &'static str,
    /// What it says, in one line.
    pub help: &'static str,
    /// Its labels. Never a symbol: the number of series must stay bounded.
    pub labels: &'static [Label],
    /// Where stores are asked for it at every export: what becomes of their answers. `None` where they tell it.
    pub asked: Option<Merge>,
    /// Whose work a process exports that observes others.
    pub whose: Whose,
}

#[expect(clippy::indexing_slicing, reason = "in a constant, a place beyond the end does not compile")]
const OUTCOMES: &[&str] = &{
    let mut names = [""; Outcome::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = Outcome::ALL[at].as_str();
        at += 1;
    }
    names
};
const TIERS: &[&str] = &["memory", "disk", "compute", "shared", "fallback"];
const COMPUTE_FAILURE_REASONS: &[&str] = &["error", "panic", "rejected", "backoff"];
const WAIT_RESULTS: &[&str] = &["shared", "failed", "abandoned", "timeout"];
const DROP_REASONS: &[&str] = &["invalidated", "disk", "io", "watermark"];
const OPERATIONS: &[&str] = &["read", "publish", "quarantine", "lock", "journal", "fold", "clean", "tidy"];
const EVICTION_REASONS: &[&str] = &["orphan", "expired", "size", "disk"];
const CAUSES: &[&str] = &["request", "push", "source", "command"];
const REFRESH_RESULTS: &[&str] = &["ok", "failed", "dropped"];
/// The endpoints, and [`OTHER_PATH`].
pub const PATHS: &[&str] = &["/", "/metrics", "/health", "/ready", "/slo", "/blocks", OTHER_PATH];
/// Whatever else was asked for.
pub const OTHER_PATH: &str = "other";
const STATUS_CLASSES: &[&str] = &["2xx", "4xx", "5xx"];
const REJECTION_REASONS: &[&str] =
    &["connections", "accept", "slow_header", "slow_request", "overload", "body", "token"];

macro_rules! catalogue {
    ($($id:ident: $whose:ident $kind:ident $($merge:ident)? $name:literal $unit:literal [$($label:literal $(in $values:expr)?),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $id: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                unit: $unit,
                help: $help,
                labels: &[$(Label { name: $label, values: catalogue!(@values $($values)?) }),*],
                asked: catalogue!(@asked $($merge)?),
                whose: Whose::$whose,
            };
        )*

        /// All of them.
        pub static ALL: &[&Metric] = &[$(&$id),*];
    };
    (@values) => { &[] };
    (@values $values:expr) => { $values };
    (@asked) => { None };
    (@asked $merge:ident) => { Some(Merge::$merge) };
}

catalogue! {
    REQUESTS: All Counter Sum "featurestore_requests_total" "requests" ["view", "outcome" in OUTCOMES]
        "Feature requests by outcome: hit and stale are good, the others spend the error budget. 0 for metrics.scrape_interval after a view is first exported.";
    REQUEST_DURATION: Own Histogram Sum "featurestore_request_duration_seconds" "seconds" ["outcome" in OUTCOMES]
        "Time from call to answer.";
    HIT_RATIO: All Gauge Least "featurestore_hit_ratio" "ratio" []
        "Part of the requests of the last five minutes that were served from cache; absent without requests.";
    SLO_OBJECTIVE: Own Gauge Most "featurestore_slo_objective_ratio" "ratio" []
        "Part of the requests that must be served from cache.";
    BUDGET_REMAINING: All Gauge Least "featurestore_error_budget_remaining_ratio" "ratio" []
        "Part of the error budget of the objective's window that is left; below 0 when overspent.";
    BURN_RATE: All Gauge Most "featurestore_error_budget_burn_rate" "ratio" ["window"]
        "How many times faster than sustainable the error budget is spent; absent without requests.";
    INVALID_REQUESTS: All Counter "featurestore_invalid_requests_total" "requests" ["view"]
        "Malformed requests, which are no events of the objective.";
    WARMED: All Counter "featurestore_warmed_total" "requests" ["view", "outcome" in OUTCOMES]
        "Ranges asked for by warming and by views that read this one, which are no events of the objective.";
    READS: All Counter "featurestore_block_reads_total" "blocks" ["view", "tier" in TIERS]
        "Blocks used by requests that were not answered from memory alone, by where they came from.";
    READ_BYTES: All Counter "featurestore_read_bytes_total" "bytes" []
        "Bytes of block files read.";
    WRITTEN_BYTES: All Counter "featurestore_written_bytes_total" "bytes" []
        "Bytes of block files published.";
    COMPUTE_DURATION: Own Histogram "featurestore_compute_duration_seconds" "seconds" ["view"]
        "Time that computing a gap took.";
    COMPUTE_FAILURES: All Counter "featurestore_compute_failures_total" "computes" ["view", "reason" in COMPUTE_FAILURE_REASONS]
        "Failed computes; rejected means that the output is not what the view declares, backoff that a failure was answered again.";
    COMPUTES_IN_FLIGHT: Own Gauge "featurestore_computes_in_flight" "computes" []
        "Computes running now.";
    FLIGHT_WAITS: All Counter "featurestore_flight_waits_total" "waits" ["result" in WAIT_RESULTS]
        "Waits for another request's compute.";
    PUBLISHED_BLOCKS: All Counter "featurestore_published_blocks_total" "blocks" ["view"]
        "Blocks published, extended tails included.";
    DROPPED_PUBLISHES: All Counter "featurestore_dropped_publishes_total" "blocks" ["reason" in DROP_REASONS]
        "Blocks that were answered but not kept: invalidated meanwhile, disk (free space is below the reserve), io, watermark (the source failed to say up to when it is complete).";
    CORRUPT_BLOCKS: All Counter "featurestore_corrupt_blocks_total" "blocks" ["view"]
        "Damaged block files that requests met, quarantined and computed again.";
    QUARANTINED_BLOCKS: All Gauge Sum "featurestore_quarantined_blocks" "blocks" []
        "Files in quarantine.";
    IO_ERRORS: All Counter "featurestore_io_errors_total" "operations" ["operation" in OPERATIONS]
        "Failed operations on the cache directory.";
    EVICTED_BLOCKS: All Counter "featurestore_evicted_blocks_total" "blocks" ["reason" in EVICTION_REASONS]
        "Blocks removed by cleaning.";
    EVICTED_BYTES: All Counter "featurestore_evicted_bytes_total" "bytes" ["reason" in EVICTION_REASONS]
        "Bytes removed by cleaning.";
    MEMORY_EVICTIONS: Own Counter Sum "featurestore_memory_evictions_total" "blocks" []
        "Blocks that left memory to make room for others.";
    INVALIDATIONS: All Counter "featurestore_invalidations_total" "invalidations" ["view", "cause" in CAUSES]
        "Invalidations of whole views, entities or ranges: request by a service, command by larder invalidate.";
    REFRESHES: All Counter "featurestore_refreshes_total" "blocks" ["view", "result" in REFRESH_RESULTS]
        "Background refreshes of stale blocks.";
    MEMORY_BYTES: Own Gauge Sum "featurestore_memory_bytes" "bytes" []
        "Bytes of decoded blocks in memory.";
    MEMORY_LIMIT: Own Gauge Sum "featurestore_memory_limit_bytes" "bytes" []
        "Bytes that decoded blocks may take in memory.";
    DISK_LIMIT: Own Gauge Sum "featurestore_disk_limit_bytes" "bytes" []
        "Bytes that the blocks may take on disk.";
    DISK_RESERVE: Own Gauge Most "featurestore_disk_reserve_bytes" "bytes" []
        "Free bytes of the disk below which nothing is published and cleaning evicts.";
    DISK_FREE: All Gauge Least "featurestore_disk_free_bytes" "bytes" []
        "Free bytes of the disk that holds the cache.";
    DISK_BYTES: All Gauge Sum "featurestore_disk_bytes" "bytes" ["view"]
        "Bytes of blocks on disk, as the manifest had them at the last look, once a minute.";
    DISK_BLOCKS: All Gauge Sum "featurestore_disk_blocks" "blocks" ["view"]
        "Blocks on disk, as of the same look.";
    NEWEST_EVENT: All Gauge Least "featurestore_newest_event_timestamp_seconds" "seconds" ["view"]
        "Event time of the newest row of a view in the version that was served last, as of the same look; absent without rows.";
    VIEW_TTL: All Gauge Most "featurestore_view_ttl_seconds" "seconds" ["view"]
        "How long a value of the view is valid; absent where the view does not say.";
    JOURNAL_UNFOLDED: All Gauge Most "featurestore_journal_unfolded_bytes" "bytes" []
        "Bytes of all journals that are not in the manifest yet, as far as this process knows; absent where it never folds.";
    LAST_FOLD: Own Gauge Least "featurestore_last_fold_timestamp_seconds" "seconds" []
        "When this process last folded the journals into the manifest, or found nothing to fold; until then, when it started; absent where it never folds.";
    FOLD_DURATION: Own Gauge Most "featurestore_last_fold_duration_seconds" "seconds" []
        "How long that took.";
    CONFIG_RELOAD: Own Gauge "featurestore_config_last_reload_timestamp_seconds" "seconds" []
        "When the settings in force were read.";
    CONFIG_RELOAD_OK: Own Gauge "featurestore_config_last_reload_successful" "boolean" []
        "Whether the last attempt to read settings succeeded: 1 or 0.";
    BUILD_INFO: Own Gauge "featurestore_build_info" "boolean" ["version"]
        "Always 1; the version of Larder is in the label.";
    HTTP_REQUESTS: Own Counter "featurestore_http_requests_total" "requests" ["path" in PATHS, "status" in STATUS_CLASSES]
        "Requests to the monitoring endpoints.";
    HTTP_REJECTED: Own Counter "featurestore_http_rejected_total" "requests" ["reason" in REJECTION_REASONS]
        "Connections and requests refused or cut off to keep the service answering; accept means that a connection could not be taken, mostly for want of file descriptors, and is tried again.";
}

/// What the operating system says of the process, by the names and meanings of Prometheus' own
/// client libraries; Linux only.
pub const PROCESS: [&str; 7] = [
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
    "process_virtual_memory_bytes",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        for metric in ALL {
            assert!(metric.name.starts_with("featurestore_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            assert!(!metric.labels.iter().any(|label| ["symbol", "entity"].contains(&label.name)), "{}", metric.name);
            if ["seconds", "bytes", "ratio"].contains(&metric.unit) && metric.name != "featurestore_hit_ratio" {
                let stem = metric.name.trim_end_matches("_total");
                assert!(stem.ends_with(metric.unit) || stem.ends_with("_rate"), "{}", metric.name);
            }
        }
        let ratio_names = ALL.iter().filter(|metric| metric.name.starts_with("featurestore_hit_ratio")).count();
        assert_eq!(ratio_names, 1, "dashboards match this name by its prefix");
    }
}
