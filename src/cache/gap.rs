//! What a compute is asked for.

use arrow::array::{ArrayRef, RecordBatch, TimestampNanosecondArray};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::model::{EntityKey, FeatureView, TimeRange, Timestamp};
use crate::planted::{self, Bug};

/// Any error that a compute may return.
pub type ComputeError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// The part of a requested range that has to be computed: one or several adjacent blocks, or the
/// rest of one.
#[derive(Debug, Clone)]
pub struct Gap {
    view: FeatureView,
    entity: EntityKey,
    range: TimeRange,
}

/// One block's share of a gap, and the source rows that its features may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapWindow {
    /// The event times to compute.
    pub range: TimeRange,
    /// The source rows to compute them from: they begin `lookback` before the block does.
    pub source: TimeRange,
}

impl Gap {
    pub(crate) fn new(view: FeatureView, entity: EntityKey, range: TimeRange) -> Self {
        Self { view, entity, range }
    }

    /// The view whose features are asked for.
    pub fn view(&self) -> &FeatureView {
        &self.view
    }

    /// What they describe.
    pub fn entity(&self) -> &EntityKey {
        &self.entity
    }

    /// The event times to compute, half-open.
    pub fn range(&self) -> TimeRange {
        self.range
    }

    /// The earliest source row that may be needed: `lookback` before the start of the first block.
    pub fn source_start(&self) -> Timestamp {
        self.source_start_of(self.range.start())
    }

    /// The gap block by block, each with its own source rows.
    ///
    /// Features that never quite forget, such as Wilder's averages, depend on where their history
    /// begins. Computed window by window they are a function of the block alone, so a value is the
    /// same to the last bit whichever request caused it.
    pub fn windows(&self) -> impl Iterator<Item = GapWindow> + '_ {
        self.view.span().blocks(self.range).filter_map(|block| {
            let range = block.intersect(&self.range)?;
            let source = TimeRange::new(self.source_start_of(block.start()), range.end()).ok()?;
            Some(GapWindow { range, source })
        })
    }

    /// Makes the batch that answers this gap: event times in nanoseconds since the epoch, ascending,
    /// and one column per feature in their declared order, all of the same length.
    ///
    /// # Errors
    /// `Invalid` where the columns do not have the declared number, types or one length.
    pub fn batch(&self, event_times: Vec<i64>, features: Vec<ArrayRef>) -> Result<RecordBatch> {
        let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(event_times).with_timezone("UTC"));
        let columns = std::iter::once(times).chain(features).collect();
        RecordBatch::try_new(Arc::clone(self.view.schema()), columns).map_err(|error| {
            Error::with_source(
                crate::error::ErrorKind::Invalid,
                format!("the columns do not make a batch of view {}", self.view.name()),
                error,
            )
        })
    }

    fn source_start_of(&self, at: Timestamp) -> Timestamp {
        let start = self.view.span().block_of(at).start().saturating_sub(self.view.lookback());
        start.saturating_add(Duration::from_nanos(u64::from(planted::is(Bug::HistoryBeginsLate))))
    }
}

/// Where a view's features come from, for those who know more than a closure does.
///
/// `compute` must return the features of every event time in the gap that has a row, and nothing
/// else; it may be called from several threads at once, for different gaps.
pub trait Source: Send + Sync {
    /// Computes a gap.
    ///
    /// # Errors
    /// Whatever went wrong; the caller of the store receives it as the source of its error.
    fn compute(&self, gap: &Gap) -> Result<RecordBatch, ComputeError>;

    /// The event time up to which the entity's rows are complete at `now`; what is later is answered and not kept.
    ///
    /// It is not after `now`, or it is [`Timestamp::MAX`]: whoever changes rows invalidates what depends on them, so
    /// that blocks are complete until then.
    ///
    /// # Errors
    /// Whatever went wrong: then the features are computed and answered, and nothing of them is kept.
    fn watermark(&self, view: &FeatureView, entity: &EntityKey, now: Timestamp) -> Result<Timestamp, ComputeError> {
        let _ = entity;
        Ok(now.saturating_sub(view.lateness()))
    }

    /// The version of what a block's features are computed from, kept in its metadata. The gap is the block, up to where
    /// it is known. A tail whose version is another one now is computed from its start instead of being extended.
    fn version(&self, gap: &Gap) -> Option<String> {
        let _ = gap;
        None
    }

    /// When the last of the rows became known that a block's features were just computed from, kept in its metadata. The
    /// gap is the block, up to where it is known. `None` where that is not known.
    fn newest_created(&self, gap: &Gap) -> Option<Timestamp> {
        let _ = gap;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::DataType;
    use std::time::Duration;

    #[test]
    fn every_window_has_the_history_of_its_block() {
        let view = FeatureView::builder("v")
            .entity("symbol")
            .feature("a", DataType::Float64)
            .lookback(Duration::from_secs(3600))
            .build()
            .unwrap();
        let entity = EntityKey::new([("symbol", "A")]).unwrap();
        let range = TimeRange::parse("2024-03-01T12:00:00Z", "2024-03-03T06:00:00Z").unwrap();
        let windows: Vec<String> = Gap::new(view, entity, range)
            .windows()
            .map(|window| format!("{} from {}", window.range, window.source.start()))
            .collect();
        assert_eq!(
            windows,
            [
                "2024-03-01T12:00:00Z to 2024-03-02T00:00:00Z from 2024-02-29T23:00:00Z",
                "2024-03-02T00:00:00Z to 2024-03-03T00:00:00Z from 2024-03-01T23:00:00Z",
                "2024-03-03T00:00:00Z to 2024-03-03T06:00:00Z from 2024-03-02T23:00:00Z",
            ]
        );
    }
}
