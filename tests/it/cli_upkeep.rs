//! `stats`, `slo`, `clean`, `invalidate`, `verify`, `repair`: a cache looked after from a shell.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use larder::manifest::{Journal, Record};
use larder::{EntityKey, KeyType, KeyValue, Outcome, ViewName};
use serde_json::Value;

use crate::cli::{Larder, code, stderr};
use crate::damage::files;

fn findings(report: &Value) -> Vec<(&str, &str)> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|finding| (finding["kind"].as_str().unwrap(), finding["file"].as_str().unwrap())).collect()
}

fn flip_a_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Adds requests of the present minute, as another process would.
fn requests(larder: &Larder, view: &str, counts: &[(Outcome, u64)]) {
    let minute = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 60;
    let record = |(outcome, count): &(Outcome, u64)| Record::Requests {
        minute: i64::try_from(minute).unwrap(),
        view: ViewName::new(view).unwrap(),
        outcome: *outcome,
        count: *count,
    };
    let records: Vec<_> = counts.iter().map(record).collect();
    Journal::create(&larder.cache()).unwrap().append(&records).unwrap();
}

#[test]
fn a_flipped_byte_is_found_mended_and_computed_again() {
    let larder = Larder::with_demo();
    let victim = larder.blocks().remove(0);
    flip_a_byte(&victim);
    let name = victim.strip_prefix(larder.cache()).unwrap().to_str().unwrap().to_owned();

    let (report, status) = larder.json("verify");
    assert_eq!((findings(&report), status), (vec![("bad_file", name.as_str())], 1));
    let (text, _) = larder.text("verify");
    assert!(text.contains(&name) && text.contains("larder repair"), "{text}");
    assert!(victim.exists(), "verifying changes nothing");

    let (report, status) = larder.json("repair");
    assert_eq!((report["quarantined"][0][0].as_str(), status), (Some(name.as_str()), 0), "{report}");
    assert!(!victim.exists());
    let (report, status) = larder.json("verify");
    assert_eq!((findings(&report), status), (vec![], 0));
    let (report, status) = larder.json("repair");
    assert_eq!((report["quarantined"].as_array().unwrap().len(), status), (0, 0), "there is nothing left to mend");

    let demo = larder.demo(&[]);
    assert_eq!((&demo["symbols"][0]["cold_outcome"], &demo["warm_hit_ratio"]), (&"partial".into(), &1.0.into()));
}

#[test]
fn a_deleted_manifest_is_made_again_by_whoever_asks() {
    let larder = Larder::with_demo();
    std::fs::remove_file(larder.cache().join("manifest.duckdb")).unwrap();
    let (stats, status) = larder.json("stats");
    assert_eq!((&stats["disk"]["blocks"], status), (&10.into(), 0));
    assert_eq!(stats["views"][0]["versions"][0]["entities"], 2);
}

#[test]
fn stats_show_a_hole_where_a_block_was_invalidated() {
    let larder = Larder::with_demo();
    let whole = larder.json("stats").0;
    assert_eq!(whole["views"][0]["versions"][0]["holes"].as_array().unwrap().len(), 0);
    larder.json("invalidate --view demo_features --entity symbol=EURUSD --start 2024-03-10 --end 2024-03-11");
    let version = &larder.json("stats").0["views"][0]["versions"][0];
    assert_eq!(version["holes"][0]["start"], "2024-03-10T00:00:00Z");
    assert_eq!(version["holes"][0]["entities"], 1);
    assert_eq!(version["blocks"], 9);
}

#[test]
fn stats_are_readable_in_a_narrow_terminal() {
    let larder = Larder::with_demo();
    for (width, command) in [(60, "stats"), (60, "slo"), (60, "demo --symbols 2"), (120, "stats")] {
        let output = larder.command(command.split(' ')).env("COLUMNS", width.to_string()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // Paths are never cut, because somebody will copy them.
        let lines = text.lines().filter(|line| !line.contains('/'));
        let longest = lines.clone().map(|line| line.chars().count()).max().unwrap();
        assert!(lines.count() > 5 && longest <= width, "{longest} columns in\n{text}");
    }
}

#[test]
fn stats_list_as_many_misses_as_asked_for() {
    let larder = Larder::with_demo();
    let misses = |arguments: &str| larder.json(arguments).0["views"][0]["misses"].as_array().unwrap().clone();
    assert_eq!(misses("stats --misses 1").len(), 1);
    assert_eq!(misses("stats --misses 0").len(), 0);
    let all = misses("stats --misses");
    assert_eq!(all.len(), 2);
    assert_eq!((&all[0]["reason"], &all[0]["blocks"]), (&"absent".into(), &5.into()));
}

#[test]
fn an_exhausted_budget_is_a_finding() {
    let larder = Larder::with_demo();
    requests(&larder, "demo_features", &[(Outcome::Hit, 1000)]);
    let (slo, status) = larder.json("slo");
    assert_eq!((slo["state"].as_str(), status), (Some("ok"), 0), "{slo}");
    assert_eq!(slo["windows"][0]["hit_ratio"], 1004.0 / 1006.0);

    requests(&larder, "prices", &[(Outcome::Miss, 100), (Outcome::Hit, 20)]);
    let (slo, status) = larder.json("slo");
    assert_eq!((slo["state"].as_str(), status), (Some("exhausted"), 1));
    assert_eq!(larder.json("slo --view demo_features").1, 0);
    assert_eq!(larder.json("slo --view prices").1, 1);
    assert_eq!(larder.text("slo --view prices").1, 1);
}

#[test]
fn the_objective_is_a_setting() {
    let larder = Larder::with_demo();
    std::fs::write(larder.path("low.toml"), "[slo]\nobjective = 0.5\n").unwrap();
    let (slo, status) = larder.json("slo --config low.toml");
    assert_eq!((&slo["objective"], status), (&0.5.into(), 0));
}

#[test]
fn a_dry_run_lists_every_file_and_removes_none() {
    let larder = Larder::with_demo();
    let before = larder.blocks();
    let run = |dry: bool| {
        let arguments = ["clean", "--json"].into_iter().chain(dry.then_some("--dry-run"));
        // Everything has gone unused for longer than a millisecond.
        let output = larder.command(arguments).env("FEATURE_CACHE_RETENTION_DAYS", "0.00000001").output().unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let files = |report: &Value| -> Vec<_> {
        let removed = report["removed"].as_array().unwrap().iter();
        let mut files: Vec<_> = removed.map(|removal| larder.cache().join(removal["file"].as_str().unwrap())).collect();
        files.sort();
        files
    };
    let planned = run(true);
    assert_eq!((&planned["dry_run"], files(&planned)), (&true.into(), before.clone()));
    assert_eq!(planned["by_reason"][0]["reason"], "expired");
    assert_eq!(larder.blocks(), before);

    let cleaned = run(false);
    assert_eq!((&cleaned["dry_run"], files(&cleaned)), (&false.into(), before));
    assert_eq!(larder.blocks(), Vec::<std::path::PathBuf>::new());
    assert_eq!(larder.json("stats").0["disk"]["blocks"], 0, "stats are right at once");
    assert_eq!(larder.json("verify").1, 0);
}

#[test]
fn blocks_that_cannot_be_removed_are_a_finding_that_says_why() {
    let larder = Larder::with_demo();
    for lock in files(&larder.cache().join("locks")) {
        std::fs::remove_file(&lock).unwrap();
        std::fs::create_dir(&lock).unwrap();
    }
    let output = larder.command(["clean"]).env("FEATURE_CACHE_RETENTION_DAYS", "0.00000001").output().unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("10 blocks stayed: cannot remove") && said.contains("Is a directory"), "{said}");
    assert_eq!((code(&output), larder.blocks().len()), (1, 10));
}

#[test]
fn a_cache_within_its_limits_has_nothing_to_clean() {
    let larder = Larder::with_demo();
    let (report, status) = larder.json("clean");
    assert_eq!((&report["removed_blocks"], status), (&0.into(), 0));
    assert_eq!(larder.blocks().len(), 10);
}

#[test]
fn invalidating_forgets_blocks_of_the_scope_and_no_others() {
    let larder = Larder::with_demo();
    let day = "invalidate --view demo_features --entity symbol=EURUSD --start 2024-03-11 --end 2024-03-12";
    assert_eq!(larder.json(day), (larder_report(1), 0));
    assert_eq!(larder.blocks().len(), 9);
    assert_eq!(larder.json(day).0["blocks"], 0, "once is enough");
    assert_eq!(larder.json("invalidate --view demo_features --entity symbol=EURUSD").0["blocks"], 4);
    assert_eq!(larder.json("invalidate --view demo_features").0["blocks"], 5);
    assert_eq!(larder.blocks().len(), 0);
    assert_eq!(larder.json("stats").0["disk"]["blocks"], 0, "stats are right at once");
}

fn larder_report(blocks: u64) -> Value {
    serde_json::json!({
        "view": "demo_features", "entity": "symbol=EURUSD", "start": "2024-03-11T00:00:00Z",
        "end": "2024-03-12T00:00:00Z", "cause": "command line", "blocks": blocks,
    })
}

#[test]
fn unknown_views_and_entities_are_errors_that_name_the_known() {
    let larder = Larder::with_demo();
    for (arguments, parts) in [
        ("invalidate --view demo_feature", ["demo_feature ", "demo_features"]),
        ("invalidate --view demo_features --entity symbol=eurusd", ["symbol=eurusd", "symbol=EURUSD"]),
        ("stats --view prices", ["prices", "demo_features"]),
        ("slo --view prices", ["prices", "demo_features"]),
    ] {
        let output = larder.run(arguments.split(' '));
        assert_eq!(code(&output), 1, "{arguments}");
        for part in parts {
            assert!(stderr(&output).contains(part), "{}", stderr(&output));
        }
    }
    assert_eq!(larder.blocks().len(), 10);
}

/// A cache with one block each of two entities whose key is a number.
fn accounts(larder: &Larder) {
    let view = larder::FeatureView::builder("balances")
        .join_key("account", KeyType::Integer)
        .feature("value", arrow::datatypes::DataType::Float64)
        .build()
        .unwrap();
    let mut settings = larder::Settings::default();
    settings.disk.reserve_gb = 0.0;
    let store = larder::FeatureStore::builder(larder.cache()).settings(settings).open().unwrap();
    let day = crate::desk::range("2024-03-01", "2024-03-02");
    for account in [5, 6] {
        let entity = EntityKey::new([("account", KeyValue::from(account))]).unwrap();
        store.get_or_compute(&view, &entity, day, crate::desk::minutes).unwrap();
    }
}

#[test]
fn entities_with_typed_keys_are_invalidated_by_their_text() {
    let larder = Larder::new();
    accounts(&larder);
    assert_eq!(larder.json("invalidate --view balances --entity account=5").0["blocks"], 1);
    assert_eq!(larder.json("stats").0["disk"]["blocks"], 1);
    assert_eq!(larder.json("invalidate --view balances").0["blocks"], 1);
    assert_eq!(larder.json("stats").0["disk"]["blocks"], 0);
    assert_eq!(larder.json("verify").0["findings"].as_array().unwrap().len(), 0);
}
