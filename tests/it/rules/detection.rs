//! Whether `docs/detection.md` tells the truth: every cell of its table is asked of promtool.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::routes::receivers;
use super::{RULE_FILES, alert, cut, files, read, rules};
use crate::checkout;
use crate::tools::{run, tool};
use larder::Settings;

const SECOND: u64 = 1;
const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 86_400;

/// The table: what each column is called, and the cells of each row by what its first cell says.
struct Table {
    shares: Vec<f64>,
    rows: Vec<(String, Vec<String>)>,
}

fn table() -> Table {
    let page = read(checkout::path("docs/detection.md"));
    let mut lines = page.lines().filter_map(|line| line.strip_prefix('|')).map(|line| {
        let cells = line.trim_end().trim_end_matches('|').split('|');
        cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>()
    });
    let header = lines.next().unwrap();
    let shares = header[2..].iter().map(|cell| cell.trim_end_matches(" %").parse::<f64>().unwrap() / 100.0).collect();
    let rows = lines.filter(|cells| !cells[0].starts_with("---")).map(|cells| (cells[0].clone(), cells[1..].to_vec()));
    Table { shares, rows: rows.collect() }
}

/// `2 d 4 h` in seconds; `None` for never.
fn seconds(cell: &str) -> Option<u64> {
    let parts: Vec<_> = cell.split(' ').collect();
    let unit = |unit: &str| match unit {
        "min" => MINUTE,
        "h" => HOUR,
        "d" => DAY,
        other => panic!("{cell}: {other} is no unit"),
    };
    (cell != "never").then(|| parts.chunks(2).map(|part| part[0].parse::<u64>().unwrap() * unit(part[1])).sum())
}

/// How finely a stretch of time is looked at: between two scrapes, and between two answers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Scale {
    scrape: u64,
    answer: u64,
    /// How long all requests hit before.
    healthy: u64,
    /// How long a rule that never fires is waited for.
    patience: u64,
}

const SCALES: [Scale; 3] = [
    Scale { scrape: 15 * SECOND, answer: MINUTE, healthy: 10 * MINUTE, patience: HOUR },
    Scale { scrape: 5 * MINUTE, answer: 5 * MINUTE, healthy: 3 * DAY, patience: 2 * DAY },
    Scale { scrape: HOUR, answer: HOUR, healthy: 30 * DAY, patience: 35 * DAY },
];

/// Within an hour, within a day, beyond. What never fires has to be waited for until its window is full.
fn scale(title: &str, fires: Option<u64>) -> Scale {
    SCALES[match fires {
        Some(after) if after < HOUR => 0,
        Some(after) if after < DAY => 1,
        Some(_) => 2,
        None if title.contains("HitRatio") => 0,
        None if title.contains("window=3d") || title.contains("Exhausted") => 2,
        None => 1,
    }]
}

/// Whether the alert fires at that time, or has ever fired until then.
fn question(title: &str, at: u64, over: Option<u64>, fires: bool) -> Value {
    let alert = alert(title);
    let labels = alert.labels().into_iter().map(|(name, value)| format!(", {name}=\"{value}\"")).collect::<String>();
    let escalation = if title.contains("escalation") { "" } else { ", escalation=\"\"" };
    let series = format!("ALERTS{{alertname=\"{}\", alertstate=\"firing\"{labels}{escalation}}}", alert.name());
    let expr = match over {
        Some(seconds) => format!("count(count_over_time({series}[{seconds}s]))"),
        None => format!("count({series})"),
    };
    let samples = if fires { json!([{ "labels": "{}", "value": 1 }]) } else { json!([]) };
    json!({ "expr": expr, "eval_time": format!("{at}s"), "exp_samples": samples })
}

/// 20 requests a second, of which none and then a share misses.
fn requests(scale: Scale, share: f64, steps: u64) -> Value {
    let (healthy, each) = (scale.healthy / scale.scrape, 20 * scale.scrape);
    let misses = (share * each as f64).round() as u64;
    assert!((misses as f64 - share * each as f64).abs() < 1e-6, "{share}");
    let hits = each - misses;
    let series = |outcome: &str, values: String| {
        let name =
            format!("featurestore_requests_total{{job=\"larder\", instance=\"1\", view=\"a\", outcome=\"{outcome}\"}}");
        json!({ "series": name, "values": values })
    };
    json!([
        series("hit", format!("0+{each}x{healthy} {}+{hits}x{steps}", healthy * each + hits)),
        series("miss", format!("0x{healthy} {misses}+{misses}x{steps}")),
    ])
}

#[test]
fn every_alert_fires_as_fast_as_the_page_says_and_not_a_step_earlier() {
    let Some(promtool) = tool("promtool") else { return };
    let table = table();
    let mut questions: BTreeMap<Scale, BTreeMap<usize, Vec<Value>>> = BTreeMap::new();
    let mut named: BTreeMap<Scale, String> = BTreeMap::new();
    let mut cells = 0;
    for (title, row) in table.rows.iter().filter(|(title, _)| title.starts_with("FeatureStore")) {
        for (column, cell) in row[1..].iter().enumerate() {
            let fires = seconds(cell);
            let scale = scale(title, fires);
            let asked = questions.entry(scale).or_default().entry(column).or_default();
            match fires {
                Some(after) => {
                    assert_eq!(after % scale.answer, 0, "{title}: {cell} is finer than what is looked at");
                    let at = scale.healthy + after;
                    asked.push(question(title, at - scale.answer, None, false));
                    asked.push(question(title, at, None, true));
                }
                None => {
                    let at = scale.healthy + scale.patience;
                    asked.push(question(title, at, Some(at), false));
                }
            }
            named.entry(scale).or_default().push_str(title);
            cells += 1;
        }
    }
    assert_eq!(cells, 7 * table.shares.len(), "a row of each alert about the ratio and the budget");
    for (scale, columns) in questions {
        let steps = scale.patience / scale.scrape;
        let tests: Vec<_> = columns
            .into_iter()
            .map(|(column, asked)| {
                json!({
                    "name": format!("{} of the requests miss", table.shares[column]),
                    "interval": format!("{}s", scale.scrape),
                    "input_series": requests(scale, table.shares[column], steps),
                    "promql_expr_test": asked,
                })
            })
            .collect();
        let groups = files().into_iter().flat_map(|file| file["groups"].as_array().unwrap().clone());
        let file = json!({
            "rule_files": ["recording.yml", "alerts.yml"],
            "evaluation_interval": format!("{}s", scale.scrape),
            "group_eval_order": groups.map(|group| group["name"].clone()).collect::<Vec<_>>(),
            "tests": tests,
        });
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in RULE_FILES.iter().zip(cut(&files(), &[&named[&scale]])) {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        std::fs::write(dir.path().join("detection.yml"), file.to_string()).unwrap();
        let (good, output) = run(&promtool, dir.path(), &["test", "rules", "detection.yml"]);
        assert!(good, "{output}");
    }
}

#[test]
fn the_page_says_who_is_told_of_every_alert_about_the_ratio_and_the_budget() {
    let Some(amtool) = tool("amtool") else { return };
    let table = table();
    let rows: Vec<_> = table.rows.iter().filter(|(title, _)| title.starts_with("FeatureStore")).collect();
    let of_requests = rules()
        .into_iter()
        .filter(|rule| rule.is_alert() && ["HitRatio", "Budget"].iter().any(|part| rule.name().contains(part)));
    assert_eq!(rows.len(), of_requests.count());
    for (title, row) in rows {
        let told = row[0].split(", ").map(str::to_owned).collect();
        assert_eq!(receivers(&amtool, &alert(title)), told, "{title}");
    }
}

#[test]
fn the_page_has_the_burn_rates_right() {
    let table = table();
    let slo = Settings::default().slo;
    let row = |name: &str| &table.rows.iter().find(|(title, _)| title == name).unwrap().1[1..];
    for (at, share) in table.shares.iter().enumerate() {
        let burn = share / (1.0 - slo.objective);
        assert_eq!(row("burn rate")[at].parse::<f64>().unwrap(), (burn * 10.0).round() / 10.0);
        let days = slo.window.as_secs_f64() / burn / DAY as f64;
        let lasts = if burn > 1.0 { format!("{} d", (days * 10.0).floor() / 10.0) } else { "for ever".to_owned() };
        assert_eq!(row("a full budget lasts")[at], lasts);
    }
}
