//! Reading the pages of one column.
//!
//! Every claim of a page is held against the row counts and the bytes at hand:
//! a right checksum proves that a block is whole, not that its writer was honest.

use arrow::array::{ArrayRef, BooleanBufferBuilder};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Field;
use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{Page, PageReader};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;

use super::layout::Layout;
use super::limits::{Budget, PAGE_BYTES};
use super::seal::HEADER;
use super::values::Collected;
use super::word::{self, Word};
use super::{BlockError, delta, hybrid, zstandard};

/// Why a page cannot be read.
type Refusal = &'static str;

/// Collects one column from all row groups.
pub(super) struct Reader<'a> {
    field: &'a Field,
    layout: Layout,
    rows: usize,
    valid: Option<BooleanBufferBuilder>,
    values: Collected,
    budget: &'a mut Budget,
}

impl<'a> Reader<'a> {
    /// A reader of `rows` rows, which the caller has taken from `budget`.
    pub(super) fn new(field: &'a Field, layout: Layout, rows: usize, budget: &'a mut Budget) -> Self {
        let valid = field.is_nullable().then(|| BooleanBufferBuilder::new(rows));
        Self { field, layout, rows, valid, values: Collected::with_room(layout, rows), budget }
    }

    /// Reads column `at` of one row group; pages end before `end`.
    pub(super) fn read(
        &mut self,
        file: &Bytes,
        end: usize,
        group: &RowGroupMetaData,
        at: usize,
    ) -> Result<(), BlockError> {
        let chunk = group.columns().get(at).ok_or_else(|| self.refuse("it is not there"))?;
        let compressed = check_chunk(chunk, self.layout, end).map_err(|why| self.refuse(why))?;
        // The library would make a zstd context per column; told that nothing
        // is compressed, it hands out the pages as they are.
        let raw = chunk.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build();
        let raw = raw.map_err(|error| BlockError::column(self.field.name(), error))?;
        let pages = SerializedPageReader::new(file.clone().into(), &raw, self.rows, None);
        let mut pages = pages.map_err(|error| BlockError::column(self.field.name(), error))?;
        let mut dictionary = Dictionary::None;
        let mut left = usize::try_from(group.num_rows()).unwrap_or_default();
        while let Some(page) = next(&mut pages, self.field)? {
            match page {
                Page::DictionaryPage { buf, num_values, encoding: Encoding::PLAIN, .. } => {
                    dictionary =
                        content(&buf, compressed, |plain| Dictionary::read(plain, num_values as usize, self.layout))
                            .and_then(|read| read)
                            .map_err(|why| self.refuse(why))?;
                }
                page => {
                    let page = DataPage::of(page).map_err(|why| self.refuse(why))?;
                    left = left.checked_sub(page.rows).ok_or_else(|| self.refuse(ROWS))?;
                    self.page(&page, compressed, &dictionary)?;
                }
            }
        }
        if left > 0 { Err(self.refuse(ROWS)) } else { Ok(()) }
    }

    fn page(&mut self, page: &DataPage, compressed: bool, dictionary: &Dictionary) -> Result<(), BlockError> {
        let (levels, values) = page.bytes.split_at(page.levels);
        let wanted = page.rows.checked_sub(page.nulls).ok_or_else(|| self.refuse(ROWS))?;
        self.levels(levels, page).map_err(|why| self.refuse(why))?;
        let before = self.values.len();
        let values_of = &mut self.values;
        let budget = &mut *self.budget;
        let layout = self.layout;
        content(values, compressed && page.is_compressed, |values| {
            if layout == Layout::Bytes {
                budget.take(values.len()).map_err(|_| "it holds more than a block may")?;
            }
            let read = append(values, page.encoding, wanted, dictionary, layout, values_of);
            read.ok_or("a page does not hold what it says")
        })
        .and_then(|read| read)
        .map_err(|why| self.refuse(why))?;
        if self.values.len() - before == wanted { Ok(()) } else { Err(self.refuse(ROWS)) }
    }

    fn levels(&mut self, levels: &[u8], page: &DataPage) -> Result<(), Refusal> {
        let Some(valid) = &mut self.valid else {
            let none = levels.is_empty() && page.nulls == 0;
            return none.then_some(()).ok_or("it has nulls and may not");
        };
        hybrid::read_levels(levels, page.rows, valid).ok_or("its nulls do not fit its rows")
    }

    /// The column, once all row groups are read.
    pub(super) fn finish(self) -> Result<ArrayRef, BlockError> {
        let refuse = |why: &str| BlockError::column(self.field.name(), why);
        let nulls = self.valid.map(|mut valid| NullBuffer::new(valid.finish()));
        let valid = nulls.as_ref().map_or(self.rows, |nulls| nulls.len() - nulls.null_count());
        if valid != self.values.len() {
            return Err(refuse(ROWS));
        }
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        let array = self.values.finish(self.field.data_type(), nulls);
        array.map_err(|why| refuse(&why))
    }

    fn refuse(&self, why: Refusal) -> BlockError {
        BlockError::column(self.field.name(), why)
    }
}

const ROWS: Refusal = "its pages and its row counts do not agree";

/// Holds what the footer says of a chunk; `true` if its pages are compressed.
fn check_chunk(chunk: &ColumnChunkMetaData, layout: Layout, end: usize) -> Result<bool, Refusal> {
    let descr = chunk.column_descr();
    let width = match layout {
        Layout::Decimal(width) => descr.type_length() == width as i32,
        _ => true,
    };
    if descr.physical_type() != layout.physical() || !width || descr.max_rep_level() != 0 {
        return Err("its Parquet type is not the one of its Arrow type");
    }
    let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    let range = usize::try_from(start).ok().zip(usize::try_from(chunk.compressed_size()).ok());
    let inside =
        |(start, len): &(usize, usize)| *start >= HEADER && start.checked_add(*len).is_some_and(|last| last <= end);
    range.filter(inside).ok_or("its pages lie outside the file")?;
    match chunk.compression() {
        Compression::UNCOMPRESSED => Ok(false),
        Compression::ZSTD(_) => Ok(true),
        _ => Err("it is compressed by something other than zstd"),
    }
}

fn next(pages: &mut SerializedPageReader<Bytes>, field: &Field) -> Result<Option<Page>, BlockError> {
    pages.get_next_page().map_err(|error| BlockError::column(field.name(), error))
}

/// A data page of version 2 whose sizes fit.
struct DataPage {
    rows: usize,
    nulls: usize,
    encoding: Encoding,
    is_compressed: bool,
    levels: usize,
    bytes: Bytes,
}

impl DataPage {
    fn of(page: Page) -> Result<Self, Refusal> {
        match page {
            Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                num_nulls,
                num_rows,
                def_levels_byte_len,
                rep_levels_byte_len: 0,
                is_compressed,
                ..
            } if num_values == num_rows && def_levels_byte_len as usize <= buf.len() => Ok(Self {
                rows: num_rows as usize,
                nulls: num_nulls as usize,
                encoding,
                is_compressed,
                levels: def_levels_byte_len as usize,
                bytes: buf,
            }),
            _ => Err("it has a page that format version 1 does not have"),
        }
    }
}

/// Hands the content of a page to `read`.
fn content<T>(bytes: &[u8], compressed: bool, read: impl FnOnce(&[u8]) -> T) -> Result<T, Refusal> {
    if compressed { zstandard::with_decompressed(bytes, PAGE_BYTES, read) } else { Ok(read(bytes)) }
}

/// The distinct values that the data pages of a chunk refer to.
enum Dictionary {
    None,
    Words4(Vec<u32>),
    Words8(Vec<u64>),
}

impl Dictionary {
    fn read(plain: &[u8], count: usize, layout: Layout) -> Result<Self, Refusal> {
        fn words<W: Word>(plain: &[u8], count: usize) -> Option<Vec<W>> {
            let mut words = Vec::with_capacity(plain.len() / W::BYTES);
            (W::plain(plain, &mut words) && words.len() == count).then_some(words)
        }
        let read = match layout.physical() {
            parquet::basic::Type::INT32 | parquet::basic::Type::FLOAT => words(plain, count).map(Self::Words4),
            parquet::basic::Type::INT64 | parquet::basic::Type::DOUBLE => words(plain, count).map(Self::Words8),
            _ => None,
        };
        read.ok_or("its dictionary does not hold what it says")
    }
}

/// Appends `wanted` values to `out`; `None` if the page does not hold them.
fn append(
    page: &[u8],
    encoding: Encoding,
    wanted: usize,
    dictionary: &Dictionary,
    layout: Layout,
    out: &mut Collected,
) -> Option<()> {
    match (out, encoding, dictionary) {
        (Collected::Words4(out), Encoding::RLE_DICTIONARY, Dictionary::Words4(entries)) => {
            look_up(page, wanted, entries, out)
        }
        (Collected::Words8(out), Encoding::RLE_DICTIONARY, Dictionary::Words8(entries)) => {
            look_up(page, wanted, entries, out)
        }
        (Collected::Words4(out), _, _) => words(page, encoding, wanted, out),
        (Collected::Words8(out), Encoding::DELTA_BINARY_PACKED, _) => delta::read(page, wanted, out),
        (Collected::Words8(out), _, _) => words(page, encoding, wanted, out),
        (_, encoding, _) if encoding != Encoding::PLAIN => None,
        (Collected::Bits(out), _, _) => {
            let fits = page.len() == wanted.div_ceil(8);
            fits.then(|| out.append_packed_range(0..wanted, page))
        }
        (Collected::Fixed(out), _, _) => match layout {
            Layout::Decimal(width) => decimals(page, width, wanted, out),
            _ => None,
        },
        (Collected::Bytes { offsets, data }, _, _) => byte_arrays(page, wanted, offsets, data),
    }
}

fn words<W: Word>(page: &[u8], encoding: Encoding, wanted: usize, out: &mut Vec<W>) -> Option<()> {
    let whole = wanted.checked_mul(W::BYTES) == Some(page.len());
    match encoding {
        Encoding::PLAIN => (whole && W::plain(page, out)).then_some(()),
        Encoding::BYTE_STREAM_SPLIT => (whole && word::join(page, out)).then_some(()),
        _ => None,
    }
}

fn look_up<W: Word>(page: &[u8], wanted: usize, entries: &[W], out: &mut Vec<W>) -> Option<()> {
    let (width, packed) = page.split_first()?;
    let width = usize::from(*width);
    if !(1..=32).contains(&width) {
        return None;
    }
    let mut indices = Vec::new();
    hybrid::read(packed, width, wanted, &mut indices)?;
    // Looking for the largest index vectorises, and leaves the loop below free
    // of a way out.
    let most = indices.iter().copied().max();
    if most.is_some_and(|most| most as usize >= entries.len()) {
        return None;
    }
    let of = |index: &u32| entries.get(*index as usize).copied().unwrap_or_default();
    out.extend(indices.iter().map(of));
    Some(())
}

fn decimals(page: &[u8], width: usize, wanted: usize, out: &mut Vec<i128>) -> Option<()> {
    if wanted.checked_mul(width)? != page.len() {
        return None;
    }
    for value in page.chunks_exact(width) {
        let negative = value.first().is_some_and(|byte| *byte >= 0x80);
        let start = if negative { -1i128 } else { 0 };
        out.push(value.iter().fold(start, |all, byte| (all << 8) | i128::from(*byte)));
    }
    Some(())
}

fn byte_arrays(page: &[u8], wanted: usize, offsets: &mut Vec<i32>, data: &mut Vec<u8>) -> Option<()> {
    let mut page = page;
    for _ in 0..wanted {
        let (length, rest) = page.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        page = rest;
        data.extend_from_slice(value);
        offsets.push(i32::try_from(data.len()).ok()?);
    }
    page.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn a_column_that_may_have_no_nulls_has_neither_nulls_nor_levels() {
        let page = |nulls| DataPage {
            rows: 8,
            nulls,
            encoding: Encoding::PLAIN,
            is_compressed: false,
            levels: 0,
            bytes: Bytes::new(),
        };
        let (field, mut budget) = (Field::new("x", DataType::Int64, false), Budget::new());
        let mut reader = Reader::new(&field, Layout::of(field.data_type()).unwrap(), 8, &mut budget);
        reader.levels(&[], &page(0)).unwrap();
        assert_eq!(reader.levels(&[], &page(1)), Err("it has nulls and may not"));
        assert_eq!(reader.levels(&[8 << 1, 1], &page(0)), Err("it has nulls and may not"));
    }
}
