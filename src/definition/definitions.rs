//! All definitions together.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::canonical;
use super::place::Finding;
use super::service::{OnDemandDefinition, ServiceDefinition};
use super::source::SourceDefinition;
use super::template::Environment;
use super::view::{EntityDefinition, ViewDefinition, ViewSource};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    EntityName, Feature, FeatureName, FeatureView, FeatureViewBuilder, ServiceName, SourceName, ViewName,
};

/// Everything that the files of a directory define. What one definition says of another holds: names that are
/// mentioned exist, and views do not read themselves.
#[derive(Debug, Clone)]
pub struct Definitions {
    pub(super) entities: BTreeMap<EntityName, EntityDefinition>,
    pub(super) sources: BTreeMap<SourceName, SourceDefinition>,
    pub(super) views: BTreeMap<ViewName, ViewDefinition>,
    pub(super) on_demand: BTreeMap<FeatureName, OnDemandDefinition>,
    pub(super) services: BTreeMap<ServiceName, ServiceDefinition>,
    pub(super) warnings: Vec<Finding>,
    pub(super) environment: Environment,
}

impl Definitions {
    /// What features describe.
    pub fn entities(&self) -> &BTreeMap<EntityName, EntityDefinition> {
        &self.entities
    }

    /// Where rows come from.
    pub fn sources(&self) -> &BTreeMap<SourceName, SourceDefinition> {
        &self.sources
    }

    /// The feature views.
    pub fn views(&self) -> &BTreeMap<ViewName, ViewDefinition> {
        &self.views
    }

    /// The features computed when they are asked for.
    pub fn on_demand(&self) -> &BTreeMap<FeatureName, OnDemandDefinition> {
        &self.on_demand
    }

    /// What models read.
    pub fn services(&self) -> &BTreeMap<ServiceName, ServiceDefinition> {
        &self.services
    }

    /// What is allowed, but not as it should be, in the order of places.
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// The variables that `${NAME}` stands for.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The feature view that the view `name` defines. Its fingerprint covers the definition and everything that it
    /// reads: a change of a formula, a source, a path or a policy is another view.
    ///
    /// # Errors
    /// `NotFound` where no such view is defined; `Invalid` where a variable is not set that a path or URL of its
    /// source needs.
    pub fn feature_view(&self, name: &ViewName) -> Result<FeatureView> {
        let view = self.views.get(name).ok_or_else(|| {
            let known: Vec<_> = self.views.keys().map(ViewName::as_str).collect();
            Error::new(ErrorKind::NotFound, format!("view {name} is not defined: the views are {}", known.join(", ")))
        })?;
        let rows = match &view.source {
            ViewSource::Source(source) => {
                self.rows_of(source).map_err(|error| Error::invalid(format!("view {name}: {error}")))?
            }
            ViewSource::View(read) => Value::String(self.feature_view(read)?.fingerprint().to_string()),
        };
        let lateness = self.lateness(view)?;
        self.builder(view)?.lateness(lateness).definition(canonical::view(view, rows)?).build()
    }

    /// What decides the rows of a source: equal for sources that mean the same. It holds no secret.
    ///
    /// # Errors
    /// `Invalid` where a variable is not set that its path or URL needs.
    pub fn rows_of(&self, name: &SourceName) -> Result<Value> {
        canonical::source(self.source(name)?, &self.environment)
            .map_err(|error| Error::invalid(format!("source {name}: {error}")))
    }

    /// The feature view, but for its lateness and what it is computed from: others decide these.
    pub(super) fn builder(&self, view: &ViewDefinition) -> Result<FeatureViewBuilder> {
        let entity = self.entities.get(&view.entity).ok_or_else(|| missing("entity", &view.entity))?;
        let mut builder = FeatureView::builder(view.name.as_str())
            .span(view.span)
            .lookback(view.lookback)
            .version(&view.version)
            .stale_while_revalidate(view.stale_while_revalidate)
            .max_stale(view.max_stale);
        for (key, key_type) in &entity.keys {
            builder = builder.join_key(key.as_str(), *key_type);
        }
        for (name, value) in &view.parameters {
            builder = builder.parameter(name, value);
        }
        for defined in &view.features {
            let mut feature = Feature::new(defined.name.as_str(), defined.value_type.data_type())?;
            if !defined.nulls {
                feature = feature.forbid_null();
            }
            if !defined.nan {
                feature = feature.forbid_nan();
            }
            builder = builder.feature_with(feature);
        }
        if let Some(ttl) = view.ttl {
            builder = builder.ttl(ttl);
        }
        if let Some(max_age) = view.max_age {
            builder = builder.max_age(max_age);
        }
        Ok(builder)
    }

    /// Its own, or that of what it reads.
    fn lateness(&self, view: &ViewDefinition) -> Result<Duration> {
        match (view.lateness, &view.source) {
            (Some(lateness), _) => Ok(lateness),
            (None, ViewSource::Source(source)) => Ok(self.source(source)?.lateness),
            (None, ViewSource::View(read)) => self.lateness(self.views.get(read).ok_or_else(|| missing("view", read))?),
        }
    }

    fn source(&self, name: &SourceName) -> Result<&SourceDefinition> {
        self.sources.get(name).ok_or_else(|| missing("source", name))
    }
}

/// References are checked when files are read.
fn missing(what: &str, name: &dyn std::fmt::Display) -> Error {
    Error::internal(format!("{what} {name} is mentioned but not defined"))
}
