//! A cache of 1,000,000 blocks: opening, the first answer, `stats`, and `clean --dry-run`.
//!
//! `cargo bench --bench million` makes 1,000 symbols x 1,000 days in a temporary directory: every block has
//! its path (hard links to a few real blocks, so that it fits any disk) and its row in the manifest.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot set up should stop"
)]

mod market;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::block::BlockMeta;
use larder::clock::{Clock, SystemClock};
use larder::manifest::{BlockRow, Journal, Manifest, Record};
use larder::model::BlockId;
use larder::store::{CacheDir, Publish, block_path};
use larder::upkeep::{CleanOptions, Silent, clean};
use larder::{EntityKey, FeatureStore, FeatureView, Gap, Outcome, Settings, TimeRange, Timestamp};

const SYMBOLS: usize = 1_000;
const DAYS: usize = 1_000;
const DAY: i64 = 86_400_000_000_000;
/// ext4 allows 65,000 links to a file.
const LINKS: usize = 50_000;

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let cache = dir.path().join("cache");
    let view = market::view();
    make(&cache, &view);
    first_answer(&cache, &view);
    questions(&cache);
}

fn id(view: &FeatureView, symbol: usize, day: usize) -> BlockId {
    let start = market::FIRST_DAY - (DAYS - day) as i64 * DAY;
    let range = TimeRange::new(Timestamp::from_ns(start), Timestamp::from_ns(start + DAY)).expect("a day");
    let entity = EntityKey::new([("symbol", format!("SYM{symbol:04}"))]).expect("a symbol");
    BlockId { view: view.name().clone(), fingerprint: view.fingerprint(), entity, range }
}

fn make(cache: &Path, view: &FeatureView) {
    let began = Instant::now();
    let mut settings = Settings::default();
    settings.manifest.fold_interval = Duration::ZERO;
    let store = FeatureStore::builder(cache).settings(settings).open().expect("opens");
    let journal = Journal::create(cache).expect("a journal");
    let mut source = PathBuf::new();
    let mut records = Vec::new();
    for at in 0..SYMBOLS * DAYS {
        let id = id(view, at / DAYS, at % DAYS);
        let path = block_path(&id);
        if at % LINKS == 0 {
            let compute =
                |gap: &Gap| -> larder::Result<_> { Ok(market::day(view, at as u64, gap.range().start().as_ns())) };
            store.get_or_compute(view, &id.entity, id.range, compute).expect("computed");
            source = cache.join(&path);
        } else {
            let target = cache.join(&path);
            if at % DAYS == 0 {
                std::fs::create_dir_all(target.parent().expect("a directory")).expect("made");
            }
            std::fs::hard_link(&source, target).expect("linked");
        }
        records.push(Record::Published { block: row(&id, &path), stats: Vec::new() });
        if records.len() == 10_000 {
            journal.append(&records).expect("appended");
            records.clear();
        }
    }
    drop((store, journal));
    println!("{:<58} {:>10.1?}", "making 1,000,000 paths and records", began.elapsed());
    let began = Instant::now();
    Manifest::new(cache, Arc::new(SystemClock)).fold().expect("folded");
    println!("{:<58} {:>10.1?}", "folding 1,000,000 records", began.elapsed());
}

fn row(id: &BlockId, path: &Path) -> BlockRow {
    let now = Timestamp::from_ns(SystemClock.now_ns());
    let meta = BlockMeta {
        id: id.clone(),
        known_until: id.range.end(),
        created: now,
        extended: now,
        newest_created: None,
        compute_time: Duration::from_millis(3),
        input_version: None,
        rows: 1440,
    };
    BlockRow::new(&meta, path, 180_000)
}

fn first_answer(cache: &Path, view: &FeatureView) {
    let before = resident();
    let began = Instant::now();
    let store = FeatureStore::builder(cache).open().expect("opens");
    let wanted = id(view, 0, 0);
    let no_compute = |_: &Gap| Err::<arrow::array::RecordBatch, _>("it is on disk");
    let answer = store.get_or_compute(view, &wanted.entity, wanted.range, no_compute).expect("on disk");
    let took = began.elapsed();
    assert_eq!(answer.outcome(), Outcome::Hit);
    let after = resident();
    let blocks = store.memory_bytes();
    println!("{:<58} {took:>10.1?}", "open and first answer, from disk");
    println!(
        "{:<58} {:>7.1} MB",
        "resident memory that this took, beyond the block",
        (after.saturating_sub(before + blocks)) as f64 / 1e6
    );
}

fn questions(cache: &Path) {
    let manifest = Manifest::new(cache, Arc::new(SystemClock));
    let began = Instant::now();
    manifest
        .read(|query| {
            query.totals()?;
            query.view_summaries()?;
            query.coverage()?;
            query.top_misses(Timestamp::from_secs(0), 10)
        })
        .expect("answers");
    println!("{:<58} {:>10.1?}", "what `stats` asks", began.elapsed());
    let dir = CacheDir::open(cache, Publish::Fast, "bench").expect("opens");
    let mut settings = Settings { max_cache_size_gb: 100.0, ..Settings::default() };
    settings.disk.min_age = Duration::ZERO;
    let now = Timestamp::from_ns(SystemClock.now_ns());
    let began = Instant::now();
    let options = CleanOptions { dry_run: true };
    let report = clean(&dir, &manifest, &settings, now, options, |_| (), &mut Silent).expect("a plan");
    println!(
        "{:<58} {:>10.1?}   ({} of {} blocks would go)",
        "clean --dry-run",
        began.elapsed(),
        report.removed.len(),
        report.blocks_before
    );
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}
