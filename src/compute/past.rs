//! What counted at times in the past: features of the source rows that were known then.
//!
//! A cached row is exact where all that its block was computed from was known by then, which the block says, or all that
//! the row was made of, which the times of the source's versions tell. Otherwise the row is computed from what was known,
//! with the same history as a block has, and is not kept.

use std::time::Duration;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Schema;

use super::asof::{Match, as_of, newest};
use super::bound::{Bound, Supply};
use super::features::Features;
use super::known::{Asked, Dependence, History, Verdict, Version};
use super::rows::{Frame, broken};
use crate::cache::{Answer, FeatureStore, Gap};
use crate::definition::{Fill, Layout, SourceDefinition};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{EntityKey, Outcome, TimeRange, Timestamp};
use crate::planted::{self, Bug};
use crate::source::Versions;

/// Rows of a view, and which of them counts at each time.
pub(super) struct Matched {
    /// The features, in no order of time.
    pub rows: RecordBatch,
    pub matches: Vec<Match>,
}

/// Which rows of a view are asked for.
pub(super) struct Question<'a> {
    pub bound: &'a Bound,
    pub entity: &'a EntityKey,
    /// No earlier row counts.
    pub from: i64,
    /// Strictly increasing.
    pub at: &'a [i64],
    pub ttl: Duration,
}

impl Question<'_> {
    /// From the first row that counts up to a time, which is included.
    fn range(&self, until: i64) -> Result<TimeRange> {
        TimeRange::new(Timestamp::from_ns(self.from), Timestamp::from_ns(until.saturating_add(1)))
    }
}

impl Features {
    /// The rows that counted at the times of a question, of which `answer` is what the cache says now.
    pub(super) fn matched_then(&self, question: &Question<'_>, answer: &Answer) -> Result<Matched> {
        let cached = Frame::of_batch(&answer.to_batch()?)?;
        let as_cached = |cached: &Frame| Matched {
            matches: as_of(cached.times(), question.at, question.ttl),
            rows: cached.columns().clone(),
        };
        if question.bound.source().created_time.is_none() || planted::is(Bug::CreatedTimeIgnored) {
            return Ok(as_cached(&cached));
        }
        let unsure = unsure(answer, question.at);
        if unsure.is_empty() {
            return Ok(as_cached(&cached));
        }
        match self.corrected(question, &cached, &unsure) {
            // What is only answered for want of better is no better for its time.
            Err(error)
                if answer.outcome() == Outcome::Fallback
                    && matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::NotFound) =>
            {
                Ok(as_cached(&cached))
            }
            corrected => corrected,
        }
    }

    /// The same, where something of what is cached may not have been known at some of the times.
    fn corrected(&self, question: &Question<'_>, cached: &Frame, unsure: &[usize]) -> Result<Matched> {
        let Question { bound, at, ttl, .. } = *question;
        let times: Vec<i64> = unsure.iter().filter_map(|index| at.get(*index).copied()).collect();
        let Some(last) = times.last() else { return Err(Error::internal("no time is unsure")) };
        let read = TimeRange::new(bound.reach(Timestamp::from_ns(question.from)), question.range(*last)?.end())?;
        let history = self.versions(question, read, What::Times, |versions| {
            Ok(History::new(versions.times().map(|(event, known)| Version { event, known }).collect()))
        })?;
        let reach = |at: i64| bound.reach(Timestamp::from_ns(at)).as_ns();
        let dependence = Dependence { reach: &reach, is_retimed: bound.is_retimed() };
        let verdicts = history.judge(&dependence, cached.times(), question.from, &times);
        let mut matches = as_of(cached.times(), at, ttl);
        let mut asked = Vec::new();
        for ((index, at), verdict) in unsure.iter().zip(times).zip(verdicts) {
            match verdict {
                Verdict::Cached { until } => {
                    if let Some(found) = matches.get_mut(*index) {
                        *found = newest(cached.times(), until, at, ttl);
                    }
                }
                Verdict::Computed { until } => asked.push(Asked { index: *index, at, until }),
            }
        }
        let mut rows = vec![cached.columns().clone()];
        if !asked.is_empty() {
            tracing::debug!(
                target: "larder::cache", view = %bound.recipe.view().name(), entity = %question.entity,
                times = asked.len(), "computed from what was known then"
            );
            self.versions(question, read, What::Values, |versions| {
                history
                    .together(&asked)
                    .into_iter()
                    .filter_map(|group| asked.get(group))
                    .try_for_each(|group| self.computed_then(question, versions, group, &mut rows, &mut matches))
            })?;
        }
        let schema = cached.columns().schema();
        Ok(Matched { rows: concat_batches(&schema, &rows).map_err(broken)?, matches })
    }

    /// Computes the rows that counted at times of which the last one's history is that of all, and adds them.
    fn computed_then(
        &self,
        question: &Question<'_>,
        versions: &Versions<'_>,
        group: &[Asked],
        rows: &mut Vec<RecordBatch>,
        matches: &mut [Match],
    ) -> Result<()> {
        let Some(last) = group.last() else { return Ok(()) };
        let (view, known_by) = (question.bound.recipe.view(), Timestamp::from_ns(last.at));
        let then = Then { store: self.store(), entity: question.entity, versions, known_by };
        let mut left = group;
        for one in group {
            if let Some(found) = matches.get_mut(one.index) {
                *found = Match::Missing;
            }
        }
        // From the newest block backwards, until each time has its row.
        let blocks: Vec<TimeRange> = view.span().blocks(question.range(last.until)?).collect();
        for block in blocks.iter().rev() {
            let first = left.partition_point(|one| one.until < block.start().as_ns());
            let Some(range) = block.intersect(&question.range(last.until)?).filter(|_| first < left.len()) else {
                continue;
            };
            let gap = Gap::new(view.clone(), question.entity.clone(), range);
            let batch = then.features(question.bound, &gap).map_err(|error| {
                let message = format!("view {} as it was known at {known_by}", view.name());
                Error::with_source(error.kind(), message, error)
            })?;
            let found = Frame::of_batch(&batch)?;
            let before = rows.iter().map(RecordBatch::num_rows).sum::<usize>();
            let mut taken = Vec::new();
            for one in left.get(first..).unwrap_or_default() {
                let (Some((row, time)), Some(matched)) = (found.newest(one.until), matches.get_mut(one.index)) else {
                    continue;
                };
                *matched = Match::of(before + taken.len(), time, one.at, question.ttl);
                taken.push(row as u64);
            }
            // Times whose row lies in an earlier block come first: each row is not earlier than that of the time before.
            left = left.get(..left.len() - taken.len()).unwrap_or_default();
            rows.push(take_record_batch(found.columns(), &UInt64Array::from(taken)).map_err(broken)?);
        }
        Ok(())
    }

    /// Reads the versions of source rows that a view's rows are made of, whatever views lie in between.
    fn versions<T>(
        &self,
        question: &Question<'_>,
        range: TimeRange,
        what: What,
        then: impl FnOnce(&Versions<'_>) -> Result<T>,
    ) -> Result<T> {
        let root = question.bound.root();
        match &root.supply {
            Supply::Source(source) => source.ask(self.store(), |reader| {
                let schema = reader.schema();
                then(&reader.versions(question.entity, range, &what.columns(root, &schema))?)
            }),
            Supply::Pushed(pushed) => {
                let (dir, schema) = (self.store().cache_dir(), pushed.schema());
                then(&pushed.versions(dir, question.entity, range, &what.columns(root, &schema))?)
            }
            Supply::View(_) => Err(Error::internal("a root that reads a view")),
        }
    }
}

/// What is read of versions.
#[derive(Clone, Copy)]
enum What {
    /// When they became true and known.
    Times,
    /// These, and the columns that are computed from.
    Values,
}

impl What {
    fn columns<'a>(self, root: &'a Bound, schema: &'a Schema) -> Vec<&'a str> {
        match (self, &root.source().layout) {
            // In a wide table every version has its times, whatever else is read of it.
            (Self::Times, Layout::Wide) => Vec::new(),
            _ => root.columns(schema),
        }
    }
}

/// The source rows that were known at a time, and what is computed from them.
struct Then<'a> {
    store: &'a FeatureStore,
    entity: &'a EntityKey,
    versions: &'a Versions<'a>,
    known_by: Timestamp,
}

impl Then<'_> {
    fn features(&self, bound: &Bound, gap: &Gap) -> Result<RecordBatch> {
        self.store.compute_past(gap, |gap| {
            let range = TimeRange::new(gap.source_start(), gap.range().end())?;
            bound.recipe.compute(gap, &self.rows(bound, range)?)
        })
    }

    fn rows(&self, bound: &Bound, range: TimeRange) -> Result<Frame> {
        match &bound.supply {
            Supply::Source(_) | Supply::Pushed(_) => {
                Ok(Frame::of_rows(&self.versions.rows_known(range, self.known_by)?))
            }
            Supply::View(read) => {
                let gap = Gap::new(read.recipe.view().clone(), self.entity.clone(), range);
                Frame::of_batch(&self.features(read, &gap)?)
            }
        }
    }
}

impl Bound {
    /// The view of those it reads, itself included, that reads a source.
    fn root(&self) -> &Self {
        match &self.supply {
            Supply::View(read) => read.root(),
            Supply::Source(_) | Supply::Pushed(_) => self,
        }
    }

    /// The source of all its rows.
    fn source(&self) -> &SourceDefinition {
        match &self.supply {
            Supply::View(read) => read.source(),
            Supply::Source(source) => &source.definition,
            Supply::Pushed(pushed) => pushed.definition(),
        }
    }

    /// The earliest source row that the row at a time may depend on: its block has a history of its own, and so has
    /// that of each view in between.
    fn reach(&self, at: Timestamp) -> Timestamp {
        let view = self.recipe.view();
        let start = view.span().block_of(at).start().saturating_sub(view.lookback());
        match &self.supply {
            Supply::View(read) => read.reach(start),
            Supply::Source(_) | Supply::Pushed(_) => self.filled_from(start),
        }
    }

    /// Where what fills the nulls of the rows from a time on may lie.
    pub(super) fn filled_from(&self, start: Timestamp) -> Timestamp {
        match (&self.supply, self.source().fill) {
            (Supply::Source(_), Some(Fill::Last { within })) => start.saturating_sub(within),
            _ => start,
        }
    }

    /// Whether its rows may have other event times than the source's.
    fn is_retimed(&self) -> bool {
        match &self.supply {
            Supply::View(read) => self.recipe.is_retimed() || read.is_retimed(),
            Supply::Source(_) | Supply::Pushed(_) => self.recipe.is_retimed(),
        }
    }
}

/// The places of those times at which something of a block may not have been known that begins by then.
fn unsure(answer: &Answer, at: &[i64]) -> Vec<usize> {
    let mut blocks = answer.blocks().iter().peekable();
    let mut newest = Timestamp::MIN;
    let is_unsure = |at: i64| {
        while let Some(block) = blocks.next_if(|block| block.range().start().as_ns() <= at) {
            newest = newest.max(block.newest_created().unwrap_or(Timestamp::MAX));
        }
        newest.as_ns() > at
    };
    let is_unsure: Vec<bool> = at.iter().copied().map(is_unsure).collect();
    (0..at.len()).filter(|index| is_unsure.get(*index) == Some(&true)).collect()
}

#[cfg(test)]
mod tests;
