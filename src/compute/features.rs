//! Views and services of a set of definitions, over one store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};

use super::bound::{Bound, Supply, check_columns};
use super::computing::Computing;
use super::function::{FunctionRows, Functions};
use super::on_demand::{OnDemand, compile};
use super::opening::Opening;
use super::recipe::Recipe;
use crate::cache::{Answer, ComputeError, FeatureStore, Gap};
use crate::definition::{Definitions, SourceDefinition, SourceKeys, SourceKind, ViewSource};
use crate::error::{Error, Result};
use crate::model::{EntityKey, FeatureView, SourceName, TimeRange, Timestamp, ViewName};
use crate::source::Pushed;
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
    on_demand: OnDemand,
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

    /// What the SQL of definitions may take. Default: `compute.query_timeout` of the store's settings, and otherwise that of
    /// [`Limits`].
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Checks SQL and registered functions. Sources are opened when they are needed; [`Features::check`] opens all.
    ///
    /// # Errors
    /// `Invalid` where a definition does not hold, with its place; `Unavailable` where the DuckDB of its SQL does not start.
    pub fn open(self) -> Result<Features> {
        let mut inner = Inner {
            store: self.store,
            definitions: self.definitions,
            sandbox: Arc::new(Sandbox::new(self.limits)),
            sources: BTreeMap::new(),
            views: BTreeMap::new(),
            on_demand: OnDemand::new(),
        };
        let definitions = inner.definitions.clone();
        for name in definitions.views().keys() {
            // One that cannot be bound says why to whoever asks for it.
            drop(inner.bind(name, &self.functions)?);
        }
        inner.on_demand = compile(&definitions, &inner.sandbox)?;
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
        let source =
            self.sources.entry(name.clone()).or_insert_with(|| Arc::new(Opening::new(definition.clone(), environment)));
        Ok(Supply::Source(Arc::clone(source)))
    }
}

impl Features {
    /// Begins to bind `definitions` to `store`.
    pub fn builder(store: FeatureStore, definitions: Definitions) -> FeaturesBuilder {
        let limits = Limits { query_timeout: store.settings().compute.query_timeout, ..Limits::default() };
        FeaturesBuilder { store, definitions, functions: Functions::new(), limits }
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
        let store = self.store();
        bound.known_until(store, store.now().saturating_sub(bound.recipe.view().lateness()))
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
                source.ask(self.store(), |reader| reader.entities(entity, range)).map(Some)
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
                check_columns(self.store(), bound.as_ref().map_err(Error::clone)?, definition)?;
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

    pub(super) fn on_demand_features(&self) -> &OnDemand {
        &self.0.on_demand
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
