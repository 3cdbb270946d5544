//! `larder push`: rows for a source of pushed rows, from a file.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::definitions;
use super::failure::Failure;
use super::page::Page;
use super::progress::Watch;
use super::quantity;
use super::report::Report;
use super::session::Session;
use crate::compute::Push;
use crate::definition::{
    CsvFormat, Definitions, PathPattern, SourceDefinition, SourceKeys, SourceKind, ViewDefinition, ViewSource,
};
use crate::error::{Error, Result};
use crate::model::{EntityKey, SourceName, TimeRange, Timestamp};
use crate::source::Reader;
use crate::upkeep::Progress;

const EXAMPLES: &str = "\
Examples:
  larder push model_state state.csv
  larder push market_quotes quotes.parquet --json

The file has the source's columns, its event time and the join keys. With a created time, every version of a row is
kept. To push rows again changes nothing.";

/// Keep rows of a source of pushed rows, from a file
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// The source, of kind push
    #[arg(value_name = "SOURCE", value_parser = SourceName::new)]
    source: SourceName,
    /// The rows: .csv or .parquet
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// What was pushed.
#[derive(Debug, Serialize)]
pub struct PushFacts {
    source: SourceName,
    file: PathBuf,
    entities: usize,
    #[serde(flatten)]
    push: Push,
}

/// Pushes.
///
/// # Errors
/// `Invalid` for a file that is neither CSV nor Parquet, or whose rows the source does not allow; those of
/// [`Features::push`]. Rows of entities before the one that it names are kept.
pub fn run(options: &Options, session: &Session) -> Result<PushFacts, Failure> {
    let features = definitions::features(session)?;
    let source = features.pushed_source(&options.source)?;
    let reader = Reader::open(&in_file(source, &options.file)?, features.definitions().environment())?;
    let always = TimeRange::new(Timestamp::MIN, Timestamp::MAX)?;
    let owners = owners(features.definitions(), source, &reader, always)?;
    let columns: Vec<&str> = source.types.keys().map(String::as_str).collect();
    let mut watch = Watch::begin("pushing", &session.interrupt);
    let mut push = Push { rows: 0, changed: 0, invalidated: 0 };
    for (done, owner) in (0..).zip(&owners) {
        if !watch.advance(done, Some(owners.len() as u64)) {
            let what = format!("{done} of {} entities are pushed; run it again to go on", owners.len());
            return Err(Failure::Interrupted(what));
        }
        // Rows that belong to every entity are any entity's.
        let versions =
            reader.versions(owner.as_ref().unwrap_or(&EntityKey::new([("any", "one")])?), always, &columns)?;
        let pushed = features.push(&options.source, owner, &versions.every()?)?;
        push.rows += pushed.rows;
        push.changed += pushed.changed;
        push.invalidated += pushed.invalidated;
    }
    features.store().flush();
    Ok(PushFacts { source: options.source.clone(), file: options.file.clone(), entities: owners.len(), push })
}

/// The source as it would be if its rows were in this file.
fn in_file(source: &SourceDefinition, file: &Path) -> Result<SourceDefinition> {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let paths = vec![PathPattern::literal(&absolute)?];
    let kind = match file.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => SourceKind::Parquet { paths },
        Some("csv") => SourceKind::Csv { paths, format: CsvFormat::default() },
        _ => {
            return Err(Error::invalid(format!("{} is neither .csv nor .parquet: push one of these", file.display())));
        }
    };
    // What is possible is decided when rows are pushed and when they are read.
    Ok(SourceDefinition { kind, valid: Default::default(), ..source.clone() })
}

/// Those whose rows the file has: entities, or, where rows belong to all, the one that is none.
fn owners(
    definitions: &Definitions,
    source: &SourceDefinition,
    reader: &Reader,
    range: TimeRange,
) -> Result<Vec<Option<EntityKey>>> {
    if source.keys == SourceKeys::None {
        return Ok(vec![None]);
    }
    let reads = |view: &&ViewDefinition| matches!(&view.source, ViewSource::Source(name) if *name == source.name);
    let view = definitions.views().values().find(reads).ok_or_else(|| {
        Error::invalid(format!(
            "no view reads source {}, so nothing says which keys its rows have: define one",
            source.name
        ))
    })?;
    let entity = definitions.entities().get(&view.entity);
    let entity = entity.ok_or_else(|| Error::internal(format!("entity {} is not defined", view.entity)))?;
    Ok(reader.entities(entity, range)?.into_iter().map(Some).collect())
}

impl Report for PushFacts {
    fn write(&self, page: &mut Page) {
        let rows = quantity::counted(self.push.rows as u64, "row", "rows");
        let entities = quantity::counted(self.entities as u64, "entity", "entities");
        page.line(&format!("Pushed {rows} of {entities} to {}.", self.source));
        page.gap();
        page.field("Changed", &quantity::counted(self.push.changed as u64, "row", "rows"));
        page.field("Forgotten", &quantity::counted(self.push.invalidated, "block", "blocks"));
    }
}
