//! Cache directories of every kind.

use std::os::unix::fs::PermissionsExt;

use larder::{ErrorKind, FeatureStore, Outcome};

use crate::damage::files;
use crate::desk::{Desk, checked_rows, minutes, quiet, range, symbol, view};

#[test]
fn a_missing_directory_is_made_for_its_owner_alone() {
    let desk = Desk::new();
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    let store = desk.open();
    store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
    drop(store);
    let root = desk.dir.path().join("cache");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&root), 0o700);
    for file in files(&root) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
        assert_eq!(mode(file.parent().unwrap()), 0o700, "{}", file.display());
    }
}

#[test]
fn a_loose_directory_is_made_private() {
    let desk = Desk::new();
    let root = desk.dir.path().join("cache");
    std::fs::create_dir(&root).unwrap();
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).unwrap();
    desk.open();
    assert_eq!(std::fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_file_and_a_directory_with_other_things_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let open = |path: &std::path::Path| FeatureStore::builder(path).settings(quiet()).open().map(drop).unwrap_err();
    let error = open(&file);
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("is a file: give a directory"), "{error}");
    let error = open(dir.path());
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("holds other things, such as file"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was made in it");
}

#[test]
fn somebody_elses_directory_is_refused() {
    if !crate::tools::root("give a directory away") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("cache");
    std::fs::create_dir(&root).unwrap();
    std::os::unix::fs::chown(&root, Some(12_345), None).unwrap();
    let error = FeatureStore::builder(&root).settings(quiet()).open().map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("belongs to user 12345"), "{error}");
}

#[test]
fn settings_that_are_not_allowed_are_refused() {
    let mut settings = quiet();
    settings.slo.objective = 95.0;
    let error = FeatureStore::builder("unused").settings(settings).open().map(drop).unwrap_err();
    assert!(error.to_string().contains("slo.objective = 95"), "{error}");
}

#[test]
fn a_cache_whose_directories_vanish_goes_on_and_mends_itself() {
    let desk = Desk::new();
    let (view, eurusd) = (view(), symbol("EURUSD"));
    let store = desk.open();
    let root = desk.dir.path().join("cache");
    for (day, gone) in [(1, "blocks"), (2, "tmp"), (3, "locks"), (4, "journal"), (5, "quarantine")] {
        let _ = std::fs::remove_dir_all(root.join(gone));
        let days = range(&format!("2024-03-{day:02}"), &format!("2024-03-{:02}", day + 1));
        let answer = store.get_or_compute(&view, &eurusd, days, |gap| desk.compute(gap)).unwrap();
        assert_eq!((answer.outcome(), checked_rows(&answer, &eurusd)), (Outcome::Miss, 1440), "without {gone}");
    }
    drop(store);
    let answer =
        desk.open().get_or_compute(&view, &eurusd, range("2024-03-02", "2024-03-06"), |gap| desk.compute(gap)).unwrap();
    assert_eq!(answer.outcome(), Outcome::Hit, "what came after was kept");
}

#[test]
fn without_room_on_the_disk_requests_are_computed_and_answered() {
    let mut desk = Desk::new();
    desk.settings.disk.reserve_gb = 1e6;
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    let store = desk.open();
    let answer = store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
    assert_eq!((answer.outcome(), checked_rows(&answer, &eurusd)), (Outcome::Miss, 1440));
    assert!(files(&desk.dir.path().join("cache/blocks")).is_empty());
    let answer = store.get_or_compute(&view, &eurusd, day, |gap| desk.compute(gap)).unwrap();
    assert_eq!(answer.outcome(), Outcome::Hit, "memory keeps it");
}

#[test]
fn hostile_keys_stay_inside_and_apart() {
    let desk = Desk::new();
    let (view, day) = (view(), range("2024-03-01", "2024-03-02"));
    let store = desk.open();
    let long = ["A".repeat(300), "é".repeat(300), format!("{}B", "A".repeat(299))];
    let hostile = [
        "../../x",
        "/etc/passwd",
        "..",
        ".",
        "~",
        "a\0b",
        "%2F",
        "%",
        "=",
        "x=y",
        "con",
        "*",
        "[1]",
        "spy",
        "SPY",
        "sPy",
        "\u{202e}",
    ];
    let names: Vec<&str> = hostile.iter().copied().chain(long.iter().map(String::as_str)).collect();
    for name in &names {
        let entity = symbol(name);
        let answer = store.get_or_compute(&view, &entity, day, minutes).unwrap();
        assert_eq!((answer.outcome(), checked_rows(&answer, &entity)), (Outcome::Miss, 1440), "{name:?}");
    }
    drop(store);
    let found = files(&desk.dir.path().join("cache/blocks"));
    assert_eq!(found.len(), names.len());
    let folded: std::collections::HashSet<_> = found.iter().map(|path| path.to_string_lossy().to_lowercase()).collect();
    assert_eq!(folded.len(), names.len(), "distinct on a disk that ignores case");
    let store = desk.open();
    for name in &names {
        assert_eq!(
            store.get_or_compute(&view, &symbol(name), day, minutes).unwrap().outcome(),
            Outcome::Hit,
            "{name:?}"
        );
    }
}
