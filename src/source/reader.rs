//! The rows of a range, the entities, the newest row.

use std::collections::BTreeSet;

use arrow::datatypes::SchemaRef;

use super::file::SourceFile;
use super::rows::Rows;
use crate::definition::{EntityDefinition, Environment, SourceDefinition};
use crate::error::{Error, Result};
use crate::model::{EntityKey, TimeRange, Timestamp};

/// Reads one source. It may be shared between threads.
#[derive(Debug)]
pub struct Reader {
    definition: SourceDefinition,
}

impl Reader {
    /// A reader of the source's files. Looks at one of them, which says what types the columns have.
    ///
    /// # Errors
    /// `NotFound` where there is no file; `Invalid` where a variable of a path is not set, a column is not in the
    /// file, or the source has no files (`postgres`, `push`); `Corrupt` where the file is damaged.
    pub fn open(definition: &SourceDefinition, _environment: &Environment) -> Result<Self> {
        Ok(Self { definition: definition.clone() })
    }

    /// What it reads.
    pub fn definition(&self) -> &SourceDefinition {
        &self.definition
    }

    /// The columns that can be asked for, under their names in the definition, with their types.
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::new(arrow::datatypes::Schema::empty())
    }

    /// The rows of `entity` with `range.start <= event time < range.end`, with these columns.
    ///
    /// # Errors
    /// `Invalid` where a column is unknown, or what the files hold is not what the definition allows; `NotFound`
    /// where all files are gone; `Corrupt` where a file is damaged; `Unavailable` where one cannot be read or keeps
    /// changing.
    pub fn read(&self, _entity: &EntityKey, _range: TimeRange, _columns: &[&str]) -> Result<Rows> {
        Err(Error::internal("not written yet"))
    }

    /// The entities that have rows in the range, whatever becomes of those.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), and `Invalid` where the rows belong to every entity.
    pub fn entities(&self, _entity: &EntityDefinition, _range: TimeRange) -> Result<BTreeSet<EntityKey>> {
        Err(Error::internal("not written yet"))
    }

    /// The event time of the newest row of an entity, or of all.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn newest(&self, _entity: Option<&EntityKey>) -> Result<Option<Timestamp>> {
        Err(Error::internal("not written yet"))
    }

    /// All files of the source, in the order in which they are read.
    ///
    /// # Errors
    /// `Unavailable` where a directory cannot be read.
    pub fn files(&self) -> Result<Vec<SourceFile>> {
        Err(Error::internal("not written yet"))
    }
}
