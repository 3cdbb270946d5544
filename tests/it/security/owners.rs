//! Files that belong to others, and what others may see of ours.

use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use larder::ErrorKind;
use larder::store::{CacheDir, Publish};

use crate::desk::{Desk, checked_rows, range, symbol, view};
use crate::tools::root;

const STRANGER: u32 = 54_321;

#[test]
fn pieces_that_belong_to_somebody_else_are_refused_by_name() {
    if !root("give files away") {
        return;
    }
    let desk = Desk::new();
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    desk.open().get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
    let cache = desk.dir.path().join("cache");
    let mut refused = 0;
    for piece in ["blocks", "tmp", "locks", "quarantine", "journal", "generations", "pushed", "registry", "online"] {
        let path = cache.join(piece);
        if !path.exists() {
            std::fs::create_dir(&path).unwrap();
        }
        lchown(&path, Some(STRANGER), None).unwrap();
        let error = CacheDir::open(&cache, Publish::Fast, "test").map(drop).unwrap_err();
        let message = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{message}");
        assert!(message.contains(piece) && message.contains(&format!("belongs to user {STRANGER}")), "{message}");
        assert_eq!(std::fs::metadata(&path).unwrap().uid(), STRANGER, "it is left as it was");
        lchown(&path, Some(0), None).unwrap();
        refused += 1;
    }
    CacheDir::open(&cache, Publish::Fast, "test").unwrap();
    eprintln!("{refused} pieces of a stranger's: {refused} refused by name");
}

#[test]
fn a_manifest_of_somebody_else_is_left_alone_and_requests_go_on() {
    if !root("give files away") {
        return;
    }
    let desk = Desk::new();
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    let store = desk.open();
    store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
    store.manifest().fold().unwrap();
    drop(store);
    let manifest = desk.dir.path().join("cache/manifest.duckdb");
    let before = std::fs::read(&manifest).unwrap();
    lchown(&manifest, Some(STRANGER), None).unwrap();
    let store = desk.open();
    let answer = store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
    assert_eq!(checked_rows(&answer, &eurusd), 1440);
    let error = store.manifest().read(|query| query.totals()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&format!("belongs to user {STRANGER}")), "{error}");
    drop(store);
    assert_eq!(std::fs::read(&manifest).unwrap(), before);
    assert_eq!(std::fs::metadata(&manifest).unwrap().uid(), STRANGER);
}

#[test]
fn a_stranger_s_file_deep_in_a_directory_that_was_open_to_others_is_refused() {
    if !root("give files away") {
        return;
    }
    let desk = Desk::new();
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    desk.open().get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
    let cache = desk.dir.path().join("cache");
    let block = crate::damage::files(&cache.join("blocks")).remove(0);
    lchown(&block, Some(STRANGER), None).unwrap();
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o770)).unwrap();
    let refused = CacheDir::open(&cache, Publish::Fast, "test").map(drop).unwrap_err().to_string();
    assert!(refused.contains(&block.display().to_string()) && refused.contains("belongs to user"), "{refused}");
}

/// Fails where anybody but the owner may do anything.
fn assert_private(directory: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, wanted, "{}", path.display());
        count += 1;
        if metadata.is_dir() {
            count += assert_private(&path);
        }
    }
    count
}

#[cfg(feature = "cli")]
#[test]
fn whatever_the_program_makes_is_for_its_owner_alone_even_without_a_umask() {
    let larder = crate::cli_definitions::with_definitions();
    std::fs::write(larder.path("rows.csv"), "symbol,event_timestamp,position\nEUR/USD,2024-03-05 10:00:00,1\n")
        .unwrap();
    let program = env!("CARGO_BIN_EXE_larder");
    let script = format!(
        "umask 000
        {program} apply
        {program} push state rows.csv
        {program} get momentum --entity symbol=USD/COP --start 2024-03-06T01:00:00Z --end 2024-03-06T03:00:00Z
        {program} stats
        {program} registry backup backup.json"
    );
    let output = larder.shell(&script).env("BARS", larder.path("bars")).output().unwrap();
    assert!(output.status.success(), "{}", crate::cli::stderr(&output));
    let count = assert_private(&larder.cache());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&larder.cache()), 0o700);
    assert_eq!(mode(&larder.path("backup.json")), 0o600);
    eprintln!("{count} files and directories made under umask 000: all 0600 and 0700");
    assert!(count > 15);
}
