//! Bugs on purpose, each at a real place, by which the tests show that they would find it.
//!
//! Without the cargo feature `planted` none can be: `is` is `false`, and the compiler removes what asks.
//! With it, the environment variable `LARDER_PLANTED` names one bug for the whole process.

/// Makes the enum, all of its values and their names from one list.
macro_rules! bugs {
    ($($(#[doc = $doc:literal])* $bug:ident,)*) => {
        /// A bug that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug {
            $($(#[doc = $doc])* $bug,)*
        }

        impl Bug {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$bug,)*];

            /// How the environment variable calls it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$bug => stringify!($bug),)*
                }
            }
        }
    };
}

bugs! {
    /// None at all: whoever says that a test has found it is wrong.
    Nothing,

    /// A block's checksum is not compared.
    ChecksumSkipped,
    /// A block that another one's path leads to is taken for the other one.
    IdentityUnchecked,
    /// A damaged block stays where it is.
    QuarantineSkipped,

    /// A file takes its name before its bytes are on the disk.
    FileNotSynced,
    /// The directory of a published file is not synced.
    DirectoryNotSynced,
    /// The directory of invalidated files is not synced.
    RemovalNotSynced,
    /// A file is written in the place of the one before it, not beside it and renamed.
    WrittenInPlace,
    /// Links in the cache are followed.
    LinksFollowed,
    /// Upper and lower case are one: two entities have one path.
    CaseFolded,

    /// What was computed before an invalidation is published after it.
    PublishedUnchecked,
    /// An invalidation raises no generation.
    GenerationNotRaised,
    /// An invalidation removes files only after it has raised the generation and released the lock.
    RemovedAfterRaise,
    /// An invalidation leaves the block that begins before its range.
    InvalidatedFromWithin,
    /// A copy in memory is served whatever its generation.
    MemoryUnchecked,

    /// A block that ends too early is taken for a whole one.
    KnownUntilIgnored,
    /// What the source says is not complete yet is kept as complete.
    WatermarkIgnored,
    /// A tail that was computed from other rows is extended all the same.
    VersionIgnored,
    /// Gaps are joined over what lies between them.
    GapsJoined,
    /// A gap begins one moment late.
    GapBeginsLate,
    /// History begins one moment late.
    HistoryBeginsLate,
    /// The row at the end of a range belongs to it.
    EndIncluded,
    /// Blocks without rows are not kept.
    EmptyNotKept,
    /// A request that waited for another's compute is a hit.
    CoalescedIsHit,

    /// A block that is being computed is computed once more.
    FlightNotJoined,
    /// A compute that began before an invalidation is waited for after it.
    OldFlightJoined,
    /// Who gives up computing leaves those who wait for it waiting.
    FlightNotLanded,
    /// Those who wait are told before a flight has left the table: they may join it again.
    LandedBeforeLeaving,
    /// The end of a flight removes a younger one that has taken its place.
    YoungerFlightRemoved,
    /// Processes do not wait for each other's computes.
    ProcessesNotOrdered,
    /// An error is answered for ever.
    ErrorForEver,
    /// Blocks never grow too old.
    MaxAgeIgnored,
    /// However old a block is, it answers where computing fails.
    MaxStaleIgnored,

    /// A fold begins at the beginning of each journal.
    FoldedTwice,
    /// A fold leaves the last record of a journal out.
    LastRecordDropped,
    /// A journal's checksums are not compared.
    JournalUnchecked,
    /// A rebuilt manifest knows nothing of the files.
    RepairedEmpty,

    /// Cleaning tells the journal of a removal before it.
    RemovalToldFirst,
    /// Cleaning begins with the most valuable block.
    MostValuableFirst,
    /// Retention counts from when a block came, not from when it was used.
    RetentionFromCreated,

    /// A row that is as old as `ttl` allows is too old.
    TtlExclusive,
    /// At a time in the past counts what is known now.
    CreatedTimeIgnored,
    /// Of a row that is pushed twice the first one stays.
    FirstPushOnly,
    /// A push that was broken off is forgotten.
    UnfinishedPushIgnored,
}

/// Whether this bug is planted.
#[cfg(not(feature = "planted"))]
#[inline]
pub(crate) const fn is(_: Bug) -> bool {
    false
}

/// Whether this bug is planted.
#[cfg(feature = "planted")]
pub(crate) fn is(bug: Bug) -> bool {
    static PLANTED: std::sync::LazyLock<Option<Bug>> = std::sync::LazyLock::new(|| {
        let name = std::env::var_os("LARDER_PLANTED")?;
        let planted = Bug::ALL.iter().copied().find(|bug| name == bug.name());
        tracing::warn!(
            target: "larder::planted", name = %name.display(), is_known = planted.is_some(),
            "LARDER_PLANTED is set, for tests: this process is wrong on purpose"
        );
        planted
    });
    *PLANTED == Some(bug)
}

/// What [`Bug::WrittenInPlace`] does.
#[expect(clippy::disallowed_methods, reason = "it is wrong, which is what it is for")]
pub(crate) fn write_in_place(part: &std::path::Path, target: &std::path::Path) -> std::io::Result<()> {
    std::fs::write(target, std::fs::read(part)?).and_then(|()| std::fs::remove_file(part))
}
