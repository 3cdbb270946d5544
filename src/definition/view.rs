//! Feature views and their features.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::indicator::Indicator;
use super::place::Place;
use super::value_type::ValueType;
use crate::model::{EntityName, FeatureName, KeyName, KeyType, SourceName, Span, ViewName};

/// What features describe.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityDefinition {
    /// Its name.
    pub name: EntityName,
    /// Where it is defined.
    pub place: Place,
    /// Its join keys. Default: one of text with the entity's name.
    pub keys: BTreeMap<KeyName, KeyType>,
    /// What it is.
    pub description: Option<String>,
}

/// A group of features of one entity, computed from one source.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewDefinition {
    /// Its name.
    pub name: ViewName,
    /// Where it is defined.
    pub place: Place,
    /// What its features describe.
    pub entity: EntityName,
    /// Where its rows come from.
    pub source: ViewSource,
    /// The `SELECT` that makes the view's rows from those of the source, which it knows as the table `source`. It
    /// returns the keys, `event_timestamp` and the columns that the features read. Default: the source's own rows.
    pub sql: Option<String>,
    /// Its features, in their order.
    pub features: Vec<FeatureDefinition>,
    /// The length of its blocks. Default: a day.
    pub span: Span,
    /// How much history before a block its features need. Default: none.
    pub lookback: Duration,
    /// How far a value may lie from the one that all history would have given, as a part of it. Default: 1e-9.
    pub tolerance: f64,
    /// How long a value stays valid after its event time. Default: for ever.
    pub ttl: Option<Duration>,
    /// Its version. Default: `"1"`.
    pub version: String,
    /// How long after an event its row may still arrive. Default: the source's.
    pub lateness: Option<Duration>,
    /// After which time a cached block is computed again. Default: never.
    pub max_age: Option<Duration>,
    /// How long beyond `max_age` a block is served while it is refreshed. Default: not at all.
    pub stale_while_revalidate: Duration,
    /// How long beyond `max_age` a block may answer where computing fails. Default: not at all.
    pub max_stale: Duration,
    /// Parameters of its computation, by name.
    pub parameters: BTreeMap<String, Parameter>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Words to find it by.
    pub tags: BTreeSet<String>,
}

/// Where the rows of a view come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewSource {
    /// A source.
    Source(SourceName),
    /// Another view, whose features are the columns.
    View(ViewName),
}

/// A feature of a view.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureDefinition {
    /// Its name.
    pub name: FeatureName,
    /// Where it is defined.
    pub place: Place,
    /// What it is.
    pub expression: Expression,
    /// Its type. Default: a double.
    pub value_type: ValueType,
    /// Whether it may be null. Default: true.
    pub nulls: bool,
    /// Whether it may be NaN. Default: true.
    pub nan: bool,
    /// What it means.
    pub description: Option<String>,
}

/// What a feature is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expression {
    /// A column of the rows, as it is.
    Column(String),
    /// An indicator of the rows.
    Indicator(Indicator),
    /// An expression of DuckDB's SQL over the rows.
    Sql(String),
    /// A function that the program has registered.
    Function {
        /// Under which name.
        name: String,
        /// What it is given.
        parameters: BTreeMap<String, Parameter>,
    },
}

/// A parameter of a computation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Parameter {
    /// True or false.
    Boolean(bool),
    /// A finite number; whole ones up to 2⁵³.
    Number(f64),
    /// Text.
    Text(String),
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}
