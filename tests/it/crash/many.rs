//! Many processes at once: each does much, and all want the same block at the same moment.

use std::process::Stdio;
use std::time::{Duration, Instant};

use larder::FeatureStore;

use super::child::{ACTS, CACHE, WORLD, Ways};
use super::fleet::Fleet;
use super::world::{Cell, Count, World};
use crate::desk::{checked_rows, minutes, quiet, range, symbol, view};
use crate::mutate::times;
use crate::worker::{Worker, binary, say};

const PROCESSES: usize = 8;
/// How often the same block is wanted.
const ROUNDS: &str = "CRASH_ROUNDS";

#[test]
fn what_eight_processes_ask_while_blocks_are_evicted_and_invalidated_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let environment = |_| vec![(ACTS.to_owned(), times(10_000, 100_000).to_string())];
    let mut fleet = Fleet::new(&dir.path().join("cache"), 8, Ways::Asking, None).of(PROCESSES).with(environment);
    fleet.start_all();
    fleet.wait_until_all_are_done();
    fleet.look();
    eprintln!("{PROCESSES} processes x {}: {}", times(10_000, 100_000), fleet.counts());
}

/// Waits until all processes have come here as often as this one.
fn gate(world: &World, passed: &mut u64) {
    *passed += 1;
    world.change(Cell::Count(Count::Arrived), |arrived| arrived + 1);
    // Only so that the others end where one has failed.
    let deadline = Instant::now() + Duration::from_secs(300);
    while world.counted(Count::Arrived) < *passed * PROCESSES as u64 {
        assert!(Instant::now() < deadline, "somebody does not come for the {passed}th time");
        std::thread::yield_now();
    }
}

#[test]
#[ignore = "a process of another test, which is: cargo test --release --all-features --test it crash::many"]
fn racer() {
    let Ok(cache) = std::env::var(CACHE) else { return };
    let world = World::open(std::env::var(WORLD).unwrap().as_ref());
    let rounds: u64 = std::env::var(ROUNDS).unwrap().parse().unwrap();
    let store = FeatureStore::builder(cache).settings(quiet()).open().unwrap();
    let mut passed = 0;
    for round in 0..rounds {
        let (entity, day) = (symbol(&format!("R{round}")), range("2024-02-01", "2024-02-02"));
        gate(&world, &mut passed);
        let compute = |gap: &larder::Gap| {
            world.count(Count::Computes, 1);
            minutes(gap)
        };
        let answer = store.get_or_compute(&view(), &entity, day, compute).unwrap();
        assert_eq!(checked_rows(&answer, &entity), 1_440);
        gate(&world, &mut passed);
        assert_eq!(world.counted(Count::Computes), round + 1, "computes in {} rounds", round + 1);
    }
    say("done");
}

#[test]
fn of_eight_processes_that_want_a_block_at_the_same_moment_one_computes_it() {
    let dir = tempfile::tempdir().unwrap();
    let rounds = times(1_000, 10_000);
    let start = |_| {
        let mut command = binary();
        command.env(CACHE, dir.path().join("cache")).env(WORLD, dir.path().join("world"));
        command.env(ROUNDS, rounds.to_string()).stderr(Stdio::inherit());
        Worker::run(command, "crash::many::racer")
    };
    let mut processes: Vec<_> = (0..PROCESSES).map(start).collect();
    for process in &mut processes {
        assert_eq!(process.hear_or_end().as_deref(), Some("done"));
    }
    let computes = World::open(&dir.path().join("world")).counted(Count::Computes);
    eprintln!("{PROCESSES} processes at a barrier, {rounds} rounds: {computes} computes");
    assert_eq!(computes, rounds);
}
