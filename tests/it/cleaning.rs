//! Cleaning, on real files.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::DataType;
use larder::clock::{Clock, ManualClock, SystemClock};
use larder::manifest::{Journal, Manifest, Record};
use larder::store::{CacheDir, Publish};
use larder::upkeep::{CleanOptions, CleanReport, Progress, Reason, Silent, clean};
use larder::{FeatureStore, FeatureView, Settings, Timestamp};

use crate::damage::files;
use crate::desk::{Desk, minutes, range, symbol, view};

fn run(desk: &Desk, settings: &Settings, now: Timestamp, options: CleanOptions) -> CleanReport {
    let root = desk.dir.path().join("cache");
    let dir = CacheDir::open(&root, Publish::Fast, "cleaner").unwrap();
    let manifest = Manifest::new(&root, Arc::new(SystemClock));
    let journal = Journal::create(&root).unwrap();
    clean(&dir, &manifest, settings, now, options, |records| journal.append(records).unwrap(), &mut Silent).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_ns(SystemClock.now_ns())
}

fn filled() -> Desk {
    let desk = Desk::new();
    desk.clock.set(SystemClock.now_ns());
    let store = desk.open();
    for name in ["EURUSD", "USDJPY", "GBPUSD"] {
        store.get_or_compute(&view(), &symbol(name), range("2024-03-01", "2024-03-04"), minutes).unwrap();
    }
    store.flush();
    desk
}

#[test]
fn a_dry_run_lists_what_a_run_then_removes() {
    let desk = filled();
    let blocks = || files(&desk.dir.path().join("cache/blocks"));
    let mut settings = desk.settings.clone();
    settings.disk.min_age = Duration::ZERO;
    let in_a_week = now().saturating_add(Duration::from_secs(8 * 86_400));
    let dry = run(&desk, &settings, in_a_week, CleanOptions { dry_run: true });
    assert_eq!((dry.removed.len(), blocks().len()), (9, 9));
    assert!(dry.removed.iter().all(|removal| removal.reason == Reason::Expired));
    let real = run(&desk, &settings, in_a_week, CleanOptions::default());
    assert_eq!(real.removed, dry.removed);
    assert_eq!(blocks().len(), 0);
    let again = run(&desk, &settings, in_a_week, CleanOptions::default());
    assert_eq!((again.removed.len(), again.blocks_before), (0, 0));
}

#[test]
fn over_its_size_the_cache_shrinks_to_the_low_watermark_and_goes_on() {
    let desk = filled();
    let mut settings = desk.settings.clone();
    settings.disk.min_age = Duration::ZERO;
    let total: u64 =
        files(&desk.dir.path().join("cache/blocks")).iter().map(|file| file.metadata().unwrap().len()).sum();
    settings.max_cache_size_gb = total as f64 / 1e9;
    settings.cleanup_target = 0.5;
    let report = run(&desk, &settings, now().saturating_add(Duration::from_secs(1)), CleanOptions::default());
    assert!(report.removed.iter().all(|removal| removal.reason == Reason::Size));
    assert!(total - report.removed_bytes() <= total / 2, "{report:?}");
    let left: u64 =
        files(&desk.dir.path().join("cache/blocks")).iter().map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(left, total - report.removed_bytes());
}

#[test]
fn what_was_just_published_and_what_is_being_computed_stays() {
    let desk = filled();
    let mut settings = desk.settings.clone();
    settings.retention_days = 1e-9;
    let soon = now().saturating_add(Duration::from_secs(5));
    assert_eq!(run(&desk, &settings, soon, CleanOptions::default()).removed.len(), 0, "younger than min_age");
    settings.disk.min_age = Duration::ZERO;
    let store = desk.open();
    // While EURUSD computes another day, its blocks may be the tail that is being extended.
    store
        .get_or_compute(&view(), &symbol("EURUSD"), range("2024-03-05", "2024-03-06"), |gap| {
            let report = run(&desk, &settings, soon, CleanOptions::default());
            assert_eq!((report.removed.len(), report.skipped), (6, 3));
            minutes(gap)
        })
        .unwrap();
}

#[test]
fn an_old_version_of_a_view_is_an_orphan_a_day_after_its_last_service() {
    let desk = filled();
    let mut settings = desk.settings.clone();
    settings.disk.min_age = Duration::ZERO;
    settings.retention_days = 1000.0;
    desk.clock.advance(Duration::from_secs(3600));
    let newer = FeatureView::builder("prices")
        .entity("symbol")
        .feature("value", DataType::Float64)
        .version("2")
        .build()
        .unwrap();
    let store = desk.open();
    store.get_or_compute(&newer, &symbol("EURUSD"), range("2024-03-01", "2024-03-02"), minutes).unwrap();
    store.flush();
    let soon = now().saturating_add(Duration::from_secs(4000));
    assert_eq!(
        run(&desk, &settings, soon, CleanOptions::default()).removed.len(),
        0,
        "both versions may be in service"
    );
    let tomorrow = now().saturating_add(Duration::from_secs(2 * 86_400));
    let report = run(&desk, &settings, tomorrow, CleanOptions::default());
    assert_eq!(report.removed.len(), 9);
    assert!(report.removed.iter().all(|removal| removal.reason == Reason::Orphan));
}

#[test]
fn the_blocks_of_a_job_that_lives_for_a_moment_are_no_orphans() {
    let desk = filled();
    let mut settings = desk.settings.clone();
    settings.disk.min_age = Duration::ZERO;
    let version = |version: &str| {
        let view = FeatureView::builder("prices").entity("symbol").version(version);
        view.feature("value", DataType::Float64).build().unwrap()
    };
    // Opened, asked once, dropped: nobody flushes, and no keeper has turned.
    let job = |view: &FeatureView| {
        let store: FeatureStore = desk.open();
        store.get_or_compute(view, &symbol("JOB"), range("2024-03-01", "2024-03-04"), minutes).unwrap();
    };
    desk.clock.advance(Duration::from_secs(60));
    job(&version("2"));
    let report = run(&desk, &settings, now().saturating_add(Duration::from_secs(2 * 86_400)), CleanOptions::default());
    assert!(report.removed.iter().all(|removal| removal.entity != "symbol=JOB"), "{:?}", report.removed);
    assert_eq!(report.removed.len(), 9, "the version before it is the orphan");
}

#[test]
fn rows_of_files_that_were_removed_by_hand_do_not_cost_other_blocks() {
    let desk = filled();
    let mut settings = desk.settings.clone();
    settings.disk.min_age = Duration::ZERO;
    let blocks = files(&desk.dir.path().join("cache/blocks"));
    let (gone, left) = blocks.split_at(4);
    gone.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    settings.max_cache_size_gb = left.iter().map(|file| file.metadata().unwrap().len()).sum::<u64>() as f64 * 1.2 / 1e9;
    let soon = now().saturating_add(Duration::from_secs(5));
    // The first run counts rows without files and may take blocks for them; the rows it chose are gone then.
    let first = run(&desk, &settings, soon, CleanOptions::default());
    assert!(!first.removed.is_empty());
    assert_eq!((run(&desk, &settings, soon, CleanOptions::default()).removed.len(), first.skipped), (0, 0));
}

#[test]
fn the_journal_knows_of_a_removal_once_it_has_happened() {
    let desk = filled();
    let mut settings = desk.settings.clone();
    settings.disk.min_age = Duration::ZERO;
    let root = desk.dir.path().join("cache");
    let dir = CacheDir::open(&root, Publish::Fast, "cleaner").unwrap();
    let manifest = Manifest::new(&root, Arc::new(SystemClock));
    let in_a_week = now().saturating_add(Duration::from_secs(8 * 86_400));
    let mut left = Vec::new();
    let journal = |_: &[Record]| left.push(files(&root.join("blocks")).len());
    clean(&dir, &manifest, &settings, in_a_week, CleanOptions::default(), journal, &mut Silent).unwrap();
    assert_eq!(left, [8, 7, 6, 5, 4, 3, 2, 1, 0], "the files that are there when each is told");
}

#[test]
fn a_view_whose_blocks_cannot_be_removed_does_not_keep_those_of_others() {
    let desk = filled();
    let cache = desk.dir.path().join("cache");
    let locks = || {
        files(&cache.join("locks")).into_iter().filter(|lock| lock.file_name().unwrap().as_encoded_bytes()[0] == b'p')
    };
    let of_prices = locks().collect::<Vec<_>>();
    let other = FeatureView::builder("sizes").entity("symbol").feature("value", DataType::Float64).build().unwrap();
    let store = desk.open();
    store.get_or_compute(&other, &symbol("EURUSD"), range("2024-03-01", "2024-03-04"), minutes).unwrap();
    drop(store);
    for lock in &of_prices {
        std::fs::remove_file(lock).unwrap();
        std::fs::create_dir(lock).unwrap();
    }
    let mut settings = desk.settings.clone();
    settings.disk.min_age = Duration::ZERO;
    let in_a_week = now().saturating_add(Duration::from_secs(8 * 86_400));
    let report = run(&desk, &settings, in_a_week, CleanOptions::default());
    assert_eq!((report.removed.len(), report.skipped), (3, 9));
    assert!(report.removed.iter().all(|removal| removal.view == "sizes"));
    assert!(report.failed.unwrap().contains("prices"), "it says which");
    of_prices.iter().for_each(|lock| std::fs::remove_dir(lock).unwrap());
    assert_eq!(run(&desk, &settings, in_a_week, CleanOptions::default()).removed.len(), 9);
}

#[test]
fn a_removal_says_when_it_happened_and_not_when_cleaning_began() {
    struct Slow(Arc<ManualClock>);
    impl Progress for Slow {
        fn advance(&mut self, _: u64, _: Option<u64>) -> bool {
            self.0.set(self.0.now_ns() + 1_000_000_000);
            true
        }
    }
    let desk = filled();
    let root = desk.dir.path().join("cache");
    let dir = CacheDir::open(&root, Publish::Fast, "cleaner").unwrap();
    let manifest = Manifest::new(&root, desk.clock.clone());
    let (began, mut settings) = (now().saturating_add(Duration::from_secs(8 * 86_400)), desk.settings.clone());
    settings.disk.min_age = Duration::ZERO;
    desk.clock.set(began.as_ns());
    let mut told = Vec::new();
    let journal = |records: &[Record]| {
        told.extend(records.iter().map(|record| match record {
            Record::Removed { at, .. } => at.since(began).as_secs(),
            other => panic!("{other:?}"),
        }));
    };
    let mut slow = Slow(Arc::clone(&desk.clock));
    clean(&dir, &manifest, &settings, began, CleanOptions::default(), journal, &mut slow).unwrap();
    assert_eq!(told, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

/// Uses the blocks of an entity so often.
fn used(desk: &Desk, name: &str, times: usize) {
    let store = desk.open();
    for _ in 0..times {
        store.get_or_compute(&view(), &symbol(name), range("2024-03-01", "2024-03-04"), minutes).unwrap();
    }
    store.flush();
}

fn entities_of(report: &CleanReport) -> Vec<&str> {
    let mut entities: Vec<_> = report.removed.iter().map(|removal| removal.entity.as_str()).collect();
    entities.sort_unstable();
    entities.dedup();
    entities
}

#[test]
fn what_is_used_most_stays_where_the_cache_is_too_large() {
    let desk = filled();
    // So often that it does not matter how long computing took.
    used(&desk, "GBPUSD", 5_000);
    let mut settings = desk.settings.clone();
    settings.disk.min_age = Duration::ZERO;
    let blocks = files(&desk.dir.path().join("cache/blocks"));
    settings.max_cache_size_gb = blocks.iter().map(|file| file.metadata().unwrap().len()).sum::<u64>() as f64 / 1e9;
    settings.cleanup_target = 0.4;
    let report = run(&desk, &settings, now().saturating_add(Duration::from_secs(1)), CleanOptions::default());
    assert_eq!((report.removed.len(), entities_of(&report)), (6, vec!["symbol=EURUSD", "symbol=USDJPY"]));
}

#[test]
fn retention_counts_from_the_last_use() {
    let desk = filled();
    desk.clock.advance(Duration::from_secs(6 * 86_400));
    used(&desk, "GBPUSD", 1);
    let mut settings = desk.settings.clone();
    settings.disk.min_age = Duration::ZERO;
    let in_a_week = now().saturating_add(Duration::from_secs(8 * 86_400));
    let report = run(&desk, &settings, in_a_week, CleanOptions::default());
    assert_eq!((report.removed.len(), entities_of(&report)), (6, vec!["symbol=EURUSD", "symbol=USDJPY"]));
}
