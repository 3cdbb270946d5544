//! `larder push`: rows for a source of pushed rows, from a file.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
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
    CsvFormat, Definitions, OnNullTime, PathPattern, SourceDefinition, SourceKeys, SourceKind, ViewDefinition,
    ViewSource,
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
kept, and to push rows again changes nothing; without one, a row that is pushed again after a correction counts again.";

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
    // Rows that belong to every entity are any entity's.
    let anyone = EntityKey::new([("any", "one")])?;
    let versions = |owner: &Option<EntityKey>| reader.versions(owner.as_ref().unwrap_or(&anyone), always, &columns);
    if source.on_null_time == OnNullTime::Error {
        let counts = owners.iter().map(|owner| Ok(versions(owner)?.every()?.num_rows() as u64));
        none_is_left_out(&options.file, counts.sum::<Result<u64>>()?)?;
    }
    let mut watch = Watch::begin("pushing", &session.interrupt);
    let mut push = Push { rows: 0, changed: 0, invalidated: 0 };
    for (done, owner) in (0..).zip(&owners) {
        if !watch.advance(done, Some(owners.len() as u64)) {
            let what = format!("{done} of {} entities are pushed; run it again to go on", owners.len());
            return Err(Failure::Interrupted(what));
        }
        let pushed = features.push(&options.source, owner, &versions(owner)?.every()?)?;
        push.rows += pushed.rows;
        push.changed += pushed.changed;
        push.invalidated += pushed.invalidated;
    }
    features.store().flush();
    Ok(PushFacts { source: options.source.clone(), file: options.file.clone(), entities: owners.len(), push })
}

/// That no row of a file lacks what says whose and when it is.
fn none_is_left_out(file: &Path, found: u64) -> Result<()> {
    let rows = rows_in(file)?;
    if found == rows {
        return Ok(());
    }
    let left = quantity::counted(rows.saturating_sub(found), "row", "rows");
    Err(Error::invalid(format!(
        "{}: {left} of {rows} have no event time or no join key: correct or remove them; nothing was pushed",
        file.display()
    )))
}

/// How many rows a file has, whatever is in them.
fn rows_in(file: &Path) -> Result<u64> {
    let unreadable = |error: &dyn std::fmt::Display| Error::invalid(format!("cannot read {}: {error}", file.display()));
    let opened = File::open(file).map_err(|error| unreadable(&error))?;
    if file.extension().is_some_and(|extension| extension == "parquet") {
        let described = ParquetRecordBatchReaderBuilder::try_new(opened).map_err(|error| unreadable(&error))?;
        return Ok(described.metadata().file_metadata().num_rows().unsigned_abs());
    }
    let format = arrow::csv::reader::Format::default().with_header(true);
    let (_, rows) = format.infer_schema(opened, None).map_err(|error| unreadable(&error))?;
    Ok(rows as u64)
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
