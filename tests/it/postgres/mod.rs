//! Features of rows in PostgreSQL, against a server of the test's own.

mod bad_luck;
pub mod server;
mod types;

use std::fmt::Write;
use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use larder::compute::Features;
use larder::definition::{Definitions, Environment, SourceDefinition};
use larder::source::{Reader, Rows};
use larder::{EntityKey, FeatureStore, Result, TimeRange, Timestamp, ViewName};

use crate::cli::{self, Larder};
use server::{PASSWORD, Server};

fn environment() -> Environment {
    [("PGPASSWORD".to_owned(), PASSWORD.to_owned())].into_iter().collect()
}

/// The definitions of one file.
fn definitions(text: &str) -> Definitions {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.toml"), text).unwrap();
    Definitions::read(dir.path(), environment()).unwrap()
}

/// The source `rows` of the server, whose definition has these lines.
fn source(server: &Server, lines: &str) -> SourceDefinition {
    let url = server.url();
    let text = format!("[source.rows]\nkind = \"postgres\"\nurl = \"{url}\"\nevent_time = \"at\"\n{lines}");
    definitions(&text).sources().values().next().unwrap().clone()
}

fn reader(server: &Server, lines: &str) -> Result<Reader> {
    Reader::open(&source(server, lines), &environment())
}

fn key(symbol: &str) -> EntityKey {
    EntityKey::new([("symbol", symbol)]).unwrap()
}

fn range(start: &str, end: &str) -> TimeRange {
    TimeRange::parse(start, end).unwrap()
}

fn all() -> TimeRange {
    TimeRange::new(Timestamp::MIN, Timestamp::MAX).unwrap()
}

fn numbers(rows: &Rows, column: &str) -> Vec<Option<f64>> {
    rows.batch().column_by_name(column).unwrap().as_primitive::<Float64Type>().iter().collect()
}

fn times(rows: &Rows) -> Vec<String> {
    rows.times().iter().map(|at| Timestamp::from_ns(*at).to_string()).collect()
}

fn features(cache: &Path, definitions: Definitions) -> Features {
    let store = FeatureStore::builder(cache).open().unwrap();
    Features::builder(store, definitions).open().unwrap()
}

/// Bars of an hour of two symbols, some of them corrected later, as CSV and as SQL.
fn bars() -> (String, String) {
    let (mut csv, mut sql) = ("symbol,at,seen,close,volume\n".to_owned(), Vec::new());
    let mut row = |symbol: &str, hour: usize, seen: &str, close: &str, volume: usize| {
        let at = format!("2024-03-{:02} {:02}:00:00.000250", 5 + hour / 24, hour % 24);
        writeln!(csv, "{symbol},{at},{seen},{close},{volume}").unwrap();
        sql.push(format!("('{symbol}', '{at}', '{seen}', {close}, {volume})"));
    };
    for (symbol, base) in [("EUR/USD", 1), ("USD/COP", 4_000)] {
        for hour in 0..72 {
            let close = format!("{}.{}", base + hour % 7, (hour * 37) % 1000);
            row(symbol, hour, "2024-03-09T00:00:00Z", &close, hour * 10);
            if hour % 10 == 3 {
                row(symbol, hour, "2024-03-10T00:00:00Z", &format!("{}.25", base + 1), hour);
            }
        }
    }
    let table = "CREATE SCHEMA market; CREATE TABLE market.bars (symbol text, at timestamp, seen timestamptz, close \
                 numeric(12, 4), volume bigint); CREATE INDEX ON market.bars (symbol, at); CREATE INDEX ON market.bars \
                 (at);";
    (csv, format!("{table} INSERT INTO market.bars VALUES {};", sql.join(", ")))
}

/// The same of files, of a table and of a query.
fn of_bars(server: &Server, files: &Path) -> String {
    let shared = "event_time = \"at\"\ncreated_time = \"seen\"\ntime_zone = \"America/Bogota\"\nlabel = { at = \
                  \"open\", bar = \"1h\" }\ntypes = { close = \"double\", volume = \"integer\" }\n";
    let mut text = "[entity.symbol]\n".to_owned();
    for (name, kind) in [
        ("files", format!("kind = \"csv\"\npath = \"{}/*.csv\"", files.display())),
        ("table", format!("kind = \"postgres\"\nurl = \"{}\"\ntable = \"market.bars\"", server.url())),
        (
            "query",
            format!(
                "kind = \"postgres\"\nurl = \"{}\"\nquery = \"SELECT * FROM market.bars -- all\\n;\"",
                server.url()
            ),
        ),
    ] {
        write!(
            text,
            "[source.{name}]\n{kind}\n{shared}\n[view.of_{name}]\nentity = \"symbol\"\nsource = \"{name}\"\nlookback = \
             \"1d\"\n[view.of_{name}.features]\nclose = {{ column = \"close\" }}\nvolume = {{ column = \"volume\", type = \
             \"integer\" }}\nsma_5 = {{ kind = \"sma\", column = \"close\", period = 5 }}\ndouble = {{ sql = \"close * \
             2\" }}\n"
        )
        .unwrap();
    }
    text
}

#[test]
fn a_table_has_the_features_of_the_same_rows_in_files() {
    let Some(server) = Server::start() else { return };
    let (csv, sql) = bars();
    server.sql(&sql);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bars.csv"), csv).unwrap();
    let features = features(&dir.path().join("cache"), definitions(&of_bars(&server, dir.path())));
    features.check().unwrap();
    let view = |of: &str| ViewName::new(&format!("of_{of}")).unwrap();
    for symbol in ["EUR/USD", "USD/COP", "none"] {
        for (start, end) in [
            ("2024-03-05", "2024-03-06"),
            ("2024-03-06T03:00:00Z", "2024-03-06T17:00:00Z"),
            ("2024-03-06T05:00:00.000250Z", "2024-03-06T07:00:00.000251Z"),
            ("2024-03-01", "2024-03-12"),
        ] {
            let got = |of: &str| -> RecordBatch {
                features.get_or_compute(&view(of), &key(symbol), range(start, end)).unwrap().to_batch().unwrap()
            };
            let expected = got("files");
            assert_eq!(expected.num_rows() > 0, symbol != "none", "{symbol} {start}");
            for of in ["table", "query"] {
                assert_eq!(got(of), expected, "{of} {symbol} {start}");
                assert_eq!(features.compute(&view(of), &key(symbol), range(start, end)).unwrap(), expected);
            }
        }
    }
    let entities = |of: &str, start: &str, end: &str| features.entities(&view(of), range(start, end)).unwrap().unwrap();
    for (start, end) in
        [("2024-03-05", "2024-03-06"), ("2024-03-08T06:00:00.000250Z", "2024-03-09"), ("2023-01-01", "2024-01-01")]
    {
        assert_eq!(entities("table", start, end), entities("files", start, end));
    }
    let newest = |of: &str| {
        let source = &features.definitions().sources()[&larder::model::SourceName::new(of).unwrap()];
        let reader = Reader::open(source, &environment()).unwrap();
        assert!(reader.newest(Some(&key("none"))).unwrap().is_none());
        (reader.newest(None).unwrap(), reader.newest(Some(&key("EUR/USD"))).unwrap())
    };
    assert_eq!(newest("table"), newest("files"));
}

#[test]
fn series_in_rows_are_columns() {
    let Some(server) = Server::start() else { return };
    server.sql(
        "CREATE TABLE rates (at date, series text, value numeric); INSERT INTO rates VALUES ('2024-03-05', 'DGS2', 4.5), \
         ('2024-03-05', 'DGS10', 4.1), ('2024-03-06', 'DGS10', 4.2), ('2024-03-06', 'other', 9), ('infinity', 'DGS2', 1)",
    );
    let lines = "table = \"rates\"\nkeys = {}\nlayout = { long = { name = \"series\", value = \"value\" } }\ncolumns = { \
                 us2y = \"DGS2\", us10y = \"DGS10\" }\nlabel = { at = \"open\", bar = \"1d\" }";
    let reader = reader(&server, lines).unwrap();
    let rows = reader.read(&key("any"), range("2024-03-06", "2024-03-08"), &["us2y", "us10y"]).unwrap();
    assert_eq!(times(&rows), ["2024-03-06T00:00:00Z", "2024-03-07T00:00:00Z"]);
    assert_eq!(numbers(&rows, "us2y"), [Some(4.5), None]);
    assert_eq!(numbers(&rows, "us10y"), [Some(4.1), Some(4.2)]);
    assert_eq!(reader.newest(None).unwrap(), Some("2024-03-07T00:00:00Z".parse().unwrap()), "infinity is no day");
    assert!(reader.files().unwrap().is_empty());
}

#[test]
fn only_the_rows_of_the_range_are_read() {
    let Some(server) = Server::start() else { return };
    server.sql(
        "CREATE TABLE ticks (symbol text, at timestamptz, x double precision, PRIMARY KEY (symbol, at)); INSERT INTO ticks \
         SELECT symbol, '2024-03-05Z'::timestamptz + n * interval '1 second', n FROM generate_series(0, 99999) AS n, \
         unnest(ARRAY['A', 'B']) AS symbol; ANALYZE ticks",
    );
    let counts = || {
        let counts = server.sql("SELECT seq_scan, idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'ticks'");
        let (scans, rows) = counts.split_once('|').unwrap();
        (scans.parse::<u64>().unwrap(), rows.parse::<u64>().unwrap())
    };
    let before = counts();
    let one = reader(&server, "table = \"ticks\"").unwrap();
    let rows = one.read(&key("A"), range("2024-03-05T10:00:00Z", "2024-03-05T15:00:00Z"), &["x"]).unwrap();
    assert_eq!((rows.len(), numbers(&rows, "x")[17_999]), (18_000, Some(53_999.0)), "more than is fetched at once");
    assert!(one.newest(Some(&key("B"))).unwrap().is_some());
    drop(one);
    // A connection tells what it read when it ends.
    let begun = std::time::Instant::now();
    while counts().1 == before.1 && begun.elapsed().as_secs() < 30 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let after = counts();
    assert_eq!(after.0, before.0, "nobody went through all rows");
    assert!((18_000..18_010).contains(&(after.1 - before.1)), "{after:?}");
}

#[test]
fn text_of_a_request_is_never_sql() {
    let Some(server) = Server::start() else { return };
    let odd = r#"we"ird; DROP TABLE bars; --"#;
    let quoted = odd.replace('"', "\"\"");
    server.sql(&format!(
        "CREATE TABLE bars (symbol text, at timestamptz, \"{quoted}\" double precision); CREATE TABLE \"{quoted}\" AS \
         SELECT * FROM bars; INSERT INTO bars VALUES ('A', '2024-03-05Z', 1), ('x'' OR ''1''=''1', '2024-03-05Z', 2), \
         ('$1', '2024-03-05Z', 3), ('\\', '2024-03-05Z', 4)"
    ));
    let lines = format!("table = \"bars\"\ncolumns = {{ x = '{odd}' }}");
    let reader = reader(&server, &lines).unwrap();
    for (symbol, expected) in [
        ("x' OR '1'='1", vec![Some(2.0)]),
        ("$1", vec![Some(3.0)]),
        ("\\", vec![Some(4.0)]),
        ("A'; DROP TABLE bars; --", vec![]),
        ("A\0", vec![]),
        ("A ", vec![]),
        ("a", vec![]),
        ("'", vec![]),
    ] {
        assert_eq!(numbers(&reader.read(&key(symbol), all(), &["x"]).unwrap(), "x"), expected, "{symbol}");
    }
    let other = Reader::open(&source(&server, &format!("table = '{odd}'")), &environment()).unwrap();
    assert!(other.read(&key("A"), all(), &[odd]).unwrap().is_empty());
    assert_eq!(server.sql("SELECT count(*) FROM bars"), "4");
    assert!(server.log().contains("= $1"), "values are bound: {}", server.log());
    // Whatever a query tries, nothing is written.
    server.sql("CREATE FUNCTION grow() RETURNS int LANGUAGE sql AS 'DELETE FROM bars; SELECT 1'");
    let writing = "query = \"SELECT symbol, at, grow() AS x FROM bars\"";
    let error = Reader::open(&source(&server, writing), &environment()).unwrap().read(&key("A"), all(), &["x"]);
    assert!(error.unwrap_err().to_string().contains("read-only transaction"));
    let two = Reader::open(&source(&server, "query = \"SELECT 1) AS x; DELETE FROM bars; --\""), &environment());
    assert_eq!(two.unwrap_err().kind(), larder::ErrorKind::Invalid);
    assert_eq!(server.sql("SELECT count(*) FROM bars"), "4");
}

#[test]
fn the_program_gets_features_and_says_no_password() {
    let Some(server) = Server::start() else { return };
    let (csv, sql) = bars();
    server.sql(&sql);
    let larder = Larder::new();
    std::fs::create_dir_all(larder.path("config/features")).unwrap();
    std::fs::write(larder.path("bars.csv"), csv).unwrap();
    let text = of_bars(&server, &larder.path(""));
    std::fs::write(larder.path("config/features/desk.toml"), &text).unwrap();
    let mut said = String::new();
    let mut run = |arguments: &str, password: &str| {
        let mut command = larder.command(arguments.split(' ').chain(["--json"]));
        let output = command.env("PGPASSWORD", password).env("LARDER_LOG", "trace").output().unwrap();
        said += &format!("{}{}", cli::stdout(&output), cli::stderr(&output));
        (cli::json(&output), cli::code(&output))
    };
    assert_eq!(run("apply", PASSWORD).1, 0);
    let get = |of: &str| format!("get of_{of} --entity symbol=USD/COP --start 2024-03-06 --end 2024-03-07");
    let (table, status) = run(&get("table"), PASSWORD);
    assert_eq!((&table["outcome"], &table["num_rows"], status), (&"miss".into(), &24.into(), 0), "{table}");
    assert_eq!(table["rows"], run(&get("files"), PASSWORD).0["rows"]);
    assert_eq!(run(&get("table"), PASSWORD).0["outcome"], "hit");
    let (refused, status) = run(&get("query"), "wrong-and-secret");
    assert_eq!(status, 1);
    let message = refused["error"]["message"].as_str().unwrap();
    for part in ["source query", &format!("PostgreSQL at 127.0.0.1:{}/market", server.port), "check them in its url"] {
        assert!(message.contains(part), "{message}");
    }
    run("views", PASSWORD);
    run("warm --view of_table --start 2024-03-05 --end 2024-03-08", PASSWORD);
    let mut files = 0;
    cli::walk(&larder.path(""), &mut |path| {
        if path.is_file() {
            files += 1;
            said += &String::from_utf8_lossy(&std::fs::read(path).unwrap());
        }
    });
    assert!(files > 5);
    assert!(said.contains("DEBUG larder::cache"), "nothing was logged");
    for secret in [PASSWORD, "hush%2Fhush", "wrong-and-secret"] {
        assert!(!said.contains(secret), "{secret} was said");
    }
}

#[test]
fn the_example_in_the_documentation_works() {
    let Some(server) = Server::start() else { return };
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/definitions.md")).unwrap();
    let page = page.split("## PostgreSQL").nth(1).unwrap();
    let example = |kind: &str| page.split(kind).nth(1).unwrap().split("```").next().unwrap().to_owned();
    server.sql(&format!("REVOKE pg_read_all_data FROM reader; CREATE SCHEMA market; {}", example("```sql")));
    server.sql(
        "INSERT INTO market.bars VALUES ('A', '2024-03-05Z', '2024-03-05Z', 1), ('A', '2024-03-05Z', '2024-03-06Z', 2)",
    );
    let address = format!("127.0.0.1:{}/market?sslmode=prefer", server.port);
    let text = example("```toml").replace("db:5432/market?sslmode=require", &address);
    let reader = Reader::open(definitions(&text).sources().values().next().unwrap(), &environment()).unwrap();
    let rows = reader.read(&key("A"), all(), &["close"]).unwrap();
    assert_eq!((times(&rows), numbers(&rows, "close")), (vec!["2024-03-05T00:05:00Z".to_owned()], vec![Some(2.0)]));
}
