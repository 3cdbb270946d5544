//! Power cuts: a file system of its own, of which nothing more reaches the disk from one moment to the next.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use larder::config::Durability;

use super::child::Ways;
use super::fleet::Fleet;
use super::times;
use crate::tools::{root, tool};

/// An ext4 in a file, mounted until this is dropped.
struct Power {
    // Dropped after it is unmounted.
    dir: tempfile::TempDir,
}

impl Power {
    /// `None`, said aloud, where this user cannot mount one.
    fn new(megabytes: u64) -> Option<Self> {
        let make = root("mount a file system of its own").then(|| tool("mkfs.ext4"))??;
        let power = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(power.disk()).unwrap();
        std::fs::File::create(power.image()).unwrap().set_len(megabytes << 20).unwrap();
        assert!(Command::new(make).args(["-q", "-F"]).arg(power.image()).status().unwrap().success());
        power.mount();
        Some(power)
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn disk(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    fn mount(&self) {
        let mounted = Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.disk()).status();
        assert!(mounted.unwrap().success());
    }

    fn unmount(&self) {
        // A process that was killed a moment ago may still be about to close its files.
        let deadline = Instant::now() + Duration::from_secs(60);
        while !Command::new("umount").arg(self.disk()).stderr(Stdio::null()).status().unwrap().success() {
            assert!(Instant::now() < deadline, "the disk stays busy");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// From now on nothing reaches the disk, not even what is in the journal of the file system.
    fn cut(&self) {
        // EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH, for which there is no program.
        let ioctl = "import fcntl, os, struct, sys\n\
                     fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";
        let python = tool("python3").expect("python3 for an ioctl");
        assert!(Command::new(python).args(["-c", ioctl]).arg(self.disk()).status().unwrap().success());
    }
}

impl Drop for Power {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.disk()).stderr(Stdio::null()).status();
    }
}

fn power_is_cut(durability: Durability, cuts: u64) {
    let Some(power) = Power::new(256) else { return };
    let cache = power.disk().join("cache");
    let ways = if durability == Durability::Durable { Ways::Keeping } else { Ways::All };
    let mut fleet = Fleet::new(&cache, cuts, ways, Some(durability));
    for _ in 0..cuts {
        fleet.start_all();
        fleet.wait_until_all_are_open();
        fleet.wait_for_requests(60);
        fleet.kill_all(|| power.cut());
        power.unmount();
        power.mount();
        fleet.look();
    }
    println!("{cuts} power cuts, {durability:?}: {}", fleet.counts());
}

#[test]
fn what_is_durable_survives_power_cuts() {
    power_is_cut(Durability::Durable, times(50, 1_000));
}

#[test]
fn what_is_fast_may_be_lost_in_a_power_cut_and_is_never_wrong() {
    power_is_cut(Durability::Fast, times(6, 200));
}
