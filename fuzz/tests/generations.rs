//! The only unsafe code of Larder, the shared table of counters, for Miri: `cargo +nightly miri test --test generations` in
//! this directory. Without the rest of Larder, because Miri would have to compile DuckDB first. On x86 alone, an order of
//! memory that is too weak would not be seen.

#![allow(dead_code, reason = "a part of a whole")]

use larder_fuzz::{disk, model};

#[path = "../../src/store/generations.rs"]
mod generations;
