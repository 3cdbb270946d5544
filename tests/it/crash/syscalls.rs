//! Processes that are killed at each system call of what they do, by `strace`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::child::{CACHE, Desk, OPERATION, Operation, WORLD};
use super::fleet::whole;
use super::world::{Cell, DAYS, ENTITIES, World};
use crate::damage::files;
use crate::desk::quiet;
use crate::tools::tool;
use crate::worker::Worker;

/// Calls that change what is on the disk, or who may. Between two of them, nothing outside of the process changes.
const CHANGES: &str = "open,openat,openat2,creat,write,pwrite64,writev,pwritev,pwritev2,rename,renameat,renameat2,unlink,\
    unlinkat,mkdir,mkdirat,rmdir,truncate,ftruncate,fallocate,fsync,fdatasync,sync_file_range,link,linkat,symlink,\
    symlinkat,flock,copy_file_range,sendfile";

/// `strace`, that kills a process at the Nth such call; gone with the process.
struct Killer(Child);

impl Killer {
    fn attach(strace: &Path, process: &Worker, calls: &str, number: u64) -> Self {
        let mut strace = Command::new(strace);
        strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e"]);
        strace.arg(format!("inject={calls}:signal=SIGKILL:when={number}")).args(["-p", &process.id().to_string()]);
        let mut strace = strace.stderr(Stdio::piped()).spawn().unwrap();
        // It tells of every new thread, and would end if nobody listened.
        let mut from = BufReader::new(strace.stderr.take().unwrap()).lines();
        let said = from.next().unwrap().unwrap();
        assert!(said.contains("attached"), "strace cannot attach: {said}");
        std::thread::spawn(move || from.for_each(drop));
        Self(strace)
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A cache with all that an operation needs, as it was before.
struct Before(tempfile::TempDir);

impl Before {
    fn of(operation: Operation) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (cache, world) = (dir.path().join("cache"), dir.path().join("world"));
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
        Self(dir)
    }

    fn copy(&self) -> tempfile::TempDir {
        let to = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").arg("-a").arg(self.0.path().join(".")).arg(to.path()).status().unwrap();
        assert!(copied.success());
        to
    }
}

/// Begins an operation and kills it at the Nth call; whether it came to its end before.
fn killed_at(strace: &Path, dir: &Path, operation: Operation, calls: &str, number: u64) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::child::once", "--nocapture", "--include-ignored"]).stderr(Stdio::null());
    command.env(CACHE, dir.join("cache")).env(WORLD, dir.join("world")).env(OPERATION, format!("{operation:?}"));
    let mut process = Worker::run(command);
    assert_eq!(process.hear(), "ready");
    let _killer = Killer::attach(strace, &process, calls, number);
    process.say("go");
    process.hear_or_end().is_some_and(|said| said == "done")
}

/// Nothing is wrong, and nothing that was acknowledged is lost.
fn check(dir: &Path, operation: Operation) {
    let (cache, world) = (dir.join("cache"), dir.join("world"));
    let mut desk = Desk::open(&cache, &world, 0, quiet());
    desk.check_pushed();
    if operation != Operation::Evict {
        desk.check_kept();
    }
    for number in [0, 1, ENTITIES - 1] {
        desk.ask(number, 0, DAYS / 4);
    }
    drop(desk);
    whole(&cache, operation == Operation::Repair);
}

fn sweep(strace: &Path, operation: Operation, calls: &str) -> u64 {
    let before = Before::of(operation);
    for number in 1.. {
        let dir = before.copy();
        let ended = killed_at(strace, dir.path(), operation, calls, number);
        if operation == Operation::Repair && !ended {
            // Whoever repairs next is killed too.
            killed_at(strace, dir.path(), operation, calls, 1 + number * 7 % 40);
        }
        check(dir.path(), operation);
        if ended {
            assert!(number > 1, "nothing was killed");
            return number - 1;
        }
    }
    unreachable!()
}

#[test]
fn a_process_that_is_killed_at_any_system_call_leaves_nothing_wrong() {
    let Some(strace) = tool("strace") else { return };
    let calls = if std::env::var_os("LARDER_LONG").is_some() { "all" } else { CHANGES };
    for operation in Operation::ALL {
        let points = sweep(&strace, operation, calls);
        println!("{operation:?}: killed at each of {points} calls");
    }
}
