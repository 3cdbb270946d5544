//! What became of a source's rows since blocks were computed from them.
//!
//! A block says from which rows it was computed, as a digest of their times and values. To find out which blocks still
//! hold, the rows are read and digested again: neither times of files nor anything else that could be wrong decides.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::bound::{Bound, Supply};
use super::computing::Computing;
use super::features::Features;
use crate::block::{self, BlockMeta};
use crate::cache::Gap;
use crate::definition::{EntityDefinition, SourceKind, ViewSource};
use crate::error::{Error, Result};
use crate::model::{EntityKey, KeyType, KeyValue, SourceName, TimeRange, Timestamp, ViewName};
use crate::source::{Reader, SourceFile};

/// The cause of the invalidations.
const CAUSE: &str = "source";
/// So many blocks of an entity are held against rows that are read at once.
const AT_ONCE: usize = 8;

/// What was found when blocks were held against a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// The blocks that were looked at.
    pub checked: u64,
    /// Those that were computed from other rows, and are forgotten now.
    pub outdated: u64,
}

/// Which files changed.
#[derive(Debug, Clone, Copy)]
pub enum Changed<'a> {
    /// These; rows that they cannot hold are as they were.
    Files(&'a BTreeSet<PathBuf>),
    /// Nobody knows.
    Unknown,
}

/// A block to be held against its rows.
struct Candidate {
    path: PathBuf,
    start: Timestamp,
}

impl Features {
    /// The sources whose rows lie in files, each opened if it can be.
    pub fn file_sources(&self) -> impl Iterator<Item = (&SourceName, Result<Arc<Reader>>)> {
        let in_files = |kind: &SourceKind| matches!(kind, SourceKind::Parquet { .. } | SourceKind::Csv { .. });
        let sources = self.0.sources.iter().filter(move |(_, source)| in_files(&source.definition.kind));
        sources.map(|(name, source)| (name, source.reader(self.store())))
    }

    /// The files of a source as they are now.
    ///
    /// # Errors
    /// Those of opening the source and of listing its directories.
    pub fn source_files(&self, name: &SourceName) -> Result<BTreeMap<PathBuf, SourceFile>> {
        let source = self.0.sources.get(name).ok_or_else(|| Error::internal(format!("no view reads source {name}")))?;
        let files = source.reader(self.store())?.files()?;
        Ok(files.into_iter().map(|file| (file.path.clone(), file)).collect())
    }

    /// Holds the blocks of every view that reads a source, whatever lies in between, against its rows, and forgets those
    /// that were computed from others. A compute that began before is not kept.
    ///
    /// # Errors
    /// Those of a source that cannot be read: then blocks stay that could not be held against it.
    pub fn recheck(&self, name: &SourceName, changed: Changed<'_>) -> Result<Changes> {
        let source = self.0.sources.get(name).ok_or_else(|| Error::internal(format!("no view reads source {name}")))?;
        // Columns may have come, gone or changed their type.
        let reader = source.reopen()?;
        let mut changes = Changes::default();
        // One that cannot be held against its rows keeps no other from being.
        let mut failed = None;
        for view in self.readers_of(name) {
            let bound = self.bound(&view)?;
            self.store().fence(&view)?;
            for (entity, blocks) in self.blocks(bound)? {
                let is_touched = |candidate: &Candidate| match changed {
                    Changed::Unknown => true,
                    Changed::Files(files) => {
                        let rows = window(bound, candidate.start);
                        rows.is_ok_and(|rows| files.iter().any(|file| reader.may_hold(file, &entity, rows)))
                    }
                };
                let touched: Vec<Candidate> = blocks.into_iter().filter(is_touched).collect();
                for run in runs(bound, &touched) {
                    match self.hold(bound, &entity, run) {
                        Ok(found) => {
                            changes.checked += found.checked;
                            changes.outdated += found.outdated;
                        }
                        Err(error) => drop(failed.get_or_insert(error)),
                    }
                }
            }
        }
        failed.map_or(Ok(changes), Err)
    }

    /// Computes the blocks again that hold the newest rows of entities that have some cached, so that a request finds
    /// them. What fails is left to the next request.
    pub fn refresh_newest(&self, name: &SourceName) {
        for view in self.readers_of(name) {
            let refreshed = self.bound(&view).and_then(|bound| {
                let span = bound.recipe.view().span();
                for (entity, blocks) in self.blocks(bound)? {
                    let Some(newest) = bound.newest(self.store(), &entity)? else { continue };
                    let (block, end) = (span.block_of(newest), Timestamp::from_ns(newest.as_ns().saturating_add(1)));
                    let before = span.block_of(Timestamp::from_ns(block.start().as_ns().saturating_sub(1)));
                    // Not of an entity that is only cached for a time long ago.
                    if blocks.last().is_some_and(|last| last.start >= before.start()) {
                        self.warm(&view, &entity, TimeRange::new(block.start(), end.min(self.known_until(&view)?))?)?;
                    }
                }
                Ok(())
            });
            if let Err(error) = refreshed {
                tracing::debug!(target: "larder::cache", %view, %error, "the newest block is not computed yet");
            }
        }
    }

    /// The views that read a source, a view after the one that it reads itself.
    fn readers_of(&self, source: &SourceName) -> Vec<ViewName> {
        let mut found: Vec<ViewName> = Vec::new();
        loop {
            let before = found.len();
            for (name, definition) in self.definitions().views() {
                let reads = match &definition.source {
                    ViewSource::Source(read) => read == source,
                    ViewSource::View(read) => found.contains(read),
                };
                if reads && !found.contains(name) && self.bound(name).is_ok() {
                    found.push(name.clone());
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }

    /// The blocks of a view by entity, in their order.
    fn blocks(&self, bound: &Bound) -> Result<BTreeMap<EntityKey, Vec<Candidate>>> {
        let view = bound.recipe.view();
        let definition = self.definitions().views().get(view.name());
        let entity = definition.and_then(|definition| self.definitions().entities().get(&definition.entity));
        let entity = entity.ok_or_else(|| Error::internal(format!("view {} has no entity", view.name())))?;
        let mut blocks: BTreeMap<EntityKey, Vec<Candidate>> = BTreeMap::new();
        for (path, identity) in self.store().cache_dir().blocks_of(view.name(), view.fingerprint())? {
            // Whatever is none of this entity's keys is nobody's block.
            if let Some(key) = typed(entity, &identity.keys) {
                blocks.entry(key).or_default().push(Candidate { path, start: identity.start });
            }
        }
        blocks.values_mut().for_each(|of_entity| of_entity.sort_by_key(|block| block.start));
        Ok(blocks)
    }

    /// Holds adjacent blocks of an entity against the rows that there are now.
    fn hold(&self, bound: &Bound, entity: &EntityKey, run: &[Candidate]) -> Result<Changes> {
        let (view, dir) = (bound.recipe.view(), self.store().cache_dir());
        let mut known: Vec<(Gap, Option<String>)> = Vec::new();
        for candidate in run {
            // What is damaged is found by whoever reads it.
            let Some(meta) = dir.read_path(&candidate.path)?.and_then(|bytes| described(&bytes)) else { continue };
            let range = TimeRange::new(meta.id.range.start(), meta.known_until)?;
            known.push((Gap::new(view.clone(), entity.clone(), range), meta.input_version));
        }
        let (Some((first, _)), Some(end)) = (known.first(), known.iter().map(|(gap, _)| gap.range().end()).max())
        else {
            return Ok(Changes::default());
        };
        let computing = Computing::new(self.store(), bound);
        computing.rows(entity, TimeRange::new(first.source_start(), end)?)?;
        let mut changes = Changes { checked: known.len() as u64, outdated: 0 };
        for (gap, version) in known {
            if version.as_ref() != Some(&computing.digest(&gap)?) {
                if changes.outdated == 0 {
                    // From rows that give no features, such as those without a column, nothing better can be computed.
                    computing.features(&gap)?;
                }
                let scope = Some(gap.range());
                let cause = (CAUSE, Some((view.fingerprint(), view.span())));
                changes.outdated += self.store().invalidate_scope(view.name(), Some(entity), scope, cause)?;
            }
        }
        Ok(changes)
    }
}

fn described(bytes: &bytes::Bytes) -> Option<BlockMeta> {
    BlockMeta::parse(&block::describe(bytes).ok()?.description).ok()
}

/// The source rows that the block beginning here was computed from, at most.
fn window(bound: &Bound, start: Timestamp) -> Result<TimeRange> {
    let view = bound.recipe.view();
    let block = view.span().block_of(start);
    let rows = TimeRange::new(block.start().saturating_sub(view.lookback()), block.end())?;
    match &bound.supply {
        Supply::Source(_) | Supply::Pushed(_) => Ok(rows),
        Supply::View(read) => {
            let last = window(read, Timestamp::from_ns(rows.end().as_ns().saturating_sub(1)))?;
            TimeRange::new(window(read, rows.start())?.start(), last.end())
        }
    }
}

/// Blocks whose rows overlap, a number of them at a time.
fn runs<'a>(bound: &Bound, blocks: &'a [Candidate]) -> Vec<&'a [Candidate]> {
    let overlap = |a: &Candidate, b: &Candidate| {
        let rows = |block: &Candidate| window(bound, block.start);
        rows(a).and_then(|a| Ok(a.end() >= rows(b)?.start())).unwrap_or(false)
    };
    blocks.chunk_by(overlap).flat_map(|run| run.chunks(AT_ONCE)).collect()
}

/// The entity that a path's keys are, in the types that are defined.
fn typed(entity: &EntityDefinition, keys: &[(String, String)]) -> Option<EntityKey> {
    let pairs = keys.iter().map(|(name, text)| {
        let (name, key_type) = entity.keys.iter().find(|(key, _)| key.as_str() == name)?;
        let value = match key_type {
            KeyType::Text => KeyValue::from(text.as_str()),
            KeyType::Integer => KeyValue::from(text.parse::<i64>().ok()?),
        };
        Some((name.as_str(), value))
    });
    EntityKey::new(pairs.collect::<Option<Vec<_>>>()?).ok()
}
