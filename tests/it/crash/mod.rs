//! Whatever breaks, no wrong value is served and nothing that was acknowledged is lost.
//!
//! What is true is kept outside of the cache ([`world`]); processes that do all that services and operators do
//! ([`child`]) compare every answer with it.

mod child;
mod descriptors;
mod fleet;
mod kill;
mod power;
mod syscalls;
mod world;

/// How often to do something: in CI, or where `LARDER_LONG` is set, for as long as that takes.
fn times(short: u64, long: u64) -> u64 {
    if std::env::var_os("LARDER_LONG").is_some() { long } else { short }
}
