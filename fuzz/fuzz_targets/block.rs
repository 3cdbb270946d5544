//! Any bytes as a block, as they are and under a right seal.
#![no_main]

use bytes::Bytes;
use larder_fuzz::block::{BlockMeta, decode, describe};
use twox_hash::XxHash3_128;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut forged = data.to_vec();
    if forged.len() >= 28 {
        forged[..4].copy_from_slice(b"PAR1");
        forged[20..28].copy_from_slice(b"LARDER\0\x01");
        let checksum = XxHash3_128::oneshot(&forged[20..]).to_be_bytes();
        forged[4..20].copy_from_slice(&checksum);
    }
    for file in [Bytes::copy_from_slice(data), forged.into()] {
        if let Ok(said) = describe(&file) {
            let _ = BlockMeta::parse(&said.description);
            let _ = decode(file, &said.schema);
        }
    }
});
