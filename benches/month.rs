//! What the status page and `larder slo` cost when the manifest is full of requests.
//!
//! `cargo bench --bench month` makes the history of 20 views with 3 outcomes in every minute of 30 days, which is
//! 2,592,000 rows, in a temporary directory.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot set up should stop"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::clock::{Clock, SystemClock};
use larder::inspect::StatusFacts;
use larder::manifest::{Journal, Manifest, Record};
use larder::server::page::render;
use larder::store::{CacheDir, Publish};
use larder::{FeatureStore, Outcome, Settings, Timestamp, ViewName};

const VIEWS: usize = 20;
const MINUTES: i64 = 30 * 1440;
const OUTCOMES: [(Outcome, u64); 3] = [(Outcome::Hit, 970), (Outcome::Partial, 20), (Outcome::Miss, 10)];
const TIMES: usize = 5;

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let cache = dir.path().join("cache");
    let opened = CacheDir::open(&cache, Publish::Fast, "bench").expect("opens");
    let manifest = Manifest::new(&cache, Arc::new(SystemClock));
    make(&cache, &manifest);
    median("/, gathered and rendered", || {
        let facts = StatusFacts::gather(&opened, &manifest, &Settings::default(), now()).expect("facts");
        assert!(!render(&facts, "/").is_empty());
    });
    for command in ["slo", "slo --view view_07", "doctor", "explain BudgetExhausted"] {
        median(&format!("larder {command}"), || program(&cache, command));
    }
    let mut settings = Settings::default();
    settings.manifest.fold_interval = Duration::ZERO;
    median("the first service level of a store", || {
        let store = FeatureStore::builder(&cache).settings(settings.clone()).open().expect("opens");
        assert!(store.slo().budget.requests > 0);
    });
}

fn now() -> Timestamp {
    Timestamp::from_ns(SystemClock.now_ns())
}

fn make(cache: &Path, manifest: &Manifest) {
    let journal = Journal::create(cache).expect("a journal");
    let views: Vec<_> = (0..VIEWS).map(|n| ViewName::new(&format!("view_{n:02}")).expect("a name")).collect();
    let last = now().as_ns() / 60_000_000_000;
    for minute in last - MINUTES..=last {
        let of_view = |view: &ViewName| {
            let view = view.clone();
            OUTCOMES.map(move |(outcome, count)| Record::Requests { minute, view: view.clone(), outcome, count })
        };
        journal.append(&views.iter().flat_map(of_view).collect::<Vec<_>>()).expect("appended");
    }
    drop(journal);
    manifest.fold().expect("folded");
}

fn program(cache: &Path, command: &str) {
    let mut larder = Command::new(env!("CARGO_BIN_EXE_larder"));
    larder.args(command.split(' ')).arg("--cache-dir").arg(cache).stdout(Stdio::null());
    // Status 1 is a finding, such as a disk that is nearly full.
    assert!(larder.status().expect("runs").code().is_some_and(|code| code < 2), "{command}");
}

fn median(what: &str, mut work: impl FnMut()) {
    let mut times: Vec<Duration> = (0..TIMES)
        .map(|_| {
            let began = Instant::now();
            work();
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("{what:<40} {:>10.1?}", times.get(TIMES / 2).copied().unwrap_or_default());
}
