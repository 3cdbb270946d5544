//! Sources.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::de::DeValue;

use super::super::connection::PostgresUrl;
use super::super::source::{
    CsvFormat, EpochUnit, Fill, Label, Layout, OnDuplicate, OnNullTime, OnViolation, Postgres, PostgresRows,
    SourceDefinition, SourceKeys, SourceKind, Validity,
};
use super::super::template::PathPattern;
use super::super::zone::Zone;
use super::nearest::suggest;
use super::table::Table;
use super::value::{AnyText, Character, Choice, Positive, Value, quoted};
use crate::model::{EVENT_TIME, KeyName, SourceName};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Parquet,
    Csv,
    Postgres,
    Push,
}

impl Choice for Kind {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("parquet", Self::Parquet), ("csv", Self::Csv), ("postgres", Self::Postgres), ("push", Self::Push)];
}

#[derive(Clone, Copy)]
enum End {
    Open,
    Close,
}

impl Choice for End {
    const CHOICES: &'static [(&'static str, Self)] = &[("open", Self::Open), ("close", Self::Close)];
}

impl Choice for EpochUnit {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("s", Self::S), ("ms", Self::Ms), ("us", Self::Us), ("ns", Self::Ns)];
}

#[derive(Clone, Copy)]
enum Method {
    Last,
}

impl Choice for Method {
    const CHOICES: &'static [(&'static str, Self)] = &[("last", Self::Last)];
}

/// The source that `table` defines; every mistake in it is kept.
pub(super) fn source(name: SourceName, mut table: Table<'_>) -> Option<SourceDefinition> {
    let Some(which) = table.required::<Kind>("kind") else {
        table.ignore_rest();
        return None;
    };
    let kind = kind(which, &table);
    let event_time = match which {
        Kind::Push => Some(table.or("event_time", EVENT_TIME.to_owned())),
        _ => table.column("event_time"),
    };
    let pushed = which == Kind::Push;
    if pushed && !table.has("types") {
        table.mistake(
            "types",
            "types is missing: a push has no other schema, so name each of its columns with its type",
        );
    }
    let created_time = table.optional("created_time");
    let time_zone = if pushed { Zone::utc() } else { table.or("time_zone", Zone::utc()) };
    let time_unit = if pushed { None } else { table.optional("time_unit") };
    let label = if pushed { Label::Close } else { label(&table) };
    let lateness = table.or("lateness", Duration::from_secs(60));
    let keys = keys(table.map("keys"));
    let layout = if pushed { Layout::Wide } else { layout(&table) };
    let columns = if pushed { None } else { table.map("columns") };
    let types = table.map("types").unwrap_or_default();
    let on_duplicate = on_duplicate(which, &table);
    let on_null_time = if pushed { OnNullTime::Error } else { table.or("on_null_time", OnNullTime::Error) };
    let valid = valid(&table);
    let fill = if pushed { None } else { fill(&table) };
    let (owner, description) = (table.optional("owner"), table.optional("description"));
    let definition = SourceDefinition {
        name,
        place: table.file.place(table.at),
        kind: kind?,
        event_time: event_time?,
        created_time,
        time_zone,
        time_unit,
        label,
        lateness,
        keys,
        layout,
        columns,
        types,
        on_duplicate,
        on_null_time,
        valid,
        fill,
        owner,
        description,
    };
    check_columns(&definition, &table);
    Some(definition)
}

fn kind(which: Kind, table: &Table<'_>) -> Option<SourceKind> {
    match which {
        Kind::Parquet => Some(SourceKind::Parquet { paths: paths(table) }),
        Kind::Csv => Some(SourceKind::Csv { paths: paths(table), format: csv(table) }),
        Kind::Postgres => {
            let (url, rows) = (table.required::<PostgresUrl>("url"), rows(table));
            let limit = |key, default| table.or(key, Positive(Duration::from_secs(default))).0;
            let (connect_timeout, statement_timeout) = (limit("connect_timeout", 5), limit("statement_timeout", 30));
            Some(SourceKind::Postgres(Postgres { url: url?, rows: rows?, connect_timeout, statement_timeout }))
        }
        Kind::Push => Some(SourceKind::Push),
    }
}

/// One path or a list of them.
fn paths(table: &Table<'_>) -> Vec<PathPattern> {
    let is_list = table.with("path", |value| Ok(value.is_array()));
    let texts = match is_list {
        None => {
            table.mistake("path", "path is missing: use the files, such as \"bars/*.parquet\"");
            Vec::new()
        }
        Some(true) => table.list::<String>("path").unwrap_or_default(),
        Some(false) => {
            table.optional::<String>("path").map(|text| (text, table.value_of("path"))).into_iter().collect()
        }
    };
    if texts.is_empty() && is_list == Some(true) {
        table.mistake("path", "path: the list is empty: name the files");
    }
    let pattern = |(text, at): (String, usize)| {
        let read = PathPattern::new(&text, &table.file.directory);
        read.map_err(|error| table.mistake_at(at, &format!("path: {error}"))).ok()
    };
    texts.into_iter().filter_map(pattern).collect()
}

fn csv(table: &Table<'_>) -> CsvFormat {
    let Character(delimiter) = table.or("delimiter", Character(','));
    let Character(decimal) = table.or("decimal", Character('.'));
    if !matches!(decimal, '.' | ',') {
        table.mistake(
            "decimal",
            &format!("decimal: {} is not allowed: use \".\" or \",\"", quoted(&decimal.to_string())),
        );
    }
    if delimiter == decimal {
        table.mistake("decimal", "decimal and delimiter are the same: a number would be two");
    }
    let AnyText(null) = table.or("null", AnyText(String::new()));
    CsvFormat { delimiter, header: table.or("header", true), null, decimal }
}

fn rows(table: &Table<'_>) -> Option<PostgresRows> {
    let (name, query) = (table.optional("table"), table.optional("query"));
    if table.has("table") == table.has("query") {
        table.mistake("query", "give either table or query");
        return None;
    }
    name.map(PostgresRows::Table).or(query.map(PostgresRows::Query))
}

fn on_duplicate(which: Kind, table: &Table<'_>) -> OnDuplicate {
    let said = table.optional("on_duplicate");
    match which {
        Kind::Postgres => {
            if said.is_some_and(|said| said != OnDuplicate::Error) {
                table.mistake(
                    "on_duplicate",
                    "on_duplicate: the rows of a database have no order: name a created_time, or choose one of them in a \
                     query with DISTINCT ON",
                );
            }
            OnDuplicate::Error
        }
        _ => said.unwrap_or(OnDuplicate::Last),
    }
}

fn keys(columns: Option<BTreeMap<KeyName, String>>) -> SourceKeys {
    match columns {
        None => SourceKeys::SameNames,
        Some(none) if none.is_empty() => SourceKeys::None,
        Some(columns) => SourceKeys::Columns(columns),
    }
}

fn label(table: &Table<'_>) -> Label {
    let Some(label) = table.table("label") else { return Label::Close };
    let (at, bar) = (label.required("at"), label.optional::<Positive>("bar"));
    match (at, bar) {
        (Some(End::Open), Some(Positive(bar))) => return Label::Open { bar },
        (Some(End::Open), None) if !label.has("bar") => {
            label.mistake("bar", &format!("bar is missing: use {}", Positive::expected()));
        }
        (Some(End::Close), Some(_)) => label.mistake("bar", "bar is for at = \"open\": leave it out"),
        _ => {}
    }
    Label::Close
}

fn layout(table: &Table<'_>) -> Layout {
    const ALLOWED: &str = "use \"wide\" or { long = { name = \"series\", value = \"value\" } }";
    let is_table = table.with("layout", |value| match value {
        DeValue::Table(_) => Ok(true),
        DeValue::String(text) if text == "wide" => Ok(false),
        _ => Err(format!("this is not allowed: {ALLOWED}")),
    });
    let Some(layout) = is_table.filter(|it| *it).and_then(|_| table.table("layout")) else { return Layout::Wide };
    let Some(long) = layout.table("long") else {
        layout.mistake("long", &format!("long is missing: {ALLOWED}"));
        return Layout::Wide;
    };
    if !table.has("columns") {
        table.mistake("columns", "columns is missing: of a long table, name each series that is read");
    }
    let (name, value) = (long.column("name"), long.column("value"));
    name.zip(value).map_or(Layout::Wide, |(name, value)| Layout::Long { name, value })
}

fn fill(table: &Table<'_>) -> Option<Fill> {
    let fill = table.table("fill")?;
    let (method, within) = (fill.required("method"), fill.required::<Positive>("within"));
    match (method?, within?) {
        (Method::Last, Positive(within)) => Some(Fill::Last { within }),
    }
}

fn valid(table: &Table<'_>) -> BTreeMap<String, Validity> {
    let Some(mut columns) = table.table("valid") else { return BTreeMap::new() };
    let mut valid = BTreeMap::new();
    for (column, at, value) in columns.entries() {
        let what = format!("{}: {column}", columns.what);
        if let Some(rules) = Table::of(table.file, what, at, value) {
            valid.insert(column.to_owned(), validity(&rules));
        }
    }
    valid
}

fn validity(rules: &Table<'_>) -> Validity {
    let (min, max) = (rules.optional::<f64>("min"), rules.optional::<f64>("max"));
    let (exclusive, finite) = (rules.or("exclusive", false), rules.or("finite", false));
    if !rules.has("min") && !rules.has("max") && (exclusive || !finite) {
        rules.mistake("", "it allows everything: give min, max or finite = true");
    }
    if let (Some(min), Some(max)) = (min, max)
        && (min > max || (exclusive && min == max))
    {
        rules.mistake("max", &format!("nothing lies between min {min} and max {max}"));
    }
    Validity { min, max, exclusive, finite, on_violation: rules.or("on_violation", OnViolation::Error) }
}

/// What is said of columns is said of columns that there are.
fn check_columns(source: &SourceDefinition, table: &Table<'_>) {
    let Some(known) = source.known_columns() else { return };
    let of = |key, names: Vec<&String>| names.into_iter().map(|name| (key, name.clone())).collect::<Vec<_>>();
    for (key, name) in [of("types", source.types.keys().collect()), of("valid", source.valid.keys().collect())].concat()
    {
        if !known.contains(&name.as_str()) {
            let near = suggest(&name, known.iter().copied(), "columns");
            table.mistake_at(table.place_of(key, &name), &format!("{key}: there is no column \"{name}\": {near}"));
        }
    }
}
