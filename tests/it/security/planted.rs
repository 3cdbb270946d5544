//! Links, second names and pipes at every place of a cache: none is followed, nothing outside changes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use larder::manifest::{Journal, Manifest, Record};
use larder::registry::{DefinitionFile, Registry};
use larder::store::{CacheDir, Publish};
use larder::upkeep::{CleanOptions, Silent, clean, repair, verify};
use larder::{FeatureStore, Outcome, TimeRange, ViewName};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::outside::{Canary, Snapshot};
use crate::damage::files;
use crate::desk::{Desk, checked_rows, range, symbol, time, view};
use crate::pushes::{features, try_column, try_to_push};

/// What is put in the place of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plant {
    LinkToDirectory,
    LinkToFile,
    LinkToNothing,
    SecondName,
    Pipe,
}

impl Plant {
    const ALL: [Self; 5] = [Self::LinkToDirectory, Self::LinkToFile, Self::LinkToNothing, Self::SecondName, Self::Pipe];

    fn put(self, place: &Path, canary: &Canary) {
        match std::fs::symlink_metadata(place) {
            Ok(there) if there.is_dir() => std::fs::remove_dir_all(place).unwrap(),
            Ok(_) => std::fs::remove_file(place).unwrap(),
            Err(_) => std::fs::create_dir_all(place.parent().unwrap()).unwrap(),
        }
        match self {
            Self::LinkToDirectory => std::os::unix::fs::symlink(&canary.directory, place).unwrap(),
            Self::LinkToFile => std::os::unix::fs::symlink(&canary.file, place).unwrap(),
            Self::LinkToNothing => std::os::unix::fs::symlink(&canary.nothing, place).unwrap(),
            Self::SecondName => std::fs::hard_link(&canary.file, place).unwrap(),
            Self::Pipe => mknodat(CWD, place, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap(),
        }
    }
}

fn marks() -> ViewName {
    ViewName::new("marks").unwrap()
}

fn days() -> TimeRange {
    range("2024-03-01", "2024-03-04")
}

/// The hours of what is pushed.
fn pushed_hours() -> TimeRange {
    range("2024-03-15T09:00:00Z", "2024-03-15T11:00:00Z")
}

/// Pushes a row at ten o'clock. What is acknowledged is in the answer afterwards.
fn push(store: &FeatureStore) -> Result<(), String> {
    let features = features(store.clone()).map_err(|error| error.to_string())?;
    // On a thread of its own, so that one that does not end is told of.
    let (end, ended) = std::sync::mpsc::channel();
    let pushing = features.clone();
    std::thread::spawn(move || end.send(try_to_push(&pushing, "marks", &[("10:00", "", 2.0)])));
    let pushed = ended.recv_timeout(Duration::from_secs(60)).map_err(|_| "it does not end")?;
    pushed.map_err(|error| error.to_string())?;
    let answer = try_column(&features, "marks", "mark", pushed_hours()).unwrap();
    assert!(answer.ends_with(&[2.0]), "a push was acknowledged, and the answer is {answer:?}");
    Ok(())
}

/// Applies definitions, which are the latest afterwards.
fn apply(cache: &Path) -> Result<(), String> {
    let registry = Registry::new(cache);
    let version = || registry.latest().map_err(|error| error.to_string());
    let base = version()?.map_or(0, |version| version.number);
    let files = vec![DefinitionFile { path: "/definitions/a.toml".into(), text: format!("# {base}") }];
    let added = registry.add(base, files, time(crate::desk::NOW), "ada").map_err(|error| error.to_string())?;
    assert_eq!(version()?, Some(added));
    Ok(())
}

/// A cache with blocks of two entities, rows in its manifest, pushed rows, definitions and what else there may be.
fn filled(desk: &Desk) -> PathBuf {
    let store = desk.open();
    try_to_push(&features(store.clone()).unwrap(), "marks", &[("09:00", "", 1.0)]).unwrap();
    apply(&desk.dir.path().join("cache")).unwrap();
    for name in ["EURUSD", "USDJPY"] {
        store.get_or_compute(&view(), &symbol(name), days(), |gap| desk.compute(gap)).unwrap();
    }
    store.flush();
    store.manifest().fold().unwrap();
    drop(store);
    desk.dir.path().join("cache")
}

/// Everything that may be done with a cache. Whether it succeeds is asked elsewhere: here only values count, and what was
/// acknowledged, and an error has to say what it is about.
fn everything(desk: &Desk, cache: &Path) -> Result<(), String> {
    let store = FeatureStore::builder(cache).settings(desk.settings.clone()).clock(desk.clock.clone()).open();
    let store = store.map_err(|error| error.to_string())?;
    let pushed = use_store(desk, &store);
    drop(store);
    let applied = apply(cache);
    let dir = CacheDir::open(cache, Publish::Durable, "other").map_err(|error| error.to_string())?;
    let manifest = Manifest::new(cache, desk.clock.clone());
    let now = time(crate::desk::NOW);
    let _ = verify(&dir, &manifest, now, &mut Silent);
    let _ = repair(&dir, &manifest, now, &mut Silent);
    let mut settings = desk.settings.clone();
    settings.max_cache_size_gb = 1e-9;
    settings.disk.min_age = Duration::ZERO;
    if let Ok(journal) = Journal::create(cache) {
        let append = |records: &[Record]| drop(journal.append(records));
        let _ = clean(&dir, &manifest, &settings, now, CleanOptions::default(), append, &mut Silent);
    }
    let _ = dir.tidy();
    let _ = manifest.fold();
    pushed.and(applied)
}

/// Whether a push was acknowledged, or why not.
fn use_store(desk: &Desk, store: &FeatureStore) -> Result<(), String> {
    for name in ["EURUSD", "USDJPY"] {
        let answer = store.get_or_compute(&view(), &symbol(name), days(), |gap| desk.compute(gap)).unwrap();
        assert_eq!(checked_rows(&answer, &symbol(name)), 3 * 1440);
    }
    let _ = store.invalidate(&view(), &symbol("EURUSD"), days());
    let answer = store.get_or_compute(&view(), &symbol("EURUSD"), days(), |gap| desk.compute(gap)).unwrap();
    assert_eq!(checked_rows(&answer, &symbol("EURUSD")), 3 * 1440);
    let _ = store.invalidate_view(&view());
    let pushed = push(store);
    store.flush();
    let _ = store.manifest().fold();
    pushed
}

/// The places of a cache, below it. Those that are none yet are some that could be.
fn places(cache: &Path) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> =
        files(cache).iter().map(|file| file.strip_prefix(cache).unwrap().to_owned()).collect();
    // One lock is like another.
    let locks = places.iter().filter(|place| place.starts_with("locks")).skip(3).cloned().collect::<Vec<_>>();
    places.retain(|place| !locks.contains(place));
    let directories: Vec<_> = places.iter().flat_map(|place| place.ancestors().skip(1).map(Path::to_owned)).collect();
    places.extend(directories);
    let possible = [
        "tmp/other-0",
        "tmp/gone-0",
        "tmp/gone-0/lock",
        "journal/1-1-1.jnl",
        "pushed/unfinished",
        "registry/000002.json",
        "online",
        "quarantine",
        "tmp",
        "locks/rebuild",
        "manifest.duckdb.wal",
        "blocks/view=prices/fp=00000000000000000000000000000001",
    ];
    places.extend(possible.map(PathBuf::from));
    places.sort();
    places.dedup();
    places.retain(|place| place != Path::new(""));
    places
}

/// Places that can be planted at once: those of one depth. Each that lies directly in the cache has a turn of its own.
fn groups(cache: &Path) -> Vec<Vec<PathBuf>> {
    let (alone, deep): (Vec<_>, Vec<_>) = places(cache).into_iter().partition(|place| place.components().count() == 1);
    let mut groups: Vec<Vec<PathBuf>> = alone.into_iter().map(|place| vec![place]).collect();
    for depth in 2..=6 {
        groups.push(deep.iter().filter(|place| place.components().count() == depth).cloned().collect());
    }
    groups.retain(|group| !group.is_empty());
    groups
}

impl Plant {
    /// Puts it everywhere.
    fn put_all(self, cache: &Path, places: &[PathBuf], canary: &Canary) -> Vec<PathBuf> {
        // The name of a journal is another one in each cache.
        let journal = files(&cache.join("journal")).first().cloned();
        let is_journal = |place: &Path| place.extension().is_some_and(|extension| extension == "jnl");
        let place = |place: &PathBuf| match journal.clone() {
            Some(journal) if is_journal(place) && *place != Path::new("journal/1-1-1.jnl") => journal,
            _ => cache.join(place),
        };
        let places: Vec<_> = places.iter().map(place).collect();
        places.iter().for_each(|place| self.put(place, canary));
        places
    }
}

/// Whether something was refused, which has to name what is planted.
fn is_refused(done: Result<(), String>, plant: Plant, planted: &[PathBuf]) -> bool {
    let Err(message) = done else { return false };
    let is_named = planted.iter().any(|place| message.contains(&place.display().to_string()));
    assert!(is_named, "{plant:?} at {planted:?}: {message}");
    true
}

#[test]
fn nothing_planted_in_a_cache_is_followed_and_nothing_outside_changes() {
    let groups = groups(&filled(&Desk::new()));
    let (mut count, mut refused) = (0, 0);
    for group in &groups {
        for plant in Plant::ALL {
            let desk = Desk::new();
            let (canary, cache) = (Canary::new(desk.dir.path()), filled(&desk));
            let planted = plant.put_all(&cache, group, &canary);
            let before = Snapshot::of(desk.dir.path(), &cache);
            refused += usize::from(is_refused(everything(&desk, &cache), plant, &planted));
            assert_eq!(Snapshot::of(desk.dir.path(), &cache), before, "{plant:?} at {planted:?}");
            count += planted.len();
        }
    }
    let places: usize = groups.iter().map(Vec::len).sum();
    eprintln!("{count} things planted at {places} places: {refused} times refused by name, 0 followed, 0 wrong values");
    assert!(places > 20 && refused > 20);
}

#[test]
fn what_is_planted_while_a_store_is_open_is_not_followed_either() {
    let groups = groups(&filled(&Desk::new()));
    let (mut count, mut refused, mut acknowledged) = (0, 0, 0);
    // A directory that lies directly in the cache is looked at when it is opened; nobody else can put one there then.
    let is_looked_at = |group: &&Vec<PathBuf>| group[0].components().count() > 1 || group[0].extension().is_some();
    for group in groups.iter().filter(is_looked_at) {
        for plant in Plant::ALL {
            let desk = Desk::new();
            let (canary, cache) = (Canary::new(desk.dir.path()), filled(&desk));
            let store = desk.open();
            let planted = plant.put_all(&cache, group, &canary);
            let before = Snapshot::of(desk.dir.path(), &cache);
            match is_refused(use_store(&desk, &store), plant, &planted) {
                true => refused += 1,
                false => acknowledged += 1,
            }
            drop(store);
            assert_eq!(Snapshot::of(desk.dir.path(), &cache), before, "{plant:?} at {planted:?}");
            count += planted.len();
        }
    }
    eprintln!(
        "{count} things planted while a store was open: 0 followed, 0 wrong values; pushes acknowledged and in the answer \
         {acknowledged} times, refused by name {refused} times"
    );
    assert!(count > 50 && refused > 0 && acknowledged > 0);
}

#[test]
fn an_entity_whose_directory_became_a_link_is_cached_again_in_a_directory() {
    let desk = Desk::new();
    let (canary, cache) = (Canary::new(desk.dir.path()), filled(&desk));
    let directory = files(&cache.join("blocks/view=prices"))[0].parent().unwrap().to_owned();
    std::fs::remove_dir_all(&directory).unwrap();
    std::os::unix::fs::symlink(&canary.directory, &directory).unwrap();
    let store = desk.open();
    use_store(&desk, &store).unwrap();
    store.get_or_compute(&view(), &symbol("EURUSD"), days(), |gap| desk.compute(gap)).unwrap();
    assert!(!std::fs::symlink_metadata(&directory).unwrap().is_symlink());
    assert_eq!(files(&directory).len(), 3);
    assert_eq!(std::fs::read(canary.directory.join("20240301T000000Z.parquet")).unwrap(), b"of somebody else");
}

#[test]
fn what_is_invalidated_is_not_read_through_a_link_any_more() {
    for below in ["", "fp", "entity"] {
        for whole in [false, true] {
            let desk = Desk::new();
            let cache = filled(&desk);
            let entity = files(&cache.join("blocks/view=prices"))[0].parent().unwrap().to_owned();
            let moved = match below {
                "" => cache.join("blocks/view=prices"),
                "fp" => entity.parent().unwrap().to_owned(),
                _ => entity,
            };
            let away = desk.dir.path().join("away");
            std::fs::rename(&moved, &away).unwrap();
            std::os::unix::fs::symlink(&away, &moved).unwrap();
            let store = desk.open();
            match whole {
                true => drop(store.invalidate_view(&view()).unwrap()),
                false => drop(store.invalidate(&view(), &symbol("EURUSD"), days()).unwrap()),
            }
            let answer = store.get_or_compute(&view(), &symbol("EURUSD"), days(), |gap| desk.compute(gap)).unwrap();
            assert_eq!(answer.outcome(), Outcome::Miss, "a link in the place of {}", moved.display());
        }
    }
}

#[test]
fn pushed_rows_behind_a_link_are_not_read_and_not_silently_gone() {
    for place in ["pushed/source=marks", "pushed/source=marks/symbol=EURUSD"] {
        let desk = Desk::new();
        let link = filled(&desk).join(place);
        let away = desk.dir.path().join("away");
        std::fs::rename(&link, &away).unwrap();
        std::os::unix::fs::symlink(&away, &link).unwrap();
        let before = Snapshot::of(&away, Path::new(""));
        let store = desk.open();
        // What was computed of them before is a right value.
        let _ = store.invalidate_view(&features(store.clone()).unwrap().view(&marks()).unwrap());
        let read = features(store.clone()).and_then(|features| try_column(&features, "marks", "mark", pushed_hours()));
        for refused in [read.map(drop).map_err(|error| error.to_string()), push(&store)] {
            let message = refused.unwrap_err();
            assert!(message.contains(&link.display().to_string()) && message.contains("is a link"), "{message}");
        }
        assert_eq!(Snapshot::of(&away, Path::new("")), before, "{place}");
    }
}

#[test]
fn what_was_left_in_a_directory_that_others_could_write_to_is_refused_until_it_is_gone() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new();
    let (canary, cache) = (Canary::new(desk.dir.path()), filled(&desk));
    let mode = |mode| std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(mode)).unwrap();
    let link = cache.join("blocks/view=prices/fp=00000000000000000000000000000001");
    std::os::unix::fs::symlink(&canary.directory, &link).unwrap();
    let open = || CacheDir::open(&cache, Publish::Fast, "other").map(drop);
    // Whoever alone could put it there trusts himself.
    open().unwrap();
    mode(0o777);
    for _ in 0..2 {
        let refused = open().unwrap_err().to_string();
        assert!(refused.contains(&link.display().to_string()) && refused.contains("is a link"), "{refused}");
    }
    let mode_now = || std::fs::metadata(&cache).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode_now(), 0o1700, "the one who looked may have died before he said so");
    std::fs::remove_file(&link).unwrap();
    open().unwrap();
    assert_eq!(mode_now(), 0o700);
    let answer = desk.open().get(&view(), &symbol("EURUSD"), days()).unwrap();
    assert_eq!(checked_rows(&answer.unwrap(), &symbol("EURUSD")), 3 * 1440);
}
