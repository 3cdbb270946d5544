//! What was read of files that have not changed since.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::file::SourceFile;
use super::sheet::Columns;

/// Of how many files something is remembered.
const MOST: usize = 100_000;

/// What is true of a file for as long as nothing is written to it.
#[derive(Default)]
pub(super) struct Remembered(Mutex<HashMap<PathBuf, Known>>);

struct Known {
    /// The file as it was.
    file: SourceFile,
    columns: Option<Arc<Columns>>,
    newest: Option<Option<i64>>,
}

impl Remembered {
    /// The columns of a file.
    pub(super) fn columns(&self, file: &SourceFile) -> Option<Arc<Columns>> {
        self.lock().get(&file.path).filter(|known| known.file == *file)?.columns.clone()
    }

    pub(super) fn keep_columns(&self, file: &SourceFile, columns: &Arc<Columns>) {
        self.keep(file, |known| known.columns = Some(Arc::clone(columns)));
    }

    /// The event time of a file's newest row, whose ever it is; the inner `None` is that of a file without rows.
    pub(super) fn newest(&self, file: &SourceFile) -> Option<Option<i64>> {
        self.lock().get(&file.path).filter(|known| known.file == *file)?.newest
    }

    pub(super) fn keep_newest(&self, file: &SourceFile, newest: Option<i64>) {
        self.keep(file, |known| known.newest = Some(newest));
    }

    fn keep(&self, file: &SourceFile, keep: impl FnOnce(&mut Known)) {
        let mut known = self.lock();
        if known.len() >= MOST && !known.contains_key(&file.path) {
            known.clear();
        }
        let nothing = || Known { file: file.clone(), columns: None, newest: None };
        let entry = known.entry(file.path.clone()).or_insert_with(nothing);
        if entry.file != *file {
            *entry = nothing();
        }
        keep(entry);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Known>> {
        // Every entry is whole between any two steps.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
