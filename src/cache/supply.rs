//! A compute with what is known of its source, whatever it is.

use arrow::array::RecordBatch;

use super::gap::{ComputeError, Gap, Source};
use crate::model::{EntityKey, FeatureView, Timestamp};

/// Where the features of one request come from. Asked only where something has to be computed.
pub trait Supply {
    /// Computes a gap.
    fn compute(&mut self, gap: &Gap) -> Result<RecordBatch, ComputeError>;

    /// The event time up to which the source is complete; what is later is answered and not kept.
    fn watermark(&self, view: &FeatureView, entity: &EntityKey, now: Timestamp) -> Result<Timestamp, ComputeError>;

    /// The version of what a block is computed from.
    fn version(&self, gap: &Gap) -> Option<String>;

    /// When the last of what a block was just computed from became known.
    fn newest_created(&self, gap: &Gap) -> Option<Timestamp>;
}

/// A closure, trusted up to `now - lateness`.
pub struct Closure<F>(pub F);

impl<F: FnMut(&Gap) -> Result<RecordBatch, ComputeError>> Supply for Closure<F> {
    fn compute(&mut self, gap: &Gap) -> Result<RecordBatch, ComputeError> {
        (self.0)(gap)
    }

    fn watermark(&self, view: &FeatureView, _: &EntityKey, now: Timestamp) -> Result<Timestamp, ComputeError> {
        Ok(now.saturating_sub(view.lateness()))
    }

    fn version(&self, _: &Gap) -> Option<String> {
        None
    }

    fn newest_created(&self, _: &Gap) -> Option<Timestamp> {
        None
    }
}

/// A source that knows its watermark and version.
pub struct FromSource<'a, S>(pub &'a S);

impl<S: Source> Supply for FromSource<'_, S> {
    fn compute(&mut self, gap: &Gap) -> Result<RecordBatch, ComputeError> {
        self.0.compute(gap)
    }

    fn watermark(&self, view: &FeatureView, entity: &EntityKey, now: Timestamp) -> Result<Timestamp, ComputeError> {
        self.0.watermark(view, entity, now)
    }

    fn version(&self, gap: &Gap) -> Option<String> {
        self.0.version(gap)
    }

    fn newest_created(&self, gap: &Gap) -> Option<Timestamp> {
        self.0.newest_created(gap)
    }
}
