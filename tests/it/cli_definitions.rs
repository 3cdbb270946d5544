//! `apply`, `views`, `get`, `warm`: features from files of definitions to rows, from a shell.

use std::fmt::Write;

use serde_json::Value;

use crate::checkout;
use crate::cli::{Larder, code, json, stderr, stdout};

pub const DEFINITIONS: &str = r#"
[entity.symbol]

[source.bars]
kind = "csv"
path = "${BARS}/*.csv"
event_time = "time"
label = { at = "open", bar = "1h" }
types = { close = "double" }

[source.state]
kind = "push"
types = { position = "double" }

[view.momentum]
entity = "symbol"
source = "bars"
lookback = "2d"
ttl = "1h"
[view.momentum.features]
change_1h = { kind = "change", column = "close", over = "1h", relative = false }
close = { column = "close" }

[view.held]
entity = "symbol"
source = "state"
ttl = "1h"
[view.held.features]
position = { column = "position" }

[on_demand.twice]
inputs = ["momentum.close"]
sql = "close * 2"

[service.model]
features = ["held.position", "momentum.close", "momentum.change_1h"]

[service.twofold]
features = ["momentum.close", "twice"]
"#;

/// Bars of an hour of two symbols over three days, which close at 101, 102 and so on.
pub fn with_definitions() -> Larder {
    let larder = Larder::new();
    std::fs::create_dir_all(larder.path("config/features")).unwrap();
    std::fs::create_dir_all(larder.path("bars")).unwrap();
    std::fs::write(larder.path("config/features/desk.toml"), DEFINITIONS).unwrap();
    for symbol in ["EUR/USD", "USD/COP"] {
        let mut csv = "symbol,time,close\n".to_owned();
        for hour in 0..72 {
            writeln!(csv, "{symbol},2024-03-{:02} {:02}:00:00,{}", 5 + hour / 24, hour % 24, 101 + hour).unwrap();
        }
        std::fs::write(larder.path(&format!("bars/{}.csv", symbol.replace('/', ""))), csv).unwrap();
    }
    larder
}

pub fn run(larder: &Larder, arguments: &[&str]) -> (Value, i32) {
    let mut command = larder.command(arguments.iter().copied().chain(["--json"]));
    let output = command.env("BARS", larder.path("bars")).output().unwrap();
    (json(&output), code(&output))
}

/// What a command prints for people.
pub fn text(larder: &Larder, arguments: &[&str]) -> (String, i32) {
    let mut command = larder.command(arguments.iter().copied());
    let output = command.env("BARS", larder.path("bars")).output().unwrap();
    (stdout(&output) + &stderr(&output), code(&output))
}

pub const GET: [&str; 8] = [
    "get",
    "momentum",
    "--entity",
    "symbol=USD/COP",
    "--start",
    "2024-03-06T01:00:00Z",
    "--end",
    "2024-03-06T03:00:00Z",
];

#[test]
fn from_files_to_features() {
    let larder = with_definitions();
    let (applied, status) = run(&larder, &["apply"]);
    assert_eq!((&applied["version"], &applied["changed"], status), (&1.into(), &true.into(), 0), "{applied}");
    let (again, _) = run(&larder, &["apply"]);
    assert_eq!((&again["version"], &again["changed"]), (&1.into(), &false.into()), "nothing changed");
    let (views, _) = run(&larder, &["views"]);
    let names: Vec<_> = views["views"].as_array().unwrap().iter().map(|view| view["name"].as_str().unwrap()).collect();
    assert_eq!((names, &views["services"][0]["features"]), (vec!["held", "momentum"], &3.into()));

    let (got, status) = run(&larder, &GET);
    assert_eq!((&got["outcome"], status), (&"miss".into(), 0), "{got}");
    let rows = serde_json::json!([
        { "event_timestamp": "2024-03-06T01:00:00Z", "change_1h": 1.0, "close": 125.0 },
        { "event_timestamp": "2024-03-06T02:00:00Z", "change_1h": 1.0, "close": 126.0 },
    ]);
    assert_eq!(got["rows"], rows);
    assert_eq!(run(&larder, &GET).0["outcome"], "hit");

    let service: Vec<&str> = GET.iter().map(|word| if *word == "momentum" { "model" } else { word }).collect();
    let (vector, status) = run(&larder, &service);
    let first = serde_json::json!({
        "event_timestamp": "2024-03-06T01:00:00Z", "position": null, "close": 125.0, "change_1h": 1.0
    });
    assert_eq!((vector["num_rows"].as_u64(), status), (Some(0), 0), "its first view has no rows: {vector}");
    let every = [&service[..], &["--every", "1h"]].concat();
    let (vector, status) = run(&larder, &every);
    assert_eq!((&vector["rows"][0], vector["num_rows"].as_u64(), status), (&first, Some(2), 0), "{vector}");
}

#[test]
fn what_changed_is_another_version() {
    let larder = with_definitions();
    run(&larder, &["apply"]);
    let file = larder.path("config/features/desk.toml");
    std::fs::write(&file, format!("# A comment.\n{DEFINITIONS}")).unwrap();
    let (applied, _) = run(&larder, &["apply"]);
    let changes = |applied: &Value| -> Vec<String> {
        applied["views"].as_array().unwrap().iter().map(|view| view["change"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((applied["version"].as_u64(), changes(&applied)), (Some(2), vec!["same".to_owned(), "same".into()]));
    std::fs::write(&file, DEFINITIONS.replace("over = \"1h\"", "over = \"2h\"")).unwrap();
    let (applied, _) = run(&larder, &["apply"]);
    assert_eq!((applied["version"].as_u64(), changes(&applied)), (Some(3), vec!["same".to_owned(), "changed".into()]));
    assert_eq!(applied["warnings"].as_array().unwrap().len(), 1, "change_1h is over two hours: {applied}");
}

#[test]
fn a_plan_says_what_would_change_and_writes_nothing() {
    let larder = with_definitions();
    let (plan, status) = run(&larder, &["plan"]);
    assert_eq!((&plan["views"][1]["change"], &plan["orphans"], status), (&"new".into(), &serde_json::json!([]), 0));
    assert!(!larder.cache().exists(), "a plan makes no cache");

    run(&larder, &["apply"]);
    run(&larder, &GET);
    let file = larder.path("config/features/desk.toml");
    let owned = DEFINITIONS.replace("ttl = \"1h\"", "ttl = \"1h\"\nowner = \"desk\"");
    std::fs::write(&file, format!("# A comment.\n{owned}")).unwrap();
    let (text, status) = text(&larder, &["plan"]);
    assert_eq!((text.as_str(), status), ("Nothing would change: version 1 means the same.\n", 0));

    // The source changed, so what reads it has other values; and one view has another setting only.
    let other = DEFINITIONS
        .replace("bar = \"1h\"", "bar = \"2h\"")
        .replace("source = \"state\"\nttl = \"1h\"", "source = \"state\"\nttl = \"2h\"")
        .replace("close * 2", "close + close")
        .replace("[service.twofold]", "[service.fold]");
    std::fs::write(&file, other).unwrap();
    let (plan, _) = run(&larder, &["plan"]);
    let changes = |kind: &str, name: &str| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        plan[kind].as_array().unwrap().iter().map(|named| (text(&named[name]), text(&named["change"]))).collect()
    };
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, change)| ((*name).to_owned(), (*change).to_owned())).collect()
    };
    assert_eq!(changes("entities", "name"), pairs(&[("symbol", "same")]));
    assert_eq!(changes("sources", "name"), pairs(&[("bars", "changed"), ("state", "same")]));
    assert_eq!(changes("views", "view"), pairs(&[("held", "changed"), ("momentum", "changed")]));
    assert_eq!(changes("on_demand", "name"), pairs(&[("twice", "changed")]));
    assert_eq!(changes("services", "name"), pairs(&[("fold", "new"), ("model", "same"), ("twofold", "removed")]));
    let orphans = &plan["orphans"][0];
    assert_eq!((&orphans["view"], &orphans["blocks"]), (&"momentum".into(), &1.into()), "held keeps its blocks");
    assert!(orphans["bytes"].as_u64().unwrap() > 0 && orphans["compute_seconds"].as_f64().unwrap() > 0.0, "{plan}");
    assert_eq!(plan["orphans"].as_array().unwrap().len(), 1);
    assert_eq!(larder.json("registry history").0["versions"].as_array().unwrap().len(), 1, "nothing was applied");
}

#[test]
fn a_view_that_needs_more_history_than_it_declares_is_not_applied() {
    let larder = with_definitions();
    let short = DEFINITIONS.replace("lookback = \"2d\"", "lookback = \"0s\"");
    std::fs::write(larder.path("config/features/desk.toml"), &short).unwrap();
    let (validated, status) = run(&larder, &["validate"]);
    let finding = &validated["views"][1]["findings"][0];
    assert_eq!((&finding["feature"], status), (&"change_1h".into(), 1), "{validated}");
    let (refused, status) = run(&larder, &["apply"]);
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(
        message.contains(
            "view momentum: feature change_1h is null at 2024-03-08T00:00:00Z (symbol=EUR/USD) without lookback, \
                          and 1.0 with ten times the history: declare a lookback of 1 h 3 min or a little more"
        ),
        "{message}"
    );
    assert_eq!(status, 2);
    assert_eq!(run(&larder, &["views"]).1, 1, "nothing was applied");
    assert_eq!(run(&larder, &["apply", "--unchecked"]).1, 0);

    std::fs::write(larder.path("config/features/desk.toml"), DEFINITIONS).unwrap();
    let (validated, status) = run(&larder, &["validate", "--view", "momentum"]);
    assert_eq!((&validated["views"][0]["rows"], status), (&98.into(), 0), "{validated}");
    let (unknown, status) = run(&larder, &["validate", "--view", "momentun"]);
    assert!(status == 1 && unknown["error"]["message"].as_str().unwrap().contains("there is momentum"), "{unknown}");
}

#[test]
fn warming_computes_what_is_missing_and_is_nobodys_request() {
    let larder = with_definitions();
    run(&larder, &["apply"]);
    let warm = ["warm", "--start", "2024-03-05", "--end", "2024-03-08"];
    let (warmed, status) = run(&larder, &warm);
    let view = &warmed["views"][1];
    assert_eq!((&view["view"], &view["entities"], status), (&"momentum".into(), &2.into(), 0), "{warmed}");
    // The last bar closes at midnight: the day after it is not in the range.
    assert_eq!((&view["blocks"], &view["computed"], &view["rows"]), (&6.into(), &6.into(), &142.into()), "{warmed}");
    let mut computed = Vec::new();
    let (again, _) = run(&larder, &warm);
    assert_eq!(again["views"][1]["computed"], 0, "what is cached is skipped: {again}");
    // Beyond the newest row there is nothing to compute, however often somebody asks.
    for _ in 0..2 {
        let (beyond, status) = run(&larder, &["warm", "--start", "2024-03-05", "--end", "2024-03-20"]);
        let view = &beyond["views"][1];
        // The last bar of 7 March is known at midnight, with which the next day begins: its block is a tail.
        assert_eq!((&view["blocks"], &view["end"], status), (&8.into(), &"2024-03-08T00:00:00.000000001Z".into(), 0));
        computed.push(view["computed"].as_u64().unwrap());
    }
    assert_eq!(computed, [2, 0]);
    assert_eq!(larder.json("slo").0["windows"][0]["requests"], 0);
    assert_eq!(run(&larder, &GET).0["outcome"], "hit");

    let (unknown, status) = run(&larder, &["warm", "--view", "momentun", "--start", "2024-03-05"]);
    assert_eq!(status, 1);
    assert!(unknown["error"]["message"].as_str().unwrap().contains("there is momentum"), "{unknown}");
}

#[test]
fn pushed_rows_are_features_from_then_on() {
    let larder = with_definitions();
    run(&larder, &["apply"]);
    let state = "symbol,event_timestamp,position\nUSD/COP,2024-03-06T01:30:00Z,-1\nUSD/COP,2024-03-06T02:30:00Z,1\n\
                 A[1],2024-03-06T02:00:00Z,0.5\n";
    // Characters with a meaning in patterns have none in a file's name.
    std::fs::write(larder.path("state[1]*.csv"), state).unwrap();
    let push = ["push", "state", "state[1]*.csv"];
    let held = GET.map(|word| if word == "momentum" { "held" } else { word });
    assert_eq!(run(&larder, &held).0["hint"], "in that time nothing was pushed to the source of held");
    let (pushed, status) = run(&larder, &push);
    let counts = |pushed: &Value| ["entities", "rows", "changed"].map(|name| pushed[name].as_u64().unwrap());
    assert_eq!((counts(&pushed), status), ([2, 3, 3], 0), "{pushed}");
    assert_eq!(counts(&run(&larder, &push).0), [2, 3, 0], "again");
    let (got, _) = run(&larder, &held);
    assert_eq!((&got["outcome"], &got["rows"][1]["position"]), (&"hit".into(), &1.0.into()), "{got}");
    let vector = run(&larder, &GET.map(|word| if word == "momentum" { "model" } else { word })).0;
    let first = serde_json::json!({
        "event_timestamp": "2024-03-06T01:30:00Z", "position": -1.0, "close": 125.0, "change_1h": 1.0
    });
    assert_eq!(vector["rows"][0], first, "{vector}");
    let (warmed, _) = run(&larder, &["warm", "--view", "held", "--start", "2024-03-05", "--end", "2024-03-08"]);
    assert_eq!(warmed["views"][0]["entities"], 2, "those that have rows: {warmed}");

    for (source, file, text, part) in [
        ("bars", "x.csv", "", "source bars is csv: only rows of a source of kind \"push\" are pushed"),
        ("stat", "x.csv", "", "there is no source stat to push to: there is state"),
        ("state", "x.txt", "", "is neither .csv nor .parquet"),
        ("state", "none.csv", "", "none.csv"),
        ("state", "x.csv", "symbol,event_timestamp\nA,2024-03-06\n", "position"),
        ("state", "x.csv", "symbol,event_timestamp,position\nA,2024-03-06,long\n", "long"),
        ("state", "x.csv", "symbol,event_timestamp,position\nA,2094-03-06,1\n", "check the unit of its time"),
        (
            "state",
            "x.csv",
            "symbol,event_timestamp,position\nA,,1\n",
            "x.csv: 1 row of 1 have no event time or no join key",
        ),
        (
            "state",
            "x.csv",
            "symbol,event_timestamp,position\nA,2024-03-06,1\nB,,1\n,2024-03-06,1\n",
            "x.csv: 2 rows of 3 have no event time or no join key",
        ),
    ] {
        if !text.is_empty() {
            std::fs::write(larder.path(file), text).unwrap();
        }
        let (refused, status) = run(&larder, &["push", source, file]);
        let message = refused["error"]["message"].as_str().unwrap_or_else(|| panic!("{refused}"));
        assert!(message.contains(part) && status != 0, "{source} {file}: {message}");
    }
}

#[test]
fn every_version_of_a_row_in_a_pushed_file_is_kept() {
    let larder = with_definitions();
    let file = larder.path("config/features/desk.toml");
    let versioned = DEFINITIONS.replace("kind = \"push\"", "kind = \"push\"\ncreated_time = \"known\"");
    std::fs::write(file, versioned).unwrap();
    run(&larder, &["apply"]);
    let push = |name: &str, versions: &[(u8, u8)]| {
        let row = |(minute, position): &(u8, u8)| {
            format!("USD/COP,2024-03-06T01:30:00Z,2024-03-06T01:{minute}:00Z,{position}\n")
        };
        let rows: String = versions.iter().map(row).collect();
        std::fs::write(larder.path(name), format!("symbol,event_timestamp,known,position\n{rows}")).unwrap();
        let (pushed, status) = run(&larder, &["push", "state", name]);
        assert_eq!(status, 0, "{pushed}");
        (pushed["rows"].as_u64().unwrap(), pushed["changed"].as_u64().unwrap())
    };
    assert_eq!(push("all.csv", &[(42, 2), (41, 1), (43, 3)]), (3, 1));
    assert_eq!(push("older.csv", &[(41, 1), (42, 2)]), (2, 0), "known already");
    let (got, _) = run(&larder, &GET.map(|word| if word == "momentum" { "held" } else { word }));
    assert_eq!(got["rows"][0]["position"], 3.0, "{got}");
}

#[test]
fn what_is_warmed_is_named_by_patterns_files_or_what_was_missed() {
    let larder = with_definitions();
    run(&larder, &["apply"]);
    let warmed = |arguments: &[&str]| -> Vec<(String, u64, u64)> {
        let range = ["--start", "2024-03-05", "--end", "2024-03-08"];
        let (warmed, status) = run(&larder, &[&["warm"][..], arguments, &range].concat());
        assert_eq!(status, 0, "{warmed}");
        let number = |view: &Value, name: &str| view[name].as_u64().unwrap();
        let views = warmed["views"].as_array().unwrap().iter();
        views.map(|view| (view["view"].to_string(), number(view, "entities"), number(view, "computed"))).collect()
    };
    let momentum = |entities, computed| vec![("\"momentum\"".to_owned(), entities, computed)];
    run(&larder, &GET);
    run(&larder, &["get", "momentum", "--entity", "symbol=NONE", "--start", "2024-03-05", "--end", "2024-03-08"]);
    assert_eq!(warmed(&["--top-misses", "1"]), momentum(1, 0), "the three of NONE, which are cached since");
    assert_eq!(warmed(&["--view", "mom*", "--entity", "symbol=USD*"]), momentum(1, 2), "one day is cached");
    std::fs::write(larder.path("symbols.txt"), "# Two\nsymbol=EUR/USD\n\nsymbol=USD/COP\n").unwrap();
    assert_eq!(warmed(&["--view", "momentum", "--entities-from", "symbols.txt"]), momentum(2, 3));
    for (arguments, part) in [
        (["--view", "m?"], "there is no view m?: there is held, momentum"),
        (["--entities-from", "none.txt"], "cannot read the entities in none.txt"),
    ] {
        let (refused, _) = run(&larder, &[&["warm", "--start", "2024-03-05"][..], &arguments].concat());
        assert!(refused["error"]["message"].as_str().unwrap().contains(part), "{refused}");
    }

    // Less than the blocks that are there take.
    let mut full = larder.command(["warm", "--start", "2024-03-05", "--end", "2024-03-08", "--json"]);
    let full = full.env("BARS", larder.path("bars")).env("LARDER_MAX_CACHE_SIZE_GB", "0.00001").output().unwrap();
    let stopped = json(&full)["stopped"].as_str().unwrap_or_default().to_owned();
    assert!(stopped.contains("raise max_cache_size_gb") && code(&full) == 1, "{stopped}{}", stderr(&full));
}

#[test]
fn a_variable_that_is_not_set_harms_only_the_views_that_need_it() {
    let larder = with_definitions();
    let other = r#"
[source.others]
kind = "csv"
path = "${OTHERS}/*.csv"
event_time = "time"
types = { close = "double" }
[view.others]
entity = "symbol"
source = "others"
features = { close = { column = "close" } }
[view.of_others]
entity = "symbol"
source = "view:others"
features = { close = { column = "close" } }
"#;
    std::fs::write(larder.path("config/features/others.toml"), other).unwrap();
    let output = larder.command(["apply"]).env("BARS", larder.path("bars")).env("OTHERS", larder.path("bars")).output();
    assert_eq!(code(output.as_ref().unwrap()), 0, "{}", stderr(&output.unwrap()));
    assert_eq!(run(&larder, &GET).1, 0, "OTHERS is not set");
    let warm = ["warm", "--start", "2024-03-05", "--end", "2024-03-08"];
    assert_eq!(run(&larder, &[&warm[..], &["--view", "momentum"]].concat()).1, 0);
    for view in ["others", "of_others"] {
        let (refused, status) = run(&larder, &GET.map(|word| if word == "momentum" { view } else { word }));
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(status != 0 && message.contains("needs the environment variable OTHERS"), "{message}");
    }
    assert_ne!(run(&larder, &warm).1, 0, "every view is to be warmed");
}

#[test]
fn without_rows_it_is_said_where_there_are_some() {
    let larder = with_definitions();
    run(&larder, &["apply"]);
    let hint = |from: &str, to: &'static str| {
        let (got, status) = run(&larder, &GET.map(|word| if word == from { to } else { word }));
        assert_eq!((&got["num_rows"], status), (&0.into(), 0), "{got}");
        got["hint"].as_str().unwrap().to_owned()
    };
    let source = "in that time the source of momentum has rows of";
    assert_eq!(hint("symbol=USD/COP", "symbol=EURUSD"), format!("{source} symbol=EUR/USD, symbol=USD/COP"));
    let month = ["get", "momentum", "--entity", "symbol=USD/COP", "--start", "2024-05-01", "--end", "2024-05-02"];
    let (got, _) = run(&larder, &month);
    assert_eq!(got["hint"], format!("{source} nobody else; it has some up to 2024-03-08"));
    let mut command = larder.command(month);
    let text = stdout(&command.env("BARS", larder.path("bars")).output().unwrap());
    assert!(text.contains("No rows: in that time"), "{text}");
    assert!(run(&larder, &GET).0.get("hint").is_none());
}

#[test]
fn what_is_shown_of_many_rows_is_said_and_fits_the_terminal() {
    let larder = with_definitions();
    run(&larder, &["apply"]);
    let day = ["get", "momentum", "--entity", "symbol=USD/COP", "--start", "2024-03-06", "--end", "2024-03-07"];
    for (width, shown) in [(40, 2), (60, 4), (100, 5)] {
        let mut command = larder.command(day);
        let output = command.env("BARS", larder.path("bars")).env("COLUMNS", width.to_string()).output().unwrap();
        let text = stdout(&output);
        assert!(text.contains(&format!("The last {shown} of 24;")), "{width}: {text}");
        // The dates in one line, the times of day in the next, and then each feature in one.
        let table: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("FEATURE")).collect();
        assert!(table.len() == 4 && table.iter().all(|line| line.chars().count() <= width), "{width}: {text}");
        assert_eq!(table[0].matches("2024-03-06").count(), shown, "{width}: {text}");
        assert!(table[1].trim_end().ends_with("23:00:00Z"), "{width}: {text}");
    }
}

#[test]
fn rows_go_to_files() {
    let larder = with_definitions();
    run(&larder, &["apply"]);
    for (name, begin) in [
        ("out.csv", &b"event_timestamp,change_1h,close\n2024-03-06T01:00:00Z,1.0,125.0\n"[..]),
        ("out.parquet", b"PAR1"),
        ("out.arrow", b"ARROW1"),
    ] {
        let (got, status) = run(&larder, &[&GET[..], &["--output", name]].concat());
        assert_eq!((got["output"].as_str(), got.get("rows"), status), (Some(name), None, 0), "{got}");
        let written = std::fs::read(larder.path(name)).unwrap();
        assert!(written.starts_with(begin), "{name}: {}", String::from_utf8_lossy(&written));
    }
    let (refused, status) = run(&larder, &[&GET[..], &["--output", "out.txt"]].concat());
    assert!(status == 2 && refused["error"]["message"].as_str().unwrap().contains(".parquet"), "{refused}");
}

#[test]
fn mistakes_are_named() {
    let larder = with_definitions();
    let refusal = |arguments: &[&str]| {
        let (report, status) = run(&larder, arguments);
        (report["error"]["message"].as_str().unwrap_or_else(|| panic!("{report}")).to_owned(), status)
    };
    let (message, status) = refusal(&GET);
    assert!(
        status == 1 && message.contains("no definitions were applied") && message.contains("larder apply"),
        "{message}"
    );
    run(&larder, &["apply"]);
    let swapped = |from: &str, to: &'static str| GET.map(|word| if word == from { to } else { word });
    for (arguments, part, expected) in [
        (swapped("momentum", "momentun"), "there is momentum", 1),
        (swapped("symbol=USD/COP", "symbl=USD/COP"), "has no key \"symbl\": it has symbol", 2),
        (swapped("symbol=USD/COP", "USD/COP"), "write KEY=VALUE", 2),
        (swapped("2024-03-06T03:00:00Z", "2024-03-05"), "2024-03-05", 2),
        (swapped("momentum", "twice"), "computed on demand, from rows of momentum: it is got with a service", 1),
    ] {
        let (message, status) = refusal(&arguments);
        assert!(message.contains(part) && status == expected, "{status}: {message}");
    }
    for (name, part) in [("twice", "which is twofold"), ("twofold", "is a service, which reads the views momentum")] {
        let (message, status) = refusal(&["warm", "--view", name, "--start", "2024-03-05"]);
        assert!(message.contains("only views can be warmed") && message.contains(part) && status == 1, "{message}");
    }
    std::fs::write(
        larder.path("config/features/desk.toml"),
        DEFINITIONS.replace("source = \"bars\"", "source = \"bar\""),
    )
    .unwrap();
    let (message, status) = refusal(&["apply"]);
    assert!(status == 2 && message.contains("desk.toml:") && message.contains("bars"), "{message}");
    assert_eq!(run(&larder, &GET).1, 0, "the version before still holds");

    let unset = larder.run(["apply"]);
    let message = stderr(&unset);
    assert!(code(&unset) == 2, "{message}{}", stdout(&unset));
}

/// The shipped example on real bars and series, where they are.
#[test]
fn the_fifteen_features_of_the_shipped_example_are_there_in_their_order() {
    let data = checkout::path("../shared/data");
    if !data.is_dir() {
        println!("there are no bars at {}", data.display());
        return;
    }
    let larder = Larder::new();
    let run = |arguments: &[&str]| {
        let mut command = larder.command(arguments.iter().copied().chain(["--json"]));
        let output = command.env("MARKET_DATA", &data).output().unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        output
    };
    run(&["apply", checkout::path("config/features").to_str().unwrap()]);
    let day = ["--entity", "symbol=USD/COP", "--start", "2025-11-05", "--end", "2025-11-06"];
    let got = run(&[&["get", "observation_15d"][..], &day].concat());
    let names = [
        "log_ret_5m",
        "log_ret_1h",
        "log_ret_4h",
        "rsi_9",
        "atr_pct",
        "adx_14",
        "dxy_z",
        "dxy_change_1d",
        "vix_z",
        "embi_z",
        "brent_change_1d",
        "rate_spread",
        "usdmxn_change_1d",
        "position",
        "time_normalized",
    ];
    let text = stdout(&got);
    let places = names.map(|name| text.find(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{name}: {text}")));
    assert!(places.is_sorted(), "{text}");
    let got = json(&got);
    let row = got["rows"][30].as_object().unwrap();
    assert_eq!(row.len(), 16, "{got}");
    let missing: Vec<&str> = names.iter().copied().filter(|name| row[*name].is_null()).collect();
    // No position was pushed, and a session of five hours is too short for one of four at its beginning.
    assert!(missing.iter().all(|name| ["position", "time_normalized", "log_ret_4h"].contains(name)), "{missing:?}");
}

#[test]
fn the_way_to_a_view_of_ones_own_runs_as_it_is_printed() {
    let larder = Larder::new();
    let page = std::fs::read_to_string(checkout::path("docs/features.md")).unwrap();
    let path = format!("{}:{}", larder.path("").display(), std::env::var("PATH").unwrap());
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_larder"), larder.path("larder")).unwrap();
    let mut said = Vec::new();
    for (before, block) in page.split("```").collect::<Vec<_>>().chunks(2).filter_map(|pair| match pair {
        [before, block] => Some((before, block.strip_prefix("sh\n")?)),
        _ => None,
    }) {
        let expected = i32::from(before.trim_end().ends_with("<!-- exit 1 -->"));
        let mut command = larder.shell(block);
        let output = command.env("PATH", &path).output().unwrap();
        let text = stdout(&output) + &stderr(&output);
        assert_eq!(code(&output), expected, "{block}\n{text}");
        said.push(text);
    }
    assert_eq!(said.len(), 6);
    let told = "feature range_pct is";
    assert!(said[2].contains(told) && said[2].contains("feature sma_12 is") && !said[3].contains(told), "{said:?}");
    assert!(said[4].contains("24 rows, miss"), "{}", said[4]);
    assert!(said[5].contains("Pushed 2 rows of 1 entity to state"), "{}", said[5]);
    assert!(said[5].contains("model of symbol=EURUSD: 3 rows"), "{}", said[5]);
}

#[test]
fn a_definition_is_described_with_its_defaults_and_its_readers() {
    let larder = with_definitions();
    let more = r#"
[source.trades]
kind = "postgres"
url = "postgres://reader:${PGPASSWORD}@db/market?sslmode=require"
table = "market.trades"
event_time = "at"
[view.of_momentum]
entity = "symbol"
source = "view:momentum"
owner = "desk"
tags = ["fx"]
description = "Half of it \u001b[31m"
features = { half = { sql = "close / 2", nulls = false, description = "Half" } }
[service.only]
features = ["twice"]
"#;
    std::fs::write(larder.path("config/features/more.toml"), more).unwrap();
    assert_eq!(run(&larder, &["apply", "--unchecked"]).1, 0);
    run(&larder, &GET);

    let (view, status) = run(&larder, &["views", "describe", "momentum"]);
    assert_eq!((&view["says"]["lookback"], &view["says"]["version"], status), (&172_800.0.into(), &"1".into(), 0));
    assert_eq!((&view["says"]["lateness"], &view["says"]["max_age"]), (&60.0.into(), &Value::Null), "{view}");
    assert!(view["place"].as_str().unwrap().ends_with("desk.toml:15"), "{view}");
    let readers: Vec<_> = view["read_by"].as_array().unwrap().iter().map(|by| by["name"].as_str().unwrap()).collect();
    assert_eq!(readers, ["of_momentum", "twice", "model", "only", "twofold"]);
    assert_eq!((&view["cached"]["blocks"], &view["cached"]["entities"]), (&1.into(), &1.into()), "{view}");
    assert_eq!(view["features"][0]["is"]["indicator"]["over"]["time"], "3600000000000");

    let (words, _) = text(&larder, &["views", "describe", "momentum"]);
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in
        ["lookback 2 days", "ttl 1 h", "max age for ever", "change, column close, over 1 h", "1 block of 1 entity"]
    {
        assert!(words.contains(part), "{part} is not in {words}");
    }
    let (words, _) = text(&larder, &["views", "describe", "of_momentum"]);
    assert!(words.contains("never null") && words.contains("Half") && words.contains("view:momentum"), "{words}");
    assert!(!words.contains('\u{1b}') && words.contains("\\u{1b}"), "{words}");
    let mut narrow = larder.command(["sources", "describe", "bars"]);
    let narrow = stdout(&narrow.env("COLUMNS", "40").output().unwrap());
    assert!(narrow.lines().skip(2).all(|line| line.chars().count() <= 40), "{narrow}");
    assert!(narrow.contains("${BARS}/*.csv"), "{narrow}");

    let mut postgres = larder.command(["sources", "describe", "trades", "--json"]);
    let postgres = postgres.env("PGPASSWORD", "hunter2").output().unwrap();
    let url = &json(&postgres)["says"]["url"];
    assert_eq!(url, "postgres://reader:${PGPASSWORD}@db/market?sslmode=require");
    let (entity, _) = run(&larder, &["entities", "describe", "symbol"]);
    assert_eq!((&entity["says"]["keys"]["symbol"], entity["read_by"].as_array().unwrap().len()), (&"text".into(), 3));
    let (service, _) = run(&larder, &["services", "describe", "twofold"]);
    assert_eq!(service["features"][1]["is"]["on_demand"]["sql"], "close * 2", "{service}");
    for (kind, list) in [("sources", 3), ("entities", 1), ("services", 3), ("views", 3)] {
        assert_eq!(run(&larder, &[kind]).0[kind].as_array().unwrap().len(), list);
        assert_eq!(run(&larder, &[kind, "list"]).0[kind].as_array().unwrap().len(), list);
    }
    for (kind, name, part) in [
        ("views", "momentun", "there is no view momentun: there is momentum"),
        ("views", "model", "model is a service"),
        ("sources", "bar", "there is no source bar: there is bars"),
        ("services", "modell", "there is no service modell: there is model"),
    ] {
        let (unknown, status) = run(&larder, &[kind, "describe", name]);
        let message = unknown["error"]["message"].as_str().unwrap();
        assert!(status == 1 && message.contains(part), "{message}");
    }
}

#[test]
fn versions_are_listed_compared_and_written_out_again() {
    let larder = with_definitions();
    assert_eq!(run(&larder, &["registry", "history"]).0["versions"], serde_json::json!([]));
    let (none, status) = run(&larder, &["registry", "diff"]);
    assert_eq!((&none["error"]["kind"], status), (&"not_found".into(), 1));
    run(&larder, &["apply"]);
    let file = larder.path("config/features/desk.toml");
    std::fs::write(&file, DEFINITIONS.replace("close * 2", "2 * close").replace("ttl = \"1h\"", "ttl = \"2h\""))
        .unwrap();
    run(&larder, &["apply"]);
    std::fs::write(&file, format!("# A comment.\n{DEFINITIONS}")).unwrap();
    run(&larder, &["apply"]);

    let (history, _) = run(&larder, &["registry", "history"]);
    let changed: Vec<_> = history["versions"].as_array().unwrap().iter().map(|row| &row["views_changed"]).collect();
    assert_eq!(changed, [2, 2, 2], "{history}");
    assert_eq!(history["versions"][0]["by"], "unknown");
    let (diff, status) = run(&larder, &["registry", "diff", "1", "2"]);
    assert_eq!((&diff["changes"]["on_demand"][0]["change"], status), (&"changed".into(), 0), "{diff}");
    let lines: Vec<_> =
        diff["files"][0]["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert!(lines.contains(&"-sql = \"close * 2\"") && lines.contains(&"+sql = \"2 * close\""), "{lines:?}");
    assert!(lines.len() < 25 && lines.contains(&"…"), "only what changed and a little around it: {lines:?}");
    assert_eq!(run(&larder, &["registry", "diff"]).0["from"], 2, "the last two");
    let (same, _) = text(&larder, &["registry", "diff", "1", "3"]);
    assert!(same.contains("mean the same") && same.contains("\n+# A comment.\n"), "{same}");
    let (unknown, _) = run(&larder, &["registry", "diff", "1", "7"]);
    assert!(unknown["error"]["message"].as_str().unwrap().contains("there are 1 to 3"), "{unknown}");

    let (dumped, status) = run(&larder, &["registry", "dump", "--version", "1", "old/features"]);
    assert_eq!((&dumped["version"], status), (&1.into(), 0), "{dumped}");
    assert_eq!(std::fs::read_to_string(larder.path("old/features/desk.toml")).unwrap(), DEFINITIONS);
    let (again, status) = run(&larder, &["registry", "dump", "old/features"]);
    assert!(status == 2 && again["error"]["message"].as_str().unwrap().contains("is not empty"), "{again}");
    assert_eq!(std::fs::read_to_string(larder.path("old/features/desk.toml")).unwrap(), DEFINITIONS);

    let (backup, status) = run(&larder, &["registry", "backup", "registry.json"]);
    assert_eq!((&backup["versions"], status), (&serde_json::json!([1, 2, 3]), 0), "{backup}");
    let restore = ["registry", "restore", "registry.json", "--cache-dir", "other"];
    let (restored, status) = run(&larder, &restore);
    assert_eq!((&restored["added"], &restored["same"], status), (&serde_json::json!([1, 2, 3]), &0.into(), 0));
    assert_eq!(run(&larder, &restore).0["same"], 3);
    let (got, status) = run(&larder, &[&GET[..], &["--cache-dir", "other"]].concat());
    assert_eq!((&got["num_rows"], status), (&2.into(), 0), "what was restored works: {got}");
}
