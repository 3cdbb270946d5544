//! Programs that some tests use and not every machine has.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The first of these programs on the path. Without one the test says so and ends, except where `CI` is
/// set: there a check that did not run has failed.
pub fn tool(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        names.iter().find_map(|name| std::env::split_paths(&path).map(|dir| dir.join(name)).find(|at| at.is_file()));
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{} is missing", names.join(" or "));
        println!("skipped: {} is missing", names.join(" or "));
    }
    found
}

/// Runs a tool in a directory; what it printed, to either side, and whether it was content.
pub fn run(tool: &Path, dir: &Path, args: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = Command::new(tool).args(args).current_dir(dir).output().unwrap();
    (status.success(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}
