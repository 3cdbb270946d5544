//! Why requests are not served from cache, and what helps.

use crate::manifest::RemovalReason;
use crate::model::MissReason;

/// Why a block had to be computed, or a request could not be answered from the cache.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The compute failed: outcomes `error` and `fallback`.
    Failing,
    /// Somebody had invalidated it, for this cause.
    Invalidated(String),
    /// Cleaning had removed it, because the blocks took too much.
    EvictedSize,
    /// Cleaning had removed it, because the disk was nearly full.
    EvictedDisk,
    /// Cleaning had removed it, as a block of a version that nobody served any more.
    Orphan,
    /// Its file was damaged.
    Damaged,
    /// Its file could not be read.
    Unreadable,
    /// It was older than the view's `max_age`.
    TooOld,
    /// It was computed at a time that was still to come.
    Clock,
    /// It was known only up to an earlier time than was asked for.
    Tail,
    /// Nobody had served its view before.
    NewView,
    /// Nobody had served this version of its view before.
    NewVersion,
    /// Nobody had asked for its entity before.
    NewEntity,
    /// Nobody had asked for its time before, or its file was removed by hand.
    NewRange,
    /// No miss was recorded for the requests.
    Unrecorded,
}

impl Cause {
    /// What a recorded reason says by itself; `None` where it only says that the block was not there.
    pub(super) fn of(reason: MissReason) -> Option<Self> {
        match reason {
            MissReason::Absent => None,
            MissReason::Tail => Some(Self::Tail),
            MissReason::Expired => Some(Self::TooOld),
            MissReason::Clock => Some(Self::Clock),
            MissReason::Corrupt => Some(Self::Damaged),
            MissReason::Unreadable => Some(Self::Unreadable),
        }
    }

    /// What a removal explains of a later miss.
    pub(super) fn of_removal(reason: RemovalReason) -> Option<Self> {
        match reason {
            RemovalReason::Size => Some(Self::EvictedSize),
            RemovalReason::Disk => Some(Self::EvictedDisk),
            RemovalReason::Orphan => Some(Self::Orphan),
            // An invalidation is told with its cause; whoever met damage missed for that reason. A block that was
            // unused for days explains nothing: where ranges move on, an old block goes for every new one.
            RemovalReason::Invalidated | RemovalReason::Quarantined | RemovalReason::Expired => None,
        }
    }

    /// Its name in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Failing => "compute_failing",
            Self::Invalidated(_) => "invalidated",
            Self::EvictedSize => "evicted_size",
            Self::EvictedDisk => "evicted_disk",
            Self::Orphan => "removed_orphan",
            Self::Damaged => "damaged",
            Self::Unreadable => "unreadable",
            Self::TooOld => "older_than_max_age",
            Self::Clock => "clock_wrong",
            Self::Tail => "tail",
            Self::NewView => "new_view",
            Self::NewVersion => "new_version",
            Self::NewEntity => "new_entity",
            Self::NewRange => "new_range",
            Self::Unrecorded => "unrecorded",
        }
    }

    /// What happened, in words.
    pub fn title(&self) -> String {
        let text = match self {
            Self::Failing => "computing fails",
            Self::Invalidated(cause) => return format!("invalidated: {cause}"),
            Self::EvictedSize => "evicted: the cache was full",
            Self::EvictedDisk => "evicted: the disk was nearly full",
            Self::Orphan => "removed as blocks of an old version",
            Self::Damaged => "damaged files",
            Self::Unreadable => "files that cannot be read",
            Self::TooOld => "older than max_age",
            Self::Clock => "computed while a clock was wrong",
            Self::Tail => "asked beyond what is known so far",
            Self::NewView => "a new view",
            Self::NewVersion => "a new version of the view",
            Self::NewEntity => "new entities",
            Self::NewRange => "times that nobody had asked for",
            Self::Unrecorded => "no miss was recorded",
        };
        text.to_owned()
    }

    /// Whether it ends by itself, because nothing is broken: whoever asks first has to compute.
    pub fn passes(&self) -> bool {
        matches!(self, Self::NewView | Self::NewVersion | Self::NewEntity | Self::NewRange)
    }

    /// What mends it, in words.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Failing => {
                "mend the source or the compute: the log of the service has each failure as `get_or_compute`"
            }
            Self::Invalidated(_) => {
                "invalidate only the entity and the range whose source rows changed (`--entity`, `--start`, `--end`), and once for each correction"
            }
            Self::EvictedSize => {
                "raise max_cache_size_gb: the blocks in use do not fit; `larder stats` says what each view takes"
            }
            Self::EvictedDisk => {
                "make room on the disk, or move the cache to a larger one: its reserve is reached; cleaning alone does not help where all blocks are in use"
            }
            Self::Orphan => {
                "finish the rollout, or raise disk.orphan_after: a version that was taken for old is still asked for"
            }
            Self::Damaged => "check the disk (dmesg, smartctl); no wrong value was served; what is left is mended with",
            Self::Unreadable => {
                "give the files back to the user of the service, and see what the disk says; those that cannot be read are listed by"
            }
            Self::TooOld => {
                "raise the view's max_age, or give it stale_while_revalidate, so that blocks are refreshed in the background"
            }
            Self::Clock => {
                "set the clocks of this machine and of what shares its cache (`timedatectl`), and see that they are kept right; blocks from the future are computed again by themselves"
            }
            Self::Tail => {
                "ask up to the last bar that has closed, not up to this moment: what lies beyond now - lateness is computed each time"
            }
            Self::NewView | Self::NewVersion | Self::NewEntity => {
                "nothing is broken: first requests have to compute, and it passes; sooner, and before traffic is switched, by warming"
            }
            Self::NewRange => {
                "nothing is broken where a day or a range is new: warm it before it is asked for; `larder verify` finds files that were removed by hand"
            }
            Self::Unrecorded => "the process that counted them ended before it could tell why: see its log",
        }
    }

    /// Arguments of `larder` that do so, where a command can.
    pub(super) fn command(&self, warming: Option<String>) -> Option<String> {
        match self {
            Self::Damaged => Some("repair".to_owned()),
            Self::Unreadable => Some("verify".to_owned()),
            cause if cause.passes() => warming,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_mends_the_cause_that_it_stands_beside() {
        let warming = || Some("warm --view v --start 2024-03-08".to_owned());
        assert_eq!(Cause::NewView.command(warming()), warming());
        assert_eq!(Cause::NewView.command(None), None, "a view that only its service can compute");
        assert_eq!(Cause::Damaged.command(warming()).as_deref(), Some("repair"));
        for by_hand in [Cause::Failing, Cause::EvictedSize, Cause::EvictedDisk, Cause::Tail, Cause::TooOld] {
            assert_eq!(by_hand.command(warming()), None, "{by_hand:?}");
        }
    }
}
