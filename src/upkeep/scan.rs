//! Looking at every file below `blocks/`.

use std::path::Path;

use bytes::Bytes;

use crate::block::{self, BlockMeta, ColumnStats};
use crate::model::{Timestamp, newest_event};
use crate::store::{CacheDir, block_path, identity_of};

/// What a file turned out to be.
pub enum Scanned {
    /// A sound block in its place.
    Sound(Box<BlockMeta>),
    /// A block of a later format version, which is none of ours to judge.
    Newer,
    /// Damaged, or a sound block in another one's place.
    Bad(String),
    /// It cannot be read now, which says nothing of what is in it.
    Unreadable(String),
    /// Nothing that Larder makes.
    Stranger,
    /// It went away meanwhile.
    Gone,
}

/// Looks at one file: checksum over every byte, metadata, and metadata against path.
pub fn scan(dir: &CacheDir, path: &Path) -> Scanned {
    if identity_of(path).is_none() {
        return Scanned::Stranger;
    }
    let bytes = match dir.read_path(path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Scanned::Gone,
        Err(error) => return Scanned::Unreadable(error.to_string()),
    };
    judge(path, &bytes)
}

/// Judges what was read from `path`.
pub fn judge(path: &Path, bytes: &Bytes) -> Scanned {
    let described = match block::describe(bytes) {
        Ok(described) => described,
        Err(block::BlockError::NewerFormat { .. }) => return Scanned::Newer,
        Err(error) => return Scanned::Bad(error.to_string()),
    };
    match BlockMeta::parse(&described.description) {
        Ok(meta) if block_path(&meta.id) == path => Scanned::Sound(Box::new(meta)),
        Ok(meta) => Scanned::Bad(format!("it is the block of {}", meta.id)),
        Err(what) => Scanned::Bad(what),
    }
}

/// The statistics of a block's columns and its newest event time; none where it cannot be decoded.
pub fn contents(dir: &CacheDir, path: &Path) -> (Vec<ColumnStats>, Option<Timestamp>) {
    let decoded = dir.read_path(path).ok().flatten().and_then(|bytes| {
        let schema = block::describe(&bytes).ok()?.schema;
        block::decode(bytes, &schema).ok()
    });
    decoded.map_or_else(Default::default, |decoded| (block::column_stats(&decoded.batch), newest_event(&decoded.batch)))
}
