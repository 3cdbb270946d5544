//! Which Arrow types a block holds, and how their values lie in Parquet.

use arrow::datatypes::DataType;
use parquet::basic::Type;

/// The physical form of one column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// BOOLEAN, one bit each, least significant bit first, as in Arrow.
    Bits,
    /// 1- and 2-byte integers, widened to INT32.
    Narrow,
    /// 4 bytes as they are: INT32 or FLOAT.
    Word4(Type),
    /// 8 bytes as they are: INT64 or DOUBLE.
    Word8(Type),
    /// Decimal of at most 9 digits in an INT32.
    Decimal4,
    /// Decimal of at most 18 digits in an INT64.
    Decimal8,
    /// Decimal in this many big-endian bytes.
    Decimal(usize),
    /// BYTE_ARRAY: text and bytes.
    Bytes,
}

/// Whether a block can hold columns of this type.
///
/// Booleans, integers of every width and sign, `Float32`, `Float64`, `Utf8`,
/// `Binary`, `Date32`, `Timestamp` of any unit and zone, `Decimal128` of scale
/// zero or more.
pub fn supports(data_type: &DataType) -> bool {
    Layout::of(data_type).is_some()
}

impl Layout {
    /// The layout of an Arrow type; `None` where a block cannot hold it.
    ///
    /// It follows the Parquet library's own schema conversion, which picks the
    /// physical type of a decimal by its precision.
    pub(super) fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Bits,
            DataType::Int8 | DataType::UInt8 | DataType::Int16 | DataType::UInt16 => Self::Narrow,
            DataType::Int32 | DataType::UInt32 | DataType::Date32 => Self::Word4(Type::INT32),
            DataType::Float32 => Self::Word4(Type::FLOAT),
            DataType::Int64 | DataType::UInt64 | DataType::Timestamp(_, _) => Self::Word8(Type::INT64),
            DataType::Float64 => Self::Word8(Type::DOUBLE),
            DataType::Utf8 | DataType::Binary => Self::Bytes,
            // Parquet knows no negative scale.
            DataType::Decimal128(_, scale) if *scale < 0 => return None,
            DataType::Decimal128(1..=9, _) => Self::Decimal4,
            DataType::Decimal128(10..=18, _) => Self::Decimal8,
            DataType::Decimal128(precision, _) => Self::Decimal(decimal_bytes(*precision)),
            _ => return None,
        })
    }

    /// The Parquet type that goes with it.
    pub(super) fn physical(self) -> Type {
        match self {
            Self::Bits => Type::BOOLEAN,
            Self::Narrow | Self::Decimal4 => Type::INT32,
            Self::Word4(physical) | Self::Word8(physical) => physical,
            Self::Decimal8 => Type::INT64,
            Self::Decimal(_) => Type::FIXED_LEN_BYTE_ARRAY,
            Self::Bytes => Type::BYTE_ARRAY,
        }
    }

    /// Bytes a value takes once decoded; of text only its offset.
    pub(super) fn decoded_width(self) -> usize {
        match self {
            Self::Bits => 1,
            Self::Narrow | Self::Word4(_) | Self::Bytes => 4,
            Self::Word8(_) => 8,
            Self::Decimal4 | Self::Decimal8 | Self::Decimal(_) => 16,
        }
    }
}

/// Fewest bytes that hold every decimal of `precision` digits and its sign.
fn decimal_bytes(precision: u8) -> usize {
    let magnitude = 10u128.saturating_pow(u32::from(precision)).ilog2() + 1;
    (magnitude + 1).div_ceil(8) as usize
}
