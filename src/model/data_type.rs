//! The types a feature may have, under names that never change.

use arrow::datatypes::{DataType, TimeUnit};

use crate::error::{Error, Result};

/// The types in words, for messages.
pub const ALLOWED: &str = "Boolean, Int8 to Int64, UInt8 to UInt64, Float32, Float64, Utf8, Binary, Date32, \
                           Timestamp and Decimal128";

/// The name of `data_type` in fingerprints and metadata.
///
/// Our own names and not the `Display` of arrow, because a new wording there would make every cached
/// block an orphan.
///
/// # Errors
/// `Invalid` where a block cannot hold the type.
pub fn type_name(data_type: &DataType) -> Result<String> {
    let plain = match data_type {
        DataType::Boolean => "boolean",
        DataType::Int8 => "int8",
        DataType::Int16 => "int16",
        DataType::Int32 => "int32",
        DataType::Int64 => "int64",
        DataType::UInt8 => "uint8",
        DataType::UInt16 => "uint16",
        DataType::UInt32 => "uint32",
        DataType::UInt64 => "uint64",
        DataType::Float32 => "float32",
        DataType::Float64 => "float64",
        DataType::Utf8 => "utf8",
        DataType::Binary => "binary",
        DataType::Date32 => "date32",
        DataType::Decimal128(precision, scale) => return Ok(format!("decimal128({precision},{scale})")),
        DataType::Timestamp(unit, zone) => {
            let unit = match unit {
                TimeUnit::Second => "s",
                TimeUnit::Millisecond => "ms",
                TimeUnit::Microsecond => "us",
                TimeUnit::Nanosecond => "ns",
            };
            return Ok(format!("timestamp({unit},{})", zone.as_deref().unwrap_or("")));
        }
        other => return Err(Error::invalid(format!("type {other} cannot be cached: use {ALLOWED}"))),
    };
    Ok(plain.to_owned())
}
