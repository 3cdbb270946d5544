//! A process whose disk is slow: the others go on.

use std::time::{Duration, Instant};

use super::child::Ways;
use super::fleet::Fleet;
use super::strace::Strace;
use super::world::Count;
use crate::mutate::times;
use crate::tools::tool;

/// Calls, and how many microseconds each takes longer.
const SLOW: [(&str, u32); 4] = [
    ("write,pwrite64", 100_000),
    ("fsync,fdatasync", 300_000),
    ("rename,renameat,renameat2", 300_000),
    ("openat", 50_000),
];

#[test]
fn a_process_with_a_slow_disk_is_right_and_holds_nobody_up() {
    let Some(strace) = tool("strace") else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::new(&dir.path().join("cache"), 5, Ways::Keeping, None);
    fleet.start_all();
    fleet.wait_until_all_are_open();
    let mut told = Vec::new();
    for (calls, delay) in SLOW {
        let before = fleet.world().counted(Count::Asked);
        let slow = Strace::attach(&strace, fleet.process(0), calls, &format!("delay_enter={delay}"));
        let delayed = || slow.so_far().matches("(DELAYED)").count();
        let deadline = Instant::now() + Duration::from_secs(600);
        for round in 0.. {
            fleet.wait_for_requests(60);
            fleet.check_that_all_live();
            if round >= times(1, 100) && delayed() > 0 {
                break;
            }
            assert!(Instant::now() < deadline, "no {calls} was slower");
        }
        let requests = fleet.world().counted(Count::Asked) - before;
        told.push(format!("{requests} with {} of {calls} {} ms slower", delayed(), delay / 1000));
    }
    fleet.wait_for_everything();
    fleet.kill_all(|| ());
    fleet.look();
    eprintln!("a slow disk, requests: {}; {}", told.join(", "), fleet.counts());
}
