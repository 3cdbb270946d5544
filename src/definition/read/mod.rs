//! Definition files as definitions.
//!
//! Reading goes on after a mistake, so that one reading finds all of them.

mod check;
mod collection;
mod feature;
mod file;
mod indicator;
mod naming;
mod nearest;
mod service;
mod source;
mod table;
mod value;
mod view;

use std::path::{Path, PathBuf};

use thiserror::Error;
use toml::de::DeTable;

use self::collection::{Collection, Section};
use self::file::File;
use self::table::Table;
use super::definitions::Definitions;
use super::place::Finding;
use super::template::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{EntityName, FeatureName, ServiceName, SourceName, ViewName};

/// Why definitions cannot be read.
#[derive(Debug, Clone, Error)]
pub enum ReadError {
    /// A directory or file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Error),
    /// There are mistakes: all that were found, in the order of places.
    #[error("{}", listed(.0))]
    Mistakes(Vec<Finding>),
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unreadable(error) => error,
            ReadError::Mistakes(_) => Self::invalid(error.to_string()),
        }
    }
}

/// One line per mistake.
fn listed(mistakes: &[Finding]) -> String {
    const MOST: usize = 50;
    let mut lines: Vec<_> = mistakes.iter().take(MOST).map(Finding::to_string).collect();
    if let Some(more) = mistakes.len().checked_sub(MOST).filter(|more| *more > 0) {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

impl Definitions {
    /// Reads the files `*.toml` of `directory` in the order of their names. Variables that are named in them are
    /// looked up in `environment` when they are needed.
    ///
    /// # Errors
    /// `Mistakes` with every one that was found, or `Unreadable` where the directory has no such file or one
    /// cannot be read.
    pub fn read(directory: &Path, environment: Environment) -> Result<Self, ReadError> {
        let files = list(directory)?.into_iter().map(|name| {
            let text = std::fs::read_to_string(&name).map_err(|error| unreadable(&name, error))?;
            Ok((name, text))
        });
        Self::of_texts(files.collect::<Result<Vec<_>>>()?, environment)
    }

    /// The same of files with their names and what is in them.
    pub(super) fn of_texts(
        files: impl IntoIterator<Item = (PathBuf, String)>,
        environment: Environment,
    ) -> Result<Self, ReadError> {
        let mut collection = Collection::new(environment);
        let mut whole = true;
        for (name, text) in files {
            let directory = name.parent().unwrap_or(Path::new(""));
            let directory = std::path::absolute(directory.join(".")).map_err(|error| unreadable(&name, error))?;
            let file = File::new(&name, directory, text);
            whole &= read_file(&file, &mut collection);
            collection.mistakes.extend(file.into_mistakes());
        }
        // What a broken file defines is not known, so nothing can be said of what mentions it.
        if whole {
            let found = check::check(&collection);
            collection.mistakes.extend(found);
        }
        finish(collection)
    }
}

/// The definition files, in the order of their names.
fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory).map_err(|error| unreadable(directory, error))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(directory, error))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        let message = format!("{} holds no definitions: put a file *.toml into it", directory.display());
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    files.sort();
    Ok(files)
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::InvalidData => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    };
    Error::with_source(kind, format!("cannot read the definitions in {}", path.display()), error)
}

/// Reads one file into the collection; `false` where it is no TOML.
fn read_file(file: &File, collection: &mut Collection) -> bool {
    let (root, errors) = DeTable::parse_recoverable(&file.text);
    for error in &errors {
        let at = error.span().map_or(0, |span| span.start);
        file.mistake(at, format!("this is not TOML: {}", error.message()));
    }
    if errors.is_empty() {
        let root = Table::new(file, "definitions".to_owned(), 0, root.get_ref());
        for section in Section::TABLES {
            let Some(mut table) = root.table(section.key()) else { continue };
            for (name, at, value) in table.entries() {
                let what = format!("{} \"{name}\"", section.word());
                if let Some(table) = Table::of(file, what, at, value) {
                    define(section, name, table, collection);
                }
            }
        }
    }
    errors.is_empty()
}

/// Reads the definition that `table` holds into the collection.
fn define(section: Section, name: &str, mut table: Table<'_>, collection: &mut Collection) {
    if !collection.declare(section, name, table.file.place(table.at)) {
        table.ignore_rest();
        return;
    }
    match section {
        Section::Entity => {
            let Some(name) = named(name, EntityName::new, &mut table) else { return };
            let read = view::entity(name.clone(), table);
            collection.definitions.entities.extend(read.map(|read| (name, read)));
        }
        Section::Source => {
            let Some(name) = named(name, SourceName::new, &mut table) else { return };
            let read = source::source(name.clone(), table);
            collection.definitions.sources.extend(read.map(|read| (name, read)));
        }
        Section::View => {
            let Some(name) = named(name, ViewName::new, &mut table) else { return };
            let read = view::view(name.clone(), table, collection);
            collection.definitions.views.extend(read.map(|read| (name, read)));
        }
        Section::OnDemand => {
            let Some(name) = named(name, FeatureName::new, &mut table) else { return };
            let read = service::on_demand(name.clone(), table, collection);
            collection.definitions.on_demand.extend(read.map(|read| (name, read)));
        }
        Section::Service => {
            let Some(name) = named(name, ServiceName::new, &mut table) else { return };
            let read = service::service(name.clone(), table, collection);
            collection.definitions.services.extend(read.map(|read| (name, read)));
        }
        // Views read their features themselves.
        Section::Feature => {}
    }
}

fn named<N>(name: &str, new: fn(&str) -> Result<N>, table: &mut Table<'_>) -> Option<N> {
    let checked = new(name).map_err(|error| table.file.mistake(table.at, error.to_string()));
    if checked.is_err() {
        table.ignore_rest();
    }
    checked.ok()
}

/// The definitions, where there is no mistake in them.
fn finish(collection: Collection) -> Result<Definitions, ReadError> {
    let Collection { mut definitions, mut mistakes, .. } = collection;
    if !mistakes.is_empty() {
        mistakes.sort();
        return Err(ReadError::Mistakes(mistakes));
    }
    definitions.warnings = definitions.views.values().flat_map(naming::warnings).collect();
    definitions.warnings.sort();
    Ok(definitions)
}
