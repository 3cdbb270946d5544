use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, Float64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaDataReader};
use proptest::prelude::*;

use super::{assert_same_bits, description, encoded, every_type, small};
use crate::block::{BlockError, decode, describe, encode, supports};

/// Decodes with this codec and with the Parquet library, which shares no
/// decoder with it.
fn assert_round_trip(batch: &RecordBatch) {
    let file = Bytes::from(encoded(batch));
    let decoded = decode(file.clone(), &batch.schema()).unwrap();
    assert_eq!(decoded.description, description());
    assert_same_bits(&decoded.batch, batch);
    for column in decoded.batch.columns() {
        assert_eq!(column.nulls().is_some(), column.null_count() > 0, "a mask that masks nothing");
    }
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).unwrap();
    for group in metadata.row_groups() {
        let values = group.columns().iter().map(ColumnChunkMetaData::num_values);
        assert!(values.clone().all(|values| values == group.num_rows()), "{:?} values", values.collect::<Vec<_>>());
    }
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let batches = reader.collect::<Result<Vec<_>, _>>().unwrap();
    assert_same_bits(&concat_batches(&batch.schema(), &batches).unwrap(), batch);
}

fn one_column(array: ArrayRef) -> RecordBatch {
    let field = Field::new("x", array.data_type().clone(), true);
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]).unwrap()
}

#[test]
fn the_small_block_meets_every_encoding_and_codec() {
    let file = Bytes::from(encoded(&small()));
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).unwrap();
    let columns = metadata.row_group(0).columns();
    for encoding in [Encoding::DELTA_BINARY_PACKED, Encoding::RLE_DICTIONARY, Encoding::BYTE_STREAM_SPLIT] {
        let met = columns.iter().any(|column| column.encodings().any(|met| met == encoding));
        assert!(met, "no column is {encoding}");
    }
    let plain = |column: &ColumnChunkMetaData| column.encodings().count() == 2;
    assert!(columns.iter().any(plain), "no column is plain");
    for compressed in [true, false] {
        let is = |c: &ColumnChunkMetaData| (c.compression() != Compression::UNCOMPRESSED) == compressed;
        assert!(columns.iter().any(is), "no column of compressed = {compressed}");
    }
}

#[test]
fn every_type_comes_back_with_its_nulls() {
    assert_round_trip(&small());
}

#[test]
fn an_empty_batch_comes_back_empty() {
    assert_round_trip(&every_type(&[], &[]));
}

#[test]
fn one_row_comes_back() {
    assert_round_trip(&every_type(&[-1], &[Some(u64::MAX)]));
    assert_round_trip(&every_type(&[0], &[None]));
}

#[test]
fn columns_of_nulls_alone_come_back() {
    assert_round_trip(&every_type(&(0..1000).collect::<Vec<_>>(), &[None; 1000]));
}

#[test]
fn a_slice_comes_back_as_the_slice() {
    assert_round_trip(&small().slice(3, 30));
}

#[test]
fn nan_payloads_zeros_of_both_signs_and_infinities_keep_their_bits() {
    let odd = [
        0x7ff8_0000_0000_0000, // the usual NaN
        0xfff8_0000_0000_0000,
        0x7ff0_0000_0000_0001, // signalling
        0x7ff8_dead_beef_cafe,
        0x0000_0000_0000_0000,
        0x8000_0000_0000_0000, // -0.0
        0x7ff0_0000_0000_0000,
        0xfff0_0000_0000_0000,
        0x0000_0000_0000_0001, // subnormal
    ];
    // In a dictionary, plain, and with distinct values around them.
    let repeated: Vec<_> = odd.iter().cycle().take(900).map(|bits| f64::from_bits(*bits)).collect();
    assert_round_trip(&one_column(Arc::new(Float64Array::from(repeated))));
    let distinct = (0..900u64).map(|row| match odd.get(row as usize) {
        Some(bits) => f64::from_bits(*bits),
        None => (row as f64).sqrt(),
    });
    assert_round_trip(&one_column(Arc::new(distinct.collect::<Float64Array>())));
    assert_round_trip(&every_type(&[0; 9], &odd.map(Some)));
    assert_round_trip(&every_type(&[0; 9], &odd.map(|bits| Some(bits >> 32))));
}

#[test]
fn more_rows_than_a_page_or_a_row_group_hold_come_back() {
    let rows = (1 << 20) + 70_000;
    let null = |row: i32| (row % 3 == 0 && row > 200_000).then_some(());
    let levels = (0..rows).map(|row| null(row).map_or(Some(f64::from(row % 100)), |()| None));
    let smooth = (0..rows).map(|row| Some(f64::from(row).sqrt()));
    let text = (0..rows).map(|row| null(row).is_none().then(|| row.to_string()));
    let price = DataType::Decimal128(20, 2);
    let schema = Schema::new(vec![
        Field::new("levels", DataType::Float64, true),
        Field::new("smooth", DataType::Float64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("flag", DataType::Boolean, false),
        Field::new("price", DataType::Decimal128(20, 2), false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(levels.collect::<Float64Array>()),
        Arc::new(smooth.collect::<Float64Array>()),
        Arc::new(text.collect::<StringArray>()),
        Arc::new((0..rows).map(|row| Some(row % 7 == 0)).collect::<BooleanArray>()),
        Arc::new((0..rows).map(|row| Some(i128::from(row) << 40)).collect::<Decimal128Array>().with_data_type(price)),
    ];
    assert_round_trip(&RecordBatch::try_new(schema.into(), columns).unwrap());
}

#[test]
fn a_description_comes_back_in_order_with_repeated_and_empty_values() {
    let batch = small();
    let described = describe(&encoded(&batch).into()).unwrap();
    assert_eq!(described.description, description());
    assert_eq!(described.schema.fields(), batch.schema().fields());
    assert_eq!(described.rows, 60);
}

#[test]
fn the_same_batch_is_always_the_same_bytes() {
    assert_eq!(encoded(&small()), encoded(&small()));
}

#[test]
fn what_takes_more_memory_than_a_block_may_is_refused_and_not_written() {
    // One array of 8 MB, as often as makes a gigabyte.
    let column: ArrayRef = Arc::new(Float64Array::from(vec![1.0; 1 << 20]));
    let columns = (0..129).map(|at| (format!("feature_{at}"), Arc::clone(&column)));
    let error = encode(&RecordBatch::try_from_iter(columns).unwrap(), &description(), 3).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("size of the decoded block in bytes"), "{said}");
    assert!(said.contains("1082130432") && said.contains("1073741824"), "{said}");
}

#[test]
fn an_unsupported_type_is_named_with_its_column() {
    let array = arrow::array::new_empty_array(&DataType::LargeUtf8);
    assert!(!supports(&DataType::LargeUtf8));
    let error = encode(&one_column(array), &[], 3).unwrap_err();
    assert_eq!(error.to_string(), "column \"x\" is LargeUtf8, which a block cannot hold");
}

#[test]
fn a_decimal_of_negative_scale_is_refused_before_anything_is_written() {
    let array = arrow::array::new_empty_array(&DataType::Decimal128(5, -2));
    let error = encode(&one_column(array), &[], 3).unwrap_err();
    assert!(matches!(error, BlockError::Unsupported { .. }));
}

#[test]
fn the_key_of_the_arrow_schema_is_reserved() {
    let taken = [("ARROW:schema".to_owned(), String::new())];
    let error = encode(&small(), &taken, 3).unwrap_err();
    assert!(matches!(error, BlockError::ReservedKey { key } if key == "ARROW:schema"));
}

#[test]
fn a_level_that_zstd_does_not_know_is_an_error() {
    assert!(matches!(encode(&small(), &[], 99), Err(BlockError::Encode { .. })));
}

fn any_row() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        2 => Just(None),
        4 => (0u64..20).prop_map(Some),
        3 => any::<u64>().prop_map(Some),
        1 => any::<f64>().prop_map(|value| Some(value.to_bits())),
        1 => (0x7ff0_0000_0000_0000u64..=0x7fff_ffff_ffff_ffff).prop_map(Some),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_values_come_back_bit_for_bit(
        rows in prop::collection::vec((any::<i64>(), any_row()), 0..400),
    ) {
        let (times, rows): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        assert_round_trip(&every_type(&times, &rows));
    }
}
