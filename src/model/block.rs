//! A block and everything that is known about it.

use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;

use super::id::BlockId;
use super::time::Timestamp;

/// The features of one entity in one span of time.
#[derive(Debug, Clone)]
pub struct FeatureBlock {
    /// Which block it is.
    pub id: BlockId,
    /// The event time up to which it is complete: the end of its range, or earlier for the tail.
    pub known_until: Timestamp,
    /// When it was computed; of a tail that was extended, when its oldest part was.
    pub created: Timestamp,
    /// When its newest part was computed.
    pub extended: Timestamp,
    /// When the last of the source rows became known that it was computed from, where the source says so.
    pub newest_created: Option<Timestamp>,
    /// How long computing took, extensions of the tail included.
    pub compute_time: Duration,
    /// The version of what it was computed from, where the source states one.
    pub input_version: Option<String>,
    /// The rows in order of event time: the event time first, then the features.
    pub batch: RecordBatch,
}

impl FeatureBlock {
    /// Whether its range holds nothing that is still to come.
    pub fn is_complete(&self) -> bool {
        self.known_until >= self.id.range.end()
    }

    /// Whether it says of itself that it was computed after `now`.
    ///
    /// The clock was wrong then, or is now, and what such a block takes for complete may not be. A minute is let pass:
    /// so long is what a clock may be ahead of without a block being taken for known too early, unless told otherwise.
    pub fn is_from_the_future(&self, now: Timestamp) -> bool {
        self.extended.since(now) > Duration::from_secs(60)
    }

    /// The event times of its rows, in nanoseconds.
    pub fn event_times(&self) -> &[i64] {
        event_times(&self.batch)
    }

    /// The event time of its last row.
    pub fn newest(&self) -> Option<Timestamp> {
        newest_event(&self.batch)
    }
}

/// The event time of the last row of a batch that is in order of event time.
pub(crate) fn newest_event(batch: &RecordBatch) -> Option<Timestamp> {
    event_times(batch).last().copied().map(Timestamp::from_ns)
}

/// The event times of a batch whose first column they are; empty where it is none.
pub fn event_times(batch: &RecordBatch) -> &[i64] {
    let times = batch.columns().first().and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    times.map_or(&[], |times| if times.is_empty() { &[] } else { times.values().as_ref() })
}
