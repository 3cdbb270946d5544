//! What definitions say, as JSON and in words.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json as value};

use super::quantity;
use crate::definition::{Fill, Label, Layout, PostgresRows, SourceDefinition, SourceKeys, SourceKind};
use crate::definition::{ViewDefinition, ViewSource};
use crate::error::{Error, Result};
use crate::model::{KeyName, KeyType};

/// One thing that a definition says.
pub struct Said {
    pub name: &'static str,
    pub value: Value,
    pub words: String,
}

impl Said {
    fn new(name: &'static str, value: Value, words: impl Into<String>) -> Self {
        Self { name, value, words: words.into() }
    }

    /// The same in words as in JSON.
    fn text(name: &'static str, text: impl ToString) -> Self {
        Self::new(name, text.to_string().into(), text.to_string())
    }

    /// Text, or a word for none.
    pub fn maybe(name: &'static str, text: Option<&str>, none: &str) -> Self {
        Self::new(name, text.into(), text.unwrap_or(none))
    }

    fn time(name: &'static str, time: Option<Duration>, none: &str) -> Self {
        Self::new(name, seconds(time), time.map_or_else(|| none.to_owned(), duration))
    }

    /// What can be serialised, in words made from that.
    fn any(name: &'static str, any: &impl Serialize, none: &str) -> Result<Self> {
        let value = json(any)?;
        let words = sentence(&value);
        Ok(Self::new(name, value, if words.is_empty() { none.to_owned() } else { words }))
    }
}

/// As JSON.
pub fn json(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::internal(format!("a definition cannot be written: {error}")))
}

/// A time as JSON.
pub fn seconds(time: Option<Duration>) -> Value {
    time.map(|time| time.as_secs_f64()).into()
}

fn duration(time: Duration) -> String {
    if time.subsec_nanos() > 0 { quantity::duration(time) } else { quantity::rough(time) }
}

/// JSON in words: `log_return, column close, over 5 min`.
pub fn sentence(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(sentence).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            // What it is comes before how.
            let (kind, rest): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| *name == "kind");
            kind.into_iter().chain(rest).map(|(name, value)| field(name, value)).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn field(name: &str, value: &Value) -> String {
    let nanoseconds = |value: &Value| value.as_str().and_then(|text| text.parse().ok()).map(Duration::from_nanos);
    match (name, value) {
        // What only says what follows.
        ("kind" | "indicator", value) => sentence(value),
        ("function", value) if value.is_object() => format!("function {}", sentence(value)),
        ("time" | "within" | "bar", value) => nanoseconds(value).map_or_else(|| sentence(value), duration),
        ("sql", value) => format!("SQL {}", sentence(value)),
        ("bars", value) if name != "over" => format!("{value} bars"),
        (name, value) => format!("{} {}", name.replace('_', " "), sentence(value)),
    }
}

/// What an entity says.
pub fn entity(keys: &BTreeMap<KeyName, KeyType>) -> Result<Vec<Said>> {
    let words: Vec<_> = keys.iter().map(|(name, key_type)| format!("{name} ({key_type})")).collect();
    Ok(vec![Said::new("keys", json(keys)?, words.join(", "))])
}

/// What a source says.
pub fn source(source: &SourceDefinition) -> Result<Vec<Said>> {
    let mut says = vec![Said::text("kind", source.kind.name())];
    says.extend(held(&source.kind));
    says.push(Said::text("event_time", &source.event_time));
    says.push(Said::maybe("created_time", source.created_time.as_deref(), "none"));
    says.push(Said::text("time_zone", source.time_zone.name()));
    says.push(Said::any("time_unit", &source.time_unit, "none: whole numbers are no times")?);
    let label = match source.label {
        Label::Close => "a row's event time is its bar's close, or it is no bar".to_owned(),
        Label::Open { bar } => format!("a row's event time is its bar's open; a bar is {}", duration(bar)),
    };
    says.push(Said::new("label", json(&source.label)?, label));
    says.push(Said::time("lateness", Some(source.lateness), ""));
    let keys = match &source.keys {
        SourceKeys::SameNames => "columns named like the keys".to_owned(),
        SourceKeys::None => "none: its rows belong to every entity".to_owned(),
        SourceKeys::Columns(columns) => {
            columns.iter().map(|(key, column)| format!("{key} is {column}")).collect::<Vec<_>>().join(", ")
        }
    };
    says.push(Said::new("keys", json(&source.keys)?, keys));
    let layout = match &source.layout {
        Layout::Wide => "a row per time".to_owned(),
        Layout::Long { name, value } => format!("a row per time and series: its name in {name}, its value in {value}"),
    };
    says.push(Said::new("layout", json(&source.layout)?, layout));
    let columns = source
        .columns
        .as_ref()
        .map(|columns| columns.iter().map(|(name, there)| format!("{name} is {there}")).collect::<Vec<_>>().join(", "));
    says.push(Said::new("columns", value!(source.columns), columns.unwrap_or_else(|| "those of the data".to_owned())));
    says.push(Said::any("types", &source.types, "those of the data")?);
    says.push(Said::any("on_duplicate", &source.on_duplicate, "")?);
    says.push(Said::any("on_null_time", &source.on_null_time, "")?);
    says.push(Said::any("valid", &source.valid, "whatever there is")?);
    let fill = source.fill.map(|Fill::Last { within }| format!("the last value of up to {} before", duration(within)));
    says.push(Said::new("fill", json(&source.fill)?, fill.unwrap_or_else(|| "a null stays null".to_owned())));
    Ok(says)
}

/// Where its rows are. Paths and URLs as they were written, which holds no password.
fn held(kind: &SourceKind) -> Vec<Said> {
    let files = |paths: &[crate::definition::PathPattern]| {
        let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
        Said::new("path", value!(paths), paths.join(", "))
    };
    match kind {
        SourceKind::Parquet { paths } => vec![files(paths)],
        SourceKind::Csv { paths, format } => vec![
            files(paths),
            Said::new("delimiter", format.delimiter.to_string().into(), format!("{:?}", format.delimiter)),
            Said::new("header", format.header.into(), if format.header { "yes" } else { "no" }),
            Said::new("null", format.null.as_str().into(), format!("{:?}", format.null)),
            Said::text("decimal", format.decimal),
        ],
        SourceKind::Postgres(postgres) => {
            let rows = match &postgres.rows {
                PostgresRows::Table(table) => Said::text("table", table),
                PostgresRows::Query(query) => Said::text("query", query),
            };
            vec![
                Said::text("url", &postgres.url),
                rows,
                Said::time("connect_timeout", Some(postgres.connect_timeout), ""),
                Said::time("statement_timeout", Some(postgres.statement_timeout), ""),
            ]
        }
        SourceKind::Push => Vec::new(),
    }
}

/// What a view says, without its features.
pub fn view(view: &ViewDefinition, lateness: Option<Duration>) -> Result<Vec<Said>> {
    let source = match &view.source {
        ViewSource::Source(name) => name.to_string(),
        ViewSource::View(name) => format!("view:{name}"),
    };
    Ok(vec![
        Said::text("entity", &view.entity),
        Said::text("source", source),
        Said::maybe("sql", view.sql.as_deref(), "none: the rows of the source"),
        Said::text("span", view.span),
        Said::time("lookback", Some(view.lookback), ""),
        Said::new("tolerance", view.tolerance.into(), view.tolerance.to_string()),
        Said::time("ttl", view.ttl, "for ever"),
        Said::text("version", &view.version),
        Said::time("lateness", view.lateness.or(lateness), "that of its source"),
        Said::time("max_age", view.max_age, "for ever"),
        Said::time("stale_while_revalidate", Some(view.stale_while_revalidate), ""),
        Said::time("max_stale", Some(view.max_stale), ""),
        Said::any("parameters", &view.parameters, "none")?,
    ])
}
