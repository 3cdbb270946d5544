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
    let began = now();
    let (gone, done) =
        dir.invalidate(scope.view, scope.entity, now, |file, identity| overlaps(dir, &file.path, identity, scope));
    let records = |at| gone.iter().filter_map(move |(_, identity)| removed(identity, scope, at)).collect::<Vec<_>>();
    let at = done.inspect_err(|_| {
        // Not later than it went, because somebody may have published it again since.
        if !gone.is_empty() {
            journal(&records(began));
        }
    })?;
    let (blocks, mut records) = (gone.len() as u64, records(at));
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
    // It begins before the range; where it ends stands only in the file. One that cannot be read goes too, and one that
    // somebody has removed is gone.
    let bytes = match dir.read_path(path) {
        Ok(None) => return false,
        read => read.ok().flatten(),
    };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BlockId;
    use crate::store::Publish;

    #[test]
    fn a_file_that_somebody_has_removed_meanwhile_is_not_counted() {
        let root = tempfile::tempdir().unwrap();
        let dir = CacheDir::open(&root.path().join("cache"), Publish::Fast, "test").unwrap();
        let view = ViewName::new("prices").unwrap();
        let path =
            Path::new("blocks/view=prices/fp=ce20d9dfd7046a750a2891dbead1269d/symbol=EURUSD/20240301T000000Z.parquet");
        let identity = crate::store::identity_of(path).unwrap();
        let range = Some(TimeRange::parse("2024-03-01T12:00:00Z", "2024-03-02").unwrap());
        assert!(!overlaps(&dir, path, &identity, &Scope { view: &view, version: None, entity: None, range }));
    }

    #[test]
    fn what_is_gone_is_journaled_also_where_the_rest_fails() {
        let root = tempfile::tempdir().unwrap();
        let dir = CacheDir::open(&root.path().join("cache"), Publish::Fast, "test").unwrap();
        let id = BlockId {
            view: ViewName::new("prices").unwrap(),
            fingerprint: "ce20d9dfd7046a750a2891dbead1269d".parse().unwrap(),
            entity: EntityKey::new([("symbol", "EURUSD")]).unwrap(),
            range: Span::Day.block_of("2024-03-01".parse().unwrap()),
        };
        let now = || Timestamp::from_ns(7);
        dir.publish(&id, b"a block", dir.generation(dir.slots(&id.view, &id.entity)), now).unwrap();
        let scope = Scope { view: &id.view, version: None, entity: None, range: None };
        let locks = root.path().join("cache/locks");
        let held: Vec<_> = std::fs::read_dir(&locks).unwrap().map(|entry| entry.unwrap().path()).collect();
        for lock in held {
            std::fs::remove_file(&lock).unwrap();
            std::fs::create_dir(&lock).unwrap();
        }
        let mut journaled = Vec::new();
        invalidate(&dir, &scope, "request", now, |records| journaled.extend_from_slice(records)).unwrap_err();
        let [Record::Removed { block, at, reason: RemovalReason::Invalidated }] = journaled.as_slice() else {
            panic!("{journaled:?}")
        };
        assert_eq!((block.start, *at), (id.range.start(), now()));
    }
}
