use bytes::Bytes;

use super::{assert_same_bits, encoded, small};
use crate::block::{BlockError, decode, describe, seal};

fn assert_corrupt(file: Vec<u8>, what: &str) {
    let file = Bytes::from(file);
    let error = decode(file.clone(), &small().schema()).expect_err(what);
    assert!(matches!(error, BlockError::Corrupt { .. }), "{what}: {error}");
    assert!(describe(&file).is_err(), "{what}");
}

#[test]
fn a_later_format_is_told_from_damage_only_while_the_checksum_holds() {
    let mut file = encoded(&small());
    file[27] = 2;
    assert_corrupt(file.clone(), "version without checksum");
    seal::close(&mut file);
    let error = decode(file.into(), &small().schema()).unwrap_err();
    assert!(matches!(error, BlockError::NewerFormat { found: 2, supported: 1 }));
    assert_eq!(error.to_string(), "block has format version 2, this version reads up to 1");
}

#[test]
fn format_version_zero_and_a_strange_tag_are_corrupt() {
    for at in [20, 26, 27] {
        let mut file = encoded(&small());
        file[at] = if at == 27 { 0 } else { b'?' };
        seal::close(&mut file);
        assert_corrupt(file, "a header that no version wrote");
    }
}

#[test]
fn the_seal_says_so_when_it_holds() {
    let batch = small();
    let decoded = decode(encoded(&batch).into(), &batch.schema()).unwrap();
    assert_same_bits(&decoded.batch, &batch);
}
