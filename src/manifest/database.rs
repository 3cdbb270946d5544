//! Opening, closing and setting aside the DuckDB file. Nothing else touches it.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use duckdb::{Config, Connection};
use rustix::process::{FlockType, fcntl_getlk};

use super::failure::{classify, held};
use super::lock::ManifestLock;
use super::schema;
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Timestamp;

/// How long a file that a stranger holds is asked for.
const STRANGER_PATIENCE: Duration = Duration::from_millis(500);
const STRANGER_PAUSE: Duration = Duration::from_millis(50);
/// More files than DuckDB has open at once.
const DESCRIPTORS: usize = 16;
/// How many damaged manifests are kept for somebody to look at.
const KEPT: usize = 2;
/// What DuckDB keeps beside its file.
const COMPANIONS: [&str; 4] = ["", ".wal", ".wal.checkpoint", ".wal.recovery"];

/// The opened manifest. Its tables exist.
///
/// It borrows the lock, so that it cannot be open without it: opened twice in one process, DuckDB
/// would lose rows without a word.
#[derive(Debug)]
pub(super) struct Database<'lock> {
    connection: Connection,
    path: PathBuf,
    /// Whether a call failed because the file is damaged.
    damaged: Cell<bool>,
    _lock: &'lock ManifestLock,
}

impl<'lock> Database<'lock> {
    /// Opens the manifest at `path`, or begins it.
    ///
    /// # Errors
    /// `Busy` where another program holds it, `Corrupt` where it is damaged, `Unavailable` where a
    /// newer version wrote it or the disk refuses.
    pub(super) fn open(path: &Path, lock: &'lock ManifestLock) -> Result<Self> {
        refuse_links(path)?;
        let connection = connect(path)?;
        // DuckDB makes its file as the umask says. The directory keeps others out already, so a
        // file system that knows no modes is no reason to fail.
        let _ = std::fs::set_permissions(path, Permissions::from_mode(0o600));
        schema::prepare(&connection, path)?;
        Ok(Self { connection, path: path.to_owned(), damaged: Cell::new(false), _lock: lock })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs statements that return nothing of interest.
    pub(super) fn run(&self, doing: &str, sql: &str) -> Result<()> {
        self.connection.execute_batch(sql).map_err(|error| self.failed(doing, error))
    }

    /// The error for a failed call on this file.
    pub(super) fn failed(&self, doing: &str, error: duckdb::Error) -> Error {
        let error = classify(&self.path, doing, error);
        self.damaged.set(self.damaged.get() || error.kind() == ErrorKind::Corrupt);
        error
    }

    /// Whether some call so far has met damage.
    pub(super) fn saw_damage(&self) -> bool {
        self.damaged.get()
    }

    /// Does `work` in one transaction, which is rolled back where it fails.
    pub(super) fn transaction<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.run("beginning a transaction", "BEGIN")?;
        let done = work().and_then(|value| self.run("committing", "COMMIT").map(|()| value));
        if done.is_err() {
            // Fails where the commit itself failed and the transaction is over; nothing is open either way.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        done
    }

    /// Writes everything into the file itself, so that no log beside it is needed any more.
    pub(super) fn checkpoint(&self) -> Result<()> {
        self.run("writing a checkpoint", "CHECKPOINT")
    }

    pub(super) fn close(self) -> Result<()> {
        let path = self.path;
        self.connection.close().map_err(|(_, error)| classify(&path, "closing", error))
    }
}

/// DuckDB follows links, and writes to whatever has the name. Asking does not open the file.
fn refuse_links(path: &Path) -> Result<()> {
    for companion in COMPANIONS {
        let file = with_suffix(path, companion);
        let Ok(metadata) = std::fs::symlink_metadata(&file) else { continue };
        let user = rustix::process::geteuid().as_raw();
        let wrong = if !metadata.is_file() || metadata.nlink() > 1 {
            "is a link, or has a second name elsewhere: remove it".to_owned()
        } else if metadata.uid() != user {
            format!("belongs to user {}, this process runs as user {user}: give it to that one", metadata.uid())
        } else {
            continue;
        };
        return Err(Error::new(ErrorKind::Unavailable, format!("{} {wrong}", file.display())));
    }
    Ok(())
}

fn connect(path: &Path) -> Result<Connection> {
    ask_for_descriptors().map_err(|error| {
        let what =
            "the manifest needs file descriptors, and this process has hardly any left: raise its limit (ulimit -n)";
        Error::with_source(ErrorKind::Unavailable, what, error)
    })?;
    let begun = Instant::now();
    loop {
        let opened = config().and_then(|config| Connection::open_with_flags(path, config));
        match opened.map_err(|error| classify(path, "opening", error)) {
            Err(error) if error.kind() == ErrorKind::Busy && begun.elapsed() < STRANGER_PATIENCE => {
                std::thread::sleep(STRANGER_PAUSE);
            }
            other => return other,
        }
    }
}

/// That there are descriptors for all that DuckDB opens. Where it gets none it ends the process, this one, in the middle.
fn ask_for_descriptors() -> std::io::Result<()> {
    let taken: std::io::Result<Vec<File>> = (0..DESCRIPTORS).map(|_| File::open("/dev/null")).collect();
    taken.map(drop)
}

/// Whether DuckDB could open the file now: asks for its `fcntl` lock and takes none, so that nobody is kept out.
///
/// Closing a file drops all such locks that this process has on it. The borrowed lock says that it has none.
///
/// # Errors
/// `Busy` where another program has it open; `Unavailable` where it cannot be looked at.
pub(super) fn ask_whether_free(path: &Path, _lock: &ManifestLock) -> Result<()> {
    let asked = File::open(path).and_then(|file| Ok(fcntl_getlk(file, &FlockType::WriteLock.into())?));
    match asked {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(held(path)),
        Err(error) => {
            let message = format!("cannot look at {}: check its owner", path.display());
            Err(Error::with_source(ErrorKind::Unavailable, message, error))
        }
    }
}

/// Modest, because this runs beside a trading service; and deaf to the network and to extensions.
fn config() -> duckdb::Result<Config> {
    Config::default()
        .threads(2)?
        .max_memory("512MB")?
        .with("preserve_insertion_order", "false")?
        .enable_autoload_extension(false)
}

/// Renames the manifest with its log, so that a new one can be begun. Returns where the old one is.
///
/// The database must be closed. The newest two that were set aside are kept.
pub(super) fn set_aside(disk: &dyn Disk, path: &Path, now: Timestamp) -> Result<PathBuf> {
    let stamp: String = now.to_string().chars().filter(|c| !matches!(c, ':' | '-')).collect();
    let aside = with_suffix(path, &format!(".damaged-{stamp}"));
    for companion in COMPANIONS {
        let from = with_suffix(path, companion);
        match disk.rename(&from, &with_suffix(&aside, companion)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let message = format!("cannot set aside the damaged {}: check the disk and its owner", from.display());
                return Err(Error::with_source(ErrorKind::Unavailable, message, error));
            }
            _ => {}
        }
    }
    forget_oldest(disk, path);
    Ok(aside)
}

/// Keeps only the newest damaged manifests. One that cannot be removed is left for the next time.
fn forget_oldest(disk: &dyn Disk, path: &Path) {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return };
    let prefix = format!("{}.damaged-", name.to_string_lossy());
    let mut damaged: Vec<_> = disk
        .list(directory)
        .unwrap_or_default()
        .into_iter()
        .filter(|name| name.to_str().is_some_and(|name| name.starts_with(&prefix) && !name.contains(".wal")))
        .collect();
    // The time in the name is written so that it sorts.
    damaged.sort();
    for old in damaged.iter().rev().skip(KEPT) {
        for companion in COMPANIONS {
            let _ = disk.remove(&with_suffix(&directory.join(old), companion));
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
