//! The limits of the checks, the status page and the alerts; a test holds `alerts/` equal to them.

use std::time::Duration;

/// Below this part of the last five minutes' requests somebody is called at once.
pub const CRITICAL_RATIO: f64 = 0.80;
/// But only once it has been so for this long: a process that has just begun is no emergency.
pub const CRITICAL_FOR: Duration = Duration::from_secs(300);

/// The error budget burns too fast where two windows say so: the long one that it matters, the short one
/// that it goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BurnRule {
    /// The name of the long window.
    pub long: &'static str,
    /// The name of the short window.
    pub short: &'static str,
    /// The burn rate that neither may be above.
    pub rate: f64,
}

/// What wakes somebody up.
pub const PAGE: BurnRule = BurnRule { long: "6h", short: "30m", rate: 6.0 };
/// What somebody should look at this week.
pub const TICKET: [BurnRule; 2] =
    [BurnRule { long: "1d", short: "2h", rate: 3.0 }, BurnRule { long: "3d", short: "6h", rate: 1.0 }];
pub use crate::slo::FEWEST_REQUESTS;

/// Records that are older than this should be in the manifest.
pub const UNFOLDED_FOR: Duration = Duration::from_secs(300);
/// So many bytes of the journals may wait.
pub const UNFOLDED_BYTES: u64 = 64_000_000;

/// The disk should have so many times its reserve free: below the reserve nothing is published any more, and
/// the alert comes before that.
pub const FREE_RESERVES: f64 = 1.5;

/// So many bytes of the disk should be free.
#[expect(clippy::cast_precision_loss, reason = "a disk is measured in gigabytes")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float becomes the nearest u64")]
pub fn free_wanted(reserve: u64) -> u64 {
    (FREE_RESERVES * reserve as f64) as u64
}
