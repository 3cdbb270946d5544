//! Block files, pushed rows, locks and generations: everything of a cache directory except the manifest.

mod blocks;
mod directory;
mod escape;
pub(crate) mod files;
#[cfg(test)]
mod fuzz;
mod generations;
mod layout;
mod locks;
mod pushed;
#[cfg(feature = "definitions")]
mod readers;
mod root;
mod staging;

pub use blocks::Published;
pub use directory::CacheDir;
pub use files::{FoundFile, Publish};
pub use generations::{Generation, Slots};
pub use layout::{PathIdentity, block_path, identity_of};
pub use locks::{RebuildGuard, StripeGuard};
pub use pushed::{PushIntent, PushedFile};
