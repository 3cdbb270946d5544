//! Programs of others that tests ask, what is skipped without them, and what is left where a test is killed: nothing.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| ci == "true")
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says aloud that something is skipped, and counts it where `TESTS_SKIPPED` names a file. As root under `CI=true` nothing
/// is skipped; who is not root there skips what only root can do, and nothing else.
pub fn skip(why: &str) {
    assert!(!(is_ci() && is_root()), "{why}: as root under CI=true nothing is skipped");
    eprintln!("skipped: {why}");
    if let Some(file) = std::env::var_os("TESTS_SKIPPED") {
        let mut file = std::fs::File::options().append(true).create(true).open(file).unwrap();
        let line = format!("{}: {why}\n", std::thread::current().name().unwrap_or("a test"));
        file.write_all(line.as_bytes()).unwrap();
    }
}

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
        assert!(!is_ci(), "{name} has to be installed where CI is true");
        skip(&format!("{name} is missing"));
    }
    found
}

/// Whether this is root; where it is not, says aloud what is skipped.
pub fn root(to: &str) -> bool {
    if !is_root() {
        skip(&format!("only root can {to}"));
    }
    is_root()
}

/// A program that ends when the thread that starts it does, also where that is killed.
pub fn mortal(program: impl AsRef<OsStr>) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if !setpriv.is_file() {
        // Being dropped has to be enough.
        return Command::new(program);
    }
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Whatever is mounted at a place: unmounted, and the directory around it removed, when this is dropped and also where this
/// process is killed.
pub struct Mounted(Child);

impl Mounted {
    /// Before anything is mounted, so that there is no moment to be killed in.
    pub fn at(place: &Path, around: &Path) -> Self {
        // It reads until nobody is left who could write, and is in a group of its own, so that an interrupt does not end it.
        let script = "read -r _; umount --lazy \"$1\"; rm -rf --one-file-system \"$2\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).args([place, around]).process_group(0);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Waiting closes its input.
        let _ = self.0.wait();
    }
}

/// Runs a tool in a directory; what it printed, to either side, and whether it was content.
pub fn run(tool: &Path, dir: &Path, args: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = Command::new(tool).args(args).current_dir(dir).output().unwrap();
    (status.success(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}
