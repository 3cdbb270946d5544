//! Every mistake with the whole of what is said of it. In the texts, `\n` is a new line.

use super::{expand, mistakes};

fn check(cases: &[(&str, &str)]) {
    for (text, said) in cases {
        assert_eq!(mistakes(&expand(&text.replace(r"\n", "\n"))), *said, "{text}");
    }
}

#[test]
fn tables_and_names_are_those_of_the_format() {
    check(&[
        (r"veiw.v = 1", r#"a.toml:1:1: definitions: unknown key "veiw": did you mean "view"?"#),
        (r"source = 3", r"a.toml:1:10: definitions: source: a number is not allowed: use a table"),
        (r"[source]\nx = 3", r#"a.toml:2:5: source "x": a number is not allowed: use a table"#),
        (
            r#"[view.Bad]\nentity = "symbol""#,
            r#"a.toml:1:7: view name "Bad" is not allowed: use 1 to 64 lower-case letters, digits and underscores, a letter first"#,
        ),
        (
            r#"[source.a-b]\nkind = "parquet""#,
            r#"a.toml:1:9: source name "a-b" is not allowed: use 1 to 64 lower-case letters, digits and underscores, a letter first"#,
        ),
        (r"[entity.e]\ndescription = 1", r#"a.toml:2:15: entity "e": description: 1 is not allowed: use text"#),
        (
            r"[entity.e]\nkeys = {}",
            r#"a.toml:2:8: entity "e": keys: there is none: use { symbol = "text" }, or leave keys out"#,
        ),
        (
            r#"[entity.e]\nkeys = { "a b" = "text", b = "number" }"#,
            r#"a.toml:2:10: entity "e": keys: join key name "a b" is not allowed: use 1 to 64 lower-case letters, digits and underscores, a letter first
a.toml:2:30: entity "e": keys: b: "number" is not allowed: use "text" or "integer""#,
        ),
        (r#"[entity.e]\nkeys = "text""#, r#"a.toml:2:8: entity "e": keys: text is not allowed: use a table"#),
        (
            r"x = = 3",
            r"a.toml:1:5: this is not TOML: extra `=`, expected nothing
a.toml:1:7: this is not TOML: unexpected key or value, expected newline, `#`",
        ),
        (r"[entity.e]\n[entity.e]", r"a.toml:2:9: this is not TOML: duplicate key"),
    ]);
}

#[test]
fn a_source_says_what_its_kind_needs_and_nothing_else() {
    check(&[
        (r"[source.s]", r#"a.toml:1:9: source "s": kind is missing: use "parquet", "csv", "postgres" or "push""#),
        (
            r#"[source.s]\nkind = "parket""#,
            r#"a.toml:2:8: source "s": kind: "parket" is not allowed: use "parquet", "csv", "postgres" or "push"; did you mean "parquet"?"#,
        ),
        (
            r#"[source.s]\nkind = "request""#,
            r#"a.toml:2:8: source "s": kind: "request" is not allowed: use "parquet", "csv", "postgres" or "push""#,
        ),
        (
            r"[source.s]\nkind = 3",
            r#"a.toml:2:8: source "s": kind: 3 is not allowed: use "parquet", "csv", "postgres" or "push""#,
        ),
        (
            r#"[source.s]\nkind = "parquet""#,
            r#"a.toml:1:9: source "s": event_time is missing: use the name of a column
a.toml:1:9: source "s": path is missing: use the files, such as "bars/*.parquet""#,
        ),
        (
            r#"[source.s]\nkind = "parquet"\npath = 3\nevent_time = """#,
            r#"a.toml:3:8: source "s": path: 3 is not allowed: use text
a.toml:4:14: source "s": event_time: "" is not allowed: use text"#,
        ),
        (
            r#"[source.s]\nkind = "parquet"\npath = []\nevent_time = "t""#,
            r#"a.toml:3:8: source "s": path: the list is empty: name the files"#,
        ),
        (
            r#"[source.s]\nkind = "parquet"\npath = ["a", 3]\nevent_time = "t""#,
            r#"a.toml:3:14: source "s": path: 3 is not allowed: use text"#,
        ),
        (r#"FILES\npath = "${A""#, r#"a.toml:4:8: source "s": path: a ${ is not closed: write ${NAME}"#),
        (
            r#"FILES\npath = "${A-B}""#,
            r#"a.toml:4:8: source "s": path: what stands in ${…} is no name of a variable: use letters, digits and underscores, no digit first"#,
        ),
        (
            r#"FILES\npath = "~/a.parquet""#,
            r#"a.toml:4:8: source "s": path: "~/a.parquet" begins with ~, which only a shell knows: write ${HOME}"#,
        ),
        (r#"FILES\npath = "a[.parquet""#, r#"a.toml:4:8: source "s": path: "a[.parquet" has a [ that is not closed"#),
        (
            r#"FILE\ndelimiter = ",""#,
            r#"a.toml:5:1: source "s": unknown key "delimiter": known keys: columns, created_time, description, event_time, fill, keys, kind, label, lateness, layout, on_duplicate, on_null_time, owner, path, time_unit, time_zone, types and valid"#,
        ),
        (
            r#"FILE\ntime_zone = "Bogota""#,
            r#"a.toml:5:13: source "s": time_zone: there is no time zone "Bogota": use an IANA name such as "America/Bogota""#,
        ),
        (
            r#"FILE\nlateness = "soon""#,
            r#"a.toml:5:12: source "s": lateness: "soon" is not allowed: use a duration such as "5m" or "10d""#,
        ),
        (
            r#"FILE\nlateness = "400y""#,
            r#"a.toml:5:12: source "s": lateness: "400y" is not allowed: use less than 292 years"#,
        ),
        (r#"FILE\nlabel = "open""#, r#"a.toml:5:9: source "s": label: text is not allowed: use a table"#),
        (
            r#"FILE\nlabel = { at = "open" }"#,
            r#"a.toml:5:9: source "s": label: bar is missing: use a duration such as "5m" or "10d", more than 0"#,
        ),
        (
            r#"FILE\nlabel = { at = "opens", bar = "5m" }"#,
            r#"a.toml:5:16: source "s": label: at: "opens" is not allowed: use "open" or "close"; did you mean "open"?"#,
        ),
        (
            r#"FILE\nlabel = { at = "close", bar = "5m" }"#,
            r#"a.toml:5:31: source "s": label: bar is for at = "open": leave it out"#,
        ),
        (
            r#"FILE\nlabel = { at = "open", bar = "0s" }"#,
            r#"a.toml:5:30: source "s": label: bar: "0s" is not allowed: use a duration such as "5m" or "10d", more than 0"#,
        ),
        (
            r#"FILE\nkeys = { Symbol = "s" }"#,
            r#"a.toml:5:10: source "s": keys: join key name "Symbol" is not allowed: use 1 to 64 lower-case letters, digits and underscores, a letter first"#,
        ),
        (
            r#"FILE\nlayout = "long""#,
            r#"a.toml:5:10: source "s": layout: this is not allowed: use "wide" or { long = { name = "series", value = "value" } }"#,
        ),
        (
            r#"FILE\nlayout = { long = { name = "n" } }"#,
            r#"a.toml:1:9: source "s": columns is missing: of a long table, name each series that is read
a.toml:5:19: source "s": layout: long: value is missing: use the name of a column"#,
        ),
        (
            r"FILE\nlayout = { wide = true }",
            r#"a.toml:5:10: source "s": layout: long is missing: use "wide" or { long = { name = "series", value = "value" } }
a.toml:5:12: source "s": layout: unknown key "wide": known keys: long"#,
        ),
        (
            r#"FILE\nfill = { method = "linear" }"#,
            r#"a.toml:5:8: source "s": fill: within is missing: use a duration such as "5m" or "10d", more than 0
a.toml:5:19: source "s": fill: method: "linear" is not allowed: use "last""#,
        ),
        (
            r#"FILE\ntypes = { a = "dubble" }"#,
            r#"a.toml:5:15: source "s": types: a: "dubble" is not allowed: use "boolean", "integer", "float", "double", "text", "date" or "timestamp"; did you mean "double"?"#,
        ),
        (
            r#"FILE\ncolumns = { close = "c" }\ntypes = { clsoe = "double" }\nvalid = { x = { min = 0 } }"#,
            r#"a.toml:6:11: source "s": types: there is no column "clsoe": did you mean "close"?
a.toml:7:11: source "s": valid: there is no column "x": known columns: close"#,
        ),
        (
            r"FILE\nvalid = { a = { min = 2, max = 1 }, b = {}, c = { min = 1, max = 1, exclusive = true } }",
            r#"a.toml:5:32: source "s": valid: a: nothing lies between min 2 and max 1
a.toml:5:37: source "s": valid: b: it allows everything: give min, max or finite = true
a.toml:5:66: source "s": valid: c: nothing lies between min 1 and max 1"#,
        ),
        (
            r"FILE\nvalid = { d = { exclusive = true, finite = true }, e = 3, f = { min = nan } }",
            r#"a.toml:5:11: source "s": valid: d: it allows everything: give min, max or finite = true
a.toml:5:56: source "s": valid: e: a number is not allowed: use a table
a.toml:5:71: source "s": valid: f: min: nan is not allowed: use a finite number"#,
        ),
        (
            r#"FILE\non_duplicate = "fist"\non_null_time = "skip""#,
            r#"a.toml:5:16: source "s": on_duplicate: "fist" is not allowed: use "last", "first" or "error"; did you mean "first"?
a.toml:6:16: source "s": on_null_time: "skip" is not allowed: use "error" or "drop""#,
        ),
        (
            r#"[source.s]\nkind = "csv"\npath = "a"\nevent_time = "t"\ndelimiter = ";;"\ndecimal = ";"\nheader = "yes""#,
            r#"a.toml:5:13: source "s": delimiter: ";;" is not allowed: use one character, such as ","
a.toml:6:11: source "s": decimal: ";" is not allowed: use "." or ","
a.toml:7:10: source "s": header: "yes" is not allowed: use true or false"#,
        ),
        (
            r#"[source.s]\nkind = "csv"\npath = "a"\nevent_time = "t"\ndecimal = ",""#,
            r#"a.toml:5:11: source "s": decimal and delimiter are the same: a number would be two"#,
        ),
        (
            r"POSTGRES",
            r#"a.toml:1:9: source "s": give either table or query
a.toml:1:9: source "s": url is missing: use a URL such as "postgres://reader:${PGPASSWORD}@db/market""#,
        ),
        (
            r#"POSTGRES\nurl = "postgres://me:hunter2@db/m"\ntable = "t"\nquery = "SELECT 1""#,
            r#"a.toml:4:7: source "s": url: the password is written out: put it into an environment variable and write ${NAME}
a.toml:6:9: source "s": give either table or query"#,
        ),
        (
            r#"POSTGRES\nurl = "postgres://me:hun/ter2${X}@db/m"\ntable = "t""#,
            r#"a.toml:4:7: source "s": url: the password is written out: put it into an environment variable and write ${NAME}"#,
        ),
        (
            r#"POSTGRES\nurl = "postgres://db/m?user=me&password=hunter2"\ntable = "t""#,
            r#"a.toml:4:7: source "s": url: the password is written out: put it into an environment variable and write ${NAME}"#,
        ),
        (
            r#"POSTGRES\nurl = "host=db password=hunter2"\ntable = "t""#,
            r#"a.toml:4:7: source "s": url: a URL begins with postgres://, or is a variable: ${DATABASE_URL}"#,
        ),
        (
            r#"POSTGRES\nurl = "postgres://db/m"\ntable = "t"\non_duplicate = "last"\nconnect_timeout = "0s"\nstatement_timeout = 30"#,
            r#"a.toml:6:16: source "s": on_duplicate: the rows of a database have no order: name a created_time, or choose one of them in a query with DISTINCT ON
a.toml:7:19: source "s": connect_timeout: "0s" is not allowed: use a duration such as "5m" or "10d", more than 0
a.toml:8:21: source "s": statement_timeout: 30 is not allowed: use a duration such as "5m" or "10d", more than 0"#,
        ),
        (
            r#"POSTGRES\nurl = "postgres://me:${hunter-2}@db/m"\ntable = "t""#,
            r#"a.toml:4:7: source "s": url: what stands in ${…} is no name of a variable: use letters, digits and underscores, no digit first"#,
        ),
        (
            r#"[source.s]\nkind = "push""#,
            r#"a.toml:1:9: source "s": types is missing: a push has no other schema, so name each of its columns with its type"#,
        ),
        (
            r#"[source.s]\nkind = "push"\ntypes = { a = "double" }\nlabel = { at = "close" }\npath = "x""#,
            r#"a.toml:4:1: source "s": unknown key "label": known keys: created_time, description, event_time, keys, kind, lateness, on_duplicate, owner, types and valid
a.toml:5:1: source "s": unknown key "path": known keys: created_time, description, event_time, keys, kind, lateness, on_duplicate, owner, types and valid"#,
        ),
    ]);
}

#[test]
fn a_view_says_what_it_needs_and_nothing_else() {
    check(&[
        (
            r"[view.v]",
            r#"a.toml:1:7: view "v": entity is missing: use the name of an entity
a.toml:1:7: view "v": features is missing: use a table with an entry for each feature
a.toml:1:7: view "v": source is missing: use the name of a source, or "view:" and the name of a view"#,
        ),
        (r"VIEW", r#"a.toml:1:7: view "v": features is missing: use a table with an entry for each feature"#),
        (r"VIEWfeatures = 3", r#"a.toml:4:12: view "v": features: a number is not allowed: use a table"#),
        (
            r"VIEWfeatures = {}",
            r#"a.toml:4:12: view "v": features is missing: use a table with an entry for each feature"#,
        ),
        (r#"VIEWfeatures.a = "close""#, r#"a.toml:4:14: view "v": feature "a": text is not allowed: use a table"#),
        (
            r"VIEWfeatures.a = {}",
            r#"a.toml:4:10: view "v": feature "a": it is not said what it is: use kind, sql, function or column"#,
        ),
        (
            r#"VIEWfeatures.A = { column = "a" }"#,
            r#"a.toml:4:10: view "v": feature "A": feature name "A" is not allowed: use 1 to 64 lower-case letters, digits and underscores, a letter first"#,
        ),
        (
            r#"VIEWfeatures.event_timestamp = { column = "a" }"#,
            r#"a.toml:4:10: view "v": feature "event_timestamp": feature name event_timestamp is taken by the event time"#,
        ),
        (
            r#"VIEWfeatures.symbol = { column = "a" }"#,
            r#"a.toml:4:10: view "v": feature "symbol": it is named like a key of entity "symbol": use another name"#,
        ),
        (
            r#"VIEWfeatures.a = { column = "close", sql = "close" }"#,
            r#"a.toml:4:16: view "v": feature "a": unknown key "column": known keys: description, nan, nulls, sql and type"#,
        ),
        (
            r#"VIEWfeatures.a = { sql = "close", type = "list" }"#,
            r#"a.toml:4:38: view "v": feature "a": type: "list" is not allowed: use "boolean", "integer", "float", "double", "text", "date" or "timestamp""#,
        ),
        (
            r#"VIEWfeatures.a = { function = "f", parameters = { x = [1], y = 9007199254740993, z = inf } }"#,
            r#"a.toml:4:51: view "v": feature "a": parameters: x: a list is not allowed: use text, a finite number (whole ones within ±2^53), true or false
a.toml:4:60: view "v": feature "a": parameters: y: 9007199254740993 is not allowed: use text, a finite number (whole ones within ±2^53), true or false
a.toml:4:82: view "v": feature "a": parameters: z: inf is not allowed: use text, a finite number (whole ones within ±2^53), true or false"#,
        ),
        (
            r#"VIEWspam = "day"\nfeatures.a = { column = "close" }"#,
            r#"a.toml:4:1: view "v": unknown key "spam": did you mean "span"?"#,
        ),
        (
            r#"VIEWspan = "dya"\nlookback = 10\ntolerance = 1\ntags = "fx"\nfeatures.a = { column = "close" }"#,
            r#"a.toml:4:8: view "v": span: "dya" is not allowed: use "hour", "day", "week", "month" or "year"
a.toml:5:12: view "v": lookback: 10 is not allowed: use a duration such as "5m" or "10d"
a.toml:6:13: view "v": tolerance: 1 is not allowed: use a number above 0 and below 1, such as 1e-9
a.toml:7:8: view "v": tags: text is not allowed: use a list"#,
        ),
        (
            r#"VIEWmax_stale = "1h"\nfeatures.a = { column = "close" }"#,
            r"a.toml:1:7: view v: stale_while_revalidate and max_stale count from max_age: set max_age too",
        ),
    ]);
}

#[test]
fn an_indicator_has_its_own_parameters() {
    check(&[
        (
            r#"VIEWfeatures.a = { kind = "rsj", column = "close", period = 9 }"#,
            r#"a.toml:4:23: view "v": feature "a": kind: "rsj" is unknown: did you mean "rsi"?"#,
        ),
        (
            r#"VIEWfeatures.a = { kind = "wavelet" }"#,
            r#"a.toml:4:23: view "v": feature "a": kind: "wavelet" is unknown: known kinds: log_return, change, sma, ema, rolling_std, zscore, rsi, atr, atr_pct, adx, macd, bollinger, vwap, realised_volatility, rolling_min, rolling_max, rank, lag, spread, time_of_day and day_of_week"#,
        ),
        (
            r#"VIEWfeatures.a_9 = { kind = "rsi", column = "close", period = 9, type = "double" }"#,
            r#"a.toml:4:62: view "v": feature "a_9": unknown key "type": known keys: column, description, kind, nan, nulls and period"#,
        ),
        (
            r#"VIEWfeatures.a = { kind = "rsi", columns = "close", period = 1 }"#,
            r#"a.toml:4:10: view "v": feature "a": column is missing: use the name of a column
a.toml:4:30: view "v": feature "a": unknown key "columns": did you mean "column"?
a.toml:4:58: view "v": feature "a": period: 1 is not allowed: use a whole number from 2 to 10000"#,
        ),
        (
            r#"VIEWfeatures.a = { kind = "rsi", column = "close", period = 10001 }"#,
            r#"a.toml:4:57: view "v": feature "a": period: 10001 is not allowed: use a whole number from 2 to 10000"#,
        ),
        (
            r#"VIEWfeatures.a = { kind = "rsi", column = "close", period = "9" }"#,
            r#"a.toml:4:57: view "v": feature "a": period: "9" is not allowed: use a whole number"#,
        ),
        (
            r#"VIEWfeatures.a = { kind = "log_return", column = "close" }"#,
            r#"a.toml:4:10: view "v": feature "a": give either over = "5m" (by time) or bars = 1 (by rows)"#,
        ),
        (
            r#"VIEWfeatures.a = { kind = "log_return", column = "close", over = "5m", bars = 1 }"#,
            r#"a.toml:4:75: view "v": feature "a": give either over = "5m" (by time) or bars = 1 (by rows)"#,
        ),
        (
            r#"VIEWfeatures.a = { kind = "macd", column = "close", fast = 26, slow = 12, signal = 9, output = "macd" }"#,
            r#"a.toml:4:56: view "v": feature "a": fast: 26 is not allowed: use less than slow, which is 12"#,
        ),
        (
            r#"VIEWfeatures.a_9 = { kind = "bollinger", column = "close", period = 9, width = 0, output = "top" }"#,
            r#"a.toml:4:76: view "v": feature "a_9": width: 0 is not allowed: use a number above 0
a.toml:4:88: view "v": feature "a_9": output: "top" is not allowed: use "upper", "middle", "lower", "percent_b" or "width""#,
        ),
        (
            r#"VIEWfeatures.a = { kind = "time_of_day", zone = "Mars" }"#,
            r#"a.toml:4:45: view "v": feature "a": zone: there is no time zone "Mars": use an IANA name such as "America/Bogota""#,
        ),
    ]);
}

#[test]
fn what_is_mentioned_is_there() {
    check(&[
        (
            r#"[view.v]\nentity = "symbl"\nsource = "bras"\nfeatures.a = { column = "close" }"#,
            r#"a.toml:2:10: view "v": there is no entity "symbl": did you mean "symbol"?
a.toml:3:10: view "v": there is no source "bras": did you mean "bars"?"#,
        ),
        (
            r#"[view.v]\nentity = "symbol"\nsource = "view:technicel"\nfeatures.a = { column = "rsi_9" }"#,
            r#"a.toml:3:10: view "v": there is no view "technicel": did you mean "technical"?"#,
        ),
        (
            r#"[view.v]\nentity = "symbol"\nsource = "view:technical"\nfeatures.a = { column = "rsi_8" }"#,
            r#"a.toml:4:10: view "v": feature "a": there is no column "rsi_8": did you mean "rsi_9"?"#,
        ),
        (
            r#"[view.v]\nentity = "symbol"\nsource = "quotes"\nfeatures.a = { column = "bit" }\nfeatures.b = { kind = "spread", column = "ask", minus = "mid" }"#,
            r#"a.toml:4:10: view "v": feature "a": there is no column "bit": did you mean "bid"?
a.toml:5:10: view "v": feature "b": there is no column "mid": did you mean "bid"?"#,
        ),
        (
            r#"[service.s]\nfeatures = ["rsi_9", "technical.rsi_14", "tecnical.rsi_9", "a.b.c", "pct"]"#,
            r#"a.toml:2:13: service "s": "rsi_9" names no view: use "technical.rsi_9"
a.toml:2:22: service "s": view "technical" has no feature "rsi_14": did you mean "rsi_9"?
a.toml:2:42: service "s": there is no view "tecnical": did you mean "technical"?
a.toml:2:60: service "s": features: feature name "b.c" is not allowed: use 1 to 64 lower-case letters, digits and underscores, a letter first
a.toml:2:69: service "s": there is no on-demand feature "pct": known on-demand features: none"#,
        ),
    ]);
}

#[test]
fn what_reads_something_fits_it() {
    check(&[
        (
            r#"[view.v]\nentity = "account"\nsource = "view:technical"\nfeatures.a = { column = "rsi_9" }"#,
            r#"a.toml:1:7: view "v": its entity is "account", but view "technical" is of "symbol""#,
        ),
        (
            r#"FILE\nkeys = { symbol = "s", venue = "v" }\n[view.v]\nentity = "account"\nsource = "s"\nfeatures.a = { column = "x" }"#,
            r#"a.toml:6:7: view "v": key "account" of entity "account" has no column in source "s": add it to its keys
a.toml:6:7: view "v": source "s" has a key "venue", which entity "account" has not: known keys: account and symbol"#,
        ),
        (
            r#"[view.a]\nentity = "symbol"\nsource = "view:b"\nfeatures.x = { sql = "1" }\n[view.b]\nentity = "symbol"\nsource = "view:a"\nfeatures.x = { sql = "1" }\n[view.c]\nentity = "symbol"\nsource = "view:a"\nfeatures.x = { sql = "1" }"#,
            r#"a.toml:1:7: view "a": views read each other in a circle: a reads b reads a"#,
        ),
        (
            r#"[view.a]\nentity = "symbol"\nsource = "view:a"\nfeatures.x = { sql = "1" }"#,
            r#"a.toml:1:7: view "a": views read each other in a circle: a reads a"#,
        ),
    ]);
}

#[test]
fn on_demand_features_and_services_are_made_of_something() {
    check(&[
        (
            r"[on_demand.x]",
            r#"a.toml:1:12: on-demand feature "x": it is computed from nothing: give inputs or request
a.toml:1:12: on-demand feature "x": sql is missing: use text"#,
        ),
        (
            r#"[on_demand.x]\ninputs = ["technical.rsi_9", "rsi_9", 3]\nsql = "1""#,
            r#"a.toml:2:30: on-demand feature "x": inputs: "rsi_9" names no view: use a feature of a view, such as "technical_features.rsi_9"
a.toml:2:39: on-demand feature "x": inputs: 3 is not allowed: use a feature of a view, such as "technical_features.rsi_9""#,
        ),
        (
            r#"[on_demand.x]\ninputs = ["technical.rsi_9"]\nrequest = { rsi_9 = "double", y = "int" }\nsql = "1""#,
            r#"a.toml:2:11: on-demand feature "x": two inputs are called "rsi_9", and the expression knows them by that name
a.toml:3:35: on-demand feature "x": request: y: "int" is not allowed: use "boolean", "integer", "float", "double", "text", "date" or "timestamp""#,
        ),
        (
            r"[service.s]",
            r#"a.toml:1:10: service "s": features is missing: use a list, each a feature of a view, such as "technical_features.rsi_9", or an on-demand feature"#,
        ),
        (
            r"[service.s]\nfeatures = []\ncontract = 1",
            r#"a.toml:2:12: service "s": features: there is none: name the features in the order in which they are read
a.toml:3:12: service "s": contract: 1 is not allowed: use text"#,
        ),
        (
            r#"[service.s]\nfeatures = ["technical.rsi_9", "technical.log_ret_5m", "technical.rsi_9"]"#,
            r#"a.toml:2:56: service "s": technical.rsi_9 is listed twice: it is number 1 already"#,
        ),
        (
            r#"VIEW[view.v.features]\nrsi_9 = { column = "x" }\n[service.s]\nfeatures = ["technical.log_ret_5m", "technical.rsi_9", "v.rsi_9"]"#,
            r#"a.toml:7:56: service "s": v.rsi_9 and technical.rsi_9, number 2, would both be called "rsi_9": rename one of them"#,
        ),
        (
            r#"[on_demand.rsi_9]\ninputs = ["technical.log_ret_5m"]\nsql = "1"\n[service.s]\nfeatures = ["technical.rsi_9", "rsi_9"]"#,
            r#"a.toml:5:32: service "s": rsi_9 and technical.rsi_9, number 1, would both be called "rsi_9": rename one of them"#,
        ),
    ]);
}
