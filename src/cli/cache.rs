//! A cache that is there already, opened for looking after it.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use super::session::Session;
use crate::clock::SystemClock;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{Journal, Manifest, Query, Record, ViewSummary};
use crate::model::Timestamp;
use crate::store::{CacheDir, Publish};
use crate::upkeep;

/// How long a command waits for another process that makes the manifest.
const PATIENCE: Duration = Duration::from_secs(10);

/// An existing cache: its directory, its manifest, and this process's journal.
pub struct Cache {
    /// The directory.
    pub dir: CacheDir,
    /// The manifest.
    pub manifest: Manifest,
    journal: RefCell<Journaling>,
}

#[derive(Default)]
struct Journaling {
    open: Option<Journal>,
    failed: Option<Error>,
}

impl Cache {
    /// Opens the session's cache directory, and makes none.
    ///
    /// # Errors
    /// `NotFound` where there is no cache; those of [`CacheDir::open`].
    pub fn open(session: &Session) -> Result<Self> {
        let root = &session.root;
        if !root.is_file() && !CacheDir::exists(root) {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "there is no cache at {}: give another --cache-dir, or begin one with `{}`",
                    root.display(),
                    session.command("demo")
                ),
            ));
        }
        let dir = CacheDir::open(root, Publish::Fast, &format!("larder-{}", std::process::id()))?;
        let manifest = Manifest::new(dir.root(), Arc::new(SystemClock));
        Ok(Self { dir, manifest, journal: RefCell::default() })
    }

    /// The blocks of each version of each view; none where there is no cache.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) and [`read`](Self::read).
    pub fn summaries(session: &Session) -> Result<Vec<ViewSummary>> {
        match Self::open(session) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            cache => cache?.read(session.now(), |query| query.view_summaries()),
        }
    }

    /// Asks the manifest, which is made from the block files first where nobody has done that yet.
    ///
    /// # Errors
    /// Those of [`Manifest::read`].
    pub fn read<T>(&self, now: Timestamp, questions: impl Fn(&Query<'_>) -> Result<T>) -> Result<T> {
        let ask = || self.manifest.read(|query| Ok((questions(query)?, query.report().needs_rebuild)));
        let (answers, incomplete) = ask()?;
        if !incomplete {
            return Ok(answers);
        }
        tracing::info!(target: "larder::cli", "the manifest is new: making it from the block files");
        self.rebuild(now)?;
        let (answers, incomplete) = ask()?;
        if incomplete {
            tracing::warn!(target: "larder::cli", "another process is making the manifest, which does not know every block yet: try again in a while");
        }
        Ok(answers)
    }

    /// Makes the manifest from the block files, or waits for whoever does.
    ///
    /// # Errors
    /// Those of [`upkeep::rebuild`].
    pub fn rebuild(&self, now: Timestamp) -> Result<()> {
        upkeep::rebuild(&self.dir, &self.manifest, now, PATIENCE).map(drop)
    }

    /// Writes to this process's journal, which is made by the first record.
    ///
    /// A failure costs bookkeeping that `repair` mends, so the work goes on; [`close`](Self::close) tells it.
    pub fn journal(&self, records: &[Record]) {
        let journaling = &mut *self.journal.borrow_mut();
        if let Err(error) = journaling.append(self.dir.root(), records) {
            journaling.failed = Some(error);
        }
    }

    /// Brings what was journaled into the manifest.
    ///
    /// # Errors
    /// What a journal or the manifest refused.
    pub fn close(self) -> Result<()> {
        let Journaling { open, failed } = self.journal.into_inner();
        // Closed before the fold, so that the fold can remove it.
        let wrote = open.is_some();
        drop(open);
        if wrote {
            self.manifest.fold()?;
        }
        failed.map_or(Ok(()), Err)
    }
}

impl Journaling {
    fn append(&mut self, root: &std::path::Path, records: &[Record]) -> Result<()> {
        if self.open.is_none() && !records.is_empty() {
            self.open = Some(Journal::create(root)?);
        }
        self.open.as_ref().map_or(Ok(()), |journal| journal.append(records))
    }
}
