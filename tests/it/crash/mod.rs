//! Whatever breaks, no wrong value is served and nothing that was acknowledged is lost.
//!
//! What is true is kept outside of the cache ([`world`]); processes that do all that services and operators do
//! ([`child`]) compare every answer with it.

mod child;
mod clocks;
mod descriptors;
mod faulty;
mod figures;
mod fleet;
mod full;
mod jumps;
mod kill;
mod manifest;
mod many;
mod order;
mod power;
mod refused;
mod removed;
mod rotten;
mod seam;
mod slow;
mod soak;
mod stopped;
mod strace;
mod syscalls;
mod world;

/// Whether `LARDER_LONG` is set: everything is done for as long as it takes.
fn is_long() -> bool {
    std::env::var_os("LARDER_LONG").is_some()
}
