//! Records on their way into the manifest: temporary tables, filled in bulk.
//!
//! Values reach DuckDB as Arrow columns and never as SQL text.

use std::collections::HashMap;
use std::sync::Arc;

use super::database::Database;
use super::record::{BlockRef, BlockRow, Record};
use super::sheet::{Cell, Sheet};
use crate::block::ColumnStats;
use crate::error::{Error, Result};
use crate::model::EntityKey;

/// `at_ns` and `seq` order the events of one block: the later time wins, then the later record.
const TABLES: &str = "
CREATE OR REPLACE TEMP TABLE staged_published AS
    SELECT 0::BIGINT AS seq, 0::BIGINT AS at_ns, * FROM manifest LIMIT 0;
CREATE OR REPLACE TEMP TABLE staged_removed AS
    SELECT 0::BIGINT AS seq, 0::BIGINT AS at_ns, * FROM removals LIMIT 0;
CREATE OR REPLACE TEMP TABLE staged_stats AS SELECT 0::BIGINT AS seq, * FROM column_stats LIMIT 0;
CREATE OR REPLACE TEMP TABLE staged_used AS
    SELECT view, fingerprint, entity, start_ts, uses, last_used FROM manifest LIMIT 0;
CREATE OR REPLACE TEMP TABLE staged_requests AS SELECT * FROM requests_per_minute LIMIT 0;
CREATE OR REPLACE TEMP TABLE staged_misses AS SELECT * FROM misses LIMIT 0;
CREATE OR REPLACE TEMP TABLE staged_counters AS SELECT * FROM counters_per_minute LIMIT 0;
CREATE OR REPLACE TEMP TABLE staged_invalidations AS SELECT * FROM invalidations LIMIT 0;
CREATE OR REPLACE TEMP TABLE staged_views AS
    SELECT view, fingerprint, definition, last_seen AS seen FROM views LIMIT 0;
CREATE OR REPLACE TEMP TABLE staged_journals AS SELECT * FROM journals LIMIT 0;
";

/// The temporary tables of one transaction.
pub(super) struct Stage<'a> {
    database: &'a Database<'a>,
    entities: Entities,
    /// Records so far: the order in which they came.
    seq: i64,
    sheets: Sheets,
}

/// A sheet per temporary table.
pub(super) struct Sheets {
    pub(super) published: Sheet,
    pub(super) removed: Sheet,
    pub(super) stats: Sheet,
    pub(super) used: Sheet,
    pub(super) requests: Sheet,
    pub(super) misses: Sheet,
    pub(super) counters: Sheet,
    pub(super) invalidations: Sheet,
    pub(super) views: Sheet,
    pub(super) journals: Sheet,
}

impl Sheets {
    fn all(&mut self) -> [&mut Sheet; 10] {
        [
            &mut self.published,
            &mut self.removed,
            &mut self.stats,
            &mut self.used,
            &mut self.requests,
            &mut self.misses,
            &mut self.counters,
            &mut self.invalidations,
            &mut self.views,
            &mut self.journals,
        ]
    }
}

impl<'a> Stage<'a> {
    /// Empty temporary tables.
    pub(super) fn new(database: &'a Database<'a>) -> Result<Self> {
        database.run("making temporary tables", TABLES)?;
        let sheets = Sheets {
            published: Sheet::new("staged_published"),
            removed: Sheet::new("staged_removed"),
            stats: Sheet::new("staged_stats"),
            used: Sheet::new("staged_used"),
            requests: Sheet::new("staged_requests"),
            misses: Sheet::new("staged_misses"),
            counters: Sheet::new("staged_counters"),
            invalidations: Sheet::new("staged_invalidations"),
            views: Sheet::new("staged_views"),
            journals: Sheet::new("staged_journals"),
        };
        Ok(Self { database, entities: Entities::default(), seq: 0, sheets })
    }

    /// How many records it was given.
    pub(super) fn records(&self) -> u64 {
        self.seq.unsigned_abs()
    }

    /// Takes a record.
    pub(super) fn record(&mut self, record: &Record) -> Result<()> {
        self.seq += 1;
        let database = self.database;
        match record {
            Record::Published { block, stats } => self.published(block, stats),
            Record::Removed { block, at, reason } => {
                let (seq, at_ns) = (Cell::Integer(self.seq), Cell::Integer(at.as_ns()));
                let (entity, fingerprint) = (self.entities.text(&block.entity)?, block.fingerprint.to_string());
                let [view, fingerprint, entity, start] = identity(block, &entity.json, &fingerprint);
                let row = [seq, at_ns, view, fingerprint, entity, start, Cell::Time(*at), Cell::text(reason.as_str())];
                self.sheets.removed.push(database, row)
            }
            Record::Used { block, uses, last_used } => {
                let (entity, fingerprint) = (self.entities.text(&block.entity)?, block.fingerprint.to_string());
                let [view, fingerprint, entity, start] = identity(block, &entity.json, &fingerprint);
                let row = [view, fingerprint, entity, start, Cell::count(*uses), Cell::Time(*last_used)];
                self.sheets.used.push(database, row)
            }
            Record::Requests { minute, view, outcome, count } => {
                let (view, outcome) = (Cell::text(view.as_str()), Cell::text(outcome.as_str()));
                self.sheets.requests.push(database, [Cell::Minute(*minute), view, outcome, Cell::count(*count)])
            }
            Record::Missed { minute, view, entity, reason, count } => {
                let entity = self.entities.text(entity)?;
                let (view, entity) = (Cell::text(view.as_str()), Cell::text(&entity.json));
                let row = [Cell::Minute(*minute), view, entity, Cell::text(reason.as_str()), Cell::count(*count)];
                self.sheets.misses.push(database, row)
            }
            Record::Counted { minute, metric, labels, count } => {
                let labels = labels_json(labels)?;
                let row = [Cell::Minute(*minute), Cell::text(metric), Cell::text(&labels), Cell::count(*count)];
                self.sheets.counters.push(database, row)
            }
            Record::Invalidated(done) => {
                let entity = done.entity.as_ref().map(|entity| self.entities.text(entity)).transpose()?;
                let row = [
                    Cell::Time(done.at),
                    Cell::text(done.view.as_str()),
                    Cell::Text(entity.as_ref().map(|entity| &*entity.json)),
                    Cell::Time(done.start),
                    Cell::Time(done.end),
                    Cell::text(&done.cause),
                    Cell::count(done.blocks),
                ];
                self.sheets.invalidations.push(database, row)
            }
            Record::ViewSeen { at, view, fingerprint, definition } => {
                let fingerprint = fingerprint.to_string();
                let (view, fingerprint) = (Cell::text(view.as_str()), Cell::text(&fingerprint));
                self.sheets.views.push(database, [view, fingerprint, Cell::text(definition), Cell::Time(*at)])
            }
        }
    }

    /// Takes how far a journal has been read.
    pub(super) fn journal(&mut self, name: &str, read_to: u64) -> Result<()> {
        self.sheets.journals.push(self.database, [Cell::text(name), Cell::count(read_to)])
    }

    fn published(&mut self, block: &BlockRow, stats: &[ColumnStats]) -> Result<()> {
        let entity = self.entities.text(&block.entity)?;
        let fingerprint = block.fingerprint.to_string();
        let row = [
            Cell::Integer(self.seq),
            Cell::Integer(block.created.as_ns()),
            Cell::text(block.view.as_str()),
            Cell::text(&fingerprint),
            Cell::text(&entity.json),
            Cell::Text(entity.symbol.as_deref()),
            Cell::Time(block.start),
            Cell::Time(block.end),
            Cell::Time(block.known_until),
            Cell::count(block.rows),
            Cell::count(block.bytes),
            Cell::Time(block.created),
            Cell::Float(Some(block.compute_ms)),
            Cell::Text(block.input_version.as_deref()),
            Cell::text(&block.file),
            Cell::Time(block.last_used),
            Cell::count(block.uses),
            Cell::text(if block.is_complete() { "complete" } else { "tail" }),
            Cell::MaybeTime(block.newest),
        ];
        self.sheets.published.push(self.database, row)?;
        for column in stats {
            let row = [
                Cell::Integer(self.seq),
                Cell::text(block.view.as_str()),
                Cell::text(&fingerprint),
                Cell::text(&entity.json),
                Cell::Time(block.start),
                Cell::text(&column.name),
                Cell::count(column.count),
                Cell::count(column.nulls),
                Cell::count(column.nans),
                Cell::Float(column.min),
                Cell::Float(column.max),
                Cell::Float(column.mean),
                Cell::Float(column.std),
                Cell::Float(column.p25),
                Cell::Float(column.p50),
                Cell::Float(column.p75),
            ];
            self.sheets.stats.push(self.database, row)?;
        }
        Ok(())
    }

    /// Hands over what is still waiting. The temporary tables are complete then.
    pub(super) fn finish(mut self) -> Result<Sheets> {
        for sheet in self.sheets.all() {
            sheet.flush(self.database)?;
        }
        Ok(self.sheets)
    }
}

fn identity<'a>(block: &'a BlockRef, entity: &'a str, fingerprint: &'a str) -> [Cell<'a>; 4] {
    [Cell::text(block.view.as_str()), Cell::text(fingerprint), Cell::text(entity), Cell::Time(block.start)]
}

/// An entity as the manifest holds it.
#[derive(Debug)]
struct EntityText {
    /// Its join keys as canonical JSON.
    json: String,
    /// The value of the key `symbol`, where it has one.
    symbol: Option<String>,
}

/// Texts by entity: there are far fewer entities than blocks.
#[derive(Debug, Default)]
struct Entities(HashMap<EntityKey, Arc<EntityText>>);

impl Entities {
    fn text(&mut self, entity: &EntityKey) -> Result<Arc<EntityText>> {
        if let Some(text) = self.0.get(entity) {
            return Ok(Arc::clone(text));
        }
        let text = Arc::new(EntityText {
            json: entity_json(entity)?,
            symbol: entity.value("symbol").map(ToString::to_string),
        });
        self.0.insert(entity.clone(), Arc::clone(&text));
        Ok(text)
    }
}

/// The canonical JSON of an entity: its keys in the order of their names.
pub(super) fn entity_json(entity: &EntityKey) -> Result<String> {
    serde_json::to_string(entity).map_err(|error| Error::internal(format!("entity {entity} has no JSON: {error}")))
}

/// The values of labels as JSON, in their order.
fn labels_json(labels: &[String]) -> Result<String> {
    serde_json::to_string(labels).map_err(|error| Error::internal(format!("labels {labels:?} have no JSON: {error}")))
}
