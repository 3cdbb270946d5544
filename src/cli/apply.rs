//! `larder apply`: definitions become those that commands and services work with.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::definitions::{self, DIRECTORY};
use super::failure::Failure;
use super::page::{Align, Page, Tone};
use super::quantity;
use super::report::Report;
use super::session::Session;
use super::validate;
use crate::compute::Validation;
use crate::definition::{Definitions, Environment};
use crate::error::{Error, Result};
use crate::model::ViewName;
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
    views: Vec<ViewChange>,
    warnings: Vec<String>,
    #[serde(skip)]
    next: String,
}

/// A view before and after.
#[derive(Debug, Serialize)]
struct ViewChange {
    view: ViewName,
    change: Change,
    fingerprint: Option<String>,
    was: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Change {
    New,
    Changed,
    Same,
    Removed,
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
    let views = changes(old.as_ref(), definitions);
    if !options.unchecked {
        let is_another = |view: &&ViewChange| matches!(view.change, Change::New | Change::Changed);
        let others: Vec<_> = views.iter().filter(is_another).map(|view| view.view.clone()).collect();
        refuse(&validate::validate(&features, &others, session)?)?;
    }
    let changed = before.as_ref().is_none_or(|before| before.files != files);
    let version = match changed {
        true => registry.add(base, files, session.now(), &user())?.number,
        false => base,
    };
    let warnings = definitions.warnings().iter().map(ToString::to_string).collect();
    let next = session.command("views");
    Ok(ApplyFacts { version, changed, views, warnings, next })
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

fn changes(old: Option<&Definitions>, new: &Definitions) -> Vec<ViewChange> {
    // A fingerprint that cannot be told (a variable that is not set any more) is another.
    let fingerprint = |definitions: &Definitions, name: &ViewName| {
        definitions.feature_view(name).ok().map(|view| view.fingerprint().to_string())
    };
    let before = |name| old.filter(|old| old.views().contains_key(name)).map(|old| fingerprint(old, name));
    let mut changes: Vec<_> = new
        .views()
        .keys()
        .map(|name| {
            let (now, was) = (fingerprint(new, name), before(name));
            let change = match &was {
                None => Change::New,
                Some(was) if *was == now => Change::Same,
                Some(_) => Change::Changed,
            };
            ViewChange { view: name.clone(), change, fingerprint: now, was: was.flatten() }
        })
        .collect();
    let gone = old.into_iter().flat_map(|old| old.views().keys().map(move |name| (old, name)));
    changes.extend(gone.filter(|(_, name)| !new.views().contains_key(*name)).map(|(old, name)| ViewChange {
        view: name.clone(),
        change: Change::Removed,
        fingerprint: None,
        was: fingerprint(old, name),
    }));
    changes
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
        let views = quantity::counted(self.views.len() as u64, "view", "views");
        page.line(&match self.changed {
            true => format!("Version {} of the definitions: {views}.", self.version),
            false => format!("Nothing changed: version {} of the definitions stays.", self.version),
        });
        page.gap();
        page.table(
            [("view", Align::Left), ("", Align::Left), ("fingerprint", Align::Left)],
            self.views.iter().map(|view| {
                let change = match view.change {
                    Change::New => "new",
                    Change::Changed => "changed",
                    Change::Same => "same",
                    Change::Removed => "removed",
                };
                let fingerprint = view.fingerprint.clone().or_else(|| view.was.clone());
                [view.view.to_string(), change.to_owned(), fingerprint.unwrap_or_else(|| "unknown".to_owned())]
            }),
        );
        page.gap();
        page.field("Next", &self.next);
    }
}
