//! The identity of a block.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::entity::EntityKey;
use super::fingerprint::Fingerprint;
use super::name::ViewName;
use super::time::{TimeRange, Timestamp};

/// Which block it is: one view in one version, one entity, one span of time.
///
/// Everything else about a block can change, this cannot; its path on disk is a pure function of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockId {
    /// The feature view.
    pub view: ViewName,
    /// The version of everything that decides its values.
    pub fingerprint: Fingerprint,
    /// What the features describe.
    pub entity: EntityKey,
    /// The span of time, aligned to the view's span.
    pub range: TimeRange,
}

impl Hash for BlockId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(block_hash(self.fingerprint, &self.entity, self.range.start()));
    }
}

/// The hash of a block from what tells it from all others: the fingerprint covers the view and its span.
///
/// One number, because it is made on every hit.
pub(crate) fn block_hash(fingerprint: Fingerprint, entity: &EntityKey, start: Timestamp) -> u64 {
    let start = start.as_ns().cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    entity.stable_hash() ^ fingerprint.low_bits().rotate_left(21) ^ start
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.view, self.entity, self.range.start())
    }
}
