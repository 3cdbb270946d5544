//! Whether the unit tests of the rules would notice a mistake: every rule is changed in every way that a
//! slip of the hand could, and some test has to fail.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::{RULE_FILES, Rule, alerts_dir, cut, documents, files, rules, test_files};
use crate::tools::{run, tool};

/// Changes that change nothing, and why.
const EQUIVALENT: &[(&str, &str, &str)] =
    &[("FeatureStoreViewStale", "sum by (job, view) -> max by", "a sum of counts is above 0 where the largest is")];

/// One changed rule.
struct Mutant {
    rule: Rule,
    change: String,
}

fn mutants(rule: &Rule) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    let mut add = |key: &str, value: Option<String>, change: String| {
        let mut rule = rule.clone();
        match value {
            Some(value) => rule.body[key] = Value::String(value),
            None => drop(rule.body.as_object_mut().unwrap().remove(key)),
        }
        mutants.push(Mutant { rule, change });
    };
    for (expr, change) in changed_expressions(rule.expr()) {
        add("expr", Some(expr), change);
    }
    for key in ["for", "keep_firing_for"].into_iter().filter(|key| !rule.text(key).is_empty()) {
        add(key, None, format!("no {key}"));
        let minutes = match rule.text(key) {
            "1h" => 60,
            text => text.trim_end_matches('m').parse::<u32>().unwrap(),
        };
        add(key, Some(format!("{}m", minutes + 1)), format!("{key} a minute longer"));
        if minutes > 1 {
            add(key, Some(format!("{}m", minutes - 1)), format!("{key} a minute shorter"));
        }
    }
    for name in rule.labels().into_keys() {
        let mut rule = rule.clone();
        rule.body["labels"][name] = "other".into();
        mutants.push(Mutant { rule, change: format!("another {name}") });
    }
    if rule.is_alert() {
        let mut rule = rule.clone();
        rule.body["annotations"]["description"] = "Something is wrong.".into();
        mutants.push(Mutant { rule, change: "another description".to_owned() });
    }
    let known = |mutant: &Mutant| {
        EQUIVALENT.iter().any(|(rule, change, _)| mutant.rule.title() == *rule && mutant.change == *change)
    };
    mutants.retain(|mutant| !known(mutant));
    mutants
}

fn changed_expressions(expr: &str) -> Vec<(String, String)> {
    const SWAPS: &[(&str, &[&str])] = &[
        (" < ", &[" > "]),
        (" > ", &[" < "]),
        (" >= ", &[" < "]),
        (" == ", &[" != "]),
        (" > 0)", &[")"]),
        ("and ", &["or "]),
        ("or ", &["and "]),
        ("1 - sum", &["sum"]),
        ("hit|stale", &["hit", "stale", "hit|stale|fallback"]),
        ("outcome=~", &["outcome!~"]),
        ("outcome!~", &["outcome=~"]),
        ("disk|io", &["disk", "io", "disk|io|invalidated"]),
        ("alertstate=\"firing\", ", &[""]),
        (", escalation=\"\"", &[""]),
        ("sum by (job)", &["max by (job)", "sum by (job, instance)"]),
        ("sum by (job, instance)", &["max by (job, instance)", "sum by (job)"]),
        ("sum by (job, view)", &["max by (job, view)", "sum by (job)"]),
        ("sum by (job, reason)", &["max by (job, reason)", "sum by (job)"]),
        ("max by (job)", &["sum by (job)", "min by (job)", "max by (job, instance)"]),
        ("max by (job, view)", &["sum by (job, view)", "min by (job, view)", "max by (job)"]),
        ("min by (job)", &["sum by (job)", "max by (job)", "min by (job, instance)"]),
        ("on (job, instance)", &["on (job)"]),
        ("on (job)", &["on ()"]),
        ("abs(", &["("]),
        ("absent(", &["("]),
        ("rate(", &["delta("]),
        ("increase(", &["delta("]),
        (" - min_over_time(featurestore_quarantined_blocks[1h])", &[""]),
    ];
    let mut changed = Vec::new();
    for (from, to) in SWAPS {
        for (at, _) in expr.match_indices(from) {
            for to in *to {
                let (head, tail) = (&expr[..at], &expr[at + from.len()..]);
                changed.push((format!("{head}{to}{tail}"), describe(from, to)));
            }
        }
    }
    for (at, number) in numbers(expr) {
        let tail = &expr[at + number.len()..];
        // Whether a ratio's denominator is above 0 is asked by " > 0)".
        if number == "0" && tail.starts_with(')') {
            continue;
        }
        let value: f64 = number.parse().unwrap();
        let others = if value == 0.0 { [-0.02, 1.0] } else { [value * 0.9, value * 1.1] };
        changed.extend(others.map(|other| (format!("{}{other}{tail}", &expr[..at]), format!("{number} -> {other}"))));
    }
    for (at, _) in expr.match_indices('[') {
        let end = at + expr[at..].find(']').unwrap();
        let (length, unit) = expr[at + 1..end].split_at(end - at - 2);
        let seconds = length.parse::<u64>().unwrap()
            * match unit {
                "m" => 60,
                "h" => 3600,
                _ => 86_400,
            };
        for other in [seconds / 2, seconds * 2] {
            let text = format!("{}{other}s{}", &expr[..=at], &expr[end..]);
            changed.push((text, format!("[{length}{unit}] -> [{other}s]")));
        }
    }
    let lines: Vec<_> = expr.trim_end().lines().collect();
    for at in 0..lines.len() {
        let is_clause =
            |line: Option<&&str>| line.is_none_or(|line| line.starts_with("and ") || line.starts_with("or "));
        if lines.len() > 1 && is_clause(lines.get(at + 1)) && (at == 0 || is_clause(lines.get(at))) {
            let mut rest = lines.clone();
            rest.remove(at);
            let rest = rest.join("\n");
            let rest = rest.strip_prefix("and ").or(rest.strip_prefix("or ")).unwrap_or(&rest);
            let rest = rest.strip_prefix("on ").map_or(rest, |matched| matched.split_once(") ").unwrap().1);
            changed.push((rest.to_owned(), format!("without line {}", at + 1)));
        }
    }
    changed
}

fn describe(from: &str, to: &str) -> String {
    // The labels of "sum by (job) -> max by (job)" need not be said twice.
    let to = match (from.split_once(" ("), to.split_once(" (")) {
        (Some((_, labels)), Some((aggregate, same))) if labels == same => aggregate,
        _ => to.trim(),
    };
    format!("{} -> {to}", from.trim())
}

/// Numbers of an expression, neither parts of names nor of ranges nor of matchers.
fn numbers(expr: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut at = 0;
    for word in expr.split([' ', '(', ')', '\n']) {
        if word.parse::<f64>().is_ok() && !word.is_empty() {
            found.push((at, word));
        }
        at += word.len() + 1;
    }
    found
}

/// The cases of a test file that ask about a rule, by its name or by a pattern. Each case costs time.
fn about(name: &str, test: &Value) -> Option<Value> {
    let mut test = test.clone();
    let cases = test["tests"].as_array_mut().unwrap();
    cases.retain(|case| case.to_string().contains(name));
    let named = !cases.is_empty();
    named.then_some(test)
}

/// Whether the rules pass the cases about one of them, of every file.
fn pass(promtool: &Path, files: &[Value], name: &str, tests: &[Value]) -> Result<(), String> {
    for test in tests.iter().filter_map(|test| about(name, test)) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tests")).unwrap();
        std::fs::write(dir.path().join("tests/test.yml"), test.to_string()).unwrap();
        for (file, text) in RULE_FILES.iter().zip(cut(files, &[&test.to_string(), name])) {
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        let (good, output) = run(promtool, dir.path(), &["test", "rules", "tests/test.yml"]);
        // A rule that cannot be loaded proves nothing about the tests.
        assert!(!output.contains("could not parse") && !output.contains("unmarshal"), "{output}");
        if !good {
            return Err(output);
        }
    }
    Ok(())
}

fn with(mutant: &Rule) -> Vec<Value> {
    let mut files = files();
    files[mutant.file]["groups"][mutant.group]["rules"][mutant.at] = mutant.body.clone();
    files
}

#[test]
fn no_slip_of_the_hand_in_a_rule_passes_the_unit_tests() {
    let Some(promtool) = tool("promtool") else { return };
    let mut tests: Vec<_> =
        test_files().into_keys().map(|name| documents(alerts_dir().join("tests").join(name)).remove(0)).collect();
    // Whatever fails soonest, first.
    tests.sort_by_key(|test| test["tests"].as_array().unwrap().len());
    for rule in rules() {
        let passed = pass(&promtool, &files(), rule.name(), &tests);
        assert_eq!(passed, Ok(()), "{}: its tests need a rule that they do not name", rule.title());
    }
    let mutants: Vec<_> = rules().iter().flat_map(mutants).collect();
    assert!(mutants.len() > 300, "{}", mutants.len());
    let (next, survivors) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(Mutant { rule, change }) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
            if pass(&promtool, &with(rule), rule.name(), &tests).is_ok() {
                survivors.lock().unwrap().push(format!("{}: {change}", rule.title()));
            }
        }
    };
    std::thread::scope(|scope| [scope.spawn(work), scope.spawn(work)].map(|worker| worker.join().unwrap()));
    let survivors = survivors.into_inner().unwrap();
    assert!(survivors.is_empty(), "of {} mutants these passed:\n{}", mutants.len(), survivors.join("\n"));
}
