//! `larder apply`: definitions become those that commands and services work with.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::changes::{Change, Changes, ViewChange};
use super::definitions::{self, DIRECTORY};
use super::failure::Failure;
use super::page::{Align, Page, Tone};
use super::quantity;
use super::report::Report;
use super::session::Session;
use super::validate;
use crate::compute::Validation;
use crate::definition::Environment;
use crate::error::{Error, Result};
use crate::registry::Registry;

const EXAMPLES: &str = "\
Examples:
  larder apply
  larder apply my/definitions --json

A view that changed has a new fingerprint: its old blocks are orphans, which cleaning removes.
New and changed views are validated, as by `larder validate`, and applied only if that finds nothing.";

/// Check definitions and make them those that commands work with
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// The directory with the definition files
    #[arg(value_name = "DIR", default_value = DIRECTORY)]
    directory: PathBuf,
    /// Apply new and changed views without computing a sample of them
    #[arg(long)]
    unchecked: bool,
}

/// What was applied.
#[derive(Debug, Serialize)]
pub struct ApplyFacts {
    /// The version that holds now.
    version: u64,
    /// Whether anything differs from the version before.
    changed: bool,
    #[serde(flatten)]
    changes: Changes,
    warnings: Vec<String>,
    #[serde(skip)]
    next: String,
}

/// Applies.
///
/// # Errors
/// `Invalid` with every mistake in the files; those of sources that cannot be opened and of the registry.
pub fn run(options: &Options, session: &Session) -> Result<ApplyFacts, Failure> {
    let registry = Registry::new(&session.root);
    let before = registry.latest()?;
    let base = before.as_ref().map_or(0, |version| version.number);
    let (files, features) = definitions::candidate(&options.directory, session)?;
    features.check()?;
    let definitions = features.definitions();
    let old = before.as_ref().map(|version| version.definitions(Environment::of_process())).transpose()?;
    let changes = Changes::between(old.as_ref(), definitions);
    if !options.unchecked {
        let is_another = |view: &&ViewChange| matches!(view.change, Change::New | Change::Changed);
        let others: Vec<_> = changes.views.iter().filter(is_another).map(|view| view.view.clone()).collect();
        refuse(&validate::validate(&features, &others, session)?)?;
    }
    let changed = before.as_ref().is_none_or(|before| before.files != files);
    let version = match changed {
        true => registry.add(base, files, session.now(), &user())?.number,
        false => registry.confirm(base).map(|()| base)?,
    };
    let warnings = definitions.warnings().iter().map(ToString::to_string).collect();
    let next = session.command("views");
    Ok(ApplyFacts { version, changed, changes, warnings, next })
}

/// That a sample of the views' values is as it should be.
fn refuse(validations: &[Validation]) -> Result<()> {
    let of = |validation: &Validation| {
        let findings = validation.findings.iter().map(|found| format!("view {}: {found}", validation.view));
        findings.collect::<Vec<_>>()
    };
    let findings: Vec<String> = validations.iter().flat_map(of).collect();
    if findings.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!("{}; or apply it as it is with --unchecked", findings.join("; "))))
}

/// Who runs this, as far as the environment says.
fn user() -> String {
    ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_else(|| "unknown".to_owned())
}

impl Report for ApplyFacts {
    fn write(&self, page: &mut Page) {
        for warning in &self.warnings {
            page.line(&format!("{} {warning}", Tone::Warning.paint("warning:")));
        }
        let views = quantity::counted(self.changes.views.len() as u64, "view", "views");
        page.line(&match self.changed {
            true => format!("Version {} of the definitions: {views}.", self.version),
            false => format!("Nothing changed: version {} of the definitions stays.", self.version),
        });
        page.gap();
        page.table(
            [("view", Align::Left), ("", Align::Left), ("fingerprint", Align::Left)],
            self.changes.views.iter().map(|view| {
                let fingerprint = view.fingerprint.clone().or_else(|| view.was.clone());
                let fingerprint = fingerprint.unwrap_or_else(|| "unknown".to_owned());
                [view.view.to_string(), view.change.as_str().to_owned(), fingerprint]
            }),
        );
        page.gap();
        page.field("Next", &self.next);
    }
}
