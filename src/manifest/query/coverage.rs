//! From where to where there are blocks, and where there are holes.

use std::collections::{BTreeMap, HashMap};

use super::Query;
use crate::error::Result;
use crate::model::{Fingerprint, TimeRange, Timestamp, ViewName};

/// What one version of a view has blocks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// The view.
    pub view: ViewName,
    /// The version.
    pub fingerprint: Fingerprint,
    /// Entities that have blocks.
    pub entities: u64,
    /// Blocks.
    pub blocks: u64,
    /// Where the first block of any entity starts.
    pub start: Timestamp,
    /// Up to where the values of any entity are known.
    pub end: Timestamp,
    /// Where values are missing between the first and the last block of an entity, in order of time.
    pub holes: Vec<Hole>,
}

/// A stretch of time that the same number of entities lack.
///
/// An entity lacks what lies between its own first and last block and is covered by none, or lies
/// behind the known part of a tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// When.
    pub range: TimeRange,
    /// How many entities lack it.
    pub entities: u64,
}

/// An entity whose blocks add up to the time from its first to its last has no hole: blocks of one
/// entity never overlap. Only the others are worth sorting.
const GAPS: &str = "
WITH spans AS (
    SELECT view, fingerprint, entity, start_ts::TIMESTAMP_NS AS start_ts,
           least(end_ts, known_until) AS known FROM manifest
), broken AS (
    SELECT view, fingerprint, entity FROM spans GROUP BY ALL
    HAVING sum(epoch_ns(known)::HUGEINT - epoch_ns(start_ts)) <> max(epoch_ns(known))::HUGEINT - min(epoch_ns(start_ts))
), followed AS (
    SELECT view, fingerprint, known,
           lead(start_ts) OVER (PARTITION BY view, fingerprint, entity ORDER BY start_ts) AS next
    FROM spans SEMI JOIN broken USING (view, fingerprint, entity)
)
SELECT view, fingerprint, known, next, count(*) FROM followed WHERE next > known GROUP BY ALL";

const EXTENTS: &str = "
SELECT view, fingerprint, count(DISTINCT entity), count(*), min(start_ts), max(least(end_ts, known_until))
FROM manifest GROUP BY view, fingerprint ORDER BY view, min(created), fingerprint";

impl Query<'_> {
    /// What every version of every view has blocks for, and what is missing in between.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn coverage(&self) -> Result<Vec<Coverage>> {
        let mut gaps: HashMap<(ViewName, Fingerprint), Vec<(TimeRange, u64)>> = HashMap::new();
        let rows = self.rows("looking for holes", GAPS, [], |row| {
            let gap = TimeRange::new(row.get(2)?, row.get(3)?);
            Ok(((row.get(0)?, row.get(1)?), gap, row.get(4)?))
        })?;
        for (version, gap, entities) in rows {
            gaps.entry(version).or_default().push((gap?, entities));
        }
        let extents = self.rows("reading the coverage", EXTENTS, [], |row| {
            Ok(Coverage {
                view: row.get(0)?,
                fingerprint: row.get(1)?,
                entities: row.get(2)?,
                blocks: row.get(3)?,
                start: row.get(4)?,
                end: row.get(5)?,
                holes: Vec::new(),
            })
        })?;
        let with_holes = |mut coverage: Coverage| {
            let version = (coverage.view.clone(), coverage.fingerprint);
            coverage.holes = holes(gaps.remove(&version).unwrap_or_default());
            coverage
        };
        Ok(extents.into_iter().map(with_holes).collect())
    }
}

/// Overlapping gaps of several entities as stretches that follow each other: where gaps begin and end
/// the number of entities that lack something changes, and nowhere else.
fn holes(gaps: Vec<(TimeRange, u64)>) -> Vec<Hole> {
    let mut changes: BTreeMap<Timestamp, (u64, u64)> = BTreeMap::new();
    for (gap, entities) in gaps {
        changes.entry(gap.start()).or_default().0 += entities;
        changes.entry(gap.end()).or_default().1 += entities;
    }
    let mut holes: Vec<Hole> = Vec::new();
    let (mut lacking, mut since) = (0u64, Timestamp::MIN);
    for (at, (begin, end)) in changes {
        let now = (lacking + begin).saturating_sub(end);
        if now == lacking {
            continue;
        }
        if let Ok(range) = TimeRange::new(since, at)
            && lacking > 0
        {
            holes.push(Hole { range, entities: lacking });
        }
        (lacking, since) = (now, at);
    }
    holes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(start: i64, end: i64) -> TimeRange {
        TimeRange::new(Timestamp::from_ns(start), Timestamp::from_ns(end)).unwrap()
    }

    proptest! {
        #[test]
        fn holes_count_at_every_instant_who_lacks_it(
            gaps in prop::collection::vec((0i64..30, 1i64..10, 1u64..4), 0..8),
        ) {
            let gaps: Vec<_> = gaps.into_iter().map(|(start, long, n)| (range(start, start + long), n)).collect();
            let found = holes(gaps.clone());
            for at in (-1..45).map(Timestamp::from_ns) {
                let lacking: u64 = gaps.iter().filter(|(gap, _)| gap.contains(at)).map(|(_, n)| n).sum();
                let told: u64 = found.iter().filter(|hole| hole.range.contains(at)).map(|hole| hole.entities).sum();
                prop_assert_eq!(told, lacking, "at {}", at);
            }
            for pair in found.windows(2) {
                prop_assert!(pair[0].range.end() <= pair[1].range.start());
                prop_assert!(pair[0].range.end() < pair[1].range.start() || pair[0].entities != pair[1].entities);
            }
        }
    }
}
