//! Warnings, and mistakes of several files.

use super::{mistakes, read, read_files};
use crate::definition::ReadError;

fn warnings(features: &str) -> Vec<String> {
    let text = format!("[view.v]\nentity = \"symbol\"\nsource = \"bars\"\n[view.v.features]\n{features}\n");
    read(&text).unwrap().warnings().iter().map(ToString::to_string).collect()
}

#[test]
fn names_that_break_the_rules_are_warned_of() {
    let cases = [
        (
            "rsi = { kind = \"rsi\", column = \"close\", period = 9 }",
            "its period is 9: say so in its name, as in rsi_9",
        ),
        (
            "rsi_14 = { kind = \"rsi\", column = \"close\", period = 9 }",
            "its period is 9: say so in its name, as in rsi_9",
        ),
        ("dxy_20 = { kind = \"zscore\", column = \"close\", period = 20 }", "a zscore has _z in its name"),
        ("dxy_z = { kind = \"lag\", column = \"close\", bars = 1 }", "_z in a name is for a zscore"),
        (
            "log_ret = { kind = \"log_return\", column = \"close\", over = \"90m\" }",
            "a return over 1h30m says so in its name: end it with _1h30m",
        ),
    ];
    for (feature, advice) in cases {
        let name = feature.split(' ').next().unwrap();
        assert_eq!(warnings(feature), [format!("a.toml:5:1: view \"v\": feature \"{name}\": {advice}")], "{feature}");
    }
}

#[test]
fn names_that_keep_the_rules_are_not() {
    for feature in [
        "rsi_9 = { kind = \"rsi\", column = \"close\", period = 9 }",
        "atr_pct = { kind = \"atr_pct\", period = 14 }",
        "close_z_20 = { kind = \"zscore\", column = \"close\", period = 20 }",
        "dxy_z = { kind = \"zscore\", column = \"close\", period = 252 }",
        "ret_1h = { kind = \"change\", column = \"close\", over = \"60m\" }",
        "macd = { kind = \"macd\", column = \"close\", fast = 12, slow = 26, signal = 9, output = \"macd\" }",
        "some_z = { column = \"close\" }",
    ] {
        assert_eq!(warnings(feature), [""; 0], "{feature}");
    }
}

#[test]
fn a_name_defined_twice_names_both_places() {
    let error =
        read_files(&[("b/1.toml", "[entity.a]\n[entity.b]"), ("b/2.toml", "\n  [entity.a]\nx = 1")]).unwrap_err();
    assert_eq!(error.to_string(), "b/2.toml:2:11: entity \"a\" is defined twice: first at b/1.toml:1:9");
}

#[test]
fn all_mistakes_are_found_at_once_in_the_order_of_places() {
    let error = read_files(&[
        ("b.toml", "[view.v]\nentity = \"x\"\nsource = \"y\"\nspan = 3\nfeatures.a = { kind = \"rsi\" }\n"),
        ("a.toml", "[entity.e]\nkey = 1\n\n[service.s]\nfeatures = [\"w.a\", \"v.b\"]\n"),
    ])
    .unwrap_err();
    let wanted = "\
a.toml:2:1: entity \"e\": unknown key \"key\": did you mean \"keys\"?
a.toml:5:13: service \"s\": there is no view \"w\": known views: v
a.toml:5:20: service \"s\": view \"v\" has no feature \"b\": known features: a
b.toml:2:10: view \"v\": there is no entity \"x\": known entities: e
b.toml:3:10: view \"v\": there is no source \"y\": known sources: none
b.toml:4:8: view \"v\": span: 3 is not allowed: use \"hour\", \"day\", \"week\", \"month\" or \"year\"
b.toml:5:10: view \"v\": feature \"a\": column is missing: use the name of a column
b.toml:5:10: view \"v\": feature \"a\": period is missing: use a whole number from 2 to 10000";
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn fifty_mistakes_are_shown_and_the_rest_is_counted() {
    let text: String = (0..60).map(|at| format!("[entity.e{at}]\nkey = 1\n")).collect();
    let message = mistakes(&text);
    assert_eq!(message.lines().count(), 51);
    assert!(message.ends_with("\nand 10 more"), "{message}");
    let ReadError::Mistakes(all) = read(&text).unwrap_err() else { panic!() };
    assert_eq!(all.len(), 60);
}

#[test]
fn what_a_broken_file_may_define_is_not_missed() {
    let service = "[service.s]\nfeatures = [\"v.a\"]\nowner = 1";
    let error = read_files(&[("a.toml", "[view.v]\nx = = 1"), ("b.toml", service)]).unwrap_err().to_string();
    assert!(error.starts_with("a.toml:2:"), "{error}");
    assert!(error.ends_with("\nb.toml:3:9: service \"s\": owner: 1 is not allowed: use text"), "{error}");
    assert!(!error.contains("v.a") && !error.contains("no view"), "{error}");
}
