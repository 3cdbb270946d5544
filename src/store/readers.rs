//! Notes beside pushed rows of who computes what from them.

use std::path::PathBuf;

use super::directory::{CacheDir, unavailable};
use super::files;
use super::layout::{all_push_readers_directory, push_reader_path, push_readers_directory};
use crate::error::Result;
use crate::model::{Fingerprint, SourceName, ViewName};

impl CacheDir {
    /// Notes that a version of a view is computed from rows that are pushed to a source. What is noted already stays as it
    /// is. When this returns, the note is on the disk.
    ///
    /// # Errors
    /// `Unavailable` where it cannot be written.
    pub fn note_push_reader(
        &self,
        source: &SourceName,
        view: (&ViewName, Fingerprint),
        what: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<()> {
        let target = self.root.join(push_reader_path(source, view));
        let failed = |error| unavailable("write", &target, error);
        // Behind a link, nobody who pushes would find it.
        let is_reached =
            target.parent().is_some_and(|above| files::link_on_the_way(&*self.disk, &self.root, above).is_none());
        if is_reached && self.disk.metadata(&target).is_ok() {
            // Whoever wrote it may have failed, or died, before it was on the disk.
            return self.sync_published(&target, false).map_err(failed);
        }
        let (what, part) = (what()?, self.part().map_err(failed)?);
        self.publish_synced(&part, &target, &what, || Ok(true)).map(drop).map_err(failed)
    }

    /// The views of which there is a note, of whichever source.
    ///
    /// # Errors
    /// `Unavailable` where they cannot be listed.
    pub fn views_of_pushed(&self) -> Result<Vec<ViewName>> {
        let directory = self.root.join(all_push_readers_directory());
        let mut views = Vec::new();
        let mut visit = |file: files::FoundFile| {
            let name = file.path.file_name().and_then(|name| name.to_str()?.split('.').next());
            views.extend(name.and_then(|name| ViewName::new(name).ok()));
        };
        files::list(&*self.disk, &self.root, &directory, &mut visit)
            .map_err(|error| unavailable("list", &directory, error))?;
        Ok(views)
    }

    /// The notes of a source, each with its path below the cache directory.
    ///
    /// # Errors
    /// `Unavailable` where they cannot be read.
    pub fn push_readers(&self, source: &SourceName) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let directory = self.root.join(push_readers_directory(source));
        let failed = |error| unavailable("read", &directory, error);
        let mut paths = Vec::new();
        files::list(&*self.disk, &self.root, &directory, &mut |file| paths.push(file.path)).map_err(failed)?;
        let mut found = Vec::new();
        for path in paths {
            if let Some(what) = files::read(&*self.disk, &self.root.join(&path)).map_err(failed)? {
                found.push((path, what.to_vec()));
            }
        }
        Ok(found)
    }
}
