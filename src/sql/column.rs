//! Columns as SQL.

use arrow::datatypes::{DataType, TimeUnit};

use crate::error::{Error, Result};

/// DuckDB's type for a column, or an error that names the column.
pub(crate) fn sql_type(column: &str, data_type: &DataType) -> Result<String> {
    let name = match data_type {
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
        DataType::Binary => "BLOB",
        DataType::Date32 => "DATE",
        DataType::Timestamp(TimeUnit::Second, None) => "TIMESTAMP_S",
        DataType::Timestamp(TimeUnit::Millisecond, None) => "TIMESTAMP_MS",
        DataType::Timestamp(TimeUnit::Microsecond, None) => "TIMESTAMP",
        DataType::Timestamp(TimeUnit::Nanosecond, None) => "TIMESTAMP_NS",
        DataType::Decimal128(precision, scale) => return Ok(format!("DECIMAL({precision}, {scale})")),
        other => {
            return Err(Error::invalid(format!(
                "column {column} is {other}, which SQL cannot be given: cast it with `types` in its source"
            )));
        }
    };
    Ok(name.to_owned())
}

/// A name as SQL: whatever is in it is part of the name.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
