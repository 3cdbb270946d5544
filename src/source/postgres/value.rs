//! Types and values as the server sends and takes them.

use std::error::Error;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use bytes::{BufMut, BytesMut};

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::source::found::{Found, Kind};

/// The days and microseconds from 1970 to 2000, from which the server counts.
const DAYS_TO_2000: i32 = 10_957;
const US_TO_2000: i64 = 946_684_800_000_000;

/// A value that a statement is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Integer(i64),
    Text(String),
    Texts(Vec<String>),
    /// Days since 1970.
    Date(i32),
    /// Microseconds since 1970, by a clock on the wall.
    Naive(i64),
    /// Microseconds since 1970.
    Instant(i64),
}

impl Value {
    pub(super) fn sql_type(&self) -> Type {
        match self {
            Self::Integer(_) => Type::INT8,
            Self::Text(_) => Type::TEXT,
            Self::Texts(_) => Type::TEXT_ARRAY,
            Self::Date(_) => Type::DATE,
            Self::Naive(_) => Type::TIMESTAMP,
            Self::Instant(_) => Type::TIMESTAMPTZ,
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self, sql_type: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Integer(value) => return value.to_sql(sql_type, out),
            Self::Text(value) => return value.to_sql(sql_type, out),
            Self::Texts(values) => return values.to_sql(sql_type, out),
            // What the server cannot express is before or after all that it holds.
            Self::Date(day) => out.put_i32(day.saturating_sub(DAYS_TO_2000)),
            Self::Naive(at) | Self::Instant(at) => out.put_i64(at.saturating_sub(US_TO_2000)),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The type of a column.
pub(super) fn found(sql_type: &Type) -> Found {
    let kind = match *sql_type {
        Type::BOOL => Kind::Boolean,
        Type::INT2 | Type::INT4 | Type::INT8 => Kind::Integer,
        Type::FLOAT4 => Kind::Float,
        Type::FLOAT8 => Kind::Double,
        Type::NUMERIC => Kind::Decimal,
        Type::TEXT | Type::VARCHAR => Kind::Text,
        Type::DATE => Kind::Date,
        Type::TIMESTAMP => Kind::Naive(1_000),
        Type::TIMESTAMPTZ => Kind::Instant(1_000),
        _ => Kind::Other,
    };
    Found { kind, sql: sql_type.name().to_owned() }
}

/// A cell as it was sent.
struct Cell<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Cell<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The column at `at` of these rows, which is of this kind; or what it holds that is no value.
pub(super) fn column(rows: &[Row], at: usize, kind: Kind) -> Result<ArrayRef, &'static str> {
    Ok(match kind {
        Kind::Boolean => Arc::new(collect::<BooleanArray, _>(rows, at, |raw| Ok(raw != [0]))?),
        Kind::Integer => Arc::new(collect::<Int64Array, _>(rows, at, integer)?),
        Kind::Float => Arc::new(collect::<Float32Array, _>(rows, at, |raw| Ok(f32::from_be_bytes(sized(raw)?)))?),
        Kind::Double => Arc::new(collect::<Float64Array, _>(rows, at, |raw| Ok(f64::from_be_bytes(sized(raw)?)))?),
        Kind::Text => Arc::new(collect::<StringArray, _>(rows, at, |raw| {
            std::str::from_utf8(raw).map_err(|_| "text that is no UTF-8")
        })?),
        Kind::Date => Arc::new(collect::<Date32Array, _>(rows, at, |raw| match i32::from_be_bytes(sized(raw)?) {
            i32::MIN | i32::MAX => Err(INFINITY),
            days => days.checked_add(DAYS_TO_2000).ok_or(UNLIKE),
        })?),
        Kind::Naive(_) => Arc::new(collect::<TimestampMicrosecondArray, _>(rows, at, microseconds)?),
        Kind::Instant(_) => {
            Arc::new(collect::<TimestampMicrosecondArray, _>(rows, at, microseconds)?.with_timezone("UTC"))
        }
        Kind::Decimal | Kind::Other => return Err(UNLIKE),
    })
}

const INFINITY: &str = "infinity, which is no time";
const UNLIKE: &str = "something else than its type says";

fn collect<'a, A: FromIterator<Option<T>>, T>(
    rows: &'a [Row],
    at: usize,
    read: impl Fn(&'a [u8]) -> Result<T, &'static str>,
) -> Result<A, &'static str> {
    let cell = |row: &'a Row| match row.try_get::<_, Option<Cell<'a>>>(at) {
        Ok(cell) => cell.map(|Cell(raw)| read(raw)).transpose(),
        Err(_) => Err(UNLIKE),
    };
    rows.iter().map(cell).collect()
}

fn sized<const N: usize>(raw: &[u8]) -> Result<[u8; N], &'static str> {
    raw.try_into().map_err(|_| UNLIKE)
}

fn integer(raw: &[u8]) -> Result<i64, &'static str> {
    match raw.len() {
        2 => Ok(i16::from_be_bytes(sized(raw)?).into()),
        4 => Ok(i32::from_be_bytes(sized(raw)?).into()),
        _ => Ok(i64::from_be_bytes(sized(raw)?)),
    }
}

fn microseconds(raw: &[u8]) -> Result<i64, &'static str> {
    match i64::from_be_bytes(sized(raw)?) {
        i64::MIN | i64::MAX => Err(INFINITY),
        at => at.checked_add(US_TO_2000).ok_or(UNLIKE),
    }
}
