//! `larder invalidate`: forgetting blocks whose source rows changed.

use std::collections::BTreeSet;

use clap::Args;
use serde::Serialize;

use super::cache::Cache;
use super::failure::Failure;
use super::names::{check_view, existing};
use super::page::Page;
use super::quantity;
use super::report::Report;
use super::session::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{BlockFilter, BlockRow, Record, RemovalReason};
use crate::metrics::catalogue;
use crate::model::{EntityKey, KeyType, TimeRange, Timestamp, ViewName};
use crate::upkeep::{self, Scope};

const EXAMPLES: &str = "\
Examples:
  larder invalidate --view demo_features --entity symbol=EURUSD --start 2024-03-08 --end 2024-03-09
  larder invalidate --view prices --entity symbol=EURUSD,venue=OANDA --cause 'late ticks'
  larder invalidate --view demo_features

When it returns, no process on this machine serves these blocks. Blocks are forgotten as a whole.";

/// Forget blocks, so that they are computed again when asked for
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// The view, in all its versions
    #[arg(long, value_name = "NAME", value_parser = ViewName::new)]
    view: ViewName,
    /// Only this entity, by all of its join keys; every one where it is left out
    #[arg(long, value_name = "KEY=VALUE[,…]")]
    entity: Option<String>,
    /// Only blocks that hold times from here on, such as 2024-03-08 or 2024-03-08T09:30:00Z
    #[arg(long, value_name = "TIME")]
    start: Option<Timestamp>,
    /// Only blocks that hold times before this
    #[arg(long, value_name = "TIME")]
    end: Option<Timestamp>,
    /// What is written into the manifest as the cause
    #[arg(long, value_name = "TEXT", default_value = "command line")]
    cause: String,
}

/// What was forgotten.
#[derive(Debug, Serialize)]
pub struct InvalidateFacts {
    view: String,
    entity: Option<String>,
    start: Option<String>,
    end: Option<String>,
    cause: String,
    blocks: u64,
    #[serde(skip)]
    range: Option<TimeRange>,
}

/// Invalidates.
///
/// # Errors
/// `NotFound` for no cache, an unknown view or entity; `Invalid` for a range that is none; those of
/// [`upkeep::invalidate`].
pub fn run(options: &Options, session: &Session) -> Result<InvalidateFacts, Failure> {
    let range = range(options)?;
    let cache = Cache::open(session)?;
    let rows = match known_rows(&cache, session.now(), &options.view) {
        // The files are the truth: that others hold the manifest must not keep old values in service.
        Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unavailable | ErrorKind::Corrupt) => {
            tracing::warn!(target: "larder::cli", %error, "the manifest cannot be asked: going by the files alone");
            None
        }
        rows => Some(rows?),
    };
    let entities: Vec<Option<EntityKey>> = match (&options.entity, &rows) {
        (None, _) => vec![None],
        (Some(text), Some(rows)) => entities_of(text, rows, &options.view)?.into_iter().map(Some).collect(),
        (Some(text), None) => vec![Some(parse_entity(text)?)],
    };
    let now = || session.now();
    let mut blocks = 0;
    for entity in &entities {
        let scope = Scope { view: &options.view, version: None, entity: entity.as_ref(), range };
        blocks += upkeep::invalidate(&cache.dir, &scope, &options.cause, now, |records| cache.journal(records))?;
    }
    // What `larder serve` exports of it.
    let labels = vec![options.view.to_string(), "command".to_owned()];
    cache.journal(&[Record::counted(now(), catalogue::INVALIDATIONS.name, labels, 1)]);
    cache.journal(&typed_rows_without_file(&cache, rows.as_deref().unwrap_or_default(), now()));
    match cache.close() {
        // The journal is kept, and whoever folds next takes it.
        Err(error) if rows.is_none() => tracing::warn!(target: "larder::cli", %error, "the manifest will follow later"),
        closed => closed?,
    }
    Ok(InvalidateFacts {
        view: options.view.to_string(),
        entity: entities.into_iter().flatten().next().map(|entity| entity.to_string()),
        start: options.start.map(|at| at.to_string()),
        end: options.end.map(|at| at.to_string()),
        cause: options.cause.clone(),
        blocks,
        range,
    })
}

fn range(options: &Options) -> Result<Option<TimeRange>> {
    if options.start.is_none() && options.end.is_none() {
        return Ok(None);
    }
    TimeRange::new(options.start.unwrap_or(Timestamp::MIN), options.end.unwrap_or(Timestamp::MAX)).map(Some)
}

/// The manifest's rows of a view that it knows.
fn known_rows(cache: &Cache, now: Timestamp, view: &ViewName) -> Result<Vec<BlockRow>> {
    let filter = BlockFilter { view: Some(view.clone()), ..BlockFilter::default() };
    let (rows, summaries, versions) =
        cache.read(now, |query| Ok((query.blocks(&filter)?, query.view_summaries()?, query.views()?)))?;
    let with_blocks = summaries.into_iter().map(|summary| summary.view);
    let known: BTreeSet<_> = with_blocks.chain(versions.into_iter().map(|version| version.view)).collect();
    check_view(view, &known)?;
    Ok(rows)
}

/// The entities of the manifest that read like this, whatever the types of their keys and in
/// whatever order they were typed.
fn entities_of(text: &str, rows: &[BlockRow], view: &ViewName) -> Result<Vec<EntityKey>> {
    let entities: BTreeSet<&EntityKey> = rows.iter().map(|row| &row.entity).collect();
    let mut wanted: Vec<&str> = text.split(',').map(str::trim).collect();
    wanted.sort_unstable();
    let reads_like = |entity: &EntityKey| {
        let shown = entity.to_string();
        let mut pairs: Vec<&str> = shown.split(',').collect();
        pairs.sort_unstable();
        shown == text || pairs == wanted
    };
    let found: Vec<EntityKey> =
        entities.iter().filter(|entity| reads_like(entity)).map(|entity| (*entity).clone()).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    parse_entity(text)?;
    let names: Vec<String> = entities.iter().map(|entity| entity.to_string()).collect();
    let message = match existing(text, names.iter().map(String::as_str)) {
        none if none.is_empty() => format!("view {view} has no blocks, so none of entity {text}"),
        names => format!("view {view} has no blocks of entity {text}, it has some of {names}"),
    };
    Err(Error::new(ErrorKind::NotFound, message))
}

/// The entity as it is typed, every value as text: its path is the same whatever the types.
fn parse_entity(text: &str) -> Result<EntityKey> {
    let pairs: Option<Vec<(&str, &str)>> = text.split(',').map(|pair| pair.trim().split_once('=')).collect();
    pairs.map_or_else(
        || {
            Err(Error::invalid(format!(
                "entity {text:?} is not understood: write symbol=EURUSD, and a comma between keys"
            )))
        },
        EntityKey::new,
    )
}

/// Records for rows whose file went and whose keys are not all text: a path does not tell the types,
/// so that invalidating a whole view leaves these rows behind.
fn typed_rows_without_file(cache: &Cache, rows: &[BlockRow], at: Timestamp) -> Vec<Record> {
    let is_typed = |row: &&BlockRow| row.entity.pairs().any(|(_, value)| value.key_type() != KeyType::Text);
    let is_gone = |row: &&BlockRow| matches!(cache.dir.stat(row.file.as_ref()), Ok(None));
    let removed = |row: &BlockRow| Record::Removed { block: row.block_ref(), at, reason: RemovalReason::Invalidated };
    rows.iter().filter(is_typed).filter(is_gone).map(removed).collect()
}

impl Report for InvalidateFacts {
    fn write(&self, page: &mut Page) {
        let entity = self.entity.as_ref().map_or_else(|| "all entities".to_owned(), Clone::clone);
        let range = match (&self.range, &self.start, &self.end) {
            (Some(range), Some(_), Some(_)) => quantity::times(*range),
            (Some(range), Some(_), None) => format!("from {} on", quantity::time(range.start())),
            (Some(range), None, _) => format!("before {}", quantity::time(range.end())),
            _ => "all times".to_owned(),
        };
        let blocks = quantity::counted(self.blocks, "block", "blocks");
        page.line(&format!("Invalidated {blocks} of {}: {entity}, {range}.", self.view));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KeyValue;

    fn row(entity: EntityKey) -> BlockRow {
        let at = Timestamp::from_secs(0);
        BlockRow {
            view: ViewName::new("v").unwrap(),
            fingerprint: "ce20d9dfd7046a750a2891dbead1269d".parse().unwrap(),
            entity,
            start: at,
            end: at.saturating_add(std::time::Duration::from_secs(1)),
            known_until: at,
            rows: 0,
            bytes: 0,
            created: at,
            compute_ms: 0.0,
            input_version: None,
            file: String::new(),
            last_used: at,
            uses: 0,
            newest: None,
        }
    }

    fn found(text: &str) -> Result<Vec<String>> {
        let view = ViewName::new("v").unwrap();
        let rows = [
            row(EntityKey::new([("symbol", "EURUSD"), ("venue", "OANDA")]).unwrap()),
            row(EntityKey::new([("symbol", "A,B")]).unwrap()),
            row(EntityKey::new([("account", KeyValue::from(5))]).unwrap()),
        ];
        Ok(entities_of(text, &rows, &view)?.iter().map(|entity| format!("{entity:?}")).collect())
    }

    #[test]
    fn an_entity_is_found_by_how_it_reads() {
        assert_eq!(found("venue=OANDA, symbol=EURUSD").unwrap(), ["EntityKey(symbol=EURUSD,venue=OANDA)"]);
        assert_eq!(found("symbol=A,B").unwrap(), ["EntityKey(symbol=A,B)"]);
        assert_eq!(found("account=5").unwrap(), ["EntityKey(account=5)"]);
    }

    #[test]
    fn an_unknown_entity_names_those_that_exist() {
        let error = found("symbol=EURUSD").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("symbol=EURUSD,venue=OANDA"), "{error}");
        assert_eq!(found("EURUSD").unwrap_err().kind(), ErrorKind::Invalid);
    }
}
