//! What can go wrong between a record batch and the bytes of a block.

use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use parquet::errors::ParquetError;

/// Why a batch could not become a block, or bytes not a batch.
///
/// No variant names the file: the codec sees bytes, and whoever read them adds
/// the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The bytes are not a whole, undamaged block. Set the file aside and compute again.
    #[error("not an undamaged block: {why}")]
    Corrupt {
        /// The first thing that did not hold.
        why: String,
    },

    /// An undamaged block of a later format. It is no damage: leave the file to
    /// the version that wrote it and treat the request as a miss.
    #[error("block has format version {found}, this version reads up to {supported}")]
    NewerFormat {
        /// Version in the block.
        found: u8,
        /// Latest version this code reads.
        supported: u8,
    },

    /// The block is sound and holds another schema than the caller declared.
    #[error("column {column:?} is {found}, declared {declared}")]
    Schema {
        /// First column that differs.
        column: String,
        /// What the block holds: type and nullability, `absent`, or its position.
        found: String,
        /// What the caller declared, in the same words.
        declared: String,
    },

    /// A column's type has no place in format version 1.
    #[error("column {column:?} is {data_type}, which a block cannot hold")]
    Unsupported {
        /// Name of the column.
        column: String,
        /// Its type.
        data_type: DataType,
    },

    /// A description key that the format keeps for itself.
    #[error("description key {key:?} is reserved for the file format")]
    ReservedKey {
        /// The key.
        key: String,
    },

    /// More than a block may hold; split the batch. What cannot be encoded
    /// cannot be decoded either, so that no file makes a reader allocate more.
    #[error("{what} is {found}, a block holds at most {limit}")]
    TooLarge {
        /// What was measured, with its unit.
        what: String,
        /// The measure.
        found: usize,
        /// The most that is allowed.
        limit: usize,
    },

    /// Writing failed below this codec.
    #[error("cannot encode block")]
    Encode {
        /// The failure.
        #[from]
        source: EncodeError,
    },
}

/// A failure of the libraries beneath the encoder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The Parquet library refused the schema, a page or the footer.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    /// zstd refused a level or a page.
    #[error("zstd: {0}")]
    Zstd(#[from] std::io::Error),
}

impl BlockError {
    /// Damage, in words: `why` completes "not an undamaged block: …".
    pub(super) fn corrupt(why: impl Into<String>) -> Self {
        Self::Corrupt { why: why.into() }
    }

    /// Damage in one column.
    pub(super) fn column(column: &str, why: impl std::fmt::Display) -> Self {
        Self::corrupt(format!("column {column:?}: {why}"))
    }

    /// A failure of the Parquet library while encoding.
    pub(super) fn parquet(source: ParquetError) -> Self {
        EncodeError::from(source).into()
    }
}

/// While decoding, whatever the libraries refuse is damage.
impl From<ArrowError> for BlockError {
    fn from(error: ArrowError) -> Self {
        Self::corrupt(error.to_string())
    }
}
