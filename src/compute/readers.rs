//! The views that are computed from pushed rows: those of these definitions, and those of other programs.
//!
//! Whoever computes a view from pushed rows notes beside them before how a row reaches the view's blocks. So a push
//! forgets the blocks of definitions that it does not know, such as newer ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bound::{Bound, Supply};
use super::features::Features;
use crate::cache::FeatureStore;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Fingerprint, SourceName, Span, TimeRange, Timestamp, ViewName};

/// A version of a view whose blocks depend on rows, and which of them.
#[derive(Clone)]
pub(super) struct Dependent {
    pub view: ViewName,
    /// The version, with the length of its blocks; `None` for every version.
    pub version: Option<(Fingerprint, Span)>,
    /// Whole blocks.
    pub blocks: Vec<TimeRange>,
}

/// How pushed rows reach a version of a view.
#[derive(Debug, Serialize, Deserialize)]
struct Reading {
    view: String,
    fingerprint: String,
    /// From the view that reads the rows to this one.
    steps: Vec<Step>,
}

/// One view on the way.
#[derive(Debug, Serialize, Deserialize)]
struct Step {
    span: Span,
    lookback: Duration,
}

impl Bound {
    /// The source of pushed rows that this is computed from, and the views on the way, itself at the end.
    fn way(&self) -> Option<(&SourceName, Vec<Step>)> {
        let (source, mut steps) = match &self.supply {
            Supply::Source(_) => return None,
            Supply::Pushed(pushed) => (&pushed.definition().name, Vec::new()),
            Supply::View(read) => read.way()?,
        };
        let view = self.recipe.view();
        steps.push(Step { span: view.span(), lookback: view.lookback() });
        Some((source, steps))
    }

    /// Notes that this is computed from pushed rows, if it is. What is not noted must not be kept.
    ///
    /// Before the rows are read: a push writes them before it looks for notes, so that it finds this one, or these are
    /// its rows.
    pub(super) fn note_reading(&self, store: &FeatureStore) -> Result<()> {
        let Some((source, steps)) = self.way() else { return Ok(()) };
        let view = self.recipe.view();
        store.cache_dir().note_push_reader(source, (view.name(), view.fingerprint()), || {
            let reading = Reading { view: view.name().to_string(), fingerprint: view.fingerprint().to_string(), steps };
            serde_json::to_vec(&reading)
                .map_err(|error| Error::with_source(ErrorKind::Internal, "a view cannot be noted as JSON", error))
        })
    }
}

/// The blocks at the end of the way that depend on rows with these event times.
fn reached(steps: &[Step], times: &BTreeSet<i64>) -> Result<Vec<TimeRange>> {
    let mut reads: Vec<_> = times.iter().map(|at| (Timestamp::from_ns(*at), Timestamp::from_ns(*at))).collect();
    let mut found = Vec::new();
    for Step { span, lookback } in steps {
        let ranges = reaching(&reads, *lookback)?;
        // Any value of a block may be another one, up to the block's end.
        reads = ranges.iter().map(|range| (range.start(), span.block_of(last_of(range)).end())).collect();
        found = blocks(&ranges, *span)?;
    }
    Ok(found)
}

impl Reading {
    fn version(&self) -> Option<(Fingerprint, Span)> {
        Some((self.fingerprint.parse().ok()?, self.steps.last()?.span))
    }
}

impl Features {
    /// The views of these definitions that read a source, whatever lies in between.
    pub(super) fn readers_of_pushed<'a>(&'a self, source: &SourceName) -> impl Iterator<Item = &'a Bound> {
        let of_source = move |bound: &&Bound| bound.way().is_some_and(|(of, _)| of == source);
        self.0.views.values().flatten().map(|bound| &**bound).filter(of_source)
    }

    /// The views that are computed from pushed rows, in these definitions or by the notes.
    pub(super) fn views_of_pushed(&self) -> Result<BTreeSet<ViewName>> {
        let own = self.0.views.values().flatten().filter(|bound| bound.way().is_some());
        let own = own.map(|bound| bound.recipe.view().name().clone());
        Ok(own.chain(self.store().cache_dir().views_of_pushed()?).collect())
    }

    /// All versions of views with blocks that depend on rows with these event times, in the order in which they have to be
    /// forgotten: a view after the one that it reads. Else somebody computes it in between from what is about to be
    /// forgotten, and keeps it.
    pub(super) fn dependents(&self, source: &SourceName, times: &BTreeSet<i64>) -> Result<Vec<Dependent>> {
        let (mut found, mut unreadable) = (BTreeMap::new(), 0);
        for bound in self.readers_of_pushed(source) {
            let Some((_, steps)) = bound.way() else { continue };
            let view = bound.recipe.view();
            found.insert((view.name().clone(), Some(view.fingerprint())), (Some(view.span()), steps));
        }
        for (path, text) in self.store().cache_dir().push_readers(source)? {
            let noted = serde_json::from_slice::<Reading>(&text).ok();
            match noted.and_then(|noted| Some((ViewName::new(&noted.view).ok()?, noted.version()?, noted.steps))) {
                Some((view, (fingerprint, span), steps)) => {
                    found.insert((view, Some(fingerprint)), (Some(span), steps));
                }
                // Whatever a later version of this program may say: any block of the view may depend on the rows.
                None => {
                    let Some(view) = view_of(&path) else { continue };
                    tracing::warn!(
                        target: "larder::cache", source = %source, %view, note = %path.display(),
                        "a note of who computes from pushed rows cannot be read: each push forgets all blocks of the view"
                    );
                    unreadable += usize::from(found.insert((view, None), (None, Vec::new())).is_none());
                }
            }
        }
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by_key(|(_, (_, steps))| steps.len());
        let dependent = |((view, fingerprint), (span, steps)): (_, (Option<Span>, Vec<Step>))| {
            let version = Option::zip(fingerprint, span);
            let blocks = match version {
                Some(_) => reached(&steps, times)?,
                None => vec![TimeRange::new(Timestamp::MIN, Timestamp::MAX)?],
            };
            Ok(Dependent { view, version, blocks })
        };
        let found = found.into_iter().map(dependent).collect::<Result<Vec<_>>>()?;
        // What an unreadable one reads is not known. In each turn, at least one more of them comes after it.
        Ok(std::iter::repeat_n(found, unreadable + 1).flatten().collect())
    }
}

/// The view of a note that cannot be read, by the name of its file.
fn view_of(path: &Path) -> Option<ViewName> {
    ViewName::new(path.file_name()?.to_str()?.split('.').next()?).ok()
}

/// The last time in a range.
fn last_of(range: &TimeRange) -> Timestamp {
    Timestamp::from_ns(range.end().as_ns().saturating_sub(1))
}

/// From each time on up to `lookback` after the other, both included; where these overlap they are one range.
fn reaching(reads: &[(Timestamp, Timestamp)], lookback: Duration) -> Result<Vec<TimeRange>> {
    let after = |last: Timestamp| Timestamp::from_ns(last.saturating_add(lookback).as_ns().saturating_add(1));
    joined(reads.iter().map(|(first, last)| (*first, after(*last))))
}

/// The blocks that overlap these ranges, adjacent ones as one.
fn blocks(ranges: &[TimeRange], span: Span) -> Result<Vec<TimeRange>> {
    joined(ranges.iter().map(|range| (span.block_of(range.start()).start(), span.block_of(last_of(range)).end())))
}

/// Ranges in the order of their beginnings, those as one that overlap or touch.
fn joined(ranges: impl Iterator<Item = (Timestamp, Timestamp)>) -> Result<Vec<TimeRange>> {
    let mut found: Vec<(Timestamp, Timestamp)> = Vec::new();
    for (start, end) in ranges {
        match found.last_mut() {
            Some((_, before)) if start <= *before => *before = (*before).max(end),
            _ => found.push((start, end)),
        }
    }
    found.into_iter().map(|(start, end)| TimeRange::new(start, end)).collect()
}
