//! What is in a cache and how it is doing: facts for the program and the status page, none of them for a
//! request.

mod blocks;
mod slo;
mod text;

pub use blocks::{BlockFacts, BlocksFacts, BlocksRequest, MOST_BLOCKS, blocks};
pub use slo::{Requests, SloFacts};
