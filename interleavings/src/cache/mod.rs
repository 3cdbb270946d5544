//! Single flight and the memory tier.

#[path = "../../../src/cache/flight.rs"]
pub mod flight;
#[path = "../../../src/cache/memory.rs"]
pub mod memory;
