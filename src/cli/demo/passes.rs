//! The same requests again and again: cold, from disk, from memory.

use std::time::{Duration, Instant};

use super::export::Exporter;
use super::market::Market;
use crate::cache::{Answer, FeatureStore};
use crate::cli::failure::Failure;
use crate::cli::progress::Watch;
use crate::error::Result;
use crate::model::{EntityKey, FeatureView, Outcome, TimeRange, Timestamp};
use crate::upkeep::Progress;

/// What is asked for of one symbol.
pub struct Request {
    /// The symbol.
    pub symbol: String,
    /// The same as an entity.
    pub entity: EntityKey,
    /// All days of its bars.
    pub range: TimeRange,
}

/// One request's end.
#[derive(Debug, Clone, Copy)]
pub struct Pass {
    /// What it turned out to be.
    pub outcome: Outcome,
    /// How long the caller waited.
    pub took: Duration,
}

/// All requests of one symbol.
pub struct SymbolRun {
    /// The symbol.
    pub symbol: String,
    /// What was asked for.
    pub range: TimeRange,
    /// Rows of its features.
    pub rows: usize,
    /// Blocks that they came in.
    pub blocks: usize,
    /// The first request.
    pub cold: Pass,
    /// After the store was opened again.
    pub disk: Pass,
    /// Once more.
    pub memory: Pass,
}

/// The requests for every symbol of a market.
///
/// # Errors
/// `Invalid` for a symbol that is no entity, or whose bars are still to come.
pub fn plan(market: &Market, view: &FeatureView, now: Timestamp) -> Result<Vec<Request>> {
    let known_until = now.saturating_sub(view.lateness());
    let request = |symbol: &str| {
        let entity = EntityKey::new([("symbol", symbol)])?;
        Ok(Request { symbol: symbol.to_owned(), entity, range: market.days(symbol, known_until)? })
    };
    market.symbols().map(request).collect()
}

/// Makes the requests, symbol by symbol, and stops between two of them.
pub struct Passes<'a> {
    /// Where the features come from.
    pub market: &'a Market,
    /// The view that is asked for.
    pub view: &'a FeatureView,
    /// Watches.
    pub watch: Watch,
    /// Symbols that are done, in both passes together.
    pub done: u64,
}

impl Passes<'_> {
    /// Asks for every symbol once.
    ///
    /// # Errors
    /// Of a request; [`Failure::Interrupted`].
    pub fn cold(&mut self, store: &FeatureStore, plan: &[Request]) -> Result<Vec<Pass>, Failure> {
        plan.iter()
            .map(|request| {
                self.step(plan.len())?;
                Ok(self.ask(store, request)?.0)
            })
            .collect()
    }

    /// Asks for every symbol twice, and exports what came.
    ///
    /// # Errors
    /// Of a request or an export; [`Failure::Interrupted`].
    pub fn warm(
        &mut self,
        store: &FeatureStore,
        plan: &[Request],
        cold: Vec<Pass>,
        exporter: Option<&Exporter>,
    ) -> Result<Vec<SymbolRun>, Failure> {
        let mut runs = Vec::with_capacity(plan.len());
        for (request, cold) in plan.iter().zip(cold) {
            self.step(plan.len())?;
            let (disk, _) = self.ask(store, request)?;
            let (memory, answer) = self.ask(store, request)?;
            if let Some(exporter) = exporter {
                exporter.write(&request.symbol, &answer.to_batch()?)?;
            }
            runs.push(SymbolRun {
                symbol: request.symbol.clone(),
                range: request.range,
                rows: answer.num_rows(),
                blocks: answer.blocks().len(),
                cold,
                disk,
                memory,
            });
        }
        Ok(runs)
    }

    fn ask(&self, store: &FeatureStore, request: &Request) -> Result<(Pass, Answer)> {
        let began = Instant::now();
        let answer = store.get_or_compute(self.view, &request.entity, request.range, |gap| {
            self.market.compute(&request.symbol, gap)
        })?;
        Ok((Pass { outcome: answer.outcome(), took: began.elapsed() }, answer))
    }

    fn step(&mut self, symbols: usize) -> Result<(), Failure> {
        let total = 2 * symbols as u64;
        if !self.watch.advance(self.done, Some(total)) {
            let cached = self.done.min(symbols as u64);
            return Err(Failure::Interrupted(format!(
                "{cached} of {symbols} symbols are in the cache; the same command goes on from there"
            )));
        }
        self.done += 1;
        Ok(())
    }
}
