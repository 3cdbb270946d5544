//! Directories and files of the cache that somebody removes while processes use them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::child::Ways;
use super::fleet::{Fleet, PROCESSES};
use crate::mutate::times;

/// What is removed, below the cache directory; the empty path is all of it, a star is every file there. Not `pushed`, which
/// is the only copy of what is in it.
const REMOVED: [&str; 13] = [
    "blocks",
    "tmp",
    "locks",
    "journal",
    "quarantine",
    "registry",
    "generations",
    "manifest.lock",
    "manifest.duckdb",
    "locks/*",
    "journal/*",
    "tmp/*",
    "",
];

/// Removes it, unless it is not there or others are making it again.
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
            let path = fleet.cache.join(name);
            let is_removed = (0..10_000).any(|_| {
                let is_removed = remove(&path);
                std::thread::sleep(Duration::from_millis(1));
                is_removed
            });
            assert!(is_removed, "{name:?} is never there");
            removed += 1;
            fleet.check_that_all_live();
        }
    }
    fleet.wait_for_everything();
    fleet.kill_all(|| ());
    fleet.look();
    eprintln!("{removed} times something was removed under {PROCESSES} processes: {}", fleet.counts());
}
