//! Processes that have hardly a file descriptor left.

use std::fs::File;
use std::process::{Command, Stdio};

use super::child::{CACHE, Desk, WORLD};
use super::fleet::whole;
use super::world::{DAYS, ENTITIES, Rows};
use crate::desk::quiet;
use crate::worker::{Worker, binary, say};

/// More than anything here needs.
const PLENTY: usize = 64;

/// Files until there are no descriptors left for more.
fn all_of_them() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
#[ignore = "a process of another test, which is: cargo test --release --all-features --test it crash::descriptors"]
fn starved() {
    let Ok(cache) = std::env::var(CACHE) else { return };
    let mut desk = Desk::open(cache.as_ref(), std::env::var(WORLD).unwrap().as_ref(), 0, quiet());
    desk.ask(0, 0, 3);
    desk.fold();
    for left in 0..PLENTY {
        let mut taken = all_of_them();
        taken.truncate(taken.len().saturating_sub(left));
        say(&format!("with {left} left"));
        desk.ask(0, 0, 3);
        desk.ask(1 + left % (ENTITIES - 1), left % DAYS, 1);
        desk.flush();
        desk.fold();
        let _ = desk.try_to_push(Rows::Own);
    }
    desk.ask(0, 0, 3);
    say("again with all");
    desk.push();
    desk.check_pushed();
    let folds = desk.folds();
    desk.fold();
    assert_eq!(desk.folds(), folds + 1);
    desk.check_values();
    say("done");
}

#[test]
fn a_process_without_file_descriptors_answers_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("prlimit");
    command.args(["--nofile=128:128"]).arg(binary().get_program());
    command.env(CACHE, dir.path().join("cache")).env(WORLD, dir.path().join("world")).stderr(Stdio::null());
    let mut process = Worker::run(command, "crash::descriptors::starved");
    let mut last = String::new();
    while let Some(said) = process.hear_or_end() {
        last = said;
    }
    assert_eq!(last, "done", "it died");
    whole(&dir.path().join("cache"), false);
}
