//! What every command has in common: help, wrong usage, errors, pipes, colours.

use std::io::Read;
use std::process::Stdio;

use crate::cli::{Larder, code, json, stderr, stdout};

const COMMANDS: [&str; 21] = [
    "demo",
    "apply",
    "plan",
    "validate",
    "views",
    "sources",
    "entities",
    "services",
    "registry",
    "get",
    "sql",
    "push",
    "warm",
    "stats",
    "slo",
    "clean",
    "invalidate",
    "verify",
    "repair",
    "doctor",
    "explain",
];

/// The commands that look after a cache, as they are typed at the least.
const LOOK_AFTER: [&str; 9] = [
    "stats",
    "slo",
    "sql VALUES(1)",
    "clean",
    "invalidate --view v",
    "verify",
    "repair",
    "doctor",
    "explain HitRatioLow",
];

#[test]
fn every_command_has_help_with_an_example() {
    let larder = Larder::new();
    for command in COMMANDS {
        for help in ["--help", "-h"] {
            let (text, status) = larder.text(&format!("{command} {help}"));
            let example = format!("\nExamples:\n  larder {command}");
            assert!(status == 0 && text.contains(&example), "{command} {help} says {text}");
        }
    }
    assert!(larder.text("--help").0.contains("larder demo"));
}

#[test]
fn wrong_usage_is_2() {
    let larder = Larder::new();
    for arguments in [
        "",
        "nonsense",
        "stats --nonsense",
        "stats --since soon",
        "stats --view Not-A-Name",
        "demo --symbols 0",
        "demo --symbols 1000 --days 3000",
        "demo --symbols 2 --bars bars.parquet",
        "invalidate",
        "invalidate --view v --start yesterday",
        "invalidate --view v --start 2024-03-02 --end 2024-03-01",
    ] {
        let output = larder.run(arguments.split(' ').filter(|argument| !argument.is_empty()));
        assert_eq!(code(&output), 2, "larder {arguments}: {}", stderr(&output));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "larder {arguments}");
    }
}

#[test]
fn wrong_usage_with_json_is_one_object_too() {
    let larder = Larder::new();
    let output = larder.run(["stats", "--nonsense", "--json"]);
    assert_eq!((code(&output), &json(&output)["error"]["kind"]), (2, &"invalid".into()));
    assert!(json(&output)["error"]["message"].as_str().unwrap().contains("--nonsense"));
}

#[test]
fn a_mistake_in_the_settings_names_file_key_and_what_is_allowed() {
    let larder = Larder::with_demo();
    let config = larder.path("larder.toml");
    for (text, parts) in [
        ("retention_day = 3", ["retention_day", "did you mean \"retention_days\"?"]),
        ("[slo]\nobjective = 95", ["slo.objective = 95", "below 1"]),
        ("retention_days = = 3", ["not valid TOML", "line 1"]),
    ] {
        std::fs::write(&config, text).unwrap();
        let output = larder.run(["stats", "--config", config.to_str().unwrap()]);
        let message = stderr(&output);
        assert_eq!((code(&output), message.lines().count()), (2, 1), "{message}");
        for part in parts.into_iter().chain(["larder.toml"]) {
            assert!(message.contains(part), "{message} should say {part}");
        }
    }
    let output = larder.command(["stats"]).env("LARDER_RETENTION_DAY", "3").output().unwrap();
    assert!(code(&output) == 2 && stderr(&output).contains("LARDER_RETENTION_DAY"), "{}", stderr(&output));
}

#[test]
fn looking_after_a_cache_that_is_not_there_makes_none() {
    let larder = Larder::new();
    for command in LOOK_AFTER {
        let output = larder.run(command.split(' ').chain(["--json"]));
        let error = &json(&output)["error"];
        assert_eq!((code(&output), error["kind"].as_str()), (1, Some("not_found")), "{command}");
        assert!(error["message"].as_str().unwrap().starts_with("there is no cache at "), "{error}");
        assert!(stderr(&output).starts_with("error: there is no cache at "), "{}", stderr(&output));
        assert!(!larder.cache().exists(), "{command}");
    }
}

#[test]
fn a_cache_directory_that_is_none_is_named() {
    let larder = Larder::new();
    std::fs::write(larder.path("file"), "").unwrap();
    std::fs::create_dir(larder.path("photos")).unwrap();
    std::fs::write(larder.path("photos/cat.jpg"), "").unwrap();
    for (command, dir, part) in [
        ("stats", "file", "is a file"),
        ("demo", "file", "is a file"),
        ("demo", "photos", "holds other things, such as cat.jpg"),
        ("stats", "photos", "there is no cache"),
    ] {
        let output = larder.run([command, "--cache-dir", dir]);
        assert!(code(&output) > 0 && stderr(&output).contains(part), "{command} {dir}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1);
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let larder = Larder::with_demo();
    for command in ["stats", "stats --json", "clean --dry-run", "--help"] {
        let mut child =
            larder.command(command.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Closed before the command has anything to print.
        drop(child.stdout.take());
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert_eq!((child.wait().unwrap().code(), errors.as_str()), (Some(0), ""), "{command}");
    }
}

#[test]
fn no_colours_where_there_is_no_terminal() {
    let larder = Larder::with_demo();
    for command in ["stats", "slo", "verify", "demo --symbols 2", "stats --view prices", "demo --help"] {
        let output = larder.run(command.split(' '));
        let text = stdout(&output) + &stderr(&output);
        assert!(!text.is_empty() && !text.contains('\u{1b}'), "{command}: {text:?}");
    }
}

#[test]
fn logs_go_to_stderr_and_only_where_asked_for() {
    let larder = Larder::new();
    let quiet = larder.run(["demo", "--json", "--symbols", "1", "--days", "1"]);
    assert_eq!(stderr(&quiet), "");
    let mut loud = larder.command(["demo", "--json", "--symbols", "1", "--days", "1"]);
    let loud = loud.env("LARDER_LOG", "larder::cache=debug").output().unwrap();
    assert!(stderr(&loud).contains("get_or_compute: Cache HIT"), "{}", stderr(&loud));
    assert_eq!(json(&loud)["warm_hit_ratio"], 1.0);
}

#[test]
fn the_cache_directory_is_the_argument_then_the_variable_then_in_the_home() {
    let larder = Larder::new();
    let demo = ["demo", "--json", "--symbols", "1", "--days", "1"];
    let dir = |output: std::process::Output| json(&output)["cache_dir"].as_str().unwrap().to_owned();
    let given = dir(larder.run(demo.into_iter().chain(["--cache-dir", "given"])));
    assert_eq!(given, larder.path("given").to_str().unwrap());
    assert_eq!(dir(larder.run(demo)), larder.cache().to_str().unwrap());
    let home = dir(larder.command(demo).env_remove("FEATURE_CACHE_DIR").output().unwrap());
    assert_eq!(home, larder.path(".feature_cache").to_str().unwrap());
}
