//! Block by block, for cleaning and verifying.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, PrimitiveArray, StringArray};
use arrow::datatypes::{ArrowPrimitiveType, Float64Type, Int64Type, TimestampNanosecondType};
use arrow::record_batch::RecordBatch;
use duckdb::params;

use super::Query;
use super::sql::nanos;
use crate::error::{Error, Result};
use crate::manifest::record::BlockRow;
use crate::manifest::stage::entity_json;
use crate::model::{EntityKey, Fingerprint, TimeRange, Timestamp, ViewName};

/// Which blocks; every one by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockFilter {
    /// Only of this view.
    pub view: Option<ViewName>,
    /// Only of this version.
    pub fingerprint: Option<Fingerprint>,
    /// Only of these entities; of all where there are none.
    pub entities: Vec<EntityKey>,
    /// Only such as share an instant with this range.
    pub range: Option<TimeRange>,
}

/// A part of the blocks in the order of view, entity, start and version. Blocks that come or go
/// between two pages shift those behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// How many blocks to leave out.
    pub after: u64,
    /// How many to return at most.
    pub limit: u64,
}

const COLUMNS: &str = "
SELECT view, fingerprint, entity, start_ts, end_ts, known_until, rows, bytes, created, compute_ms, input_version,
       file, last_used, uses, newest_ts";

const WHERE: &str = "
FROM manifest
WHERE ($1::VARCHAR IS NULL OR view = $1) AND ($2::VARCHAR IS NULL OR fingerprint = $2)
    AND ($3::VARCHAR IS NULL OR list_contains(string_split($3, chr(10)), entity))
    AND ($4::BIGINT IS NULL OR end_ts > make_timestamp_ns($4))
    AND ($5::BIGINT IS NULL OR start_ts < make_timestamp_ns($5))";

const ENTITIES: &str = "SELECT DISTINCT entity FROM manifest WHERE ?::VARCHAR IS NULL OR view = ? ORDER BY entity";

impl Query<'_> {
    /// The blocks, in no particular order.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn blocks(&self, filter: &BlockFilter) -> Result<Vec<BlockRow>> {
        let mut blocks = Vec::new();
        self.for_each_block(filter, |block| {
            blocks.push(block);
            Ok(())
        })?;
        Ok(blocks)
    }

    /// Hands over the blocks one by one, in no particular order, so that not all are in memory at once.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals), and what `each` returns.
    pub fn for_each_block(&self, filter: &BlockFilter, mut each: impl FnMut(BlockRow) -> Result<()>) -> Result<()> {
        self.select(&format!("{COLUMNS}{WHERE}"), filter, None, &mut each)
    }

    /// One page of the blocks, and how many there are on all pages.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn blocks_page(&self, filter: &BlockFilter, page: Page) -> Result<(u64, Vec<BlockRow>)> {
        let (entities, parts) = (entity_lines(filter)?, Parts::of(filter));
        let total = self.rows(
            "counting blocks",
            &format!("SELECT count(*){WHERE}"),
            params![parts.view, parts.fingerprint, entities, parts.start, parts.end],
            |row| row.get(0),
        )?;
        let mut blocks = Vec::new();
        let sql = format!("{COLUMNS}{WHERE} ORDER BY view, entity, start_ts, fingerprint LIMIT $6 OFFSET $7");
        self.select(&sql, filter, Some(page), &mut |block| {
            blocks.push(block);
            Ok(())
        })?;
        Ok((total.first().copied().unwrap_or_default(), blocks))
    }

    /// The entities that have blocks, of one view or of all.
    ///
    /// # Errors
    /// As of [`totals`](Self::totals).
    pub fn entities(&self, view: Option<&ViewName>) -> Result<Vec<EntityKey>> {
        let view = view.map(ViewName::as_str);
        self.rows("listing entities", ENTITIES, params![view, view], |row| row.get(0))
    }

    fn select(
        &self,
        sql: &str,
        filter: &BlockFilter,
        page: Option<Page>,
        each: &mut dyn FnMut(BlockRow) -> Result<()>,
    ) -> Result<()> {
        let failed = |error| self.database.failed("reading blocks", error);
        let (entities, parts) = (entity_lines(filter)?, Parts::of(filter));
        let mut statement = self.database.connection().prepare(sql).map_err(failed)?;
        let mut names = Names::default();
        let most = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let stream = match page {
            None => statement.stream_arrow(params![parts.view, parts.fingerprint, entities, parts.start, parts.end]),
            Some(page) => statement.stream_arrow(params![
                parts.view,
                parts.fingerprint,
                entities,
                parts.start,
                parts.end,
                most(page.limit),
                most(page.after)
            ]),
        };
        for batch in stream.map_err(failed)? {
            let batch = batch.map_err(failed)?;
            let columns =
                Columns::of(&batch).ok_or_else(|| Error::internal("the manifest's columns have other types"))?;
            for row in 0..batch.num_rows() {
                match columns.block(row, &mut names) {
                    Ok(block) => each(block)?,
                    Err(error) => {
                        tracing::warn!(target: "larder::manifest", %error, "left out a block of the manifest that is not understood");
                    }
                }
            }
        }
        Ok(())
    }
}

/// A filter as values of DuckDB.
struct Parts<'a> {
    view: Option<&'a str>,
    fingerprint: Option<String>,
    start: Option<i64>,
    end: Option<i64>,
}

impl<'a> Parts<'a> {
    fn of(filter: &'a BlockFilter) -> Self {
        let (start, end) = filter.range.map(|range| (nanos(range.start()), nanos(range.end()))).unzip();
        let fingerprint = filter.fingerprint.map(|fingerprint| fingerprint.to_string());
        Self { view: filter.view.as_ref().map(ViewName::as_str), fingerprint, start, end }
    }
}

/// The entities of a filter, one a line: canonical JSON has no line breaks of its own.
fn entity_lines(filter: &BlockFilter) -> Result<Option<String>> {
    let texts: Vec<String> = filter.entities.iter().map(entity_json).collect::<Result<_>>()?;
    Ok((!texts.is_empty()).then(|| texts.join("\n")))
}

/// Parsed texts that come again and again.
#[derive(Debug, Default)]
struct Names {
    views: HashMap<String, ViewName>,
    entities: HashMap<String, EntityKey>,
}

impl Names {
    fn view(&mut self, text: &str) -> Result<ViewName> {
        known(&mut self.views, text, ViewName::new)
    }

    fn entity(&mut self, text: &str) -> Result<EntityKey> {
        known(&mut self.entities, text, |text| {
            serde_json::from_str(text).map_err(|error| Error::invalid(format!("entity {text}: {error}")))
        })
    }
}

fn known<T: Clone>(seen: &mut HashMap<String, T>, text: &str, parse: impl FnOnce(&str) -> Result<T>) -> Result<T> {
    if let Some(value) = seen.get(text) {
        return Ok(value.clone());
    }
    let value = parse(text)?;
    seen.insert(text.to_owned(), value.clone());
    Ok(value)
}

/// The columns of one batch.
struct Columns<'a> {
    view: &'a StringArray,
    fingerprint: &'a StringArray,
    entity: &'a StringArray,
    start: Times<'a>,
    end: Times<'a>,
    known_until: Times<'a>,
    rows: Counts<'a>,
    bytes: Counts<'a>,
    created: Times<'a>,
    compute_ms: &'a PrimitiveArray<Float64Type>,
    input_version: &'a StringArray,
    file: &'a StringArray,
    last_used: Times<'a>,
    uses: Counts<'a>,
    newest: Times<'a>,
}

type Times<'a> = &'a PrimitiveArray<TimestampNanosecondType>;
type Counts<'a> = &'a PrimitiveArray<Int64Type>;

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let mut columns = batch.columns().iter();
        let mut next = || columns.next().map(AsRef::as_ref);
        Some(Self {
            view: text(next()?)?,
            fingerprint: text(next()?)?,
            entity: text(next()?)?,
            start: primitive(next()?)?,
            end: primitive(next()?)?,
            known_until: primitive(next()?)?,
            rows: primitive(next()?)?,
            bytes: primitive(next()?)?,
            created: primitive(next()?)?,
            compute_ms: primitive(next()?)?,
            input_version: text(next()?)?,
            file: text(next()?)?,
            last_used: primitive(next()?)?,
            uses: primitive(next()?)?,
            newest: primitive(next()?)?,
        })
    }

    /// The block in `row`, which must be a row of the batch.
    fn block(&self, row: usize, names: &mut Names) -> Result<BlockRow> {
        let time = |column: Times<'_>| Timestamp::from_ns(column.value(row));
        let count = |column: Counts<'_>| u64::try_from(column.value(row)).unwrap_or(0);
        Ok(BlockRow {
            view: names.view(self.view.value(row))?,
            fingerprint: self.fingerprint.value(row).parse()?,
            entity: names.entity(self.entity.value(row))?,
            start: time(self.start),
            end: time(self.end),
            known_until: time(self.known_until),
            rows: count(self.rows),
            bytes: count(self.bytes),
            created: time(self.created),
            compute_ms: self.compute_ms.value(row),
            input_version: self.input_version.is_valid(row).then(|| self.input_version.value(row).to_owned()),
            file: self.file.value(row).to_owned(),
            last_used: time(self.last_used),
            uses: count(self.uses),
            newest: self.newest.is_valid(row).then(|| time(self.newest)),
        })
    }
}

fn text(array: &dyn Array) -> Option<&StringArray> {
    array.as_string_opt()
}

fn primitive<T: ArrowPrimitiveType>(array: &dyn Array) -> Option<&PrimitiveArray<T>> {
    array.as_primitive_opt()
}
