//! Bars of one symbol, in columns.

use std::collections::BTreeMap;
use std::time::Duration;

/// One bar: what a symbol traded at during one step of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// Label of the bar as its source gives it, nanoseconds since the Unix epoch, UTC.
    pub ts: i64,
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Quantity traded, in the source's unit; NaN where the source does not say.
    pub volume: f64,
}

/// The bars of one symbol, in columns of one length.
///
/// Labels strictly increase: collecting [`Bar`]s sorts them by label and keeps the last of those
/// that share one.
///
/// ```
/// use larder::technical::{Bar, Bars};
///
/// let bar = |ts, close| Bar { ts, open: close, high: close, low: close, close, volume: 0.0 };
/// let bars: Bars = [bar(60, 2.0), bar(0, 1.0), bar(60, 3.0)].into_iter().collect();
///
/// assert_eq!(bars.as_slice().ts(), [0, 60]);
/// assert_eq!(bars.as_slice().close(), [1.0, 3.0]);
/// assert_eq!(bars.duplicates(), 1);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bars {
    ts: Vec<i64>,
    open: Vec<f64>,
    high: Vec<f64>,
    low: Vec<f64>,
    close: Vec<f64>,
    volume: Vec<f64>,
    duplicates: usize,
}

impl Bars {
    /// Number of bars.
    pub fn len(&self) -> usize {
        self.ts.len()
    }

    /// Whether there is no bar at all.
    pub fn is_empty(&self) -> bool {
        self.ts.is_empty()
    }

    /// Number of rows left out because a later row had the same label.
    pub fn duplicates(&self) -> usize {
        self.duplicates
    }

    /// All bars, borrowed.
    pub fn as_slice(&self) -> BarsSlice<'_> {
        BarsSlice { ts: &self.ts, open: &self.open, high: &self.high, low: &self.low, close: &self.close }
    }

    /// The bars labelled `from_ns <= ts < to_ns`, borrowed. Two binary searches.
    pub fn window(&self, from_ns: i64, to_ns: i64) -> BarsSlice<'_> {
        self.as_slice().window(from_ns, to_ns)
    }

    /// Quantity traded per bar, in the source's unit; NaN where the source does not say.
    pub fn volume(&self) -> &[f64] {
        &self.volume
    }

    /// Length of a bar: the most common step from one label to the next, the shorter one if two
    /// are equally common. `None` for fewer than two bars.
    pub fn bar_length(&self) -> Option<Duration> {
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for (earlier, later) in self.ts.iter().zip(self.ts.iter().skip(1)) {
            *counts.entry(later.abs_diff(*earlier)).or_default() += 1;
        }
        // `max_by_key` keeps the last of equals; reversed, that is the shortest step.
        let (step, _) = counts.into_iter().rev().max_by_key(|(_, count)| *count)?;
        Some(Duration::from_nanos(step))
    }

    fn with_capacity(rows: usize) -> Self {
        Self {
            ts: Vec::with_capacity(rows),
            open: Vec::with_capacity(rows),
            high: Vec::with_capacity(rows),
            low: Vec::with_capacity(rows),
            close: Vec::with_capacity(rows),
            volume: Vec::with_capacity(rows),
            duplicates: 0,
        }
    }

    fn push(&mut self, bar: Bar) {
        self.ts.push(bar.ts);
        self.open.push(bar.open);
        self.high.push(bar.high);
        self.low.push(bar.low);
        self.close.push(bar.close);
        self.volume.push(bar.volume);
    }
}

impl FromIterator<Bar> for Bars {
    fn from_iter<I: IntoIterator<Item = Bar>>(rows: I) -> Self {
        let mut rows: Vec<Bar> = rows.into_iter().collect();
        // Stable, so that of rows with one label the last is the one the source gave last.
        rows.sort_by_key(|bar| bar.ts);
        let mut bars = Self::with_capacity(rows.len());
        let mut rows = rows.into_iter().peekable();
        while let Some(bar) = rows.next() {
            if rows.peek().is_some_and(|next| next.ts == bar.ts) {
                bars.duplicates += 1;
            } else {
                bars.push(bar);
            }
        }
        bars
    }
}

/// Consecutive bars of one symbol, borrowed from [`Bars`]: columns of one length whose labels
/// strictly increase.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BarsSlice<'a> {
    ts: &'a [i64],
    open: &'a [f64],
    high: &'a [f64],
    low: &'a [f64],
    close: &'a [f64],
}

impl<'a> BarsSlice<'a> {
    /// Number of bars.
    pub fn len(self) -> usize {
        self.ts.len()
    }

    /// Whether there is no bar at all.
    pub fn is_empty(self) -> bool {
        self.ts.is_empty()
    }

    /// Labels, nanoseconds since the Unix epoch, UTC.
    pub fn ts(self) -> &'a [i64] {
        self.ts
    }

    /// First price of each bar.
    pub fn open(self) -> &'a [f64] {
        self.open
    }

    /// Highest price of each bar.
    pub fn high(self) -> &'a [f64] {
        self.high
    }

    /// Lowest price of each bar.
    pub fn low(self) -> &'a [f64] {
        self.low
    }

    /// Last price of each bar.
    pub fn close(self) -> &'a [f64] {
        self.close
    }

    /// The bars among these labelled `from_ns <= ts < to_ns`. Two binary searches.
    pub fn window(self, from_ns: i64, to_ns: i64) -> Self {
        let start = self.ts.partition_point(|ts| *ts < from_ns);
        let end = self.ts.partition_point(|ts| *ts < to_ns);
        // Both ends lie within every column: `get` finds nothing only where the end is before the
        // start, and then nothing is right.
        fn cut<T>(column: &[T], start: usize, end: usize) -> &[T] {
            column.get(start..end).unwrap_or_default()
        }
        Self {
            ts: cut(self.ts, start, end),
            open: cut(self.open, start, end),
            high: cut(self.high, start, end),
            low: cut(self.low, start, end),
            close: cut(self.close, start, end),
        }
    }
}
