//! The journals.

#[path = "../../src/manifest/journal/mod.rs"]
mod journal;
#[path = "../../src/manifest/record.rs"]
mod record;

pub use journal::Journal;
pub use record::*;

/// How many records a journal has.
pub fn records(path: &std::path::Path) -> usize {
    let mut count = 0;
    let reader = journal::Reader::open(&crate::disk::SystemDisk, path, 0).expect("it was just written");
    let read = reader.records(|_| {
        count += 1;
        Ok(())
    });
    read.expect("nobody refuses a record").1.expect("it can be read");
    count
}
