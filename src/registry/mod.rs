//! Definitions that were applied, version by version.
//!
//! Each version is a file `<cache dir>/registry/<number>.json` that never changes: what was in the definition files,
//! when and by whom it was applied. They do not live in the manifest, because that can be made again from the blocks
//! and definitions cannot. Whoever adds versions locks the file `.lock` beside them; readers need no lock.

mod backup;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::definition::{Definitions, Environment};
use crate::disk::{Disk, Open, SystemDisk};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Fingerprint, Timestamp};
use crate::store::files::{self, Publish};

pub use backup::Restored;

const DIRECTORY: &str = "registry";
const LOCK: &str = ".lock";
/// How long somebody waits for others who add versions, and between two tries.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

/// The versions of a cache directory.
#[derive(Debug, Clone)]
pub struct Registry {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
}

/// Definitions as they were applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number, from 1.
    pub number: u64,
    /// When it was applied.
    pub applied: Timestamp,
    /// Who applied it.
    pub by: String,
    /// The definition files.
    pub files: Vec<DefinitionFile>,
}

/// One definition file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionFile {
    /// Where it was. Relative paths in it begin in its directory.
    pub path: PathBuf,
    /// What was in it.
    pub text: String,
}

/// A version as it lies in its file.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    version: Version,
    /// Of the version as JSON; none where an older larder wrote it.
    checksum: Option<String>,
}

impl Stored {
    fn new(version: Version) -> Result<Self> {
        Ok(Self { checksum: Some(Fingerprint::of(&json(&version)?).to_string()), version })
    }
}

impl Version {
    /// What its files define.
    ///
    /// # Errors
    /// `Invalid` where they hold a mistake, as after an upgrade that allows less.
    pub fn definitions(&self, environment: Environment) -> Result<Definitions> {
        let files = self.files.iter().map(|file| (file.path.clone(), file.text.clone()));
        Ok(Definitions::of_texts(files, environment)?)
    }
}

impl Registry {
    /// That of the cache in `cache_dir`, which need not have one yet.
    pub fn new(cache_dir: &Path) -> Self {
        Self::on(Arc::new(SystemDisk), cache_dir)
    }

    /// The same on a file system of one's own.
    pub fn on(disk: Arc<dyn Disk>, cache_dir: &Path) -> Self {
        Self { disk, directory: cache_dir.join(DIRECTORY) }
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The numbers of its versions, in order.
    ///
    /// # Errors
    /// `Unavailable` where the directory cannot be read.
    pub fn numbers(&self) -> Result<Vec<u64>> {
        self.refuse_others()?;
        let names =
            files::names(&*self.disk, &self.directory).map_err(|error| failed("read", &self.directory, error))?;
        let number = |name: &OsString| name.to_str()?.strip_suffix(".json")?.parse::<u64>().ok();
        let mut numbers: Vec<_> = names.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The latest version.
    ///
    /// # Errors
    /// As [`numbers`](Self::numbers) and [`version`](Self::version).
    pub fn latest(&self) -> Result<Option<Version>> {
        self.numbers()?.last().map(|number| self.version(*number)).transpose()
    }

    /// The version of this number.
    ///
    /// # Errors
    /// `NotFound` where there is none, naming those that there are; `Corrupt` where its file is damaged.
    pub fn version(&self, number: u64) -> Result<Version> {
        let path = self.path(number);
        let text = files::read(&*self.disk, &path).map_err(|error| failed("read", &path, error))?;
        let text = text.ok_or_else(|| self.no_such(number))?;
        let damaged = |why: String| {
            let what = format!(
                "{} is damaged: remove it, then `larder registry restore` a backup or apply again",
                path.display()
            );
            Error::with_source(ErrorKind::Corrupt, what, why)
        };
        let Stored { version, checksum } = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        let other = || damaged("its checksum is another".to_owned());
        if checksum.is_some() && checksum != Stored::new(version.clone())?.checksum {
            return Err(other());
        }
        // A file in the place of another one.
        if version.number == number { Ok(version) } else { Err(damaged(format!("it is version {}", version.number))) }
    }

    /// Adds a version after `base`, which has to be the latest one (0 where there is none yet). All of it is there or
    /// nothing, whatever happens in between.
    ///
    /// # Errors
    /// `Busy` where somebody else has added a version since; `Unavailable` where it cannot be written.
    pub fn add(&self, base: u64, files: Vec<DefinitionFile>, now: Timestamp, by: &str) -> Result<Version> {
        let version = Version { number: base + 1, applied: now, by: by.to_owned(), files };
        let _lock = self.lock()?;
        self.publish(std::slice::from_ref(&version)).map(|()| version)
    }

    /// Makes a version that is there survive a crash of the machine: whoever added it may have died before it did.
    ///
    /// # Errors
    /// Those of [`version`](Self::version); `Unavailable` where the directory cannot be synced.
    pub fn confirm(&self, number: u64) -> Result<()> {
        let _lock = self.lock()?;
        self.version(number)?;
        self.sync().map_err(|error| failed("write", &self.directory, error))
    }

    /// Makes the names of the versions survive a crash of the machine, with that of the directory, which may be new.
    fn sync(&self) -> io::Result<()> {
        let mut directories = self.directory.ancestors().take(2);
        directories.try_for_each(|directory| self.disk.sync_directory(directory))
    }

    /// Keeps everybody else from adding versions until it is dropped; makes the directory.
    fn lock(&self) -> Result<File> {
        self.refuse_others()?;
        self.disk.make_directory(&self.directory).map_err(|error| failed("make", &self.directory, error))?;
        let path = self.directory.join(LOCK);
        let lock = self.disk.open(&path, Open::Shared).map_err(|error| failed("open", &path, error))?;
        let begun = Instant::now();
        while !self.disk.try_lock(&lock, &path).map_err(|error| failed("lock", &path, error))? {
            if begun.elapsed() > PATIENCE {
                let what =
                    format!("{} was held by another process for {PATIENCE:?}: retry after a moment", path.display());
                return Err(Error::new(ErrorKind::Busy, what));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(lock)
    }

    /// A link leads out of the cache, and a file holds no versions.
    fn refuse_others(&self) -> Result<()> {
        match self.disk.metadata(&self.directory) {
            Ok(metadata) if !metadata.is_dir() => {
                Err(failed("use", &self.directory, io::Error::other("it is a link or a file: remove it")))
            }
            _ => Ok(()),
        }
    }

    /// Writes versions, then gives them their names in this order. When this returns, they are on the disk.
    fn publish(&self, versions: &[Version]) -> Result<()> {
        // Threads and processes each have their own.
        static BEGUN: AtomicU64 = AtomicU64::new(0);
        let mut begun = Begun(&*self.disk, Vec::new());
        for version in versions {
            let number = BEGUN.fetch_add(1, Ordering::Relaxed);
            let path = self.directory.join(format!(".{}-{number}.tmp", std::process::id()));
            begun.1.push((path.clone(), self.path(version.number)));
            let text = json(&Stored::new(version.clone())?)?;
            write(&*self.disk, &path, &text).map_err(|error| failed("write", &path, error))?;
        }
        for (begun, path) in &begun.1 {
            // A link and no rename: it fails where the number is taken.
            self.disk.link(begun, path).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Error::new(
                    ErrorKind::Busy,
                    format!("somebody else has made {} meanwhile: look at the plan again", path.display()),
                ),
                _ => failed("write", path, error),
            })?;
        }
        self.sync().map_err(|error| {
            // They may be there without being on the disk, which nobody would see.
            for (_, path) in &begun.1 {
                let _ = self.disk.remove(path);
            }
            failed("write", &self.directory, error)
        })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:06}.json"))
    }

    fn no_such(&self, number: u64) -> Error {
        let known = match self.numbers().unwrap_or_default().as_slice() {
            [] => "nothing was applied yet".to_owned(),
            [only] => format!("there is only {only}"),
            [first, .., last] => format!("there are {first} to {last}"),
        };
        Error::new(ErrorKind::NotFound, format!("there is no version {number} of the definitions: {known}"))
    }
}

fn failed(doing: &str, path: &Path, error: io::Error) -> Error {
    Error::with_source(ErrorKind::Unavailable, format!("cannot {doing} {}", path.display()), error)
}

/// Files that were begun, with the names that they get; what is left of them is nobody's version.
struct Begun<'a>(&'a dyn Disk, Vec<(PathBuf, PathBuf)>);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        for (begun, _) in &self.1 {
            let _ = self.0.remove(begun);
        }
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value)
        .map_err(|error| Error::with_source(ErrorKind::Internal, "definitions cannot be written as JSON", error))
}

/// Writes a file of this process's own, for its owner alone.
fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Left over by one of the same number, or a link that somebody who knew the name put there.
    files::remove(disk, path)?;
    files::write_part(disk, path, bytes, Publish::Durable)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(text: &str) -> DefinitionFile {
        DefinitionFile { path: "/definitions/a.toml".into(), text: text.to_owned() }
    }

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    #[test]
    fn versions_are_kept_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path());
        assert_eq!(registry.latest().unwrap(), None);
        let first = registry.add(0, vec![file("# one")], NOW, "ada").unwrap();
        let second = registry.add(1, vec![file("# two")], NOW, "ben").unwrap();
        assert_eq!(registry.numbers().unwrap(), [1, 2]);
        assert_eq!(registry.version(1).unwrap(), first);
        assert_eq!(registry.latest().unwrap(), Some(second));
    }

    #[test]
    fn only_their_owner_may_look_at_them() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        Registry::new(dir.path()).add(0, vec![file("# one")], NOW, "ada").unwrap();
        let mode = fs::metadata(dir.path().join("registry")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn of_two_at_once_one_is_told_to_look_again() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path());
        let apply = |by: &'static str| {
            let registry = registry.clone();
            std::thread::spawn(move || registry.add(0, vec![file(by)], NOW, by).map_err(|error| error.kind()))
        };
        let done: Vec<_> = ["ada", "ben", "cat"].map(apply).into_iter().map(|thread| thread.join().unwrap()).collect();
        let won: Vec<_> = done.iter().flatten().collect();
        assert_eq!(won.len(), 1, "{done:?}");
        assert!(done.iter().filter_map(|done| done.as_ref().err()).all(|kind| *kind == ErrorKind::Busy));
        assert_eq!(registry.version(1).unwrap(), *won[0]);
    }

    #[test]
    fn a_version_that_was_never_finished_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path());
        registry.add(0, vec![file("# one")], NOW, "ada").unwrap();
        fs::write(dir.path().join("registry/.77.tmp"), "{").unwrap();
        assert_eq!(registry.numbers().unwrap(), [1]);
    }

    #[test]
    fn wherever_a_version_is_damaged_it_is_refused_or_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path());
        let right = registry.add(0, vec![file("[view.v]\nwindow = 14")], NOW, "ada").unwrap();
        let path = dir.path().join("registry/000001.json");
        let good = fs::read(&path).unwrap();
        let look = |bytes: &[u8], what: &str| {
            fs::write(&path, bytes).unwrap();
            match registry.version(1) {
                Ok(version) => assert_eq!(version, right, "{what}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}");
                    assert!(error.to_string().contains("000001.json is damaged"), "{what}: {error}");
                }
            }
        };
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                look(&bad, &format!("byte {at} bit {bit}"));
            }
            look(&good[..at], &format!("cut at {at}"));
        }
        eprintln!("{} damaged versions of definitions: 0 others taken for them", good.len() * 9);
    }

    #[test]
    fn a_link_or_a_pipe_in_the_place_of_a_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path());
        registry.add(0, vec![file("# one")], NOW, "ada").unwrap();
        let (path, elsewhere) = (dir.path().join("registry/000001.json"), dir.path().join("elsewhere"));
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        let refused = registry.version(1).unwrap_err();
        assert!(refused.kind() == ErrorKind::Unavailable && refused.to_string().contains("000001.json"), "{refused}");
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        assert_eq!(registry.version(1).unwrap_err().kind(), ErrorKind::Unavailable, "and nobody waits for a writer");
    }

    #[test]
    fn a_version_that_an_older_larder_wrote_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path());
        let right = registry.add(0, vec![file("# one")], NOW, "ada").unwrap();
        fs::write(dir.path().join("registry/000001.json"), json(&right).unwrap()).unwrap();
        assert_eq!(registry.version(1).unwrap(), right);
    }

    #[test]
    fn what_is_not_there_or_damaged_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path());
        let none = registry.version(3).unwrap_err();
        assert_eq!((none.kind(), none.to_string().contains("nothing was applied yet")), (ErrorKind::NotFound, true));
        registry.add(0, vec![file("# one")], NOW, "ada").unwrap();
        assert!(registry.version(3).unwrap_err().to_string().contains("there is only 1"));
        fs::write(dir.path().join("registry/000001.json"), "{\"number\": 1").unwrap();
        let damaged = registry.latest().unwrap_err();
        assert_eq!(damaged.kind(), ErrorKind::Corrupt);
        assert!(damaged.to_string().contains("000001.json is damaged"), "{damaged}");
    }
}
