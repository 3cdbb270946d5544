//! What a model reads: features computed when they are asked for, and ordered lists of features.

use std::collections::BTreeMap;
use std::fmt;

use super::place::Place;
use super::value_type::ValueType;
use crate::model::{FeatureName, ServiceName, ViewName};

/// A feature of a view: `technical_features.rsi_9`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeatureReference {
    /// The view.
    pub view: ViewName,
    /// The feature.
    pub feature: FeatureName,
}

impl fmt::Display for FeatureReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.view, self.feature)
    }
}

/// A feature that is computed from others when it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct OnDemandDefinition {
    /// Its name.
    pub name: FeatureName,
    /// Where it is defined.
    pub place: Place,
    /// The features it is computed from, which the expression knows by their own names.
    pub inputs: Vec<FeatureReference>,
    /// What the request has to bring, by name.
    pub request: BTreeMap<FeatureName, ValueType>,
    /// An expression of DuckDB's SQL over the inputs.
    pub sql: String,
    /// Its type. Default: a double.
    pub value_type: ValueType,
    /// What it means.
    pub description: Option<String>,
}

/// An ordered list of features: what a model reads.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceDefinition {
    /// Its name.
    pub name: ServiceName,
    /// Where it is defined.
    pub place: Place,
    /// The features, in the order in which the model expects them. No two have the same name.
    pub features: Vec<ServiceFeature>,
    /// The contract it keeps, such as `CTR-FEATURE-001`.
    pub contract: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is.
    pub description: Option<String>,
}

/// A feature of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceFeature {
    /// A feature of a view.
    View(FeatureReference),
    /// A feature computed when it is asked for.
    OnDemand(FeatureName),
}

impl ServiceFeature {
    /// What its column is called.
    pub fn name(&self) -> &FeatureName {
        match self {
            Self::View(reference) => &reference.feature,
            Self::OnDemand(name) => name,
        }
    }
}

impl fmt::Display for ServiceFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::View(reference) => reference.fmt(f),
            Self::OnDemand(name) => name.fmt(f),
        }
    }
}
