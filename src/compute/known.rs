//! Which rows were known at a time, and whether what is cached was made of others.
//!
//! Pure. A row of a view depends on source rows up to its own event time alone, and on none before the beginning of its
//! history ([`Dependence::reach`]): where nothing between these two was hidden, it is what it would have been then.

use std::collections::VecDeque;
use std::ops::Range;

/// A version of a source row, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    /// When it became true.
    pub event: i64,
    /// When it became known.
    pub known: i64,
}

/// The versions of an entity's source rows.
pub(super) struct History {
    by_event: Vec<Version>,
    by_known: Vec<Version>,
}

/// How to come by the row that counts at a time: it is the newest one up to `until`, of rows that are cached or of those
/// that were known at that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing that the cached row was made of was hidden at the time; later rows may have been.
    Cached { until: i64 },
    /// Something of it may have been: the row has to be computed from what was known.
    Computed { until: i64 },
}

/// A time whose row has to be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// Its place among all times.
    pub index: usize,
    pub at: i64,
    /// The row that counts is the newest up to here, which is not before the first that counts.
    pub until: i64,
}

/// What a view's rows depend on.
pub(super) struct Dependence<'a> {
    /// The earliest source row that a row of the view with an event time may depend on; it never falls.
    pub reach: &'a dyn Fn(i64) -> i64,
    /// Whether its rows may have other event times than source rows have.
    pub is_retimed: bool,
}

impl History {
    pub fn new(mut versions: Vec<Version>) -> Self {
        let mut by_known = versions.clone();
        versions.sort_unstable_by_key(|version| version.event);
        by_known.sort_unstable_by_key(|version| version.known);
        Self { by_event: versions, by_known }
    }

    /// How to come by the row that counts at each of the ascending times `at`. `rows` are the event times of the
    /// cached rows, ascending, from `from` on; earlier ones do not count.
    ///
    /// `O((versions + at) · log)` in all.
    pub fn judge(&self, dependence: &Dependence<'_>, rows: &[i64], from: i64, at: &[i64]) -> Vec<Verdict> {
        let mut seen = self.by_event.clone();
        // A version counts from when it is known, and not before its event time.
        seen.sort_unstable_by_key(|version| version.event.max(version.known));
        let mut seen = seen.into_iter().peekable();
        let mut newest = None;
        let mut latest = Latest::default();
        let mut coming = self.by_event.iter().copied().peekable();
        let verdict = |at: &i64| {
            while let Some(version) = seen.next_if(|version| version.event.max(version.known) <= *at) {
                newest = newest.max(Some(version.event));
            }
            let until = match (dependence.is_retimed, newest) {
                (true, _) => *at,
                // There are no rows between the source's.
                (false, Some(newest)) if newest >= from => newest,
                (false, _) => return Verdict::Cached { until: i64::MIN },
            };
            while let Some(version) = coming.next_if(|version| version.event <= until) {
                latest.push(version);
            }
            let row = rows.partition_point(|row| *row <= until).checked_sub(1).and_then(|row| rows.get(row));
            // Where there is no row, none between `from` and `until` was made of what was hidden.
            latest.leave(&|event| event < (dependence.reach)(*row.unwrap_or(&from)));
            match latest.known() {
                Some(known) if known > *at => Verdict::Computed { until },
                _ => Verdict::Cached { until },
            }
        };
        at.iter().map(verdict).collect()
    }

    /// Those of ascending times that can be computed together from what was known at the last of them: what became
    /// known in between lies after the rows that count at the earlier ones.
    pub fn together(&self, asked: &[Asked]) -> Vec<Range<usize>> {
        let mut groups: Vec<Range<usize>> = Vec::new();
        let mut before: Option<&Asked> = None;
        for (place, next) in asked.iter().enumerate() {
            match (before, groups.last_mut()) {
                (Some(before), Some(group)) if !self.is_news(before, next.at) => group.end = place + 1,
                _ => groups.push(place..place + 1),
            }
            before = Some(next);
        }
        groups
    }

    /// Whether a version became known after a time and up to `at` that may change the row which counts at that time.
    fn is_news(&self, before: &Asked, at: i64) -> bool {
        let known = |at: i64| self.by_known.partition_point(|version| version.known <= at);
        let new = self.by_known.get(known(before.at)..known(at)).unwrap_or_default();
        new.iter().any(|version| version.event <= before.until)
    }
}

/// The latest time at which one of the versions in a window became known. The window moves forwards only.
#[derive(Default)]
struct Latest {
    /// Ascending by event time, descending by when they became known: whatever is earlier and known earlier than
    /// another one is never the latest.
    window: VecDeque<Version>,
}

impl Latest {
    fn push(&mut self, version: Version) {
        while self.window.back().is_some_and(|last| last.known <= version.known) {
            self.window.pop_back();
        }
        self.window.push_back(version);
    }

    fn leave(&mut self, is_before: &dyn Fn(i64) -> bool) {
        while self.window.front().is_some_and(|first| is_before(first.event)) {
            self.window.pop_front();
        }
    }

    fn known(&self) -> Option<i64> {
        self.window.front().map(|first| first.known)
    }
}

#[cfg(test)]
mod tests;
