//! The memory tier: decoded blocks, weighted by their bytes, shared and never copied.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Lifecycle, OptionsBuilder, Weighter};

use crate::model::{BlockId, EntityKey, FeatureBlock, Fingerprint, Timestamp, block_hash};
use crate::store::{Generation, Slots};

/// What an entry takes besides its arrays.
const OVERHEAD: usize = 512;
/// Of how many blocks uses wait for the journal, which nobody may be able to write for days.
const MOST_USED: usize = 200_000;

/// A block in memory, with what says whether it may still be served.
pub struct CachedBlock {
    /// The block.
    pub block: FeatureBlock,
    /// The counters that cover its entity.
    pub slots: Slots,
    /// Their sum when it was loaded or began to be computed.
    pub generation: Generation,
    uses: AtomicU64,
    used: Arc<Used>,
}

/// Uses of blocks that are not in the journal yet.
#[derive(Default)]
pub struct Used(Mutex<HashMap<BlockId, u64>>);

impl CachedBlock {
    /// A block that was loaded, or began to be computed, under `generation`.
    pub fn new(block: FeatureBlock, slots: Slots, generation: Generation, used: &Arc<Used>) -> Self {
        Self { block, slots, generation, uses: AtomicU64::new(0), used: Arc::clone(used) }
    }

    /// Counts a use.
    pub fn touch(&self) {
        // Relaxed: cleaning is content with roughly.
        self.uses.fetch_add(1, Ordering::Relaxed);
    }

    fn take_uses(&self) -> u64 {
        // A plain load first: most blocks were not used since the last time.
        if self.uses.load(Ordering::Relaxed) == 0 { 0 } else { self.uses.swap(0, Ordering::Relaxed) }
    }
}

impl Drop for CachedBlock {
    fn drop(&mut self) {
        // The last uses of a block that leaves memory count too.
        let uses = self.take_uses();
        if uses > 0 {
            self.used.add(self.block.id.clone(), uses);
        }
    }
}

impl Used {
    fn lock(&self) -> MutexGuard<'_, HashMap<BlockId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, id: BlockId, uses: u64) {
        let mut used = self.lock();
        if used.len() < MOST_USED || used.contains_key(&id) {
            *used.entry(id).or_default() += uses;
        }
    }
}

/// The identity of a block without owning it, so that a hit copies nothing.
struct BlockKey<'a> {
    fingerprint: Fingerprint,
    entity: &'a EntityKey,
    start: Timestamp,
}

impl Hash for BlockKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(block_hash(self.fingerprint, self.entity, self.start));
    }
}

impl Equivalent<BlockId> for BlockKey<'_> {
    fn equivalent(&self, id: &BlockId) -> bool {
        self.start == id.range.start() && self.fingerprint == id.fingerprint && *self.entity == id.entity
    }
}

/// Finishes the one number that a key writes.
#[derive(Clone, Copy, Default)]
pub struct Mix;

/// The state of [`Mix`].
pub struct Mixer(u64);

impl BuildHasher for Mix {
    type Hasher = Mixer;

    fn build_hasher(&self) -> Mixer {
        Mixer(0)
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // A folded multiplication spreads every bit of the number over all bits of the result.
        let bits = u128::from(self.0 ^ number ^ 0x243F_6A88_85A3_08D3);
        // Wrapping on purpose: where overflows are checked, as in a program built for debugging, it would panic.
        let product = bits.wrapping_mul(0x1319_8A2E_0370_7344_A409_3822_299F_31D1);
        self.0 = ((product >> 64) ^ product) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Clone, Copy)]
struct Bytes;

impl Weighter<BlockId, Arc<CachedBlock>> for Bytes {
    fn weight(&self, _: &BlockId, cached: &Arc<CachedBlock>) -> u64 {
        (cached.block.batch.get_array_memory_size() + OVERHEAD) as u64
    }
}

type Usual = DefaultLifecycle<BlockId, Arc<CachedBlock>>;

/// Counts what leaves to make room; otherwise the usual life of an entry.
#[derive(Clone, Default)]
struct Counted {
    evictions: Arc<AtomicU64>,
    usual: Usual,
}

impl Lifecycle<BlockId, Arc<CachedBlock>> for Counted {
    type RequestState = <Usual as Lifecycle<BlockId, Arc<CachedBlock>>>::RequestState;

    fn on_evict(&self, state: &mut Self::RequestState, id: BlockId, cached: Arc<CachedBlock>) {
        // Relaxed: a number for a graph.
        self.evictions.fetch_add(1, Ordering::Relaxed);
        self.usual.on_evict(state, id, cached);
    }
}

/// The memory tier of one store.
pub struct Memory {
    cache: Cache<BlockId, Arc<CachedBlock>, Bytes, Mix, Counted>,
    used: Arc<Used>,
    evictions: Arc<AtomicU64>,
}

impl Memory {
    /// Keeps at most `bytes` of decoded blocks.
    pub fn new(bytes: u64) -> Self {
        let mut options = OptionsBuilder::new();
        // The estimate decides how many shards there are: a day of minute bars is about 400 kB.
        options.weight_capacity(bytes).estimated_items_capacity(usize::try_from(bytes / 400_000).unwrap_or(0).max(64));
        let options = options.build().ok();
        let counted = Counted::default();
        let evictions = Arc::clone(&counted.evictions);
        let cache = match options {
            Some(options) => Cache::with_options(options, Bytes, Mix, counted),
            None => Cache::with(64, bytes, Bytes, Mix, counted),
        };
        Self { cache, used: Arc::default(), evictions }
    }

    /// Keeps at most `bytes` from now on.
    pub fn resize(&self, bytes: u64) {
        if bytes != self.cache.capacity() {
            self.cache.set_capacity(bytes);
        }
    }

    /// The block that begins at `start`, however old it is.
    pub fn get(&self, fingerprint: Fingerprint, entity: &EntityKey, start: Timestamp) -> Option<Arc<CachedBlock>> {
        self.cache.get(&BlockKey { fingerprint, entity, start })
    }

    /// Keeps a block, in the place of an older copy.
    pub fn insert(&self, cached: Arc<CachedBlock>) {
        self.cache.insert(cached.block.id.clone(), cached);
    }

    /// Bytes that the blocks take.
    pub fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    /// How many blocks left to make room for others.
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// Where blocks leave their last uses.
    pub fn used(&self) -> &Arc<Used> {
        &self.used
    }

    /// Takes uses back that could not be written.
    pub fn put_back_uses(&self, uses: Vec<(BlockId, u64)>) {
        uses.into_iter().for_each(|(id, uses)| self.used.add(id, uses));
    }

    /// Takes the uses that are not in the journal yet.
    pub fn take_uses(&self) -> Vec<(BlockId, u64)> {
        let mut uses: Vec<_> = std::mem::take(&mut *self.used.lock()).into_iter().collect();
        for (_, cached) in self.cache.iter() {
            let more = cached.take_uses();
            if more > 0 {
                uses.push((cached.block.id.clone(), more));
            }
        }
        uses
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Span, ViewName};

    #[test]
    fn uses_that_wait_are_added_up_and_do_not_fill_the_memory() {
        let memory = Memory::new(1 << 20);
        let id = |number: u64| BlockId {
            view: ViewName::new("v").unwrap(),
            fingerprint: "ce20d9dfd7046a750a2891dbead1269d".parse().unwrap(),
            entity: EntityKey::new([("symbol", "A")]).unwrap(),
            range: Span::Hour.block_of(Timestamp::from_secs(number as i64 * 3600)),
        };
        for _ in 0..3 {
            memory.put_back_uses(vec![(id(0), 2)]);
        }
        memory.put_back_uses((1..MOST_USED as u64 + 1000).map(|number| (id(number), 1)).collect());
        memory.put_back_uses(vec![(id(0), 1)]);
        let uses = memory.take_uses();
        assert_eq!(uses.len(), MOST_USED);
        assert!(uses.contains(&(id(0), 7)));
    }
}
