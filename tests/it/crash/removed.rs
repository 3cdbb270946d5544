//! Directories and files of the cache that somebody removes while processes use them.

use std::path::{Path, PathBuf};

use super::child::Ways;
use super::fleet::Fleet;
use super::times;

/// What is removed, below the cache directory; the empty path is all of it, a star is every file there.
const REMOVED: [&str; 14] = [
    "blocks",
    "tmp",
    "locks",
    "journal",
    "quarantine",
    "registry",
    "pushed",
    "generations",
    "manifest.lock",
    "manifest.duckdb",
    "locks/*",
    "journal/*",
    "tmp/*",
    "",
];

/// Removes it, while others may be making it again.
fn remove(path: &Path) -> bool {
    if let Some(directory) = path.to_str().and_then(|path| path.strip_suffix("/*")) {
        let entries: Vec<PathBuf> =
            std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        return entries.iter().filter(|path| remove(path)).count() > 0;
    }
    std::fs::remove_dir_all(path).or_else(|_| std::fs::remove_file(path)).is_ok()
}

#[test]
fn what_is_removed_under_processes_costs_blocks_and_never_a_right_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::new(&dir.path().join("cache"), 6, Ways::Robbed, None);
    fleet.start_all();
    fleet.wait_until_all_are_open();
    let (rounds, mut removed) = (times(3, 200), 0);
    for _ in 0..rounds {
        for name in REMOVED {
            fleet.wait_for_requests(60);
            removed += u64::from(remove(&fleet.cache.join(name)));
            fleet.check_that_all_live();
        }
    }
    fleet.wait_for_requests(400);
    fleet.kill_all(|| ());
    fleet.look();
    eprintln!("{removed} times something was removed under {} processes: {}", 4, fleet.counts());
}
