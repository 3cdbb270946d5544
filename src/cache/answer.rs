//! What a request gets back.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use super::memory::CachedBlock;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Outcome, TimeRange, Timestamp};
use crate::planted::{self, Bug};

/// Where a block of an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The memory tier.
    Memory,
    /// Its file.
    Disk,
    /// Computed, wholly or from where the tail ended, for this request.
    Compute,
    /// Computed by another request, in this process or another, that this one waited for.
    Shared,
    /// An expired block or the fallback compute, because computing failed.
    Fallback,
}

impl Origin {
    /// The name in metrics and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Compute => "compute",
            Self::Shared => "shared",
            Self::Fallback => "fallback",
        }
    }
}

/// One block's share of an answer.
pub struct AnswerBlock {
    cached: Arc<CachedBlock>,
    origin: Origin,
    took: Duration,
    wanted: TimeRange,
    served_at: Timestamp,
    sliced: OnceLock<RecordBatch>,
}

impl AnswerBlock {
    pub(super) fn new(
        cached: Arc<CachedBlock>,
        origin: Origin,
        took: Duration,
        wanted: TimeRange,
        served_at: Timestamp,
    ) -> Self {
        Self { cached, origin, took, wanted, served_at, sliced: OnceLock::new() }
    }

    /// The span of time of the block, of which the request may have asked for a part.
    pub fn range(&self) -> TimeRange {
        self.cached.block.id.range
    }

    /// Where it came from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// How long ago it was computed.
    pub fn age(&self) -> Duration {
        self.served_at.since(self.cached.block.created)
    }

    /// When the last of the source rows became known that it was computed from; `None` where its source does not say so.
    pub fn newest_created(&self) -> Option<Timestamp> {
        self.cached.block.newest_created
    }

    /// How long reading or computing it took; zero from memory.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// The event time up to which it is complete.
    pub fn known_until(&self) -> Timestamp {
        self.cached.block.known_until
    }

    /// The rows that were asked for. Shared with the cache; nothing is copied.
    pub fn batch(&self) -> &RecordBatch {
        let block = &self.cached.block;
        // Most requests ask for whole blocks, and slicing 33 columns takes longer than the rest of a hit.
        if self.wanted.start() <= block.id.range.start() && block.id.range.end() <= self.wanted.end() {
            return &block.batch;
        }
        self.sliced.get_or_init(|| {
            let times = block.event_times();
            let first = times.partition_point(|time| *time < self.wanted.start().as_ns());
            let end = self.wanted.end().as_ns().saturating_add(i64::from(planted::is(Bug::EndIncluded)));
            let end = times.partition_point(|time| *time < end);
            block.batch.slice(first, end.saturating_sub(first))
        })
    }
}

/// The features of an entity in a range of time, and how they were come by.
// It holds nothing that all answers share: even the count of a shared `Arc` would make threads wait for each other.
pub struct Answer {
    range: TimeRange,
    asked: TimeRange,
    outcome: Outcome,
    blocks: Vec<AnswerBlock>,
}

impl Answer {
    pub(super) fn new(asked: TimeRange, range: TimeRange, outcome: Outcome, blocks: Vec<AnswerBlock>) -> Self {
        Self { range, asked, outcome, blocks }
    }

    /// What the request turned out to be.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The range that is answered: what was asked for, cut at the present.
    pub fn range(&self) -> TimeRange {
        self.range
    }

    /// Whether what was asked for reaches into the future and was cut at the present.
    pub fn is_cut(&self) -> bool {
        self.range != self.asked
    }

    /// The rows in order of event time, one batch per block; a block without rows gives an empty one.
    pub fn batches(&self) -> impl ExactSizeIterator<Item = &RecordBatch> {
        self.blocks.iter().map(AnswerBlock::batch)
    }

    /// How many rows there are.
    pub fn num_rows(&self) -> usize {
        self.batches().map(RecordBatch::num_rows).sum()
    }

    /// All rows in one batch, which copies them unless there is only one block.
    ///
    /// # Errors
    /// `Internal` where they do not fit into one batch.
    pub fn to_batch(&self) -> Result<RecordBatch> {
        let none = || Error::new(ErrorKind::Internal, "an answer without blocks");
        let first = self.blocks.first().ok_or_else(none)?;
        if self.blocks.len() == 1 {
            return Ok(first.batch().clone());
        }
        concat_batches(&first.cached.block.batch.schema(), self.batches())
            .map_err(|error| Error::with_source(ErrorKind::Internal, "the blocks of an answer do not join", error))
    }

    /// The blocks in order of time: from where, how old, how long each took.
    pub fn blocks(&self) -> &[AnswerBlock] {
        &self.blocks
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({}, {}, {} blocks)", self.range, self.outcome, self.blocks.len())
    }
}
