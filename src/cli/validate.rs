//! `larder validate`: whether definitions hold, and whether views keep what they declare.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::definitions::{self, DIRECTORY};
use super::failure::{Exit, Failure};
use super::names::existing;
use super::page::{Align, Page, Tone};
use super::progress::Watch;
use super::quantity;
use super::report::Report;
use super::session::Session;
use crate::compute::{Features, Validation};
use crate::error::{Error, ErrorKind, Result};
use crate::model::ViewName;
use crate::upkeep::Progress;

const EXAMPLES: &str = "\
Examples:
  larder validate
  larder validate my/definitions --view technical_features

Nothing is applied. Each view's newest blocks are computed with its lookback and with ten times as much,
and again with other rows after some time: neither may change a value.";

/// Check definitions, and that views need no more history than they declare and see nothing of the future
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// The directory with the definition files
    #[arg(value_name = "DIR", default_value = DIRECTORY)]
    directory: PathBuf,
    /// Compute only this view; may be given several times
    #[arg(long = "view", value_name = "NAME", value_parser = ViewName::new)]
    views: Vec<ViewName>,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct ValidateFacts {
    views: Vec<Validation>,
    warnings: Vec<String>,
}

/// Validates.
///
/// # Errors
/// `Invalid` with every mistake in the files; `NotFound` for an unknown view; those of computing.
pub fn run(options: &Options, session: &Session) -> Result<ValidateFacts, Failure> {
    let (_, features) = definitions::candidate(&options.directory, session)?;
    features.check()?;
    let known: Vec<ViewName> = features.definitions().views().keys().cloned().collect();
    if let Some(unknown) = options.views.iter().find(|view| !known.contains(view)) {
        let known = existing(unknown.as_str(), known.iter().map(ViewName::as_str));
        return Err(Error::new(ErrorKind::NotFound, format!("there is no view {unknown}: there is {known}")).into());
    }
    let views: Vec<ViewName> =
        known.into_iter().filter(|view| options.views.is_empty() || options.views.contains(view)).collect();
    let warnings = features.definitions().warnings().iter().map(ToString::to_string).collect();
    Ok(ValidateFacts { views: validate(&features, &views, session)?, warnings })
}

/// Validates these views, one after the other.
///
/// # Errors
/// Those of [`Features::validate`]; Ctrl-C.
pub fn validate(features: &Features, views: &[ViewName], session: &Session) -> Result<Vec<Validation>, Failure> {
    let mut watch = Watch::begin("validating", &session.interrupt);
    let mut found = Vec::new();
    for view in views {
        if !watch.advance(found.len() as u64, Some(views.len() as u64)) {
            let what = format!("{} of {} views are validated", found.len(), views.len());
            return Err(Failure::Interrupted(what));
        }
        found.push(features.validate(view)?);
    }
    Ok(found)
}

impl Report for ValidateFacts {
    fn write(&self, page: &mut Page) {
        for warning in &self.warnings {
            page.line(&format!("{} {warning}", Tone::Warning.paint("warning:")));
        }
        for view in &self.views {
            for found in &view.findings {
                page.line(&format!("{} view {}: {found}", Tone::Bad.paint("wrong:"), view.view));
            }
        }
        page.gap();
        page.table(
            [("view", Align::Left), ("", Align::Left), ("blocks", Align::Right), ("rows", Align::Right)],
            self.views.iter().map(|view| {
                let verdict = match (view.findings.len(), view.rows) {
                    (0, 0) => "no rows".to_owned(),
                    (0, _) => "good".to_owned(),
                    (findings, _) => quantity::counted(findings as u64, "finding", "findings"),
                };
                [view.view.to_string(), verdict, view.blocks.to_string(), view.rows.to_string()]
            }),
        );
    }

    fn exit(&self) -> Exit {
        if self.views.iter().any(|view| !view.findings.is_empty()) { Exit::Finding } else { Exit::Good }
    }
}
