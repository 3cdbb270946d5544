//! A definition file, and what is wrong in it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::place::{Finding, Place};

/// A file that is being read.
pub(super) struct File {
    name: Arc<Path>,
    /// The directory that holds it, from the root: what paths in it are relative to.
    pub directory: PathBuf,
    pub text: String,
    mistakes: RefCell<Vec<Finding>>,
}

impl File {
    pub fn new(name: &Path, directory: PathBuf, text: String) -> Self {
        Self { name: Arc::from(name), directory, text, mistakes: RefCell::default() }
    }

    /// Where the byte `at` stands.
    pub fn place(&self, at: usize) -> Place {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Place { file: Arc::clone(&self.name), line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
    }

    pub fn mistake(&self, at: usize, message: String) {
        self.mistakes.borrow_mut().push(Finding { place: self.place(at), message });
    }

    pub fn into_mistakes(self) -> Vec<Finding> {
        self.mistakes.into_inner()
    }
}
