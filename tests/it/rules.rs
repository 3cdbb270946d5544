//! The rules under `alerts/`, judged by the programs that will read them.

mod detection;
mod mutants;
mod openslo;
mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use larder::Settings;
use larder::inspect::limits::{
    BurnRule, CRITICAL_FOR, CRITICAL_RATIO, FEWEST_REQUESTS, FREE_RESERVES, PAGE, TICKET, UNFOLDED_BYTES, UNFOLDED_FOR,
};
use larder::inspect::{Alert, quantity};
use larder::metrics::{Kind, catalogue};
use larder::slo::WINDOWS;
use serde_json::Value;

use crate::checkout;
use crate::tools::{run, tool};

const RULE_FILES: [&str; 2] = ["recording.yml", "alerts.yml"];

fn alerts_dir() -> PathBuf {
    checkout::path("alerts")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents(path: impl AsRef<Path>) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// The files of unit tests, by name.
fn test_files() -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(alerts_dir().join("tests")).unwrap();
    let files: BTreeMap<_, _> = entries
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), read(entry.path())))
        .collect();
    assert!(!files.is_empty());
    files
}

/// A rule and where it stands.
#[derive(Clone)]
struct Rule {
    file: usize,
    group: usize,
    at: usize,
    body: Value,
}

impl Rule {
    fn text(&self, key: &str) -> &str {
        self.body[key].as_str().unwrap_or("")
    }

    fn expr(&self) -> &str {
        self.text("expr")
    }

    fn is_alert(&self) -> bool {
        self.body.get("alert").is_some()
    }

    /// Of the alert or the record; two alerts may share one.
    fn name(&self) -> &str {
        self.text(if self.is_alert() { "alert" } else { "record" })
    }

    fn labels(&self) -> BTreeMap<&str, &str> {
        let labels = self.body["labels"].as_object().into_iter().flatten();
        labels.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect()
    }

    /// The name, with the labels that tell it from its namesakes.
    fn title(&self) -> String {
        let own = self.labels().into_iter().filter(|(name, _)| *name != "severity");
        own.fold(self.name().to_owned(), |title, (name, value)| format!("{title} {name}={value}"))
    }
}

/// Both files as read, to be changed and written again.
fn files() -> Vec<Value> {
    RULE_FILES.map(|name| documents(alerts_dir().join(name)).remove(0)).into()
}

fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for (file, content) in files().into_iter().enumerate() {
        for (group, body) in content["groups"].as_array().unwrap().iter().enumerate() {
            let bodies = body["rules"].as_array().unwrap().iter().cloned().enumerate();
            rules.extend(bodies.map(|(at, body)| Rule { file, group, at, body }));
        }
    }
    rules
}

fn alerts() -> Vec<Rule> {
    let alerts: Vec<_> = rules().into_iter().filter(Rule::is_alert).collect();
    assert!(alerts.len() >= 15);
    alerts
}

fn alert(title: &str) -> Rule {
    alerts().into_iter().find(|alert| alert.title() == title).unwrap_or_else(|| panic!("no alert {title}"))
}

/// Names of metrics and records in any text.
fn series_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'));
    words.filter(|word| word.starts_with("featurestore_") || word.starts_with("featurestore:")).collect()
}

fn accepts(program: &str, args: &[&str]) {
    let Some(program) = tool(program) else { return };
    let (good, output) = run(&program, &alerts_dir(), args);
    assert!(good, "{output}");
}

#[test]
fn promtool_accepts_the_rules_and_the_sample_of_a_scrape() {
    accepts("promtool", &["check", "rules", "recording.yml", "alerts.yml"]);
    accepts("promtool", &["check", "config", "prometheus.yml"]);
}

#[test]
fn the_rules_pass_their_unit_tests() {
    let files: Vec<_> = test_files().into_keys().map(|name| format!("tests/{name}")).collect();
    let args: Vec<_> = ["test", "rules"].into_iter().chain(files.iter().map(String::as_str)).collect();
    accepts("promtool", &args);
}

#[test]
fn every_rule_is_named_in_a_unit_test() {
    let tests = test_files().into_values().collect::<String>();
    for rule in rules() {
        assert!(tests.contains(rule.name()), "{}", rule.title());
    }
}

#[test]
fn every_alert_says_what_is_wrong_how_bad_it_is_and_what_to_do() {
    for alert in alerts() {
        let title = alert.title();
        assert!(["none", "ticket", "warning", "page", "critical"].contains(&alert.labels()["severity"]), "{title}");
        let annotation = |name: &str| alert.body["annotations"][name].as_str().unwrap_or("");
        assert!(!annotation("summary").is_empty(), "{title}");
        let says_value = annotation("description").contains("$value");
        assert!(
            says_value || alert.name() == "FeatureStoreMetricsAbsent",
            "{title}: what is absent has no value, all else has"
        );
        assert_eq!(annotation("runbook_url"), Alert::find(alert.name()).unwrap().runbook(), "{title}");
        assert_eq!(annotation("dashboard_url"), "http://localhost:3000/d/featurestore-slo", "{title}");
    }
}

#[test]
fn every_alert_has_a_section_of_the_runbook() {
    let runbook = read(checkout::path("docs/runbook.md"));
    let headings: BTreeSet<_> =
        runbook.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim()).collect();
    for alert in alerts() {
        assert!(headings.contains(alert.name()), "docs/runbook.md has no section {}", alert.name());
    }
}

#[test]
fn every_metric_that_is_named_exists() {
    let records: BTreeSet<_> = rules().iter().map(|rule| rule.text("record").to_owned()).collect();
    let exported = |name: &str| {
        catalogue::ALL.iter().any(|metric| {
            let histogram = metric.kind == Kind::Histogram;
            name == metric.name
                || (histogram
                    && ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(metric.name)))
        })
    };
    let config = ["recording.yml", "alerts.yml", "alertmanager.yml", "prometheus.yml", "openslo.yaml"];
    let mut texts: BTreeMap<_, _> =
        config.iter().map(|name| ((*name).to_owned(), read(alerts_dir().join(name)))).collect();
    texts.extend(test_files());
    let mut named = 0;
    for (file, text) in &texts {
        for name in series_in(text) {
            assert!(if name.contains(':') { records.contains(name) } else { exported(name) }, "{file}: {name}");
            named += 1;
        }
    }
    assert!(named > 50, "{named}");
}

#[test]
fn the_alerts_that_were_promised_are_as_promised() {
    let low = alert("FeatureStoreHitRatioLow");
    assert_eq!((low.expr(), low.text("for")), ("featurestore:hit_ratio_5m < 0.95", "10m"));
    assert_eq!(low.labels(), BTreeMap::from([("severity", "warning")]));
    let critical = alert("FeatureStoreHitRatioCritical");
    assert_eq!((critical.expr(), critical.text("for")), ("featurestore:hit_ratio_5m < 0.80", "5m"));
    assert_eq!(critical.labels(), BTreeMap::from([("severity", "critical")]));
}

/// What `1 - x` says in an expression.
fn objectives(expr: &str) -> Vec<f64> {
    let told = expr.split("(1 - ").skip(1).map(|rest| rest.split(')').next().unwrap());
    told.map(|number| number.parse().unwrap()).collect()
}

#[test]
fn the_objective_is_the_one_of_the_settings() {
    let slo = Settings::default().slo;
    let mut told = vec![alert("FeatureStoreHitRatioLow").expr().rsplit(' ').next().unwrap().parse().unwrap()];
    told.extend(rules().iter().flat_map(|rule| objectives(rule.expr())));
    assert!(told.len() >= 8, "{told:?}");
    assert!(told.iter().all(|objective| *objective == slo.objective), "{told:?}");
    assert_eq!(slo.window.as_secs(), 30 * 86_400, "the rules look back 30 days");
}

/// The number that an expression ends with.
fn last_number(alert: &Rule) -> f64 {
    alert.expr().trim().rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn the_rules_have_the_limits_of_the_checks() {
    let critical = alert("FeatureStoreHitRatioCritical");
    assert_eq!(last_number(&critical), CRITICAL_RATIO);
    assert_eq!(critical.text("for"), format!("{}m", CRITICAL_FOR.as_secs() / 60));
    let summary = Alert::find(critical.name()).unwrap().summary;
    assert!(summary.contains(&quantity::percent(CRITICAL_RATIO)), "{summary}");

    let objective = Settings::default().slo.objective;
    let [day, days] = TICKET;
    for (title, rule) in [
        ("FeatureStoreBudgetBurnPage", PAGE),
        ("FeatureStoreBudgetBurnTicket window=1d", day),
        ("FeatureStoreBudgetBurnTicket window=3d", days),
    ] {
        let BurnRule { long, short, rate } = rule;
        let burns = [long, short].map(|name| format!("featurestore:miss_ratio_{name} / (1 - {objective}) > {rate}"));
        let enough = [long, short].map(|name| format!("featurestore:requests_{name} >= {FEWEST_REQUESTS}"));
        let wanted = [burns, enough].concat().join(" and ");
        assert_eq!(alert(title).expr().split_whitespace().collect::<Vec<_>>().join(" "), wanted, "{title}");
        for name in [long, short] {
            assert!(WINDOWS.iter().any(|window| window.name == name), "{name} is in no report");
        }
    }
    for title in ["FeatureStoreBudgetExhausted", "FeatureStoreRatioDisagrees"] {
        assert_eq!(last_number(&alert(title)), FEWEST_REQUESTS as f64, "{title}");
    }

    let free = alert("FeatureStoreDiskNearlyFull cause=free");
    assert!(free.expr().contains(&format!("< {FREE_RESERVES} * featurestore_disk_reserve_bytes")), "{}", free.expr());
    assert_eq!(last_number(&alert("FeatureStoreFoldLagging cause=age")), UNFOLDED_FOR.as_secs_f64());
    assert_eq!(last_number(&alert("FeatureStoreFoldLagging cause=size")), UNFOLDED_BYTES as f64);
}

#[test]
fn what_is_recorded_of_a_window_looks_back_as_far() {
    let mut found = 0;
    for rule in rules().iter().filter(|rule| !rule.is_alert()) {
        let name = rule.name();
        let Some(window) = WINDOWS.iter().find(|window| name.ends_with(&format!("_{}", window.name))) else { continue };
        let ranges: BTreeSet<_> = rule.expr().split('[').skip(1).map(|rest| rest.split(']').next().unwrap()).collect();
        assert_eq!(ranges, BTreeSet::from([window.name]), "{name}");
        found += 1;
    }
    assert!(found >= 15, "{found}");
}

#[test]
fn prometheus_scrapes_as_often_as_the_settings_say() {
    let config = documents(alerts_dir().join("prometheus.yml")).remove(0);
    let said = humantime::parse_duration(config["global"]["scrape_interval"].as_str().unwrap()).unwrap();
    assert_eq!(said, Settings::default().metrics.scrape_interval);
}

/// The rules of a pair of files that some texts name, and the records that those need, as JSON, which is YAML too.
/// Everything else is left out: each rule that is evaluated costs time.
fn cut(files: &[Value], texts: &[&str]) -> Vec<String> {
    let mut wanted = texts.concat();
    loop {
        let mut rest = files.to_vec();
        let mut needed = wanted.clone();
        for file in &mut rest {
            for group in file["groups"].as_array_mut().unwrap() {
                let rules = group["rules"].as_array_mut().unwrap();
                rules.retain(|rule| {
                    let name = rule["alert"].as_str().or(rule["record"].as_str()).unwrap();
                    wanted.contains(name)
                });
                rules.iter().for_each(|rule| needed += rule["expr"].as_str().unwrap());
            }
            file["groups"].as_array_mut().unwrap().retain(|group| !group["rules"].as_array().unwrap().is_empty());
        }
        if series_in(&needed) == series_in(&wanted) {
            return rest.iter().map(Value::to_string).collect();
        }
        wanted = needed;
    }
}
