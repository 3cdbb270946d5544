//! Our types as values of DuckDB columns.

use duckdb::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};

use crate::manifest::record::RemovalReason;
use crate::model::{EntityKey, Fingerprint, MissReason, Outcome, Timestamp, ViewName};

fn unknown(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FromSqlError {
    FromSqlError::Other(error.into())
}

impl FromSql for ViewName {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::new(value.as_str()?).map_err(unknown)
    }
}

impl FromSql for Fingerprint {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(unknown)
    }
}

impl FromSql for EntityKey {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map_err(unknown)
    }
}

/// The values of a metric's labels.
pub(super) struct Labels(pub(super) Vec<String>);

impl FromSql for Labels {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(unknown)
    }
}

/// Only for columns of type `TIMESTAMP_NS`, and for counts of nanoseconds.
impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self::from_ns)
    }
}

impl FromSql for Outcome {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text).ok_or_else(|| unknown(format!("outcome {text}")))
    }
}

impl FromSql for MissReason {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = serde_json::Value::from(value.as_str()?);
        serde_json::from_value(text).map_err(unknown)
    }
}

impl FromSql for RemovalReason {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = serde_json::Value::from(value.as_str()?);
        serde_json::from_value(text).map_err(unknown)
    }
}

/// A time as the number that `make_timestamp_ns` takes.
///
/// The outermost nanoseconds mean infinity there, and are refused.
pub(in crate::manifest) fn nanos(at: Timestamp) -> i64 {
    at.as_ns().clamp(i64::MIN + 2, i64::MAX - 1)
}
