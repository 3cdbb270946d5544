//! What others may try: links and pipes in the cache, files of theirs, keys and requests that mean harm, and looking for
//! secrets. `docs/security.md` says which claim each test shows.

#[cfg(all(feature = "cli", feature = "server"))]
mod hostile_http;
#[cfg(feature = "definitions")]
mod hostile_keys;
mod outside;
mod owners;
#[cfg(feature = "definitions")]
mod planted;
#[cfg(all(feature = "cli", feature = "server", feature = "postgres"))]
mod secrets;
