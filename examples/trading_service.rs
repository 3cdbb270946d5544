//! What the author of a trading service copies: open a store, define a view, let several threads ask
//! for several symbols, compute on a miss, read the answer, print the hit ratio.
//!
//! `cargo run --release --example trading_service` keeps its cache in `./trading_service_cache`, so a
//! second run is served from disk.

#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Float64Type};
use larder::{EntityKey, FeatureStore, FeatureView, Gap, Span, TimeRange};

const SYMBOLS: [&str; 4] = ["EURUSD", "GBPUSD", "USDJPY", "USDCOP"];
const MINUTE: i64 = 60_000_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = FeatureStore::builder("trading_service_cache").open()?;
    let view = FeatureView::builder("momentum")
        .entity("symbol")
        .feature("log_ret_1h", DataType::Float64)
        .span(Span::Day)
        .lookback(Duration::from_secs(3600)) // the first return of a day looks an hour back
        .version("1") // raise it when `momentum` changes: the old blocks become orphans
        .build()?;
    let week = TimeRange::parse("2024-03-04", "2024-03-09")?;

    // What Prometheus scrapes, and a status page, while the service lives; a free port, so that several
    // services can run. Without the feature `server`: `store.metrics_text()`.
    #[cfg(feature = "server")]
    let server = larder::server::Server::start(
        &store,
        larder::server::Options { listen: ([127, 0, 0, 1], 0).into(), ..Default::default() },
    )?;
    #[cfg(feature = "server")]
    println!("metrics at http://{}/metrics", server.address());

    // Every thread asks for every symbol: each block is computed once, whoever comes first.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| SYMBOLS.iter().try_for_each(|symbol| ask(&store, &view, symbol, week)));
        }
    });

    let slo = store.slo();
    let now = slo.windows.first().and_then(|window| window.hit_ratio);
    match now {
        Some(ratio) => println!("hit ratio {:.1} %, objective {:.0} %", ratio * 100.0, slo.objective * 100.0),
        None => println!("no requests in the last five minutes"),
    }
    Ok(())
}

/// One request of the service.
fn ask(store: &FeatureStore, view: &FeatureView, symbol: &str, range: TimeRange) -> larder::Result<()> {
    let entity = EntityKey::new([("symbol", symbol)])?;
    let answer = store.get_or_compute(view, &entity, range, momentum)?;
    let last =
        answer.batches().filter_map(|batch| batch.column(1).as_primitive::<Float64Type>().values().last()).last();
    let last = last.copied().unwrap_or(f64::NAN);
    println!("{symbol}: {} rows, {}, last value {last:+.5}", answer.num_rows(), answer.outcome());
    Ok(())
}

/// The feature of every minute in the gap. Each window is a block's share of it, with the history that
/// the block may use: a real service reads its bars in `window.source` here.
fn momentum(gap: &Gap) -> larder::Result<RecordBatch> {
    let mut times = Vec::new();
    let mut returns = Vec::new();
    for window in gap.windows() {
        for time in (window.range.start().as_ns()..window.range.end().as_ns()).step_by(MINUTE as usize) {
            times.push(time);
            returns.push((price(gap.entity(), time) / price(gap.entity(), time - 60 * MINUTE)).ln());
        }
    }
    let returns: ArrayRef = Arc::new(Float64Array::from(returns));
    gap.batch(times, vec![returns])
}

/// A price for every minute, in the place of a database.
fn price(entity: &EntityKey, time: i64) -> f64 {
    let phase: u32 = entity.to_string().bytes().map(u32::from).sum();
    1.1 + 0.01 * ((time / MINUTE) as f64 / 97.0 + f64::from(phase)).sin()
}
