//! Programs of others that tests ask.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where the program is; `None`, said aloud, where it is missing. With `CI=true` it has to be there.
pub fn tool(name: &str) -> Option<PathBuf> {
    tool_in(name, &[])
}

/// The same of a program that may lie in one of these directories too.
pub fn tool_in(name: &str, more: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(more.iter().cloned());
    let found = directories.map(|dir| dir.join(name)).find(|file| file.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{name} has to be installed where CI is true");
        eprintln!("skipped: {name} is missing");
    }
    found
}

/// Whether this is root; where it is not, says aloud what is skipped.
pub fn root(to: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root can {to}");
    }
    is_root
}

/// Runs a tool in a directory; what it printed, to either side, and whether it was content.
pub fn run(tool: &Path, dir: &Path, args: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = Command::new(tool).args(args).current_dir(dir).output().unwrap();
    (status.success(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}
