//! From a record batch to the bytes of a block.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::compute::filter;
use arrow::datatypes::{DataType, Field, ToByteSlice};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowSchemaConverter};
use parquet::basic::Encoding;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use parquet::schema::types::{ColumnDescPtr, SchemaDescPtr};

use super::encoding::{self, Coding};
use super::error::EncodeError;
use super::layout::Layout;
use super::limits::{Budget, GROUP_ROWS, PAGE_BYTES, PAGE_ROWS};
use super::pages::{Chunk, DataPage, Sink};
use super::values::Values;
use super::word::{self, Word};
use super::{BlockError, delta, footer, hybrid, seal, zstandard};

/// Writes `batch` as one block.
///
/// `description` goes into the footer's key-value metadata in the order given,
/// after the Arrow schema. `compression_level` is zstd's (1 to 22, default 3);
/// columns that it hardly shrinks are left uncompressed, for they decode faster.
///
/// # Errors
///
/// [`BlockError::Unsupported`] for a type that [`supports`](super::supports)
/// denies, [`BlockError::ReservedKey`] for the key `ARROW:schema`,
/// [`BlockError::TooLarge`] beyond 1 GiB of decoded values or 256 MiB in a page,
/// [`BlockError::Encode`] for a level that zstd does not know.
pub fn encode(
    batch: &RecordBatch,
    description: &[(String, String)],
    compression_level: i32,
) -> Result<Vec<u8>, BlockError> {
    if description.iter().any(|(key, _)| key == ARROW_SCHEMA_META_KEY) {
        return Err(BlockError::ReservedKey { key: ARROW_SCHEMA_META_KEY.to_owned() });
    }
    let schema = batch.schema();
    let layouts = schema.fields().iter().map(|field| layout(field)).collect::<Result<Vec<_>, _>>()?;
    check_size(batch, &layouts)?;
    let parquet = ArrowSchemaConverter::new().convert(&schema).map_err(BlockError::parquet)?;
    let parquet = Arc::new(parquet);

    let mut sink = Sink::new(Vec::with_capacity(batch.get_array_memory_size() / 2 + 16_384));
    std::io::Write::write_all(&mut sink, &seal::open()).map_err(EncodeError::from)?;
    let groups = spans(batch.num_rows(), GROUP_ROWS)
        .map(|span| batch.slice(span.start, span.len()))
        .map(|group| write_group(&group, &layouts, &parquet, compression_level, &mut sink))
        .collect::<Result<Vec<_>, _>>()?;
    let mut file = footer::write(groups, parquet, &schema, description, sink)?;
    seal::close(&mut file);
    Ok(file)
}

fn layout(field: &Field) -> Result<Layout, BlockError> {
    Layout::of(field.data_type())
        .ok_or_else(|| BlockError::Unsupported { column: field.name().clone(), data_type: field.data_type().clone() })
}

/// Consecutive ranges of at most `step` that cover `0..len`.
fn spans(len: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(step).map(move |start| start..len.min(start + step))
}

/// Refuses what [`decode`](super::decode) would refuse.
fn check_size(batch: &RecordBatch, layouts: &[Layout]) -> Result<(), BlockError> {
    let mut budget = Budget::new();
    for (column, layout) in batch.columns().iter().zip(layouts) {
        budget.take(batch.num_rows().saturating_mul(layout.decoded_width()))?;
        if *layout == Layout::Bytes {
            budget.take(column.to_data().get_slice_memory_size()?)?;
        }
    }
    Ok(())
}

fn write_group(
    group: &RecordBatch,
    layouts: &[Layout],
    parquet: &SchemaDescPtr,
    level: i32,
    sink: &mut Sink,
) -> Result<RowGroupMetaData, BlockError> {
    let schema = group.schema();
    let columns = group.columns().iter().zip(layouts).zip(schema.fields()).zip(parquet.columns());
    let chunks = columns
        .map(|(((array, layout), field), column)| write_chunk(array, *layout, field, column.clone(), level, sink))
        .collect::<Result<Vec<_>, _>>()?;
    let bytes = chunks.iter().map(ColumnChunkMetaData::uncompressed_size).sum();
    RowGroupMetaData::builder(parquet.clone())
        .set_num_rows(group.num_rows() as i64)
        .set_total_byte_size(bytes)
        .set_column_metadata(chunks)
        .build()
        .map_err(BlockError::parquet)
}

fn write_chunk(
    array: &ArrayRef,
    layout: Layout,
    field: &Field,
    column: ColumnDescPtr,
    level: i32,
    sink: &mut Sink,
) -> Result<ColumnChunkMetaData, BlockError> {
    let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    let dense = match &nulls {
        None => Arc::clone(array),
        Some(nulls) => filter(array, &BooleanArray::new(nulls.inner().clone(), None))?,
    };
    let unsupported = || BlockError::Unsupported { column: field.name().clone(), data_type: field.data_type().clone() };
    let values = Values::of(&dense, layout).ok_or_else(unsupported)?;
    let pages = Pages::new(array.len(), nulls, field.is_nullable());
    let chunk = chunk(&values, &pages, layout, level);
    if let Some(page) = chunk.pages.iter().find(|page| page.values.len() > PAGE_BYTES) {
        return Err(BlockError::TooLarge {
            what: format!("a page of column {:?} in bytes", field.name()),
            found: page.values.len(),
            limit: PAGE_BYTES,
        });
    }
    let mut chunk = chunk.write(column, level, sink)?;
    if let (DataType::Timestamp(_, _), Values::Words8(words)) = (field.data_type(), &values) {
        chunk = chunk.set_statistics(time_range(words, array.len() - words.len()));
    }
    chunk.build().map_err(BlockError::parquet)
}

/// What other engines prune by. The features have no statistics: nobody prunes
/// by them, and they took a third of the footer.
fn time_range(words: &[u64], nulls: usize) -> Statistics {
    let times = || words.iter().map(|word| *word as i64);
    Statistics::int64(times().min(), times().max(), None, Some(nulls as u64), false)
}

/// How the rows of a chunk fall into pages.
struct Pages {
    rows: Vec<Range<usize>>,
    /// For each page, which of the values that are not null.
    values: Vec<Range<usize>>,
    nulls: Option<NullBuffer>,
    nullable: bool,
}

impl Pages {
    fn new(len: usize, nulls: Option<NullBuffer>, nullable: bool) -> Self {
        let rows: Vec<_> = spans(len, PAGE_ROWS).collect();
        let mut start = 0;
        let values = rows.iter().map(|rows| {
            let null = nulls.as_ref().map(|nulls| nulls.slice(rows.start, rows.len()).null_count());
            let end = start + rows.len() - null.unwrap_or(0);
            let span = start..end;
            start = end;
            span
        });
        Self { values: values.collect(), rows, nulls, nullable }
    }

    /// The data pages, each with what `encode` makes of its span of values.
    fn build(&self, encode: impl Fn(Range<usize>) -> Vec<u8>) -> Vec<DataPage> {
        let spans = self.rows.iter().zip(&self.values);
        let page = |(rows, values): (&Range<usize>, &Range<usize>)| DataPage {
            rows: rows.len(),
            nulls: rows.len() - values.len(),
            levels: self.levels(rows),
            values: encode(values.clone()),
        };
        spans.map(page).collect()
    }

    fn levels(&self, rows: &Range<usize>) -> Vec<u8> {
        let mut levels = Vec::new();
        if self.nullable {
            match &self.nulls {
                None => hybrid::write_repeated(1, rows.len(), 1, &mut levels),
                Some(nulls) => {
                    let valid = nulls.inner().slice(rows.start, rows.len());
                    hybrid::write_levels(&valid, &mut levels);
                }
            }
        }
        levels
    }
}

/// Encodes the values of a column chunk.
fn chunk(values: &Values<'_>, pages: &Pages, layout: Layout, level: i32) -> Chunk {
    let plain = |pages| Chunk { encoding: Encoding::PLAIN, dictionary: None, pages };
    match values {
        Values::Words8(words) if matches!(layout, Layout::Word8(parquet::basic::Type::INT64)) => {
            word_chunk(words, encoding::for_integers(words), pages, |span, out| {
                delta::write(span, out);
            })
        }
        Values::Words8(words) => chunk_of_words(words, pages, level),
        Values::Words4(words) => chunk_of_words(words, pages, level),
        Values::Bits(bits) => plain(pages.build(|span| {
            let bits = bits.slice(span.start, span.len());
            let bytes = span.len().div_ceil(8);
            bits.sliced().iter().copied().take(bytes).collect()
        })),
        Values::Fixed(width, bytes) => {
            plain(pages.build(|span| bytes.get(span.start * width..span.end * width).unwrap_or_default().to_vec()))
        }
        Values::Bytes(values) => plain(pages.build(|span| {
            let values = values.get(span).unwrap_or_default();
            let mut out = Vec::new();
            for value in values {
                out.extend((value.len() as u32).to_le_bytes());
                out.extend_from_slice(value);
            }
            out
        })),
    }
}

fn chunk_of_words<W: Word>(words: &[W], pages: &Pages, level: i32) -> Chunk {
    let packed = |bytes: &[u8]| zstandard::compress(bytes, level).map_or(usize::MAX, |p| p.len());
    let smaller_split = |sample: &[W]| packed(&word::split(sample)) < packed(sample.to_byte_slice());
    word_chunk(words, encoding::for_words(words, smaller_split), pages, |_, _| ())
}

/// Encodes fixed-width values as `coding` says; `delta` is there for integers only.
fn word_chunk<W: Word>(words: &[W], coding: Coding<W>, pages: &Pages, delta: impl Fn(&[W], &mut Vec<u8>)) -> Chunk {
    let words = |span| words.get(span).unwrap_or_default();
    let (encoding, dictionary, pages) = match coding {
        Coding::Plain => {
            let pages = pages.build(|span| words(span).to_byte_slice().to_vec());
            (Encoding::PLAIN, None, pages)
        }
        Coding::Split => {
            let pages = pages.build(|span| word::split(words(span)));
            (Encoding::BYTE_STREAM_SPLIT, None, pages)
        }
        Coding::Delta => {
            let pages = pages.build(|span| {
                let mut out = Vec::new();
                delta(words(span), &mut out);
                out
            });
            (Encoding::DELTA_BINARY_PACKED, None, pages)
        }
        Coding::Dictionary(dictionary) => {
            let width = dictionary.width();
            let pages = pages.build(|span| {
                let mut out = vec![width as u8];
                let indices = dictionary.indices.get(span).unwrap_or_default();
                hybrid::write(indices, width, &mut out);
                out
            });
            let entries = dictionary.entries.to_byte_slice().to_vec();
            let count = dictionary.entries.len();
            (Encoding::RLE_DICTIONARY, Some((entries, count)), pages)
        }
    };
    Chunk { encoding, dictionary, pages }
}
