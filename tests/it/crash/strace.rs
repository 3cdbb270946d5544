//! `strace` on a process of its own: it kills it, or lets its calls fail.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::child::{CACHE, Desk, OPERATION, Operation, WORLD};
use super::faulty::Faulty;
use super::world::{Cell, World};
use crate::damage::files;
use crate::desk::quiet;
use crate::tools::mortal;
use crate::worker::Worker;

/// `strace`, attached to a process; gone with this.
pub struct Strace {
    child: Child,
    /// What it saw.
    log: tempfile::NamedTempFile,
}

impl Strace {
    /// Does to the calls of these names what `injection` says, in the words of `strace --inject`.
    pub fn attach(strace: &Path, process: &Worker, calls: &str, injection: &str) -> Self {
        Self::run(strace, process, &["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:{injection}")])
    }

    /// Writes the calls of these names down, with the paths of files.
    pub fn watch(strace: &Path, process: &Worker, calls: &str) -> Self {
        Self::run(strace, process, &["-y", "-e", &format!("trace={calls}")])
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

    /// Waits until the process stands still because of it.
    pub fn wait_until_stopped(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !std::fs::read_to_string(self.log.path()).unwrap().contains("--- stopped by SIGSTOP ---") {
            assert!(Instant::now() < deadline, "no such call was made");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it saw, once the process has ended.
    pub fn log(mut self) -> String {
        self.child.wait().unwrap();
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    /// How many calls failed because of it, once the process has ended.
    pub fn injected(self) -> usize {
        self.log().matches("(INJECTED)").count()
    }
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
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "crash::child::once", "--nocapture", "--include-ignored"]);
        command.env(CACHE, self.cache()).env(WORLD, self.world()).env(OPERATION, format!("{:?}", self.operation));
        command.stderr(std::fs::File::create(self.dir.path().join("stderr")).unwrap());
        let mut process = Worker::run(command);
        assert_eq!(process.hear(), "ready");
        process
    }

    /// What the last process complained of.
    pub fn last_words(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("stderr")).unwrap_or_default()
    }
}
