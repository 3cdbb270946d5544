//! The types of columns as files have them.

use std::fmt;

use arrow::datatypes::DataType;

use crate::definition::ValueType;
use crate::sql::sql_type;

/// The type of a column of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kind: Kind,
    /// Its name in DuckDB.
    pub(super) sql: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Integer,
    Float,
    Double,
    Decimal,
    Text,
    Date,
    /// A time without a zone, counted in so many nanoseconds.
    Naive(i64),
    /// An instant, counted in so many nanoseconds.
    Instant(i64),
    /// Lists, structures, bytes, …
    Other,
}

impl Found {
    /// The type that DuckDB calls `sql`.
    pub(super) fn new(sql: &str) -> Self {
        let kind = match sql {
            "BOOLEAN" => Kind::Boolean,
            "TINYINT" | "SMALLINT" | "INTEGER" | "BIGINT" | "UTINYINT" | "USMALLINT" | "UINTEGER" | "UBIGINT" => {
                Kind::Integer
            }
            "FLOAT" => Kind::Float,
            "DOUBLE" => Kind::Double,
            "VARCHAR" => Kind::Text,
            "DATE" => Kind::Date,
            "TIMESTAMP_S" => Kind::Naive(1_000_000_000),
            "TIMESTAMP_MS" => Kind::Naive(1_000_000),
            "TIMESTAMP" => Kind::Naive(1_000),
            "TIMESTAMP_NS" => Kind::Naive(1),
            "TIMESTAMP WITH TIME ZONE" => Kind::Instant(1_000),
            "TIMESTAMPTZ_NS" => Kind::Instant(1),
            _ if sql.starts_with("DECIMAL(") && sql.ends_with(')') => Kind::Decimal,
            _ => Kind::Other,
        };
        Self { kind, sql: sql.to_owned() }
    }

    /// The type of an Arrow column.
    pub(super) fn of_arrow(data_type: &DataType) -> Self {
        match (data_type, sql_type("", data_type)) {
            (_, Ok(sql)) => Self::new(&sql),
            (DataType::Timestamp(_, Some(_)), _) => Self::new("TIMESTAMPTZ_NS"),
            (other, _) => Self { kind: Kind::Other, sql: other.to_string() },
        }
    }

    /// Text, as in CSV files and names of directories.
    pub(super) fn text() -> Self {
        Self { kind: Kind::Text, sql: "VARCHAR".to_owned() }
    }

    /// The type that its values have for the rest of Larder, where they have one.
    pub(super) fn value_type(&self) -> Option<ValueType> {
        Some(match self.kind {
            Kind::Boolean => ValueType::Boolean,
            Kind::Integer => ValueType::Integer,
            Kind::Float => ValueType::Float,
            Kind::Double | Kind::Decimal => ValueType::Double,
            Kind::Text => ValueType::Text,
            Kind::Date => ValueType::Date,
            Kind::Naive(_) | Kind::Instant(_) => ValueType::Timestamp,
            Kind::Other => return None,
        })
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sql)
    }
}

/// Whether every value of one type has a value of the other that is the same.
pub(super) fn widens(from: ValueType, to: ValueType) -> bool {
    from == to || matches!((from, to), (ValueType::Integer | ValueType::Float, ValueType::Double))
}
