//! The modules of Larder that read what others wrote, without those that need DuckDB.

#![allow(dead_code, missing_docs, unused_imports, reason = "parts of a whole")]

use std::io::Write;

#[path = "../../src/block/mod.rs"]
pub mod block;
#[path = "../../src/clock.rs"]
pub mod clock;
#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/definition/mod.rs"]
pub mod definition;
#[path = "../../src/disk/mod.rs"]
pub mod disk;
#[path = "../../src/error.rs"]
pub mod error;
#[path = "../../src/model/mod.rs"]
pub mod model;
#[path = "../../src/planted.rs"]
mod planted;
#[path = "../../src/store/mod.rs"]
pub mod store;

pub use error::{Error, ErrorKind, Result};

pub mod manifest;

/// A file with these bytes, until it is dropped.
pub fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    file
}
