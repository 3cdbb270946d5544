//! The identity of a block.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::entity::EntityKey;
use super::fingerprint::Fingerprint;
use super::name::ViewName;
use super::time::TimeRange;

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
        // One number, because this runs on every hit. The fingerprint already covers the view's name.
        let start = self.range.start().as_ns().cast_unsigned();
        let mixed = self.entity.stable_hash() ^ self.fingerprint.low_bits().rotate_left(21);
        state.write_u64(mixed ^ start.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.view, self.entity, self.range.start())
    }
}
