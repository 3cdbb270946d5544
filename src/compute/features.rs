//! Views and services of a set of definitions, over one store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Schema;

use super::function::{FunctionRows, Functions};
use super::recipe::Recipe;
use super::rows::{Created, Frame};
use crate::cache::{Answer, AnswerBlock, ComputeError, FeatureStore, Gap, Source};
use crate::definition::{
    Definitions, Environment, Expression, SourceDefinition, SourceKeys, SourceKind, ViewDefinition, ViewSource,
};
use crate::error::{Error, Result};
use crate::model::{EntityKey, FeatureView, Outcome, SourceName, TimeRange, Timestamp, ViewName};
use crate::source::{Pushed, Reader, Versions};
use crate::sql::{Limits, Sandbox};

/// Features as their definitions say, answered through a [`FeatureStore`]. Cheap to clone and shared by threads.
#[derive(Clone)]
pub struct Features(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: FeatureStore,
    pub(super) definitions: Definitions,
    sandbox: Arc<Sandbox>,
    pub(super) sources: BTreeMap<SourceName, Arc<Opening>>,
    /// A variable that is not set harms only the views that need it.
    pub(super) views: BTreeMap<ViewName, Result<Arc<Bound>>>,
}

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

/// A source that is opened when it is needed first, so that one that is away harms only those who need it.
pub(super) struct Opening {
    pub(super) definition: SourceDefinition,
    environment: Environment,
    reader: Mutex<Option<Arc<Reader>>>,
}

impl Opening {
    /// A reader that knows the files as they are now. Where they cannot be opened, the one before stays.
    pub(super) fn reopen(&self) -> Result<Arc<Reader>> {
        let reader = Arc::new(Reader::open(&self.definition, &self.environment)?);
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&reader));
        Ok(reader)
    }

    pub(super) fn reader(&self) -> Result<Arc<Reader>> {
        let mut opened = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = &*opened {
            return Ok(Arc::clone(reader));
        }
        let reader = Arc::new(Reader::open(&self.definition, &self.environment)?);
        Ok(Arc::clone(opened.insert(reader)))
    }
}

/// Collects what [`Features`] need.
pub struct FeaturesBuilder {
    store: FeatureStore,
    definitions: Definitions,
    functions: Functions,
    limits: Limits,
}

impl FeaturesBuilder {
    /// Registers the function that definitions call `name`. It returns one value for each row, from that row and
    /// those before it alone.
    #[must_use]
    pub fn function<F, E>(mut self, name: &str, function: F) -> Self
    where
        F: Fn(&FunctionRows<'_>) -> Result<ArrayRef, E> + Send + Sync + 'static,
        E: Into<ComputeError>,
    {
        self.functions.insert(name.to_owned(), Arc::new(move |rows| function(rows).map_err(Into::into)));
        self
    }

    /// What the SQL of definitions may take.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Checks SQL and registered functions. Sources are opened when they are needed; [`Features::check`] opens all.
    ///
    /// # Errors
    /// `Invalid` where a definition does not hold, with its place.
    pub fn open(self) -> Result<Features> {
        let mut inner = Inner {
            store: self.store,
            definitions: self.definitions,
            sandbox: Arc::new(Sandbox::open(self.limits)?),
            sources: BTreeMap::new(),
            views: BTreeMap::new(),
        };
        let definitions = inner.definitions.clone();
        for name in definitions.views().keys() {
            // One that cannot be bound says why to whoever asks for it.
            drop(inner.bind(name, &self.functions)?);
        }
        let features = Features(Arc::new(inner));
        features.finish_pushes(None)?;
        Ok(features)
    }
}

impl Inner {
    /// Binds a view, and before it the one that it reads; there is no circle among them.
    fn bind(&mut self, name: &ViewName, functions: &Functions) -> Result<Result<Arc<Bound>>> {
        if let Some(bound) = self.views.get(name) {
            return Ok(bound.clone());
        }
        let Some(definition) = self.definitions.views().get(name).cloned() else {
            return Err(Error::internal(format!("view {name} is read but not defined")));
        };
        let supply = match &definition.source {
            ViewSource::View(read) => self.bind(read, functions)?.map(Supply::View),
            ViewSource::Source(source) => Ok(self.supply(source)?),
        };
        let bound = match (supply, self.definitions.feature_view(name)) {
            (Ok(supply), Ok(view)) => {
                let recipe = Recipe::new(view, &definition, functions, &self.sandbox)?;
                Ok(Arc::new(Bound { recipe, supply }))
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        self.views.insert(name.clone(), bound.clone());
        Ok(bound)
    }

    fn supply(&mut self, name: &SourceName) -> Result<Supply> {
        let Some(definition) = self.definitions.sources().get(name) else {
            return Err(Error::internal(format!("source {name} is read but not defined")));
        };
        if matches!(definition.kind, SourceKind::Push) {
            return Ok(Supply::Pushed(Arc::new(Pushed::new(definition))));
        }
        let environment = self.definitions.environment().clone();
        let source = self.sources.entry(name.clone()).or_insert_with(|| {
            Arc::new(Opening { definition: definition.clone(), environment, reader: Mutex::default() })
        });
        Ok(Supply::Source(Arc::clone(source)))
    }
}

impl Features {
    /// Begins to bind `definitions` to `store`.
    pub fn builder(store: FeatureStore, definitions: Definitions) -> FeaturesBuilder {
        FeaturesBuilder { store, definitions, functions: Functions::new(), limits: Limits::default() }
    }

    /// The store that answers.
    pub fn store(&self) -> &FeatureStore {
        &self.0.store
    }

    /// What was bound.
    pub fn definitions(&self) -> &Definitions {
        &self.0.definitions
    }

    /// The view of this name.
    ///
    /// # Errors
    /// `NotFound` where none is defined, naming those that are.
    pub fn view(&self, name: &ViewName) -> Result<FeatureView> {
        self.0.definitions.feature_view(name)
    }

    /// The features of `entity` in `range`, from the cache or computed as the definition says.
    ///
    /// One call is one event of the service level, as for [`FeatureStore::get_or_compute`].
    ///
    /// # Errors
    /// `NotFound` for a view that is not defined; otherwise those of [`FeatureStore::get_or_compute`].
    pub fn get_or_compute(&self, view: &ViewName, entity: &EntityKey, range: TimeRange) -> Result<Answer> {
        let computing = self.computing(view)?;
        self.0.store.get_or_compute_from(computing.bound.recipe.view(), entity, range, &computing)
    }

    /// Sees to it that the features of `entity` in `range` are cached. No event of the service level.
    ///
    /// # Errors
    /// As [`get_or_compute`](Self::get_or_compute).
    pub fn warm(&self, view: &ViewName, entity: &EntityKey, range: TimeRange) -> Result<Answer> {
        self.computing(view)?.warm(entity, range)
    }

    /// The features of `entity` in `range` computed now, past the cache: the same values.
    ///
    /// # Errors
    /// As [`get_or_compute`](Self::get_or_compute).
    pub fn compute(&self, view: &ViewName, entity: &EntityKey, range: TimeRange) -> Result<RecordBatch> {
        let computing = self.computing(view)?;
        let view = computing.bound.recipe.view();
        view.check_entity(entity)?;
        computing.features(&Gap::new(view.clone(), entity.clone(), range))
    }

    /// The event time up to which the rows of a view are complete now. What is later may still change and is not kept.
    ///
    /// # Errors
    /// `NotFound` as of [`get_or_compute`](Self::get_or_compute); those of a source that cannot be read.
    pub fn known_until(&self, view: &ViewName) -> Result<Timestamp> {
        let bound = self.bound(view)?;
        bound.known_until(self.0.store.now().saturating_sub(bound.recipe.view().lateness()))
    }

    /// The entities that have rows for a view in the range; `None` where its rows belong to every entity.
    ///
    /// # Errors
    /// As [`get_or_compute`](Self::get_or_compute).
    pub fn entities(&self, view: &ViewName, range: TimeRange) -> Result<Option<BTreeSet<EntityKey>>> {
        let definitions = &self.0.definitions;
        let mut bound = self.bound(view)?;
        while let Supply::View(read) = &bound.supply {
            bound = read;
        }
        let entity = definitions.views().get(view).and_then(|view| definitions.entities().get(&view.entity));
        let entity = entity.ok_or_else(|| Error::internal(format!("the entity of view {view} is not defined")))?;
        let has_keys = |source: &SourceDefinition| source.keys != SourceKeys::None;
        match &bound.supply {
            Supply::Source(source) if has_keys(&source.definition) => {
                source.reader()?.entities(entity, range).map(Some)
            }
            Supply::Pushed(pushed) if has_keys(pushed.definition()) => {
                pushed.entities(self.0.store.cache_dir(), entity, range).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Opens every source and checks that it has the columns that features read.
    ///
    /// # Errors
    /// `Invalid` for a column that is not there, with the place of the feature; those of a source that cannot be
    /// opened.
    pub fn check(&self) -> Result<()> {
        for (name, bound) in &self.0.views {
            if let Some(definition) = self.0.definitions.views().get(name) {
                check_columns(bound.as_ref().map_err(Error::clone)?, definition)?;
            }
        }
        Ok(())
    }

    fn computing(&self, view: &ViewName) -> Result<Computing<'_>> {
        Ok(Computing::new(&self.0.store, self.bound(view)?))
    }

    pub(super) fn bound(&self, view: &ViewName) -> Result<&Bound> {
        match self.0.views.get(view) {
            Some(bound) => bound.as_ref().map(|bound| &**bound).map_err(Error::clone),
            // Says which views there are.
            None => Err(self
                .0
                .definitions
                .feature_view(view)
                .err()
                .unwrap_or_else(|| Error::internal(format!("view {view} is defined and was not bound")))),
        }
    }

    pub(super) fn sandbox(&self) -> &Sandbox {
        &self.0.sandbox
    }
}

impl std::fmt::Debug for Features {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Features").field("views", &self.0.views.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

/// A bound view as what the store computes from.
pub(super) struct Computing<'a> {
    store: &'a FeatureStore,
    bound: &'a Bound,
    /// The rows of one entity that were read last, and of which range they are all.
    read: Mutex<Option<(EntityKey, TimeRange, Frame)>>,
}

impl<'a> Computing<'a> {
    pub(super) fn new(store: &'a FeatureStore, bound: &'a Bound) -> Self {
        Self { store, bound, read: Mutex::default() }
    }

    /// The rows of a range, where they or more were read before.
    fn known(&self, entity: &EntityKey, range: TimeRange) -> Option<Frame> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, known, rows) = read.as_ref()?;
        let is_all = of == entity && known.start() <= range.start() && range.end() <= known.end();
        is_all.then(|| rows.within(range))
    }

    /// The rows of a range.
    pub(super) fn rows(&self, entity: &EntityKey, range: TimeRange) -> Result<Frame> {
        if let Some(known) = self.known(entity, range) {
            return Ok(known);
        }
        let rows = self.bound.rows(self.store, entity, range)?;
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some((entity.clone(), range, rows.clone()));
        Ok(rows)
    }

    fn warm(&self, entity: &EntityKey, range: TimeRange) -> Result<Answer> {
        // Rows that were pushed are there, even those that a clock which is ahead of this one calls present.
        let until = if self.bound.is_pushed() { range.end() } else { self.store.now() };
        self.store.warm_until(self.bound.recipe.view(), entity, range, self, until)
    }

    pub(super) fn features(&self, gap: &Gap) -> Result<RecordBatch> {
        let range = TimeRange::new(gap.source_start(), gap.range().end())?;
        self.bound.recipe.compute(gap, &self.rows(gap.entity(), range)?)
    }

    /// A digest of the rows that a block's features are computed from.
    pub(super) fn digest(&self, gap: &Gap) -> Result<String> {
        let range = TimeRange::new(gap.source_start(), gap.range().end())?;
        let rows = match self.known(gap.entity(), range) {
            Some(rows) => rows,
            None => {
                // To the block's end, so that what is computed next need not read again.
                let end = gap.view().span().block_of(gap.range().start()).end().max(range.end());
                self.rows(gap.entity(), TimeRange::new(range.start(), end)?)?.within(range)
            }
        };
        rows.digest()
    }
}

impl Source for Computing<'_> {
    fn compute(&self, gap: &Gap) -> Result<RecordBatch, ComputeError> {
        Ok(self.features(gap)?)
    }

    fn watermark(&self, view: &FeatureView, _: &EntityKey, now: Timestamp) -> Timestamp {
        // A failure here is one of the compute that follows, which says it.
        self.bound.known_until(now.saturating_sub(view.lateness())).unwrap_or(Timestamp::MIN)
    }

    fn version(&self, gap: &Gap) -> Option<String> {
        self.digest(gap).ok()
    }

    fn newest_created(&self, gap: &Gap) -> Option<Timestamp> {
        // Of what was read for the compute: to read it again would tell of other rows.
        let range = TimeRange::new(gap.source_start(), gap.range().end()).ok()?;
        let rows = self.known(gap.entity(), range)?;
        // What fills the first nulls lies before them.
        let from = self.bound.filled_from(range.start());
        rows.newest_created(TimeRange::new(from, range.end()).ok()?)
    }
}

impl Bound {
    pub(super) fn rows(&self, store: &FeatureStore, entity: &EntityKey, range: TimeRange) -> Result<Frame> {
        match &self.supply {
            Supply::Source(source) => {
                let reader = source.reader()?;
                let schema = reader.schema();
                let asked = self.recipe.columns();
                if let Some(objection) = asked.iter().flatten().find_map(|column| reader.objection(column)) {
                    return Err(objection);
                }
                frame(&reader.versions(entity, range, &self.columns(&schema))?, range)
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
            Supply::Source(source) => source.reader()?.newest(Some(entity)),
            Supply::Pushed(pushed) => pushed.newest(store.cache_dir(), entity),
            Supply::View(read) => read.newest(store, entity),
        }
    }

    /// Whether all that it is computed from was pushed.
    fn is_pushed(&self) -> bool {
        match &self.supply {
            Supply::Source(_) => false,
            Supply::Pushed(_) => true,
            Supply::View(read) => read.is_pushed(),
        }
    }

    /// Up to where the rows are complete: no source says more than it has.
    fn known_until(&self, latest: Timestamp) -> Result<Timestamp> {
        match &self.supply {
            Supply::Source(source) => Ok(match source.reader()?.newest(None)? {
                Some(newest) => latest.min(Timestamp::from_ns(newest.as_ns().saturating_add(1))),
                None => Timestamp::MIN,
            }),
            // Whoever pushes a row invalidates what depends on it.
            Supply::Pushed(_) => Ok(Timestamp::MAX),
            Supply::View(read) => read.known_until(latest),
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
fn check_columns(bound: &Bound, definition: &ViewDefinition) -> Result<()> {
    let schema = match &bound.supply {
        Supply::Source(source) => source.reader()?.schema(),
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
