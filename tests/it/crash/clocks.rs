//! Processes whose clocks are wrong, each in its own way, or jump.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use larder::clock::{Clock, SystemClock};
use larder::{FeatureStore, TimeRange, Timestamp};

use super::child::{CACHE, Ways};
use super::fleet::{Fleet, PROCESSES};
use super::world::day;
use crate::desk::{checked_rows, minutes, quiet, symbol, view};
use crate::mutate::{Dice, times};
use crate::tools::tool;
use crate::worker::{Worker, binary, say};

/// What `libfaketime` reads the present from, again and again.
const PRESENT: &str = "FAKETIME_TIMESTAMP_FILE";

/// The library that lies for processes about the time; `None`, said aloud, where it is missing.
fn library() -> Option<PathBuf> {
    tool("faketime")?;
    let places = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    let found = places.map(|place| place.join("faketime/libfaketimeMT.so.1")).find(|file| file.is_file());
    Some(found.expect("faketime is there and its library is not"))
}

/// The environment of a process that takes the present from there. What it waits for is not changed.
fn lies(library: &Path) -> Vec<(String, String)> {
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        set("LD_PRELOAD", library.to_str().unwrap()),
        set("DONT_FAKE_MONOTONIC", "1"),
        set("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        set("FAKETIME_NO_CACHE", "1"),
    ]
}

/// What libfaketime leaves of processes that are killed, removed with this.
#[derive(Default)]
struct Leavings(Vec<u32>);

impl Drop for Leavings {
    fn drop(&mut self) {
        for process in &self.0 {
            for name in ["faketime_shm_", "sem.faketime_sem_"] {
                let _ = std::fs::remove_file(format!("/dev/shm/{name}{process}"));
            }
        }
    }
}

/// Sets the clock of whoever reads it from there.
fn set_clock(file: &Path, to: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{to}\n")).unwrap();
    std::fs::rename(new, file).unwrap();
}

#[test]
fn processes_whose_clocks_differ_and_jump_serve_nothing_wrong() {
    let Some(library) = library() else { return };
    let dir = tempfile::tempdir().unwrap();
    let jumping = dir.path().join("clock");
    set_clock(&jumping, "+0");
    let file = jumping.clone();
    let environment = move |slot| {
        let clock = match slot {
            0 => return Vec::new(),
            1 => ("FAKETIME", "+5h".to_owned()),
            2 => ("FAKETIME", "-1y".to_owned()),
            _ => (PRESENT, file.to_str().unwrap().to_owned()),
        };
        lies(&library).into_iter().chain([(clock.0.to_owned(), clock.1)]).collect()
    };
    // What a clock that is ahead made is computed again by others, so nothing is sure to be kept.
    for ways in [Ways::All, Ways::Asking] {
        let mut leavings = Leavings::default();
        let mut fleet = Fleet::new(&dir.path().join(ways.as_str()), 9, ways, None).with(environment.clone());
        let (mut dice, jumps) = (Dice::new(9), times(25, 1_000));
        fleet.start_all();
        leavings.0.extend((0..PROCESSES).map(|slot| fleet.process(slot).id()));
        fleet.wait_until_all_are_open();
        for _ in 0..jumps {
            fleet.wait_for_requests(60);
            let hours = dice.roll(400) as i64 - 200;
            set_clock(&jumping, &format!("{hours:+}h"));
            fleet.check_that_all_live();
        }
        fleet.wait_for_everything();
        fleet.kill_all(|| ());
        fleet.look();
        eprintln!("{jumps} jumps of a clock beside others, {}: {}", ways.as_str(), fleet.counts());
    }
}

/// Asks for six days in the third of which the clock stands, wherever it is put.
#[test]
#[ignore = "a process of another test, which is: cargo test --release --all-features --test it crash::clocks"]
fn early() {
    let Ok(cache) = std::env::var(CACHE) else { return };
    let store = FeatureStore::builder(&cache).settings(quiet()).open().unwrap();
    let lateness = view().lateness();
    say("ready");
    loop {
        let mut line = String::new();
        if std::io::stdin().read_line(&mut line).unwrap() == 0 {
            return;
        }
        let entity = symbol(line.trim());
        let asked = TimeRange::new(day(0), day(6)).unwrap();
        let before = Timestamp::from_ns(SystemClock.now_ns());
        let answer = store.get_or_compute(&view(), &entity, asked, minutes).unwrap();
        let after = Timestamp::from_ns(SystemClock.now_ns());
        let rows = |until: Timestamp| (until.as_ns() - day(0).as_ns()).div_euclid(60_000_000_000) as usize;
        let got = checked_rows(&answer, &entity);
        assert!((rows(before)..=rows(after) + 1).contains(&got), "{got} rows until {before}");
        // What lies beyond the watermark is answered and not kept.
        let kept =
            store.get(&view(), &entity, TimeRange::new(day(0), before.saturating_sub(lateness)).unwrap()).unwrap();
        let beyond = after.saturating_sub(lateness).saturating_add(Duration::from_secs(1));
        let beyond = store.get(&view(), &entity, TimeRange::new(day(0), beyond).unwrap()).unwrap();
        say(&format!("{} {}", kept.is_some(), beyond.is_some()));
    }
}

#[test]
fn nothing_beyond_the_watermark_is_kept_wherever_the_clock_jumps() {
    let Some(library) = library() else { return };
    let dir = tempfile::tempdir().unwrap();
    let clock = dir.path().join("clock");
    let mut command = binary();
    command.env(CACHE, dir.path().join("cache")).envs(lies(&library)).env(PRESENT, &clock).stderr(Stdio::inherit());
    set_clock(&clock, "@2024-02-03 12:00:00");
    command.env("TZ", "UTC");
    let mut leavings = Leavings::default();
    let mut process = Worker::run(command, "crash::clocks::early");
    leavings.0.push(process.id());
    assert_eq!(process.hear(), "ready");
    // Forward, and each time for an entity that was not asked for before; then back, for one whose blocks reach further.
    for (number, at) in ["2024-02-03 13:00:00", "2024-02-04 01:00:00", "2024-02-02 05:30:00"].into_iter().enumerate() {
        set_clock(&clock, &format!("@{at}"));
        process.say(&format!("E{number}"));
        assert_eq!(process.hear(), "true false", "at {at}");
    }
    set_clock(&clock, "@2024-02-05 00:00:30");
    for (entity, said) in [("E0", "true false"), ("E1", "true false"), ("E2", "true false")] {
        process.say(entity);
        assert_eq!(process.hear(), said, "{entity} later");
    }
    eprintln!("6 requests between jumps of the clock: nothing kept beyond the watermark");
}
