//! Disks that are full or read-only, and manifests that are damaged, held by others or too new.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use larder::{ErrorKind, FeatureStore, Outcome, Settings};

use crate::damage::files;
use crate::desk::{Desk, checked_rows, minutes, quiet, range, symbol, view};
use crate::tools::{Mounted, root, skip};

/// A small disk of its own, until it is dropped.
pub struct Disk {
    _mounted: Mounted,
    pub dir: tempfile::TempDir,
}

impl Disk {
    /// `None`, said aloud, where this user cannot mount.
    pub fn mount(kilobytes: u32) -> Option<Self> {
        Self::mount_with(&format!("size={kilobytes}k"))
    }

    /// The same with these options.
    pub fn mount_with(options: &str) -> Option<Self> {
        if !root("mount a disk") {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let disk = Self { _mounted: Mounted::at(dir.path(), dir.path()), dir };
        let options = format!("{options},mode=0700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(disk.dir.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(disk);
        }
        skip("root cannot mount a disk here");
        None
    }

    pub fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    pub fn remount(&self, how: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(self.dir.path()).status();
        assert!(done.unwrap().success());
    }
}

fn open(cache: &Path, settings: Settings) -> FeatureStore {
    FeatureStore::builder(cache).settings(settings).open().unwrap()
}

#[test]
fn a_full_disk_costs_blocks_never_answers_and_is_forgotten_once_there_is_room() {
    let Some(disk) = Disk::mount(4_000) else { return };
    let store = open(&disk.cache(), quiet());
    let filler = disk.dir.path().join("filler");
    for day in 1..=20 {
        if day == 4 {
            // To the last byte.
            let _ = std::fs::write(&filler, vec![1u8; 8 << 20]);
        }
        let days = range(&format!("2024-02-{day:02}"), &format!("2024-02-{:02}", day + 1));
        let entity = symbol(&format!("S{day}"));
        let answer = store.get_or_compute(&view(), &entity, days, minutes).unwrap();
        assert_eq!(checked_rows(&answer, &entity), 1440);
        store.flush();
    }
    let kept = files(&disk.cache().join("blocks")).len();
    assert!((3..20).contains(&kept), "{kept} blocks on a full disk");
    assert!(files(&disk.cache().join("tmp")).iter().all(|file| file.ends_with("lock")), "half-written files stayed");
    std::fs::remove_file(&filler).unwrap();
    store.get_or_compute(&view(), &symbol("AFTER"), range("2024-02-01", "2024-02-02"), minutes).unwrap();
    assert_eq!(files(&disk.cache().join("blocks")).len(), kept + 1);
    drop(store);
    let store = open(&disk.cache(), quiet());
    let again = store.get_or_compute(&view(), &symbol("S1"), range("2024-02-01", "2024-02-02"), minutes).unwrap();
    assert_eq!((again.outcome(), checked_rows(&again, &symbol("S1"))), (Outcome::Hit, 1440));
}

#[cfg(feature = "cli")]
#[test]
fn what_a_full_disk_costs_is_counted_and_said_once() {
    let Some(disk) = Disk::mount(4_000) else { return };
    let store = open(&disk.cache(), quiet());
    let ask = |day: u32| {
        let days = range(&format!("2024-02-{day:02}"), &format!("2024-02-{:02}", day + 1));
        let answer = store.get_or_compute(&view(), &symbol("FULL"), days, minutes).unwrap();
        assert_eq!((answer.outcome(), checked_rows(&answer, &symbol("FULL"))), (Outcome::Miss, 1440));
    };
    let (filler, metric) = (disk.dir.path().join("filler"), |name: &str| {
        let metrics = store.metrics_text().unwrap();
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        line.unwrap_or_else(|| panic!("no {name} in {metrics}"))
    });
    let _ = std::fs::write(&filler, vec![1u8; 8 << 20]);
    let log = crate::failures::logged(|| (1..10).for_each(ask));
    assert_eq!(log.matches("the cache could not be used; going on without").count(), 1, "{log}");
    assert!(log.contains("operation=\"publish\"") && log.contains("No space left on device"), "{log}");
    let counted = || {
        let names = [r#"io_errors_total{operation="publish"}"#, r#"dropped_publishes_total{reason="io"}"#];
        names.map(|name| metric(&format!("featurestore_{name}")))
    };
    assert_eq!(counted(), [9.0, 9.0]);
    std::fs::remove_file(&filler).unwrap();
    ask(10);
    assert_eq!(counted(), [9.0, 9.0], "there is room again");
}

#[test]
fn a_read_only_disk_serves_what_it_has_and_computes_the_rest() {
    let Some(disk) = Disk::mount(4_000) else { return };
    let day = range("2024-02-01", "2024-02-02");
    open(&disk.cache(), quiet()).get_or_compute(&view(), &symbol("OLD"), day, minutes).unwrap();
    disk.remount("ro");
    let store = open(&disk.cache(), quiet());
    let old = store.get_or_compute(&view(), &symbol("OLD"), day, minutes).unwrap();
    assert_eq!(old.outcome(), Outcome::Hit);
    let new = store.get_or_compute(&view(), &symbol("NEW"), day, minutes).unwrap();
    assert_eq!((new.outcome(), checked_rows(&new, &symbol("NEW"))), (Outcome::Miss, 1440));
    let refused = store.invalidate(&view(), &symbol("OLD"), day).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "an invalidation that cannot hold is no success: {refused}");
    disk.remount("rw");
    let later = range("2024-02-02", "2024-02-03");
    store.get_or_compute(&view(), &symbol("NEW"), later, minutes).unwrap();
    let other = open(&disk.cache(), quiet()).get_or_compute(&view(), &symbol("NEW"), later, minutes).unwrap();
    assert_eq!(other.outcome(), Outcome::Hit, "the first block is kept again");
    assert_eq!(store.invalidate(&view(), &symbol("OLD"), day).unwrap(), 1);
}

/// A store that keeps house all the time, while something is wrong with its manifest.
fn with_trouble(make: impl FnOnce(&Path), mend: impl FnOnce(&Path)) {
    let mut desk = Desk::new();
    desk.settings.manifest.fold_interval = Duration::from_millis(10);
    let root = desk.dir.path().join("cache");
    let first = desk.open();
    first.get_or_compute(&view(), &symbol("BEFORE"), range("2024-03-01", "2024-03-04"), minutes).unwrap();
    assert_eq!(first.manifest().read(|query| query.totals()).unwrap().blocks, 3);
    drop(first);
    make(&root);
    let store = desk.open();
    for (name, outcome) in [("BEFORE", Outcome::Hit), ("DURING", Outcome::Miss), ("DURING", Outcome::Hit)] {
        let answer = store.get_or_compute(&view(), &symbol(name), range("2024-03-01", "2024-03-04"), minutes).unwrap();
        assert_eq!((answer.outcome(), checked_rows(&answer, &symbol(name))), (outcome, 3 * 1440));
        std::thread::sleep(Duration::from_millis(60));
    }
    mend(&root);
    let patience = Instant::now();
    loop {
        let blocks = store.manifest().read(|query| query.totals()).map_or(0, |totals| totals.blocks);
        if blocks == 6 {
            break;
        }
        assert!(patience.elapsed() < Duration::from_secs(60), "{blocks} of 6 blocks in the manifest");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_manifest_of_random_bytes_is_set_aside_and_made_again_from_the_blocks() {
    with_trouble(
        |root| std::fs::write(root.join("manifest.duckdb"), vec![0xA5; 100_000]).unwrap(),
        |root| assert!(files(root).iter().any(|file| file.to_string_lossy().contains("manifest.duckdb.damaged"))),
    );
}

#[test]
fn a_deleted_manifest_is_made_again_from_the_blocks() {
    with_trouble(|root| std::fs::remove_file(root.join("manifest.duckdb")).unwrap(), |_| ());
}

#[test]
fn a_manifest_whose_lock_somebody_holds_is_folded_once_it_is_free() {
    let held = std::cell::RefCell::new(None);
    with_trouble(
        |root| {
            let lock = std::fs::File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(root.join("manifest.lock"))
                .unwrap();
            lock.lock().unwrap();
            *held.borrow_mut() = Some(lock);
        },
        |_| drop(held.borrow_mut().take()),
    );
}
