//! Writing the pages of one column chunk.

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ColumnChunkMetaDataBuilder};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::error::EncodeError;
use super::zstandard;

/// The values of a column chunk, encoded and not yet compressed.
pub(super) struct Chunk {
    /// Encoding of the data pages.
    pub(super) encoding: Encoding,
    /// Distinct values in PLAIN, and how many, if `encoding` refers to them.
    pub(super) dictionary: Option<(Vec<u8>, usize)>,
    /// At least one.
    pub(super) pages: Vec<DataPage>,
}

/// One data page.
pub(super) struct DataPage {
    /// Rows, nulls among them.
    pub(super) rows: usize,
    /// Rows that are null.
    pub(super) nulls: usize,
    /// Definition levels; empty where the column is not nullable.
    pub(super) levels: Vec<u8>,
    /// The values that are not null.
    pub(super) values: Vec<u8>,
}

/// Where pages go: the file in memory, which counts its own offsets.
pub(super) type Sink = TrackedWrite<Vec<u8>>;

impl Chunk {
    /// Writes the pages and says where they are.
    pub(super) fn write(
        self,
        column: ColumnDescPtr,
        level: i32,
        sink: &mut Sink,
    ) -> Result<ColumnChunkMetaDataBuilder, EncodeError> {
        let packed = Packed::of(&self, level)?;
        let mut written = Written::default();
        let start = sink.bytes_written();
        if let Some((plain, count)) = self.dictionary {
            let size = plain.len();
            let page = Page::DictionaryPage {
                buf: packed.dictionary.unwrap_or(plain).into(),
                num_values: count_of(count)?,
                encoding: Encoding::PLAIN,
                is_sorted: false,
            };
            written.add(CompressedPage::new(page, size), sink)?;
        }
        let data = sink.bytes_written();
        let mut compressed = packed.pages.into_iter();
        let mut rows = 0;
        for page in self.pages {
            rows += page.rows;
            written.add(page.finish(self.encoding, compressed.next())?, sink)?;
        }
        let compression = match packed.pays {
            true => Compression::ZSTD(ZstdLevel::try_new(level)?),
            false => Compression::UNCOMPRESSED,
        };
        Ok(ColumnChunkMetaData::builder(column)
            .set_compression(compression)
            .set_encodings(vec![Encoding::PLAIN, Encoding::RLE, self.encoding])
            .set_num_values(rows as i64)
            .set_total_compressed_size(written.compressed as i64)
            .set_total_uncompressed_size(written.uncompressed as i64)
            .set_dictionary_page_offset((data > start).then_some(start as i64))
            .set_data_page_offset(data as i64))
    }
}

impl DataPage {
    /// The page as it is written, with `compressed` in place of its values.
    fn finish(mut self, encoding: Encoding, compressed: Option<Vec<u8>>) -> Result<CompressedPage, EncodeError> {
        let levels = count_of(self.levels.len())?;
        let size = self.levels.len() + self.values.len();
        // A page of nulls alone holds no frame: readers differ on an empty one.
        let compressed = compressed.filter(|_| !self.values.is_empty());
        let is_compressed = compressed.is_some();
        self.levels.append(&mut compressed.unwrap_or(self.values));
        let page = Page::DataPageV2 {
            buf: Bytes::from(self.levels),
            num_values: count_of(self.rows)?,
            encoding,
            num_nulls: count_of(self.nulls)?,
            num_rows: count_of(self.rows)?,
            def_levels_byte_len: levels,
            rep_levels_byte_len: 0,
            is_compressed,
            statistics: None,
        };
        Ok(CompressedPage::new(page, size))
    }
}

/// A chunk's pages in zstd, if that pays for the chunk as a whole.
struct Packed {
    pays: bool,
    dictionary: Option<Vec<u8>>,
    pages: Vec<Vec<u8>>,
}

impl Packed {
    /// Compresses a chunk, and drops the result if it saves less than an eighth.
    ///
    /// A saving of a few percent comes from entropy coding alone, and undoing
    /// that costs more time than all other work on the column together. Keeping
    /// it per page was rejected: a dictionary page has no flag of its own.
    fn of(chunk: &Chunk, level: i32) -> Result<Self, EncodeError> {
        let dictionary = chunk.dictionary.as_ref();
        let dictionary = dictionary.map(|(plain, _)| zstandard::compress(plain, level));
        let dictionary = dictionary.transpose()?;
        let pages = chunk.pages.iter().map(|page| zstandard::compress(&page.values, level));
        let pages = pages.collect::<Result<Vec<_>, _>>()?;
        let before = chunk.dictionary.as_ref().map_or(0, |(plain, _)| plain.len())
            + chunk.pages.iter().map(|page| page.values.len()).sum::<usize>();
        let after = dictionary.as_ref().map_or(0, Vec::len) + pages.iter().map(Vec::len).sum::<usize>();
        if after <= before - before / LEAST_SAVING {
            Ok(Self { pays: true, dictionary, pages })
        } else {
            Ok(Self { pays: false, dictionary: None, pages: Vec::new() })
        }
    }
}

/// The part of a chunk that zstd has to save.
const LEAST_SAVING: usize = 8;

/// Totals over the pages of a chunk, headers included.
#[derive(Default)]
struct Written {
    compressed: u64,
    uncompressed: u64,
}

impl Written {
    fn add(&mut self, page: CompressedPage, sink: &mut Sink) -> Result<(), ParquetError> {
        let spec = SerializedPageWriter::new(sink).write_page(page)?;
        self.compressed += spec.compressed_size as u64;
        self.uncompressed += spec.uncompressed_size as u64;
        Ok(())
    }
}

fn count_of(count: usize) -> Result<u32, ParquetError> {
    u32::try_from(count).map_err(|error| ParquetError::External(Box::new(error)))
}
