//! The footer: Parquet's metadata at the end of the file.

use arrow::datatypes::{Field, Schema, SchemaRef};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema, parquet_to_arrow_schema};
use parquet::file::metadata::{
    FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader, ParquetMetaDataWriter,
    ParquetStatisticsPolicy, RowGroupMetaData,
};
use parquet::schema::types::SchemaDescPtr;

use super::error::EncodeError;
use super::pages::Sink;
use super::seal::{HEADER, MAGIC};
use super::{BlockError, Description};

const CREATED_BY: &str = concat!("larder version ", env!("CARGO_PKG_VERSION"));
/// Parquet's own format version; 2 stands for data pages of version 2.
const PARQUET_VERSION: i32 = 2;

/// Ends the file that `sink` holds.
pub(super) fn write(
    groups: Vec<RowGroupMetaData>,
    parquet: SchemaDescPtr,
    schema: &Schema,
    description: &[(String, String)],
    sink: Sink,
) -> Result<Vec<u8>, EncodeError> {
    let rows = groups.iter().map(RowGroupMetaData::num_rows).sum();
    // Other readers need it for what Parquet cannot say: the name of a time
    // zone, seconds.
    let arrow = KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encode_arrow_schema(schema));
    let pairs = description.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let pairs = std::iter::once(arrow).chain(pairs).collect();
    let created_by = Some(CREATED_BY.to_owned());
    let file = FileMetaData::new(PARQUET_VERSION, rows, created_by, Some(pairs), parquet, None);
    let metadata = ParquetMetaData::new(file, groups);
    let mut sink = sink;
    // The writer starts counting anew, which is right as long as there is no
    // page index, the only part of the footer that holds offsets of its own.
    ParquetMetaDataWriter::new(&mut sink, &metadata).finish()?;
    Ok(sink.into_inner()?)
}

/// A footer that was read.
pub(super) struct Footer {
    metadata: ParquetMetaData,
    /// Offset of its first byte: no page reaches past it.
    pub(super) start: usize,
}

impl Footer {
    /// Reads the footer of a file whose seal holds.
    pub(super) fn read(file: &[u8]) -> Result<Self, BlockError> {
        let cut = || BlockError::corrupt("its footer does not fit the file");
        let body = file.strip_suffix(&MAGIC).ok_or_else(cut)?;
        let (body, length) = body.split_last_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_le_bytes(*length) as usize;
        let start = body.len().checked_sub(length).filter(|start| *start >= HEADER);
        let start = start.ok_or_else(cut)?;
        let bytes = body.get(start..).ok_or_else(cut)?;
        let options = ParquetMetaDataOptions::new()
            .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
            .with_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll)
            .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll);
        let metadata = ParquetMetaDataReader::decode_metadata_with_options(bytes, Some(&options))
            .map_err(|error| BlockError::corrupt(format!("its footer: {error}")))?;
        Ok(Self { metadata, start })
    }

    /// The row groups.
    pub(super) fn groups(&self) -> &[RowGroupMetaData] {
        self.metadata.row_groups()
    }

    /// Rows of the block: what its row groups add up to and the footer says.
    pub(super) fn rows(&self) -> Result<usize, BlockError> {
        let lied = || BlockError::corrupt("its row counts do not add up");
        let mut sum = 0usize;
        for group in self.groups() {
            let rows = usize::try_from(group.num_rows()).map_err(|_| lied())?;
            sum = sum.checked_add(rows).ok_or_else(lied)?;
        }
        let said = usize::try_from(self.metadata.file_metadata().num_rows()).ok();
        (said == Some(sum)).then_some(sum).ok_or_else(lied)
    }

    /// What the writer was given as the description, in that order.
    pub(super) fn description(&self) -> Description {
        let pairs = self.metadata.file_metadata().key_value_metadata();
        let pairs = pairs.into_iter().flatten().filter(|pair| pair.key != ARROW_SCHEMA_META_KEY);
        pairs.map(|pair| (pair.key.clone(), pair.value.clone().unwrap_or_default())).collect()
    }

    /// The Arrow schema of the block.
    pub(super) fn schema(&self) -> Result<Schema, BlockError> {
        let file = self.metadata.file_metadata();
        let arrow = file.key_value_metadata().into_iter().flatten();
        let arrow = arrow.filter(|pair| pair.key == ARROW_SCHEMA_META_KEY).cloned().collect();
        parquet_to_arrow_schema(file.schema_descr(), Some(&arrow))
            .map_err(|error| BlockError::corrupt(format!("its schema: {error}")))
    }

    /// Holds the block's schema against the declared one: names, types,
    /// nullability and order. Metadata of fields is not compared.
    pub(super) fn expect(&self, declared: &SchemaRef) -> Result<(), BlockError> {
        let found = self.schema()?;
        let longest = found.fields().len().max(declared.fields().len());
        for at in 0..longest {
            let (found, declared) = (found.fields().get(at), declared.fields().get(at));
            let same = match (found, declared) {
                (Some(found), Some(declared)) => same(found, declared),
                _ => false,
            };
            if !same {
                return Err(mismatch(found.map(AsRef::as_ref), declared.map(AsRef::as_ref)));
            }
        }
        Ok(())
    }
}

fn same(found: &Field, declared: &Field) -> bool {
    found.name() == declared.name()
        && found.data_type() == declared.data_type()
        && found.is_nullable() == declared.is_nullable()
}

/// Names the declared column, or the one too many.
fn mismatch(found: Option<&Field>, declared: Option<&Field>) -> BlockError {
    let column = declared.or(found).map(|field| field.name().clone()).unwrap_or_default();
    let words = |field: Option<&Field>| match field {
        None => "absent".to_owned(),
        Some(field) => {
            let null = if field.is_nullable() { "nullable" } else { "not null" };
            let kind = format!("{} {null}", field.data_type());
            if *field.name() == column { kind } else { format!("column {:?} ({kind})", field.name()) }
        }
    };
    BlockError::Schema { found: words(found), declared: words(declared), column }
}
