//! Other processes: killed within a fold, or holding the file.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::error::ErrorKind;
use crate::manifest::Journal;
use crate::manifest::testing::{block, blocks, counted, manifest, published, requests};
use crate::model::Outcome;

const DIRECTORY: &str = "LARDER_TEST_MANIFEST_DIRECTORY";

/// This test program once more, running only `test` on `dir`.
fn child(test: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([&format!("manifest::tests::killed::{test}"), "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn wait_for(child: &mut Child, word: &str) {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains(word)), "the child said nothing");
}

#[test]
#[ignore = "a process of another test, which is: cargo test --release --all-features --lib manifest::tests::killed"]
fn folds_for_ever() {
    let Some(dir) = std::env::var_os(DIRECTORY) else { return };
    let manifest = manifest(Path::new(&dir));
    println!("ready");
    loop {
        manifest.fold().unwrap();
    }
}

#[test]
fn a_folder_killed_at_any_moment_loses_nothing_and_counts_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let alive = Journal::create(dir.path()).unwrap();
    let mut appended = 0;
    for round in 0..12u64 {
        let mut folder = child("folds_for_ever", dir.path());
        wait_for(&mut folder, "ready");
        for step in 0..(round * 7 % 11 + 1) {
            // Dies at once, so that the folder also removes journals.
            let dead = Journal::create(dir.path()).unwrap();
            let many: Vec<_> = (0..50).map(|n| published(block(&format!("R{round}S{step}"), n, 1))).collect();
            dead.append(&many).unwrap();
            dead.append(&[requests(1, Outcome::Hit, 1)]).unwrap();
            alive.append(&[requests(1, Outcome::Miss, 1)]).unwrap();
            appended += 1;
            std::thread::sleep(Duration::from_millis(17));
        }
        folder.kill().unwrap();
        folder.wait().unwrap();
    }
    let manifest = manifest(dir.path());
    let report = manifest.fold().unwrap();
    assert_eq!((report.set_aside, report.damaged, report.torn), (None, 0, 0));
    assert_eq!(counted(&manifest), 2 * appended);
    assert_eq!(blocks(&manifest).len() as u64, 50 * appended);
}

#[test]
#[ignore = "a process of another test, which is: cargo test --release --all-features --lib manifest::tests::killed"]
fn holds_the_file() {
    let Some(dir) = std::env::var_os(DIRECTORY) else { return };
    let connection = duckdb::Connection::open(Path::new(&dir).join("manifest.duckdb")).unwrap();
    println!("ready");
    std::thread::sleep(Duration::from_secs(60));
    drop(connection);
}

#[test]
fn a_manifest_that_a_stranger_has_open_is_busy_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::create(dir.path()).unwrap();
    let manifest = manifest(dir.path());
    journal.append(&[requests(1, Outcome::Hit, 1)]).unwrap();
    manifest.fold().unwrap();
    let mut stranger = child("holds_the_file", dir.path());
    wait_for(&mut stranger, "ready");
    journal.append(&[requests(1, Outcome::Hit, 10)]).unwrap();
    let error = manifest.fold().unwrap_err();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(error.to_string().contains("manifest.duckdb is open in another program"), "{error}");
    assert_eq!(counted(&manifest), 11);
}
