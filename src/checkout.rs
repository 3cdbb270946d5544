//! Where the files of this checkout are, for tests.

use std::path::{Path, PathBuf};

/// A path below the directory of `Cargo.toml`.
///
/// Cargo says at run time which that is: of two checkouts with one build folder, each reads its own files.
pub fn path(below: impl AsRef<Path>) -> PathBuf {
    let root = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(root).join(below)
}
