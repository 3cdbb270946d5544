//! Processes that are killed at each system call of what they do, and processes whose calls fail one after the other.

use std::path::Path;

use super::child::{Desk, Operation};
use super::fleet::whole;
use super::is_long;
use super::strace::{Prepared, Strace};
use super::world::{DAYS, ENTITIES};
use crate::desk::quiet;
use crate::tools::tool;

/// Calls that change what is on the disk, or who may. Between two of them, nothing outside of the process changes.
const CHANGES: &str = "open,openat,openat2,creat,write,pwrite64,writev,pwritev,pwritev2,rename,renameat,renameat2,unlink,\
    unlinkat,mkdir,mkdirat,rmdir,truncate,ftruncate,fallocate,fsync,fdatasync,sync_file_range,link,linkat,symlink,\
    symlinkat,flock,copy_file_range,sendfile";

/// What may fail, and how.
const FAULTS: [(&str, &str); 6] = [
    ("open,openat,openat2,creat", "EMFILE"),
    ("write,pwrite64,writev,pwritev,pwritev2,fallocate,ftruncate,mkdir,mkdirat", "ENOSPC"),
    ("fsync,fdatasync,sync_file_range", "EIO"),
    ("rename,renameat,renameat2,unlink,unlinkat,rmdir", "EIO"),
    ("pread64,preadv,getdents64", "EIO"),
    ("flock", "ENOLCK"),
];

/// How many files are opened, to see that they can be, before DuckDB opens one.
const SPARE: u64 = 16;

/// Nothing is wrong, and nothing that was acknowledged is lost.
pub fn check(prepared: &Prepared, operation: Operation, may_be_bad: bool) {
    let mut desk = Desk::open(&prepared.cache(), &prepared.world(), 0, quiet());
    desk.check_pushed();
    if operation != Operation::Evict {
        desk.check_kept();
    }
    for number in [0, 1, ENTITIES - 1] {
        desk.ask(number, 0, DAYS / 4);
    }
    drop(desk);
    whole(&prepared.cache(), may_be_bad || operation == Operation::Repair);
}

/// Begins an operation and kills it at the Nth call; whether it came to its end before.
fn killed_at(strace: &Path, prepared: &Prepared, calls: &str, number: u64) -> bool {
    let mut process = prepared.start();
    let _strace = Strace::attach(strace, &process, calls, &format!("signal=SIGKILL:when={number}"));
    process.say("go");
    process.hear_or_end().is_some_and(|said| said == "done")
}

#[test]
fn a_push_that_is_repeated_after_a_kill_in_the_middle_is_in_every_answer() {
    let Some(strace) = tool("strace") else { return };
    let prepared = Prepared::new(Operation::Push);
    // First goes the name that the note was written under, then a block that was computed without the row, which is kept
    // by then.
    assert!(!killed_at(&strace, &prepared, "unlink,unlinkat", 2));
    let desk = Desk::open(&prepared.cache(), &prepared.world(), 0, quiet());
    // It is known already, so that this forgets nothing.
    desk.push();
    desk.check_pushed();
}

fn kill_at_each(strace: &Path, operation: Operation, calls: &str) -> u64 {
    let before = Prepared::new(operation);
    for number in 1.. {
        let prepared = before.copy();
        let ended = killed_at(strace, &prepared, calls, number);
        if operation == Operation::Repair && !ended {
            // Whoever repairs next is killed too.
            killed_at(strace, &prepared, calls, 1 + number * 7 % 40);
        }
        check(&prepared, operation, false);
        if ended {
            assert!(number > 1, "nothing was killed");
            return number - 1;
        }
    }
    unreachable!("there is an end")
}

#[test]
fn a_process_that_is_killed_at_any_system_call_leaves_nothing_wrong() {
    let Some(strace) = tool("strace") else { return };
    let calls = if is_long() { "all" } else { CHANGES };
    for operation in Operation::ALL {
        println!("{operation:?}: killed at each of {} calls", kill_at_each(&strace, operation, calls));
    }
}

/// Has an operation done while such calls fail; how many did.
fn fail(strace: &Path, prepared: &Prepared, calls: &str, how: &str) -> usize {
    let mut process = prepared.start();
    let strace = Strace::attach(strace, &process, calls, how);
    process.say("try");
    let code = process.end().code();
    assert_eq!(code, Some(0), "it died when {calls} had {how}: {}", prepared.last_words());
    strace.injected()
}

/// Lets the Nth call fail, and in another process this one and all after it, for each N; how many there are.
fn fail_at_each(strace: &Path, operation: Operation, (calls, error): (&str, &str)) -> u64 {
    let before = Prepared::new(operation);
    for number in 1.. {
        // Where time is short, one after the other in turns.
        let ways = ["", "+"].into_iter().enumerate().filter(|(way, _)| is_long() || number % 2 == *way as u64);
        let mut failed = 0;
        for (_, for_ever) in ways {
            let prepared = before.copy();
            failed += fail(strace, &prepared, calls, &format!("error={error}:when={number}{for_ever}"));
            check(&prepared, operation, false);
        }
        if failed == 0 {
            return number - 1;
        }
    }
    unreachable!("there is an end")
}

/// Lets the Nth file and all after it not be opened, as long as N is none of those that DuckDB opens.
///
/// DuckDB ends the process where it can open the manifest and then no further file. So it is asked before whether there
/// are descriptors to spare: that these are there, and are gone a moment later, is what strace could do and is left out.
fn without_descriptors(strace: &Path, operation: Operation, (calls, error): (&str, &str)) -> u64 {
    let before = Prepared::new(operation);
    for number in 1..=SPARE {
        let prepared = before.copy();
        let failed = fail(strace, &prepared, calls, &format!("error={error}:when={number}+"));
        assert!(failed > 0, "{operation:?} opens {number} files");
        check(&prepared, operation, false);
    }
    SPARE
}

#[test]
fn a_process_whose_system_calls_fail_answers_and_leaves_nothing_wrong() {
    let Some(strace) = tool("strace") else { return };
    for operation in Operation::ALL {
        let mut points = Vec::new();
        for fault in FAULTS {
            if fault.1 == "EMFILE" && operation.opens_the_manifest() {
                points.push(format!("{} EMFILE", without_descriptors(&strace, operation, fault)));
                continue;
            }
            points.push(format!("{} {}", fail_at_each(&strace, operation, fault), fault.1));
        }
        println!("{operation:?}: failed at each of {}", points.join(", "));
    }
}
