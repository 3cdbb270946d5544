//! What the demo saw.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::market::Market;
use super::passes::{Pass, SymbolRun};
use crate::cli::failure::Exit;
use crate::cli::page::{Align, Page, Tone};
use crate::cli::quantity;
use crate::cli::report::Report;
use crate::cli::session::Session;
use crate::manifest::BlockRow;
use crate::model::{FeatureView, Outcome};
use crate::slo::Counts;

/// The facts of one demo.
#[derive(Debug, Serialize)]
pub struct DemoReport {
    bars: BarsFacts,
    view: String,
    fingerprint: String,
    features: Vec<String>,
    lookback_days: u64,
    objective: f64,
    cold_hit_ratio: Option<f64>,
    warm_hit_ratio: Option<f64>,
    hit_ratio: Option<f64>,
    requests: u64,
    hits: u64,
    symbols: Vec<SymbolFacts>,
    blocks: u64,
    empty_blocks: u64,
    bytes: u64,
    cache_dir: PathBuf,
    manifest: PathBuf,
    exported: Option<PathBuf>,
    #[serde(skip)]
    next: [String; 2],
}

#[derive(Debug, Serialize)]
struct BarsFacts {
    source: String,
    rows: u64,
    bar_seconds: f64,
}

#[derive(Debug, Serialize)]
struct SymbolFacts {
    symbol: String,
    start: String,
    end: String,
    rows: u64,
    blocks: u64,
    bytes: u64,
    cold_outcome: Outcome,
    warm_outcome: Outcome,
    memory_outcome: Outcome,
    cold_ms: f64,
    warm_ms: f64,
    memory_ms: f64,
    #[serde(skip)]
    cold: Duration,
    #[serde(skip)]
    disk: Duration,
    #[serde(skip)]
    memory: Duration,
}

impl DemoReport {
    /// Puts the facts together.
    pub fn new(
        session: &Session,
        market: &Market,
        view: &FeatureView,
        manifest: PathBuf,
        runs: Vec<SymbolRun>,
        blocks: &[BlockRow],
        exported: Option<PathBuf>,
    ) -> Self {
        let outcomes = |passes: &[fn(&SymbolRun) -> Pass]| -> Counts {
            passes.iter().flat_map(|pass| runs.iter().map(|run| (pass(run).outcome, 1))).collect()
        };
        let cold = outcomes(&[|run| run.cold]);
        let warm = outcomes(&[|run| run.disk, |run| run.memory]);
        let mut all = cold;
        all.merge(&warm);
        let mut bytes: HashMap<String, u64> = HashMap::new();
        for block in blocks {
            let symbol = block.entity.value("symbol").map(ToString::to_string).unwrap_or_default();
            *bytes.entry(symbol).or_default() += block.bytes;
        }
        Self {
            bars: BarsFacts {
                source: market.source.clone(),
                rows: market.rows(),
                bar_seconds: market.bar_length().as_secs_f64(),
            },
            view: view.name().to_string(),
            fingerprint: view.fingerprint().to_string(),
            features: view.features().iter().map(|feature| feature.name().to_string()).collect(),
            lookback_days: view.lookback().as_secs() / 86_400,
            objective: session.settings.slo.objective,
            cold_hit_ratio: cold.ratio(),
            warm_hit_ratio: warm.ratio(),
            hit_ratio: all.ratio(),
            requests: all.total(),
            hits: all.good(),
            symbols: runs.iter().map(|run| symbol_facts(run, bytes.get(&run.symbol).copied().unwrap_or(0))).collect(),
            blocks: blocks.len() as u64,
            empty_blocks: blocks.iter().filter(|block| block.rows == 0).count() as u64,
            bytes: blocks.iter().map(|block| block.bytes).sum(),
            cache_dir: session.root.clone(),
            manifest,
            exported,
            next: [session.command("stats"), session.command("slo")],
        }
    }

    fn write_bars(&self, page: &mut Page) {
        let first = self.symbols.iter().map(|symbol| &symbol.start).min();
        let last = self.symbols.iter().map(|symbol| &symbol.end).max();
        let days = first.zip(last).map_or_else(String::new, |(first, last)| format!(", {first} to {last}"));
        page.field(
            "Bars",
            &format!(
                "{}: {} of {}, {} each{days}",
                self.bars.source,
                quantity::counted(self.bars.rows, "bar", "bars"),
                quantity::counted(self.symbols.len() as u64, "symbol", "symbols"),
                quantity::rough(Duration::from_secs_f64(self.bars.bar_seconds)),
            ),
        );
        page.field(
            "View",
            &format!(
                "{}: {} features of each symbol, one block per day, {} of history before it",
                self.view,
                self.features.len(),
                quantity::counted(self.lookback_days, "day", "days")
            ),
        );
    }

    fn write_symbols(&self, page: &mut Page) {
        page.table(
            [
                ("symbol", Align::Left),
                ("cold → warm", Align::Left),
                ("rows", Align::Right),
                ("cold", Align::Right),
                ("disk", Align::Right),
                ("memory", Align::Right),
                ("size", Align::Right),
            ],
            self.symbols.iter().map(|symbol| {
                [
                    symbol.symbol.clone(),
                    format!("{} → {}", symbol.cold_outcome, symbol.warm_outcome),
                    quantity::count(symbol.rows),
                    quantity::duration(symbol.cold),
                    quantity::duration(symbol.disk),
                    quantity::duration(symbol.memory),
                    quantity::bytes(symbol.bytes),
                ]
            }),
        );
    }

    fn write_totals(&self, page: &mut Page) {
        let tone = if self.exit() == Exit::Good { Tone::Good } else { Tone::Bad };
        let warm = tone.paint(&quantity::ratio(self.warm_hit_ratio));
        page.field(
            "Warm",
            &format!("{warm} of the repeated requests hit; the target is {}", quantity::percent(self.objective)),
        );
        let first = |is: fn(Outcome) -> bool| self.symbols.iter().filter(|symbol| is(symbol.cold_outcome)).count();
        let (whole, part) = (first(Outcome::is_good), first(|outcome| outcome == Outcome::Partial));
        let cold = match (whole, part, self.symbols.len() - whole - part) {
            (0, 0, _) => "the first requests found nothing in the cache and had to compute".to_owned(),
            (_, 0, 0) => "these bars were cached before, so nothing was computed; --fresh starts cold".to_owned(),
            (whole, part, nothing) => {
                format!("of the first requests {whole} found all in the cache, {part} a part and {nothing} nothing")
            }
        };
        page.field(
            "Overall",
            &format!("{} ({} of {} requests); {cold}", quantity::ratio(self.hit_ratio), self.hits, self.requests),
        );
        let empty = match self.empty_blocks {
            0 => String::new(),
            empty => format!("; {} of them empty, because days without bars are cached too", quantity::count(empty)),
        };
        let files = quantity::counted(self.blocks, "file", "files");
        page.field("Blocks", &format!("{files}, {}{empty}", quantity::bytes(self.bytes)));
    }
}

fn symbol_facts(run: &SymbolRun, bytes: u64) -> SymbolFacts {
    let ms = |pass: Pass| pass.took.as_secs_f64() * 1e3;
    SymbolFacts {
        symbol: run.symbol.clone(),
        start: quantity::time(run.range.start()),
        end: quantity::time(run.range.end()),
        rows: run.rows as u64,
        blocks: run.blocks as u64,
        bytes,
        cold_outcome: run.cold.outcome,
        warm_outcome: run.disk.outcome,
        memory_outcome: run.memory.outcome,
        cold_ms: ms(run.cold),
        warm_ms: ms(run.disk),
        memory_ms: ms(run.memory),
        cold: run.cold.took,
        disk: run.disk.took,
        memory: run.memory.took,
    }
}

impl Report for DemoReport {
    fn write(&self, page: &mut Page) {
        self.write_bars(page);
        page.gap();
        self.write_symbols(page);
        page.gap();
        self.write_totals(page);
        page.verbatim(&format!("Files      {}", self.cache_dir.join("blocks").display()));
        page.verbatim(&format!("Manifest   {}", self.manifest.display()));
        if let Some(dir) = &self.exported {
            page.verbatim(&format!("Exported   {}", dir.display()));
        }
        page.gap();
        let [stats, slo] = &self.next;
        page.verbatim(&format!("Next       {stats}"));
        page.verbatim(&format!("           {slo}"));
    }

    /// Repeated requests that do not hit are a finding: the cache could not keep the blocks.
    fn exit(&self) -> Exit {
        if self.warm_hit_ratio.is_some_and(|ratio| ratio >= self.objective) { Exit::Good } else { Exit::Finding }
    }
}
