//! Rows that are pushed, and what has to follow: blocks that depend on them are forgotten, and the newest one of each
//! view is computed again.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::features::{Features, Supply};
use crate::definition::{SourceDefinition, SourceKeys, SourceKind, ViewSource};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{EntityKey, SourceName, TimeRange, Timestamp, ViewName};
use crate::source::{NewRows, Pushed};

/// The cause of the invalidations.
const CAUSE: &str = "push";

/// What a push did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Push {
    /// The rows that were given.
    pub rows: usize,
    /// How many event times have a new row, or another one than before.
    pub changed: usize,
    /// The blocks that were forgotten because of them.
    pub invalidated: u64,
}

/// What is written down before rows are kept, for the case that the process dies before all has followed.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    source: String,
    entity: Option<EntityKey>,
    times: BTreeSet<i64>,
}

/// A view whose blocks depend on rows, and for which times.
struct Dependent {
    view: ViewName,
    ranges: Vec<TimeRange>,
}

impl Features {
    /// Keeps rows of an entity in a source of pushed rows, or, where its rows belong to every entity, of none.
    ///
    /// `rows` has the columns that the source defines, and their event times as timestamps. When this returns, the rows
    /// are on the disk, no process serves a value that was computed without them, and those features of the entity
    /// that belong to the newest of them are cached. To push rows again changes nothing.
    ///
    /// # Errors
    /// `NotFound` where no source of this name is defined; `Invalid` where its rows are not pushed, for an entity with
    /// other keys, and for rows that are not what the source allows; `Unavailable` where the rows cannot be kept or a
    /// block cannot be removed: then push them again.
    pub fn push<'a>(
        &self,
        source: &SourceName,
        entity: impl Into<Option<&'a EntityKey>>,
        rows: &RecordBatch,
    ) -> Result<Push> {
        let pushed = Pushed::new(self.pushed_source(source)?);
        let entity = self.pushed_entity(&pushed, entity.into())?;
        self.finish_pushes();
        let new = pushed.accept(rows, self.store().now())?;
        if new.times().is_empty() {
            return Ok(Push { rows: 0, changed: 0, invalidated: 0 });
        }
        let (changed, invalidated) = self.keep(&pushed, entity, &new)?;
        if let (Some(entity), Some(newest)) = (entity, changed.last()) {
            self.refresh(source, entity, Timestamp::from_ns(*newest));
        }
        Ok(Push { rows: new.times().len(), changed: changed.len(), invalidated })
    }

    /// Keeps rows and forgets what depends on them; whoever dies in between leaves a note that says what to forget.
    fn keep(&self, pushed: &Pushed, entity: Option<&EntityKey>, new: &NewRows) -> Result<(BTreeSet<i64>, u64)> {
        let (dir, source) = (self.store().cache_dir(), &pushed.definition().name);
        let times = new.times().iter().copied().collect();
        let note = Note { source: source.to_string(), entity: entity.cloned(), times };
        let text = serde_json::to_vec(&note)
            .map_err(|error| Error::with_source(ErrorKind::Internal, "a push cannot be written as JSON", error))?;
        let intent = dir.intend_push(&text)?;
        let mut changed = BTreeSet::new();
        let kept = pushed.keep(dir, entity, new, self.store().settings().compression_level, &mut changed);
        // Even of what failed: some of the rows may be kept.
        let invalidated = self.invalidate_dependents(source, entity, &changed)?;
        intent.done()?;
        kept.map(|()| (changed, invalidated))
    }

    /// Does what processes that died in the middle of a push have left undone.
    pub(super) fn finish_pushes(&self) {
        let finish = |text: &[u8]| match serde_json::from_slice::<Note>(text) {
            Ok(note) => {
                let source = SourceName::new(&note.source)?;
                self.invalidate_dependents(&source, note.entity.as_ref(), &note.times).map(drop)
            }
            // Its process died while writing it, before it kept any row.
            Err(_) => Ok(()),
        };
        let unfinished = self.store().cache_dir().unfinished_pushes();
        let finished = unfinished.and_then(|unfinished| {
            unfinished.into_iter().try_for_each(|(intent, text)| finish(&text).and_then(|()| intent.done()))
        });
        if let Err(error) = finished {
            tracing::warn!(target: "larder::cache", %error, "a push that was broken off is not finished: the next one tries again");
        }
    }

    /// The source of pushed rows of this name.
    ///
    /// # Errors
    /// `NotFound` where none is defined; `Invalid` where its rows are not pushed.
    pub(crate) fn pushed_source(&self, name: &SourceName) -> Result<&SourceDefinition> {
        let sources = self.definitions().sources();
        let is_pushed = |name: &&SourceName| sources.get(*name).is_some_and(|source| source.kind == SourceKind::Push);
        match sources.get(name) {
            Some(source) if source.kind == SourceKind::Push => Ok(source),
            Some(source) => Err(Error::invalid(format!(
                "source {name} is {}: only rows of a source of kind \"push\" are pushed",
                source.kind.name()
            ))),
            None => {
                let known: Vec<_> = sources.keys().filter(is_pushed).map(SourceName::as_str).collect();
                let known = if known.is_empty() { "none is".to_owned() } else { known.join(", ") };
                Err(Error::new(ErrorKind::NotFound, format!("there is no source {name} to push to: there is {known}")))
            }
        }
    }

    /// The entity, checked: one of the views' keys, and none where rows belong to every entity.
    fn pushed_entity<'a>(&self, pushed: &Pushed, entity: Option<&'a EntityKey>) -> Result<Option<&'a EntityKey>> {
        let source = &pushed.definition().name;
        match (entity, &pushed.definition().keys) {
            (None, SourceKeys::None) => Ok(None),
            (Some(_), SourceKeys::None) => {
                Err(Error::invalid(format!("the rows of source {source} belong to every entity: give none")))
            }
            (None, _) => Err(Error::invalid(format!("source {source}: say whose rows these are"))),
            (Some(entity), _) => {
                for bound in self.0.views.values().flatten() {
                    if matches!(&bound.supply, Supply::Pushed(of) if of.definition().name == *source) {
                        bound.recipe.view().check_entity(entity)?;
                    }
                }
                Ok(Some(entity))
            }
        }
    }

    /// Forgets the blocks that depend on rows with these event times; returns how many there were.
    pub(super) fn invalidate_dependents(
        &self,
        source: &SourceName,
        entity: Option<&EntityKey>,
        times: &BTreeSet<i64>,
    ) -> Result<u64> {
        let mut blocks = 0;
        for dependent in self.dependents(source, times)? {
            for range in dependent.ranges {
                blocks += self.store().invalidate_scope(&dependent.view, entity, Some(range), CAUSE)?;
            }
        }
        Ok(blocks)
    }

    /// The views that read a source, whatever lies in between, with the times at which a block that begins or goes on
    /// there has been computed from rows with these event times. A view comes after the one that it reads.
    fn dependents(&self, source: &SourceName, times: &BTreeSet<i64>) -> Result<Vec<Dependent>> {
        let mut found: Vec<Dependent> = Vec::new();
        let rows: Vec<_> = times.iter().map(|at| (Timestamp::from_ns(*at), Timestamp::from_ns(*at))).collect();
        // As many rounds as views read one another at most.
        loop {
            let mut more = Vec::new();
            for (name, definition) in self.definitions().views() {
                if found.iter().any(|dependent| dependent.view == *name) {
                    continue;
                }
                let reads: Vec<(Timestamp, Timestamp)> = match &definition.source {
                    ViewSource::Source(read) if read == source => rows.clone(),
                    // Any value of a block may be another one, up to the block's end.
                    ViewSource::View(read) => match found.iter().find(|dependent| dependent.view == *read) {
                        Some(dependent) => {
                            let span = self.view(read)?.span();
                            let last = |range: &TimeRange| Timestamp::from_ns(range.end().as_ns().saturating_sub(1));
                            dependent
                                .ranges
                                .iter()
                                .map(|range| (range.start(), span.block_of(last(range)).end()))
                                .collect()
                        }
                        None => continue,
                    },
                    ViewSource::Source(_) => continue,
                };
                more.push(Dependent { view: name.clone(), ranges: reaching(&reads, self.view(name)?.lookback())? });
            }
            if more.is_empty() {
                return Ok(found);
            }
            found.extend(more);
        }
    }

    /// Computes the newest blocks again, so that the next request finds them.
    fn refresh(&self, source: &SourceName, entity: &EntityKey, newest: Timestamp) {
        let Ok(dependents) = self.dependents(source, &BTreeSet::from([newest.as_ns()])) else { return };
        for Dependent { view, .. } in dependents {
            let warmed = self.view(&view).and_then(|known| self.warm(&view, entity, known.span().block_of(newest)));
            if let Err(error) = warmed {
                // The rows are kept: whoever asks for the features computes them, or is told the same.
                tracing::warn!(target: "larder::cache", %view, %entity, %error, "features of pushed rows are not computed yet");
            }
        }
    }
}

/// From each time on up to `lookback` after the other, both included; where these overlap they are one range.
fn reaching(reads: &[(Timestamp, Timestamp)], lookback: std::time::Duration) -> Result<Vec<TimeRange>> {
    let mut ranges: Vec<(Timestamp, Timestamp)> = Vec::new();
    for (first, last) in reads {
        let end = Timestamp::from_ns(last.saturating_add(lookback).as_ns().saturating_add(1));
        match ranges.last_mut() {
            Some((_, before)) if *first <= *before => *before = (*before).max(end),
            _ => ranges.push((*first, end)),
        }
    }
    ranges.into_iter().map(|(start, end)| TimeRange::new(start, end)).collect()
}

#[cfg(test)]
mod tests;
