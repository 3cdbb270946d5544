//! From the bytes of a block to a record batch.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, SchemaRef};
use bytes::Bytes;

use super::column::Reader;
use super::footer::Footer;
use super::layout::Layout;
use super::limits::{Budget, could_hold};
use super::{BlockError, Description, seal};

/// What a block held.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// Key-value metadata, as it was given to [`encode`](super::encode).
    pub description: Description,
    /// The rows, under the schema that was declared.
    pub batch: RecordBatch,
}

/// What a block says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Key-value metadata, as it was given to [`encode`](super::encode).
    pub description: Description,
    /// Schema of its rows.
    pub schema: SchemaRef,
    /// Number of rows.
    pub rows: usize,
}

/// Reads a block back, bit for bit.
///
/// The checksum over every byte is held first; only then is anything parsed.
///
/// # Errors
///
/// [`BlockError::Corrupt`] for any damage, [`BlockError::NewerFormat`] for a
/// sound block of a later version, [`BlockError::Schema`] if names, types,
/// nullability or order of the columns are not those of `expected`,
/// [`BlockError::TooLarge`] if it claims more than a block may hold.
pub fn decode(file: Bytes, expected: &SchemaRef) -> Result<Decoded, BlockError> {
    seal::verify(&file)?;
    let footer = Footer::read(&file)?;
    footer.expect(expected)?;
    let rows = footer.rows()?;
    let mut budget = Budget::new();
    let mut columns = Vec::with_capacity(expected.fields().len());
    for (at, field) in expected.fields().iter().enumerate() {
        let layout = layout(field)?;
        budget.take(rows.saturating_mul(layout.decoded_width()))?;
        if !could_hold(file.len(), rows) {
            return Err(BlockError::corrupt("its row counts ask for more pages than it has bytes for"));
        }
        let mut reader = Reader::new(field, layout, rows, &mut budget);
        for group in footer.groups() {
            reader.read(&file, footer.start, group, at)?;
        }
        columns.push(reader.finish()?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(expected.clone(), columns, &options)?;
    Ok(Decoded { description: footer.description(), batch })
}

fn layout(field: &Field) -> Result<Layout, BlockError> {
    Layout::of(field.data_type())
        .ok_or_else(|| BlockError::Unsupported { column: field.name().clone(), data_type: field.data_type().clone() })
}

/// Reads what a block says of itself: its checksum is held, its footer parsed,
/// its values left alone.
///
/// # Errors
///
/// As [`decode`], save that there is no schema to compare.
pub fn describe(file: &Bytes) -> Result<Described, BlockError> {
    seal::verify(file)?;
    let footer = Footer::read(file)?;
    Ok(Described { description: footer.description(), schema: footer.schema()?.into(), rows: footer.rows()? })
}
