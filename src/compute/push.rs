//! Rows that are pushed, and what has to follow: blocks that depend on them are forgotten, and the newest one of each
//! view is computed again.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::bound::Supply;
use super::features::Features;
use super::readers::Dependent;
use crate::definition::{SourceDefinition, SourceKeys, SourceKind};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{EntityKey, Fingerprint, SourceName, Span, TimeRange, Timestamp, ViewName};
use crate::planted::{self, Bug};
use crate::source::{NewRows, Pushed};
use crate::store::PushIntent;

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

/// What is written down before rows are kept, for the case that the process dies before all has followed. Whoever finds it
/// may have other definitions.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    source: String,
    entity: Option<EntityKey>,
    /// The event times of the rows: what was computed from them meanwhile has to be forgotten too.
    times: BTreeSet<i64>,
    /// The views that depend on the rows, with the first and the last time that may be others, in nanoseconds.
    forget: Vec<Forget>,
}

impl Note {
    /// As JSON, with a checksum of it in the line before.
    fn sealed(&self) -> Result<Vec<u8>> {
        let text = serde_json::to_vec(self)
            .map_err(|error| Error::with_source(ErrorKind::Internal, "a push cannot be written as JSON", error))?;
        Ok([Fingerprint::of(&text).to_string().as_bytes(), b"\n", &text].concat())
    }

    /// What [`sealed`](Self::sealed) made; `None` where it is not whole.
    fn unsealed(bytes: &[u8]) -> Option<Self> {
        let line = bytes.iter().position(|byte| *byte == b'\n')?;
        let (checksum, text) = (bytes.get(..line)?, bytes.get(line + 1..)?);
        let is_whole = Fingerprint::of(text).to_string().as_bytes() == checksum;
        is_whole.then(|| serde_json::from_slice(text).ok())?
    }
}

/// A view, and ranges of event times.
type Forget = (String, Vec<(i64, i64)>);

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
        self.finish_pushes(Some(source))?;
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
        let forget = self.to_forget(source, &times)?;
        let note = Note { source: source.to_string(), entity: entity.cloned(), times, forget };
        let intent = dir.intend_push(&note.sealed()?)?;
        let mut changed = BTreeSet::new();
        let kept = pushed.keep(dir, entity, new, self.store().settings().compression_level, &mut changed);
        // Even of what failed: some of the rows may be kept. And of what was known, if whoever kept it is not that far.
        let mut forgotten = self.still_to_forget(&intent, source, entity, new)?;
        forgotten.extend(&changed);
        let invalidated = self.invalidate_dependents(source, entity, &forgotten)?;
        match kept {
            // Of rows that may be there and may not be on the disk the note stays: a power cut may take them, and not what is
            // computed from them by then.
            Err(error) if error.kind() == ErrorKind::Unavailable => Err(error),
            // Refused, or waited for in vain: nothing of that day was written.
            kept => intent.done().and(kept).map(|()| (changed, invalidated)),
        }
    }

    /// The event times among these rows that others have noted: they may have kept theirs, and have not forgotten yet what
    /// depends on them.
    fn still_to_forget(
        &self,
        mine: &PushIntent,
        source: &SourceName,
        entity: Option<&EntityKey>,
        new: &NewRows,
    ) -> Result<BTreeSet<i64>> {
        let mut times = BTreeSet::new();
        if planted::is(Bug::UnfinishedPushIgnored) {
            return Ok(times);
        }
        for text in self.store().cache_dir().other_intents(mine)? {
            match Note::unsealed(&text) {
                Some(note) if note.source != source.as_str() || note.entity.as_ref() != entity => {}
                Some(note) => times.extend(new.times().iter().filter(|at| note.times.contains(at))),
                None => times.extend(new.times()),
            }
        }
        Ok(times)
    }

    /// What depends on rows with these event times, as a note says it.
    fn to_forget(&self, source: &SourceName, times: &BTreeSet<i64>) -> Result<Vec<Forget>> {
        let note = |dependent: &Dependent| {
            let ranges = dependent.blocks.iter().map(|range| (range.start().as_ns(), range.end().as_ns())).collect();
            (dependent.view.to_string(), ranges)
        };
        Ok(self.dependents(source, times)?.iter().map(note).collect())
    }

    /// Does what processes that died in the middle of a push have left undone, each for itself.
    ///
    /// # Errors
    /// The first failure among those of `source`, of which rows may be kept that blocks were computed without.
    pub(super) fn finish_pushes(&self, source: Option<&SourceName>) -> Result<()> {
        if planted::is(Bug::UnfinishedPushIgnored) {
            return Ok(());
        }
        let unfinished = match self.store().cache_dir().unfinished_pushes() {
            Err(error) if source.is_none() => {
                tracing::warn!(target: "larder::cache", %error, "notes of broken-off pushes cannot be read: the next push tries again");
                return Ok(());
            }
            unfinished => unfinished?,
        };
        let mut first = Ok(());
        for (intent, text) in unfinished {
            let Some(note) = Note::unsealed(&text) else {
                // Its process died while writing it, before it kept any row; or it was damaged since, and says of no
                // row any more that it was kept.
                if let Err(error) = self.forget_all_of_pushed().and_then(|()| intent.done()) {
                    tracing::warn!(target: "larder::cache", %error, "views of pushed rows are not forgotten, although the note of a push is not whole: the next one tries again");
                    if source.is_some() {
                        first = first.and(Err(error));
                    }
                }
                continue;
            };
            if let Err(error) = self.finish(&note).and_then(|()| intent.done()) {
                tracing::warn!(target: "larder::cache", source = note.source, %error, "a push that was broken off is not finished: the next one tries again");
                if source.is_some_and(|source| source.as_str() == note.source) && first.is_ok() {
                    first = Err(error);
                }
            }
        }
        first
    }

    /// Forgets every view that is computed from rows that are pushed, whoever computes it.
    fn forget_all_of_pushed(&self) -> Result<()> {
        let views = self.views_of_pushed()?;
        // Which of them reads which is not known: in each turn, at least one more comes after the one that it reads.
        let mut turns = std::iter::repeat_n(&views, views.len()).flatten();
        turns.try_for_each(|view| self.store().invalidate_scope(view, None, None, (CAUSE, None)).map(drop))
    }

    fn finish(&self, note: &Note) -> Result<()> {
        let source = SourceName::new(&note.source)?;
        // Whatever of its rows is there stays: as soon as the note is gone, nobody knows that it may not be on the disk.
        let days: BTreeSet<_> =
            note.times.iter().map(|at| Span::Day.block_of(Timestamp::from_ns(*at)).start()).collect();
        days.iter().try_for_each(|day| self.store().cache_dir().sync_pushed(&source, note.entity.as_ref(), *day))?;
        for (view, ranges) in &note.forget {
            let view = ViewName::new(view)?;
            for (start, end) in ranges {
                let range = TimeRange::new(Timestamp::from_ns(*start), Timestamp::from_ns(*end))?;
                self.store().invalidate_scope(&view, note.entity.as_ref(), Some(range), (CAUSE, None))?;
            }
        }
        self.invalidate_dependents(&source, note.entity.as_ref(), &note.times).map(drop)
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
        let mut count = 0;
        for Dependent { view, version, blocks } in self.dependents(source, times)? {
            for range in blocks {
                count += self.store().invalidate_scope(&view, entity, Some(range), (CAUSE, version))?;
            }
        }
        Ok(count)
    }

    /// Computes the newest blocks again, so that the next request finds them.
    fn refresh(&self, source: &SourceName, entity: &EntityKey, newest: Timestamp) {
        for bound in self.readers_of_pushed(source) {
            let view = bound.recipe.view();
            if let Err(error) = self.warm(view.name(), entity, view.span().block_of(newest)) {
                let view = view.name();
                // The rows are kept: whoever asks for the features computes them, or is told the same.
                tracing::warn!(target: "larder::cache", %view, %entity, %error, "features of pushed rows are not computed yet");
            }
        }
    }
}

#[cfg(test)]
mod tests;
