//! `larder demo`: the main job, from bars to cached features, seen from outside.

mod export;
mod market;
mod passes;
mod report;

use std::path::PathBuf;

use clap::Args;

use super::cache::Cache;
use super::failure::Failure;
use super::progress::Watch;
use super::session::Session;
use crate::cache::FeatureStore;
use crate::manifest::BlockFilter;
use export::Exporter;
use market::Market;
use passes::{Passes, plan};
use report::DemoReport;

const LONG_ABOUT: &str = "\
Compute technical features of minute bars through the cache: cold, from disk, from memory

Every symbol is asked for three times: once with nothing in the cache, once after the store was opened \
again, so that the blocks come from disk, and once more, so that they come from memory. The bars are \
made up, the same ones every time, or read from a Parquet file with the columns ts, open, high, low, \
close and, optionally, symbol and volume.

The requests are real ones: they count towards the service level of this cache. Running the demo again on \
the same bars finds everything in the cache; --fresh forgets it first.";

const EXAMPLES: &str = "\
Examples:
  larder demo
  larder demo --symbols 20 --days 30
  larder demo --bars bars.parquet --export features --json";

/// Compute technical features of minute bars through the cache: cold, from disk, from memory
#[derive(Debug, Args)]
#[command(long_about = LONG_ABOUT, after_help = EXAMPLES)]
pub struct Options {
    /// How many symbols to make bars for
    #[arg(long, value_name = "N", default_value_t = 8, conflicts_with = "bars")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    symbols: u32,
    /// How many days of bars to make
    #[arg(long, value_name = "N", default_value_t = 5, conflicts_with = "bars")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Read bars from this Parquet file instead of making them
    #[arg(long, value_name = "FILE")]
    bars: Option<PathBuf>,
    /// Forget what an earlier run cached of these symbols
    #[arg(long)]
    fresh: bool,
    /// Write each symbol's features to a Parquet file in this directory
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
}

/// Runs the demo.
///
/// # Errors
/// Bars that cannot be read, a cache or export directory that cannot be used, Ctrl-C.
pub fn run(options: &Options, session: &Session) -> Result<DemoReport, Failure> {
    let market = match &options.bars {
        Some(file) => Market::read(file)?,
        None => Market::make(options.symbols, options.days, &mut Watch::begin("making bars", &session.interrupt))?,
    };
    let view = market.view()?;
    let plan = plan(&market, &view, session.now())?;
    let exporter = options.export.as_deref().map(|dir| Exporter::create(dir, market.symbols())).transpose()?;
    let open = || FeatureStore::builder(&session.root).settings(session.settings.clone()).open();

    let mut passes = Passes { market: &market, view: &view, watch: Watch::begin("demo", &session.interrupt), done: 0 };
    let store = open()?;
    if options.fresh {
        for request in &plan {
            store.invalidate(&view, &request.entity, request.range)?;
        }
    }
    let cold = passes.cold(&store, &plan)?;
    store.flush();
    drop(store);
    // A store that was just opened has nothing in memory.
    let store = open()?;
    let runs = passes.warm(&store, &plan, cold, exporter.as_ref())?;
    store.flush();
    drop(store);

    let cache = Cache::open(session)?;
    let filter = BlockFilter {
        view: Some(view.name().clone()),
        fingerprint: Some(view.fingerprint()),
        ..BlockFilter::default()
    };
    let blocks = cache.read(session.now(), |query| query.blocks(&filter))?;
    let exported = exporter.map(Exporter::into_dir);
    Ok(DemoReport::new(session, &market, &view, cache.manifest.path(), runs, &blocks, exported))
}
