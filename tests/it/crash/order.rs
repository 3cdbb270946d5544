//! In which order things reach the disk, as `strace` sees it: what a power cut would leave is too rare to wait for.

use std::path::Path;

use super::child::Operation;
use super::strace::{Prepared, Strace};
use crate::tools::tool;

/// A call that says what is to survive, or what it does to names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    Sync(String),
    Rename(String, String),
    Remove(String),
}

/// What is told of the calls, which strace writes as `1234 fsync(5</cache/tmp/0.part>) = 0`.
fn calls(log: &str) -> Vec<Call> {
    let call = |line: &str| {
        let (name, arguments) = line.split_once(' ')?.1.trim_start().split_once('(')?;
        let quoted: Vec<_> = arguments.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        match (name, quoted.as_slice()) {
            ("fsync" | "fdatasync", _) => Some(Call::Sync(arguments.split_once('<')?.1.split_once('>')?.0.to_owned())),
            ("rename", [from, to]) => Some(Call::Rename(from.clone(), to.clone())),
            ("unlink", [path]) => Some(Call::Remove(path.clone())),
            _ => None,
        }
    };
    // The first name in a directory is refused until the directory is made.
    log.lines().filter(|line| !line.contains(" = -1 ")).filter_map(call).collect()
}

fn calls_of(strace: &Path, operation: Operation) -> Vec<Call> {
    let prepared = Prepared::new(operation);
    let mut process = prepared.start();
    let strace = Strace::watch(strace, &process, "fsync,fdatasync,rename,unlink");
    process.say("go");
    assert_eq!(process.hear(), "done");
    drop(process);
    calls(&strace.log())
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').unwrap().0
}

/// Every file below such a directory was synced before it took its name, and the directory after; how many there were.
fn check_renames(calls: &[Call], below: &str) -> usize {
    let mut renames = 0;
    for (at, call) in calls.iter().enumerate() {
        let Call::Rename(from, to) = call else { continue };
        if to.contains(below) {
            renames += 1;
            let (before, after) = (&calls[..at], &calls[at..]);
            assert!(
                before.contains(&Call::Sync(from.clone())),
                "{to} took its name before it was on the disk: {calls:?}"
            );
            assert!(after.contains(&Call::Sync(parent(to).to_owned())), "the name {to} is not on the disk: {calls:?}");
        }
    }
    renames
}

#[test]
fn what_is_durable_is_synced_before_it_takes_its_name_and_its_directory_after() {
    let Some(strace) = tool("strace") else { return };
    let blocks = check_renames(&calls_of(&strace, Operation::PublishDurable), "/blocks/");
    let pushed = check_renames(&calls_of(&strace, Operation::Push), "/pushed/");
    assert!(blocks == 2 && pushed == 1, "{blocks} blocks and {pushed} files of pushed rows");
    eprintln!("order of syncs: {blocks} blocks, {pushed} files of pushed rows");
}

#[test]
fn what_is_invalidated_is_gone_from_the_disk_before_that_returns() {
    let Some(strace) = tool("strace") else { return };
    let calls = calls_of(&strace, Operation::Invalidate);
    let removed = |call: &Call| matches!(call, Call::Remove(path) if path.contains("/blocks/"));
    let last = calls.iter().rposition(removed).expect("blocks were removed");
    let Call::Remove(path) = &calls[last] else { unreachable!("it was one") };
    assert!(calls[last..].contains(&Call::Sync(parent(path).to_owned())), "{calls:?}");
}
