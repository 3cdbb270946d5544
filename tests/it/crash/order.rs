//! In which order things reach the disk, as `strace` sees it: what a power cut would leave is too rare to wait for.

use std::path::Path;

use super::child::Operation;
use super::strace::Prepared;
use crate::tools::tool;

/// What is watched: syncs, and calls that give or take names.
const CALLS: &str = "fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat";

/// A call that says what is to survive, or what it does to names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    Sync(String),
    /// A rename or a link, from and to.
    Name(String, String),
    Remove(String),
}

/// What is told of the calls, which strace writes as `1234 fsync(5</cache/tmp/0.part>) = 0`.
fn calls(log: &str) -> Vec<Call> {
    let call = |line: &str| {
        let (name, arguments) = line.split_once(' ')?.1.trim_start().split_once('(')?;
        let quoted: Vec<_> = arguments.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        match (name, quoted.as_slice()) {
            ("fsync" | "fdatasync", _) => Some(Call::Sync(arguments.split_once('<')?.1.split_once('>')?.0.to_owned())),
            ("rename" | "renameat" | "renameat2" | "link" | "linkat", [from, to]) => {
                Some(Call::Name(from.clone(), to.clone()))
            }
            ("unlink" | "unlinkat", [path]) => Some(Call::Remove(path.clone())),
            _ => None,
        }
    };
    // The first name in a directory is refused until the directory is made.
    log.lines().filter(|line| !line.contains(" = -1 ")).filter_map(call).collect()
}

fn calls_of(strace: &Path, prepared: &Prepared) -> Vec<Call> {
    calls(&prepared.watched(strace, CALLS, "go"))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').unwrap().0
}

/// Every file below such a directory was synced before it took its name, and the directory after; how many there were.
fn check_names(calls: &[Call], below: &str) -> usize {
    let mut names = 0;
    for (at, call) in calls.iter().enumerate() {
        let Call::Name(from, to) = call else { continue };
        if to.contains(below) {
            names += 1;
            let (before, after) = (&calls[..at], &calls[at..]);
            assert!(
                before.contains(&Call::Sync(from.clone())),
                "{to} took its name before it was on the disk: {calls:?}"
            );
            assert!(after.contains(&Call::Sync(parent(to).to_owned())), "the name {to} is not on the disk: {calls:?}");
        }
    }
    names
}

#[test]
fn what_is_durable_is_synced_before_it_takes_its_name_and_its_directory_after() {
    let Some(strace) = tool("strace") else { return };
    let blocks = check_names(&calls_of(&strace, &Prepared::new(Operation::PublishDurable)), "/blocks/");
    let again = Prepared::new(Operation::Push);
    let pushed = check_names(&calls_of(&strace, &again), "/pushed/");
    // The first file of a day is linked to its name, which has to be free, and not renamed.
    let pushed_first = check_names(&calls_of(&strace, &Prepared::new(Operation::PushFirst)), "/pushed/");
    // The file of the day and the note of the push.
    assert_eq!((blocks, pushed, pushed_first), (2, 2, 2), "blocks, files of two pushes");
    eprintln!("order of syncs: {blocks} blocks, {} files of pushed rows and notes", pushed + pushed_first);
}

#[test]
fn what_is_invalidated_is_gone_from_the_disk_before_that_returns() {
    let Some(strace) = tool("strace") else { return };
    let calls = calls_of(&strace, &Prepared::new(Operation::Invalidate));
    let removed = |call: &Call| matches!(call, Call::Remove(path) if path.contains("/blocks/"));
    let last = calls.iter().rposition(removed).expect("blocks were removed");
    let Call::Remove(path) = &calls[last] else { unreachable!("it was one") };
    assert!(calls[last..].contains(&Call::Sync(parent(path).to_owned())), "{calls:?}");
}
