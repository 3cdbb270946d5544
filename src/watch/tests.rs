use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Float64Type;

use super::*;
use crate::cache::FeatureStore;
use crate::cache::Origin as From;
use crate::checkout;
use crate::compute::Features;
use crate::model::{EntityKey, Outcome, Span, TimeRange, Timestamp, ViewName};

const VIEWS: &str = r#"
[entity.symbol]

[source.bars]
kind = "csv"
path = "../data/*.csv"
event_time = "time"
types = { close = "double", size = "double" }

[view.momentum]
entity = "symbol"
source = "bars"
lookback = "30m"
[view.momentum.features]
close = { column = "close" }
half = { sql = "close / 2" }

[view.smooth]
entity = "symbol"
source = "view:momentum"
lookback = "30m"
[view.smooth.features]
double = { sql = "half * 4" }
"#;

struct Desk {
    dir: tempfile::TempDir,
    live: Live,
}

/// Longer than any test: what happens, happens because something was told.
const NEVER: Duration = Duration::from_secs(3600);

fn desk() -> Desk {
    desk_with(|live| live)
}

fn desk_with(how: impl FnOnce(LiveBuilder) -> LiveBuilder) -> Desk {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("views")).unwrap();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    std::fs::write(dir.path().join("views/desk.toml"), VIEWS).unwrap();
    std::fs::write(dir.path().join("data/bars.csv"), csv(&BARS)).unwrap();
    let live = open_with(dir.path(), how);
    Desk { dir, live }
}

fn open(dir: &Path) -> Live {
    open_with(dir, |live| live)
}

fn open_with(dir: &Path, how: impl FnOnce(LiveBuilder) -> LiveBuilder) -> Live {
    let store = FeatureStore::builder(dir.join("cache")).open().unwrap();
    let settings = dir.join("larder.toml");
    if !settings.exists() {
        std::fs::write(&settings, "compression_level = 4\n").unwrap();
    }
    let live = Live::builder(store, Origin::Directory(dir.join("views"))).settings_file(settings).interval(NEVER);
    how(live).open().unwrap()
}

/// Closes of A by day and minute of March 2024.
const BARS: [(u32, u32, f64); 7] =
    [(5, 0, 1.0), (5, 600, 2.0), (5, 1430, 3.0), (6, 10, 4.0), (6, 600, 5.0), (7, 600, 6.0), (8, 600, 7.0)];

fn csv(bars: &[(u32, u32, f64)]) -> String {
    let mut text = "symbol,time,close,size\n".to_owned();
    for (day, minute, close) in bars {
        writeln!(text, "A,2024-03-{day:02} {:02}:{:02}:00,{close},1", minute / 60, minute % 60).unwrap();
    }
    text
}

fn day(day: i64) -> TimeRange {
    let start = 1_709_596_800_000_000_000 + (day - 5) * 86_400_000_000_000;
    TimeRange::new(Timestamp::from_ns(start), Timestamp::from_ns(start + 86_400_000_000_000)).unwrap()
}

fn get(features: &Features, view: &str, range: TimeRange) -> (Outcome, Vec<Option<f64>>) {
    let view = ViewName::new(view).unwrap();
    let entity = EntityKey::new([("symbol", "A")]).unwrap();
    let answer = features.get_or_compute(&view, &entity, range).unwrap();
    let batch = answer.to_batch().unwrap();
    (answer.outcome(), batch.column(1).as_primitive::<Float64Type>().iter().collect())
}

impl Desk {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn get(&self, view: &str, of: i64) -> (Outcome, Vec<Option<f64>>) {
        get(&self.live.features(), view, day(of))
    }

    /// Asks until the values of a day are these. Without the files being looked at, they would never be.
    fn await_values(&self, of: i64, wanted: &[f64]) {
        loop {
            let (_, values) = self.get("momentum", of);
            if values == wanted.iter().copied().map(Some).collect::<Vec<_>>() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks until a day is kept: while a look goes on, what is computed is not.
    fn await_kept(&self, of: i64) {
        while self.get("momentum", of).0 != Outcome::Hit {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn warm(&self) {
        for of in 5..=7 {
            self.get("momentum", of);
            self.get("smooth", of);
        }
    }

    fn metric(&self, name: &str) -> f64 {
        let text = self.live.features().store().metrics_text().unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

#[test]
fn only_blocks_whose_rows_changed_are_computed_again() {
    let desk = desk();
    desk.warm();
    // The last row of the fifth is within the lookback of the sixth.
    let mut bars = BARS;
    bars[2].2 = 9.0;
    std::fs::write(desk.path("data/bars.csv"), csv(&bars)).unwrap();
    desk.await_values(5, &[1.0, 2.0, 9.0]);
    let outdated = r#"featurestore_invalidations_total{cause="source",view="momentum"}"#;
    // The sixth follows the fifth. Without it, there would never be two.
    while desk.metric(outdated) < 2.0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(desk.get("momentum", 7).0, Outcome::Hit);
    assert_eq!(desk.get("momentum", 6).1, [Some(4.0), Some(5.0)]);
    assert_eq!(desk.metric(outdated), 2.0, "of the fifth and the sixth");
}

#[test]
fn the_same_rows_in_other_files_change_nothing() {
    let desk = desk();
    desk.warm();
    std::fs::write(desk.path("data/late.csv"), csv(&BARS[4..])).unwrap();
    std::fs::write(desk.path("data/bars.csv"), csv(&BARS[..4])).unwrap();
    desk.live.check();
    // A column that no feature reads is none of their business either.
    let other = csv(&BARS[..4]).replace(",1\n", ",7\n");
    std::fs::write(desk.path("data/bars.csv"), other).unwrap();
    desk.live.check();
    assert_eq!(desk.get("momentum", 5).0, Outcome::Hit);
    assert_eq!(desk.get("smooth", 6).0, Outcome::Hit);
}

#[test]
fn a_file_may_be_appended_to_truncated_renamed_over_deleted_and_put_back() {
    let desk = desk();
    desk.warm();
    let file = desk.path("data/bars.csv");
    use std::io::Write as _;
    let mut appended = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
    writeln!(appended, "A,2024-03-07 11:00:00,6.5,1").unwrap();
    drop(appended);
    desk.await_values(7, &[6.0, 6.5]);
    assert_eq!(desk.get("momentum", 5).0, Outcome::Hit, "what is before it is as it was");

    let cut = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    cut.set_len(csv(&BARS[..4]).len() as u64).unwrap();
    drop(cut);
    desk.await_values(6, &[4.0]);

    std::fs::write(desk.path("data/new"), csv(&[(6, 10, 8.0), (8, 0, 9.0)])).unwrap();
    std::fs::rename(desk.path("data/new"), &file).unwrap();
    desk.await_values(6, &[8.0]);
    desk.await_kept(6);

    // Files that are gone, all of them, may be on a disk that is not mounted: what is cached is served.
    std::fs::rename(&file, desk.path("data/away")).unwrap();
    desk.live.check();
    assert_eq!(desk.get("momentum", 6), (Outcome::Hit, vec![Some(8.0)]));
    std::fs::write(desk.path("data/other.csv"), csv(&[(5, 0, 3.0)])).unwrap();
    desk.await_values(6, &[]);
    std::fs::rename(desk.path("data/away"), &file).unwrap();
    desk.await_values(6, &[8.0]);
}

#[test]
fn what_cannot_be_read_leaves_what_is_cached_in_service() {
    let desk = desk();
    desk.warm();
    let file = desk.path("data/bars.csv");
    std::fs::write(&file, csv(&BARS).replace("close", "price")).unwrap();
    desk.live.check();
    assert_eq!(desk.get("momentum", 5).0, Outcome::Hit);
    let mut bars = BARS;
    bars[0].2 = 1.5;
    std::fs::write(&file, csv(&bars)).unwrap();
    desk.await_values(5, &[1.5, 2.0, 3.0]);
}

#[test]
fn what_changed_while_nobody_watched_is_found_at_the_start() {
    let Desk { dir, live } = desk();
    get(&live.features(), "momentum", day(5));
    drop(live);
    let mut bars = BARS;
    bars[1].2 = 2.5;
    std::fs::write(dir.path().join("data/bars.csv"), csv(&bars)).unwrap();
    let live = open(dir.path());
    assert_eq!(get(&live.features(), "momentum", day(5)).1, [Some(1.0), Some(2.5), Some(3.0)]);
}

#[test]
fn a_tail_whose_beginning_changed_is_not_extended() {
    // Nobody watches: the tail says itself from which rows it was computed.
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("views")).unwrap();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    std::fs::write(dir.path().join("data/bars.csv"), csv(&BARS)).unwrap();
    let store = FeatureStore::builder(dir.path().join("cache")).open().unwrap();
    let texts = [(dir.path().join("views/desk.toml"), VIEWS.to_owned())];
    let definitions = crate::definition::Definitions::of_texts(texts, Default::default()).unwrap();
    let features = Features::builder(store, definitions).open().unwrap();
    get(&features, "momentum", day(8));
    let mut bars = BARS.to_vec();
    bars[6].2 = 6.5;
    bars.push((8, 700, 8.0));
    std::fs::write(dir.path().join("data/bars.csv"), csv(&bars)).unwrap();
    assert_eq!(get(&features, "momentum", day(8)).1, [Some(6.5), Some(8.0)]);
}

#[test]
fn more_events_than_the_system_keeps_are_a_look_at_everything() {
    let desk = desk();
    desk.warm();
    let most: usize = match std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events") {
        Ok(text) => text.trim().parse().unwrap(),
        Err(_) => {
            println!("this system does not say how many events it keeps");
            return;
        }
    };
    let mut bars = BARS;
    bars[0].2 = 1.5;
    {
        let _held = desk.live.hold();
        let junk = [desk.path("data/junk-a"), desk.path("data/junk-b")];
        std::fs::write(&junk[0], "").unwrap();
        for turn in 0..most {
            std::fs::rename(&junk[turn % 2], &junk[1 - turn % 2]).unwrap();
        }
        std::fs::write(desk.path("data/bars.csv"), csv(&bars)).unwrap();
    }
    desk.await_values(5, &[1.5, 2.0, 3.0]);
}

#[test]
fn definitions_that_hold_are_taken_and_others_leave_the_old_ones() {
    let desk = desk();
    let file = desk.path("views/desk.toml");
    let ok = "featurestore_config_last_reload_successful";
    let becomes = |ok_is: f64| {
        while desk.metric(ok) != ok_is {
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    assert_eq!(desk.metric(ok), 1.0);
    for bad in [
        VIEWS.replace("lookback = \"30m\"", "lookback = 30"),
        VIEWS.replace("column = \"close\"", "column = \"price\""),
        // The row before the seventh's only one is more than half an hour older.
        VIEWS.replace("half = ", "last = { kind = \"lag\", column = \"close\", bars = 1 }\nhalf = "),
    ] {
        std::fs::write(&file, bad).unwrap();
        becomes(0.0);
        assert_eq!(desk.get("momentum", 5).1, [Some(1.0), Some(2.0), Some(3.0)]);
        std::fs::write(&file, VIEWS).unwrap();
        becomes(1.0);
    }
    std::fs::write(&file, VIEWS.replace("close = { column = \"close\" }", "close = { sql = \"close * 10\" }")).unwrap();
    desk.await_values(5, &[10.0, 20.0, 30.0]);
}

#[test]
fn settings_that_hold_are_taken_and_others_leave_the_old_ones() {
    let desk = desk();
    let store = desk.live.features().store().clone();
    let level = || store.settings().compression_level;
    assert_eq!(level(), 4);
    std::fs::write(desk.path("larder.toml"), "compression_level = 99\n").unwrap();
    while desk.metric("featurestore_config_last_reload_successful") != 0.0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(level(), 4);
    std::fs::write(desk.path("larder.toml"), "compression_level = 9\nthreads = 3\n[memory]\nmax_mb = 7\n").unwrap();
    while level() != 9 {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(store.settings().threads, 0, "needs a restart");
    assert_eq!(desk.metric("featurestore_memory_limit_bytes"), 7e6);
    assert_eq!(desk.metric("featurestore_config_last_reload_successful"), 1.0);
}

#[test]
fn blocks_of_definitions_that_come_back_are_held_against_their_source() {
    let desk = desk_with(LiveBuilder::deaf);
    let file = desk.path("views/desk.toml");
    desk.warm();
    let other = VIEWS.replace("half = { sql = \"close / 2\" }", "half = { sql = \"close / 4 * 2\" }");
    std::fs::write(&file, &other).unwrap();
    let fingerprint = || desk.live.features().view(&ViewName::new("momentum").unwrap()).unwrap().fingerprint();
    let first = fingerprint();
    desk.live.check();
    assert_ne!(fingerprint(), first);
    let mut bars = BARS;
    bars[0].2 = 1.5;
    std::fs::write(desk.path("data/bars.csv"), csv(&bars)).unwrap();
    desk.live.check();
    std::fs::write(&file, VIEWS).unwrap();
    desk.live.check();
    assert_eq!(fingerprint(), first);
    assert_eq!(desk.get("momentum", 5).1, [Some(1.5), Some(2.0), Some(3.0)]);
}

#[test]
fn one_entity_that_cannot_be_read_keeps_no_other_from_being_checked() {
    let desk = desk_with(LiveBuilder::deaf);
    let with_b = |b: &str| csv(&BARS) + &format!("B,2024-03-05 00:00:00,{b},1\nB,2024-03-09 00:00:00,4,1\n");
    std::fs::write(desk.path("views/desk.toml"), VIEWS.replace("types =", "valid = { close = { min = 0 } }\ntypes ="))
        .unwrap();
    std::fs::write(desk.path("data/bars.csv"), with_b("2")).unwrap();
    desk.live.check();
    let features = desk.live.features();
    let b = |features: &Features| {
        let view = ViewName::new("momentum").unwrap();
        let answer = features.get_or_compute(&view, &EntityKey::new([("symbol", "B")]).unwrap(), day(5)).unwrap();
        answer.to_batch().unwrap().column(1).as_primitive::<Float64Type>().value(0)
    };
    desk.warm();
    assert_eq!(b(&features), 2.0);
    // A's row is impossible now, and B's is another.
    std::fs::write(
        desk.path("data/bars.csv"),
        with_b("3").replace("A,2024-03-05 00:00:00,1", "A,2024-03-05 00:00:00,-1"),
    )
    .unwrap();
    desk.live.check();
    assert_eq!(b(&features), 3.0);
    assert_eq!(desk.get("momentum", 5), (Outcome::Hit, vec![Some(1.0), Some(2.0), Some(3.0)]), "what there was");
}

/// What a desk's table of bars went through in five months, dump by dump.
#[test]
fn every_dump_of_a_real_table_changes_what_depends_on_it_and_nothing_else() {
    let log = checkout::path("../shared/data/bars_5m_usdcop_changelog.parquet");
    if !log.exists() {
        println!("there are no dumps at {}", log.display());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("bars.parquet");
    let sql = duckdb::Connection::open_in_memory().unwrap();
    let vintages: Vec<String> = {
        let mut names = sql.prepare("SELECT DISTINCT vintage FROM read_parquet($1) ORDER BY 1").unwrap();
        names.query_map([log.to_str().unwrap()], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let dump = |vintage: &str| {
        // Not called like the source, which sees it when it has taken the other's place.
        let new = dir.path().join("new.parquet");
        sql.execute_batch(&format!(
            "COPY (SELECT symbol, ts, high, low, close FROM read_parquet('{}') WHERE vintage <= '{vintage}' QUALIFY
             row_number() OVER (PARTITION BY symbol, ts ORDER BY vintage DESC) = 1 AND op <> 'delete' ORDER BY ALL)
             TO '{}' (FORMAT parquet)",
            log.display(),
            new.display()
        ))
        .unwrap();
        // Closes of bars that differ from those of the dump before.
        let changed = match source.exists() {
            false => Vec::new(),
            true => {
                let (old, new) = (source.display(), new.display());
                let mut times = sql
                    .prepare(&format!(
                        "SELECT DISTINCT symbol, epoch_ns(ts) + 300000000000 FROM (
                           (FROM '{old}' EXCEPT FROM '{new}') UNION ALL (FROM '{new}' EXCEPT FROM '{old}'))"
                    ))
                    .unwrap();
                let row = |row: &duckdb::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?));
                times.query_map([], row).unwrap().map(Result::unwrap).collect()
            }
        };
        std::fs::rename(&new, &source).unwrap();
        changed
    };
    dump(&vintages[0]);
    std::fs::create_dir(dir.path().join("views")).unwrap();
    let views = r#"
[entity.symbol]
[source.bars]
kind = "parquet"
path = "../bars.parquet"
event_time = "ts"
label = { at = "open", bar = "5m" }
[view.technical]
entity = "symbol"
source = "bars"
span = "month"
lookback = "2d"
[view.technical.features]
rsi_9 = { kind = "rsi", column = "close", period = 9 }
atr_14 = { kind = "atr", period = 14 }
"#;
    std::fs::write(dir.path().join("views/views.toml"), views).unwrap();
    let store = FeatureStore::builder(dir.path().join("cache")).open().unwrap();
    let origin = Origin::Directory(dir.path().join("views"));
    // A look beside the test's own would keep what is computed meanwhile from being kept, and so from being counted.
    let live = Live::builder(store, origin).interval(NEVER).deaf().open().unwrap();
    let (view, entity) = (ViewName::new("technical").unwrap(), EntityKey::new([("symbol", "USD/COP")]).unwrap());
    let all = TimeRange::parse("2025-01-01", "2026-04-01").unwrap();
    let features = live.features();
    let serve = || features.get_or_compute(&view, &entity, all).unwrap();
    let mut known: Vec<(TimeRange, Timestamp)> = Vec::new();
    let mut computed_in_all = 0;
    for (at, vintage) in vintages.iter().enumerate() {
        let changed = if at == 0 { Vec::new() } else { dump(vintage) };
        live.check();
        // The oracle: a block has to change if a row changed that it was computed from.
        let lookback = Duration::from_secs(2 * 86_400);
        let touched = |(block, known_until): &&(TimeRange, Timestamp)| {
            let rows = TimeRange::new(block.start().saturating_sub(lookback), *known_until).unwrap();
            changed.iter().any(|(symbol, at)| symbol == "USD/COP" && rows.contains(Timestamp::from_ns(*at)))
        };
        let expected = known.iter().filter(touched).count() as f64;
        let text = features.store().metrics_text().unwrap();
        let counter = r#"featurestore_invalidations_total{cause="source",view="technical"} "#;
        let so_far: f64 = text.lines().find_map(|line| line.strip_prefix(counter)).map_or(0.0, |n| n.parse().unwrap());
        assert_eq!(so_far - f64::from(computed_in_all), expected, "{vintage}: {} rows changed", changed.len());
        computed_in_all = so_far as i32;

        let answer = serve();
        let fresh = features.compute(&view, &entity, all).unwrap();
        assert_eq!(answer.to_batch().unwrap(), fresh, "{vintage}");
        let newest =
            fresh.column(0).as_primitive::<arrow::datatypes::TimestampNanosecondType>().values().last().copied();
        let newest = Timestamp::from_ns(newest.unwrap() + 1);
        known = Span::Month
            .blocks(all)
            .filter(|block| block.start() < newest)
            .map(|block| (block, block.end().min(newest)))
            .collect();
        assert!(answer.blocks().iter().all(|block| at == 0 || block.origin() != From::Fallback));
    }
    assert!(computed_in_all > 5, "{computed_in_all}");
}
