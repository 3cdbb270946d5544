//! Blocks of every released format version stay readable.

use std::path::PathBuf;

use super::{bits, encoded, small};
use crate::block::{decode, describe};
use crate::checkout;

fn fixture() -> PathBuf {
    checkout::path("tests/fixtures/v1/every_type.parquet")
}

#[test]
fn a_block_of_format_version_1_is_read_to_the_last_bit() {
    let expected = small();
    let bytes = std::fs::read(fixture()).unwrap();
    let decoded = decode(bytes.clone().into(), &expected.schema()).unwrap();
    assert_eq!(decoded.batch.num_rows(), 60);
    for (found, expected) in decoded.batch.columns().iter().zip(expected.columns()) {
        assert_eq!(bits(found), bits(expected));
    }
    assert_eq!(describe(&bytes.into()).unwrap().description, super::description());
}

#[test]
#[ignore = "writes the fixture of a new format version, into a new directory: cargo test --release --all-features --lib write_the_fixture -- --ignored"]
fn write_the_fixture() {
    std::fs::create_dir_all(fixture().parent().unwrap()).unwrap();
    std::fs::write(fixture(), encoded(&small())).unwrap();
}
