//! `doctor`, `explain` and what they stand on: the health of a cache, seen from a shell.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use larder::clock::{Clock, SystemClock};
use larder::inspect::{ALERTS, Alert, BlocksRequest, blocks};
use larder::manifest::{Journal, Manifest, Record};
use larder::{Outcome, Timestamp, ViewName};
use serde_json::Value;

use crate::cli::{Larder, code, json, stderr};
use crate::tools::tool;

fn manifest(larder: &Larder) -> Manifest {
    Manifest::new(larder.cache(), Arc::new(SystemClock))
}

fn newest(larder: &Larder) -> Vec<Option<Timestamp>> {
    let all = BlocksRequest { limit: Some(1000), ..BlocksRequest::default() };
    let facts = manifest(larder).read(|query| blocks(query, &all)).unwrap();
    facts.blocks.iter().map(|block| block.newest).collect()
}

#[test]
fn the_manifest_knows_the_newest_event_of_each_block_whether_told_or_rebuilt() {
    let larder = Larder::with_demo();
    // The manifest is made from the files by now; what the third symbol publishes is told to it.
    larder.json("stats");
    larder.json("demo --symbols 3");
    let told = newest(&larder);
    let times: Vec<_> = told.iter().flatten().map(ToString::to_string).collect();
    // Five days of two and of three symbols, Saturdays empty. Friday ends at 22:00.
    assert_eq!((told.len(), times.len()), (25, 20));
    assert!(times.iter().all(|time| time.ends_with(":59:00Z")), "{times:?}");
    std::fs::remove_file(larder.cache().join("manifest.duckdb")).unwrap();
    larder.json("stats");
    assert_eq!(newest(&larder), told);
}

#[test]
fn the_manifest_knows_how_long_the_values_of_a_view_are_valid() {
    let larder = Larder::new();
    let view = larder::FeatureView::builder("momentum")
        .entity("symbol")
        .feature("value", arrow::datatypes::DataType::Float64)
        .ttl(Duration::from_secs(90))
        .parameter("fast", 12)
        .build()
        .unwrap();
    let store = larder::FeatureStore::builder(larder.cache()).open().unwrap();
    let entity = larder::EntityKey::new([("symbol", "EURUSD")]).unwrap();
    store.get_or_compute(&view, &entity, crate::desk::range("2024-03-01", "2024-03-02"), crate::desk::minutes).unwrap();
    drop(store);
    let current = manifest(&larder).read(|query| query.current_views()).unwrap().remove(0);
    assert_eq!((current.view.as_str(), current.ttl()), ("momentum", Some(Duration::from_secs(90))));
    let definition: Value = serde_json::from_str(&current.definition).unwrap();
    assert_eq!((&definition["parameters"]["fast"], &definition["span"]), (&"12".into(), &"day".into()));
}

#[test]
fn blocks_are_paged_by_view_entity_and_day() {
    let larder = Larder::with_demo();
    let ask = |parameters: &[(&str, &str)]| {
        let request = BlocksRequest::parse(parameters.iter().copied()).unwrap();
        manifest(&larder).read(|query| blocks(query, &request)).unwrap()
    };
    let (mut after, mut seen) = (Some(0), Vec::new());
    while let Some(next) = after {
        let page = ask(&[("limit", "4"), ("after", &next.to_string())]);
        assert_eq!(page.total, 10);
        seen.extend(page.blocks.into_iter().map(|block| (block.entity, block.start)));
        after = page.next;
    }
    assert!(seen.len() == 10 && seen.is_sorted(), "{seen:?}");
    assert_eq!(ask(&[("entity", "EURUSD")]).total, 5);
    assert_eq!(ask(&[("entity", "symbol=EURUSD"), ("day", "2024-03-11")]).total, 1);
    assert_eq!(ask(&[("day", "2024-03-11"), ("view", "demo_features")]).total, 2);
    assert_eq!(ask(&[("entity", "GBPUSD")]).total, 0, "no such entity is not every entity");
    assert_eq!(ask(&[("view", "prices")]).total, 0);
}

/// Tells the cache what another process would.
fn tell(larder: &Larder, records: &[Record]) {
    Journal::create(&larder.cache()).unwrap().append(records).unwrap();
}

fn minutes_ago(ago: i64) -> i64 {
    Timestamp::from_ns(SystemClock.now_ns()).minute() - ago
}

fn requests(ago: i64, outcome: Outcome, count: u64) -> Record {
    let view = ViewName::new("demo_features").unwrap();
    Record::Requests { minute: minutes_ago(ago), view, outcome, count }
}

/// The demo's view as if its values were valid for so many seconds.
fn seen(larder: &Larder, ttl: &str) -> Record {
    let current = manifest(larder).read(|query| query.current_views()).unwrap().remove(0);
    Record::ViewSeen {
        at: Timestamp::from_ns(SystemClock.now_ns()),
        view: current.view,
        fingerprint: current.fingerprint,
        definition: format!("{{\"ttl_seconds\":{ttl}}}"),
    }
}

/// A demo beside which enough requests hit, and whose bars of 2024 are not too old.
fn in_use() -> Larder {
    let larder = Larder::with_demo();
    tell(&larder, &[requests(0, Outcome::Hit, 1000), seen(&larder, "1e9")]);
    larder
}

/// What a command prints with `--json` where the disk is large enough, and its exit status.
fn report(larder: &Larder, arguments: &str) -> (Value, i32) {
    let mut command = larder.command(arguments.split(' ').chain(["--json"]));
    let output = command.env("LARDER_MAX_CACHE_SIZE_GB", "1").output().unwrap();
    (json(&output), code(&output))
}

/// The checks that did not pass, with their level.
fn found(report: &Value) -> Vec<(String, String)> {
    let checks = report["checks"].as_array().unwrap().iter().filter(|check| check["level"] != "pass");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    checks.map(|check| (text(&check["name"]), text(&check["level"]))).collect()
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

fn named(name: &str, level: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), level.to_owned())]
}

#[test]
fn a_cache_that_is_well_passes_both_lists() {
    let larder = in_use();
    let (daily, status) = report(&larder, "doctor");
    assert_eq!((found(&daily), status), (vec![], 0), "{daily}");
    let (weekly, status) = report(&larder, "doctor --weekly");
    assert_eq!((found(&weekly), status), (vec![], 0), "{weekly}");
    assert_eq!(check(&weekly, "Every block")["figure"].as_str().unwrap().split(',').next(), Some("10 files"));
    let (text, _) = larder.text("doctor");
    for part in
        ["\nDaily\n", "\nWeekly\n", "PASS       Hit ratio: ", "Result     ", "More       larder doctor --weekly"]
    {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_low_hit_ratio_warns_and_names_the_command_that_explains_it() {
    let larder = in_use();
    tell(&larder, &[requests(0, Outcome::Miss, 60)]);
    std::fs::rename(larder.cache(), larder.path("elsewhere")).unwrap();
    let (checks, status) = report(&larder, "doctor --cache-dir elsewhere");
    let low = check(&checks, "Hit ratio");
    assert_eq!((&low["level"], &low["alert"], status), (&"warn".into(), &"FeatureStoreHitRatioLow".into(), 0));
    let typed = low["typed"].as_str().unwrap();
    assert!(typed.contains(" --cache-dir /"), "{typed}");
    let (explained, status) = report(&larder, typed.strip_prefix("larder ").unwrap());
    assert_eq!((&explained["alert"], status), (&"FeatureStoreHitRatioLow".into(), 0), "{typed}");
    assert_eq!(
        (&explained["checks"][0]["level"], explained["checks"][0].get("fix")),
        (&"warn".into(), None),
        "in a circle"
    );
}

#[test]
fn what_waited_in_the_journals_is_told_although_asking_folds_it() {
    let larder = in_use();
    assert_eq!(found(&report(&larder, "doctor").0), []);
    tell(&larder, &[requests(10, Outcome::Hit, 1)]);
    let (late, status) = report(&larder, "doctor");
    assert_eq!((found(&late), status), (named("Folding", "warn"), 0));
    assert_eq!(found(&report(&larder, "doctor").0), [], "it is folded by now");
}

#[test]
fn a_damaged_manifest_fails_once_and_the_rest_is_checked_all_the_same() {
    let larder = in_use();
    std::fs::write(larder.cache().join("manifest.duckdb"), "no database, and enough of it to be no empty file")
        .unwrap();
    let (first, status) = report(&larder, "doctor");
    assert_eq!((&check(&first, "Manifest")["level"], status), (&"fail".into(), 1));
    assert_eq!(check(&first, "Size")["level"], "pass");
    let (second, status) = report(&larder, "doctor");
    assert_eq!((&check(&second, "Manifest")["level"], status), (&"pass".into(), 0));
}

#[test]
fn a_deleted_manifest_is_no_finding() {
    let larder = in_use();
    std::fs::remove_file(larder.cache().join("manifest.duckdb")).unwrap();
    let (checks, status) = report(&larder, "doctor");
    assert_eq!((found(&checks), status), (vec![], 0));
    assert!(check(&checks, "Manifest")["figure"].as_str().unwrap().contains("new"));
}

#[test]
fn a_manifest_that_somebody_has_open_is_a_finding_of_doctor_and_stops_explain() {
    let larder = in_use();
    let all = report(&larder, "doctor --weekly").0["checks"].as_array().unwrap().len();
    let held = larder.hold_manifest();
    let (checks, status) = report(&larder, "doctor --weekly");
    assert_eq!(
        (found(&checks), status),
        ([named("Manifest", "warn"), named("Left out", "warn")].concat(), 0),
        "{checks}"
    );
    let asked = checks["checks"].as_array().unwrap().len() - 1;
    assert_eq!(
        check(&checks, "Left out")["figure"].as_str().unwrap().split(' ').next(),
        Some(&*(all - asked).to_string())
    );
    assert!(check(&checks, "Manifest")["figure"].as_str().unwrap().contains("open in another program"));
    let (refused, status) = report(&larder, "explain FeatureStoreHitRatioLow");
    assert_eq!((&refused["error"]["kind"], status), (&"busy".into(), 1));
    assert_eq!(report(&larder, "explain FeatureStoreDiskNearlyFull").1, 0, "the disk is seen without it");
    drop(held);
    assert_eq!(found(&report(&larder, "doctor").0), []);
}

#[test]
fn a_directory_that_was_open_to_others_is_told_although_opening_closes_it() {
    let larder = in_use();
    std::fs::set_permissions(larder.cache(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(found(&report(&larder, "doctor").0), named("Private", "warn"));
    assert_eq!(found(&report(&larder, "doctor").0), []);
}

#[test]
fn a_flipped_byte_is_found_by_the_weekly_list_with_the_command_that_mends_it() {
    let larder = in_use();
    let victim = larder.blocks().remove(0);
    let mut bytes = std::fs::read(&victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(victim, bytes).unwrap();
    assert_eq!(report(&larder, "doctor").1, 0, "the daily list reads no block");
    let (weekly, status) = report(&larder, "doctor --weekly");
    assert_eq!((found(&weekly), status), (named("Every block", "fail"), 1));
    let typed = check(&weekly, "Every block")["typed"].as_str().unwrap();
    assert_eq!(typed, "larder repair");
    report(&larder, "repair");
    assert_eq!(found(&report(&larder, "doctor --weekly").0), named("Quarantine", "warn"));
}

#[test]
fn a_view_in_use_whose_values_are_too_old_is_stale() {
    let larder = in_use();
    assert_eq!(found(&report(&larder, "doctor").0), []);
    tell(&larder, &[seen(&larder, "86400")]);
    let (checks, _) = report(&larder, "doctor");
    assert_eq!(found(&checks), named("Stale views", "warn"));
    let (explained, _) = report(&larder, "explain FeatureStoreViewStale");
    assert!(explained["checks"][0]["figure"].as_str().unwrap().contains("valid for 24 h"), "{explained}");
}

#[test]
fn reports_are_readable_in_a_narrow_terminal() {
    let larder = in_use();
    tell(&larder, &[requests(0, Outcome::Miss, 600)]);
    larder.json("invalidate --view demo_features --entity symbol=EURUSD");
    larder.demo(&[]);
    for command in ["doctor", "doctor --weekly", "explain HitRatioLow", "explain FeatureStoreDiskNearlyFull", "explain"]
    {
        let output = larder.command(command.split(' ')).env("COLUMNS", "60").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // Commands and paths are never cut, because somebody will copy them.
        let lines = text.lines().filter(|line| !line.contains('/') && !line.trim_start().starts_with("larder "));
        let longest = lines.clone().map(|line| line.chars().count()).max().unwrap();
        assert!(lines.count() > 5 && longest <= 60, "{command}: {longest} columns in\n{text}");
    }
}

fn causes(report: &Value) -> Vec<(&str, u64, f64)> {
    let causes = report["spending"]["causes"].as_array().unwrap().iter();
    causes
        .map(|cause| {
            let (name, blocks, share) = (&cause["cause"], &cause["blocks"], &cause["share"]);
            (name.as_str().unwrap(), blocks.as_u64().unwrap(), share.as_f64().unwrap())
        })
        .collect()
}

#[test]
fn an_invalidation_is_told_from_first_requests_with_its_cause() {
    let larder = Larder::with_demo();
    larder.json("invalidate --view demo_features --entity symbol=EURUSD");
    larder.demo(&[]);
    let (explained, status) = larder.json("explain FeatureStoreHitRatioLow");
    assert_eq!(status, 0);
    // Two cold symbols of five blocks each, then one of them again.
    assert_eq!(causes(&explained), [("new_view", 10, 2.0 / 3.0), ("invalidated", 5, 1.0 / 3.0)]);
    let invalidated = &explained["spending"]["causes"][1];
    assert_eq!(invalidated["title"], "invalidated: command line");
    assert_eq!(invalidated["entities"][0]["entity"], "symbol=EURUSD");
    assert_eq!(explained["spending"]["bad"], 3);
    let changes: Vec<_> = explained["spending"]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["what"].as_str().unwrap())
        .collect();
    assert!(changes.contains(&"invalidated 5 blocks: command line"), "{changes:?}");
    assert!(changes.iter().any(|what| what.starts_with("new view, fingerprint ")), "{changes:?}");
    assert_eq!(explained["runbook"], Alert::find("HitRatioLow").unwrap().runbook());
}

#[test]
fn what_was_evicted_for_want_of_room_is_told_with_the_setting_that_helps() {
    let larder = Larder::with_demo();
    let mut clean = larder.command(["clean"]);
    assert!(clean.env("LARDER_MAX_CACHE_SIZE_GB", "0.000000001").output().unwrap().status.success());
    larder.demo(&[]);
    let (explained, _) = larder.json("explain HitRatioCritical");
    assert_eq!(causes(&explained), [("evicted_size", 10, 0.5), ("new_view", 10, 0.5)]);
    let (text, _) = larder.text("explain HitRatioCritical");
    assert!(text.contains("raise max_cache_size_gb"), "{text}");
}

#[test]
fn what_was_unused_for_long_is_not_blamed_for_a_range_that_moves_on() {
    let larder = Larder::with_demo();
    let mut clean = larder.command(["clean"]);
    assert!(clean.env("FEATURE_CACHE_RETENTION_DAYS", "0.00000001").output().unwrap().status.success());
    larder.demo(&[]);
    let (explained, _) = larder.json("explain HitRatioCritical");
    assert_eq!(causes(&explained), [("new_view", 20, 1.0)]);
}

#[test]
fn the_window_is_the_alerts_unless_told_otherwise() {
    let larder = Larder::with_demo();
    tell(&larder, &[requests(120, Outcome::Miss, 7)]);
    let bad = |arguments: &str| larder.json(arguments).0["spending"]["bad"].as_u64().unwrap();
    assert_eq!(bad("explain FeatureStoreHitRatioLow"), 2);
    assert_eq!(bad("explain FeatureStoreBudgetBurnPage"), 9);
    assert_eq!(bad("explain FeatureStoreHitRatioLow --since 3h"), 9);
}

#[test]
fn a_mistyped_alert_is_wrong_usage_that_names_the_nearest() {
    let larder = Larder::new();
    let output = larder.run(["explain", "FeatureStoreHitRatoLow"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("there is HitRatioLow, "), "{}", stderr(&output));
    assert!(!larder.cache().exists());
}

#[test]
fn alerts_of_monitoring_are_explained_without_a_cache() {
    let larder = Larder::new();
    for name in ["FeatureStoreDown", "FeatureStoreMetricsAbsent", "FeatureStoreRatioDisagrees", "featurestorewatchdog"]
    {
        let (explained, status) = larder.json(&format!("explain {name}"));
        assert!(status == 0 && explained["look_at"].as_str().is_some_and(|text| text.len() > 40), "{explained}");
    }
}

#[test]
fn without_a_name_every_alert_is_listed() {
    let larder = Larder::new();
    let (listed, status) = larder.json("explain");
    assert_eq!((listed["alerts"].as_array().unwrap().len(), status), (ALERTS.len(), 0));
    assert!(larder.text("explain").0.contains("FeatureStoreBudgetExhausted"));
}

/// Names and severities, as the rules file has them. An alert may have several rules.
fn rules() -> BTreeSet<(String, String)> {
    let path = crate::checkout::path("alerts/alerts.yml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut rules = BTreeSet::new();
    let mut name = None;
    for line in text.lines().map(str::trim) {
        if let Some(alert) = line.strip_prefix("- alert: ") {
            name = Some(alert.to_owned());
        } else if let Some(severity) = line.strip_prefix("severity: ") {
            rules.insert((name.take().expect("a severity without an alert"), severity.to_owned()));
        }
    }
    rules
}

#[test]
fn explain_knows_the_alerts_that_the_rules_define() {
    let known: BTreeSet<_> =
        ALERTS.iter().map(|alert| (alert.name.to_owned(), alert.severity.as_str().to_owned())).collect();
    assert_eq!(known, rules());
}

#[test]
fn systemd_understands_the_units() {
    let Some(analyze) = tool("systemd-analyze") else { return };
    let dir = tempfile::tempdir().unwrap();
    let units = crate::checkout::path("config/systemd");
    let mut copies = Vec::new();
    for entry in std::fs::read_dir(units).unwrap() {
        let unit = entry.unwrap().path();
        let text = std::fs::read_to_string(&unit).unwrap();
        // The program has to be there.
        let text = text.replace("/usr/local/bin/larder", env!("CARGO_BIN_EXE_larder"));
        copies.push(dir.path().join(unit.file_name().unwrap()));
        std::fs::write(copies.last().unwrap(), text).unwrap();
    }
    assert_eq!(copies.len(), 3);
    let output = std::process::Command::new(analyze).arg("verify").args(&copies).output().unwrap();
    // An unknown key is only told, and the exit status is 0.
    let told = stderr(&output);
    let ours: Vec<_> = told.lines().filter(|line| line.contains("feature-cache")).collect();
    assert!(output.status.success() && ours.is_empty(), "{told}");
}
