//! Every metric: name, kind, help, labels. Runbooks, dashboards and alerts use these names.

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

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, unit included.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What it says, in one line.
    pub help: &'static str,
    /// The names of its labels. Never a symbol: the number of series must stay bounded.
    pub labels: &'static [&'static str],
}

macro_rules! catalogue {
    ($($(#[$doc:meta])* $id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $id: Metric =
                Metric { name: $name, kind: Kind::$kind, help: $help, labels: &[$($label),*] };
        )*

        /// All of them.
        pub static ALL: &[&Metric] = &[$(&$id),*];
    };
}

catalogue! {
    REQUESTS: Counter "featurestore_requests_total" ["view", "outcome"]
        "Feature requests by outcome: hit and stale are good, the others spend the error budget.";
    REQUEST_DURATION: Histogram "featurestore_request_duration_seconds" ["view", "outcome"]
        "Time from call to answer.";
    HIT_RATIO: Gauge "featurestore_hit_ratio" []
        "Part of the requests of the last five minutes that were served from cache; absent without requests.";
    SLO_OBJECTIVE: Gauge "featurestore_slo_objective_ratio" []
        "Part of the requests that must be served from cache.";
    BUDGET_REMAINING: Gauge "featurestore_error_budget_remaining_ratio" []
        "Part of the error budget of the objective's window that is left; below 0 when overspent.";
    BURN_RATE: Gauge "featurestore_error_budget_burn_rate" ["window"]
        "How many times faster than sustainable the error budget is spent; absent without requests.";
    INVALID_REQUESTS: Counter "featurestore_invalid_requests_total" ["view"]
        "Malformed requests, which are no events of the objective.";
    READS: Counter "featurestore_block_reads_total" ["view", "tier"]
        "Blocks used by requests that were not answered from memory alone, by where they came from: memory, disk, compute, shared, fallback.";
    READ_BYTES: Counter "featurestore_read_bytes_total" []
        "Bytes of block files read.";
    WRITTEN_BYTES: Counter "featurestore_written_bytes_total" []
        "Bytes of block files published.";
    COMPUTE_DURATION: Histogram "featurestore_compute_duration_seconds" ["view"]
        "Time that computing a gap took.";
    COMPUTE_FAILURES: Counter "featurestore_compute_failures_total" ["view", "reason"]
        "Failed computes by reason: error, panic, rejected (its output is not what the view declares), backoff.";
    COMPUTES_IN_FLIGHT: Gauge "featurestore_computes_in_flight" []
        "Computes running now.";
    FLIGHT_WAITS: Counter "featurestore_flight_waits_total" ["result"]
        "Waits for another request's compute by result: shared, failed, abandoned, timeout.";
    PUBLISHED_BLOCKS: Counter "featurestore_published_blocks_total" ["view"]
        "Blocks published, extended tails included.";
    DROPPED_PUBLISHES: Counter "featurestore_dropped_publishes_total" ["reason"]
        "Blocks that were answered but not kept: invalidated meanwhile, disk (below the reserve), io.";
    CORRUPT_BLOCKS: Counter "featurestore_corrupt_blocks_total" ["view"]
        "Damaged block files found, quarantined and recomputed.";
    IO_ERRORS: Counter "featurestore_io_errors_total" ["operation"]
        "Failed operations on the cache directory: read, publish, quarantine, lock, journal, fold, clean, tidy.";
    EVICTED_BLOCKS: Counter "featurestore_evicted_blocks_total" ["reason"]
        "Blocks removed by cleaning: orphan, expired, size, disk.";
    EVICTED_BYTES: Counter "featurestore_evicted_bytes_total" ["reason"]
        "Bytes removed by cleaning.";
    INVALIDATIONS: Counter "featurestore_invalidations_total" ["view", "cause"]
        "Invalidations by cause.";
    REFRESHES: Counter "featurestore_refreshes_total" ["view", "result"]
        "Background refreshes of stale blocks by result: ok, failed, dropped.";
    MEMORY_BYTES: Gauge "featurestore_memory_bytes" []
        "Bytes of decoded blocks in memory.";
    DISK_LIMIT: Gauge "featurestore_disk_limit_bytes" []
        "Bytes that the blocks may take.";
    DISK_FREE: Gauge "featurestore_disk_free_bytes" []
        "Free bytes of the disk that holds the cache.";
    DISK_BYTES: Gauge "featurestore_disk_bytes" []
        "Bytes of blocks, as of the last look of a service that cleans by itself, once a minute.";
    DISK_BLOCKS: Gauge "featurestore_disk_blocks" []
        "Blocks, as of the same look.";
    LAST_FOLD: Gauge "featurestore_last_fold_timestamp_seconds" []
        "When the journals were last folded into the manifest by this process.";
    FOLD_DURATION: Gauge "featurestore_last_fold_duration_seconds" []
        "How long that took.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        for metric in ALL {
            assert!(metric.name.starts_with("featurestore_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            assert!(!metric.labels.contains(&"symbol") && !metric.labels.contains(&"entity"), "{}", metric.name);
        }
        let ratio_names = ALL.iter().filter(|metric| metric.name.starts_with("featurestore_hit_ratio")).count();
        assert_eq!(ratio_names, 1, "dashboards match this name by its prefix");
    }
}
