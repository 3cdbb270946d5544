//! Feature views: named, versioned groups of features of one entity.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;

use super::entity::{EntityKey, KeyType};
use super::feature::Feature;
use super::fingerprint::Fingerprint;
use super::name::{KeyName, ViewName};
use super::span::Span;
use super::view_builder::FeatureViewBuilder;
use crate::error::{Error, Result};

/// A join key that a view is keyed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinKey {
    /// Its name.
    pub name: KeyName,
    /// The type of its values.
    pub key_type: KeyType,
}

/// A named, versioned group of features of one entity. Immutable and cheap to clone.
///
/// What decides its values makes its [`fingerprint`](Self::fingerprint): name, join keys, features
/// with their types and order, span, lookback, version and parameters. How long blocks are kept and
/// who owns the view does not.
#[derive(Clone)]
pub struct FeatureView(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub fingerprint: Fingerprint,
    pub schema: SchemaRef,
    pub definition: FeatureViewBuilder,
    pub name: ViewName,
    pub join_keys: Vec<JoinKey>,
}

impl FeatureView {
    /// Begins the definition of the view `name`.
    pub fn builder(name: &str) -> FeatureViewBuilder {
        FeatureViewBuilder::new(name)
    }

    /// Its name.
    pub fn name(&self) -> &ViewName {
        &self.0.name
    }

    /// The hash of everything that decides its values.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    /// The columns of its answers: [`EVENT_TIME`](super::EVENT_TIME), then the features in their declared order.
    pub fn schema(&self) -> &SchemaRef {
        &self.0.schema
    }

    /// The features in their declared order.
    pub fn features(&self) -> &[Feature] {
        &self.0.definition.features
    }

    /// The join keys in the order of their names.
    pub fn join_keys(&self) -> &[JoinKey] {
        &self.0.join_keys
    }

    /// The length of its blocks. Default: a day.
    pub fn span(&self) -> Span {
        self.0.definition.span
    }

    /// How much history before a block its features need. Default: none.
    pub fn lookback(&self) -> Duration {
        self.0.definition.lookback
    }

    /// How long a value stays valid after its event time, where values are looked up at a time. Default: for ever.
    pub fn ttl(&self) -> Option<Duration> {
        self.0.definition.ttl
    }

    /// The version its author gave it. Default: `"1"`.
    pub fn version(&self) -> &str {
        &self.0.definition.version
    }

    /// The parameters of its computation, by name.
    pub fn parameters(&self) -> &BTreeMap<String, String> {
        &self.0.definition.parameters
    }

    /// How long after an event its row may still arrive. Default: 60 s.
    pub fn lateness(&self) -> Duration {
        self.0.definition.lateness
    }

    /// After which time a cached block is computed again. Default: never.
    pub fn max_age(&self) -> Option<Duration> {
        self.0.definition.max_age
    }

    /// How long beyond `max_age` a block is served while it is refreshed. Default: not at all.
    pub fn stale_while_revalidate(&self) -> Duration {
        self.0.definition.stale_while_revalidate
    }

    /// How long beyond `max_age` a block may answer where computing fails. Default: not at all.
    pub fn max_stale(&self) -> Duration {
        self.0.definition.max_stale
    }

    /// Checks that `entity` has this view's join keys, with their types.
    ///
    /// # Errors
    /// `Invalid`, naming the view, what it is keyed by and what was given.
    pub fn check_entity(&self, entity: &EntityKey) -> Result<()> {
        let given = entity.pairs();
        let fits = given.len() == self.0.join_keys.len()
            && given
                .zip(&self.0.join_keys)
                .all(|((name, value), key)| *name == key.name && value.key_type() == key.key_type);
        if fits { Ok(()) } else { Err(self.wrong_entity(entity)) }
    }

    #[cold]
    fn wrong_entity(&self, entity: &EntityKey) -> Error {
        let wanted: Vec<_> = self.0.join_keys.iter().map(|key| format!("{} ({})", key.name, key.key_type)).collect();
        let given: Vec<_> = entity.pairs().map(|(name, value)| format!("{name} ({})", value.key_type())).collect();
        Error::invalid(format!(
            "view {} is keyed by {}, but the entity has {}",
            self.name(),
            wanted.join(", "),
            given.join(", ")
        ))
    }
}

impl PartialEq for FeatureView {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.fingerprint == other.0.fingerprint
    }
}

impl fmt::Debug for FeatureView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FeatureView({} {})", self.name(), self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::DataType;

    #[test]
    fn an_entity_with_other_keys_is_refused_with_both_named() {
        let view = FeatureView::builder("technical_features")
            .entity("symbol")
            .feature("rsi_9", DataType::Float64)
            .join_key("account", KeyType::Integer)
            .build()
            .unwrap();
        let wrong = EntityKey::new([("symbol", "A"), ("account", "5")]).unwrap();
        let message = view.check_entity(&wrong).unwrap_err().to_string();
        assert!(message.contains("keyed by account (integer), symbol (text)"), "{message}");
        assert!(message.contains("has account (text), symbol (text)"), "{message}");
    }
}
