//! The Grafana dashboard: sound by itself, and asking only for what exists.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use larder::metrics::{Kind, catalogue};
use serde_json::{Value, json};

use crate::checkout;
use crate::tools::tool;

/// Queries to which a healthy service may have no answer, and why. All others have one wherever there is traffic.
pub const MAY_BE_EMPTY: &[(&str, &str)] = &[
    ("annotation: Firing alerts", "no alert fires"),
    ("What was invalidated? (A)", "nobody has invalidated anything; causes are not known in advance"),
    ("How long does computing take? (A)", "every request of the interval was a hit"),
    ("How long does computing take? (B)", "every request of the interval was a hit"),
    ("How fresh is each view? (B)", "a view need not say how long its values are valid"),
    ("How fresh is each view? (C)", "a view need not say how long its values are valid"),
];

/// Every query of panels, annotations and variables, named after where it stands, as Prometheus would get it with all
/// processes and views chosen.
pub fn queries() -> Vec<(String, String)> {
    queries_over("1m")
}

/// The same with rates over `rate_interval`, for a Prometheus that has only just begun.
pub fn queries_over(rate_interval: &str) -> Vec<(String, String)> {
    let dashboard = dashboard();
    let variables = items(&dashboard["templating"]["list"]).filter(|variable| variable["type"] == "query");
    let variables = variables.map(|variable| {
        (format!("variable: {}", text(&variable["name"])), label_values(text(&variable["definition"])))
    });
    let annotations = items(&dashboard["annotations"]["list"]).filter(|annotation| annotation["builtIn"] != 1);
    let annotations = annotations
        .map(|annotation| (format!("annotation: {}", text(&annotation["name"])), text(&annotation["expr"]).to_owned()));
    let panels = targets(&dashboard).into_iter().map(|(panel, target)| {
        (format!("{} ({})", text(&panel["title"]), text(&target["refId"])), text(&target["expr"]).to_owned())
    });
    let filled = |(name, expr): (String, String)| (name, filled(&expr, rate_interval));
    variables.chain(annotations).chain(panels).map(filled).collect()
}

/// What Grafana's `label_values(series, label)` comes to.
fn label_values(definition: &str) -> String {
    let inner = definition.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
    let (series, label) = inner.and_then(|inner| inner.rsplit_once(", ")).expect(definition);
    format!("count by ({label}) ({series})")
}

/// Fills in `$name` and `${name}`; a name that is none of ours stays.
fn filled(expr: &str, rate_interval: &str) -> String {
    let value = |name: &str| match name {
        "__rate_interval" => Some(rate_interval),
        "__interval" => Some("15s"),
        "__range" => Some("5m"),
        "job" | "instance" | "view" => Some(".*"),
        _ => None,
    };
    let mut parts = expr.split('$');
    let mut filled = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, rest) = match part.strip_prefix('{').and_then(|part| part.split_once('}')) {
            Some(braced) => braced,
            None => part.split_at(part.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(part.len())),
        };
        match value(name) {
            Some(value) => filled.extend([value, rest]),
            None => filled.extend(["$", part]),
        }
    }
    filled
}

fn read(path: &str) -> String {
    std::fs::read_to_string(checkout::path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn source() -> String {
    read("dashboards/featurestore-slo.json")
}

fn dashboard() -> Value {
    serde_json::from_str(&source()).unwrap()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}")).iter()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// All panels, those in folded rows too, without the rows themselves.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let (rows, panels): (Vec<_>, Vec<_>) = items(&dashboard["panels"]).partition(|panel| panel["type"] == "row");
    panels.into_iter().chain(rows.into_iter().flat_map(|row| items(&row["panels"]))).collect()
}

fn targets(dashboard: &Value) -> Vec<(&Value, &Value)> {
    panels(dashboard)
        .into_iter()
        .flat_map(|panel| items(&panel["targets"]).map(move |target| (panel, target)))
        .collect()
}

/// The expression without what stands between quotation marks.
fn unquoted(expr: &str) -> String {
    expr.split('"').step_by(2).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).filter(|word| !word.is_empty())
}

/// Names of ours and of the process among the words of a text.
fn metrics(text: &str) -> BTreeSet<String> {
    words(text)
        .filter(|word| word.starts_with("featurestore") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// The values of a key such as `record` in a rule file.
fn rules(path: &str, key: &str) -> BTreeSet<String> {
    let key = format!("{key}:");
    let names = |line: &str| line.trim().trim_start_matches("- ").strip_prefix(&key).map(|name| name.trim().to_owned());
    let names: BTreeSet<_> = read(path).lines().filter_map(names).collect();
    assert!(!names.is_empty(), "no {key} in {path}");
    names
}

/// The series that a scrape of the metric has.
fn series(metric: &catalogue::Metric) -> Vec<String> {
    match metric.kind {
        Kind::Histogram => ["bucket", "sum", "count"].map(|part| format!("{}_{part}", metric.name)).to_vec(),
        Kind::Counter | Kind::Gauge => vec![metric.name.to_owned()],
    }
}

#[test]
fn the_file_has_its_identity_and_its_form() {
    let (source, dashboard) = (source(), dashboard());
    assert_eq!(dashboard["uid"], "featurestore-slo", "alerts link to it");
    assert_eq!(dashboard["id"], Value::Null, "an id is of one Grafana only");
    // Keys sorted, so that a change made in Grafana is a difference of the lines that changed.
    assert!(source == serde_json::to_string_pretty(&dashboard).unwrap() + "\n", "format it: jq --sort-keys .");
}

#[test]
fn panels_have_ids_of_their_own_and_do_not_overlap() {
    let dashboard = dashboard();
    let all: Vec<_> = items(&dashboard["panels"])
        .chain(items(&dashboard["panels"]).filter(|p| p["type"] == "row").flat_map(|row| items(&row["panels"])))
        .collect();
    let ids: BTreeSet<_> = all.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), all.len(), "an id is there twice");
    let mut taken: BTreeMap<(u64, u64), &str> = BTreeMap::new();
    for panel in all {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        let title = text(&panel["title"]);
        assert!(w > 0 && h > 0 && x + w <= 24, "{title} leaves the grid");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            if let Some(other) = taken.insert(cell, title) {
                panic!("{title} overlaps {other}");
            }
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit() {
    let dashboard = dashboard();
    let mut titles = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = text(&panel["title"]);
        assert!(!title.is_empty() && titles.insert(title), "{title:?} is empty or there twice");
        assert!(text(&panel["description"]).len() > 20, "{title} has no description");
        let defaults = &panel["fieldConfig"]["defaults"];
        assert!(!text(&defaults["unit"]).is_empty(), "{title} has no unit");
        assert!(!text(&defaults["noValue"]).is_empty(), "{title} does not say what an empty answer means");
        let steps = defaults["thresholds"]["steps"].as_array().unwrap_or_else(|| panic!("{title} has no thresholds"));
        assert_eq!(
            steps.first().map(|step| &step["value"]),
            Some(&Value::Null),
            "{title}: no colour below the first threshold"
        );
        let values: Vec<_> = steps.iter().skip(1).map(|step| step["value"].as_f64().unwrap()).collect();
        assert!(values.is_sorted(), "{title}: thresholds are not in order");
    }
}

#[test]
fn the_hit_ratio_has_the_colours_of_its_alerts() {
    let dashboard = dashboard();
    let panel = panels(&dashboard).into_iter().find(|panel| panel["title"] == "Hit ratio, 5 minutes").unwrap();
    let steps = &panel["fieldConfig"]["defaults"]["thresholds"]["steps"];
    let steps: Vec<_> = items(steps).map(|step| (step["value"].as_f64(), text(&step["color"]))).collect();
    assert_eq!(steps, [(None, "red"), (Some(0.80), "orange"), (Some(0.95), "green")]);
}

#[test]
fn every_query_asks_the_chosen_prometheus_for_the_chosen_job() {
    let dashboard = dashboard();
    let chosen = json!({"type": "prometheus", "uid": "${datasource}"});
    for panel in panels(&dashboard) {
        let title = text(&panel["title"]);
        assert_eq!(panel["datasource"], chosen, "{title}");
        let mut refs = BTreeSet::new();
        assert!(items(&panel["targets"]).count() > 0, "{title} asks nothing");
        for target in items(&panel["targets"]) {
            assert_eq!(target["datasource"], chosen, "{title}");
            assert!(refs.insert(text(&target["refId"])), "{title}: a refId is there twice");
            assert!(text(&target["expr"]).contains("job=~\"$"), "{title}: {}", target["expr"]);
        }
    }
    for annotation in items(&dashboard["annotations"]["list"]).filter(|annotation| annotation["builtIn"] != 1) {
        assert_eq!(annotation["datasource"], chosen, "{}", annotation["name"]);
        assert!(text(&annotation["expr"]).contains("job=~\"$"), "{}", annotation["name"]);
    }
}

#[test]
fn every_variable_that_a_query_uses_is_there() {
    let dashboard = dashboard();
    let names: Vec<_> = items(&dashboard["templating"]["list"]).map(|variable| text(&variable["name"])).collect();
    assert_eq!(names, ["datasource", "job", "instance", "view"]);
    for (name, expr) in queries() {
        assert!(!expr.contains('$'), "{name}: {expr}");
    }
}

#[test]
fn queries_ask_only_for_series_that_exist() {
    let mut known = rules("alerts/recording.yml", "record");
    known.extend(catalogue::ALL.iter().copied().flat_map(series));
    known.extend(catalogue::PROCESS.map(str::to_owned));
    for (name, expr) in queries() {
        let unknown: Vec<_> = metrics(&unquoted(&expr)).into_iter().filter(|metric| !known.contains(metric)).collect();
        assert!(unknown.is_empty(), "{name} asks for {unknown:?}, which nobody exports or records");
    }
}

#[test]
fn groupings_and_legends_name_labels_that_exist() {
    let mut known: BTreeSet<_> = ["job", "instance", "le", "alertname"].into();
    known.extend(catalogue::ALL.iter().flat_map(|metric| metric.labels).map(|label| label.name));
    let dashboard = dashboard();
    for (panel, target) in targets(&dashboard) {
        let (title, expr) = (text(&panel["title"]), unquoted(text(&target["expr"])));
        for labels in expr.split("by (").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            assert!(words(labels).all(|label| known.contains(label)), "{title} groups by {labels}");
        }
        for label in text(&target["legendFormat"]).split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
            // Kept by the grouping, or by the recording rule, whose name says so.
            assert!(known.contains(label) && expr.contains(label), "{title} has no {label} for its legend: {expr}");
        }
    }
}

#[test]
fn every_metric_is_shown_alerted_on_or_explained() {
    let mut used: BTreeSet<_> = queries().iter().flat_map(|(_, expr)| metrics(&unquoted(expr))).collect();
    for (folder, ending) in [("alerts", "yml"), ("docs", "md")] {
        for entry in std::fs::read_dir(checkout::path(folder)).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == ending) {
                used.extend(metrics(&std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    for metric in catalogue::ALL {
        let names = series(metric);
        assert!(
            used.contains(metric.name) || names.iter().any(|name| used.contains(name)),
            "nobody looks at {}",
            metric.name
        );
    }
    for name in catalogue::PROCESS {
        assert!(used.contains(name), "nobody looks at {name}");
    }
}

#[test]
fn runbook_links_lead_to_alerts() {
    let runbook = "https://github.com/larder-rs/larder/blob/main/docs/runbook.md";
    let alerts: BTreeSet<_> = rules("alerts/alerts.yml", "alert").iter().map(|alert| alert.to_lowercase()).collect();
    let dashboard = dashboard();
    let mut linked = BTreeSet::new();
    for link in panels(&dashboard).into_iter().flat_map(|panel| items(&panel["links"])) {
        let anchor = text(&link["url"]).strip_prefix(runbook).unwrap_or_else(|| panic!("{link} leads elsewhere"));
        if let Some(alert) = anchor.strip_prefix('#') {
            assert!(alerts.contains(alert), "{link} leads to no alert");
            linked.insert(alert.to_owned());
        }
    }
    assert_eq!(linked, alerts, "the first set is linked from a panel, the second is what may fire");
}

#[test]
fn every_query_is_valid_promql() {
    let Some(promtool) = tool("promtool") else { return };
    let record = |(at, (_, expr)): (usize, (String, String))| json!({"record": format!("query:{at}"), "expr": expr});
    let rules: Vec<_> = queries().into_iter().enumerate().map(record).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules.yml");
    // JSON is YAML too.
    std::fs::write(&path, json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string()).unwrap();
    let output = Command::new(promtool).args(["check", "rules"]).arg(&path).output().unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("{} rules found", rules.len())), "{said}");
}

#[test]
fn queries_that_may_be_empty_are_still_there() {
    let names: BTreeSet<_> = queries().into_iter().map(|(name, _)| name).collect();
    for (name, _) in MAY_BE_EMPTY {
        assert!(names.contains(*name), "{name} is no query any more");
    }
}
