//! The one public error and what a caller should do about each kind.

use std::fmt;
use std::sync::Arc;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it was, which is what a caller acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request, view or setting is wrong. Retrying cannot help: correct it.
    Invalid,
    /// The thing asked for does not exist. Create it first, or ask for another.
    NotFound,
    /// The caller's compute failed, panicked or returned something its view does not declare.
    /// The cache is fine: mend the compute. Within the back-off the same error is answered again.
    Compute,
    /// Stored bytes are damaged. Of the cache: requests recompute by themselves; run `larder repair`. Of a source: put
    /// a whole file in the place of the one that is named.
    Corrupt,
    /// Somebody else holds what is needed. Retry after a moment.
    Busy,
    /// The disk, a directory, the manifest or a database cannot be used now. Mend the cause, then retry.
    Unavailable,
    /// Larder broke one of its own rules. Report it.
    Internal,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not found",
            Self::Compute => "compute failed",
            Self::Corrupt => "corrupt",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        })
    }
}

type Source = Arc<dyn std::error::Error + Send + Sync + 'static>;

/// What every fallible call of this crate returns.
///
/// It is cheap to clone, because everyone who waited for one compute receives its one error.
/// The message says what was wrong, with which thing, and what to do; the cause, where there is
/// one, is the [`source`](std::error::Error::source).
#[derive(Debug, Clone)]
pub struct Error(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Source>,
}

impl Error {
    /// An error of this kind with a message for a stranger.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), source: None }))
    }

    /// The same with the cause kept as its source.
    pub fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
    ) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), source: Some(Arc::from(source.into())) }))
    }

    /// What the caller should act on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        // The cause belongs to the sentence: a log line that prints only the error must name it.
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            write!(f, ": {inner}")?;
            cause = inner.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_is_the_same_error_with_its_cause() {
        let error =
            Error::with_source(ErrorKind::Unavailable, "cannot write the journal", std::io::Error::other("disk full"));
        let copy = error.clone();
        assert_eq!(copy.kind(), ErrorKind::Unavailable);
        assert_eq!(copy.to_string(), "cannot write the journal: disk full");
        assert!(std::error::Error::source(&copy).is_some());
    }
}
