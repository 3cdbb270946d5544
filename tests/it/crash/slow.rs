//! A process whose disk is slow: the others go on.

use std::time::{Duration, Instant};

use super::child::Ways;
use super::fleet::{Fleet, PROCESSES};
use super::strace::Strace;
use super::world::Cell;
use crate::mutate::times;
use crate::tools::tool;

/// Calls, and how many microseconds each takes longer.
const SLOW: [(&str, u32); 4] = [
    ("write,pwrite64", 100_000),
    ("fsync,fdatasync", 300_000),
    ("rename,renameat,renameat2", 300_000),
    ("openat", 50_000),
];

/// In which each of the others has made its 20 requests.
const GO_ON: Duration = Duration::from_secs(120);

#[test]
fn a_process_with_a_slow_disk_is_right_and_the_others_go_on() {
    let Some(strace) = tool("strace") else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::new(&dir.path().join("cache"), 5, Ways::Keeping, None);
    fleet.start_all();
    fleet.wait_until_all_are_open();
    let mut told = Vec::new();
    for (calls, delay) in SLOW {
        let asked = |fleet: &Fleet| {
            let world = fleet.world();
            (0..PROCESSES).map(|slot| world.get(Cell::AskedBy(slot))).collect::<Vec<_>>()
        };
        let before = asked(&fleet);
        let slow = Strace::attach(&strace, fleet.process(0), calls, &format!("delay_enter={delay}"));
        let delayed = || slow.so_far().matches("(DELAYED)").count();
        let (mut made, begun) = (Vec::new(), Instant::now());
        for round in 0.. {
            fleet.wait_for_requests(60);
            fleet.check_that_all_live();
            made = asked(&fleet).iter().zip(&before).map(|(now, before)| now - before).collect::<Vec<u64>>();
            // The first is the slow one: each of the others gets on.
            if round >= times(1, 100) && delayed() > 0 && made.iter().skip(1).all(|made| *made >= 20) {
                break;
            }
            // Behind one that holds them up, each would take up to the 30 s that it waits for a compute.
            assert!(begun.elapsed() < GO_ON, "{made:?} requests, {} of {calls} slower", delayed());
        }
        told.push(format!("{made:?} with {} of {calls} {} ms slower", delayed(), delay / 1000));
    }
    fleet.wait_for_everything();
    fleet.kill_all(|| ());
    fleet.look();
    eprintln!("a slow disk, requests: {}; {}", told.join(", "), fleet.counts());
}
