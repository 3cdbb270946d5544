//! The layers: what a module may import. The order is that of `ARCHITECTURE.md`.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};

#[path = "../src/checkout.rs"]
mod checkout;

/// Lowest first. A module imports only from those before it.
const LAYERS: &[&str] = &[
    "checkout",
    "mutate",
    "planted",
    "sync",
    "error",
    "clock",
    "disk",
    "repeats",
    "model",
    "config",
    "definition",
    "sql",
    "indicator",
    "metrics",
    "slo",
    "block",
    "store",
    "source",
    "manifest",
    "upkeep",
    "inspect",
    "cache",
    "registry",
    "compute",
    "watch",
    "technical",
    "server",
    "cli",
];

/// Pairs that do not know each other, although the order would allow it.
const STRANGERS: [(&str, &str); 4] =
    [("manifest", "store"), ("slo", "config"), ("block", "config"), ("technical", "cache")];

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The module of a file below `src`, which is the first part of its path.
fn module(file: &Path) -> String {
    let below = file.strip_prefix(root()).unwrap();
    below.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

fn root() -> PathBuf {
    checkout::path("src")
}

/// The modules that a file's code names as `crate::<module>`.
fn imports(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let names = code.flat_map(|line| {
        line.split("crate::")
            .skip(1)
            .map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>())
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// What is wrong with one import, if anything is.
fn objection(from: &str, to: &str) -> Option<String> {
    let place = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    match (place(from), place(to)) {
        (Some(_), None) => Some(format!("{from} imports {to}, which has no layer")),
        (Some(from_place), Some(to_place)) if to_place > from_place => {
            Some(format!("{from} imports {to}, which lies above it"))
        }
        _ if STRANGERS.contains(&(from, to)) => Some(format!("{from} imports {to}; the two do not know each other")),
        _ => None,
    }
}

#[test]
fn imports_point_downwards_only() {
    let mut objections = Vec::new();
    let mut seen = 0;
    for file in sources(&root()) {
        let from = module(&file);
        if from == "lib" || from == "main" {
            continue;
        }
        assert!(LAYERS.contains(&from.as_str()), "{} has no layer", file.display());
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            !text.contains("crate::{"),
            "{}: name the module after `crate::`, where this test sees it",
            file.display()
        );
        for to in imports(&text) {
            seen += 1;
            objections.extend(objection(&from, &to).map(|what| format!("{}: {what}", file.display())));
        }
    }
    assert!(objections.is_empty(), "{}", objections.join("\n"));
    assert!(seen > 100, "only {seen} imports were found");
}

/// What is wrong with the tests of a file that are not run by default.
fn unexplained(text: &str) -> Vec<&str> {
    let ignored = text.lines().filter(|line| line.trim_start().starts_with("#[ignore"));
    ignored.filter(|line| !(line.contains("= \"") && line.contains(": ") && line.contains("cargo test "))).collect()
}

#[test]
fn a_test_that_is_not_run_says_why_and_which_command_runs_it() {
    for directory in ["src", "tests", "benches"] {
        for file in
            sources(&checkout::path(directory)).iter().filter(|file| file.extension().is_some_and(|e| e == "rs"))
        {
            let text = std::fs::read_to_string(file).unwrap();
            assert_eq!(unexplained(&text), [""; 0], "{}", file.display());
        }
    }
    assert_eq!(unexplained("  #[ignore]\n#[ignore = \"measures\"]").len(), 2);
    assert_eq!(unexplained("#[ignore = \"measures: cargo test x -- --ignored\"]").len(), 0);
}

#[test]
fn an_import_that_points_up_is_found() {
    assert_eq!(imports("// crate::cli\nuse crate::cache::Gap; crate::error::Error"), ["cache", "error"]);
    assert!(objection("model", "cache").is_some());
    assert!(objection("manifest", "store").is_some());
    assert!(objection("cache", "model").is_none());
}
