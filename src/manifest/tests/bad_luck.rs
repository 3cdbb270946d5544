//! Damaged, locked, foreign and missing manifests.

use std::path::{Path, PathBuf};

use crate::error::ErrorKind;
use crate::manifest::testing::{block, blocks, counted, manifest, published, requests};
use crate::manifest::{Journal, Manifest};
use crate::model::{Outcome, Timestamp};
use crate::mutate::times;

/// A cache directory with a live journal, and a manifest into which it was folded.
struct Bench {
    dir: tempfile::TempDir,
    journal: Journal,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::create(dir.path()).unwrap();
        let bench = Self { dir, journal };
        let many: Vec<_> = (0..200).map(|day| published(block("A", day, 1))).collect();
        bench.journal.append(&many).unwrap();
        bench.journal.append(&[requests(1, Outcome::Hit, 5)]).unwrap();
        manifest(bench.dir.path()).rebuild(crate::manifest::testing::at(0), []).unwrap();
        bench
    }

    fn manifest(&self) -> Manifest {
        manifest(self.dir.path())
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("manifest.duckdb")
    }

    fn damaged(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
        names.retain(|name| name.contains(".damaged-"));
        names.sort();
        names
    }

    /// The manifest is new, was told to be, and holds what the live journal still has.
    fn assert_begun_anew(&self, what: &str) {
        let report = self.manifest().fold().unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(report.set_aside.as_deref().is_some_and(Path::exists), "{what}: {report:?}");
        assert!(report.needs_rebuild, "{what}");
        assert_eq!(counted(&self.manifest()), 5, "{what}");
        assert_eq!(blocks(&self.manifest()).len(), 200, "{what}");
    }
}

#[test]
fn a_deleted_manifest_is_begun_anew() {
    let bench = Bench::new();
    let manifest = bench.manifest();
    assert!(!manifest.fold().unwrap().needs_rebuild);
    std::fs::remove_file(bench.path()).unwrap();
    assert!(manifest.fold().unwrap().needs_rebuild);
    assert_eq!(counted(&manifest), 5);
}

#[test]
fn an_emptied_manifest_asks_for_a_rebuild() {
    let bench = Bench::new();
    std::fs::write(bench.path(), b"").unwrap();
    let report = bench.manifest().fold().unwrap();
    assert!(report.needs_rebuild);
    assert_eq!(counted(&bench.manifest()), 5);
}

#[test]
fn a_damaged_manifest_is_set_aside() {
    let whole = std::fs::read(Bench::new().path()).unwrap();
    let noise: Vec<u8> = (0..50_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let cases: [(&str, Vec<u8>); 5] = [
        ("noise", noise),
        ("short text", b"hello".to_vec()),
        ("cut in the header", whole[..5_000].to_vec()),
        ("cut at half", whole[..whole.len() / 2].to_vec()),
        ("zeros", vec![0; whole.len()]),
    ];
    for (what, bytes) in cases {
        let bench = Bench::new();
        std::fs::write(bench.path(), bytes).unwrap();
        bench.assert_begun_anew(what);
    }
}

#[test]
fn wherever_a_byte_is_flipped_the_answer_is_right_or_the_manifest_is_set_aside() {
    let bench = Bench::new();
    let whole = std::fs::read(bench.path()).unwrap();
    let mut set_aside = 0;
    for place in (0..whole.len()).step_by(whole.len() / 40 + 1).chain([0, 9, 20, 4096, 4104, 8200]) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        std::fs::write(bench.path(), bytes).unwrap();
        let asked = bench.manifest().read(|query| {
            Ok((
                query.outcomes(crate::manifest::testing::at(0), Timestamp::MAX)?,
                query.blocks(&Default::default())?.len(),
            ))
        });
        match asked {
            Ok((outcomes, found)) => assert_eq!((outcomes[0].count, found), (5, 200), "byte {place}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {place}: {error}"),
        }
        set_aside += usize::from(!bench.damaged().is_empty());
        assert!(bench.damaged().len() <= 2, "{:?}", bench.damaged());
        assert_eq!(counted(&bench.manifest()), 5, "byte {place}");
    }
    assert!(set_aside > 0);
}

/// Leaves a log beside the manifest, as `kill -9` between commit and checkpoint does: seven more
/// requests and how far the journal was read, in one transaction.
fn leave_log(bench: &Bench) -> PathBuf {
    bench.journal.append(&[requests(1, Outcome::Hit, 7)]).unwrap();
    let size = std::fs::metadata(bench.journal.path()).unwrap().len();
    let connection = duckdb::Connection::open(bench.path()).unwrap();
    let sql = format!(
        "PRAGMA disable_checkpoint_on_shutdown; BEGIN; UPDATE journals SET read_to = {size};
         UPDATE requests_per_minute SET count = count + 7; COMMIT"
    );
    connection.execute_batch(&sql).unwrap();
    connection.close().unwrap();
    let log = bench.dir.path().join("manifest.duckdb.wal");
    assert!(log.exists());
    log
}

#[test]
fn a_log_that_a_killed_folder_left_is_taken_over() {
    let bench = Bench::new();
    let log = leave_log(&bench);
    let report = bench.manifest().fold().unwrap();
    assert_eq!((report.records, report.set_aside), (0, None));
    assert_eq!(counted(&bench.manifest()), 12);
    assert!(!log.exists());
}

#[test]
fn a_log_cut_or_changed_anywhere_loses_nothing_and_counts_nothing_twice() {
    let bench = Bench::new();
    let log = leave_log(&bench);
    let (manifest, whole) = (std::fs::read(bench.path()).unwrap(), std::fs::read(&log).unwrap());
    let (mut set_aside, mut folded_again) = (0, 0);
    let step = |few| times(whole.len() as u64 / few + 1, 1) as usize;
    let cuts = (0..whole.len()).step_by(step(12)).map(|cut| (cut, whole[..cut].to_vec()));
    let bits = times(1, 8) as usize;
    let flips = (0..whole.len() * bits).step_by(step(24)).map(|place| {
        let mut bytes = whole.clone();
        bytes[place / bits] ^= 0x20_u8.rotate_left((place % bits) as u32);
        (place / bits, bytes)
    });
    let mut count = 0;
    for (place, bytes) in cuts.chain(flips) {
        count += 1;
        std::fs::write(bench.path(), &manifest).unwrap();
        std::fs::write(&log, bytes).unwrap();
        let report = bench.manifest().fold().unwrap();
        set_aside += u32::from(report.set_aside.is_some());
        let log_is_with_it = |aside: &PathBuf| PathBuf::from(format!("{}.wal", aside.display())).exists();
        assert!(report.set_aside.as_ref().is_none_or(log_is_with_it), "byte {place}: {report:?}");
        folded_again += u32::from(report.set_aside.is_none() && report.records > 0);
        assert_eq!(counted(&bench.manifest()), 12, "byte {place}: {report:?}");
        assert_eq!(blocks(&bench.manifest()).len(), 200, "byte {place}");
    }
    // Both ways out were taken: a torn log is cut by DuckDB, a damaged one is refused.
    assert!(set_aside > 0 && folded_again > 0, "{set_aside} {folded_again}");
    println!("{count} logs of the manifest cut or changed: {set_aside} set aside with it, {folded_again} folded again");
}

#[test]
fn only_two_damaged_manifests_are_kept() {
    let bench = Bench::new();
    let clock = std::sync::Arc::new(crate::clock::ManualClock::new(1_000_000_007));
    let manifest = Manifest::new(bench.dir.path(), clock.clone());
    for round in 0..4 {
        clock.advance(std::time::Duration::from_millis(700));
        std::fs::write(bench.path(), format!("damage {round}, and enough of it to be no empty file")).unwrap();
        manifest.rebuild(crate::manifest::testing::at(0), []).unwrap();
    }
    let kept = bench.damaged();
    assert_eq!(kept.len(), 2, "{kept:?}");
    let newest = std::fs::read_to_string(bench.dir.path().join(&kept[1])).unwrap();
    assert!(newest.starts_with("damage 3"), "{newest}");
}

#[test]
fn a_table_that_is_missing_is_damage() {
    let bench = Bench::new();
    let connection = duckdb::Connection::open(bench.path()).unwrap();
    connection.execute_batch("DROP TABLE misses").unwrap();
    connection.close().unwrap();
    bench.assert_begun_anew("dropped table");
}

#[test]
fn a_newer_schema_is_left_untouched() {
    let bench = Bench::new();
    let connection = duckdb::Connection::open(bench.path()).unwrap();
    connection.execute_batch("UPDATE meta SET value = '7' WHERE key = 'schema_version'; CHECKPOINT").unwrap();
    connection.close().unwrap();
    let before = std::fs::read(bench.path()).unwrap();
    let error = bench.manifest().fold().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let versions = format!("schema version 7, this larder knows up to {}", crate::manifest::schema::VERSION);
    assert!(error.to_string().contains(&versions), "{error}");
    assert!(std::fs::read(bench.path()).unwrap() == before);
    assert_eq!(bench.damaged(), [""; 0]);
}

#[test]
fn a_manifest_that_is_a_directory_is_unavailable_and_the_journals_stay() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::create(dir.path()).unwrap();
    journal.append(&[requests(1, Outcome::Hit, 5)]).unwrap();
    let path = journal.path();
    drop(journal);
    std::fs::create_dir(dir.path().join("manifest.duckdb")).unwrap();
    let error = manifest(dir.path()).fold().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(path.exists());
    std::fs::remove_dir(dir.path().join("manifest.duckdb")).unwrap();
    assert_eq!(counted(&manifest(dir.path())), 5);
}

#[test]
fn a_missing_cache_directory_is_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    let error = manifest(&dir.path().join("nowhere")).fold().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

/// Writes `number` at `place` of a header of the DuckDB file, and makes the header's checksum right again.
fn forge(path: &Path, header: usize, place: usize, number: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[header + place..][..8].copy_from_slice(&number.to_le_bytes());
    std::fs::write(path, &bytes).unwrap();
    // DuckDB itself says what the checksum should be.
    let refused = duckdb::Connection::open(path).map(drop).unwrap_err().to_string();
    if let Some((_, rest)) = refused.split_once("computed checksum ") {
        let computed: u64 = rest.split(' ').next().unwrap().parse().unwrap();
        bytes[header..][..8].copy_from_slice(&computed.to_le_bytes());
        std::fs::write(path, &bytes).unwrap();
    }
}

#[test]
fn a_file_of_a_newer_duckdb_is_left_untouched() {
    // The version stands in the main header, and again in each of the two headers behind it.
    let cases: [(&str, &[(usize, usize)]); 2] =
        [("main header", &[(0, 12)]), ("database header", &[(4096, 56), (8192, 56)])];
    for (what, places) in cases {
        let bench = Bench::new();
        for (header, place) in places {
            forge(&bench.path(), *header, *place, 1234);
        }
        let before = std::fs::read(bench.path()).unwrap();
        let error = bench.manifest().fold().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}: {error}");
        assert!(error.to_string().contains("newer or foreign DuckDB"), "{what}: {error}");
        assert!(std::fs::read(bench.path()).unwrap() == before, "{what}");
        assert_eq!(bench.damaged(), [""; 0], "{what}");
    }
}

#[test]
#[ignore = "needs a small file system, mount -t tmpfs -o size=3m tmpfs DIR: LARDER_TEST_SMALL_DISK=DIR cargo test --release --all-features --lib a_full_disk_is -- --ignored"]
fn a_full_disk_is_unavailable_and_the_journals_stay() {
    let disk = PathBuf::from(std::env::var_os("LARDER_TEST_SMALL_DISK").expect("the mount point"));
    let dir = tempfile::tempdir_in(disk).unwrap();
    let journal = Journal::create(dir.path()).unwrap();
    let filler = dir.path().join("filler");
    let many = |name: &str| (0..100).map(|day| published(block(name, day, 1))).collect::<Vec<_>>();
    journal.append(&many("A")).unwrap();
    manifest(dir.path()).fold().unwrap();
    for left in [0, 4_096, 50_000, 200_000, 400_000] {
        let name = format!("L{left}");
        journal.append(&many(&name)).unwrap();
        let mut file = std::fs::File::create(&filler).unwrap();
        while std::io::Write::write_all(&mut file, &[7; 4_096]).is_ok() {}
        let full = file.metadata().unwrap().len();
        file.set_len(full.saturating_sub(left)).unwrap();
        if left == 0 {
            assert_eq!(journal.append(&many("REFUSED")).unwrap_err().kind(), ErrorKind::Unavailable);
        }
        match manifest(dir.path()).fold() {
            Ok(report) => println!("{left} bytes left: {report:?}"),
            Err(error) => {
                println!("{left} bytes left: {error}");
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            }
        }
        std::fs::remove_file(&filler).unwrap();
    }
    assert_eq!(blocks(&manifest(dir.path())).len(), 600);
    assert_eq!(count_damaged(dir.path()), 0);
}

fn count_damaged(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().contains(".damaged-")).count()
}
