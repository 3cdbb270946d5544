//! The codec as its callers see it, and as damage and forgers do.

mod damage;
mod fixture;
mod forged;
mod fuzz;
mod golden;
mod round_trip;
mod schema;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema};

use super::{Description, encode};

pub(super) fn description() -> Description {
    let pairs = [("larder.view", "technical_features"), ("a", ""), ("larder.rows", "3"), ("a", "z")];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// One row of every type: the same bits, cut or read as each type asks, or null.
pub(super) fn every_type(times: &[i64], rows: &[Option<u64>]) -> RecordBatch {
    macro_rules! cut {
        ($array:ty, $to:ty) => {
            Arc::new(rows.iter().map(|row| row.map(|bits| bits as $to)).collect::<$array>()) as ArrayRef
        };
    }
    let text = |bits: u64| "größer ".repeat((bits % 4) as usize) + &bits.to_string();
    let decimal = |precision: u8, scale| {
        let most = 10i128.pow(u32::from(precision));
        let values = rows.iter().map(|row| row.map(|bits| (i128::from(bits as i64) << 60) % most));
        let array = values.collect::<Decimal128Array>().with_precision_and_scale(precision, scale);
        Arc::new(array.unwrap()) as ArrayRef
    };
    let floats = rows.iter().map(|row| row.map(f64::from_bits)).collect::<Float64Array>();
    let short = rows.iter().map(|row| row.map(|bits| f32::from_bits(bits as u32)));
    let bits = rows.iter().map(|row| row.map(|bits| bits % 2 == 1)).collect::<BooleanArray>();
    let times = TimestampNanosecondArray::from(times.to_vec()).with_timezone("UTC");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("bool", Arc::new(bits)),
        ("i8", cut!(Int8Array, i8)),
        ("i16", cut!(Int16Array, i16)),
        ("i32", cut!(Int32Array, i32)),
        ("i64", cut!(Int64Array, i64)),
        ("u8", cut!(UInt8Array, u8)),
        ("u16", cut!(UInt16Array, u16)),
        ("u32", cut!(UInt32Array, u32)),
        ("u64", cut!(UInt64Array, u64)),
        ("f32", Arc::new(short.collect::<Float32Array>())),
        ("f64", Arc::new(floats)),
        ("utf8", Arc::new(rows.iter().map(|row| row.map(text)).collect::<StringArray>())),
        ("binary", Arc::new(rows.iter().map(|row| row.map(u64::to_le_bytes)).collect::<BinaryArray>())),
        ("date", cut!(Date32Array, i32)),
        ("s", cut!(TimestampSecondArray, i64)),
        ("ms", cut!(TimestampMillisecondArray, i64)),
        ("us", cut!(TimestampMicrosecondArray, i64)),
        (
            "new_york",
            Arc::new(
                rows.iter()
                    .map(|row| row.map(|bits| bits as i64))
                    .collect::<TimestampNanosecondArray>()
                    .with_timezone("America/New_York"),
            ),
        ),
        ("d5", decimal(5, 2)),
        ("d18", decimal(18, 0)),
        ("d19", decimal(19, 4)),
        ("d38", decimal(38, 37)),
    ];
    let time = Field::new("event_timestamp", times.data_type().clone(), false);
    let features = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    let schema = Schema::new(std::iter::once(time).chain(features).collect::<Vec<_>>());
    let arrays = columns.iter().map(|(_, array)| array.clone());
    let arrays = std::iter::once(Arc::new(times) as ArrayRef).chain(arrays).collect();
    RecordBatch::try_new(schema.into(), arrays).unwrap()
}

/// A batch that meets every encoding and both codecs, as
/// `the_small_block_meets_every_encoding_and_codec` holds.
pub(super) fn small() -> RecordBatch {
    let rows = (0..60u64).map(|row| match row % 5 {
        0 => None,
        // Low bytes of few levels, high bytes that all but repeat, noise between.
        _ => Some((0x3ff0 << 48) | (row.wrapping_mul(0x9e37_79b9) << 16) | (row % 3)),
    });
    let times = (0..60).map(|row| row * 60_000_000_000);
    every_type(&times.collect::<Vec<_>>(), &rows.collect::<Vec<_>>())
}

pub(super) fn encoded(batch: &RecordBatch) -> Vec<u8> {
    encode(batch, &description(), 3).unwrap()
}

/// Each value as its bytes; arrays whose bits are equal are equal here, and no others.
pub(super) fn bits(array: &ArrayRef) -> Vec<Option<Vec<u8>>> {
    let data = array.to_data();
    (0..array.len())
        .map(|row| {
            array.is_valid(row).then(|| match array.data_type() {
                DataType::Boolean => vec![u8::from(array.as_boolean().value(row))],
                DataType::Utf8 => array.as_string::<i32>().value(row).as_bytes().to_vec(),
                DataType::Binary => array.as_binary::<i32>().value(row).to_vec(),
                primitive => {
                    let width = primitive.primitive_width().unwrap();
                    let start = (data.offset() + row) * width;
                    data.buffers()[0].as_slice()[start..start + width].to_vec()
                }
            })
        })
        .collect()
}

/// Holds schema and bits of two batches against each other.
pub(super) fn assert_same_bits(found: &RecordBatch, wanted: &RecordBatch) {
    assert_eq!(found.num_rows(), wanted.num_rows());
    assert_eq!(found.schema().fields(), wanted.schema().fields());
    for (at, field) in wanted.schema().fields().iter().enumerate() {
        assert_eq!(bits(found.column(at)), bits(wanted.column(at)), "column {}", field.name());
    }
}
