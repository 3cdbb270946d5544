//! The manifest of one cache directory, as the rest of Larder uses it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::database::{Database, ask_whether_free, set_aside};
use super::fold::{FoldReport, Offsets, fold};
use super::journal::{Claim, Listed, Reader, list};
use super::lock::ManifestLock;
use super::query::Query;
use super::rebuild::{Rebuilt, rebuild};
use super::record::BlockRow;
use crate::block::ColumnStats;
use crate::clock::Clock;
use crate::disk::{Disk, SystemDisk};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Timestamp;

/// How long somebody waits for others to finish with the manifest, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// The index of a cache directory: what its blocks are, and what happened to them.
///
/// Opening one touches nothing. DuckDB is open only while one of the methods runs, and every method
/// takes `manifest.lock` first, so any number of processes and threads may share a directory. None of
/// this is fit for the path of a request: a call takes milliseconds, and waits for others.
///
/// A damaged manifest is set aside and begun anew by whoever finds it. Until somebody calls
/// [`rebuild`](Self::rebuild), [`FoldReport::needs_rebuild`] says so.
pub struct Manifest {
    cache_dir: PathBuf,
    clock: Arc<dyn Clock>,
    disk: Arc<dyn Disk>,
    patience: Duration,
    remembered: Mutex<Remembered>,
}

/// What the last call of this process knew, so that a fold with nothing to do need not open DuckDB.
#[derive(Debug, Default)]
struct Remembered {
    /// Which file it was. Another one has other offsets.
    file: Option<Identity>,
    offsets: Offsets,
    needs_rebuild: bool,
    /// Whether what was folded no longer depends on the log beside the file.
    safe: bool,
}

impl Manifest {
    /// The manifest of `cache_dir`, which must exist once a method is called.
    pub fn new(cache_dir: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            clock,
            disk: Arc::new(SystemDisk),
            patience: PATIENCE,
            remembered: Mutex::default(),
        }
    }

    /// The same with another time to wait for the lock. Default: 10 s.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The same on a file system of one's own. What DuckDB does with its file does not go through it.
    #[must_use]
    pub fn with_disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }

    /// The DuckDB file. Do not open it in this process: that would drop DuckDB's own lock on it.
    pub fn path(&self) -> PathBuf {
        self.cache_dir.join("manifest.duckdb")
    }

    /// Brings what the journals hold into the manifest, each record exactly once.
    ///
    /// With nothing new it costs a directory listing. Journals of dead owners are removed once
    /// everything in them is safely in the manifest.
    ///
    /// # Errors
    /// `Busy` where another process or program holds the manifest for too long, `Unavailable` where
    /// the disk refuses or a newer version wrote the manifest. Nothing is lost either way: the
    /// journals are kept, and the next fold takes everything.
    pub fn fold(&self) -> Result<FoldReport> {
        let lock = self.lock()?;
        let journals = self.journals()?;
        if let Some(needs_rebuild) = self.nothing_new(&journals) {
            let safe = self.remembered().safe;
            let removed_journals = if safe { self.remove_dead(&journals) } else { 0 };
            return Ok(FoldReport { needs_rebuild, removed_journals, ..FoldReport::default() });
        }
        self.session(&lock, &journals, |_, _| Ok(())).map(|((), report)| report)
    }

    /// Folds, and finds out whether the manifest could be used where there was nothing to fold.
    ///
    /// # Errors
    /// Those of [`fold`](Self::fold); `Busy` where another program has it open at this very moment.
    pub fn probe(&self) -> Result<()> {
        let lock = self.lock()?;
        let journals = self.journals()?;
        match self.nothing_new(&journals) {
            Some(_) => ask_whether_free(&self.path(), &lock),
            None => self.session(&lock, &journals, |_, _| Ok(())).map(drop),
        }
    }

    /// Bytes of all journals that are not in the manifest yet, as far as this process knows: what others
    /// folded since this one's last call counts as well. Costs a directory listing, and takes no lock.
    ///
    /// # Errors
    /// `Unavailable` where the journals cannot be listed.
    pub fn unfolded_bytes(&self) -> Result<u64> {
        let journals = self.journals()?;
        let remembered = self.remembered();
        let read_to = |journal: &Listed| remembered.offsets.get(&journal.name).copied().unwrap_or(0);
        Ok(journals.iter().map(|journal| journal.size.saturating_sub(read_to(journal))).sum())
    }

    /// Folds, and answers questions about the result, all under one lock.
    ///
    /// # Errors
    /// Those of [`fold`](Self::fold) and of `questions`. `Corrupt` where the damage shows only while
    /// answering: the manifest is set aside then, and the next call begins a new one.
    pub fn read<T>(&self, questions: impl FnOnce(&Query<'_>) -> Result<T>) -> Result<T> {
        let lock = self.lock()?;
        let journals = self.journals()?;
        self.session(&lock, &journals, |database, report| questions(&Query::new(database, report)))
            .map(|(value, _)| value)
    }

    /// Replaces what the manifest holds of blocks by `rows`, which were read from the block files.
    ///
    /// History, views and uses are kept. `scan_began` is when reading the files began: what other
    /// processes published or removed after that, up to now, is newer than `rows`, and stays as it is.
    ///
    /// # Errors
    /// Those of [`fold`](Self::fold); nothing has changed then.
    pub fn rebuild(
        &self,
        scan_began: Timestamp,
        rows: impl IntoIterator<Item = (BlockRow, Vec<ColumnStats>)>,
    ) -> Result<Rebuilt> {
        let lock = self.lock()?;
        let journals = self.journals()?;
        let (rebuilt, _) =
            self.session(&lock, &journals, |database, _| rebuild(database, (scan_began, self.now()), rows))?;
        self.remembered().needs_rebuild = false;
        Ok(rebuilt)
    }

    /// Folds, and does `work` while nobody has the file open and the lock keeps others out.
    ///
    /// # Errors
    /// Those of [`fold`](Self::fold) and of `work`.
    #[cfg(feature = "cli")]
    pub(super) fn while_closed<T>(&self, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let lock = self.lock()?;
        let journals = self.journals()?;
        self.session(&lock, &journals, |_, _| Ok(()))?;
        work(&self.path())
    }

    fn lock(&self) -> Result<ManifestLock> {
        ManifestLock::acquire(&*self.disk, &self.cache_dir.join("manifest.lock"), self.patience)
    }

    fn journals(&self) -> Result<Vec<Listed>> {
        list(&*self.disk, &self.cache_dir).map_err(|error| {
            let message = format!("cannot list the journals of {}: check the directory", self.cache_dir.display());
            Error::with_source(ErrorKind::Unavailable, message, error)
        })
    }

    /// Opens, folds, does `work`, closes, and only then removes what is no longer needed.
    fn session<T>(
        &self,
        lock: &ManifestLock,
        journals: &[Listed],
        work: impl FnOnce(&Database<'_>, &FoldReport) -> Result<T>,
    ) -> Result<(T, FoldReport)> {
        let (database, mut report, reached) = self.open_folded(lock, journals)?;
        let done = work(&database, &report);
        let damaged = database.saw_damage();
        // A journal may go only when nothing of it depends on the log beside the file any more.
        let safe = !damaged && reached_end(journals, &reached) && database.checkpoint().is_ok();
        if let Err(error) = database.close() {
            tracing::warn!(target: "larder::manifest", %error, "closing the manifest failed; what was folded is safe");
        }
        if damaged {
            self.begin_anew(done.as_ref().err())?;
            return done.map(|value| (value, report));
        }
        self.remember(reached, report.needs_rebuild, safe);
        if safe {
            report.removed_journals = self.remove_dead(journals);
        }
        done.map(|value| (value, report))
    }

    /// Opens and folds; where the manifest turns out damaged, once more with a new one.
    fn open_folded<'lock>(
        &self,
        lock: &'lock ManifestLock,
        journals: &[Listed],
    ) -> Result<(Database<'lock>, FoldReport, Offsets)> {
        match self.try_open_folded(lock, journals) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                let aside = self.begin_anew(Some(&error))?;
                let (database, mut report, reached) = self.try_open_folded(lock, journals)?;
                report.set_aside = Some(aside);
                Ok((database, report, reached))
            }
            other => other,
        }
    }

    fn try_open_folded<'lock>(
        &self,
        lock: &'lock ManifestLock,
        journals: &[Listed],
    ) -> Result<(Database<'lock>, FoldReport, Offsets)> {
        let database = Database::open(&self.path(), lock)?;
        let mut report = FoldReport::default();
        let reached = fold(&*self.disk, &database, journals, self.now(), &mut report)?;
        Ok((database, report, reached))
    }

    fn begin_anew(&self, why: Option<&Error>) -> Result<PathBuf> {
        *self.remembered() = Remembered::default();
        let aside = set_aside(&*self.disk, &self.path(), self.now())?;
        let why = why.map(ToString::to_string).unwrap_or_default();
        tracing::error!(target: "larder::manifest", aside = %aside.display(), why,
            "manifest is damaged; set aside, beginning a new one, which has to be rebuilt from the block files");
        Ok(aside)
    }

    /// The present.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_ns(self.clock.now_ns())
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, offsets: Offsets, needs_rebuild: bool, safe: bool) {
        *self.remembered() = Remembered { file: identity(&*self.disk, &self.path()), offsets, needs_rebuild, safe };
    }

    /// Whether the journals hold nothing that this process does not know to be in the manifest; if so,
    /// whether that manifest needs a rebuild.
    ///
    /// Others may have folded more in the meantime, never less, as long as the file is the same one.
    fn nothing_new(&self, journals: &[Listed]) -> Option<bool> {
        let remembered = self.remembered();
        let same_file = remembered.file.is_some() && remembered.file == identity(&*self.disk, &self.path());
        let known = |journal: &Listed| match remembered.offsets.get(&journal.name).copied().unwrap_or(0) {
            offset if offset == journal.size => true,
            // A frame that is being written, or damage that nothing follows.
            offset => {
                Reader::open(&*self.disk, &journal.path, offset).and_then(Reader::has_frame).is_ok_and(|any| !any)
            }
        };
        (same_file && journals.iter().all(known)).then_some(remembered.needs_rebuild)
    }

    /// Removes the journals of dead owners that are wholly in the manifest. Returns how many.
    fn remove_dead(&self, journals: &[Listed]) -> u64 {
        let remembered = self.remembered();
        let mut removed = 0;
        for journal in journals {
            let Some(offset) = remembered.offsets.get(&journal.name) else { continue };
            let Ok(Claim::Dead(file)) = Claim::of(&*self.disk, &journal.path) else { continue };
            // The size is asked for under the claim, as the owner may have appended before it died.
            // Shorter, where the machine died before all that was folded was on the disk.
            let whole = file.metadata().is_ok_and(|metadata| metadata.len() <= *offset);
            if whole && self.disk.remove(&journal.path).is_ok() {
                removed += 1;
            }
        }
        removed
    }
}

impl std::fmt::Debug for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Manifest({})", self.path().display())
    }
}

/// Whether some journal has been read to its end, so that it might be removed.
fn reached_end(journals: &[Listed], reached: &Offsets) -> bool {
    journals.iter().any(|journal| reached.get(&journal.name).is_some_and(|offset| *offset >= journal.size))
}

/// Device, inode and birth: the number of a deleted file is soon given to another one.
type Identity = (u64, u64, Option<SystemTime>);

/// Asking does not open the file, which would drop DuckDB's lock in this process.
fn identity(disk: &dyn Disk, path: &Path) -> Option<Identity> {
    let metadata = disk.metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.created().ok()))
}
