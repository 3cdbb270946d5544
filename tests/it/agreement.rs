//! Whoever is asked for the hit ratio says the same: the gauge, the engine, the program, the server and Prometheus.

use std::process::Command;

use larder::clock::{Clock, SystemClock};
use serde_json::Value;

use crate::gameday::http;
use crate::gameday::service::{Load, Orders, Service, warm};
use crate::gameday::stack::{PATIENCE, Pace, Programs, Stack, free_address, until};

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
    let settings = vec![("LARDER_MANIFEST__FOLD_INTERVAL".to_owned(), "500ms".to_owned())];
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
