//! Power cuts: a file system of its own, of which nothing more reaches the disk from one moment to the next.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use larder::config::Durability;

use super::child::Ways;
use super::fleet::Fleet;
use crate::bad_luck::Disk;
use crate::mutate::times;
use crate::tools::{Mounted, mortal, root, skip, tool};
use crate::worker::{Worker, say};

/// An ext4 in a file, mounted until this is dropped.
struct Power {
    _mounted: Mounted,
    dir: tempfile::TempDir,
}

impl Power {
    /// `None`, said aloud, where this user cannot mount one.
    fn new(megabytes: u64) -> Option<Self> {
        let make = root("mount a file system of its own").then(|| tool("mkfs.ext4"))??;
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        let power = Self { _mounted: Mounted::at(&disk, dir.path()), dir };
        std::fs::File::create(power.image()).unwrap().set_len(megabytes << 20).unwrap();
        assert!(Command::new(make).args(["-q", "-F"]).arg(power.image()).status().unwrap().success());
        if !power.mount() {
            skip("root cannot mount a disk here");
            return None;
        }
        Some(power)
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn disk(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    fn mount(&self) -> bool {
        let mounted = Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.disk()).status();
        mounted.unwrap().success()
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

fn power_is_cut(durability: Durability, cuts: u64) {
    let Some(power) = Power::new(256) else { return };
    let cache = power.disk().join("cache");
    let ways = if durability == Durability::Durable { Ways::Keeping } else { Ways::All };
    let mut fleet = Fleet::new(&cache, cuts, ways, Some(durability));
    for cut in 1..=cuts {
        fleet.start_all();
        fleet.wait_until_all_are_open();
        fleet.wait_for_requests(60);
        if cut == cuts {
            fleet.wait_for_everything();
        }
        let marker = power.disk().join(cut.to_string());
        fleet.kill_all(|| {
            std::fs::write(&marker, "not synced").unwrap();
            power.cut();
        });
        power.unmount();
        assert!(power.mount());
        // The journal of the file system may have had its name by then, and the bytes not.
        assert!(std::fs::read(&marker).unwrap_or_default().is_empty(), "the power was not cut");
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

#[test]
#[ignore = "a process of another test, which is: cargo test --release --all-features --test it a_test_that_is_killed"]
fn with_a_disk() {
    let (power, disk) = (Power::new(16).unwrap(), Disk::mount(1_000).unwrap());
    let mut sleeper = mortal("sleep").arg("1000").spawn().unwrap();
    // Before that it is not mortal yet.
    while std::fs::read_to_string(format!("/proc/{}/comm", sleeper.id())).unwrap() != "sleep\n" {
        std::thread::sleep(Duration::from_millis(1));
    }
    say(&format!("{} {} {}", power.dir.path().display(), disk.dir.path().display(), sleeper.id()));
    sleeper.wait().unwrap();
}

#[test]
fn a_test_that_is_killed_leaves_no_disk_and_no_program() {
    if Disk::mount(1_000).is_none() || tool("mkfs.ext4").is_none() {
        return;
    }
    let mut test = Worker::start("crash::power::with_a_disk", []);
    let said = test.hear();
    let [power, disk, sleeper] = said.split(' ').collect::<Vec<_>>()[..] else { panic!("{said}") };
    let is_running = || {
        let stat = std::fs::read_to_string(format!("/proc/{sleeper}/stat")).unwrap_or_default();
        // Whoever has ended and is not waited for still has one.
        !stat.is_empty() && !stat.contains(") Z ")
    };
    let loops = || {
        let devices = std::fs::read_dir("/sys/block").unwrap().map(|device| device.unwrap().path());
        devices.filter_map(|device| std::fs::read_to_string(device.join("loop/backing_file")).ok()).collect::<String>()
    };
    let left = || {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let mounted = [power, disk].map(|of| mounts.contains(of) || Path::new(of).exists());
        (mounted, loops().contains(power), is_running())
    };
    assert_eq!(left(), ([true; 2], true, true));
    test.kill();
    let deadline = Instant::now() + Duration::from_secs(60);
    while left() != ([false; 2], false, false) {
        assert!(Instant::now() < deadline, "{:?} are left", left());
        std::thread::sleep(Duration::from_millis(5));
    }
}
