//! The types of columns as files have them.

use std::fmt;

use arrow::datatypes::{DataType, TimeUnit};

use crate::definition::ValueType;

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
        let sql = match data_type {
            DataType::Boolean => "BOOLEAN",
            DataType::Int8 => "TINYINT",
            DataType::Int16 => "SMALLINT",
            DataType::Int32 => "INTEGER",
            DataType::Int64 => "BIGINT",
            DataType::UInt8 => "UTINYINT",
            DataType::UInt16 => "USMALLINT",
            DataType::UInt32 => "UINTEGER",
            DataType::UInt64 => "UBIGINT",
            DataType::Float32 => "FLOAT",
            DataType::Float64 => "DOUBLE",
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR",
            DataType::Date32 => "DATE",
            DataType::Timestamp(TimeUnit::Second, None) => "TIMESTAMP_S",
            DataType::Timestamp(TimeUnit::Millisecond, None) => "TIMESTAMP_MS",
            DataType::Timestamp(TimeUnit::Microsecond, None) => "TIMESTAMP",
            DataType::Timestamp(TimeUnit::Nanosecond, None) => "TIMESTAMP_NS",
            DataType::Timestamp(_, Some(_)) => "TIMESTAMPTZ_NS",
            DataType::Decimal128(precision, scale) => return Self::new(&format!("DECIMAL({precision},{scale})")),
            other => return Self { kind: Kind::Other, sql: other.to_string() },
        };
        Self::new(sql)
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
