//! Any bytes as a journal, as they are and as the payload of a frame that holds.
#![no_main]

use std::hash::Hasher;

use twox_hash::XxHash3_64;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    larder_fuzz::manifest::records(larder_fuzz::file(data).path());
    let length = (data.len() as u32).to_le_bytes();
    let mut hasher = XxHash3_64::with_seed(0);
    hasher.write(&length);
    hasher.write(data);
    let frame = [b"\xffLJ1".as_slice(), &length, &hasher.finish().to_le_bytes(), data].concat();
    larder_fuzz::manifest::records(larder_fuzz::file(&frame).path());
});
