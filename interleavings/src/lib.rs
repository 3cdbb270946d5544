//! Larder's own sources, with other things to wait with: [shuttle](https://docs.rs/shuttle) decides after each step which
//! thread goes on, and tries many orders, each of which it can repeat.
//!
//! Single flight (`src/cache/flight.rs`), the memory tier (`src/cache/memory.rs`) and the protocol of publishing and
//! invalidating (`src/store/blocks.rs`) are the very files that larder is made of. Locks, counters and files are made here:
//! of each file every change is a step, and a power cut or a process that is killed is none of them. Every step is seen by
//! all at once: what weaker orderings of memory allow is not tried.

#![allow(dead_code, unused_imports, reason = "a part of larder, of which a part is used")]

pub mod cache;
#[path = "../../src/error.rs"]
pub mod error;
#[path = "../../src/model/mod.rs"]
pub mod model;
pub mod planted;
pub mod store;
mod sync;
