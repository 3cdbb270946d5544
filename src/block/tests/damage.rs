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
fn any_flipped_bit_of_any_byte_is_corrupt_and_no_value() {
    let whole = encoded(&small());
    for at in 0..whole.len() {
        // Every bit where a flip could pass for something else: magic, checksum,
        // tag, version, first pages, end of the footer; one bit elsewhere.
        let all = at < 256 || at + 64 > whole.len();
        for bit in (0..8).filter(|bit| all || *bit == at % 8) {
            let mut file = whole.clone();
            file[at] ^= 1 << bit;
            assert_corrupt(file, &format!("bit {bit} of byte {at}"));
        }
    }
}

#[test]
fn a_block_cut_anywhere_is_corrupt() {
    let whole = encoded(&small());
    for len in 0..whole.len() {
        assert_corrupt(whole[..len].to_vec(), &format!("cut to {len}"));
    }
}

#[test]
fn a_byte_too_many_is_corrupt() {
    let mut file = encoded(&small());
    file.push(0);
    assert_corrupt(file, "one more byte");
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
