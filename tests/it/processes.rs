//! Several processes on one cache directory, some of which are killed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use larder::clock::{Clock, SystemClock};
use larder::manifest::Manifest;
use larder::store::{CacheDir, Publish};
use larder::upkeep::{FindingKind, Silent, rebuild, repair, verify};
use larder::{FeatureStore, Timestamp};

use crate::desk::{checked_rows, minutes, quiet, range, symbol, view};
use crate::worker::{Worker, say};

const ROLE: &str = "DESK_ROLE";

fn start(role: &str, cache: &Path) -> Worker {
    let mut worker = Worker::start("processes::worker", [(ROLE, role), ("DESK_CACHE", cache.to_str().unwrap())]);
    assert_eq!(worker.hear(), "ready");
    worker
}

fn open(cache: &Path, fold_interval: Duration) -> FeatureStore {
    let mut settings = quiet();
    settings.manifest.fold_interval = fold_interval;
    settings.disk.min_age = Duration::ZERO;
    FeatureStore::builder(cache).settings(settings).open().unwrap()
}

#[test]
#[ignore = "a process of other tests, which are: cargo test --release --all-features --test it processes"]
fn worker() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let cache = PathBuf::from(std::env::var("DESK_CACHE").unwrap());
    say("ready");
    match role.as_str() {
        "ask" => ask(&cache, say),
        "churn" => churn(&cache),
        "rebuild" => rebuild_for_ever(&cache, say),
        other => panic!("no role {other}"),
    }
}

/// Asks for EURUSD of the day that is named, until the input ends; says how often it computed.
fn ask(cache: &Path, say: impl Fn(&str)) {
    let store = open(cache, Duration::ZERO);
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (verb, day) = line.split_once(' ').unwrap();
        let day = range(day, &format!("{day}T23:59:00Z"));
        if verb == "invalidate" {
            say(&store.invalidate(&view(), &symbol("EURUSD"), day).unwrap().to_string());
            continue;
        }
        let mut computed = 0;
        let answer = store
            .get_or_compute(&view(), &symbol("EURUSD"), day, |gap| {
                computed += 1;
                std::thread::sleep(Duration::from_millis(20));
                minutes(gap)
            })
            .unwrap();
        assert_eq!(checked_rows(&answer, &symbol("EURUSD")), 1439);
        say(&format!("{computed} {}", answer.outcome()));
    }
}

/// Begins to rebuild the manifest and gets no further, until it is killed.
fn rebuild_for_ever(cache: &Path, say: impl Fn(&str)) {
    let dir = CacheDir::open(cache, Publish::Fast, "rebuild").unwrap();
    let _lock = dir.lock_rebuild(Duration::ZERO).unwrap().unwrap();
    say("at it");
    std::thread::park();
}

/// Publishes, folds, invalidates and cleans as fast as it can, until it is killed.
fn churn(cache: &Path) {
    let store = open(cache, Duration::from_millis(1));
    let dir = CacheDir::open(cache, Publish::Fast, "churn").unwrap();
    let journal = larder::manifest::Journal::create(cache).unwrap();
    let mut settings = (*store.settings()).clone();
    settings.max_cache_size_gb = 100_000.0 / 1e9;
    for round in 0u64.. {
        let entity = symbol(&format!("S{}", round % 7));
        let first = 1 + round % 20;
        let days = range(&format!("2024-02-{first:02}"), &format!("2024-02-{:02}", first + 3));
        let answer = store.get_or_compute(&view(), &entity, days, minutes).unwrap();
        checked_rows(&answer, &entity);
        if round % 5 == 0 {
            let now = Timestamp::from_ns(SystemClock.now_ns());
            let append = |records: &[larder::manifest::Record]| journal.append(records).unwrap();
            let options = larder::upkeep::CleanOptions::default();
            let _ = larder::upkeep::clean(&dir, store.manifest(), &settings, now, options, append, &mut Silent);
        }
        if round % 11 == 0 {
            store.invalidate(&view(), &entity, days).unwrap();
        }
    }
}

#[test]
fn four_processes_that_ask_for_one_key_cause_one_compute() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let mut workers: Vec<_> = (0..4).map(|_| start("ask", &cache)).collect();
    for day in 1..=10 {
        let line = format!("ask 2024-02-{day:02}");
        workers.iter_mut().for_each(|worker| worker.say(&line));
        let heard: Vec<_> = workers.iter_mut().map(Worker::hear).collect();
        let computed: usize = heard.iter().map(|line| line[..1].parse::<usize>().unwrap()).sum();
        assert_eq!(computed, 1, "{heard:?}");
    }
}

#[test]
fn an_invalidation_in_one_process_holds_in_all() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let (mut one, mut other) = (start("ask", &cache), start("ask", &cache));
    for worker in [&mut one, &mut other] {
        worker.say("ask 2024-02-01");
        worker.hear();
    }
    for _ in 0..20 {
        one.say("ask 2024-02-01");
        assert_eq!(one.hear(), "0 hit");
        other.say("invalidate 2024-02-01");
        assert_eq!(other.hear(), "1");
        one.say("ask 2024-02-01");
        assert_eq!(one.hear(), "1 miss", "served from memory after the invalidation");
    }
}

#[test]
fn kill_at_any_moment_leaves_no_wrong_value_and_nothing_that_repair_does_not_mend() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    for round in 0..12u64 {
        let workers: Vec<_> = (0..2).map(|_| start("churn", &cache)).collect();
        std::thread::sleep(Duration::from_millis(40 + 37 * (round % 5)));
        workers.into_iter().for_each(Worker::kill);
        check(&cache);
    }
}

/// Every file is whole, every answer is right, and after repairing the manifest says what the files are.
fn check(cache: &Path) {
    let store = open(cache, Duration::ZERO);
    for name in 0..7 {
        let entity = symbol(&format!("S{name}"));
        let answer = store.get_or_compute(&view(), &entity, range("2024-02-01", "2024-02-24"), minutes).unwrap();
        assert_eq!(checked_rows(&answer, &entity), 23 * 1440);
    }
    drop(store);
    let dir = CacheDir::open(cache, Publish::Fast, "check").unwrap();
    let manifest = Manifest::new(cache, Arc::new(SystemClock));
    let report = verify(&dir, &manifest, Timestamp::from_ns(SystemClock.now_ns()), &mut Silent).unwrap();
    let bad: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| matches!(finding.kind, FindingKind::BadFile | FindingKind::Stranger))
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
    repair(&dir, &manifest, Timestamp::from_ns(SystemClock.now_ns()), &mut Silent).unwrap();
    let later = Timestamp::from_ns(SystemClock.now_ns()).saturating_add(Duration::from_secs(60));
    assert_eq!(verify(&dir, &manifest, later, &mut Silent).unwrap().findings, []);
    assert_eq!(std::fs::read_dir(cache.join("tmp")).unwrap().count(), 0, "half-written files are swept");
}

#[test]
fn processes_that_begin_one_cache_together_all_open_it() {
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        let barrier = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    drop(open(&cache, Duration::ZERO));
                });
            }
        });
    }
}

/// A cache of ten blocks whose manifest was lost.
fn without_manifest(cache: &Path) {
    let store = open(cache, Duration::ZERO);
    store.get_or_compute(&view(), &symbol("EURUSD"), range("2024-02-01", "2024-02-11"), minutes).unwrap();
    drop(store);
    Manifest::new(cache, Arc::new(SystemClock)).fold().unwrap();
    std::fs::remove_file(cache.join("manifest.duckdb")).unwrap();
}

/// Blocks in the manifest, and whether it has to be rebuilt.
fn known(manifest: &Manifest) -> (u64, bool) {
    manifest.read(|query| Ok((query.totals()?.blocks, query.report().needs_rebuild))).unwrap()
}

#[test]
fn of_those_who_see_that_the_manifest_is_lost_one_scans_the_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    without_manifest(&cache);
    let barrier = std::sync::Barrier::new(6);
    // Each opens the directory for itself, as a process does.
    let one = |at: usize| {
        let dir = CacheDir::open(&cache, Publish::Fast, &format!("rebuild-{at}")).unwrap();
        let manifest = Manifest::new(&cache, Arc::new(SystemClock)).with_patience(Duration::from_secs(600));
        assert!(manifest.fold().unwrap().needs_rebuild);
        barrier.wait();
        let now = Timestamp::from_ns(SystemClock.now_ns());
        let rebuilt = rebuild(&dir, &manifest, now, Duration::from_secs(600)).unwrap();
        assert_eq!(known(&manifest), (10, false));
        assert!(!manifest.fold().unwrap().needs_rebuild, "what it remembers is true again");
        usize::from(rebuilt.is_some())
    };
    let one = &one;
    let scans: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|at| scope.spawn(move || one(at))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(scans, 1);
}

#[test]
fn who_dies_while_it_rebuilds_the_manifest_keeps_nobody_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    without_manifest(&cache);
    let mut worker = start("rebuild", &cache);
    assert_eq!(worker.hear(), "at it");
    let dir = CacheDir::open(&cache, Publish::Fast, "next").unwrap();
    let manifest = Manifest::new(&cache, Arc::new(SystemClock));
    let rebuild = || rebuild(&dir, &manifest, Timestamp::from_ns(SystemClock.now_ns()), Duration::ZERO).unwrap();
    assert_eq!(rebuild(), None, "nobody waits for it");
    assert_eq!(known(&manifest), (0, true));
    worker.kill();
    assert_eq!(rebuild().map(|rebuilt| rebuilt.blocks), Some(10));
    assert_eq!(known(&manifest), (10, false));
}

#[test]
fn services_that_lose_their_manifest_together_all_have_a_whole_one_again() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    without_manifest(&cache);
    let stores: Vec<_> = (0..4).map(|_| open(&cache, Duration::from_millis(20))).collect();
    let deadline = std::time::Instant::now() + Duration::from_secs(120);
    while stores.iter().any(|store| known(store.manifest()) != (10, false)) {
        assert!(std::time::Instant::now() < deadline, "the manifest is not whole");
        std::thread::sleep(Duration::from_millis(50));
    }
}
