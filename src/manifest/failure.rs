//! What a failure of DuckDB means for us: pure.

use std::path::Path;

use crate::error::{Error, ErrorKind};

/// Parts of messages that say the file is held by another process.
const LOCKED: &[&str] = &["Could not set lock on file"];

/// Parts of messages that say a newer or foreign DuckDB wrote the file. It is not damaged: hands off.
const FOREIGN: &[&str] = &[
    "storage version number",
    "Unsupported Storage Version",
    "Serialization Version",
    "vector size is",
    "Cannot open encrypted database",
    "Failed to read WAL of version",
];

/// Parts of messages that say the disk, memory or permissions are at fault, whatever else they say:
/// a failed write makes DuckDB call the database invalid, which a damaged file does as well.
const ENVIRONMENT: &[&str] = &[
    "Could not write",
    "Could not fsync",
    "fsync failed",
    "Could not truncate",
    "Could not rename",
    "Could not remove",
    "Cannot open file",
    "Failed to get stats",
    "Could not read from file",
    "Out of Memory Error",
    "No space left on device",
    "Read-only file system",
    "Permission denied",
    "read-only mode",
    "Permission Error",
];

/// Parts of messages that say the bytes on disk are wrong.
const DAMAGE: &[&str] = &[
    "not a valid DuckDB database file",
    "orrupt",
    "checksum",
    "Could not read enough bytes",
    "Serialization Error",
    "INTERNAL Error",
    "FATAL Error",
    "WAL",
    "database has been invalidated",
];

/// The error for a failed call of DuckDB while it was `doing` something with the file at `path`.
///
/// DuckDB hands on a text and no class, so the text decides. `Corrupt` means: set the file aside.
/// Whatever is not understood is `Internal`, because setting a good file aside loses history.
pub(super) fn classify(path: &Path, doing: &str, error: duckdb::Error) -> Error {
    let text = error.to_string();
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let file = path.display();
    if says(LOCKED) {
        return held(path);
    }
    let (kind, message) = if says(FOREIGN) {
        let what = "was written by a newer or foreign DuckDB and is left untouched: use the newest larder here";
        (ErrorKind::Unavailable, format!("manifest {file} {what}"))
    } else if says(ENVIRONMENT) {
        (ErrorKind::Unavailable, format!("manifest {file} cannot be used ({doing}): check disk, memory and owner"))
    } else if says(DAMAGE) {
        (ErrorKind::Corrupt, format!("manifest {file} is damaged ({doing}): run `larder repair`"))
    } else if says(&["IO Error"]) {
        (ErrorKind::Unavailable, format!("manifest {file} cannot be used ({doing}): check disk and owner"))
    } else {
        (ErrorKind::Internal, format!("manifest {file}: {doing} failed"))
    };
    // Its first line alone: advice for users of DuckDB follows, and a cause that only says "unknown".
    Error::with_source(kind, message, text.lines().next().unwrap_or_default())
}

/// The error for a manifest that another process has open.
pub(super) fn held(path: &Path) -> Error {
    Error::new(
        ErrorKind::Busy,
        format!("manifest {} is open in another program: close it there, or retry", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_duckdb_decide_what_to_do() {
        let cases = [
            ("IO Error: Could not set lock on file \"m\": Conflicting lock is held in x (PID 7)", ErrorKind::Busy),
            ("IO Error: Trying to read a database file with storage version number 99", ErrorKind::Unavailable),
            ("IO Error: Could not write file \"m\": No space left on device", ErrorKind::Unavailable),
            ("FATAL Error: database has been invalidated: Could not write file \"m\"", ErrorKind::Unavailable),
            ("IO Error: Could not read from file \"m\": Input/output error", ErrorKind::Unavailable),
            ("IO Error: something quite new", ErrorKind::Unavailable),
            ("Data Corruption Error: Corrupt database file: computed checksum 1", ErrorKind::Corrupt),
            ("IO Error: Could not read enough bytes from file \"m\"", ErrorKind::Corrupt),
            ("IO Error: The file \"m\" exists, but it is not a valid DuckDB database file!", ErrorKind::Corrupt),
            ("Binder Error: Referenced column \"x\" not found", ErrorKind::Internal),
        ];
        for (text, kind) in cases {
            let error = duckdb::Error::DuckDBFailure(duckdb::ffi::Error::new(1), Some(text.to_owned()));
            let error = classify(Path::new("/cache/manifest.duckdb"), "folding", error);
            assert_eq!(error.kind(), kind, "{text}");
            assert!(error.to_string().contains("/cache/manifest.duckdb"), "{error}");
        }
    }
}
