//! Publishing and invalidating, on files that are steps.

#[expect(clippy::explicit_auto_deref, reason = "larder's disk is behind a trait")]
#[path = "../../../src/store/blocks.rs"]
mod blocks;
mod directory;
#[path = "../../../src/store/escape.rs"]
mod escape;
mod files;
mod generations;
#[path = "../../../src/store/layout.rs"]
mod layout;
mod locks;

pub use directory::{CacheDir, Machine};
pub use files::{FoundFile, Publish};
pub use generations::{Generation, Slots};
pub use layout::{PathIdentity, block_path, identity_of};
