//! What a request turned out to be, and why it was not a hit.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What one request turned out to be. One call of `get_or_compute` is one outcome.
///
/// `Hit` and `Stale` are good for the service level; the others spend its error budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Served from the cache alone.
    Hit,
    /// Served from the cache while a refresh of it runs.
    Stale,
    /// Some blocks were in the cache, the rest was computed.
    Partial,
    /// Nothing was in the cache; everything was computed.
    Miss,
    /// Waited for another request that was computing the same block.
    Coalesced,
    /// Computing failed; an expired block or the fallback compute answered.
    Fallback,
    /// No answer.
    Error,
}

impl Outcome {
    /// Every outcome, in the order of their counters.
    pub const ALL: [Self; 7] =
        [Self::Hit, Self::Stale, Self::Partial, Self::Miss, Self::Coalesced, Self::Fallback, Self::Error];

    /// Whether it counts towards the objective: served from the cache.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Hit | Self::Stale)
    }

    /// The name in metrics, logs and the manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Partial => "partial",
            Self::Miss => "miss",
            Self::Coalesced => "coalesced",
            Self::Fallback => "fallback",
            Self::Error => "error",
        }
    }

    /// Its place in [`Outcome::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a block had to be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissReason {
    /// It was never computed, or was evicted or invalidated since.
    Absent,
    /// It is the tail: known only up to an earlier time than was asked for.
    Tail,
    /// It is older than the view's `max_age`.
    Expired,
    /// It was computed at a time that is in the future: some machine's or process's clock is or was wrong.
    Clock,
    /// Its file was damaged and has been quarantined.
    Corrupt,
    /// Its file could not be read.
    Unreadable,
}

impl MissReason {
    /// The name in metrics, logs and the manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Tail => "tail",
            Self::Expired => "expired",
            Self::Clock => "clock",
            Self::Corrupt => "corrupt",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
