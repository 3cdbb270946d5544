//! Views and services of a set of definitions, over one store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch};

use super::function::{FunctionRows, Functions};
use super::recipe::Recipe;
use super::rows::Frame;
use crate::cache::{Answer, ComputeError, FeatureStore, Gap, Source};
use crate::definition::{
    Definitions, Environment, Expression, SourceDefinition, SourceKeys, SourceKind, ViewDefinition, ViewSource,
};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{EntityKey, FeatureView, SourceName, TimeRange, Timestamp, ViewName};
use crate::source::Reader;
use crate::sql::{Limits, Sandbox};

/// Features as their definitions say, answered through a [`FeatureStore`]. Cheap to clone and shared by threads.
#[derive(Clone)]
pub struct Features(Arc<Inner>);

struct Inner {
    store: FeatureStore,
    definitions: Definitions,
    sandbox: Arc<Sandbox>,
    views: BTreeMap<ViewName, Arc<Bound>>,
}

/// A view with what it takes to compute it.
pub(super) struct Bound {
    recipe: Recipe,
    supply: Supply,
}

/// Where a view's rows come from.
enum Supply {
    Source(Arc<Opening>),
    View(Arc<Bound>),
}

/// A source that is opened when it is needed first, so that one that is away harms only those who need it.
struct Opening {
    definition: SourceDefinition,
    environment: Environment,
    reader: Mutex<Option<Arc<Reader>>>,
}

impl Opening {
    fn reader(&self) -> Result<Arc<Reader>> {
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
            views: BTreeMap::new(),
        };
        let mut sources = BTreeMap::new();
        let definitions = inner.definitions.clone();
        for name in definitions.views().keys() {
            inner.bind(name, &self.functions, &mut sources)?;
        }
        Ok(Features(Arc::new(inner)))
    }
}

impl Inner {
    /// Binds a view, and before it the one that it reads; there is no circle among them.
    fn bind(
        &mut self,
        name: &ViewName,
        functions: &Functions,
        sources: &mut BTreeMap<SourceName, Arc<Opening>>,
    ) -> Result<Option<Arc<Bound>>> {
        if let Some(bound) = self.views.get(name) {
            return Ok(Some(Arc::clone(bound)));
        }
        let Some(definition) = self.definitions.views().get(name).cloned() else {
            return Err(Error::internal(format!("view {name} is read but not defined")));
        };
        let supply = match &definition.source {
            ViewSource::View(read) => self.bind(read, functions, sources)?.map(Supply::View),
            ViewSource::Source(source) => self.source(source, sources)?.map(Supply::Source),
        };
        // Rows that are pushed are in the cache or nowhere.
        let Some(supply) = supply else { return Ok(None) };
        let view = self.definitions.feature_view(name)?;
        let recipe = Recipe::new(view, &definition, functions, &self.sandbox)?;
        let bound = Arc::new(Bound { recipe, supply });
        self.views.insert(name.clone(), Arc::clone(&bound));
        Ok(Some(bound))
    }

    fn source(
        &self,
        name: &SourceName,
        sources: &mut BTreeMap<SourceName, Arc<Opening>>,
    ) -> Result<Option<Arc<Opening>>> {
        if let Some(source) = sources.get(name) {
            return Ok(Some(Arc::clone(source)));
        }
        let Some(definition) = self.definitions.sources().get(name) else {
            return Err(Error::internal(format!("source {name} is read but not defined")));
        };
        if matches!(definition.kind, SourceKind::Push) {
            return Ok(None);
        }
        let environment = self.definitions.environment().clone();
        let source = Opening { definition: definition.clone(), environment, reader: Mutex::default() };
        let source = Arc::new(source);
        sources.insert(name.clone(), Arc::clone(&source));
        Ok(Some(source))
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
    /// `NotFound` for a view that is not defined, or whose rows are pushed and are not there; otherwise those of
    /// [`FeatureStore::get_or_compute`].
    pub fn get_or_compute(&self, view: &ViewName, entity: &EntityKey, range: TimeRange) -> Result<Answer> {
        let computing = self.computing(view)?;
        self.0.store.get_or_compute_from(computing.bound.recipe.view(), entity, range, &computing)
    }

    /// Sees to it that the features of `entity` in `range` are cached. No event of the service level.
    ///
    /// # Errors
    /// As [`get_or_compute`](Self::get_or_compute).
    pub fn warm(&self, view: &ViewName, entity: &EntityKey, range: TimeRange) -> Result<Answer> {
        let computing = self.computing(view)?;
        self.0.store.warm_from(computing.bound.recipe.view(), entity, range, &computing)
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

    /// The views that can be computed: all but those whose rows are pushed.
    pub fn computed(&self) -> impl Iterator<Item = &ViewName> {
        self.0.views.keys()
    }

    /// The entities that have rows for a view in the range; `None` where its rows belong to every entity.
    ///
    /// # Errors
    /// As [`get_or_compute`](Self::get_or_compute).
    pub fn entities(&self, view: &ViewName, range: TimeRange) -> Result<Option<BTreeSet<EntityKey>>> {
        let definitions = &self.0.definitions;
        let mut bound = self.computing(view)?.bound;
        while let Supply::View(read) = &bound.supply {
            bound = read;
        }
        let Supply::Source(source) = &bound.supply else { return Ok(None) };
        let entity = definitions.views().get(view).and_then(|view| definitions.entities().get(&view.entity));
        match (entity, &source.definition.keys) {
            (Some(entity), SourceKeys::SameNames | SourceKeys::Columns(_)) => {
                source.reader()?.entities(entity, range).map(Some)
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
                check_columns(bound, definition)?;
            }
        }
        Ok(())
    }

    fn computing(&self, view: &ViewName) -> Result<Computing<'_>> {
        match self.0.views.get(view) {
            Some(bound) => Ok(Computing { store: &self.0.store, bound }),
            // Says which views there are, where it is none of them.
            None => self.0.definitions.feature_view(view).and_then(|view| {
                Err(Error::new(
                    ErrorKind::NotFound,
                    format!("the rows of view {} are pushed: there is nothing to compute it from", view.name()),
                ))
            }),
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
struct Computing<'a> {
    store: &'a FeatureStore,
    bound: &'a Bound,
}

impl Computing<'_> {
    fn features(&self, gap: &Gap) -> Result<RecordBatch> {
        let range = TimeRange::new(gap.source_start(), gap.range().end())?;
        let rows = self.bound.rows(self.store, gap.entity(), range)?;
        self.bound.recipe.compute(gap, &rows)
    }
}

impl Source for Computing<'_> {
    fn compute(&self, gap: &Gap) -> Result<RecordBatch, ComputeError> {
        Ok(self.features(gap)?)
    }

    fn watermark(&self, view: &FeatureView, _: &EntityKey, now: Timestamp) -> Timestamp {
        self.bound.watermark(now.saturating_sub(view.lateness()))
    }
}

impl Bound {
    fn rows(&self, store: &FeatureStore, entity: &EntityKey, range: TimeRange) -> Result<Frame> {
        match &self.supply {
            Supply::Source(source) => {
                let reader = source.reader()?;
                let schema = reader.schema();
                let all = || schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>();
                let columns = self.recipe.columns().map(|columns| columns.into_iter().collect());
                let mut columns: Vec<&str> = columns.unwrap_or_else(all);
                if let Some(objection) = columns.iter().find_map(|column| reader.objection(column)) {
                    return Err(objection);
                }
                // Times are always read; asked for by name they are not among the columns.
                columns.retain(|column| schema.index_of(column).is_ok());
                let rows = reader.read(entity, range, &columns)?;
                Ok(Frame::new(rows.times().to_vec().into(), rows.batch().clone()))
            }
            Supply::View(read) => {
                let computing = Computing { store, bound: read };
                let answer = store.warm_from(read.recipe.view(), entity, range, &computing)?;
                Frame::of_batch(&answer.to_batch()?)
            }
        }
    }

    /// Up to where the rows are complete: no source says more than it has.
    fn watermark(&self, latest: Timestamp) -> Timestamp {
        match &self.supply {
            // A failure here is one of the compute that follows, which says it.
            Supply::Source(source) => match source.reader().and_then(|reader| reader.newest(None)) {
                Ok(Some(newest)) => latest.min(Timestamp::from_ns(newest.as_ns().saturating_add(1))),
                _ => Timestamp::from_ns(i64::MIN),
            },
            Supply::View(read) => read.watermark(latest),
        }
    }
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
