//! What changes the fingerprint of a view, and what does not.

use super::{fingerprint, read, read_files};

const TEXT: &str = r#"[source.s]
kind = "parquet"
path = "${DATA}/a.parquet"
event_time = "ts"
created_time = "created"
time_zone = "America/Bogota"
label = { at = "open", bar = "5m" }
lateness = "60s"
keys = { symbol = "ticker" }
columns = { close = "last", open = "first" }
types = { close = "double" }
on_duplicate = "last"
on_null_time = "error"
valid = { close = { min = 0, max = 9.5, exclusive = true, finite = true, on_violation = "null" } }
fill = { method = "last", within = "1h" }
owner = "us"
description = "bars"
[source.c]
kind = "csv"
path = "/c.csv"
event_time = "ts"
delimiter = ";"
header = true
null = ""
decimal = ","
[source.p]
kind = "postgres"
url = "postgres://me:${PGPASSWORD}@db/market?host=a&application_name=b"
table = "bars"
event_time = "ts"
[source.l]
kind = "parquet"
path = "/l.parquet"
event_time = "ts"
layout = { long = { name = "series", value = "value" } }
columns = { x = "one" }
[view.v]
entity = "symbol"
source = "s"
sql = "SELECT * FROM source"
span = "day"
lookback = "10d"
ttl = "24h"
tolerance = 1e-9
version = "1"
lateness = "5s"
max_age = "1d"
stale_while_revalidate = "1h"
max_stale = "1h"
owner = "us"
description = "a view"
tags = ["fx"]
parameters = { alpha = 2 }
[view.v.features]
log_ret_5m = { kind = "log_return", column = "close", over = "5m" }
band_20 = { kind = "bollinger", column = "close", period = 20, width = 2, output = "upper" }
hour = { kind = "time_of_day", encode = "sin", zone = "America/Bogota" }
mid = { sql = "(open + close) / 2", type = "double", nulls = true, nan = true, description = "middle" }
own = { function = "f", parameters = { a = 1 } }
[view.c]
entity = "symbol"
source = "c"
features.close = { column = "close" }
[view.p]
entity = "symbol"
source = "p"
features.close = { column = "close" }
[view.l]
entity = "symbol"
source = "l"
features.x = { column = "x" }
[view.w]
entity = "symbol"
source = "view:v"
features.m = { column = "mid" }
"#;

const VIEWS: [&str; 5] = ["v", "c", "p", "l", "w"];

/// The views whose fingerprints are others once `from` is written as `to`.
fn changed(from: &str, to: &str) -> String {
    assert_eq!(TEXT.matches(from).count(), 1, "{from}");
    let (before, after) =
        (read(TEXT).unwrap(), read(&TEXT.replace(from, to)).unwrap_or_else(|error| panic!("{error}")));
    VIEWS.into_iter().filter(|view| fingerprint(&before, view) != fingerprint(&after, view)).collect()
}

#[test]
fn what_decides_values_changes_it_and_that_of_the_views_that_read_it() {
    let cases = [
        ("${DATA}/a.parquet", "${DATA}/b.parquet", "vw"),
        ("event_time = \"ts\"\ncreated", "event_time = \"at\"\ncreated", "vw"),
        ("created_time = \"created\"\n", "", "vw"),
        ("time_zone = \"America/Bogota\"", "time_zone = \"America/Lima\"", "vw"),
        ("time_zone = \"America/Bogota\"", "time_zone = \"America/Bogota\"\ntime_unit = \"ms\"", "vw"),
        ("bar = \"5m\"", "bar = \"1m\"", "vw"),
        ("label = { at = \"open\", bar = \"5m\" }", "label = { at = \"close\" }", "vw"),
        ("keys = { symbol = \"ticker\" }", "keys = { symbol = \"symbol\" }", "vw"),
        ("keys = { symbol = \"ticker\" }", "keys = {}", "vw"),
        ("close = \"last\"", "close = \"final\"", "vw"),
        ("types = { close = \"double\" }", "types = { close = \"float\" }", "vw"),
        ("on_duplicate = \"last\"", "on_duplicate = \"first\"", "vw"),
        ("on_null_time = \"error\"", "on_null_time = \"drop\"", "vw"),
        ("min = 0", "min = 1", "vw"),
        ("max = 9.5", "max = 9.25", "vw"),
        ("exclusive = true", "exclusive = false", "vw"),
        ("finite = true", "finite = false", "vw"),
        ("on_violation = \"null\"", "on_violation = \"drop\"", "vw"),
        ("within = \"1h\"", "within = \"2h\"", "vw"),
        ("fill = { method = \"last\", within = \"1h\" }\n", "", "vw"),
        ("delimiter = \";\"", "delimiter = \"|\"", "c"),
        ("header = true", "header = false", "c"),
        ("null = \"\"", "null = \"NA\"", "c"),
        ("decimal = \",\"", "decimal = \".\"", "c"),
        ("@db/market", "@db/other", "p"),
        ("host=a", "host=b", "p"),
        ("table = \"bars\"", "query = \"bars\"", "p"),
        ("name = \"series\"", "name = \"id\"", "l"),
        ("value = \"value\"", "value = \"number\"", "l"),
        ("x = \"one\"", "x = \"two\"", "l"),
        ("sql = \"SELECT * FROM source\"\n", "", "vw"),
        ("span = \"day\"", "span = \"week\"", "vw"),
        ("lookback = \"10d\"", "lookback = \"11d\"", "vw"),
        ("version = \"1\"", "version = \"2\"", "vw"),
        ("alpha = 2", "alpha = 3", "vw"),
        ("alpha = 2", "alpha = \"2\"", "vw"),
        ("over = \"5m\"", "over = \"6m\"", "vw"),
        ("over = \"5m\"", "bars = 5", "vw"),
        ("width = 2", "width = 2.5", "vw"),
        ("output = \"upper\"", "output = \"lower\"", "vw"),
        ("encode = \"sin\"", "encode = \"cos\"", "vw"),
        ("zone = \"America/Bogota\" }\nmid", "zone = \"America/Lima\" }\nmid", "vw"),
        ("(open + close) / 2", "(open + close) * 0.5", "vw"),
        ("type = \"double\"", "type = \"float\"", "vw"),
        ("nulls = true", "nulls = false", "vw"),
        ("nan = true", "nan = false", "vw"),
        ("function = \"f\"", "function = \"g\"", "vw"),
        ("a = 1", "a = 2", "vw"),
        ("entity = \"symbol\"\nsource = \"p\"", "entity = \"account\"\nsource = \"p\"", "p"),
        ("column = \"mid\"", "column = \"own\"", "w"),
    ];
    for (from, to, views) in cases {
        assert_eq!(changed(from, to), views, "{from} -> {to}");
    }
}

#[test]
fn what_does_not_decide_values_leaves_it() {
    let cases = [
        ("width = 2", "width = 2.0"),
        ("alpha = 2", "alpha = 2e0"),
        ("bar = \"5m\"", "bar = \"300s\""),
        ("lateness = \"60s\"", "lateness = \"61s\""),
        ("owner = \"us\"\ndescription = \"bars\"\n", "# a comment\n"),
        ("owner = \"us\"\ndescription = \"a view\"\ntags = [\"fx\"]\n", ""),
        ("description = \"middle\"", "description = \"mean\""),
        ("tolerance = 1e-9", "tolerance = 1e-6"),
        ("ttl = \"24h\"", "ttl = \"25h\""),
        ("max_age = \"1d\"", "max_age = \"2d\""),
        ("lateness = \"5s\"", "lateness = \"6s\""),
        ("${DATA}/a.parquet", "/data/a.parquet"),
        ("me:${PGPASSWORD}@", "you@"),
        ("application_name=b", "application_name=c"),
        ("columns = { close = \"last\", open = \"first\" }", "columns = { open = \"first\", close = \"last\" }"),
        ("header = true\n", ""),
        ("time_zone = \"America/Bogota\"", "time_zone = \"america/bogota\""),
    ];
    for (from, to) in cases {
        assert_eq!(changed(from, to), "", "{from} -> {to}");
    }
}

#[test]
fn the_order_of_features_counts_and_that_of_tables_and_files_does_not() {
    let base = read(TEXT).unwrap();
    let (sources, views) = TEXT.split_at(TEXT.find("[view.v]").unwrap());
    let moved = read(&format!("{views}{sources}")).unwrap();
    let divided = read_files(&[("a.toml", views), ("b.toml", sources), ("c.toml", super::BASE)]).unwrap();
    for view in VIEWS {
        assert_eq!(fingerprint(&base, view), fingerprint(&moved, view), "{view}");
        assert_eq!(fingerprint(&base, view), fingerprint(&divided, view), "{view}");
    }
    let own = "own = { function = \"f\", parameters = { a = 1 } }\n";
    let first = "[view.v.features]\n";
    let reordered = TEXT.replace(own, "").replace(first, &format!("{first}{own}"));
    assert_ne!(fingerprint(&base, "v"), fingerprint(&read(&reordered).unwrap(), "v"));
}

#[test]
fn the_fingerprint_of_a_definition_never_changes() {
    // New values here make the blocks of defined views orphans on every disk.
    let definitions = read(TEXT).unwrap();
    let prints = VIEWS.map(|view| fingerprint(&definitions, view));
    let wanted = [
        "42a6220150336b87985261abd14bb20b",
        "2f8eb90201955053c75a80b274150657",
        "457a9f31692890c44702b9128ed01e45",
        "3de1110a4d9c34cfd1fa5c8df5b862ad",
        "e9364f342f9f1566af6434eeb94932a1",
    ];
    assert_eq!(prints, wanted);
}
