//! The alerts that `alerts/alerts.yml` defines, in the order in which somebody on call should look.

use std::time::Duration;

use serde::Serialize;

/// How urgent an alert is; the label `severity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody has to act at once.
    Critical,
    /// The error budget goes so fast that somebody is woken.
    Page,
    /// Somebody should look today.
    Warning,
    /// Somebody should look this week.
    Ticket,
    /// Nothing is wrong: the alert proves that alerts arrive.
    None,
}

impl Severity {
    /// The value of the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Page => "page",
            Self::Warning => "warning",
            Self::Ticket => "ticket",
            Self::None => "none",
        }
    }
}

/// What an alert is about, and with that how it is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Requests that were not served from cache.
    Requests,
    /// The cache directory, as the checks see it.
    Cache,
    /// Processes and their monitoring, of which the cache directory knows nothing; what to look at instead.
    Monitoring(&'static str),
}

/// One alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert {
    /// Its name.
    pub name: &'static str,
    /// How urgent it is.
    pub severity: Severity,
    /// What it says, in one line.
    pub summary: &'static str,
    /// How far back its cause is to be looked for.
    pub window: Duration,
    /// What it is about.
    pub subject: Subject,
}

impl Alert {
    /// The address of its section in the runbook.
    pub fn runbook(&self) -> String {
        format!("{RUNBOOK}#{}", self.name.to_lowercase())
    }

    /// Its name without what all of them begin with.
    pub fn short_name(&self) -> &'static str {
        self.name.strip_prefix("FeatureStore").unwrap_or(self.name)
    }

    /// The alert of this name, in upper or lower case, with or without `FeatureStore` before it; or the only one that
    /// ends with these words of its name.
    pub fn find(name: &str) -> Option<&'static Self> {
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        let ends = |alert: &Self| {
            let words = alert.name.match_indices(char::is_uppercase);
            words.filter_map(|(at, _)| alert.name.get(at..)).any(is)
        };
        let mut ending = ALERTS.iter().filter(|alert| ends(alert));
        let exact = ALERTS.iter().find(|alert| is(alert.name) || is(alert.short_name()));
        exact.or_else(|| ending.next().filter(|_| ending.next().is_none()))
    }
}

/// The address of the runbook.
pub const RUNBOOK: &str = "https://github.com/larder-rs/larder/blob/main/docs/runbook.md";

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

const fn alert(name: &'static str, severity: Severity, window: u64, subject: Subject, summary: &'static str) -> Alert {
    Alert { name, severity, summary, window: Duration::from_secs(window), subject }
}

use Severity::{Critical, Page, Ticket, Warning};
use Subject::{Cache, Monitoring, Requests};

/// All of them.
pub const ALERTS: [Alert; 14] = [
    alert(
        "FeatureStoreHitRatioCritical",
        Critical,
        HOUR,
        Requests,
        "fewer than 80 % of the requests are served from cache",
    ),
    alert(
        "FeatureStoreDown",
        Critical,
        HOUR,
        Monitoring(
            "On its host: systemctl status feature-cache, journalctl -u feature-cache, and whether its port answers curl /health.",
        ),
        "a process that was monitored does not answer any more",
    ),
    alert(
        "FeatureStoreBudgetBurnPage",
        Page,
        6 * HOUR,
        Requests,
        "the error budget of 30 days would be spent within 5 days",
    ),
    alert("FeatureStoreHitRatioLow", Warning, HOUR, Requests, "fewer than 95 % of the requests are served from cache"),
    alert("FeatureStorePublishesFailing", Warning, HOUR, Cache, "computed blocks cannot be kept on disk"),
    alert("FeatureStoreDiskNearlyFull", Warning, DAY, Cache, "the disk is nearly full, or cleaning does not catch up"),
    alert("FeatureStoreCorruptBlocks", Warning, DAY, Cache, "damaged block files were found and quarantined"),
    alert("FeatureStoreFoldLagging", Warning, HOUR, Cache, "journals are not folded into the manifest"),
    alert(
        "FeatureStoreMetricsAbsent",
        Warning,
        HOUR,
        Monitoring(
            "Whether Prometheus has a target for the services or for larder serve, and whether it is up: its page /targets says so.",
        ),
        "no process exports metrics",
    ),
    alert(
        "FeatureStoreRatioDisagrees",
        Warning,
        HOUR,
        Monitoring(
            "Whether that process is scraped twice, or scraped beside larder serve, which counts the same requests; then compare with larder slo, which reads neither.",
        ),
        "a process and Prometheus count different hit ratios",
    ),
    alert("FeatureStoreBudgetBurnTicket", Ticket, 3 * DAY, Requests, "the error budget would not last its 30 days"),
    alert("FeatureStoreBudgetExhausted", Ticket, 30 * DAY, Requests, "the error budget of 30 days is overspent"),
    alert("FeatureStoreViewStale", Ticket, DAY, Cache, "the newest value of a view in use is older than its ttl"),
    alert(
        "FeatureStoreWatchdog",
        Severity::None,
        HOUR,
        Monitoring(
            "Nothing: it always fires. Where it stays away, look at Prometheus, Alertmanager and the way from there to people.",
        ),
        "always fires, so that its absence is noticed",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_found_however_it_is_typed() {
        for typed in ["FeatureStoreHitRatioLow", "featurestorehitratiolow", "HitRatioLow"] {
            assert_eq!(Alert::find(typed).map(|alert| alert.name), Some("FeatureStoreHitRatioLow"), "{typed}");
        }
        for (typed, name) in [("Critical", "HitRatioCritical"), ("low", "HitRatioLow"), ("burnpage", "BudgetBurnPage")]
        {
            assert_eq!(Alert::find(typed).map(Alert::short_name), Some(name), "{typed}");
        }
        for alert in ALERTS {
            for typed in [alert.name.to_uppercase(), alert.short_name().to_lowercase()] {
                assert_eq!(Alert::find(&typed).map(|found| found.name), Some(alert.name), "{typed}");
            }
        }
        assert_eq!(["HitRatio", "ow", "", "FeatureStore"].map(Alert::find), [None; 4]);
    }

    #[test]
    fn the_runbook_has_a_section_of_its_name() {
        let alert = Alert::find("FoldLagging").unwrap();
        assert!(alert.runbook().ends_with("/docs/runbook.md#featurestorefoldlagging"), "{}", alert.runbook());
    }
}
