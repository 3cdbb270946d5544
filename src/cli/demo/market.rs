//! The bars of a demo, and the features computed from them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use twox_hash::XxHash3_128;

use crate::cache::{ComputeError, Gap};
use crate::cli::failure::Failure;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{FeatureView, Span, TimeRange, Timestamp};
use crate::technical::{
    Bars, BarsError, FEATURE_NAMES, MIN_BARS, lookback_for, read_bars, synthetic_bars, technical_features,
};
use crate::upkeep::Progress;

/// Not that of a shipped definition, whose blocks a new user will want to tell from these.
const VIEW: &str = "demo_features";
/// Raised when the formulas change.
const VERSION: &str = "1";
const DAY: Duration = Duration::from_secs(86_400);
/// Wednesday 2024-03-13: the five days before it hold a Saturday, on which the market is closed.
const END_OF_MADE_BARS: Timestamp = Timestamp::from_secs(19_795 * 86_400);
const SEED: u64 = 7;
/// 14 million bars, in less than a gigabyte.
const MOST_SYMBOL_DAYS: u32 = 10_000;
const PAIRS: [&str; 12] = [
    "EURUSD", "USDJPY", "GBPUSD", "AUDUSD", "USDCAD", "USDCHF", "NZDUSD", "EURGBP", "EURJPY", "GBPJPY", "AUDJPY",
    "EURCHF",
];

/// Bars of several symbols, none of them without any.
pub struct Market {
    /// Where the bars come from.
    pub source: String,
    bars: BTreeMap<String, Bars>,
    /// The bars themselves as a number: other bars are another version of the view.
    identity: u128,
}

impl Market {
    /// Reads the bars of a file.
    ///
    /// # Errors
    /// `NotFound` where there is no such file, `Unavailable` where it cannot be opened, `Invalid` for
    /// one that does not hold bars.
    pub fn read(file: &Path) -> Result<Self> {
        let bars = read_bars(file).map_err(refused)?;
        Ok(Self::of(file.display().to_string(), bars))
    }

    /// Makes minute bars, the same for the same numbers.
    ///
    /// # Errors
    /// `Invalid` for more than fit into memory; [`Failure::Interrupted`].
    pub fn make(symbols: u32, days: u32, progress: &mut dyn Progress) -> Result<Self, Failure> {
        let wanted = symbols.saturating_mul(days);
        if wanted > MOST_SYMBOL_DAYS {
            let what = format!(
                "{symbols} symbols x {days} days are {wanted} days of bars: ask for at most {MOST_SYMBOL_DAYS}"
            );
            return Err(Error::invalid(what).into());
        }
        let mut bars = BTreeMap::new();
        for (done, symbol) in (0..).zip(symbol_names(symbols)) {
            if !progress.advance(done, Some(symbols.into())) {
                return Err(Failure::Interrupted("nothing was computed yet".to_owned()));
            }
            bars.extend(synthetic_bars(&[symbol], days, END_OF_MADE_BARS.as_ns(), SEED));
        }
        bars.retain(|_, bars: &mut Bars| !bars.is_empty());
        Ok(Self::of("made-up market".to_owned(), bars))
    }

    fn of(source: String, bars: BTreeMap<String, Bars>) -> Self {
        let identity = identity(&bars);
        Self { source, bars, identity }
    }

    /// The symbols in order.
    pub fn symbols(&self) -> impl ExactSizeIterator<Item = &str> {
        self.bars.keys().map(String::as_str)
    }

    /// How many bars there are.
    pub fn rows(&self) -> u64 {
        self.bars.values().map(|bars| bars.len() as u64).sum()
    }

    /// The longest bar length among the symbols; a minute where no symbol has two bars.
    pub fn bar_length(&self) -> Duration {
        self.bars.values().filter_map(Bars::bar_length).max().unwrap_or(Duration::from_secs(60))
    }

    /// The days that hold a symbol's bars, as far as they were over at `known_until`.
    ///
    /// # Errors
    /// `Invalid` where its bars begin later than that.
    pub fn days(&self, symbol: &str, known_until: Timestamp) -> Result<TimeRange> {
        let labels = self.bars.get(symbol).map_or(&[][..], |bars| bars.as_slice().ts());
        let (first, last) =
            labels.first().zip(labels.last()).ok_or_else(|| Error::internal("a symbol without bars"))?;
        let start = Span::Day.block_of(Timestamp::from_ns(*first)).start();
        let end = Span::Day.block_of(Timestamp::from_ns(*last)).end();
        TimeRange::new(start, end.min(known_until))
            .map_err(|_| Error::invalid(format!("the bars of {symbol} begin on {start}, which is still to come")))
    }

    /// The view of the technical features of these bars.
    ///
    /// # Errors
    /// `Internal`: the definition is fixed.
    pub fn view(&self) -> Result<FeatureView> {
        let features = FEATURE_NAMES.iter();
        features
            .fold(FeatureView::builder(VIEW), |view, name| view.feature(name, DataType::Float64))
            .entity("symbol")
            .span(Span::Day)
            .lookback(lookback_for(self.bars.values(), MIN_BARS))
            // A bar carries the time at which it opened, and is known when it has closed.
            .lateness(self.bar_length().max(Duration::from_secs(60)))
            .ttl(DAY)
            .version(VERSION)
            .parameter("bars", format!("{:032x}", self.identity))
            .build()
    }

    /// Computes a gap, each block from its own window of bars.
    ///
    /// # Errors
    /// What TA-Lib refuses.
    pub fn compute(&self, symbol: &str, gap: &Gap) -> Result<RecordBatch, ComputeError> {
        let bars = self.bars.get(symbol).ok_or_else(|| format!("there are no bars of {symbol}"))?;
        let mut batches = Vec::new();
        for window in gap.windows() {
            let (from, to) = (window.range.start().as_ns(), window.range.end().as_ns());
            let features = technical_features(bars.window(window.source.start().as_ns(), to), from, to)?;
            let columns = features.columns.map(|column| std::sync::Arc::new(column) as ArrayRef);
            batches.push(gap.batch(features.ts, columns.into())?);
        }
        Ok(concat_batches(gap.view().schema(), &batches)?)
    }
}

/// A hash over every symbol, label and price.
fn identity(bars: &BTreeMap<String, Bars>) -> u128 {
    let mut hasher = XxHash3_128::new();
    for (symbol, bars) in bars {
        let bars = bars.as_slice();
        // Lengths keep one symbol's numbers apart from the next one's.
        hasher.write(&(symbol.len() as u64).to_le_bytes());
        hasher.write(symbol.as_bytes());
        hasher.write(&(bars.len() as u64).to_le_bytes());
        bars.ts().iter().for_each(|label| hasher.write(&label.to_le_bytes()));
        for column in [bars.open(), bars.high(), bars.low(), bars.close()] {
            column.iter().for_each(|price| hasher.write(&price.to_le_bytes()));
        }
    }
    hasher.finish_128()
}

/// Currency pairs while there are any, then numbers.
fn symbol_names(count: u32) -> Vec<String> {
    let numbered = (1..).map(|number: u32| format!("SYM{number:04}"));
    let names = PAIRS.iter().map(ToString::to_string).chain(numbered);
    names.take(usize::try_from(count).unwrap_or(usize::MAX)).collect()
}

fn refused(error: BarsError) -> Error {
    let kind = match &error {
        BarsError::Open { source, .. } if source.kind() == std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        BarsError::Open { .. } => ErrorKind::Unavailable,
        _ => ErrorKind::Invalid,
    };
    Error::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upkeep::Silent;

    fn made(symbols: u32, days: u32) -> Market {
        Market::make(symbols, days, &mut Silent).ok().unwrap()
    }

    #[test]
    fn other_bars_are_another_version_of_the_view() {
        let fingerprint = |market: Market| market.view().unwrap().fingerprint();
        assert_eq!(fingerprint(made(2, 3)), fingerprint(made(2, 3)));
        assert_ne!(fingerprint(made(2, 3)), fingerprint(made(2, 5)));
        let mut market = made(2, 3);
        let bars = market.bars.remove("EURUSD").unwrap();
        market.bars.insert("EURUSX".to_owned(), bars);
        assert_ne!(identity(&market.bars), made(2, 3).identity);
    }

    #[test]
    fn symbols_are_distinct() {
        let names = symbol_names(1000);
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), 1000);
    }

    #[test]
    fn bars_that_end_today_are_asked_for_up_to_now() {
        let market = made(1, 5);
        let symbol = market.symbols().next().unwrap().to_owned();
        let noon: Timestamp = "2024-03-12T12:00:00Z".parse().unwrap();
        assert_eq!(
            market.days(&symbol, noon).unwrap(),
            TimeRange::parse("2024-03-08", "2024-03-12T12:00:00Z").unwrap()
        );
        assert!(market.days(&symbol, Timestamp::from_ns(0)).unwrap_err().to_string().contains("still to come"));
    }
}
