//! `larder registry`: the versions of the definitions.

mod diff;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use self::diff::DiffFacts;
use super::changes::{Change, Changes};
use super::failure::Failure;
use super::page::{Align, Page, plain};
use super::quantity;
use super::report::Report;
use super::session::Session;
use crate::definition::{Definitions, Environment};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Timestamp;
use crate::registry::{Registry, Restored, Version};
use crate::store::{CacheDir, Publish};

const EXAMPLES: &str = "\
Examples:
  larder registry history
  larder registry diff 3 4
  larder registry dump --version 3 old_features
  larder registry backup /backup/registry.json
  larder registry restore /backup/registry.json";

/// Look at the versions of the definitions, and keep them safe
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the versions: when, by whom, how many views changed
    History,
    /// Write the definition files of a version into an empty or new directory
    Dump {
        /// Which version [default: the latest]
        #[arg(long, value_name = "N")]
        version: Option<u64>,
        /// The directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Show what differs between two versions
    Diff {
        /// From this version [default: the one before B]
        #[arg(value_name = "A")]
        from: Option<u64>,
        /// To this version [default: the latest]
        #[arg(value_name = "B")]
        to: Option<u64>,
    },
    /// Write every version into one file
    Backup {
        /// The file, which is replaced where it exists
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Add the versions of a backup that are missing here; all others have to be the same
    Restore {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// What was done or found.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum RegistryFacts {
    History {
        versions: Vec<VersionFacts>,
    },
    Dump {
        version: u64,
        directory: PathBuf,
        files: Vec<PathBuf>,
        came_from: Vec<PathBuf>,
    },
    Diff(DiffFacts),
    Backup {
        file: PathBuf,
        versions: Vec<u64>,
    },
    Restore {
        file: PathBuf,
        #[serde(flatten)]
        restored: Restored,
    },
}

/// One version.
#[derive(Debug, Serialize)]
pub struct VersionFacts {
    version: u64,
    applied: String,
    #[serde(skip)]
    at: Timestamp,
    by: String,
    files: usize,
    /// Views that are new, changed or removed; absent where a version cannot be read any more.
    views_changed: Option<usize>,
}

/// Does it.
///
/// # Errors
/// `NotFound` where there is no such version; those of the registry and of files.
pub fn run(options: &Options, session: &Session) -> Result<RegistryFacts, Failure> {
    let registry = Registry::new(&session.root);
    Ok(match &options.action {
        Action::History => RegistryFacts::History { versions: history(&registry)? },
        Action::Dump { version, directory } => dump(&chosen(&registry, *version)?, directory)?,
        Action::Diff { from, to } => {
            let to = chosen(&registry, *to)?;
            let from = match from {
                Some(from) => registry.version(*from)?,
                None => before(&registry, &to)?,
            };
            RegistryFacts::Diff(DiffFacts::between(&from, &to))
        }
        Action::Backup { file } => RegistryFacts::Backup { file: file.clone(), versions: registry.backup(file)? },
        Action::Restore { file } => {
            // Refuses a directory that holds other things.
            CacheDir::open(&session.root, Publish::Fast, &format!("larder-{}", std::process::id()))?;
            RegistryFacts::Restore { file: file.clone(), restored: registry.restore(file)? }
        }
    })
}

fn chosen(registry: &Registry, number: Option<u64>) -> Result<Version> {
    match number {
        Some(number) => registry.version(number),
        None => registry.latest()?.ok_or_else(|| Error::new(ErrorKind::NotFound, "nothing was applied yet")),
    }
}

fn before(registry: &Registry, version: &Version) -> Result<Version> {
    match registry.numbers()?.iter().rev().find(|number| **number < version.number) {
        Some(number) => registry.version(*number),
        None => {
            let message = format!("there is no version before {}, from which something could differ", version.number);
            Err(Error::new(ErrorKind::NotFound, message))
        }
    }
}

fn history(registry: &Registry) -> Result<Vec<VersionFacts>> {
    let mut versions = Vec::new();
    let mut before: Option<Definitions> = None;
    for number in registry.numbers()? {
        let version = registry.version(number)?;
        let definitions = version.definitions(Environment::of_process()).ok();
        let known = definitions.as_ref().filter(|_| before.is_some() || versions.is_empty());
        let changes = known.map(|definitions| Changes::between(before.as_ref(), definitions));
        versions.push(VersionFacts {
            version: number,
            applied: version.applied.to_string(),
            at: version.applied,
            by: version.by,
            files: version.files.len(),
            views_changed: changes
                .map(|changes| changes.views.iter().filter(|view| view.change != Change::Same).count()),
        });
        before = definitions;
    }
    Ok(versions)
}

fn dump(version: &Version, directory: &Path) -> Result<RegistryFacts> {
    let failed = |path: &Path| {
        let what = format!("cannot write {}", path.display());
        move |error| Error::with_source(ErrorKind::Unavailable, what, error)
    };
    fs::DirBuilder::new().recursive(true).create(directory).map_err(failed(directory))?;
    if fs::read_dir(directory).map_err(failed(directory))?.next().is_some() {
        return Err(Error::invalid(format!("{} is not empty: give an empty or a new directory", directory.display())));
    }
    let mut files = Vec::new();
    for file in &version.files {
        // The name alone: whatever path a restored version says, nothing is written elsewhere.
        let name = file.path.file_name().ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, format!("version {} has a file without a name", version.number))
        })?;
        let path = directory.join(name);
        let written = File::create_new(&path).and_then(|mut written| written.write_all(file.text.as_bytes()));
        written.map_err(failed(&path))?;
        files.push(path);
    }
    let mut came_from: Vec<_> =
        version.files.iter().filter_map(|file| file.path.parent()).map(Path::to_owned).collect();
    came_from.dedup();
    Ok(RegistryFacts::Dump { version: version.number, directory: directory.to_owned(), files, came_from })
}

impl Report for RegistryFacts {
    fn write(&self, page: &mut Page) {
        match self {
            Self::History { versions } => history_table(page, versions),
            Self::Dump { version, directory, files, came_from } => {
                let files = quantity::counted(files.len() as u64, "file", "files");
                page.line(&format!("Version {version}: {files} in {}.", directory.display()));
                for place in came_from.iter().filter(|place| *place != directory) {
                    page.line(&format!("Relative paths in them began in {}.", place.display()));
                }
            }
            Self::Diff(diff) => diff.write(page),
            Self::Backup { file, versions } => {
                let versions = quantity::counted(versions.len() as u64, "version", "versions");
                page.line(&format!("{versions} in {}.", file.display()));
            }
            Self::Restore { restored: Restored { added, same }, .. } => {
                let added = quantity::counted(added.len() as u64, "version was", "versions were");
                page.line(&format!("{added} added; {same} there already, and the same."));
            }
        }
    }
}

fn history_table(page: &mut Page, versions: &[VersionFacts]) {
    if versions.is_empty() {
        page.line("Nothing was applied yet.");
        return;
    }
    page.table(
        [
            ("version", Align::Right),
            ("applied", Align::Left),
            ("by", Align::Left),
            ("files", Align::Right),
            ("views changed", Align::Right),
        ],
        versions.iter().map(|version| {
            let changed = version.views_changed.map_or_else(|| "unknown".to_owned(), |changed| changed.to_string());
            let applied = quantity::time(version.at);
            [version.version.to_string(), applied, plain(&version.by), version.files.to_string(), changed]
        }),
    );
}
