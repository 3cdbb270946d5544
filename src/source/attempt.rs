//! Reading files that somebody may be writing.

use std::io;
use std::path::{Path, PathBuf};

use super::engine::{Lease, lease};
use super::file::{Opened, SourceFile};
use crate::definition::SourceDefinition;
use crate::error::{Error, ErrorKind, Result};

/// How often files are read that change while they are read.
const ATTEMPTS: usize = 3;

/// One of several attempts.
pub(super) struct Attempt {
    pub(super) lease: Lease,
    read: Vec<SourceFile>,
    vanished: Option<PathBuf>,
}

impl Attempt {
    pub(super) fn open(&mut self, source: &SourceDefinition, path: &Path) -> Result<Opened> {
        match Opened::new(path) {
            Ok(opened) => {
                self.read.push(opened.was.clone());
                Ok(opened)
            }
            Err(error) => {
                if error.kind() == io::ErrorKind::NotFound {
                    self.vanished = Some(path.to_owned());
                }
                Err(unreadable(source, path, error))
            }
        }
    }

    /// A file that is not what it was when it was opened.
    fn changed(self) -> Option<PathBuf> {
        let changed = |was: &SourceFile| SourceFile::at(&was.path).ok().as_ref() != Some(was);
        self.vanished.or_else(|| self.read.into_iter().find(changed).map(|was| was.path))
    }
}

/// What `read` returns while no file that it read changed: then neither its rows nor its errors are half of one
/// version and half of another.
pub(super) fn steadily<T>(source: &SourceDefinition, mut read: impl FnMut(&mut Attempt) -> Result<T>) -> Result<T> {
    let mut last = PathBuf::new();
    for _ in 0..ATTEMPTS {
        let mut attempt = Attempt { lease: lease()?, read: Vec::new(), vanished: None };
        let done = read(&mut attempt);
        match attempt.changed() {
            None => return done,
            Some(path) => last = path,
        }
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        format!(
            "source {}: {} changed each of {ATTEMPTS} times it was read: retry, and write files elsewhere and rename \
             them into place",
            source.name,
            last.display()
        ),
    ))
}

pub(super) fn unreadable(source: &SourceDefinition, path: &Path, error: io::Error) -> Error {
    let message = format!("source {}: cannot open {}: check the file and its owner", source.name, path.display());
    Error::with_source(ErrorKind::Unavailable, message, error)
}
