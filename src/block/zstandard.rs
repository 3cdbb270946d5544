//! One zstd context per thread, each way.
//!
//! A context costs tens of microseconds to create and megabytes to hold; the
//! Parquet library makes one per column, which for a block of thirty columns is
//! more than decoding it.

use std::cell::RefCell;
use std::io;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::get_frame_content_size;

/// The most that a zstd block holds, and the fewest bytes it takes in a frame.
const BLOCK: (usize, usize) = (128 << 10, 4);
/// A scratch buffer that a large page has grown is given back, not kept.
const KEEP: usize = 4 << 20;

thread_local! {
    static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<(Decompressor<'static>, Vec<u8>)>> =
        const { RefCell::new(None) };
}

/// Compresses `bytes` at `level`.
pub(super) fn compress(bytes: &[u8], level: i32) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|slot| {
        let (_, compressor) = match slot {
            Some(held) if held.0 == level => held,
            other => other.insert((level, Compressor::new(level)?)),
        };
        compressor.compress(bytes)
    })
}

/// Hands the content of a frame to `read`, in a buffer that lives as long as
/// the thread. A frame that does not say its size, or says more than `limit` or
/// than a frame of its length could hold, is refused before anything is allocated for it.
pub(super) fn with_decompressed<T>(
    frame: &[u8],
    limit: usize,
    read: impl FnOnce(&[u8]) -> T,
) -> Result<T, &'static str> {
    let size = get_frame_content_size(frame).ok().flatten().ok_or("a page's zstd frame is cut")?;
    let size = usize::try_from(size).ok().filter(|size| *size <= limit);
    let size = size.ok_or("a page claims more bytes than a block may hold")?;
    if size.div_ceil(BLOCK.0) > frame.len() / BLOCK.1 {
        return Err("a page claims more bytes than its frame can hold");
    }
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let (decompressor, content) = match slot {
            Some(held) => held,
            none => {
                let new = Decompressor::new().map_err(|_| "no memory for a zstd context")?;
                none.insert((new, Vec::new()))
            }
        };
        content.clear();
        content.reserve(size);
        let written = decompressor.decompress_to_buffer(frame, content);
        let whole = written.is_ok_and(|written| written == size);
        let result = if whole { Ok(read(content)) } else { Err("a page does not decompress") };
        content.clear();
        content.shrink_to(KEEP);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_says_more_than_the_limit_is_refused() {
        let frame = compress(&[0; 1001], 3).unwrap();
        assert_eq!(with_decompressed(&frame, 1001, <[u8]>::len), Ok(1001));
        let refused = with_decompressed(&frame, 1000, <[u8]>::len);
        assert_eq!(refused, Err("a page claims more bytes than a block may hold"));
    }

    #[test]
    fn a_short_frame_that_says_it_holds_a_lot_is_refused_before_anything_is_allocated() {
        // Magic, a descriptor with a size of four bytes in one segment, 64 MiB, and one block of nothing.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 4, 1, 0, 0];
        let refused = with_decompressed(&frame, 256 << 20, <[u8]>::len);
        assert_eq!(refused, Err("a page claims more bytes than its frame can hold"));
        // The same byte over and over is the shortest there is, and still fits.
        let honest = compress(&vec![7; 64 << 20], 19).unwrap();
        assert_eq!(with_decompressed(&honest, 256 << 20, <[u8]>::len), Ok(64 << 20));
    }

    #[test]
    fn no_frame_and_half_a_frame_are_refused() {
        let frame = compress(b"one, two, three", 3).unwrap();
        for cut in 0..frame.len() {
            assert!(with_decompressed(&frame[..cut], 1000, <[u8]>::len).is_err(), "cut to {cut}");
        }
    }

    #[test]
    fn a_frame_that_hides_its_size_is_refused() {
        // As zstd writes streams: magic, a descriptor without a size, a window.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x01, 0x00, 0x00];
        assert!(with_decompressed(&frame, 1000, <[u8]>::len).is_err());
    }

    #[test]
    fn levels_change_between_calls() {
        let bytes: Vec<u8> = (0..50_000u32).flat_map(|at| (at * at % 1009).to_le_bytes()).collect();
        let (fast, small) = (compress(&bytes, 1).unwrap(), compress(&bytes, 19).unwrap());
        assert!(small.len() < fast.len());
        assert_eq!(compress(&bytes, 1).unwrap(), fast);
    }
}
