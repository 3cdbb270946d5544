//! How a feature view is defined.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::data_type::type_name;
use super::entity::{KeyType, MOST_KEYS};
use super::feature::{EVENT_TIME, Feature};
use super::fingerprint::Fingerprint;
use super::name::{KeyName, ViewName};
use super::span::Span;
use super::view::{FeatureView, Inner, JoinKey};
use crate::error::{Error, Result};

/// The version of the block format, part of every fingerprint.
const FORMAT_VERSION: u32 = 1;
const MOST_FEATURES: usize = 4096;

/// Collects the definition of a [`FeatureView`]; the first mistake is reported by [`build`](Self::build).
#[derive(Debug, Clone)]
pub struct FeatureViewBuilder {
    name: String,
    join_keys: Vec<(String, KeyType)>,
    pub(super) features: Vec<Feature>,
    pub(super) span: Span,
    pub(super) lookback: Duration,
    pub(super) ttl: Option<Duration>,
    pub(super) version: String,
    pub(super) parameters: BTreeMap<String, String>,
    definition: Option<String>,
    pub(super) lateness: Duration,
    pub(super) max_age: Option<Duration>,
    pub(super) stale_while_revalidate: Duration,
    pub(super) max_stale: Duration,
    failed: Option<Error>,
}

impl FeatureViewBuilder {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            join_keys: Vec::new(),
            features: Vec::new(),
            span: Span::Day,
            lookback: Duration::ZERO,
            ttl: None,
            version: "1".to_owned(),
            parameters: BTreeMap::new(),
            definition: None,
            lateness: Duration::from_secs(60),
            max_age: None,
            stale_while_revalidate: Duration::ZERO,
            max_stale: Duration::ZERO,
            failed: None,
        }
    }

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

    /// Whatever else decides its values, as text that is the same where they are: what its rows are and how the
    /// features follow from them. A different text is a different fingerprint.
    #[must_use]
    pub fn definition(mut self, text: impl Into<String>) -> Self {
        self.definition = Some(text.into());
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
            Field::new(feature.name().as_str(), feature.data_type().clone(), true)
        });
        Schema::new(std::iter::once(Field::new(EVENT_TIME, time, false)).chain(features).collect::<Vec<_>>())
    }

    /// What decides the values, as text that stays the same for the same definition in every version.
    fn canonical(&self, join_keys: &[JoinKey]) -> Result<String> {
        let mut features = Vec::with_capacity(self.features.len());
        for feature in &self.features {
            features.push(serde_json::json!([
                feature.name().as_str(),
                type_name(feature.data_type())?,
                feature.allows_null(),
                feature.allows_nan()
            ]));
        }
        let keys: Vec<_> = join_keys.iter().map(|key| (key.name.as_str(), key.key_type)).collect();
        let mut definition = serde_json::json!([
            FORMAT_VERSION,
            self.name,
            keys,
            features,
            self.span,
            self.lookback.as_nanos().to_string(),
            self.version,
            self.parameters
        ]);
        // Only where there is one, so that views without it keep their fingerprints.
        if let (Some(text), Some(parts)) = (&self.definition, definition.as_array_mut()) {
            parts.push(text.as_str().into());
        }
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
    let mut names: Vec<_> = features.iter().map(|feature| feature.name()).collect();
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
            technical().definition("close"),
            technical().definition("open"),
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
}
