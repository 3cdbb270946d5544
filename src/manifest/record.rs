//! What a process writes into its journal.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::block::{BlockMeta, ColumnStats};
use crate::model::{EntityKey, Fingerprint, MissReason, Outcome, ViewName};
use crate::model::{TimeRange, Timestamp};

/// One thing that happened, as a process tells it to whoever folds the manifest.
///
/// Kinds and fields may be added later: a reader ignores fields it does not know, and skips and
/// counts kinds it does not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A block file was published, or a tail was extended: it replaces what was known of that block.
    Published {
        /// The block as it now is.
        block: BlockRow,
        /// Statistics of its columns; they replace those of the earlier file.
        #[serde(default)]
        stats: Vec<ColumnStats>,
    },
    /// A block is gone.
    Removed {
        /// Which block.
        #[serde(flatten)]
        block: BlockRef,
        /// When it was removed; a block published later than this stays.
        at: Timestamp,
        /// Why.
        reason: RemovalReason,
    },
    /// A block was served.
    Used {
        /// Which block.
        #[serde(flatten)]
        block: BlockRef,
        /// How often since the last such record.
        uses: u64,
        /// When last.
        last_used: Timestamp,
    },
    /// Requests of one minute, view and outcome since the last such record; counts add up.
    Requests {
        /// Whole minutes since the epoch.
        minute: i64,
        /// The view asked for.
        #[serde(with = "as_text")]
        view: ViewName,
        /// What the requests turned out to be.
        outcome: Outcome,
        /// How many.
        count: u64,
    },
    /// Blocks that had to be computed in one minute; counts add up.
    Missed {
        /// Whole minutes since the epoch.
        minute: i64,
        /// The view asked for.
        #[serde(with = "as_text")]
        view: ViewName,
        /// The entity asked for.
        entity: EntityKey,
        /// Why the block could not be served.
        reason: MissReason,
        /// How many.
        count: u64,
    },
    /// What a process added to a counter in one minute since the last such record; counts add up.
    Counted {
        /// Whole minutes since the epoch.
        minute: i64,
        /// The name of the metric.
        metric: String,
        /// The values of its labels, in their order.
        labels: Vec<String>,
        /// How much.
        count: u64,
    },
    /// Somebody declared blocks stale.
    Invalidated(Invalidation),
    /// This process serves this version of a view. Repeated as a heartbeat.
    ViewSeen {
        /// When.
        at: Timestamp,
        /// The view.
        #[serde(with = "as_text")]
        view: ViewName,
        /// Its version.
        #[serde(with = "as_text")]
        fingerprint: Fingerprint,
        /// Its definition as JSON.
        definition: String,
    },
}

impl Record {
    /// What was added to a counter now.
    pub fn counted(now: Timestamp, metric: &str, labels: Vec<String>, count: u64) -> Self {
        Self::Counted { minute: now.minute(), metric: metric.to_owned(), labels, count }
    }

    /// When it was told, or the last moment at which that can have been.
    pub(super) fn told_at(&self) -> Timestamp {
        match self {
            Self::Published { block, .. } => block.created,
            Self::Removed { at, .. } | Self::ViewSeen { at, .. } => *at,
            Self::Used { last_used, .. } => *last_used,
            // Counts of a minute are told until it is over.
            Self::Requests { minute, .. } | Self::Missed { minute, .. } | Self::Counted { minute, .. } => {
                Timestamp::from_minute(minute.saturating_add(1))
            }
            Self::Invalidated(done) => done.at,
        }
    }
}

/// A block by its identity, without its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockRef {
    /// The feature view.
    #[serde(with = "as_text")]
    pub view: ViewName,
    /// The version of everything that decides its values.
    #[serde(with = "as_text")]
    pub fingerprint: Fingerprint,
    /// What the features describe.
    pub entity: EntityKey,
    /// Where its span begins.
    pub start: Timestamp,
}

/// What the manifest knows of one block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockRow {
    /// The feature view.
    #[serde(with = "as_text")]
    pub view: ViewName,
    /// The version of everything that decides its values.
    #[serde(with = "as_text")]
    pub fingerprint: Fingerprint,
    /// What the features describe.
    pub entity: EntityKey,
    /// Where its span begins.
    pub start: Timestamp,
    /// Where its span ends, exclusive.
    pub end: Timestamp,
    /// Up to where its values are known. Earlier than `end`, the block is a tail.
    pub known_until: Timestamp,
    /// Rows in the file.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
    /// When the file was published. Of two files of one block the later one counts.
    pub created: Timestamp,
    /// What computing it took, in milliseconds.
    #[serde(with = "exact")]
    pub compute_ms: f64,
    /// The version of the source rows it was computed from, where the source has one.
    #[serde(default)]
    pub input_version: Option<String>,
    /// The path of the file, relative to the cache directory.
    pub file: String,
    /// When it was last served; when it was published, if never.
    pub last_used: Timestamp,
    /// How often it was served.
    pub uses: u64,
    /// The event time of its last row; `None` without rows, or where nobody has looked yet.
    #[serde(default)]
    pub newest: Option<Timestamp>,
}

impl BlockRow {
    /// The row of a block whose file has this path, below the cache directory, and size.
    ///
    /// The description of a block does not say its newest event: whoever has decoded it adds that.
    pub fn new(meta: &BlockMeta, file: &Path, bytes: u64) -> Self {
        let id = &meta.id;
        Self {
            view: id.view.clone(),
            fingerprint: id.fingerprint,
            entity: id.entity.clone(),
            start: id.range.start(),
            end: id.range.end(),
            known_until: meta.known_until,
            rows: meta.rows,
            bytes,
            created: meta.created,
            compute_ms: meta.compute_ms(),
            input_version: meta.input_version.clone(),
            file: file.to_string_lossy().into_owned(),
            last_used: meta.created,
            uses: 0,
            newest: None,
        }
    }

    /// Whether its values are known up to its end.
    pub fn is_complete(&self) -> bool {
        self.known_until >= self.end
    }

    /// Its identity.
    pub fn block_ref(&self) -> BlockRef {
        BlockRef {
            view: self.view.clone(),
            fingerprint: self.fingerprint,
            entity: self.entity.clone(),
            start: self.start,
        }
    }
}

/// An invalidation as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalidation {
    /// When.
    pub at: Timestamp,
    /// The view.
    #[serde(with = "as_text")]
    pub view: ViewName,
    /// The entity; every one of the view where there is none.
    #[serde(default)]
    pub entity: Option<EntityKey>,
    /// From where.
    pub start: Timestamp,
    /// Up to where, exclusive.
    pub end: Timestamp,
    /// Who or what asked for it, in words.
    pub cause: String,
    /// How many blocks it removed.
    pub blocks: u64,
}

impl Invalidation {
    /// The range that was declared stale, unless it is empty.
    pub fn range(&self) -> Option<TimeRange> {
        TimeRange::new(self.start, self.end).ok()
    }
}

/// Why a block was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovalReason {
    /// No view has its fingerprint any more.
    Orphan,
    /// Nobody asked for it during the retention.
    Expired,
    /// The cache had reached its size.
    Size,
    /// The disk was nearly full.
    Disk,
    /// Somebody declared it stale.
    Invalidated,
    /// Its file was damaged.
    Quarantined,
}

impl RemovalReason {
    /// The name in metrics, logs and the manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Orphan => "orphan",
            Self::Expired => "expired",
            Self::Size => "size",
            Self::Disk => "disk",
            Self::Invalidated => "invalidated",
            Self::Quarantined => "quarantined",
        }
    }
}

impl fmt::Display for RemovalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A checked type as its text.
mod as_text {
    use std::borrow::Cow;
    use std::fmt::Display;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use crate::error::Result;
    use crate::model::{Fingerprint, ViewName};

    pub(super) trait Parse: Sized {
        fn parse(text: &str) -> Result<Self>;
    }

    impl Parse for ViewName {
        fn parse(text: &str) -> Result<Self> {
            Self::new(text)
        }
    }

    impl Parse for Fingerprint {
        fn parse(text: &str) -> Result<Self> {
            text.parse()
        }
    }

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: Parse, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        T::parse(&text).map_err(D::Error::custom)
    }
}

/// A float as its shortest text that reads back as the same float: JSON has no infinities, and its
/// numbers are read back a bit off by a parser that is made for speed.
mod exact {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::testing::block;

    #[test]
    fn a_block_told_before_there_were_newest_events_is_read() {
        let row = block("A", 1, 1);
        let mut told = serde_json::to_value(&row).unwrap();
        assert!(told.as_object_mut().unwrap().remove("newest").is_some());
        let read: BlockRow = serde_json::from_value(told).unwrap();
        assert_eq!(read, BlockRow { newest: None, ..row });
    }
}
