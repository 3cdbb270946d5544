//! The scenarios, the longest first.

use std::time::Duration;

use duckdb::Connection;
use larder::Timestamp;
use larder::clock::{Clock, SystemClock};

use super::day::{BACKFILL, CLEANER, Day, Plan, SERVICE, Watch};
use super::service::{FEED_STOPPED, Load, SOURCE_IS_DOWN};
use super::stack::{Alert, PATIENCE, Process, Programs, until};
use crate::bad_luck::Disk;
use crate::damage::files;

type Scenario = fn(&Programs);

pub const SCENARIOS: &[(&str, Scenario)] = &[
    ("a retention that is too short costs seven in a hundred", too_short_a_retention),
    ("a limit far below what is asked for", thrashing),
    ("a job that invalidates again and again, seen by larder serve", a_cold_cache),
    ("computing fails", failing_computes),
    ("damaged files", damaged_files),
    ("a feed that stopped", a_stopped_feed),
    ("a proxy that changes the metrics", a_proxy),
    ("a disk that somebody else filled, seen by larder serve", a_full_disk),
    ("a disk that became read-only", a_read_only_disk),
    ("a stranger who holds the manifest", a_held_manifest),
    ("a service that was killed", a_killed_service),
    ("a service that hangs", a_hanging_service),
    ("a target that was lost", a_lost_target),
];

const LOW: &str = "FeatureStoreHitRatioLow";
const LOW_FOR_LONG: &str = "FeatureStoreHitRatioLow/platform";
const CRITICAL: &str = "FeatureStoreHitRatioCritical";
const PAGE: &str = "FeatureStoreBudgetBurnPage";
const DAY: &str = "FeatureStoreBudgetBurnTicket/1d";
const THREE_DAYS: &str = "FeatureStoreBudgetBurnTicket/3d";
const EXHAUSTED: &str = "FeatureStoreBudgetExhausted";
const ABSENT: &str = "FeatureStoreMetricsAbsent";
const DOWN: &str = "FeatureStoreDown";
const DISK: &str = "FeatureStoreDiskNearlyFull/free";
const CORRUPT: &str = "FeatureStoreCorruptBlocks";
const PUBLISHES: &str = "FeatureStorePublishesFailing";
const FOLD: &str = "FeatureStoreFoldLagging/age";
const STALE: &str = "FeatureStoreViewStale";
const DISAGREES: &str = "FeatureStoreRatioDisagrees";

const DEV: &str = "dev-data-oncall";
const PLATFORM: &str = "platform-oncall";
const TICKETS: &str = "data-tickets";

/// What most requests missing comes to. Who hears of the lesser alerts depends on which comes and goes first: a ticket
/// is written before its page or after it, and FeatureStoreHitRatioLow told once FeatureStoreHitRatioCritical has ended.
const MOST_MISS: &[(&str, &[&str])] =
    &[(CRITICAL, &[DEV, PLATFORM]), (PAGE, &[DEV, PLATFORM]), (LOW, &[]), (DAY, &[]), (THREE_DAYS, &[])];

fn most_miss(day: &Day, fix: impl FnOnce()) {
    day.expect(MOST_MISS);
    fix();
    day.end(MOST_MISS, &[EXHAUSTED]);
    assert_eq!(day.told_in_spite_of(LOW, CRITICAL), 0, "the lesser is inhibited by the greater");
}

fn too_short_a_retention(programs: &Programs) {
    // Each of the blocks that are asked for seldom comes again after 14 seconds.
    let load = Load { rate: 60, hot: 40, seldom: 60, seldom_every: 14, ..Load::default() };
    let settings = &[("LARDER_MANIFEST__FOLD_INTERVAL", "200ms")];
    let day = Day::begin(programs, &Plan { load, settings, ..Plan::default() });
    // 8 seconds.
    day.machine.drop_in(CLEANER, "retention.conf", "FEATURE_CACHE_RETENTION_DAYS=0.0000926");
    day.begin_job("feature-cache-cleanup.timer", Duration::from_secs(1), &["clean"]);
    let alerts: &[(&str, &[&str])] =
        &[(LOW, &[DEV]), (LOW_FOR_LONG, &[PLATFORM]), (THREE_DAYS, &[TICKETS]), (EXHAUSTED, &[TICKETS])];
    day.expect(alerts);
    day.fix(LOW, "retention", &[]);
    day.end(alerts, &[]);
}

fn thrashing(programs: &Programs) {
    let load = Load { rate: 60, hot: 300, ..Load::default() };
    let settings = &[
        ("LARDER_MANIFEST__FOLD_INTERVAL", "100ms"),
        ("LARDER_CLEANUP_THRESHOLD", "0.5"),
        ("LARDER_CLEANUP_TARGET", "0.4"),
    ];
    let day = Day::begin(programs, &Plan { load, settings, ..Plan::default() });
    day.machine.drop_in(SERVICE, "limit.conf", "LARDER_MAX_CACHE_SIZE_GB=0.0029");
    day.restart(SERVICE);
    most_miss(&day, || day.fix(CRITICAL, "limit", &[]));
}

fn a_cold_cache(programs: &Programs) {
    // So many that none is asked for twice between two invalidations, of which each holds the manifest for a moment.
    let load = Load { rate: 60, hot: 300, ..Load::default() };
    let day = Day::begin(programs, &Plan { load, watch: Watch::Larder, ..Plan::default() });
    let arguments = &["invalidate", "--view", "prices", "--cause", "backfill"];
    day.begin_job(BACKFILL, Duration::from_millis(1500), arguments);
    most_miss(&day, || day.fix(CRITICAL, "stop-removing", &[("JOB", BACKFILL)]));
}

fn failing_computes(programs: &Programs) {
    let day = Day::begin(programs, &Plan::default());
    day.fault(SOURCE_IS_DOWN, "");
    day.larder(&["invalidate", "--view", "prices", "--cause", "corrected bars"]);
    most_miss(&day, || day.fix(CRITICAL, "restart", &[]));
}

fn damaged_files(programs: &Programs) {
    let load = Load { rate: 60, hot: 40, archive: 3, ..Load::default() };
    let day = Day::begin(programs, &Plan { load, ..Plan::default() });
    let blocks = files(&day.cache.join("blocks"));
    let three_of = |name: &'static str| blocks.iter().filter(move |file| file.to_string_lossy().contains(name)).take(3);
    for file in three_of("symbol=HOT").chain(three_of("symbol=OLD")) {
        let mut bytes = std::fs::read(file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xFF;
        std::fs::write(file, bytes).unwrap();
    }
    let alerts: &[(&str, &[&str])] = &[(CORRUPT, &[DEV])];
    day.expect(alerts);
    day.fix(CORRUPT, "repair", &[]);
    let quarantined = files(&day.cache.join("quarantine")).len();
    assert_eq!(quarantined, 6, "three that requests met, and three that repair found");
    day.end(alerts, &[]);
}

fn a_stopped_feed(programs: &Programs) {
    // Few enough that the hit ratio stays good: a tail without news is not kept, so every request for it computes.
    let load = Load { rate: 60, hot: 40, live_every: 30, ..Load::default() };
    let settings = &[("LARDER_MANIFEST__FOLD_INTERVAL", "200ms")];
    let day = Day::begin(programs, &Plan { load, settings, ..Plan::default() });
    let stopped = SystemClock.now_ns();
    day.fault(FEED_STOPPED, &stopped.to_string());
    let alerts: &[(&str, &[&str])] = &[(STALE, &[TICKETS])];
    day.expect(alerts);
    let since = Timestamp::from_ns(stopped).to_string();
    day.fix(STALE, "feed", &[("VIEW", "live"), ("SINCE", &since)]);
    day.end(alerts, &[]);
}

fn a_proxy(programs: &Programs) {
    let day = Day::begin(programs, &Plan { watch: Watch::InBetween, ..Plan::default() });
    day.in_between().rewrite(true);
    let alerts: &[(&str, &[&str])] = &[(DISAGREES, &[DEV])];
    day.expect(alerts);
    day.fix(DISAGREES, "restart", &[]);
    day.end(alerts, &[]);
}

/// A disk of its own, and a plan with something new to publish all the time.
fn on_a_disk(megabytes: u32, archive: u64) -> Option<(Disk, Plan)> {
    let load = Load { rate: 60, hot: 40, new_every: 120, archive, ..Load::default() };
    let settings = &[("LARDER_DISK__RESERVE_GB", "0.02"), ("LARDER_DISK__AUTO_CLEAN", "false")];
    Some((Disk::mount(megabytes * 1000)?, Plan { load, settings, ..Plan::default() }))
}

fn a_full_disk(programs: &Programs) {
    // A third is the cache's; the service leaves cleaning to the timer, which nobody started.
    let Some((disk, plan)) = on_a_disk(120, 100) else { return };
    let plan = Plan { watch: Watch::Larder, ..plan };
    let day = Day::begin_in(programs, &plan, tempfile::tempdir().unwrap(), disk.cache());
    let free = day.stack.value("featurestore_disk_free_bytes").unwrap();
    assert!(free > 45e6, "{free}");
    // Below the reserve of 20 MB, but with room for what is not the cache's.
    std::fs::write(disk.dir.path().join("filler"), vec![1u8; free as usize - 12_000_000]).unwrap();
    let alerts: &[(&str, &[&str])] = &[(DISK, &[DEV]), (PUBLISHES, &[DEV])];
    day.expect(alerts);
    day.fix("FeatureStoreDiskNearlyFull", "clean", &[]);
    // Cleaning may cost blocks that are asked for, of which a ticket may come.
    day.end(alerts, &[THREE_DAYS]);
}

fn a_read_only_disk(programs: &Programs) {
    let Some((disk, plan)) = on_a_disk(120, 0) else { return };
    let day = Day::begin_in(programs, &plan, tempfile::tempdir().unwrap(), disk.cache());
    // Nothing that is being written to can be made read-only, so this happens while nobody does.
    day.end_service();
    disk.remount("ro");
    day.restart(SERVICE);
    let alerts: &[(&str, &[&str])] = &[(PUBLISHES, &[DEV]), (FOLD, &[DEV])];
    day.expect(alerts);
    day.fix(PUBLISHES, "writable", &[]);
    day.end(alerts, &[]);
}

const STRANGER: &str = "GAME_STRANGER";

/// Another process that opens the manifest with DuckDB and keeps it open.
#[test]
#[ignore = "a process of another test, which is: cargo test --release --all-features --test it -- --ignored gameday::every"]
fn stranger() {
    let Ok(manifest) = std::env::var(STRANGER) else { return };
    // Others hold it for moments.
    let connection = until("the manifest", PATIENCE, || Connection::open(&manifest).map_err(|error| error.to_string()));
    std::thread::sleep(Duration::from_secs(600));
    drop(connection);
}

fn a_held_manifest(programs: &Programs) {
    let day = Day::begin(programs, &Plan::default());
    let mut stranger = Process::start(&std::env::current_exe().unwrap(), |command| {
        command.args(["--exact", "gameday::faults::stranger", "--include-ignored"]);
        command.env(STRANGER, day.cache.join("manifest.duckdb"));
    });
    let alerts: &[(&str, &[&str])] = &[(FOLD, &[DEV])];
    day.expect(alerts);
    assert!(stranger.ended().is_none(), "it holds the manifest");
    day.fix("FeatureStoreFoldLagging", "release", &[]);
    until("the stranger's end", PATIENCE, || stranger.ended().ok_or_else(|| "it still runs".to_owned()));
    day.end(alerts, &[]);
}

fn a_killed_service(programs: &Programs) {
    let day = Day::begin(programs, &Plan::default());
    day.signal("KILL");
    // It was the only one, so there are no metrics either; but that is told to nobody.
    let alerts: &[(&str, &[&str])] = &[(DOWN, &[DEV, PLATFORM]), (ABSENT, &[])];
    day.expect(alerts);
    assert!(day.told(ABSENT).is_empty(), "inhibited by FeatureStoreDown");
    day.fix(DOWN, "restart", &[]);
    day.end(alerts, &[]);
}

fn a_hanging_service(programs: &Programs) {
    let day = Day::begin(programs, &Plan::default());
    day.signal("STOP");
    let alerts: &[(&str, &[&str])] = &[(DOWN, &[DEV, PLATFORM])];
    day.expect(alerts);
    day.fix(DOWN, "restart", &[]);
    day.end(alerts, &[]);
}

fn a_lost_target(programs: &Programs) {
    let day = Day::begin(programs, &Plan::default());
    let config = std::fs::read_to_string(day.stack.config()).unwrap();
    let (without, _) = config.split_once("  - job_name: larder").unwrap();
    until("a target lost while it was up", PATIENCE, || {
        std::fs::write(day.stack.config(), without).unwrap();
        day.stack.reload();
        // A scrape that the reload cut off has failed, and Prometheus marks no end of a job that is gone: for the time
        // that it looks back the target would be down.
        if day.stack.value("up").is_none_or(|up| up == 1.0) {
            return Ok(());
        }
        std::fs::write(day.stack.config(), &config).unwrap();
        day.stack.reload();
        std::thread::sleep(Duration::from_secs(1));
        Err("the last scrape was cut off".to_owned())
    });
    let alerts: &[(&str, &[&str])] = &[(ABSENT, &[DEV])];
    day.expect(alerts);
    day.fix(ABSENT, "target", &[]);
    day.end(alerts, &[]);
    assert_eq!(day.stack.value("count(up)"), Some(1.0));
    assert_eq!(Alert(ABSENT.to_owned()), *day.stack.fired().first().unwrap());
}
