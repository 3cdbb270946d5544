//! Finding blocks: memory first, then their files.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::Origin;
use super::core::{Core, block_ref};
use super::memory::CachedBlock;
use bytes::Bytes;

use crate::block::{self, BlockMeta};
use crate::manifest::{Record, RemovalReason};
use crate::metrics::catalogue;
use crate::model::{BlockId, FeatureBlock, FeatureView, MissReason, TimeRange, Timestamp};
use crate::planted::{self, Bug};
use crate::store::{Generation, Slots, block_path};

/// What a request asks for, once it has been checked.
pub struct Wanted<'a> {
    /// The view.
    pub view: &'a FeatureView,
    /// The entity.
    pub entity: &'a crate::model::EntityKey,
    /// What was asked for.
    pub asked: TimeRange,
    /// The same, cut at the present.
    pub range: TimeRange,
    /// The present.
    pub now: Timestamp,
    /// The counters that cover the entity.
    pub slots: Slots,
    /// Until when it waits for others, whoever they are.
    pub deadline: Instant,
    /// What it is asked for.
    pub purpose: Purpose,
}

/// What a range is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be used: an event of the service level.
    Serving,
    /// To be there when it is used.
    Warming,
}

impl Wanted<'_> {
    /// The identity of the block of this span of time.
    pub fn id(&self, block: TimeRange) -> BlockId {
        BlockId {
            view: self.view.name().clone(),
            fingerprint: self.view.fingerprint(),
            entity: self.entity.clone(),
            range: block,
        }
    }
}

/// What the tiers hold of one block.
pub enum Found {
    /// All that is needed.
    Whole {
        /// The block.
        cached: Arc<CachedBlock>,
        /// From which tier.
        origin: Origin,
        /// How long reading took.
        took: Duration,
        /// Whether it is past its `max_age` and to be refreshed.
        stale: bool,
    },
    /// Too little.
    Lacking {
        /// The tail to extend, where there is one.
        tail: Option<Arc<CachedBlock>>,
        /// An expired block, which may answer where computing fails.
        expired: Option<Arc<CachedBlock>>,
        /// Why it has to be computed.
        reason: MissReason,
    },
}

/// How a cached block stands to its view's `max_age`.
enum Age {
    Fresh,
    Stale,
    Expired,
}

impl Core {
    /// Looks for the blocks of a request, with several threads where there are several to read.
    pub fn look_up(&self, wanted: &Wanted<'_>, blocks: &[TimeRange]) -> Vec<Found> {
        let generation = self.dir.generation(wanted.slots);
        let threads = self.read_threads.min(blocks.len() / 2);
        if threads < 2 {
            return blocks.iter().map(|block| self.look_up_one(wanted, *block, generation)).collect();
        }
        let share = blocks.len().div_ceil(threads);
        std::thread::scope(|scope| {
            let mut shares = blocks.chunks(share);
            let own = shares.next().unwrap_or_default();
            let look = |share: &[TimeRange]| -> Vec<Found> {
                share.iter().map(|block| self.look_up_one(wanted, *block, generation)).collect()
            };
            let start = |share| (share, std::thread::Builder::new().spawn_scoped(scope, move || look(share)).ok());
            let others: Vec<_> = shares.map(start).collect();
            let mut found = look(own);
            for (share, thread) in others {
                // What no thread could be had for, or what one panicked over, is done here.
                found.extend(thread.and_then(|thread| thread.join().ok()).unwrap_or_else(|| look(share)));
            }
            found
        })
    }

    /// Looks for one block.
    pub fn look_up_one(&self, wanted: &Wanted<'_>, block: TimeRange, generation: Generation) -> Found {
        let needed_until = super::plan::needed_until(block, wanted.range.end());
        let in_memory = self
            .memory
            .get(wanted.view.fingerprint(), wanted.entity, block.start())
            .filter(|cached| cached.generation == generation || planted::is(Bug::MemoryUnchecked))
            .filter(|cached| !self.is_from_the_future(wanted, &cached.block));
        if let Some(cached) = &in_memory
            && let Some(found) = self.judge(wanted, cached, needed_until, Origin::Memory, Duration::ZERO)
        {
            return found;
        }
        // Memory has too little, but another process may have extended or refreshed the file.
        let began = Instant::now();
        let loaded = self.load(wanted, block, generation);
        let took = began.elapsed();
        match loaded {
            // Memory may know more, where the disk refused an extension.
            Ok(Some(cached)) if self.is_from_the_future(wanted, &cached.block) => {
                if let Some(left_out) = self.repeats.left_out(&format!("future {}", wanted.view.name())) {
                    tracing::warn!(target: "larder::cache", view = %wanted.view.name(), entity = %wanted.entity, block = %block, extended = %cached.block.extended, left_out, "block was computed after what the clock says now, and is computed again: see whose clock is wrong");
                }
                Found::Lacking { tail: None, expired: None, reason: MissReason::Clock }
            }
            Ok(Some(cached))
                if in_memory.as_ref().is_none_or(|held| held.block.known_until <= cached.block.known_until) =>
            {
                self.memory.insert(Arc::clone(&cached));
                self.judge(wanted, &cached, needed_until, Origin::Disk, took)
                    .unwrap_or_else(|| self.lacking(wanted, cached))
            }
            Ok(_) => match in_memory {
                // Kept in memory alone, because the disk would not take it.
                Some(cached) => self.lacking(wanted, cached),
                None => Found::Lacking { tail: None, expired: None, reason: MissReason::Absent },
            },
            Err(reason) => Found::Lacking { tail: None, expired: None, reason },
        }
    }

    /// Whether a block was computed when the clock was ahead of what it is now. The request may have begun long ago.
    fn is_from_the_future(&self, wanted: &Wanted<'_>, block: &FeatureBlock) -> bool {
        block.is_from_the_future(wanted.now) && block.is_from_the_future(self.now())
    }

    fn judge(
        &self,
        wanted: &Wanted<'_>,
        cached: &Arc<CachedBlock>,
        needed_until: Timestamp,
        origin: Origin,
        took: Duration,
    ) -> Option<Found> {
        if cached.block.known_until < needed_until && !planted::is(Bug::KnownUntilIgnored) {
            return None;
        }
        let stale = match self.age(wanted, &cached.block) {
            Age::Fresh => false,
            Age::Stale => true,
            Age::Expired => return None,
        };
        Some(Found::Whole { cached: Arc::clone(cached), origin, took, stale })
    }

    fn lacking(&self, wanted: &Wanted<'_>, cached: Arc<CachedBlock>) -> Found {
        match self.age(wanted, &cached.block) {
            // An expired tail is not extended: its older part would never be computed again.
            Age::Expired => Found::Lacking { tail: None, expired: Some(cached), reason: MissReason::Expired },
            _ => Found::Lacking { tail: Some(cached), expired: None, reason: MissReason::Tail },
        }
    }

    fn age(&self, wanted: &Wanted<'_>, block: &FeatureBlock) -> Age {
        let Some(max_age) = wanted.view.max_age() else { return Age::Fresh };
        let age = wanted.now.since(block.created);
        let can_refresh = || self.views.with(wanted.view, || wanted.now, |state| state.refresh.load().is_some());
        if age <= max_age || planted::is(Bug::MaxAgeIgnored) {
            Age::Fresh
        } else if age <= max_age.saturating_add(wanted.view.stale_while_revalidate()) && can_refresh() {
            Age::Stale
        } else {
            Age::Expired
        }
    }

    /// Reads a block's file. Damage is set aside; whatever is wrong, the block is merely absent.
    fn load(
        &self,
        wanted: &Wanted<'_>,
        block: TimeRange,
        generation: Generation,
    ) -> Result<Option<Arc<CachedBlock>>, MissReason> {
        let id = wanted.id(block);
        let bytes = match self.dir.read(&id) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.io_error("read", &error);
                return Err(MissReason::Unreadable);
            }
        };
        self.count(&catalogue::READ_BYTES, &[], bytes.len() as u64);
        match decode(&id, wanted.view, bytes) {
            Ok(block) => Ok(Some(Arc::new(CachedBlock::new(block, wanted.slots, generation, self.memory.used())))),
            Err(Undecodable::Newer(why)) => {
                if let Some(left_out) = self.repeats.left_out(&format!("newer {}", id.view)) {
                    tracing::warn!(target: "larder::cache", view = %id.view, entity = %id.entity, start = %id.range.start(), why, left_out, "block of a newer version is computed again");
                }
                Err(MissReason::Unreadable)
            }
            Err(Undecodable::Damaged(why)) => {
                self.set_damaged_aside(&id, wanted.view, &why);
                Err(MissReason::Corrupt)
            }
        }
    }

    fn set_damaged_aside(&self, id: &BlockId, view: &FeatureView, why: &str) {
        if planted::is(Bug::QuarantineSkipped) {
            return;
        }
        let path = block_path(id);
        self.count(&catalogue::CORRUPT_BLOCKS, &[id.view.as_str()], 1);
        let is_bad = |bytes: &Bytes| matches!(decode(id, view, bytes.clone()), Err(Undecodable::Damaged(_)));
        // Not later than it went: somebody else may have met the same, and have published it again since.
        let at = self.now();
        match self.dir.quarantine(&path, is_bad) {
            Ok(Some(quarantined)) => {
                tracing::error!(target: "larder::cache", file = %path.display(), moved_to = %quarantined.display(), why, "damaged block quarantined");
                self.tell(&[Record::Removed { block: block_ref(id), at, reason: RemovalReason::Quarantined }]);
            }
            // Somebody was quicker, and what is there now is another file.
            Ok(None) => {}
            Err(error) => self.io_error("quarantine", &error),
        }
    }
}

enum Undecodable {
    Damaged(String),
    Newer(String),
}

fn decode(id: &BlockId, view: &FeatureView, bytes: Bytes) -> Result<FeatureBlock, Undecodable> {
    let decoded = block::decode(bytes, view.schema()).map_err(|error| match error {
        block::BlockError::NewerFormat { .. } => Undecodable::Newer(error.to_string()),
        error => Undecodable::Damaged(error.to_string()),
    })?;
    let meta = BlockMeta::parse(&decoded.description).map_err(Undecodable::Damaged)?;
    if meta.id != *id && !planted::is(Bug::IdentityUnchecked) {
        // A file that was copied or renamed into another block's place.
        return Err(Undecodable::Damaged(format!("the file is that of {}", meta.id)));
    }
    Ok(FeatureBlock {
        id: meta.id,
        known_until: meta.known_until,
        created: meta.created,
        extended: meta.extended,
        newest_created: meta.newest_created,
        compute_time: meta.compute_time,
        input_version: meta.input_version,
        batch: decoded.batch,
    })
}
