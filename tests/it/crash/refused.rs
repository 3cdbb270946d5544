//! Directories and files that a process may not use any more, and may again.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::child::{CACHE, Desk, WORLD};
use super::fleet::whole;
use super::world::{DAYS, Rows};
use crate::damage::files;
use crate::desk::quiet;
use crate::tools::tool;
use crate::worker::{Worker, binary, say};

/// What may not be used.
const PLACES: [&str; 9] =
    ["", "blocks", "blocks/view=prices", "tmp", "locks", "journal", "pushed", "generations", "manifest.duckdb"];
/// Neither read nor written; read alone.
const MODES: [u32; 2] = [0o000, 0o500];
/// Blocks have to be kept again so soon after that is allowed again.
const RECOVERY: Duration = Duration::from_secs(5);

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Does everything while a place may not be used; how long after that it was until a block was kept.
fn live(desk: &mut Desk, cache: &Path, place: &str, mode: u32, round: usize) -> Duration {
    let path = cache.join(place);
    let usual = std::fs::metadata(&path).unwrap().permissions().mode();
    allow(&path, mode);
    desk.is_faulty = true;
    desk.ask(0, 0, 3);
    desk.ask(1 + round % 3, round % DAYS, 1);
    desk.flush();
    let _ = desk.try_to_push(Rows::Own);
    let _ = desk.invalidate(4);
    desk.ask(4, 0, 2);
    desk.fold();
    allow(&path, usual);
    desk.is_faulty = false;
    let (began, kept) = (Instant::now(), files(&cache.join("blocks")).len());
    // What was asked before is in memory; this was not.
    desk.invalidate(5).unwrap();
    let before = files(&cache.join("blocks")).len().min(kept);
    desk.ask(5, round % DAYS, 1);
    assert_eq!(files(&cache.join("blocks")).len(), before + 1, "the first block is kept, after {place} with {mode:o}");
    let took = began.elapsed();
    desk.push();
    desk.check_pushed();
    let folds = desk.folds();
    desk.fold();
    assert_eq!(desk.folds(), folds + 1, "after {place} with {mode:o}");
    took
}

#[test]
#[ignore = "a process of another test, which is: cargo test --release --all-features --test it crash::refused"]
fn refused() {
    let Ok(cache) = std::env::var(CACHE) else { return };
    let (cache, world) = (Path::new(&cache), std::env::var(WORLD).unwrap());
    let open = || Desk::open(cache, world.as_ref(), 0, quiet());
    let (mut desk, mut worst, mut count) = (open(), Duration::ZERO, 0);
    desk.ask(0, 0, 3);
    desk.ask(4, 0, 2);
    desk.ask(5, 0, 1);
    desk.push();
    desk.fold();
    assert!(
        {
            allow(&cache.join("tmp"), 0);
            let is_refused = std::fs::read_dir(cache.join("tmp")).is_err();
            allow(&cache.join("tmp"), 0o700);
            is_refused
        },
        "this process may do whatever it wants"
    );
    for (number, place) in PLACES.iter().enumerate() {
        for mode in MODES {
            worst = worst.max(live(&mut desk, cache, place, mode, number));
            count += 1;
        }
    }
    assert!(worst <= RECOVERY, "a block was kept only after {worst:?}");
    desk.check_values();
    drop(desk);
    let mut desk = open();
    desk.check_pushed();
    desk.check_values();
    say(&format!("{count} times something was forbidden: a block kept {worst:?} after it was allowed at the latest"));
    say("done");
}

#[test]
fn a_process_that_may_not_use_a_directory_answers_and_goes_on_once_it_may() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = match rustix::process::geteuid().is_root() {
        false => binary(),
        // Root without the right to pass over modes.
        true => {
            let Some(setpriv) = tool("setpriv") else { return };
            let mut command = Command::new(setpriv);
            command.arg("--bounding-set=-dac_override,-dac_read_search").arg(binary().get_program());
            command
        }
    };
    command.env(CACHE, dir.path().join("cache")).env(WORLD, dir.path().join("world")).stderr(Stdio::inherit());
    let mut process = Worker::run(command, "crash::refused::refused");
    let mut last = String::new();
    while let Some(said) = process.hear_or_end() {
        eprintln!("{said}");
        last = said;
    }
    assert_eq!(last, "done", "it died");
    whole(&dir.path().join("cache"), false);
}
