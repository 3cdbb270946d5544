//! Damaged, locked, foreign and missing manifests.

use std::path::{Path, PathBuf};

use crate::error::ErrorKind;
use crate::manifest::testing::{block, blocks, counted, manifest, published, requests};
use crate::manifest::{Journal, Manifest};
use crate::model::Outcome;

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

fn write_wal(bench: &Bench, bytes: &[u8]) {
    std::fs::write(bench.dir.path().join("manifest.duckdb.wal"), bytes).unwrap();
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
            Ok((query.outcomes(crate::manifest::testing::at(0))?, query.blocks(&Default::default())?.len()))
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

#[test]
fn a_log_that_is_not_of_this_manifest_is_set_aside_with_it() {
    for (what, bytes) in [("noise", vec![0x5a; 3_000]), ("text", b"not a log".to_vec())] {
        let bench = Bench::new();
        write_wal(&bench, &bytes);
        let report = bench.manifest().fold().unwrap();
        // DuckDB takes what does not even begin like a log for one that was torn at once.
        assert!(report.set_aside.is_some() || blocks(&bench.manifest()).len() == 200, "{what}: {report:?}");
        assert_eq!(counted(&bench.manifest()), 5, "{what}");
    }
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
    assert!(error.to_string().contains("schema version 7, this larder knows up to 1"), "{error}");
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
