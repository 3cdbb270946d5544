//! Processes that are killed at random moments.

use std::sync::Arc;

use larder::Timestamp;
use larder::clock::SystemClock;
use larder::manifest::Manifest;

use super::child::Ways;
use super::fleet::Fleet;
use super::world::Count;
use crate::desk::view;
use crate::mutate::times;

/// After so many kills all processes are killed, and the whole cache is looked at.
const LOOK: u64 = 25;

fn processes_are_killed(ways: Ways, kills: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::new(&dir.path().join("cache"), kills, ways, None);
    fleet.start_all();
    for kill in 1..=kills {
        fleet.kill_one();
        if kill % LOOK == 0 || kill == kills {
            fleet.kill_all(|| ());
            fleet.look();
            if kill < kills {
                fleet.start_all();
            }
        }
    }
    println!("{kills} kills, {}: {}", ways.as_str(), fleet.counts());
    let manifest = Manifest::new(&fleet.cache, Arc::new(SystemClock));
    let minutes = manifest.read(|query| query.requests(Timestamp::MIN, Some(view().name()))).unwrap();
    let known: u64 = minutes.iter().map(|(_, counts)| counts.total()).sum();
    let (flushed, asked) = (fleet.world().counted(Count::Flushed), fleet.world().counted(Count::Asked));
    assert!((flushed..=asked).contains(&known), "{known} requests are known, of {flushed} flushed and {asked} asked");
}

#[test]
fn processes_that_are_killed_lose_nothing_and_serve_nothing_wrong() {
    processes_are_killed(Ways::Keeping, times(250, 5_000));
    processes_are_killed(Ways::All, times(250, 5_000));
}
