//! How much memory a block's reader can be made to take: every allocation of this process is counted, so it has one test.

#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test, and an allocator"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Float64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use bytes::Bytes;
use larder::block::{decode, describe, encode};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::file::metadata::{
    ColumnChunkMetaDataBuilder, FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter,
};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use twox_hash::XxHash3_128;

#[path = "../src/mutate.rs"]
mod mutate;

use mutate::{Dice, mutate, times};

/// What is allocated, and the most that was.
static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: all is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a byte of a file may ask for: 24 bytes are a page of 65,536 equal values, of which there are two copies on the
/// way, and 4 bytes are 128 KiB of text.
const PER_BYTE: usize = 128 << 10;
/// What there is besides: contexts, schemas, messages.
const BESIDES: usize = 1 << 20;

/// The most that was allocated while reading the file, and whether it was read.
fn cost(file: Vec<u8>, batch: &RecordBatch) -> (usize, bool) {
    let (file, schema) = (sealed(file), batch.schema());
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let _ = describe(&file);
    let is_read = decode(file, &schema).is_ok();
    (MOST.load(Ordering::Relaxed).saturating_sub(before), is_read)
}

/// The file under the seal that goes with it, as `FORMAT.md` has it.
fn sealed(mut file: Vec<u8>) -> Bytes {
    if let Some(rest) = file.get(20..) {
        let checksum = XxHash3_128::oneshot(rest).to_be_bytes();
        file[4..20].copy_from_slice(&checksum);
    }
    file.into()
}

fn blocks() -> Vec<(RecordBatch, Vec<u8>)> {
    let floats = Arc::new((0..60).map(|row| (row % 7 > 0).then(|| f64::from(row).sqrt())).collect::<Float64Array>());
    let text = Arc::new((0..60).map(|row| Some("x".repeat(row))).collect::<StringArray>());
    let times = Arc::new((0..60).map(Some).collect::<TimestampNanosecondArray>());
    let batches = [
        RecordBatch::try_from_iter_with_nullable([("value", floats as _, true)]).unwrap(),
        RecordBatch::try_from_iter_with_nullable([("at", times as _, false), ("text", text as _, true)]).unwrap(),
    ];
    batches.into_iter().map(|batch| (batch.clone(), encode(&batch, &[], 3).unwrap())).collect()
}

/// A block of one column, the pages of which are `pages`, and which says that it has `rows` rows.
fn forged(
    (batch, honest): &(RecordBatch, Vec<u8>),
    rows: i64,
    pages: Vec<Page>,
    change: impl Fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder,
) -> Vec<u8> {
    assert_eq!(batch.num_columns(), 1);
    let honest_bytes = Bytes::from(honest.clone());
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&honest_bytes).unwrap();
    let mut sink = TrackedWrite::new(honest[..28].to_vec());
    for page in pages {
        let size = page.buffer().len();
        SerializedPageWriter::new(&mut sink).write_page(CompressedPage::new(page, size)).unwrap();
    }
    let mut file = sink.into_inner().unwrap();
    let group = metadata.row_group(0).clone();
    let column = group.column(0).clone().into_builder().set_data_page_offset(28).set_dictionary_page_offset(None);
    let column = change(column.set_total_compressed_size(file.len() as i64 - 28)).build().unwrap();
    let group = group.into_builder().set_column_metadata(vec![column]).set_num_rows(rows).build().unwrap();
    let said = metadata.file_metadata();
    let pairs = said.key_value_metadata().cloned();
    let said = FileMetaData::new(2, rows, None, pairs, said.schema_descr_ptr(), None);
    ParquetMetaDataWriter::new(&mut file, &ParquetMetaData::new(said, vec![group])).finish().unwrap();
    file
}

fn data(rows: u32, nulls: u32, levels: &[u8], values: &[u8], encoding: Encoding, is_compressed: bool) -> Page {
    Page::DataPageV2 {
        buf: [levels, values].concat().into(),
        num_values: rows,
        encoding,
        num_nulls: nulls,
        num_rows: rows,
        def_levels_byte_len: levels.len() as u32,
        rep_levels_byte_len: 0,
        is_compressed,
        statistics: None,
    }
}

/// A run of so many times the same number, as Parquet writes it.
fn run(count: u64, value: u8) -> Vec<u8> {
    let mut header = count << 1;
    let mut out = Vec::new();
    while header >= 0x80 {
        out.push(header as u8 | 0x80);
        header >>= 7;
    }
    out.extend([header as u8, value]);
    out
}

/// Files of a few bytes that speak of a great many rows.
fn greedy() -> Vec<(&'static str, RecordBatch, Vec<u8>)> {
    let [numbers, texts]: [_; 2] = {
        let value = Arc::new(Float64Array::from(vec![Some(1.0), None]));
        let text = Arc::new(StringArray::from(vec![Some("x"), None]));
        let number = RecordBatch::try_from_iter_with_nullable([("value", value as _, true)]).unwrap();
        let text = RecordBatch::try_from_iter_with_nullable([("text", text as _, true)]).unwrap();
        [number, text].map(|batch| (batch.clone(), encode(&batch, &[], 3).unwrap()))
    };
    let keep = |column: ColumnChunkMetaDataBuilder| column;
    let zstd =
        |column: ColumnChunkMetaDataBuilder| column.set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap()));
    let dictionary = || Page::DictionaryPage {
        buf: Bytes::from_static(&[0; 16]),
        num_values: 2,
        encoding: Encoding::PLAIN,
        is_sorted: false,
    };
    let many = 1 << 26;
    let equal = |rows: u32| {
        let indices = [vec![1], run(rows.into(), 1)].concat();
        data(rows, 0, &run(rows.into(), 1), &indices, Encoding::RLE_DICTIONARY, false)
    };
    let full = 65_536;
    let pages = |count: u32| std::iter::once(dictionary()).chain((0..count).map(|_| equal(full))).collect();
    // Magic, a size of four bytes in one segment: 256 MiB less one, and a block of nothing.
    let liar = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0xff, 0xff, 0xff, 0x0f, 1, 0, 0];
    let place = |column: ColumnChunkMetaDataBuilder| column.set_dictionary_page_offset(Some(28));
    vec![
        ("rows without pages", numbers.0.clone(), forged(&numbers, many, vec![], keep)),
        (
            "one page of very many equal values",
            numbers.0.clone(),
            forged(&numbers, many, vec![dictionary(), equal(many as u32)], place),
        ),
        (
            "one page of very many nulls",
            numbers.0.clone(),
            forged(
                &numbers,
                many,
                vec![data(many as u32, many as u32, &run(many as u64, 0), &[], Encoding::PLAIN, false)],
                keep,
            ),
        ),
        (
            "sixteen honest pages of equal values",
            numbers.0.clone(),
            forged(&numbers, i64::from(full) * 16, pages(16), place),
        ),
        (
            "a frame that says it holds 256 MiB",
            texts.0.clone(),
            forged(&texts, 1, vec![data(1, 0, &run(1, 1), &liar, Encoding::PLAIN, true)], zstd),
        ),
    ]
}

#[test]
fn a_few_bytes_of_a_block_never_ask_for_gigabytes() {
    let count = times(40_000, 1_000_000);
    let (mut most, mut read) = ((0, 0), 0);
    let mut check = |what: &dyn std::fmt::Display, file: Vec<u8>, batch: &RecordBatch| {
        let length = file.len();
        let (bytes, is_read) = cost(file, batch);
        assert!(bytes <= PER_BYTE * length + BESIDES, "{what}: {bytes} bytes for a file of {length}");
        read += u64::from(is_read);
        most = most.max((bytes, length));
    };
    let blocks = blocks();
    // Contexts that a thread makes once.
    blocks.iter().for_each(|(batch, file)| assert!(cost(file.clone(), batch).1));
    for (what, batch, file) in greedy() {
        let length = file.len();
        let (bytes, is_read) = cost(file.clone(), &batch);
        eprintln!("{what}: {bytes} bytes for a file of {length}, {}", if is_read { "read" } else { "refused" });
        check(&what, file, &batch);
    }
    let words: [&[u8]; 5] =
        [b"PAR1", b"\xff\xff\xff\xff\x0f", b"\xf9\xff\xff\xff\xff\x07", b"\x28\xb5\x2f\xfd", b"\x8c"];
    for seed in 0..count {
        let (mut dice, (batch, file)) = (Dice::new(seed), &blocks[seed as usize % blocks.len()]);
        let length: [u8; 4] = file[file.len() - 8..file.len() - 4].try_into().unwrap();
        let start = file.len() - 8 - u32::from_le_bytes(length) as usize;
        let forged = match dice.roll(2) {
            0 => {
                let footer = mutate(&file[start..file.len() - 8], &words, &mut dice);
                let length = (footer.len() as u32).to_le_bytes();
                [&file[..start], &footer, &length, b"PAR1"].concat()
            }
            _ => [&file[..28], &mutate(&file[28..], &words, &mut dice)].concat(),
        };
        check(&format!("seed {seed}"), forged, batch);
    }
    eprintln!("{count} forged blocks: {read} read; the most was {} bytes, for a file of {}", most.0, most.1);
    assert!(read > 1);
}
