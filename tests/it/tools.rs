//! Programs that some tests need.

use std::path::PathBuf;

/// Where the program is. Where it is missing the test is skipped, which fails where `CI` is `true`.
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file());
    if found.is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{name} is missing, and CI skips nothing");
        eprintln!("skipped: {name} is missing");
    }
    found
}
