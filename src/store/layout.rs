//! Where a block lies: the one module that knows paths.

use std::path::{Component, Path, PathBuf};

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use super::escape::{directories, keys_of};
use crate::model::{BlockId, EntityKey, Fingerprint, SourceName, Timestamp, ViewName};

pub(super) const BLOCKS: &str = "blocks";
pub(super) const QUARANTINE: &str = "quarantine";
pub(super) const TMP: &str = "tmp";
pub(super) const LOCKS: &str = "locks";
pub(super) const GENERATIONS: &str = "generations";
pub(super) const PUSHED: &str = "pushed";

const EXTENSION: &str = "parquet";
const START: &str = "%Y%m%dT%H%M%SZ";
const DAY: &str = "%Y%m%d";

/// The path of a block below the cache directory, a pure function of its identity:
/// `blocks/view=<name>/fp=<fingerprint>/<key>=<value>[/…]/<start>.parquet`.
pub fn block_path(id: &BlockId) -> PathBuf {
    let mut path = version_path(&id.view, id.fingerprint);
    path.extend(entity_directories(&id.entity));
    path.push(format!("{}.{EXTENSION}", id.range.start().to_utc().format(START)));
    path
}

/// The directories of an entity below those of the view's version.
pub(super) fn entity_directories(entity: &EntityKey) -> Vec<String> {
    entity.pairs().flat_map(|(name, value)| directories(name.as_str(), &value.to_string())).collect()
}

pub(super) fn view_path(view: &ViewName) -> PathBuf {
    Path::new(BLOCKS).join(format!("view={view}"))
}

/// Where the rows lie that were pushed to a source for an entity, or, without one, for all:
/// `pushed/source=<name>/<key>=<value>[/…]`.
pub(super) fn pushed_directory(source: &SourceName, entity: Option<&EntityKey>) -> PathBuf {
    let mut path = Path::new(PUSHED).join(format!("source={source}"));
    path.extend(entity.map(entity_directories).unwrap_or_default());
    path
}

/// The file of one day's pushed rows: `<year><month><day>.parquet` in their directory.
pub(super) fn pushed_path(source: &SourceName, entity: Option<&EntityKey>, day: Timestamp) -> PathBuf {
    pushed_directory(source, entity).join(format!("{}.{EXTENSION}", day.to_utc().format(DAY)))
}

/// Where the notes lie of the views that are computed from a source's pushed rows.
#[cfg(feature = "definitions")]
pub(super) fn push_readers_directory(source: &SourceName) -> PathBuf {
    all_push_readers_directory().join(format!("source={source}"))
}

/// Where the notes of all sources lie.
#[cfg(feature = "definitions")]
pub(super) fn all_push_readers_directory() -> PathBuf {
    Path::new(PUSHED).join("readers")
}

/// The note of a version of a view: `pushed/readers/source=<name>/<view>.<fingerprint>.json`.
#[cfg(feature = "definitions")]
pub(super) fn push_reader_path(source: &SourceName, (view, fingerprint): (&ViewName, Fingerprint)) -> PathBuf {
    push_readers_directory(source).join(format!("{view}.{fingerprint}.json"))
}

/// The keys and the day of a file of pushed rows, or `None` where [`pushed_path`] makes no such path.
pub(super) fn pushed_identity(path: &Path) -> Option<(Vec<(String, String)>, Timestamp)> {
    let names: Vec<&str> = path.components().map(|component| component.as_os_str().to_str()).collect::<Option<_>>()?;
    let [PUSHED, _, keys @ .., file] = names.as_slice() else { return None };
    let day = file.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    let midnight = NaiveDate::parse_from_str(day, DAY).ok()?.and_time(NaiveTime::MIN);
    Some((keys_of(keys.iter().copied())?, instant(midnight, DAY, day)?))
}

/// The instant that is written as `text`, in which there may be no other noughts or blanks: it would be a second path.
///
/// The first second and the first day have begun before the first instant, which stands for them.
fn instant(at: NaiveDateTime, format: &str, text: &str) -> Option<Timestamp> {
    let at = at.and_utc().timestamp_nanos_opt().map_or(Timestamp::MIN, Timestamp::from_ns);
    (at.to_utc().format(format).to_string() == text).then_some(at)
}

/// The directory of one version of a view.
pub(super) fn version_path(view: &ViewName, fingerprint: Fingerprint) -> PathBuf {
    view_path(view).join(format!("fp={fingerprint}"))
}

/// What a path says of the block it holds. Key values are text here: their types stand in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathIdentity {
    /// The feature view.
    pub view: ViewName,
    /// The version of the view.
    pub fingerprint: Fingerprint,
    /// Join keys and values, in the order of the path.
    pub keys: Vec<(String, String)>,
    /// The start of the block.
    pub start: Timestamp,
}

/// Reads a path below the cache directory back, or `None` where it is none that [`block_path`] makes.
pub fn identity_of(path: &Path) -> Option<PathIdentity> {
    let names = path.components().map(|component| match component {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let names: Vec<&str> = names.collect::<Option<_>>()?;
    let [BLOCKS, view, fingerprint, keys @ .., file] = names.as_slice() else { return None };
    let start = file.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    let start = instant(NaiveDateTime::parse_from_str(start, START).ok()?, START, start)?;
    let identity = PathIdentity {
        view: ViewName::new(view.strip_prefix("view=")?).ok()?,
        fingerprint: fingerprint.strip_prefix("fp=")?.parse().ok()?,
        keys: keys_of(keys.iter().copied())?,
        start,
    };
    (!identity.keys.is_empty()).then_some(identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KeyValue, Span};
    use proptest::prelude::*;

    fn id(entity: EntityKey, at: Timestamp, span: Span) -> BlockId {
        let view = ViewName::new("technical_features").unwrap();
        let fingerprint = "ce20d9dfd7046a750a2891dbead1269d".parse().unwrap();
        BlockId { view, fingerprint, entity, range: span.block_of(at) }
    }

    #[test]
    fn the_path_is_one_that_people_and_engines_read() {
        let entity = EntityKey::new([("venue", "OANDA"), ("symbol", "EUR/USD")]).unwrap();
        let id = id(entity, "2024-03-01T12:00:00Z".parse().unwrap(), Span::Day);
        let expected = "blocks/view=technical_features/fp=ce20d9dfd7046a750a2891dbead1269d/symbol=EUR%2FUSD/venue=OANDA/20240301T000000Z.parquet";
        assert_eq!(block_path(&id), Path::new(expected));
    }

    #[test]
    fn other_paths_are_no_blocks() {
        let fp = "fp=ce20d9dfd7046a750a2891dbead1269d";
        for path in [
            format!("blocks/view=v/{fp}/20240301T000000Z.parquet"),
            format!("blocks/view=v/{fp}/symbol=A/20240301T000000Z.parquet.tmp"),
            format!("blocks/view=v/{fp}/symbol=A/../20240301T000000Z.parquet"),
            format!("blocks/view=v/{fp}/symbol=a/20240301T000000Z.parquet"),
            format!("blocks/view=V/{fp}/symbol=A/20240301T000000Z.parquet"),
            "blocks/view=v/fp=abc/symbol=A/20240301T000000Z.parquet".to_owned(),
            format!("/blocks/view=v/{fp}/symbol=A/20240301T000000Z.parquet"),
        ] {
            assert_eq!(identity_of(Path::new(&path)), None, "{path}");
        }
    }

    #[test]
    fn the_first_block_and_the_first_day_of_all_times_come_back_from_their_paths() {
        let entity = EntityKey::new([("symbol", "A")]).unwrap();
        for span in Span::ALL {
            let id = id(entity.clone(), Timestamp::MIN, span);
            assert_eq!(identity_of(&block_path(&id)).unwrap().start, id.range.start(), "{span:?}");
        }
        let (source, day) = (SourceName::new("ticks").unwrap(), Span::Day.block_of(Timestamp::MIN).start());
        assert_eq!(pushed_identity(&pushed_path(&source, Some(&entity), day)).unwrap().1, day);
        let earlier = "blocks/view=v/fp=ce20d9dfd7046a750a2891dbead1269d/symbol=A/16770921T000000Z.parquet";
        assert_eq!(identity_of(Path::new(earlier)), None);
    }

    proptest! {
        #[test]
        fn every_identity_comes_back_from_its_path(
            symbol in "\\PC{1,80}", account in any::<i64>(), secs in -8_000_000_000i64..8_000_000_000, which in 0usize..5
        ) {
            let entity = EntityKey::new([("symbol", KeyValue::from(symbol.as_str())), ("account", KeyValue::from(account))]).unwrap();
            let id = id(entity, Timestamp::from_secs(secs), Span::ALL[which]);
            let back = identity_of(&block_path(&id)).unwrap();
            prop_assert_eq!(&back.view, &id.view);
            prop_assert_eq!(back.fingerprint, id.fingerprint);
            prop_assert_eq!(back.start, id.range.start());
            prop_assert_eq!(back.keys, vec![("account".to_owned(), account.to_string()), ("symbol".to_owned(), symbol)]);
        }
    }
}
