//! Processes that are killed at each system call of what they do, and processes whose calls fail one after the other.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Signal;

use super::child::{Desk, Operation};
use super::fleet::whole;
use super::is_long;
use super::strace::{Prepared, Strace, counted};
use super::world::{DAYS, ENTITIES, World};
use crate::desk::quiet;
use crate::mutate::times;
use crate::tools::tool;

/// Calls that change what is on the disk, or who may. Between two of them, nothing outside of the process changes.
const CHANGES: &str = "open,openat,openat2,creat,write,pwrite64,writev,pwritev,pwritev2,rename,renameat,renameat2,unlink,\
    unlinkat,mkdir,mkdirat,rmdir,truncate,ftruncate,fallocate,fsync,fdatasync,sync_file_range,link,linkat,symlink,\
    symlinkat,flock,copy_file_range,sendfile";

/// All calls that have to do with files. What the others change is gone with the process.
const OF_FILES: &str = "%file,%desc";

/// What may fail, and how.
const FAULTS: [(&str, &str); 7] = [
    ("open,openat,openat2,creat", "EMFILE"),
    ("write,pwrite64,writev,pwritev,pwritev2,fallocate,ftruncate,mkdir,mkdirat", "ENOSPC"),
    ("fsync,fdatasync,sync_file_range", "EIO"),
    ("rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir", "EIO"),
    ("pread64,preadv,getdents64", "EIO"),
    LOOKS,
    ("flock", "ENOLCK"),
];

/// DuckDB ends the process where it cannot look at a file that it has just opened, so these fail only where it has none.
const LOOKS: (&str, &str) = ("statx,newfstatat,lstat", "EIO");

/// On a tmpfs this fails where a signal waits, so that nothing can stop after it. It is made once.
const UNSTOPPABLE: &str = "fallocate";

/// How many files are opened, to see that they can be, before DuckDB opens one.
const SPARE: u64 = 16;

/// Nothing is wrong, and nothing that was acknowledged is lost.
pub fn check(prepared: &Prepared, operation: Operation, may_be_bad: bool) {
    let mut desk = Desk::open(&prepared.cache(), &prepared.world(), 0, quiet());
    desk.check_pushed();
    desk.try_to_check_shared().unwrap();
    if operation != Operation::Evict {
        desk.check_kept();
    }
    for number in [0, 1, ENTITIES - 1] {
        desk.ask(number, 0, DAYS / 4);
    }
    drop(desk);
    World::open(&prepared.world()).check_panics();
    whole(&prepared.cache(), may_be_bad || operation == Operation::Repair);
}

/// Begins an operation and kills it at the Nth of these calls, whichever thread makes it; whether it made so many.
///
/// strace counts the calls of each name and of each thread apart: `when=N` kills where the first of them gets so far, and
/// nowhere else. So each call stops the process, which puts those of all threads into one order, and once it stands after
/// the one before the Nth, the next one kills it.
fn killed_at(strace: &Path, prepared: &Prepared, calls: &str, number: u64) -> bool {
    let mut process = prepared.start();
    if number > 1 {
        let mut stops = Strace::attach(strace, &process, calls, "signal=SIGSTOP");
        process.say("go");
        if !stops.run_until_stopped(&process, number - 1) {
            assert_eq!(process.hear_or_end().as_deref(), Some("done"), "{}", prepared.last_words());
            return false;
        }
    }
    let _killer = Strace::attach(strace, &process, calls, "signal=SIGKILL");
    match number {
        1 => process.say("go"),
        _ => process.signal(Signal::CONT),
    }
    if let Some(said) = process.hear_or_end() {
        assert_eq!(said, "done");
        return false;
    }
    let end = process.end();
    assert_eq!(end.signal(), Some(Signal::KILL.as_raw()), "{end}: {}", prepared.last_words());
    true
}

/// Does something with 1, 2, 3, … on every processor until there is nothing for one of them to do; for how many there was.
fn count_up(do_with: impl Fn(u64) -> bool + Sync) -> u64 {
    let (next, end, count) = (AtomicU64::new(1), AtomicU64::new(u64::MAX), AtomicU64::new(0));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::SeqCst);
            if number >= end.load(Ordering::SeqCst) {
                return;
            }
            if do_with(number) {
                count.fetch_add(1, Ordering::SeqCst);
            } else {
                end.fetch_min(number, Ordering::SeqCst);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().unwrap().get() {
            scope.spawn(work);
        }
    });
    count.into_inner()
}

#[test]
fn a_push_that_is_repeated_after_a_kill_in_the_middle_is_in_every_answer() {
    let Some(strace) = tool("strace") else { return };
    let prepared = Prepared::new(Operation::Push);
    // First goes the name that the note was written under, then a block that was computed without the row, which is kept
    // by then.
    assert!(killed_at(&strace, &prepared, "unlink,unlinkat", 2));
    let desk = Desk::open(&prepared.cache(), &prepared.world(), 0, quiet());
    // It is known already, so that this forgets nothing.
    desk.push();
    desk.check_pushed();
}

/// Kills an operation at each of its calls; at how many of each name.
///
/// Name by name, because DuckDB's threads do not make all calls in the same order every time.
fn kill_at_each(strace: &Path, operation: Operation) -> BTreeMap<String, u64> {
    let before = Prepared::new(operation);
    let made = counted(&before.copy().watched(strace, if is_long() { OF_FILES } else { CHANGES }, "go"));
    let kill_at = |name: &str, number| {
        let prepared = before.copy();
        if !killed_at(strace, &prepared, name, number) {
            return false;
        }
        if operation == Operation::Repair {
            // Whoever repairs next is killed too.
            killed_at(strace, &prepared, "openat,write,rename", 1 + number * 7 % 40);
        }
        check(&prepared, operation, false);
        true
    };
    let kill_at_all = |(name, made): (String, u64)| {
        // DuckDB makes a call less now and then, and a thread that is let go on may pass by one.
        let again = |number| number <= made && (0..3).any(|_| kill_at(&name, number));
        let killed =
            count_up(|number| (name != UNSTOPPABLE || number == 1) && (kill_at(&name, number) || again(number)));
        assert!(killed >= made, "{operation:?} was killed at {killed} of {made} calls of {name}");
        (name, killed)
    };
    made.into_iter().map(kill_at_all).collect()
}

#[test]
fn a_process_that_is_killed_at_any_system_call_leaves_nothing_wrong() {
    let Some(strace) = tool("strace") else { return };
    for operation in Operation::ALL {
        let killed = kill_at_each(&strace, operation);
        println!("{operation:?}: killed at each of {} calls: {killed:?}", killed.values().sum::<u64>());
    }
}

/// How often each of these calls fails at least, where each that is made is to fail once.
fn to_fail(strace: &Path, before: &Prepared, operation: Operation, calls: &str) -> BTreeMap<String, u64> {
    let mut made = counted(&before.copy().watched(strace, calls, "try"));
    if operation.opens_the_manifest() {
        // strace counts for each thread, and DuckDB has two that share its calls as it happens.
        made.values_mut().for_each(|made| *made = made.div_ceil(2));
    }
    made
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

/// Lets the Nth call of a name fail, for each name and N; and in other processes the Nth of each name and all after it,
/// where time is short for every other N. At how many N.
fn fail_at_each(strace: &Path, operation: Operation, (calls, error): (&str, &str)) -> (u64, u64) {
    let before = Prepared::new(operation);
    let fails = |calls: &str, how: &str| {
        let prepared = before.copy();
        let failed = fail(strace, &prepared, calls, how);
        check(&prepared, operation, false);
        failed > 0
    };
    let (made, mut once) = (to_fail(strace, &before, operation, calls), 0);
    for (name, made) in &made {
        let failed = count_up(|number| fails(name, &format!("error={error}:when={number}")));
        assert!(failed >= *made, "{operation:?}: {error} for {failed} of {made} calls of {name}");
        once += failed;
    }
    let (most, step) = (made.values().max().copied().unwrap_or(0), times(2, 1));
    let for_ever = count_up(|number| fails(calls, &format!("error={error}:when={}+", (number - 1) * step + 1)));
    assert!(for_ever >= most.div_ceil(step), "{operation:?}: {error} from {for_ever} of {most} calls on");
    (once, for_ever)
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
            if fault == LOOKS && operation.opens_the_manifest() {
                continue;
            }
            if fault.1 == "EMFILE" && operation.opens_the_manifest() {
                points.push(format!("0 and {} {}", without_descriptors(&strace, operation, fault), fault.1));
                continue;
            }
            let (once, for_ever) = fail_at_each(&strace, operation, fault);
            points.push(format!("{once} and {for_ever} {}", fault.1));
        }
        println!("{operation:?}: failed once at each, and for ever from some of its calls on: {}", points.join(", "));
    }
}
