//! The types of PostgreSQL, and what is refused.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Date32Type, Float32Type, Int64Type, TimestampNanosecondType};
use larder::ErrorKind;

use super::*;

#[test]
fn values_are_what_the_database_holds() {
    let Some(server) = Server::start() else { return };
    server.sql(
        "CREATE TABLE kinds (symbol varchar(8), at timestamptz, small smallint, whole integer, big bigint, real real, \
         double double precision, price numeric, id numeric, yes boolean, label text, day date, wall timestamp, instant \
         timestamptz, json json, span interval); \
         INSERT INTO kinds VALUES ('A', '2024-03-05 00:00:00.123456Z', -32768, 2147483647, 9223372036854775807, 0.1, 0.1, \
         0.1, 9223372036854775806.00, true, 'é', '2024-02-29', '2024-07-01 12:00', '1960-01-01Z', '{}', '1h'), \
         ('A', '2024-03-06Z', NULL, NULL, NULL, 'NaN', '-Infinity', 'NaN', NULL, false, '', NULL, NULL, NULL, NULL, NULL), \
         ('A', '2024-03-07Z', 0, 0, 0, 'Infinity', 1e-300, 123456789012345678901234567890.5, 3, NULL, NULL, NULL, NULL, \
         NULL, NULL, NULL)",
    );
    let lines = "table = \"kinds\"\ntime_zone = \"Europe/Berlin\"\ntypes = { id = \"integer\" }";
    let reader = reader(&server, lines).unwrap();
    let columns = ["small", "whole", "big", "real", "double", "price", "id", "yes", "label", "day", "wall", "instant"];
    let rows = reader.read(&key("A"), all(), &columns).unwrap();
    assert_eq!(times(&rows)[0], "2024-03-05T00:00:00.123456Z");
    let column = |name: &str| rows.batch().column_by_name(name).unwrap().clone();
    let integers = |name: &str| column(name).as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
    assert_eq!(integers("small"), [Some(-32768), None, Some(0)]);
    assert_eq!(integers("whole"), [Some(2147483647), None, Some(0)]);
    assert_eq!(integers("big"), [Some(i64::MAX), None, Some(0)]);
    assert_eq!(integers("id"), [Some(9223372036854775806), None, Some(3)], "no number is rounded to be whole");
    let real = column("real");
    let real = real.as_primitive::<Float32Type>();
    assert!(real.value(0) == 0.1 && real.value(1).is_nan() && real.value(2) == f32::INFINITY);
    assert_eq!(numbers(&rows, "double"), [Some(0.1), Some(f64::NEG_INFINITY), Some(1e-300)]);
    let price = numbers(&rows, "price");
    assert_eq!((price[0], price[2]), (Some(0.1), Some(123456789012345678901234567890.5)));
    assert!(price[1].unwrap().is_nan());
    assert_eq!(column("yes").as_boolean().iter().collect::<Vec<_>>(), [Some(true), Some(false), None]);
    assert_eq!(column("label").as_string::<i32>().iter().collect::<Vec<_>>(), [Some("é"), Some(""), None]);
    assert_eq!(column("day").as_primitive::<Date32Type>().value(0), 19_782);
    let instant = |name: &str| Timestamp::from_ns(column(name).as_primitive::<TimestampNanosecondType>().value(0));
    assert_eq!(instant("wall").to_string(), "2024-07-01T10:00:00Z", "noon in Berlin");
    assert_eq!(instant("instant").to_string(), "1960-01-01T00:00:00Z");
    assert!(column("wall").is_null(1));
    for (name, kind) in [("json", "json"), ("span", "interval")] {
        let error = reader.read(&key("A"), all(), &[name]).unwrap_err();
        let expected = format!("source rows: column {name} is {kind} in table kinds, of which no feature is made");
        assert!(error.to_string().starts_with(&expected), "{error}");
        let named = super::reader(&server, &format!("table = \"kinds\"\ncolumns = {{ x = \"{name}\" }}")).unwrap_err();
        assert!(named.to_string().contains("a query that casts it"), "{named}");
    }
    let text = format!(
        "[entity.symbol]\n[source.kinds]\nkind = \"postgres\"\nurl = \"{}\"\nevent_time = \"at\"\ntable = \
         \"kinds\"\n[view.v]\nentity = \"symbol\"\nsource = \"kinds\"\n[view.v.features]\nspan = {{ column = \"span\" }}\n",
        server.url()
    );
    let dir = tempfile::tempdir().unwrap();
    let features = features(dir.path(), definitions(&text));
    let error = features.get_or_compute(&ViewName::new("v").unwrap(), &key("A"), range("2024-03-05", "2024-03-06"));
    assert!(error.unwrap_err().to_string().contains("column span is interval in table kinds"));
}

#[test]
fn what_has_no_value_here_is_named() {
    let Some(server) = Server::start() else { return };
    server.sql(
        "CREATE TABLE odd (symbol text, at timestamptz, x numeric, day date, code char(4), local timestamp, words text); \
         INSERT INTO odd VALUES ('half', '2024-03-05Z', 1.5, 'infinity', 'a', '2024-03-10 02:30', 'later'), \
         ('huge', '2024-03-05Z', 1e400, NULL, 'b', NULL, 'never')",
    );
    let of = |lines: &str, symbol: &str, column: &str| {
        let reader = reader(&server, &format!("table = \"odd\"\n{lines}"))?;
        reader.read(&key(symbol), all(), &[column])
    };
    for (lines, symbol, column, part) in [
        (
            "types = { x = \"integer\" }",
            "half",
            "x",
            "column x of table odd at 2024-03-05T00:00:00Z: \"1.5\" is no integer",
        ),
        ("", "huge", "x", "cannot make a value of table odd"),
        ("", "half", "day", "column day of table odd has infinity, which is no time"),
        ("keys = { symbol = \"code\" }", "a", "x", "key column code of table odd is bpchar"),
        ("time_zone = \"America/New_York\"", "half", "local", "does not exist in America/New_York"),
        ("valid = { x = { max = 1 } }", "half", "x", "x of symbol=half is 1.5 at 2024-03-05T00:00:00Z in table odd"),
        ("created_time = \"x\"", "half", "x", "column x of table odd is numeric, which is no time"),
    ] {
        let error = of(lines, symbol, column).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let lines = "table = \"odd\"\nvalid = { x = { max = 1, on_violation = \"null\" } }";
    let rows = reader(&server, lines).unwrap().read(&key("half"), all(), &["x"]).unwrap();
    assert_eq!(numbers(&rows, "x"), [None]);
    let text = format!(
        "[source.rows]\nkind = \"postgres\"\nurl = \"{}\"\nevent_time = \"words\"\ntable = \"odd\"",
        server.url()
    );
    let words = Reader::open(definitions(&text).sources().values().next().unwrap(), &environment()).unwrap();
    let error = words.read(&key("half"), range("2024-01-01", "2024-02-01"), &["x"]).unwrap_err();
    assert!(error.to_string().contains("cast it to timestamptz in a query"), "{error}");
}

#[test]
fn rows_of_one_time_need_a_created_time_and_rows_without_a_time_a_word() {
    let Some(server) = Server::start() else { return };
    server.sql(
        "CREATE TABLE twice (symbol text, at timestamptz, seen timestamptz, x double precision); INSERT INTO twice VALUES \
         ('A', '2024-03-05Z', '2024-03-05Z', 1), ('A', '2024-03-05Z', '2024-03-06Z', 2), ('B', NULL, NULL, 3), ('B', \
         '2024-03-05Z', NULL, 4)",
    );
    let x = |lines: &str, symbol: &str| {
        let reader = reader(&server, &format!("table = \"twice\"\n{lines}")).unwrap();
        reader.read(&key(symbol), range("2024-03-01", "2024-04-01"), &["x"]).map(|rows| numbers(&rows, "x"))
    };
    assert_eq!(x("created_time = \"seen\"", "A").unwrap(), [Some(2.0)]);
    let error = x("", "A").unwrap_err().to_string();
    assert!(
        error.contains("two rows of symbol=A at 2024-03-05T00:00:00Z, in table twice")
            && error.contains("created_time"),
        "{error}"
    );
    assert_eq!(x("on_null_time = \"drop\"", "B").unwrap(), [Some(4.0)]);
    let error = x("", "B").unwrap_err().to_string();
    assert!(error.contains("table twice has a row of symbol=B without at"), "{error}");
}

#[test]
fn a_column_that_changes_its_type_is_named_and_a_narrower_number_widens() {
    let Some(server) = Server::start() else { return };
    server.sql(
        "CREATE TABLE bars (symbol text, at timestamptz, x double precision); INSERT INTO bars VALUES ('A', \
         '2024-03-05Z', 1)",
    );
    let reader = reader(&server, "table = \"bars\"").unwrap();
    let x = || reader.read(&key("A"), all(), &["x"]).map(|rows| numbers(&rows, "x"));
    assert_eq!(x().unwrap(), [Some(1.0)]);
    server.sql("ALTER TABLE bars ALTER x TYPE integer");
    assert_eq!(x().unwrap(), [Some(1.0)]);
    server.sql("ALTER TABLE bars ALTER x TYPE text");
    let error = x().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("column x of table bars is text, but was float8"), "{error}");
    server.sql("ALTER TABLE bars DROP x");
    assert!(x().unwrap_err().to_string().contains("column x is not in table bars: its columns are symbol, at"));
    server.sql("ALTER TABLE bars ADD x double precision DEFAULT 7");
    assert_eq!(x().unwrap(), [Some(7.0)], "and nothing of it stays");
}
