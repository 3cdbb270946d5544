//! Keeping a block: encode, publish, tell the journal, remember.

use std::sync::Arc;

use super::core::Core;
use super::lookup::Wanted;
use super::memory::CachedBlock;
use crate::block::{self, BlockMeta};
use crate::error::{Error, ErrorKind};
use crate::manifest::{BlockRow, Record};
use crate::metrics::catalogue;
use crate::model::{FeatureBlock, FeatureView};
use crate::planted::{self, Bug};
use crate::store::{Generation, block_path};

impl Core {
    /// Keeps a block on disk and in memory. Where the disk does not take it, the caller still has its features.
    pub fn keep(&self, wanted: &Wanted<'_>, block: FeatureBlock, generation: Generation) -> Arc<CachedBlock> {
        let cached = Arc::new(CachedBlock::new(block, wanted.slots, generation, self.memory.used()));
        if planted::is(Bug::EmptyNotKept) && cached.block.batch.num_rows() == 0 {
            return cached;
        }
        match self.publish(wanted.view, &cached.block, generation) {
            // Values that were invalidated meanwhile answer their caller and nobody else.
            Ok(Kept::Invalidated) => self.dropped("invalidated"),
            Ok(Kept::Published) => self.memory.insert(Arc::clone(&cached)),
            Ok(Kept::DiskFull) => {
                self.dropped("disk");
                self.memory.insert(Arc::clone(&cached));
            }
            Err(error) => {
                self.io_error("publish", &error);
                self.dropped("io");
                self.memory.insert(Arc::clone(&cached));
            }
        }
        cached
    }

    /// Counts a block that was answered and is not kept.
    pub fn dropped(&self, reason: &str) {
        self.count(&catalogue::DROPPED_PUBLISHES, &[reason], 1);
    }

    fn publish(&self, view: &FeatureView, block: &FeatureBlock, generation: Generation) -> Result<Kept, Error> {
        if self.dir.free_bytes()? < self.settings().reserve() {
            if let Some(left_out) = self.repeats.left_out("reserve") {
                tracing::warn!(target: "larder::cache", reserve = self.settings().reserve(), left_out, "free disk is below the reserve: the block is not kept");
            }
            return Ok(Kept::DiskFull);
        }
        let meta = BlockMeta::of(block);
        let bytes =
            block::encode(&block.batch, &meta.description(), self.settings().compression_level).map_err(|error| {
                Error::with_source(ErrorKind::Internal, format!("block {} cannot be encoded", block.id), error)
            })?;
        let Some(published) = self.dir.publish(&block.id, &bytes, generation, || self.now())? else {
            return Ok(Kept::Invalidated);
        };
        if let Some(error) = &published.not_synced {
            self.io_error("publish", error);
        }
        self.count(&catalogue::PUBLISHED_BLOCKS, &[block.id.view.as_str()], 1);
        self.count(&catalogue::WRITTEN_BYTES, &[], bytes.len() as u64);
        // After the file: a crash in between leaves a file that the manifest does not know, never a row without its file.
        self.journal_view_once(view);
        // The row is ordered by when the file came, the file says how old its oldest values are.
        let row = BlockRow {
            created: published.at,
            newest: block.newest(),
            ..BlockRow::new(&meta, &block_path(&block.id), bytes.len() as u64)
        };
        self.tell(&[Record::Published { block: row, stats: block::column_stats(&block.batch) }]);
        Ok(Kept::Published)
    }
}

enum Kept {
    Published,
    Invalidated,
    DiskFull,
}
