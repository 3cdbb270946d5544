//! `larder sql`: questions in SQL, and what they may not do.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::cli::{Larder, code, stderr, stdout};
use crate::cli_definitions::{DEFINITIONS, GET, run, text, with_definitions};

fn sql(larder: &Larder, query: &str) -> (Value, i32) {
    run(larder, &["sql", query])
}

fn refusal(larder: &Larder, query: &str) -> String {
    let (refused, status) = sql(larder, query);
    assert_eq!(status, 2, "{query}: {refused}");
    refused["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_cached_is_what_get_gets() {
    let larder = with_definitions();
    run(&larder, &["apply"]);
    let days = ["--start", "2024-03-05T12:00:00Z", "--end", "2024-03-07T12:00:00Z"];
    let state = "symbol,event_timestamp,position\nA/b,2024-03-06T01:30:00.123456789Z,-1\nÄ c,2024-03-06T02:00:00Z,\n";
    std::fs::write(larder.path("state.csv"), state).unwrap();
    run(&larder, &["push", "state", "state.csv"]);
    for (view, entity, columns) in [
        ("momentum", "EUR/USD", "event_timestamp, change_1h, close"),
        ("momentum", "USD/COP", "event_timestamp, change_1h, close"),
        ("held", "A/b", "event_timestamp, position"),
        ("held", "Ä c", "event_timestamp, position"),
    ] {
        let entity_key = format!("symbol={entity}");
        let (got, _) = run(&larder, &[&["get", view, "--entity", &entity_key][..], &days].concat());
        assert!(got["num_rows"].as_u64().unwrap() > 0, "{got}");
        let query = format!(
            "SELECT {columns} FROM {view} WHERE symbol = '{entity}' AND event_timestamp >= '2024-03-05 12:00'
             AND event_timestamp < '2024-03-07 12:00' ORDER BY event_timestamp"
        );
        let (asked, status) = sql(&larder, &query);
        assert_eq!((&asked["rows"], status), (&got["rows"], 0), "{view} {entity}: {asked}");
    }
    // Words that other programs take for no value, a number or a date.
    let odd = ["NULL", "null", "007", "2024-01-01"];
    let rows: Vec<_> = odd.iter().map(|symbol| format!("{symbol},2024-03-06T03:00:00Z,5")).collect();
    std::fs::write(larder.path("odd.csv"), format!("symbol,event_timestamp,position\n{}\n", rows.join("\n"))).unwrap();
    run(&larder, &["push", "state", "odd.csv"]);
    for symbol in odd {
        run(&larder, &[&["get", "held", "--entity", &format!("symbol={symbol}")][..], &days].concat());
    }
    let (asked, _) = sql(&larder, "SELECT symbol FROM held WHERE position = 5 ORDER BY symbol");
    let symbols: Vec<_> = asked["rows"].as_array().unwrap().iter().map(|row| row["symbol"].as_str().unwrap()).collect();
    assert_eq!(symbols, ["007", "2024-01-01", "NULL", "null"]);
    let blocks = "SELECT count(*) AS told, (SELECT sum(blocks) FROM size_per_view) AS added FROM manifest";
    assert_eq!(sql(&larder, blocks).0["rows"], json!([{ "told": 24, "added": 24 }]));

    // What another definition computed is not what this view has.
    let file = larder.path("config/features/desk.toml");
    std::fs::write(&file, DEFINITIONS.replace("relative = false", "relative = true")).unwrap();
    run(&larder, &["apply"]);
    assert_eq!(sql(&larder, "SELECT count(*) AS rows FROM features.momentum").0["rows"], json!([{ "rows": 0 }]));
    let (described, _) = sql(&larder, "DESCRIBE momentum");
    let columns: Vec<_> = described["rows"].as_array().unwrap().iter().map(|row| &row["column_name"]).collect();
    assert_eq!(columns, ["symbol", "event_timestamp", "change_1h", "close"], "{described}");
    let listed = sql(&larder, "SHOW TABLES").0.to_string();
    assert!(
        ["held", "momentum", "manifest", "requests_per_minute"].iter().all(|name| listed.contains(name)),
        "{listed}"
    );
}

#[test]
fn keys_that_a_path_does_not_say_are_refused_and_not_shown_wrong() {
    for odd in ["__HIVE_DEFAULT_PARTITION__".to_owned(), "x".repeat(100)] {
        let larder = with_definitions();
        run(&larder, &["apply"]);
        let state = format!("symbol,event_timestamp,position\n{odd},2024-03-06T01:30:00Z,-1\n");
        std::fs::write(larder.path("state.csv"), state).unwrap();
        run(&larder, &["push", "state", "state.csv"]);
        let entity = format!("symbol={odd}");
        run(&larder, &["get", "held", "--entity", &entity, "--start", "2024-03-06", "--end", "2024-03-07"]);
        let message = refusal(&larder, "SELECT * FROM held");
        assert!(message.contains(&format!("does not read the keys of {entity}")), "{message}");
        assert_eq!(sql(&larder, "SELECT count(*) AS n FROM manifest").0["rows"], json!([{ "n": 1 }]), "the rest works");
    }
}

#[test]
fn a_hostile_query_reads_writes_and_changes_nothing() {
    let larder = with_definitions();
    run(&larder, &["apply"]);
    run(&larder, &GET);
    let before = (larder.blocks(), std::fs::read_dir(larder.path("")).unwrap().count());
    let blocks = larder.cache().join("blocks");
    let blocks = blocks.display();
    for query in [
        "SELECT * FROM read_text('/etc/passwd')".to_owned(),
        "SELECT * FROM read_csv('/etc/passwd')".to_owned(),
        "SELECT * FROM '/etc/passwd'".to_owned(),
        "FROM \"/etc/passwd\"".to_owned(),
        "SELECT (SELECT content FROM read_text('/etc/passwd')) AS x".to_owned(),
        "WITH a AS (SELECT * FROM read_blob('/etc/passwd')) SELECT * FROM a".to_owned(),
        "WITH a AS (SELECT 1) SELECT * FROM a, '/etc/passwd'".to_owned(),
        "SELECT * FROM glob('/etc/*')".to_owned(),
        "SELECT * FROM query('SELECT 1')".to_owned(),
        "SELECT * FROM query_table('manifest')".to_owned(),
        "SELECT * FROM enable_logging()".to_owned(),
        "SELECT getenv('HOME') AS home".to_owned(),
        "COPY (SELECT 1) TO 'written.csv'".to_owned(),
        format!("COPY (SELECT 1) TO '{blocks}/written.parquet'"),
        format!("COPY manifest TO '{blocks}/written.parquet'"),
        "EXPORT DATABASE 'written'".to_owned(),
        "ATTACH 'written.duckdb'".to_owned(),
        "INSTALL httpfs".to_owned(),
        "LOAD httpfs".to_owned(),
        "SET enable_external_access = true".to_owned(),
        "SET lock_configuration = false".to_owned(),
        "PRAGMA enable_profiling".to_owned(),
        "CALL pragma_version()".to_owned(),
        "SELECT 1 AS a; COPY (SELECT 1) TO 'written.csv'".to_owned(),
        "DELETE FROM manifest".to_owned(),
        "CREATE TABLE mine AS SELECT 1".to_owned(),
        "PREPARE p AS SELECT 1".to_owned(),
    ] {
        let message = refusal(&larder, &query);
        assert!(!message.contains("root:") && !message.contains("internal"), "{query}: {message}");
    }
    assert_eq!((larder.blocks(), std::fs::read_dir(larder.path("")).unwrap().count()), before);
}

#[test]
fn mistakes_are_told_in_the_words_of_duckdb_with_what_there_is() {
    let larder = with_definitions();
    run(&larder, &["apply"]);
    for (query, part) in [
        ("SELECT closse FROM momentum", "Binder Error: Referenced column \"closse\" not found"),
        ("SELECT 'x'::INTEGER AS x", "Conversion Error: Could not convert string 'x' to INT32"),
        ("SELECT * FROM momentun", "there is no table momentun: there is momentum"),
        ("SELECT * FROM features.manifest", "there is no table features.manifest"),
        ("SELEC 1", "syntax error"),
        ("SELECT 1 AS a, 2 AS a", "two columns are called a"),
        (" ", "the query is not allowed: it is empty"),
    ] {
        let message = refusal(&larder, query);
        assert!(message.contains(part), "{query}: {message}");
    }
    let (named, _) = run(&larder, &["sql", "VALUES (1)", "--output", "rows.txt"]);
    assert!(named["error"]["message"].as_str().unwrap().contains(".csv, .parquet or .arrow"), "{named}");
}

#[test]
fn rows_fit_the_terminal_and_reach_it_without_control_characters() {
    let larder = with_definitions();
    run(&larder, &["apply"]);
    let (many, _) = text(&larder, &["sql", "SELECT range AS n, range * 2 AS twice FROM range(1000)"]);
    let lines: Vec<_> = many.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(lines[0].starts_with("The first and the last of 1,000;") && lines[2] == "N TWICE", "{many}");
    assert!(lines[3] == "0 0" && lines.contains(&"… …".to_owned()) && lines.contains(&"999 1998".to_owned()), "{many}");
    assert!(lines.last().unwrap().starts_with("1,000 rows, ") && lines.len() < 50, "{many}");
    let wide = ["sql", "SELECT 'left and right and further' AS first, 'another rather long text' AS second"];
    let narrow = stdout(&larder.command(wide).env("COLUMNS", "40").output().unwrap());
    assert!(narrow.contains("first ") && narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");

    let hostile = "SELECT chr(27) || '[31mred' || chr(10) || 'x' AS \"a\u{1b}[31m\", {'k': chr(7)} AS s";
    let forced = larder.command(["sql", hostile]).env("CLICOLOR_FORCE", "1").output().unwrap();
    let forced = stdout(&forced);
    assert!(forced.contains(r"\u{1b}[31mred\nx") && forced.contains(r"\u{7}"), "{forced}");
    assert!(!forced.contains(|c: char| c.is_control() && c != '\n'), "{forced:?}");
}

#[test]
fn rows_go_to_files_and_the_query_comes_from_stdin() {
    let larder = with_definitions();
    run(&larder, &["apply"]);
    let query =
        "SELECT TIMESTAMP_NS '2024-03-06 01:30:00.123456789' AS at, [1, 2] AS list, 0.1::DOUBLE AS x, 'a,b' AS t";
    let mut child = larder
        .command(["sql", "--output", "rows.csv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(query.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let csv = std::fs::read_to_string(larder.path("rows.csv")).unwrap();
    assert_eq!(csv, "at,list,x,t\n2024-03-06T01:30:00.123456789Z,\"[1, 2]\",0.1,\"a,b\"\n");
    for name in ["rows.parquet", "rows.arrow"] {
        let (written, status) = run(&larder, &["sql", query, "--output", name]);
        assert_eq!((&written["num_rows"], &written["rows"], status), (&1.into(), &Value::Null, 0), "{written}");
        assert!(larder.path(name).is_file());
    }
    let (rows, _) = sql(&larder, query);
    let row = json!({ "at": "2024-03-06T01:30:00.123456789Z", "list": [1, 2], "x": 0.1, "t": "a,b" });
    assert_eq!(rows["rows"], json!([row]));
    assert_eq!(sql(&larder, "SELECT 1 AS one WHERE false").0["rows"], json!([]));
}

#[test]
fn nobody_waits_for_a_long_query_and_ctrl_c_ends_it() {
    let larder = with_definitions();
    run(&larder, &["apply"]);
    run(&larder, &GET);
    let slow =
        "SELECT count(*) AS n FROM manifest, range(1000000) a, range(1000000) b WHERE hash(a.range, b.range) = 7";
    let child = larder.command(["sql", slow]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let began = Instant::now();
    let (got, _) = run(&larder, &GET);
    assert_eq!((&got["outcome"], larder.json("stats").1), (&"hit".into(), 0), "the manifest is free");
    assert!(began.elapsed() < Duration::from_secs(8), "as long as its lock is waited for");
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (code(&output), stderr(&output).contains("the query was not answered")),
        (130, true),
        "{}",
        stderr(&output)
    );
}
