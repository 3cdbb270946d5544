//! Blocks whose checksum is right and whose contents are not. What they decode
//! to is their writer's affair; that they neither panic nor allocate without
//! bound is ours.

use bytes::Bytes;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{
    ColumnChunkMetaDataBuilder, FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter,
};
use proptest::prelude::*;

use super::{encoded, small};
use crate::block::seal::HEADER;
use crate::block::{BlockError, decode, describe, seal};

/// Decodes `file` under a seal made right again.
fn decode_sealed(mut file: Vec<u8>) -> Result<(), BlockError> {
    seal::close(&mut file);
    let file = Bytes::from(file);
    let described = describe(&file);
    let decoded = decode(file, &small().schema());
    decoded.and(described).map(drop)
}

#[test]
fn any_single_byte_changed_under_a_right_checksum_does_no_harm() {
    let whole = encoded(&small());
    let mut refused = 0;
    for at in HEADER..whole.len() {
        for value in [0, 0x7f, 0x80, 0xff, whole[at].wrapping_add(1), whole[at] ^ 0x10] {
            let mut file = whole.clone();
            file[at] = value;
            refused += usize::from(decode_sealed(file).is_err());
        }
    }
    assert!(refused > 1000, "only {refused} forgeries were noticed");
}

#[test]
fn a_footer_longer_than_the_file_is_refused() {
    for length in [0, 1, 1 << 16, u32::MAX] {
        let mut file = encoded(&small());
        let at = file.len() - 8;
        file[at..at + 4].copy_from_slice(&length.to_le_bytes());
        assert!(decode_sealed(file).is_err(), "footer of {length} bytes");
    }
}

#[test]
fn a_file_that_is_all_header_is_refused() {
    for tail in [&b""[..], b"PAR1", b"\0\0\0\0PAR1", b"\xff\xff\xff\xffPAR1"] {
        let mut file = seal::open().to_vec();
        file.extend_from_slice(tail);
        assert!(decode_sealed(file).is_err());
    }
}

/// The small block under a footer that says what `change` makes of each column
/// and of the number of rows.
fn with_footer(rows: i64, change: impl Fn(usize, ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder) -> Vec<u8> {
    let file = Bytes::from(encoded(&small()));
    let honest = ParquetMetaDataReader::new().parse_and_finish(&file).unwrap();
    let group = honest.row_group(0).clone();
    let columns = group.columns().iter().enumerate();
    let columns = columns.map(|(at, column)| change(at, column.clone().into_builder()).build());
    let columns = columns.collect::<Result<Vec<_>, _>>().unwrap();
    let group = group.into_builder().set_column_metadata(columns).set_num_rows(rows).build();
    let said = honest.file_metadata();
    let pairs = said.key_value_metadata().cloned();
    let said = FileMetaData::new(2, rows, None, pairs, said.schema_descr_ptr(), None);
    let forged = ParquetMetaData::new(said, vec![group.unwrap()]);
    let length: [u8; 4] = file[file.len() - 8..file.len() - 4].try_into().unwrap();
    let pages = file.len() - 8 - u32::from_le_bytes(length) as usize;
    let mut out = file[..pages].to_vec();
    ParquetMetaDataWriter::new(&mut out, &forged).finish().unwrap();
    out
}

fn refusal(rows: i64, change: impl Fn(usize, ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder) -> String {
    decode_sealed(with_footer(rows, change)).unwrap_err().to_string()
}

#[test]
fn the_footer_forged_into_what_it_was_still_decodes() {
    // Or the tests below would pass for another reason than the lie.
    decode_sealed(with_footer(60, |_, column| column)).unwrap();
}

#[test]
fn more_rows_than_memory_are_refused_before_anything_is_allocated() {
    for rows in [1 << 40, i64::MAX, 1 << 30] {
        let message = refusal(rows, |_, column| column);
        assert!(message.contains("a block holds at most 1073741824"), "{message}");
    }
}

#[test]
fn row_counts_that_the_pages_do_not_bear_out_are_refused() {
    for rows in [0, 59, 61, 1_000_000, -1] {
        let message = refusal(rows, |_, column| column);
        assert!(message.contains("row counts"), "{message}");
    }
}

#[test]
fn pages_outside_the_file_are_refused() {
    for offset in [i64::MIN, -1, 0, 4, 1 << 40, i64::MAX] {
        let message = refusal(60, |_, column| column.set_data_page_offset(offset).set_dictionary_page_offset(None));
        assert!(message.contains("pages lie outside the file"), "{message}");
    }
    for size in [i64::MIN, -1, 1 << 40, i64::MAX / 2] {
        // One column alone and no larger: the library's writer adds the sizes up.
        let message = refusal(60, |at, column| match at {
            5 => column.set_total_compressed_size(size),
            _ => column,
        });
        assert!(message.contains("pages lie outside the file"), "{message}");
    }
}

#[test]
fn pages_under_the_wrong_codec_are_refused() {
    let message = refusal(60, |_, column| column.set_compression(Compression::SNAPPY));
    assert!(message.contains("compressed by something other than zstd"), "{message}");
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3).unwrap());
    let lie = |_, column: ColumnChunkMetaDataBuilder| column.set_compression(Compression::UNCOMPRESSED);
    assert!(decode_sealed(with_footer(60, lie)).is_err());
    // Pages of uncompressed columns say of themselves that they are not
    // compressed; a dictionary has no such word and no zstd frame either.
    assert!(decode_sealed(with_footer(60, |_, column| column.set_compression(zstd))).is_err());
}

#[test]
fn a_dictionary_that_is_not_where_the_footer_says_is_refused() {
    let message = refusal(60, |_, column| column.set_dictionary_page_offset(None));
    assert!(message.contains("column"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn any_bytes_overwritten_under_a_right_checksum_do_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut file = encoded(&small());
        for (at, value) in changes {
            let at = HEADER + at.index(file.len() - HEADER);
            file[at] = value;
        }
        let _ = decode_sealed(file);
    }

    #[test]
    fn any_bytes_at_all_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut file = seal::open().to_vec();
        file.extend_from_slice(&bytes);
        let length = (bytes.len() as u32).saturating_sub(8);
        file.extend_from_slice(&length.to_le_bytes());
        file.extend_from_slice(b"PAR1");
        prop_assert!(decode_sealed(file).is_err());
    }
}
