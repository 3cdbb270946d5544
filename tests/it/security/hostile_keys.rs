//! Entities whose names mean harm: none leads out of the cache, none is taken for another.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Float64Type};
use larder::compute::Features;
use larder::definition::{Definitions, Environment};
use larder::manifest::BlockFilter;
use larder::model::SourceName;
use larder::{
    Answer, ComputeError, EntityKey, FeatureStore, FeatureView, Gap, KeyValue, Outcome, Source, TimeRange, ViewName,
};

use super::outside::{Canary, Snapshot};
use crate::damage::files;
use crate::desk::{Desk, range, time};
use crate::mutate::{Dice, mutate, times};

/// What somebody may have thought of.
const KNOWN: &[&str] = &[
    "..",
    ".",
    "...",
    "../../x",
    "../../../../../../etc/passwd",
    "/etc/passwd",
    "//server/share",
    "C:\\x",
    "a/../b",
    "a//b",
    "~",
    "~root",
    "A~",
    "\0",
    "a\0b",
    "a\nb",
    "\r\n",
    "\t",
    " ",
    " A",
    "A ",
    "A.",
    "A..",
    ".A",
    "*",
    "?",
    "A*",
    "A?",
    "[A]",
    "[!A]",
    "{A,B}",
    "**",
    "'",
    "''",
    "\"",
    "';",
    "'; DROP TABLE manifest; --",
    "$1",
    "${HOME}",
    "{symbol}",
    "%",
    "%2F",
    "%2f",
    "%41",
    "%00",
    "=",
    "x=y",
    "symbol=A",
    "A,venue=B",
    "CON",
    "con",
    "NUL.parquet",
    "LPT1",
    "-",
    "--help",
    "_",
    "spy",
    "SPY",
    "Spy",
    "ı",
    "I",
    "i",
    "İ",
    "ß",
    "SS",
    "ss",
    "é",
    "e\u{301}",
    "É",
    "ﬁ",
    "fi",
    "\u{202e}gnp",
    "\u{200b}",
    "\u{feff}",
    "\u{c5}",
    "\u{212b}",
    "A\u{30a}",
    "1",
    "01",
    "1.0",
    "true",
    "null",
    "NaN",
    "\u{1f4a3}",
    "\u{10ffff}",
];

/// As many different entities as are wanted: the known ones, long ones, and those with something of the known ones in them.
fn entities(count: usize) -> Vec<EntityKey> {
    let long = ["A", ".", "é", "~", "%", "a"].map(|letter| letter.repeat(300));
    let almost = (180..=300).map(|length| "A".repeat(length));
    let words: Vec<&[u8]> = KNOWN.iter().map(|known| known.as_bytes()).collect();
    let mut dice = Dice::new(0);
    let more = std::iter::from_fn(|| {
        let from = words[dice.roll(words.len())];
        Some(String::from_utf8_lossy(&mutate(from, &words, &mut dice)).into_owned())
    });
    let values = KNOWN.iter().map(|known| (*known).to_owned()).chain(long).chain(almost).chain(more);
    let (mut seen, mut entities) = (BTreeSet::new(), Vec::new());
    for value in values {
        if entities.len() == count {
            break;
        }
        if let Ok(entity) = EntityKey::new([("symbol", value.as_str())])
            && seen.insert(value)
        {
            entities.push(entity);
        }
    }
    entities
}

fn day() -> TimeRange {
    range("2024-03-01", "2024-03-02")
}

fn view() -> FeatureView {
    FeatureView::builder("prices").entity("symbol").feature("value", DataType::Float64).build().unwrap()
}

/// One row, whose value nobody else has.
struct Values(BTreeMap<EntityKey, f64>);

impl Values {
    fn new(entities: &[EntityKey]) -> Self {
        Self(entities.iter().enumerate().map(|(at, entity)| (entity.clone(), at as f64 + 0.25)).collect())
    }

    fn row(&self, gap: &Gap) -> larder::Result<RecordBatch> {
        let value: ArrayRef = Arc::new(Float64Array::from(vec![self.0[gap.entity()]]));
        gap.batch(vec![gap.range().start().as_ns()], vec![value])
    }

    fn check(&self, entity: &EntityKey, answer: &Answer) {
        let batch = answer.to_batch().unwrap();
        let found = batch.column_by_name("value").unwrap().as_primitive::<Float64Type>();
        assert_eq!(found.values().to_vec(), [self.0[entity]], "{entity:?}");
    }
}

impl Source for Values {
    fn compute(&self, gap: &Gap) -> Result<RecordBatch, ComputeError> {
        Ok(self.row(gap)?)
    }
}

fn ask(store: &FeatureStore, values: &Values, entity: &EntityKey) -> Outcome {
    let answer = store.get_or_compute(&view(), entity, day(), |gap| values.row(gap)).unwrap();
    values.check(entity, &answer);
    answer.outcome()
}

#[test]
fn hostile_keys_stay_inside_apart_and_their_own() {
    let count = times(5_000, 100_000) as usize;
    let desk = Desk::new();
    let entities = entities(count);
    assert_eq!(entities.len(), count);
    let values = Values::new(&entities);
    Canary::new(desk.dir.path());
    let cache = desk.dir.path().join("cache");
    // Its name is made beside the others.
    std::fs::create_dir(&cache).unwrap();
    let before = Snapshot::of(desk.dir.path(), &cache);
    let store = desk.open();
    for entity in &entities {
        assert_eq!(ask(&store, &values, entity), Outcome::Miss, "{entity:?} was taken for another");
    }
    drop(store);
    let found = files(&cache.join("blocks"));
    let folded: BTreeSet<_> = found.iter().map(|path| path.to_string_lossy().to_lowercase()).collect();
    assert_eq!((found.len(), folded.len()), (count, count), "one file each, also where case does not count");

    // As another process reads them: each its own; and one invalidated or warmed is that one.
    let store = desk.open();
    for (at, entity) in entities.iter().enumerate() {
        if at % 10 == 7 {
            assert_eq!(store.invalidate(&view(), entity, day()).unwrap(), 1, "{entity:?}");
        }
        if at % 20 == 7 {
            values.check(entity, &store.warm_from(&view(), entity, day(), &values).unwrap());
        }
    }
    for (at, entity) in entities.iter().enumerate() {
        let wanted = if at % 20 == 17 { Outcome::Miss } else { Outcome::Hit };
        assert_eq!(ask(&store, &values, entity), wanted, "{at}: {entity:?}");
    }
    drop(store);

    // As the manifest knows them, and as SQL reads the file that it names.
    let store = desk.open();
    let rows = store.manifest().read(|query| query.blocks(&BlockFilter::default())).unwrap();
    assert_eq!(rows.len(), count);
    let duckdb = duckdb::Connection::open_in_memory().unwrap();
    let mut statement = duckdb
        .prepare("SELECT value, symbol FROM read_parquet(?, hive_partitioning = false) t, (SELECT ? AS symbol)")
        .unwrap();
    let mut known: BTreeSet<EntityKey> = BTreeSet::new();
    for (at, row) in rows.iter().enumerate() {
        known.insert(row.entity.clone());
        let file = cache.join(&row.file);
        assert!(found.contains(&file), "{}", file.display());
        if at % 10 == 0 || at < 200 {
            let symbol = row.entity.value("symbol").unwrap().to_string();
            let bound = [file.to_str().unwrap(), &symbol];
            let (value, said): (f64, String) = statement
                .query_row(bound, |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap_or_else(|error| panic!("{error}: {}", file.display()));
            assert_eq!((value, said), (values.0[&row.entity], symbol), "{}", file.display());
        }
    }
    assert_eq!(known.len(), count);
    drop(store);
    assert_eq!(Snapshot::of(desk.dir.path(), &cache), before);
    eprintln!("{count} hostile keys: 0 escapes, 0 collisions, 0 wrong files");
}

#[test]
fn names_that_no_key_has_are_refused_everywhere() {
    let long = "é".repeat(301);
    for value in ["", long.as_str()] {
        assert!(EntityKey::new([("symbol", value)]).is_err());
    }
    let mut refused = 0;
    for name in KNOWN.iter().filter(|name| !name.chars().all(|c| c.is_ascii_lowercase())) {
        assert!(EntityKey::new([(*name, KeyValue::from(1))]).is_err(), "{name:?}");
        assert!(ViewName::new(name).is_err() && SourceName::new(name).is_err(), "{name:?}");
        assert!(FeatureView::builder(name).entity("symbol").feature("x", DataType::Float64).build().is_err());
        assert!(FeatureView::builder("v").entity(name).feature("x", DataType::Float64).build().is_err());
        let quoted = serde_json::to_string(name).unwrap();
        for kind in ["entity", "source", "view", "service", "on_demand"] {
            let text = format!("[{kind}.{quoted}]\n");
            let read = Definitions::of_texts([("a.toml".into(), text)], Environment::default());
            assert!(read.is_err(), "{kind} {name:?}");
            refused += 1;
        }
    }
    eprintln!("{refused} names in definitions: all refused");
}

const DEFINITIONS: &str = r#"
[entity.symbol]
[source.ticks]
kind = "push"
types = { number = "double" }
[view.ticks]
entity = "symbol"
source = "ticks"
[view.ticks.features]
number = { column = "number" }
[source.files]
kind = "csv"
path = "DATA/symbol=*/*.csv"
event_time = "time"
types = { number = "double" }
[view.filed]
entity = "symbol"
source = "files"
[view.filed.features]
number = { column = "number" }
"#;

fn features(desk: &Desk, data: &Path) -> Features {
    let text = DEFINITIONS.replace("DATA", data.to_str().unwrap());
    let definitions = Definitions::of_texts([("a.toml".into(), text)], Environment::default()).unwrap();
    Features::builder(desk.open(), definitions).open().unwrap()
}

fn number(features: &Features, view: &str, entity: &EntityKey) -> Vec<f64> {
    let day = range("2024-03-08", "2024-03-09");
    let answer = features.get_or_compute(&ViewName::new(view).unwrap(), entity, day).unwrap();
    let batch = answer.to_batch().unwrap();
    batch.column_by_name("number").unwrap().as_primitive::<Float64Type>().values().to_vec()
}

#[test]
fn rows_pushed_for_hostile_keys_are_those_keys_own() {
    let count = times(400, 5_000) as usize;
    let desk = Desk::new();
    Canary::new(desk.dir.path());
    let cache = desk.dir.path().join("cache");
    // Its name is made beside the others.
    std::fs::create_dir(&cache).unwrap();
    let before = Snapshot::of(desk.dir.path(), &cache);
    let entities = entities(count);
    let features = features(&desk, desk.dir.path());
    let at = time("2024-03-08T10:00:00Z").as_ns();
    for (number, entity) in entities.iter().enumerate() {
        let columns: [(&str, ArrayRef); 2] = [
            ("event_timestamp", Arc::new(TimestampNanosecondArray::from(vec![at]))),
            ("number", Arc::new(Float64Array::from(vec![number as f64]))),
        ];
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        features.push(&SourceName::new("ticks").unwrap(), entity, &rows).unwrap();
    }
    for (wanted, entity) in entities.iter().enumerate() {
        assert_eq!(number(&features, "ticks", entity), [wanted as f64], "{entity:?}");
    }
    drop(features);
    assert_eq!(Snapshot::of(desk.dir.path(), &cache), before);
    eprintln!("{count} hostile keys pushed: each read its own rows, 0 escapes");
}

#[test]
fn a_hostile_key_reads_no_other_key_s_source_file() {
    let desk = Desk::new();
    let data = desk.dir.path().join("data");
    // Names that a file system takes as they are; those with a meaning in patterns beside those that they would match.
    let fit = |name: &str| {
        !name.contains(['/', '\0', '%', '=', '\n', '\r']) && !matches!(name, "." | "..") && name.len() < 200
    };
    let mut named: Vec<&str> = KNOWN.iter().copied().filter(|name| fit(name)).collect();
    named.extend(["A", "AA", "AB", "B", "!A", "A*B", "[A-Z]", "A[B]"]);
    let written: Vec<(&str, f64)> = named.iter().enumerate().map(|(at, name)| (*name, at as f64)).collect();
    for (name, number) in &written {
        let directory = data.join(format!("symbol={name}"));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("x.csv"), format!("time,number\n2024-03-08 10:00:00,{number}\n")).unwrap();
    }
    let features = features(&desk, &data);
    let mut read = 0;
    for (name, wanted) in &written {
        let entity = EntityKey::new([("symbol", *name)]).unwrap();
        let found = number(&features, "filed", &entity);
        assert_eq!(found, [*wanted], "{name:?}");
        read += 1;
    }
    for entity in entities(300) {
        let name = entity.value("symbol").unwrap().to_string();
        if !named.contains(&name.as_str()) {
            assert_eq!(number(&features, "filed", &entity), [0.0; 0], "{name:?} has no file");
        }
    }
    eprintln!("{read} hostile names of source files: each key read its own");
}
