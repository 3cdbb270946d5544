//! Whoever is asked for the hit ratio says the same: the gauge, the engine, the program, the server and Prometheus.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use larder::FeatureStore;
use larder::clock::{Clock, SystemClock};
use larder::metrics::PrometheusRecorder;
use larder::server::{Options, Server};
use serde_json::Value;

use crate::desk::{minutes, quiet, range, symbol, view};
use crate::gameday::http;
use crate::gameday::service::{Load, Orders, Service, warm};
use crate::gameday::stack::{PATIENCE, Pace, Programs, SCRAPED, Stack, free_address, until};

/// How much they may differ.
const TOLERANCE: f64 = 0.005;

const GOOD: &str = "sum(increase(featurestore_requests_total{outcome=~\"hit|stale\"}[4m]))";
const ALL: &str = "sum(increase(featurestore_requests_total[4m]))";

/// Requests for a while, then none until Prometheus has seen the last.
fn traffic(service: &mut Service, stack: &Stack, requests: f64) {
    let counted = || stack.value("sum(featurestore_requests_total)").unwrap_or(0.0);
    service.go();
    until("requests", PATIENCE, || {
        let counted = counted();
        if counted >= requests { Ok(()) } else { Err(format!("{counted} of {requests}")) }
    });
    service.pause();
    // Idle time is time, too: longer than the engine's steps of five seconds and several scrapes.
    let begin = SystemClock.now_ns() as f64 / 1e9;
    until("idle time", PATIENCE, || match stack.value("max(timestamp(featurestore_requests_total))") {
        Some(at) if at > begin + 6.0 => Ok(()),
        other => Err(format!("the last scrape was at {other:?}")),
    });
}

#[test]
fn gauge_engine_program_server_and_prometheus_agree_across_idle_time_and_a_restart() {
    let Some(programs) = Programs::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (cache, address) = (dir.path().join("cache"), free_address());
    // One of ten misses before the restart, one of four after it.
    let load = Load { rate: 100, hot: 40, new_every: 10, ..Load::default() };
    warm(&cache, &load);
    let settings = [SCRAPED, ("LARDER_MANIFEST__FOLD_INTERVAL", "500ms")];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let orders =
        Orders { cache: cache.clone(), load, serve: Some(address), settings, faults: dir.path().join("faults") };
    let stack = Stack::start(&programs, address, Pace::Real);
    let mut service = Service::start(&orders);
    until("a first scrape", PATIENCE, || stack.value("count(featurestore_requests_total)").ok_or("none".to_owned()));
    traffic(&mut service, &stack, 600.0);
    service.stop();
    let orders = Orders { load: Load { new_every: 4, ..load }, ..orders };
    let mut service = Service::start(&orders);
    until("a scrape after the restart", PATIENCE, || match stack.value("sum(featurestore_requests_total)") {
        Some(0.0) => Ok(()),
        other => Err(format!("{other:?} requests")),
    });
    traffic(&mut service, &stack, 400.0);

    let engine = service.engine_ratio();
    let metrics = http::get(address, "/metrics").unwrap().1;
    let gauge = metrics.lines().find_map(|line| line.strip_prefix("featurestore_hit_ratio ")).unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_larder")).args(["slo", "--json", "--cache-dir"]).arg(&cache).output().unwrap();
    let ratio = |text: &str| {
        let facts: Value = serde_json::from_str(text).unwrap();
        assert_eq!(facts["windows"][0]["window"], "5m");
        assert!(facts["windows"][0]["requests"].as_u64().unwrap() >= 1000, "{text}");
        facts["windows"][0]["hit_ratio"].as_f64().unwrap()
    };
    let said = [
        ("engine", engine),
        ("gauge", gauge.parse().unwrap()),
        ("larder slo", ratio(&String::from_utf8(output.stdout).unwrap())),
        ("/slo", ratio(&http::get(address, "/slo").unwrap().1)),
        ("PromQL", stack.value(&format!("{GOOD} / {ALL}")).unwrap()),
    ];
    println!("{said:?}");
    // Nine of ten of 600 and three of four of 400 are 84 of 100; a few more requests were made until the pauses.
    for (who, ratio) in said {
        assert!((ratio - engine).abs() <= TOLERANCE, "{who} says {ratio}, the engine {engine}: {said:?}");
        assert!((0.82..0.86).contains(&ratio), "{who} says {ratio}");
    }
}

#[test]
fn prometheus_counts_the_first_requests_of_a_new_view_however_late_it_comes() {
    let Some(programs) = Programs::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    // So long that Prometheus has started and scraped by then, although somebody else was first.
    let recorder = Arc::new(PrometheusRecorder::scraped_every(Duration::from_secs(15)));
    let store = FeatureStore::builder(dir.path().join("cache"))
        .settings(quiet())
        .recorder(Arc::clone(&recorder))
        .open()
        .unwrap();
    let address = free_address();
    let _server = Server::start(&store, Options { listen: address, ..Options::default() }).unwrap();
    for at in 0..50 {
        let day = range("2024-03-01", "2024-03-02");
        store.get_or_compute(&view(), &symbol(&format!("S{at}")), day, minutes).unwrap();
    }
    http::get(address, "/metrics").unwrap();
    let stack = Stack::start(&programs, address, Pace::Real);
    until("the counts", PATIENCE, || match stack.value("sum(featurestore_requests_total)") {
        Some(50.0) => Ok(()),
        other => Err(format!("{other:?} of 50")),
    });
    // Prometheus reckons what it did not see at the edges of the window, which is less than a scrape of 60 s.
    until("their increase", PATIENCE, || {
        let counted = stack.value("sum(increase(featurestore_requests_total{outcome=\"miss\"}[1m]))");
        if counted.is_some_and(|counted| (49.0..53.0).contains(&counted)) {
            Ok(())
        } else {
            Err(format!("{counted:?}"))
        }
    });
}
