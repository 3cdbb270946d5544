//! The hit ratio is true.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::clock::{Clock, ManualClock};
use larder::metrics::PrometheusRecorder;
use larder::slo::BudgetState;
use larder::{FeatureStore, Gap, Outcome, Timestamp};

use crate::desk::{Desk, minutes, range, symbol, view};

#[test]
fn gauge_engine_counters_and_manifest_say_the_same() {
    let desk = Desk::new();
    let recorder = Arc::new(PrometheusRecorder::scraped_every(Duration::ZERO));
    let store = FeatureStore::builder(desk.dir.path().join("cache"))
        .settings(desk.settings.clone())
        .clock(Arc::clone(&desk.clock))
        .recorder(Arc::clone(&recorder))
        .open()
        .unwrap();
    let (view, day) = (view(), range("2024-03-01", "2024-03-02"));
    for at in 0..40 {
        // Ten symbols: ten misses and thirty hits, over four minutes.
        desk.clock.advance(Duration::from_secs(6));
        let _ = store.get_or_compute(&view, &symbol(&format!("S{}", at % 10)), day, minutes);
    }
    let _ = store.get_or_compute(&view, &symbol("BAD"), day, |_: &Gap| Err("down"));
    let ratio = 30.0 / 41.0;
    let report = store.slo();
    assert_eq!(report.windows[0].hit_ratio, Some(ratio));
    assert_eq!((report.budget.requests, report.budget.state), (41, BudgetState::TooFewRequests));
    let text = store.metrics_text().unwrap();
    let gauge = text.lines().find_map(|line| line.strip_prefix("featurestore_hit_ratio ")).unwrap();
    assert_eq!(gauge.parse::<f64>().unwrap(), ratio);
    let counter = |outcome: &str| -> f64 {
        let is_it =
            |line: &&str| line.starts_with("featurestore_requests_total{") && line.contains(&format!("\"{outcome}\""));
        text.lines().find(is_it).unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!((counter("hit"), counter("miss"), counter("error"), counter("stale")), (30.0, 10.0, 1.0, 0.0));
    store.flush();
    let outcomes = store
        .manifest()
        .read(|query| query.outcomes(Timestamp::MIN.saturating_add(Duration::from_secs(1)), Timestamp::MAX))
        .unwrap();
    let count = |outcome| outcomes.iter().filter(|row| row.outcome == outcome).map(|row| row.count).sum::<u64>();
    assert_eq!((count(Outcome::Hit), count(Outcome::Miss), count(Outcome::Error)), (30, 10, 1));
}

#[test]
fn the_budget_survives_a_restart_and_idle_time_is_no_data() {
    let desk = Desk::new();
    let (view, day) = (view(), range("2024-03-01", "2024-03-02"));
    let ask = |store: &FeatureStore, n: usize| {
        for at in 0..n {
            store.get_or_compute(&view, &symbol(&format!("S{}", at % 5)), day, minutes).unwrap();
        }
    };
    let store = desk.open();
    ask(&store, 50);
    let before = store.slo();
    assert_eq!((before.budget.requests, before.budget.spent), (50, 5));
    drop(store);
    desk.clock.advance(Duration::from_secs(2 * 86_400));
    let store = desk.open();
    let after = store.slo();
    assert_eq!((after.budget.requests, after.budget.spent), (50, 5));
    let window = |name: &str| after.windows.iter().find(|window| window.window == name).unwrap().hit_ratio;
    assert_eq!((window("5m"), window("1d"), window("3d")), (None, None, Some(0.9)));
    ask(&store, 50);
    assert_eq!(store.slo().budget.requests, 100, "its own requests are counted once, not again from the journal");
    store.flush();
    assert_eq!(store.slo().budget.requests, 100);
    drop(store);
    assert_eq!(desk.open().slo().budget.requests, 100);
}

#[test]
fn misses_are_remembered_with_entity_and_reason() {
    let desk = Desk::new();
    let store = desk.open();
    let view = view();
    store.get_or_compute(&view, &symbol("EURUSD"), range("2024-03-01", "2024-03-04"), minutes).unwrap();
    store.get_or_compute(&view, &symbol("USDJPY"), range("2024-03-01", "2024-03-02"), minutes).unwrap();
    store.flush();
    let misses = store.manifest().read(|query| query.top_misses(Timestamp::from_secs(0), 10)).unwrap();
    let seen: Vec<_> =
        misses.iter().map(|miss| (miss.entity.to_string(), miss.reason.to_string(), miss.count)).collect();
    assert_eq!(seen, [("symbol=EURUSD".into(), "absent".into(), 3), ("symbol=USDJPY".into(), "absent".into(), 1)]);
}

#[test]
fn a_block_from_the_future_is_computed_again_and_the_clock_is_the_reason() {
    let desk = Desk::new();
    let store = desk.open();
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
    desk.clock.set(desk.clock.now_ns() - 3_600_000_000_000);
    for outcome in [Outcome::Miss, Outcome::Hit] {
        let answer = store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
        assert_eq!((answer.outcome(), desk.computes()), (outcome, 2));
    }
    store.flush();
    let misses = store.manifest().read(|query| query.top_misses(Timestamp::from_secs(0), 10)).unwrap();
    let mut reasons: Vec<_> = misses.iter().map(|miss| miss.reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["absent", "clock"]);
}

#[test]
fn a_store_that_keeps_house_folds_by_itself() {
    let mut desk = Desk::new();
    desk.settings.manifest.fold_interval = Duration::from_millis(20);
    let recorder = Arc::new(PrometheusRecorder::new());
    let builder = FeatureStore::builder(desk.dir.path().join("cache")).settings(desk.settings.clone());
    let store = builder.clock(Arc::clone(&desk.clock)).recorder(Arc::clone(&recorder)).open().unwrap();
    store.get_or_compute(&view(), &symbol("EURUSD"), range("2024-03-01", "2024-03-04"), minutes).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    // Asking the manifest would fold it, so the keeper's own word is asked for.
    while !store
        .metrics_text()
        .unwrap()
        .lines()
        .any(|line| line.starts_with("featurestore_last_fold_duration_seconds "))
    {
        assert!(std::time::Instant::now() < deadline, "nothing was folded");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn who_never_folds_does_not_say_when_it_last_did() {
    let mut desk = Desk::new();
    let folding = |desk: &Desk| {
        let text = desk.open().metrics_text().unwrap();
        let told = ["featurestore_last_fold_timestamp_seconds ", "featurestore_journal_unfolded_bytes "];
        told.into_iter().filter(|name| text.lines().any(|line| line.starts_with(name))).count()
    };
    assert_eq!(folding(&desk), 0, "others fold, and an alert would take this process for one that lags");
    desk.settings.manifest.fold_interval = Duration::from_secs(3600);
    assert_eq!(folding(&desk), 2);
}

#[test]
fn a_view_that_was_served_before_is_there_at_zero_before_its_first_request() {
    let desk = Desk::new();
    let day = range("2024-03-01", "2024-03-02");
    assert!(desk.open().get(&view(), &symbol("EURUSD"), day).unwrap().is_none());
    let store = desk.open();
    let misses = "featurestore_requests_total{outcome=\"miss\",view=\"prices\"} 0";
    assert!(!store.metrics_text().unwrap().contains(misses));
    // Reads the history, as the store does by itself some seconds later.
    store.slo();
    assert!(store.metrics_text().unwrap().contains(misses));
}

#[test]
fn the_requests_of_a_store_that_is_gone_stay_counted_by_the_recorder_that_others_share() {
    let desk = Desk::new();
    let recorder = Arc::new(PrometheusRecorder::scraped_every(Duration::ZERO));
    let open = |name: &str| {
        let builder = FeatureStore::builder(desk.dir.path().join(name)).settings(desk.settings.clone());
        builder.clock(Arc::clone(&desk.clock)).recorder(Arc::clone(&recorder)).open().unwrap()
    };
    let (one, other) = (open("one"), open("other"));
    let ask = |store: &FeatureStore| {
        store.get_or_compute(&view(), &symbol("EURUSD"), range("2024-03-01", "2024-03-02"), minutes).unwrap();
    };
    [&one, &other].into_iter().for_each(ask);
    let misses = "featurestore_requests_total{outcome=\"miss\",view=\"prices\"} 2";
    drop(one);
    assert!(other.metrics_text().unwrap().contains(misses), "{}", other.metrics_text().unwrap());
}

/// Tells when a thread has asked it twice: when the request came, and when it has looked for the block in vain.
struct Signalling(ManualClock, Mutex<(usize, Sender<()>)>, &'static str);

impl Clock for Signalling {
    fn now_ns(&self) -> i64 {
        if std::thread::current().name() == Some(self.2) {
            let mut asked = self.1.lock().unwrap();
            asked.0 += 1;
            if asked.0 == 2 {
                asked.1.send(()).unwrap();
            }
        }
        self.0.now_ns()
    }
}

#[test]
fn who_waited_for_anothers_compute_had_no_hit() {
    let desk = Desk::new();
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    let (looked, wait) = channel();
    let now = Timestamp::from_ns(desk.clock.now_ns());
    let clock = Signalling(ManualClock::new(now.as_ns()), Mutex::new((0, looked)), "waiting");
    let (store, other) = (
        desk.open(),
        FeatureStore::builder(desk.dir.path().join("cache"))
            .settings(desk.settings.clone())
            .clock(Arc::new(clock))
            .open()
            .unwrap(),
    );
    std::thread::scope(|scope| {
        let mut waiting = None;
        let answer = store.get_or_compute(&view, &eurusd, day, |gap| {
            let ask = || {
                let none = |_: &Gap| -> larder::Result<_> { panic!("it is being computed") };
                other.get_or_compute(&view, &eurusd, day, none).unwrap().outcome()
            };
            waiting = Some(std::thread::Builder::new().name("waiting".to_owned()).spawn_scoped(scope, ask).unwrap());
            wait.recv().unwrap();
            minutes(gap)
        });
        assert_eq!(answer.unwrap().outcome(), Outcome::Miss);
        assert_eq!(waiting.unwrap().join().unwrap(), Outcome::Coalesced);
    });
    assert_eq!(other.slo().budget.spent, 1);
}
