//! What has to be computed: pure arithmetic over blocks.

use std::ops::Range;
use std::time::Duration;

use crate::model::{TimeRange, Timestamp};
use crate::planted::{self, Bug};

/// A block that does not hold all that was asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lacking {
    /// Its span of time.
    pub block: TimeRange,
    /// Up to when it is known; its start where nothing is.
    pub known_until: Timestamp,
}

/// A part of time to compute in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedGap {
    /// The part of time.
    pub range: TimeRange,
    /// Which of the lacking blocks it fills.
    pub blocks: Range<usize>,
}

/// Up to when a block has to be known to answer a range that ends at `until`.
pub fn needed_until(block: TimeRange, until: Timestamp) -> Timestamp {
    block.end().min(until)
}

/// Joins what the `lacking` blocks, in order of time, still need into as few gaps as possible.
///
/// A gap reaches the end of its last block or the later of `watermark` and `until`: what is complete
/// is computed to its end, so that the next request finds it.
pub fn gaps(lacking: &[Lacking], until: Timestamp, watermark: Timestamp) -> Vec<PlannedGap> {
    let mut gaps: Vec<PlannedGap> = Vec::new();
    for (at, one) in lacking.iter().enumerate() {
        let end = one.block.end().min(watermark.max(until));
        let begin = one.known_until.max(one.block.start());
        let begin = begin.saturating_add(Duration::from_nanos(u64::from(planted::is(Bug::GapBeginsLate))));
        let Ok(range) = TimeRange::new(begin, end) else { continue };
        match gaps.last_mut() {
            Some(last)
                if (last.range.end() == range.start() || planted::is(Bug::GapsJoined)) && last.blocks.end == at =>
            {
                // Both are non-empty and adjacent, so their union is a range.
                last.range = TimeRange::new(last.range.start(), range.end()).unwrap_or(last.range);
                last.blocks.end = at + 1;
            }
            _ => gaps.push(PlannedGap { range, blocks: at..at + 1 }),
        }
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Span;
    use proptest::prelude::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn range(start: i64, end: i64) -> TimeRange {
        TimeRange::new(at(start), at(end)).unwrap()
    }

    fn absent(start: i64, end: i64) -> Lacking {
        Lacking { block: range(start, end), known_until: at(start) }
    }

    #[test]
    fn adjacent_blocks_are_one_gap() {
        let far = at(1_000_000);
        let planned = gaps(&[absent(0, 10), absent(10, 20), absent(30, 40)], at(40), far);
        assert_eq!(planned.len(), 2);
        assert_eq!(planned[0], PlannedGap { range: range(0, 20), blocks: 0..2 });
        assert_eq!(planned[1], PlannedGap { range: range(30, 40), blocks: 2..3 });
    }

    #[test]
    fn a_tail_is_extended_not_computed_again() {
        let tail = Lacking { block: range(0, 100), known_until: at(50) };
        assert_eq!(gaps(&[tail], at(60), at(70))[0].range, range(50, 70), "up to the watermark");
        assert_eq!(gaps(&[tail], at(80), at(70))[0].range, range(50, 80), "or to what was asked for");
    }

    proptest! {
        /// Against every second: exactly those are computed that a lacking block does not know and that are not yet to come.
        #[test]
        fn gaps_cover_what_is_lacking_and_nothing_else(
            lacks in proptest::collection::vec((any::<bool>(), 0i64..3600), 1..8), until in 0i64..30_000, watermark in 0i64..30_000
        ) {
            let hours: Vec<TimeRange> = Span::Hour.blocks(range(0, 3600 * i64::try_from(lacks.len()).unwrap())).collect();
            let lacking: Vec<Lacking> = hours.iter().zip(&lacks).filter(|(_, (lacks, _))| *lacks)
                .map(|(hour, (_, known))| Lacking { block: *hour, known_until: hour.start().saturating_add(Duration::from_secs(u64::try_from(*known).unwrap())) })
                .collect();
            let planned = gaps(&lacking, at(until), at(watermark));
            let limit = at(until.max(watermark));
            for second in 0..3600 * i64::try_from(lacks.len()).unwrap() {
                let now = at(second);
                let wanted = now < limit && lacking.iter().any(|one| one.block.contains(now) && now >= one.known_until);
                let covering = planned.iter().filter(|gap| gap.range.contains(now)).count();
                prop_assert_eq!(covering, usize::from(wanted), "second {}", second);
            }
            for pair in planned.windows(2) {
                prop_assert!(pair[0].range.end() < pair[1].range.start() || pair[0].blocks.end != pair[1].blocks.start);
            }
            for gap in &planned {
                for one in &lacking[gap.blocks.clone()] {
                    prop_assert!(one.block.overlaps(&gap.range));
                }
            }
        }
    }
}
