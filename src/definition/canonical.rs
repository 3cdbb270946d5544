//! Definitions as text that is the same for what means the same.

use std::time::Duration;

use serde::Serializer;
use serde_json::{Value, json};

use super::source::{Postgres, SourceDefinition, SourceKind};
use super::template::{Environment, PathPattern};
use super::view::ViewDefinition;
use crate::error::{Error, Result};

/// The version of the code that computes views from definitions. Raise it where that code gives other values: every
/// view that is defined in a file then has another fingerprint.
const COMPUTES: u32 = 1;

/// A duration as its nanoseconds, in text because they do not fit every number.
pub(super) fn nanoseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&duration.as_nanos())
}

/// What decides the values of a view, beside what its [`FeatureView`](crate::model::FeatureView) says anyway. `rows`
/// is the same of what it reads.
pub(super) fn view(view: &ViewDefinition, rows: Value) -> Result<String> {
    let features: Vec<_> = view.features.iter().map(|feature| &feature.expression).collect();
    let definition = json!({
        "computes": COMPUTES,
        "rows": rows,
        "sql": view.sql,
        "features": text(&features)?,
        "parameters": text(&view.parameters)?,
    });
    Ok(ordered(definition).to_string())
}

/// What decides the rows of a source. It holds no secret.
pub(super) fn source(source: &SourceDefinition, environment: &Environment) -> Result<Value> {
    let mut definition = json!({
        "kind": kind(source, environment)?,
        "event_time": source.event_time,
        "created_time": source.created_time,
        "time_zone": source.time_zone.name(),
        "label": text(&source.label)?,
        "keys": text(&source.keys)?,
        "layout": text(&source.layout)?,
        "columns": source.columns,
        "types": text(&source.types)?,
        "on_duplicate": text(&source.on_duplicate)?,
        "on_null_time": text(&source.on_null_time)?,
        "valid": text(&source.valid)?,
        "fill": text(&source.fill)?,
    });
    // Only where there is one: no key may appear in what was fingerprinted without it.
    if let (Some(unit), Some(keys)) = (source.time_unit, definition.as_object_mut()) {
        keys.insert("time_unit".to_owned(), text(&unit)?);
    }
    Ok(definition)
}

fn kind(source: &SourceDefinition, environment: &Environment) -> Result<Value> {
    Ok(match &source.kind {
        SourceKind::Parquet { paths } => json!({ "parquet": expanded(paths, environment)? }),
        SourceKind::Csv { paths, format } => json!({ "csv": [expanded(paths, environment)?, text(format)?] }),
        SourceKind::Postgres(Postgres { url, rows, .. }) => {
            json!({ "postgres": [url.database(environment)?, text(rows)?] })
        }
        // Its name says where its rows are.
        SourceKind::Push => json!({ "push": source.name.as_str() }),
    })
}

fn expanded(paths: &[PathPattern], environment: &Environment) -> Result<Vec<String>> {
    paths.iter().map(|path| Ok(path.expand(environment)?.display().to_string())).collect()
}

fn text(value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::internal(format!("a definition cannot be written: {error}")))
}

/// The value with the keys of its tables in order, which is not serde_json's where somebody asked it to keep theirs.
fn ordered(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.into_iter().map(|(key, value)| (key, ordered(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(ordered).collect()),
        other => other,
    }
}
