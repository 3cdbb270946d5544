//! Feature views: named, versioned groups of features of one entity.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::data_type::type_name;
use super::entity::{EntityKey, KeyType, MOST_KEYS};
use super::fingerprint::Fingerprint;
use super::name::{FeatureName, KeyName, ViewName};
use super::span::Span;
use crate::error::{Error, Result};

/// The column that holds the event time, `Timestamp(Nanosecond, "UTC")` without nulls.
pub const EVENT_TIME: &str = "event_timestamp";

/// The version of the block format, part of every fingerprint.
const FORMAT_VERSION: u32 = 1;
const MOST_FEATURES: usize = 4096;

/// One column of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    name: FeatureName,
    data_type: DataType,
    allow_null: bool,
    allow_nan: bool,
}

impl Feature {
    /// A feature in which nulls and NaN are values like any other.
    ///
    /// # Errors
    /// `Invalid` for a name that is not plain, or a type that a block cannot hold.
    pub fn new(name: &str, data_type: DataType) -> Result<Self> {
        let name = FeatureName::new(name)?;
        if name.as_str() == EVENT_TIME {
            return Err(Error::invalid(format!("feature name {EVENT_TIME} is taken by the event time")));
        }
        type_name(&data_type).map_err(|error| Error::invalid(format!("feature {name}: {error}")))?;
        Ok(Self { name, data_type, allow_null: true, allow_nan: true })
    }

    /// Makes a null an error of the compute.
    #[must_use]
    pub fn forbid_null(mut self) -> Self {
        self.allow_null = false;
        self
    }

    /// Makes a NaN an error of the compute.
    #[must_use]
    pub fn forbid_nan(mut self) -> Self {
        self.allow_nan = false;
        self
    }

    /// Its name.
    pub fn name(&self) -> &FeatureName {
        &self.name
    }

    /// Its Arrow type.
    pub fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// Whether a null is a value.
    pub fn allows_null(&self) -> bool {
        self.allow_null
    }

    /// Whether a NaN is a value.
    pub fn allows_nan(&self) -> bool {
        self.allow_nan
    }
}

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
pub struct FeatureView(Arc<Inner>);

struct Inner {
    fingerprint: Fingerprint,
    schema: SchemaRef,
    definition: FeatureViewBuilder,
    name: ViewName,
    join_keys: Vec<JoinKey>,
}

impl FeatureView {
    /// Begins the definition of the view `name`.
    pub fn builder(name: &str) -> FeatureViewBuilder {
        FeatureViewBuilder {
            name: name.to_owned(),
            join_keys: Vec::new(),
            features: Vec::new(),
            span: Span::Day,
            lookback: Duration::ZERO,
            ttl: None,
            version: "1".to_owned(),
            parameters: BTreeMap::new(),
            lateness: Duration::from_secs(60),
            max_age: None,
            stale_while_revalidate: Duration::ZERO,
            max_stale: Duration::ZERO,
            failed: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &ViewName {
        &self.0.name
    }

    /// The hash of everything that decides its values.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    /// The columns of its answers: [`EVENT_TIME`], then the features in their declared order.
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

/// Collects the definition of a [`FeatureView`]; the first mistake is reported by [`build`](Self::build).
#[derive(Debug, Clone)]
pub struct FeatureViewBuilder {
    name: String,
    join_keys: Vec<(String, KeyType)>,
    features: Vec<Feature>,
    span: Span,
    lookback: Duration,
    ttl: Option<Duration>,
    version: String,
    parameters: BTreeMap<String, String>,
    lateness: Duration,
    max_age: Option<Duration>,
    stale_while_revalidate: Duration,
    max_stale: Duration,
    failed: Option<Error>,
}

impl FeatureViewBuilder {
    /// Adds a join key whose values are text.
    #[must_use]
    pub fn entity(self, key: &str) -> Self {
        self.join_key(key, KeyType::Text)
    }

    /// Adds a join key with values of this type.
    #[must_use]
    pub fn join_key(mut self, key: &str, key_type: KeyType) -> Self {
        self.join_keys.push((key.to_owned(), key_type));
        self
    }

    /// Adds a feature in which nulls and NaN are values.
    #[must_use]
    pub fn feature(mut self, name: &str, data_type: DataType) -> Self {
        match Feature::new(name, data_type) {
            Ok(feature) => self.features.push(feature),
            Err(error) => self.failed = self.failed.or(Some(error)),
        }
        self
    }

    /// Adds a feature with rules of its own.
    #[must_use]
    pub fn feature_with(mut self, feature: Feature) -> Self {
        self.features.push(feature);
        self
    }

    /// The length of a block. A day of minute bars is a good size; a block holds up to a few million rows.
    #[must_use]
    pub fn span(mut self, span: Span) -> Self {
        self.span = span;
        self
    }

    /// How much history before a block its features need.
    #[must_use]
    pub fn lookback(mut self, lookback: Duration) -> Self {
        self.lookback = lookback;
        self
    }

    /// How long a value stays valid after its event time, where values are looked up at a time.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The version of the code that computes the features. Raise it when that code changes.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// A parameter of the compute; a different value is a different fingerprint.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        self.parameters.insert(name.into(), value.to_string());
        self
    }

    /// How long after an event its row may still arrive: a closure is trusted up to `now - lateness`.
    #[must_use]
    pub fn lateness(mut self, lateness: Duration) -> Self {
        self.lateness = lateness;
        self
    }

    /// After which time a cached block is computed again.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// How long beyond `max_age` a block is served, as `stale`, while a registered compute refreshes it.
    #[must_use]
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.stale_while_revalidate = window;
        self
    }

    /// How long beyond `max_age` a block may answer, as `fallback`, where computing fails.
    #[must_use]
    pub fn max_stale(mut self, window: Duration) -> Self {
        self.max_stale = window;
        self
    }

    /// Checks the definition and makes the view.
    ///
    /// # Errors
    /// `Invalid`, naming the view and the first thing that is wrong.
    pub fn build(self) -> Result<FeatureView> {
        let name = ViewName::new(&self.name)?;
        let wrong = |what: String| Error::invalid(format!("view {name}: {what}"));
        if let Some(error) = &self.failed {
            return Err(wrong(error.to_string()));
        }
        let join_keys = check_keys(&self.join_keys).map_err(|error| wrong(error.to_string()))?;
        check_features(&self.features).map_err(|error| wrong(error.to_string()))?;
        if self.max_age.is_none() && (!self.stale_while_revalidate.is_zero() || !self.max_stale.is_zero()) {
            return Err(wrong("stale_while_revalidate and max_stale count from max_age: set max_age too".to_owned()));
        }
        Ok(FeatureView(Arc::new(Inner {
            fingerprint: Fingerprint::of(self.canonical(&join_keys)?.as_bytes()),
            schema: Arc::new(self.schema()),
            definition: self,
            name,
            join_keys,
        })))
    }

    fn schema(&self) -> Schema {
        let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        let features = self.features.iter().map(|feature| {
            // Nullable even where the view forbids nulls: the check is ours, and the file stays readable if it is lifted.
            Field::new(feature.name.as_str(), feature.data_type.clone(), true)
        });
        Schema::new(std::iter::once(Field::new(EVENT_TIME, time, false)).chain(features).collect::<Vec<_>>())
    }

    /// What decides the values, as text that stays the same for the same definition in every version.
    fn canonical(&self, join_keys: &[JoinKey]) -> Result<String> {
        let mut features = Vec::with_capacity(self.features.len());
        for feature in &self.features {
            features.push(serde_json::json!([
                feature.name.as_str(),
                type_name(&feature.data_type)?,
                feature.allow_null,
                feature.allow_nan
            ]));
        }
        let keys: Vec<_> = join_keys.iter().map(|key| (key.name.as_str(), key.key_type)).collect();
        let definition = serde_json::json!([
            FORMAT_VERSION,
            self.name,
            keys,
            features,
            self.span,
            self.lookback.as_nanos().to_string(),
            self.version,
            self.parameters
        ]);
        Ok(definition.to_string())
    }
}

fn check_keys(keys: &[(String, KeyType)]) -> Result<Vec<JoinKey>> {
    let mut checked = Vec::with_capacity(keys.len());
    for (name, key_type) in keys {
        checked.push(JoinKey { name: KeyName::new(name)?, key_type: *key_type });
    }
    checked.sort_by(|a, b| a.name.cmp(&b.name));
    let twice = checked.windows(2).find_map(|pair| match pair {
        [a, b] if a.name == b.name => Some(a.name.clone()),
        _ => None,
    });
    if let Some(twice) = twice {
        return Err(Error::invalid(format!("join key {twice} is declared twice")));
    }
    if checked.is_empty() || checked.len() > MOST_KEYS {
        return Err(Error::invalid(format!("it needs 1 to {MOST_KEYS} join keys, {} are declared", checked.len())));
    }
    Ok(checked)
}

fn check_features(features: &[Feature]) -> Result<()> {
    if features.is_empty() || features.len() > MOST_FEATURES {
        return Err(Error::invalid(format!("it needs 1 to {MOST_FEATURES} features, {} are declared", features.len())));
    }
    let mut names: Vec<_> = features.iter().map(|feature| &feature.name).collect();
    names.sort();
    match names.windows(2).find(|pair| pair.first() == pair.last()) {
        Some(twice) => {
            Err(Error::invalid(format!("feature {} is declared twice", twice.first().map_or("", |n| n.as_str()))))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn technical() -> FeatureViewBuilder {
        FeatureView::builder("technical_features").entity("symbol").feature("rsi_9", DataType::Float64)
    }

    #[test]
    fn what_decides_values_decides_the_fingerprint() {
        let base = technical().build().unwrap().fingerprint();
        let others = [
            technical().version("2"),
            technical().lookback(Duration::from_secs(1)),
            technical().span(Span::Hour),
            technical().parameter("period", 9),
            technical().feature("adx_14", DataType::Float64),
            technical().entity("venue"),
        ];
        for other in others {
            assert_ne!(other.clone().build().unwrap().fingerprint(), base, "{other:?}");
        }
        let same = technical().ttl(Duration::from_secs(1)).lateness(Duration::ZERO).max_age(Duration::from_secs(9));
        assert_eq!(same.build().unwrap().fingerprint(), base);
    }

    #[test]
    fn the_fingerprint_of_a_definition_never_changes() {
        // A new value here makes every block on every disk an orphan: raise it only with the format version.
        assert_eq!(technical().build().unwrap().fingerprint().to_string(), "ce20d9dfd7046a750a2891dbead1269d");
    }

    #[test]
    fn mistakes_name_the_view_and_the_thing() {
        let f64 = DataType::Float64;
        let cases = [
            (FeatureView::builder("Bad").entity("symbol").feature("a", f64.clone()), "view name \"Bad\""),
            (FeatureView::builder("v").feature("a", f64.clone()), "needs 1 to 8 join keys"),
            (
                FeatureView::builder("v").entity("s").entity("s").feature("a", f64.clone()),
                "join key s is declared twice",
            ),
            (FeatureView::builder("v").entity("s"), "needs 1 to 4096 features"),
            (technical().feature("rsi_9", f64.clone()), "feature rsi_9 is declared twice"),
            (technical().feature("RSI", f64.clone()), "feature name \"RSI\""),
            (technical().feature(EVENT_TIME, f64), "taken by the event time"),
            (technical().feature("list", DataType::Float16), "type Float16 cannot be cached"),
            (technical().max_stale(Duration::from_secs(1)), "set max_age too"),
        ];
        for (builder, part) in cases {
            let message = builder.build().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn an_entity_with_other_keys_is_refused_with_both_named() {
        let view = technical().join_key("account", KeyType::Integer).build().unwrap();
        let wrong = EntityKey::new([("symbol", "A"), ("account", "5")]).unwrap();
        let message = view.check_entity(&wrong).unwrap_err().to_string();
        assert!(message.contains("keyed by account (integer), symbol (text)"), "{message}");
        assert!(message.contains("has account (text), symbol (text)"), "{message}");
    }
}
