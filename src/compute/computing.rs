//! A bound view as what the store computes from.

use std::sync::{Mutex, PoisonError};

use arrow::array::RecordBatch;

use super::bound::Bound;
use super::rows::Frame;
use crate::cache::{Answer, ComputeError, FeatureStore, Gap, Source};
use crate::error::Result;
use crate::model::{EntityKey, FeatureView, TimeRange, Timestamp};

/// A bound view as what the store computes from.
pub(super) struct Computing<'a> {
    store: &'a FeatureStore,
    pub(super) bound: &'a Bound,
    /// The rows of one entity that were read last, and of which range they are all.
    read: Mutex<Option<(EntityKey, TimeRange, Frame)>>,
}

impl<'a> Computing<'a> {
    pub(super) fn new(store: &'a FeatureStore, bound: &'a Bound) -> Self {
        Self { store, bound, read: Mutex::default() }
    }

    /// The rows of a range, where they or more were read before.
    fn known(&self, entity: &EntityKey, range: TimeRange) -> Option<Frame> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, known, rows) = read.as_ref()?;
        let is_all = of == entity && known.start() <= range.start() && range.end() <= known.end();
        is_all.then(|| rows.within(range))
    }

    /// The rows of a range.
    pub(super) fn rows(&self, entity: &EntityKey, range: TimeRange) -> Result<Frame> {
        if let Some(known) = self.known(entity, range) {
            return Ok(known);
        }
        let rows = self.bound.rows(self.store, entity, range)?;
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some((entity.clone(), range, rows.clone()));
        Ok(rows)
    }

    pub(super) fn warm(&self, entity: &EntityKey, range: TimeRange) -> Result<Answer> {
        // Rows that were pushed are there, even those that a clock which is ahead of this one calls present.
        let until = if self.bound.is_pushed() { range.end() } else { self.store.now() };
        self.store.warm_until(self.bound.recipe.view(), entity, range, self, until)
    }

    pub(super) fn features(&self, gap: &Gap) -> Result<RecordBatch> {
        let range = TimeRange::new(gap.source_start(), gap.range().end())?;
        self.bound.recipe.compute(gap, &self.rows(gap.entity(), range)?)
    }

    /// A digest of the rows that a block's features are computed from.
    pub(super) fn digest(&self, gap: &Gap) -> Result<String> {
        let range = TimeRange::new(gap.source_start(), gap.range().end())?;
        let rows = match self.known(gap.entity(), range) {
            Some(rows) => rows,
            None => {
                // To the block's end, so that what is computed next need not read again.
                let end = gap.view().span().block_of(gap.range().start()).end().max(range.end());
                self.rows(gap.entity(), TimeRange::new(range.start(), end)?)?.within(range)
            }
        };
        rows.digest()
    }
}

impl Source for Computing<'_> {
    fn compute(&self, gap: &Gap) -> Result<RecordBatch, ComputeError> {
        Ok(self.features(gap)?)
    }

    fn watermark(&self, view: &FeatureView, _: &EntityKey, now: Timestamp) -> Result<Timestamp, ComputeError> {
        self.bound.note_reading(self.store)?;
        Ok(self.bound.known_until(self.store, now.saturating_sub(view.lateness()))?)
    }

    fn version(&self, gap: &Gap) -> Option<String> {
        self.digest(gap).ok()
    }

    fn newest_created(&self, gap: &Gap) -> Option<Timestamp> {
        // Of what was read for the compute: to read it again would tell of other rows.
        let range = TimeRange::new(gap.source_start(), gap.range().end()).ok()?;
        let rows = self.known(gap.entity(), range)?;
        // What fills the first nulls lies before them.
        let from = self.bound.filled_from(range.start());
        rows.newest_created(TimeRange::new(from, range.end()).ok()?)
    }
}
