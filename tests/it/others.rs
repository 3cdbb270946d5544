//! What `larder serve` exports of the processes that it shares the directory with: services without a scrape of their
//! own, the cleaner, and people.

use std::time::{Duration, Instant};

use larder::config::Settings;
use larder::{EntityKey, FeatureStore, Gap};

use crate::cli::{Larder, code, json};
use crate::desk::{Desk, minutes, quiet, range, symbol, view};
use crate::http::{Answer, get};
use crate::server::Program;

fn service(larder: &Larder, settings: &Settings) -> FeatureStore {
    FeatureStore::builder(larder.cache()).settings(settings.clone()).open().unwrap()
}

fn ask(store: &FeatureStore, name: &str) {
    store.get_or_compute(&view(), &symbol(name), range("2024-03-01", "2024-03-02"), minutes).unwrap();
}

/// Asks until every series has its value, and fails on one that is above it.
fn until(metrics: impl Fn() -> Answer, expected: &[(&str, f64)]) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = metrics();
        let values: Vec<_> = expected.iter().map(|(series, _)| answer.metric(series)).collect();
        if values.iter().zip(expected).all(|(value, (_, expected))| *value == Some(*expected)) {
            return;
        }
        let above =
            values.iter().zip(expected).any(|(value, (_, expected))| value.is_some_and(|value| value > *expected));
        assert!(!above && Instant::now() < deadline, "{expected:?} are {values:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_exports_what_services_the_cleaner_and_people_did_since_it_began() {
    let larder = Larder::new();
    let store = service(&larder, &quiet());
    ["OLD", "OLDER"].into_iter().for_each(|name| ask(&store, name));
    store.flush();
    let mut command = larder.command(["serve", "--listen", "127.0.0.1:0", "--json"]);
    command.env("LARDER_MANIFEST__FOLD_INTERVAL", "100ms").env("LARDER_METRICS__SCRAPE_INTERVAL", "0s");
    let server = Program::start(command);
    let metrics = || get(server.address, "/metrics");
    until(metrics, &[("featurestore_published_blocks_total{view=\"prices\"}", 0.0)]);
    while metrics().metric("featurestore_error_budget_remaining_ratio").is_none() {
        std::thread::sleep(Duration::from_millis(20));
    }

    ["A", "B", "C"].into_iter().for_each(|name| ask(&store, name));
    let broken = |_: &Gap| Err("the source is down");
    assert!(store.get_or_compute(&view(), &symbol("D"), range("2024-03-01", "2024-03-02"), broken).is_err());
    let wrong = EntityKey::new([("venue", "X")]).unwrap();
    assert!(store.get_or_compute(&view(), &wrong, range("2024-03-01", "2024-03-02"), minutes).is_err());
    store.invalidate(&view(), &symbol("C"), range("2024-03-01", "2024-03-02")).unwrap();
    store.flush();
    // Another one, whose disk is nearly full, finds a damaged block.
    let mut settings = quiet();
    settings.disk.reserve_gb = 1e6;
    let block = larder.blocks().into_iter().find(|path| path.to_string_lossy().contains("symbol=A")).unwrap();
    std::fs::write(block, "damaged").unwrap();
    let full = service(&larder, &settings);
    ask(&full, "A");
    drop(full);
    assert_eq!(code(&larder.run(["invalidate", "--view", "prices", "--entity", "symbol=B"])), 0);
    let mut clean = larder.command(["clean", "--json"]);
    let cleaned = json(&clean.env("LARDER_MAX_CACHE_SIZE_GB", "0.000001").output().unwrap());
    let removed = |what: &str| cleaned[what].as_f64().unwrap();
    assert_eq!(removed("removed_blocks"), 2.0, "{cleaned}");
    let expected = [
        ("featurestore_published_blocks_total{view=\"prices\"}", 3.0),
        ("featurestore_compute_failures_total{reason=\"error\",view=\"prices\"}", 1.0),
        ("featurestore_invalid_requests_total{view=\"prices\"}", 1.0),
        ("featurestore_corrupt_blocks_total{view=\"prices\"}", 1.0),
        ("featurestore_dropped_publishes_total{reason=\"disk\"}", 1.0),
        ("featurestore_invalidations_total{cause=\"request\",view=\"prices\"}", 1.0),
        ("featurestore_invalidations_total{cause=\"command\",view=\"prices\"}", 1.0),
        ("featurestore_evicted_blocks_total{reason=\"size\"}", 2.0),
        ("featurestore_evicted_bytes_total{reason=\"size\"}", removed("removed_bytes")),
        ("featurestore_requests_total{outcome=\"miss\",view=\"prices\"}", 4.0),
        ("featurestore_computes_in_flight", 0.0),
    ];
    until(metrics, &expected);
}

#[test]
fn who_observes_others_counts_what_it_does_itself_once() {
    let mut desk = Desk::new();
    let other = desk.open();
    desk.settings.manifest.fold_interval = Duration::from_millis(20);
    let builder = FeatureStore::builder(desk.dir.path().join("cache")).settings(desk.settings.clone());
    let store = builder.clock(desk.clock.clone()).observe_others().open().unwrap();
    let metrics = || Answer { status: 200, head: String::new(), body: store.metrics_text().unwrap() };
    let published = "featurestore_published_blocks_total{view=\"prices\"}";
    // Whatever the other one tells comes later than what this one told before it.
    for round in 1..=5 {
        ask(&store, &format!("OWN{round}"));
        store.flush();
        ask(&other, &format!("OTHER{round}"));
        other.flush();
        until(metrics, &[(published, f64::from(2 * round))]);
    }
}
