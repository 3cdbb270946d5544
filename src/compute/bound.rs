//! A view with where its rows come from.

use std::sync::Arc;

use arrow::datatypes::Schema;

use super::computing::Computing;
use super::opening::Opening;
use super::recipe::Recipe;
use super::rows::{Created, Frame};
use crate::cache::{Answer, AnswerBlock, FeatureStore, Gap};
use crate::definition::{Expression, ViewDefinition};
use crate::error::{Error, Result};
use crate::model::{EntityKey, Outcome, TimeRange, Timestamp};
use crate::source::{Pushed, Versions};

/// A view with what it takes to compute it.
pub(super) struct Bound {
    pub(super) recipe: Recipe,
    pub(super) supply: Supply,
}

/// Where a view's rows come from.
pub(super) enum Supply {
    Source(Arc<Opening>),
    Pushed(Arc<Pushed>),
    View(Arc<Bound>),
}

impl Bound {
    pub(super) fn rows(&self, store: &FeatureStore, entity: &EntityKey, range: TimeRange) -> Result<Frame> {
        match &self.supply {
            Supply::Source(source) => {
                let reader = source.reader(store)?;
                let schema = reader.schema();
                let asked = self.recipe.columns();
                if let Some(objection) = asked.iter().flatten().find_map(|column| reader.objection(column)) {
                    return Err(objection);
                }
                let columns = self.columns(&schema);
                source.ask(store, |reader| frame(&reader.versions(entity, range, &columns)?, range))
            }
            Supply::Pushed(pushed) => {
                frame(&pushed.versions(store.cache_dir(), entity, range, &self.columns(&pushed.schema()))?, range)
            }
            Supply::View(read) => {
                let computing = Computing::new(store, read);
                let answer = computing.warm(entity, range)?;
                match answer.outcome() {
                    // What may be wrong is answered where nothing better can be, and not computed from.
                    Outcome::Fallback | Outcome::Stale => {
                        let gap = Gap::new(read.recipe.view().clone(), entity.clone(), answer.range());
                        Frame::of_batch(&computing.features(&gap)?)
                    }
                    _ => Ok(Frame::of_batch(&answer.to_batch()?)?.with_created(created(&answer))),
                }
            }
        }
    }

    /// Those columns of the rows that are read, in the order of their names.
    pub(super) fn columns<'a>(&'a self, schema: &'a Schema) -> Vec<&'a str> {
        let all = || schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>();
        let mut columns: Vec<&str> = self.recipe.columns().map_or_else(all, |columns| columns.into_iter().collect());
        // Times are always read; asked for by name they are not among the columns.
        columns.retain(|column| schema.index_of(column).is_ok());
        columns
    }

    /// The event time of an entity's newest row.
    pub(super) fn newest(&self, store: &FeatureStore, entity: &EntityKey) -> Result<Option<Timestamp>> {
        match &self.supply {
            Supply::Source(source) => source.ask(store, |reader| reader.newest(Some(entity))),
            Supply::Pushed(pushed) => pushed.newest(store.cache_dir(), entity),
            Supply::View(read) => read.newest(store, entity),
        }
    }

    /// Whether all that it is computed from was pushed.
    pub(super) fn is_pushed(&self) -> bool {
        match &self.supply {
            Supply::Source(_) => false,
            Supply::Pushed(_) => true,
            Supply::View(read) => read.is_pushed(),
        }
    }

    /// Up to where the rows are complete: no source says more than it has.
    pub(super) fn known_until(&self, store: &FeatureStore, latest: Timestamp) -> Result<Timestamp> {
        match &self.supply {
            Supply::Source(source) => Ok(match source.newest(store)? {
                Some(newest) => latest.min(Timestamp::from_ns(newest.as_ns().saturating_add(1))),
                None => Timestamp::MIN,
            }),
            // Whoever pushes a row invalidates what depends on it.
            Supply::Pushed(_) => Ok(Timestamp::MAX),
            Supply::View(read) => read.known_until(store, latest),
        }
    }
}

/// The rows of a range, from all versions that there are.
fn frame(versions: &Versions<'_>, range: TimeRange) -> Result<Frame> {
    Ok(Frame::of_rows(&versions.rows(range)?).with_created(Created::of_versions(versions)))
}

/// When the rows of an answer's blocks became known, where all of them say so.
fn created(answer: &Answer) -> Option<Vec<Created>> {
    let of_block = |block: &AnswerBlock| Some(Created::within(block.range(), block.newest_created()?));
    answer.blocks().iter().map(of_block).collect()
}

/// The columns that are known to be read. Those of SQL are told by DuckDB, whose names know no case.
fn columns_of(expression: &Expression) -> Vec<&str> {
    match expression {
        Expression::Column(column) => vec![column],
        Expression::Indicator(indicator) => indicator.columns(),
        Expression::Sql(_) | Expression::Function { .. } => Vec::new(),
    }
}

/// That the rows have the columns that features read.
pub(super) fn check_columns(store: &FeatureStore, bound: &Bound, definition: &ViewDefinition) -> Result<()> {
    let schema = match &bound.supply {
        Supply::Source(source) => source.reader(store)?.schema(),
        Supply::Pushed(pushed) => pushed.schema(),
        Supply::View(read) => Arc::clone(read.recipe.view().schema()),
    };
    // The names in SQL may be made in it: DuckDB tells when it runs.
    if definition.sql.is_some() {
        return Ok(());
    }
    for feature in &definition.features {
        for column in columns_of(&feature.expression) {
            if schema.index_of(column).is_err() {
                let known: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                return Err(Error::invalid(format!(
                    "{}: view {}: feature {}: the rows have no column {column:?}: they have {}",
                    feature.place,
                    definition.name,
                    feature.name,
                    known.join(", ")
                )));
            }
        }
    }
    Ok(())
}
