//! The `larder` program as its users run it, each in a home and a cache of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::tools::mortal;

pub struct Larder {
    home: tempfile::TempDir,
}

impl Larder {
    pub fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    /// One with a small demo in its cache.
    pub fn with_demo() -> Self {
        let larder = Self::new();
        larder.demo(&[]);
        larder
    }

    /// The report of a demo of EURUSD and USDJPY over five days, the second a Saturday without bars.
    pub fn demo(&self, more: &[&str]) -> Value {
        let small = ["demo", "--json", "--symbols", "2"];
        let output = self.run(small.into_iter().chain(more.iter().copied()));
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        json(&output)
    }

    pub fn cache(&self) -> PathBuf {
        self.home.path().join("cache")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The manifest, open in this process. A program that runs holds it for moments: those are waited for.
    pub fn hold_manifest(&self) -> duckdb::Connection {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match duckdb::Connection::open(self.cache().join("manifest.duckdb")) {
                Ok(held) => return held,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Nothing of this machine's environment is seen, and everything is old enough to be cleaned.
    pub fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = mortal(env!("CARGO_BIN_EXE_larder"));
        command.args(arguments);
        self.at_home(command)
    }

    /// What a page prints for a shell.
    pub fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-ec", script]);
        self.at_home(command)
    }

    fn at_home(&self, mut command: Command) -> Command {
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env("FEATURE_CACHE_DIR", self.cache())
            .env("LARDER_DISK__RESERVE_GB", "0")
            .env("LARDER_DISK__MIN_AGE", "0s")
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    pub fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command prints with `--json`, and its exit status.
    pub fn json(&self, arguments: &str) -> (Value, i32) {
        let output = self.run(arguments.split(' ').chain(["--json"]));
        (json(&output), code(&output))
    }

    /// What a command prints for people, and its exit status.
    pub fn text(&self, arguments: &str) -> (String, i32) {
        let output = self.run(arguments.split(' '));
        (stdout(&output), code(&output))
    }

    /// Its block files.
    pub fn blocks(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.cache().join("blocks"), &mut |path| found.push(path.to_owned()));
        found.retain(|path| path.is_file());
        found.sort();
        found
    }
}

/// Visits everything below `path`, itself included.
pub fn walk(path: &Path, visit: &mut impl FnMut(&Path)) {
    visit(path);
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), visit);
        }
    }
}

/// Of stdout, which has to hold one object and nothing else.
pub fn json(output: &Output) -> Value {
    let value: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", stdout(output), stderr(output)));
    assert!(value.is_object(), "{value}");
    value
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("killed: {:?}", output.status))
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
