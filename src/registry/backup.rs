//! All versions as one file, and back.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Registry, Version, failed, json, write};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Fingerprint;

/// The form of a backup that this code writes, and the only one that it reads.
const FORM: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Backup {
    larder_registry_backup: u32,
    /// Of the versions as JSON.
    checksum: String,
    versions: Vec<Version>,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The versions that were missing.
    pub added: Vec<u64>,
    /// How many were there already, and the same.
    pub same: u64,
}

impl Registry {
    /// Writes every version into one file, which is replaced where it exists. Returns their numbers.
    ///
    /// # Errors
    /// `NotFound` where there is no version; those of [`version`](Self::version); `Unavailable` where the file cannot
    /// be written.
    pub fn backup(&self, file: &Path) -> Result<Vec<u64>> {
        let numbers = self.numbers()?;
        if numbers.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, "there is nothing to back up: nothing was applied yet"));
        }
        let versions = numbers.iter().map(|number| self.version(*number)).collect::<Result<Vec<_>>>()?;
        let backup = Backup { larder_registry_backup: FORM, checksum: checksum(&versions)?, versions };
        let text = json(&backup)?;
        // Beside it, so that a backup from yesterday is not lost to one that fails today.
        let mut begun = file.as_os_str().to_owned();
        begun.push(format!(".{}.tmp", std::process::id()));
        let begun = PathBuf::from(begun);
        let disk = &*self.disk;
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let written = write(disk, &begun, &text)
            .and_then(|()| disk.rename(&begun, file))
            .and_then(|()| disk.sync_directory(directory));
        if let Err(error) = written {
            let _ = disk.remove(&begun);
            return Err(failed("write", file, error));
        }
        Ok(numbers)
    }

    /// Adds the versions of a backup that are missing here, in their order; all others have to be the same. Nothing is
    /// added where one differs. A restore that is cut short leaves the first versions, and is finished by another.
    ///
    /// # Errors
    /// `Corrupt` where the backup is damaged; `Invalid` where it is none, or a version here differs; those of reading
    /// and writing.
    pub fn restore(&self, file: &Path) -> Result<Restored> {
        let versions = read(file)?;
        let _lock = self.lock()?;
        let there = self.numbers()?;
        let (mut missing, mut same, mut differing) = (Vec::new(), 0, Vec::new());
        for version in versions {
            match there.contains(&version.number).then(|| self.version(version.number)).transpose()? {
                None => missing.push(version),
                Some(known) if known == version => same += 1,
                Some(_) => differing.push(version.number.to_string()),
            }
        }
        if !differing.is_empty() {
            return Err(Error::invalid(format!(
                "in {} the definitions of version {} are others than in {}: nothing was restored; restore into \
                 another cache with --cache-dir",
                self.directory.display(),
                differing.join(", "),
                file.display()
            )));
        }
        self.publish(&missing)?;
        Ok(Restored { added: missing.iter().map(|version| version.number).collect(), same })
    }
}

fn checksum(versions: &[Version]) -> Result<String> {
    Ok(Fingerprint::of(&json(&versions)?).to_string())
}

/// The versions of a backup, in their order.
fn read(file: &Path) -> Result<Vec<Version>> {
    let text = fs::read(file).map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Unavailable,
        };
        Error::with_source(kind, format!("cannot read {}", file.display()), error)
    })?;
    let damaged = |why: String| {
        let what = format!("{} is no backup of a registry, or is damaged: {why}; take another", file.display());
        Error::new(ErrorKind::Corrupt, what)
    };
    let mut backup: Backup = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    if backup.larder_registry_backup != FORM {
        let form = backup.larder_registry_backup;
        return Err(Error::invalid(format!("{} has form {form}: use a newer larder", file.display())));
    }
    if checksum(&backup.versions)? != backup.checksum {
        return Err(damaged("its checksum is another".to_owned()));
    }
    backup.versions.sort_by_key(|version| version.number);
    Ok(backup.versions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::registry::DefinitionFile;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn with_versions(texts: &[&str]) -> (tempfile::TempDir, Registry) {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(&dir.path().join("cache"));
        for (base, text) in (0..).zip(texts) {
            let file = DefinitionFile { path: "/definitions/a.toml".into(), text: (*text).to_owned() };
            registry.add(base, vec![file], NOW, "ada").unwrap();
        }
        (dir, registry)
    }

    fn versions(registry: &Registry) -> Vec<Version> {
        registry.numbers().unwrap().into_iter().map(|number| registry.version(number).unwrap()).collect()
    }

    #[test]
    fn what_was_backed_up_comes_back() {
        let (dir, registry) = with_versions(&["# one", "# two\n\"", "# three"]);
        let file = dir.path().join("backup.json");
        assert_eq!(registry.backup(&file).unwrap(), [1, 2, 3]);
        let other = Registry::new(&dir.path().join("other"));
        assert_eq!(other.restore(&file).unwrap(), Restored { added: vec![1, 2, 3], same: 0 });
        assert_eq!(versions(&other), versions(&registry));
        fs::remove_file(other.path(2)).unwrap();
        assert_eq!(other.restore(&file).unwrap(), Restored { added: vec![2], same: 2 });
        let mut names: Vec<_> = fs::read_dir(&other.directory).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".lock", "000001.json", "000002.json", "000003.json"], "nothing else is left");
    }

    #[test]
    fn nothing_is_restored_where_one_version_differs() {
        let (dir, registry) = with_versions(&["# one", "# two", "# three"]);
        let file = dir.path().join("backup.json");
        registry.backup(&file).unwrap();
        let (_other_dir, other) = with_versions(&["# one", "# another"]);
        let error = other.restore(&file).unwrap_err();
        assert!(error.to_string().contains("of version 2 are others"), "{error}");
        assert_eq!((error.kind(), other.numbers().unwrap()), (ErrorKind::Invalid, vec![1, 2]));
    }

    #[test]
    fn a_damaged_backup_restores_nothing() {
        let (dir, registry) = with_versions(&["# one"]);
        let file = dir.path().join("backup.json");
        registry.backup(&file).unwrap();
        let whole = fs::read_to_string(&file).unwrap();
        let other = Registry::new(&dir.path().join("other"));
        for damaged in [whole.replace("# one", "# 0ne"), whole[..whole.len() / 2].to_owned(), String::new()] {
            fs::write(&file, damaged).unwrap();
            let error = other.restore(&file).unwrap_err();
            assert_eq!((error.kind(), other.numbers().unwrap()), (ErrorKind::Corrupt, vec![]), "{error}");
        }
        fs::write(&file, whole.replace("_backup\": 1", "_backup\": 2")).unwrap();
        assert!(other.restore(&file).unwrap_err().to_string().contains("newer larder"));
    }

    #[test]
    fn a_backup_that_fails_leaves_the_one_before() {
        let (dir, registry) = with_versions(&["# one"]);
        let file = dir.path().join("backup.json");
        registry.backup(&file).unwrap();
        let whole = fs::read(&file).unwrap();
        fs::write(registry.path(1), "{").unwrap();
        assert_eq!(registry.backup(&file).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(fs::read(&file).unwrap(), whole);
        assert_eq!(registry.backup(&dir.path().join("none/b.json")).unwrap_err().kind(), ErrorKind::Corrupt);
        let none = Registry::new(&dir.path().join("other"));
        assert_eq!(none.backup(&file).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn of_those_who_restore_and_apply_at_once_nobody_loses_a_version() {
        let (dir, registry) = with_versions(&["# one", "# two", "# three"]);
        let file = dir.path().join("backup.json");
        registry.backup(&file).unwrap();
        for round in 0..20 {
            let other = Registry::new(&dir.path().join(format!("other{round}")));
            let restore = || other.restore(&file).map(|restored| restored.added);
            let apply = || {
                let file = DefinitionFile { path: "/definitions/a.toml".into(), text: "# applied".to_owned() };
                // Quicker than a restore, it would win every time.
                if round % 2 == 0 { other.add(0, vec![file], NOW, "ben").map(drop) } else { Err(Error::invalid("no")) }
            };
            let ([first, second], applied) = std::thread::scope(|threads| {
                let restores = [threads.spawn(restore), threads.spawn(restore)];
                let applied = threads.spawn(apply).join().unwrap();
                (restores.map(|thread| thread.join().unwrap()), applied)
            });
            if applied.is_ok() {
                assert!(first.is_err() && second.is_err(), "{first:?} {second:?}");
                assert_eq!(other.numbers().unwrap(), [1]);
            } else {
                assert_eq!(first.unwrap().len() + second.unwrap().len(), 3, "one of them added all");
                assert_eq!(versions(&other), versions(&registry));
            }
        }
    }
}
