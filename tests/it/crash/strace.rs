//! `strace` on a process of its own: it kills it, or lets its calls fail.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::child::{CACHE, Desk, OPERATION, Operation, WORLD};
use super::faulty::Faulty;
use super::world::{Cell, World};
use crate::damage::files;
use crate::desk::quiet;
use crate::tools::mortal;
use crate::worker::{Worker, binary};

/// `strace`, attached to a process; gone with this.
pub struct Strace {
    child: Child,
    /// What it saw.
    log: tempfile::NamedTempFile,
}

impl Strace {
    /// Does to the calls of these names what `injection` says, in the words of `strace --inject`.
    pub fn attach(strace: &Path, process: &Worker, calls: &str, injection: &str) -> Self {
        let calls = known(calls);
        Self::run(strace, process, &["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:{injection}")])
    }

    /// Writes the calls of these names down, with the paths of files.
    pub fn watch(strace: &Path, process: &Worker, calls: &str) -> Self {
        Self::run(strace, process, &["-y", "-e", &format!("trace={}", known(calls))])
    }

    fn run(strace: &Path, process: &Worker, how: &[&str]) -> Self {
        let mut command = mortal(strace);
        let log = tempfile::NamedTempFile::new().unwrap();
        command.arg("-f").arg("-o").arg(log.path()).args(how).args(["-p", &process.id().to_string()]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        // It tells of every new thread, and would end if nobody listened.
        let mut from = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = from.next().unwrap().unwrap();
        assert!(said.contains("attached"), "strace cannot attach: {said}");
        std::thread::spawn(move || from.for_each(drop));
        Self { child, log }
    }

    /// Lets the process, which each of its calls stops, go on until it stands after so many; whether it made so
    /// many before it ended.
    pub fn run_until_stopped(&mut self, process: &Worker, calls: u64) -> bool {
        let mut log = BufReader::new(self.log.reopen().unwrap());
        let (mut line, mut seen, mut stopping) = (String::new(), 0, String::new());
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            log.read_line(&mut line).unwrap();
            if !line.ends_with('\n') {
                if self.child.try_wait().unwrap().is_some() {
                    return false;
                }
                assert!(Instant::now() < deadline, "it neither stops nor ends after {seen} calls");
                std::thread::sleep(Duration::from_micros(100));
                continue;
            }
            let (thread, what) = line.split_once(' ').unwrap();
            seen += u64::from(call(&line).is_some());
            if what.contains("--- SIGSTOP {") {
                stopping = thread.to_owned();
            }
            if what.contains("--- stopped by SIGSTOP ---") && thread == stopping {
                if seen >= calls {
                    return true;
                }
                // Once for each stop: a second one would take back the next stop before it happens.
                stopping.clear();
                process.signal(Signal::CONT);
            }
            line.clear();
        }
    }

    /// Waits until the process stands still because of it.
    pub fn wait_until_stopped(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.so_far().contains("--- stopped by SIGSTOP ---") {
            assert!(Instant::now() < deadline, "no such call was made");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it saw, once the process has ended.
    pub fn log(mut self) -> String {
        self.child.wait().unwrap();
        self.so_far()
    }

    /// What it has seen so far.
    pub fn so_far(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    /// How many calls failed because of it, once the process has ended.
    pub fn injected(self) -> usize {
        self.log().matches("(INJECTED)").count()
    }
}

/// The name of the call that a line begins with: `1234 openat(…`.
fn call(line: &str) -> Option<&str> {
    let name = line.split_once(' ')?.1.trim_start().split_once('(')?.0;
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then_some(name)
}

/// How often each call was made before the process said that it is done, but for the one in which it waits to be told.
pub fn counted(log: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let made = log.lines().take_while(|line| !line.contains("desk: done")).filter(|line| !line.contains(" read(0<"));
    for name in made.filter_map(call) {
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}

/// The names so that strace takes them where the machine has no such call: there is no `rename` on some.
fn known(calls: &str) -> String {
    calls
        .split(',')
        .map(|name| if name.starts_with('%') { name.to_owned() } else { format!("?{name}") })
        .collect::<Vec<_>>()
        .join(",")
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A cache with all that an operation needs, and what is true beside it.
pub struct Prepared {
    dir: tempfile::TempDir,
    operation: Operation,
}

impl Prepared {
    pub fn new(operation: Operation) -> Self {
        let prepared = Self { dir: tempfile::tempdir().unwrap(), operation };
        let (cache, world) = (prepared.cache(), prepared.world());
        let mut desk = Desk::open(&cache, &world, 0, quiet());
        desk.ask(0, 0, 3);
        desk.ask(1, 0, 2);
        desk.push();
        desk.check_pushed();
        if operation == Operation::Evict {
            desk.fold();
        }
        drop(desk);
        if operation == Operation::Repair {
            let bad = &files(&cache.join("blocks"))[0];
            let whole = std::fs::read(bad).unwrap();
            std::fs::write(bad, &whole[..whole.len() / 2]).unwrap();
            World::open(&world).change(Cell::Kept(0, 0), |_| 0);
        }
        prepared
    }

    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    pub fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    pub fn world(&self) -> PathBuf {
        self.dir.path().join("world")
    }

    /// The same once more.
    pub fn copy(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").arg("-a").arg(self.dir.path().join(".")).arg(dir.path()).status().unwrap();
        assert!(copied.success());
        Self { dir, operation: self.operation }
    }

    /// The operation as one does it in this process, on a file system where calls may fail.
    pub fn open(&self, faulty: &Faulty) -> Desk {
        let settings = self.operation.settings();
        let mut desk = Desk::try_open(&self.cache(), &self.world(), 0, settings, Some(faulty.clone())).unwrap();
        if self.operation == Operation::Flush {
            desk.ask(0, 0, 3);
        }
        desk
    }

    /// A process that waits to be told to do it.
    pub fn start(&self) -> Worker {
        let mut command = binary();
        // Or glibc looks for how to give memory back, in one thread or the other: one call more or less.
        command.env("MALLOC_ARENA_MAX", "1");
        command.env(CACHE, self.cache()).env(WORLD, self.world()).env(OPERATION, format!("{:?}", self.operation));
        command.stderr(std::fs::File::create(self.dir.path().join("stderr")).unwrap());
        let mut process = Worker::run(command, "crash::child::once");
        assert_eq!(process.hear(), "ready");
        process
    }

    /// What strace writes down of these calls from the moment on when the process is told to do it in this word.
    pub fn watched(&self, strace: &Path, calls: &str, word: &str) -> String {
        let mut process = self.start();
        let strace = Strace::watch(strace, &process, calls);
        process.say(word);
        assert!(process.end().success(), "{}", self.last_words());
        strace.log()
    }

    /// What the last process complained of.
    pub fn last_words(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("stderr")).unwrap_or_default()
    }
}
