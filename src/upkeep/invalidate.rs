//! Forgetting blocks whose source rows changed.

use std::path::Path;

use crate::block::{self, BlockMeta};
use crate::error::Result;
use crate::manifest::{BlockRef, Invalidation, Record, RemovalReason};
use crate::model::{EntityKey, Fingerprint, Span, TimeRange, Timestamp, ViewName};
use crate::planted::{self, Bug};
use crate::store::{CacheDir, PathIdentity};

/// Which blocks.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Of this view.
    pub view: &'a ViewName,
    /// Of this version alone, whose blocks are so long, or of all.
    pub version: Option<(Fingerprint, Span)>,
    /// Of this entity, or of all.
    pub entity: Option<&'a EntityKey>,
    /// Those that overlap this range, or all.
    pub range: Option<TimeRange>,
}

/// Forgets blocks: when it returns, no process serves them. Returns how many there were.
///
/// # Errors
/// `Unavailable` where a file cannot be removed: then repeat it.
pub fn invalidate(
    dir: &CacheDir,
    scope: &Scope<'_>,
    cause: &str,
    now: impl Fn() -> Timestamp,
    mut journal: impl FnMut(&[Record]),
) -> Result<u64> {
    let (gone, at) =
        dir.invalidate(scope.view, scope.entity, now, |file, identity| overlaps(dir, &file.path, identity, scope))?;
    let blocks = gone.len() as u64;
    let mut records: Vec<Record> = gone.iter().filter_map(|(_, identity)| removed(identity, scope, at)).collect();
    records.push(Record::Invalidated(Invalidation {
        at,
        view: scope.view.clone(),
        entity: scope.entity.cloned(),
        start: scope.range.map_or(Timestamp::MIN, |range| range.start()),
        end: scope.range.map_or(Timestamp::MAX, |range| range.end()),
        cause: cause.to_owned(),
        blocks,
    }));
    journal(&records);
    let entity = scope.entity.map_or_else(|| "all entities".to_owned(), ToString::to_string);
    tracing::info!(target: "larder::cache", cause, blocks, "Cache key {} {entity} invalidated", scope.view);
    Ok(blocks)
}

fn overlaps(dir: &CacheDir, path: &Path, identity: &PathIdentity, scope: &Scope<'_>) -> bool {
    if scope.version.is_some_and(|(fingerprint, _)| fingerprint != identity.fingerprint) {
        return false;
    }
    let Some(range) = scope.range else { return true };
    if identity.start >= range.end() {
        return false;
    }
    if identity.start >= range.start() {
        return true;
    }
    if planted::is(Bug::InvalidatedFromWithin) {
        return false;
    }
    if let Some((_, span)) = scope.version {
        return span.block_of(identity.start).end() > range.start();
    }
    // It begins before the range; where it ends stands only in the file. One that cannot be read goes too.
    let bytes = dir.read_path(path).ok().flatten();
    let meta = bytes
        .and_then(|bytes| block::describe(&bytes).ok())
        .and_then(|found| BlockMeta::parse(&found.description).ok());
    meta.is_none_or(|meta| meta.id.range.overlaps(&range))
}

fn removed(identity: &PathIdentity, scope: &Scope<'_>, at: Timestamp) -> Option<Record> {
    let entity = match scope.entity {
        Some(entity) => entity.clone(),
        // The path has the keys as text. A row of a typed key that stays behind is found by `verify`.
        None => EntityKey::new(identity.keys.iter().map(|(name, value)| (name, value.as_str()))).ok()?,
    };
    let block =
        BlockRef { view: identity.view.clone(), fingerprint: identity.fingerprint, entity, start: identity.start };
    Some(Record::Removed { block, at, reason: RemovalReason::Invalidated })
}
