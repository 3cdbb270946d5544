//! A source that is opened when it is needed first.

use std::sync::{Arc, Mutex, PoisonError};

use crate::definition::{Environment, SourceDefinition};
use crate::error::Result;
use crate::source::Reader;

/// A source that is opened when it is needed first, so that one that is away harms only those who need it.
pub(super) struct Opening {
    pub(super) definition: SourceDefinition,
    environment: Environment,
    reader: Mutex<Option<Arc<Reader>>>,
}

impl Opening {
    pub(super) fn new(definition: SourceDefinition, environment: Environment) -> Self {
        Self { definition, environment, reader: Mutex::default() }
    }

    /// A reader that knows the files as they are now. Where they cannot be opened, the one before stays.
    pub(super) fn reopen(&self) -> Result<Arc<Reader>> {
        let reader = Arc::new(Reader::open(&self.definition, &self.environment)?);
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&reader));
        Ok(reader)
    }

    pub(super) fn reader(&self) -> Result<Arc<Reader>> {
        let mut opened = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = &*opened {
            return Ok(Arc::clone(reader));
        }
        let reader = Arc::new(Reader::open(&self.definition, &self.environment)?);
        Ok(Arc::clone(opened.insert(reader)))
    }
}
