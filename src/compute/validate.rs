//! Whether views keep what they declare: that their lookback is all the history that they need, and that no value
//! depends on what came after it.

use std::fmt;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type};
use arrow::util::display::array_value_to_string;
use serde::Serialize;

use super::bound::Bound;
use super::features::Features;
use super::rows::{Frame, broken};
use crate::definition::{EntityDefinition, ViewDefinition};
use crate::error::{Error, Result};
use crate::inspect::quantity;
use crate::model::{EntityKey, FeatureName, KeyType, KeyValue, TimeRange, Timestamp, ViewName};

/// How much more history than is declared a view is computed with, to see whether that changes anything.
const MORE: u32 = 10;
/// How many blocks of how many entities are computed.
const BLOCKS: usize = 3;
const ENTITIES: usize = 2;
/// How far back blocks with rows are looked for, in blocks.
const FURTHEST: usize = 12;
/// Halvings of the interval in which the lookback lies that would do.
const HALVINGS: usize = 10;

/// What a sample of a view's values says of its definition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Validation {
    /// The view.
    pub view: ViewName,
    /// How many blocks were computed.
    pub blocks: usize,
    /// How many rows these had: of none, nothing is known.
    pub rows: usize,
    /// What is wrong, the first of each kind and feature.
    pub findings: Vec<Objection>,
}

/// What is wrong with a feature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Objection {
    /// The feature; `None` where the view's rows themselves differ.
    pub feature: Option<FeatureName>,
    /// Whose value it is.
    pub entity: EntityKey,
    /// Of which time.
    pub at: Timestamp,
    /// The value as it is computed.
    pub value: String,
    /// What it is otherwise.
    pub otherwise: String,
    /// Why.
    pub reason: Reason,
}

/// Why a value is not what it should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// More history gives another value.
    Lookback {
        /// What the view declares, in seconds.
        declared_seconds: u64,
        /// What would do, in seconds; `None` where ten times as much does not.
        needed_seconds: Option<u64>,
    },
    /// Rows after this time give another value.
    Future {
        /// Rows after this time were others, or were not there.
        after: Timestamp,
    },
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entity, at, value, otherwise, .. } = self;
        let rough = |seconds: u64| quantity::rough(Duration::from_secs(seconds));
        match &self.feature {
            Some(feature) => write!(f, "feature {feature} is {value} at {at} ({entity})")?,
            None => write!(f, "there is {value} at {at} ({entity})")?,
        }
        match &self.reason {
            Reason::Lookback { declared_seconds, needed_seconds } => {
                match declared_seconds {
                    0 => write!(f, " without lookback")?,
                    seconds => write!(f, " with a lookback of {}", rough(*seconds))?,
                }
                write!(f, ", and {otherwise} with ten times the history: ")?;
                match needed_seconds {
                    Some(seconds) => write!(f, "declare a lookback of {} or a little more", rough(*seconds)),
                    None => write!(f, "no lookback will do, because it depends on all of the past"),
                }
            }
            Reason::Future { after } => write!(
                f,
                ", and {otherwise} if the rows after {after} are others: it sees the future, so let it read only rows up \
                 to its own"
            ),
        }
    }
}

/// Features at their event times.
struct Values {
    times: Vec<i64>,
    features: Vec<ArrayRef>,
}

impl Values {
    /// Those up to a time, which is included.
    fn until(&self, last: i64) -> Self {
        let length = self.times.partition_point(|at| *at <= last);
        Self {
            times: self.times.get(..length).unwrap_or_default().to_vec(),
            features: self.features.iter().map(|values| values.slice(0, length)).collect(),
        }
    }
}

/// Where two computations differ: in a feature, or in their rows.
struct Difference {
    feature: Option<usize>,
    at: i64,
    value: String,
    otherwise: String,
}

impl Features {
    /// Computes a sample of a view's newest blocks, with more history than it declares and with another future.
    ///
    /// # Errors
    /// Those of computing; `NotFound` for a view that is not defined.
    pub fn validate(&self, name: &ViewName) -> Result<Validation> {
        let bound = self.bound(name)?;
        let definition = self.definitions().views().get(name);
        let definition = definition.ok_or_else(|| Error::internal(format!("view {name} is not defined")))?;
        let mut validation = Validation { view: name.clone(), blocks: 0, rows: 0, findings: Vec::new() };
        for entity in self.sample(name, definition)? {
            for block in self.newest_blocks(bound, &entity)? {
                let check = Check { features: self, bound, definition, entity: &entity, block };
                let (rows, findings) = check.run()?;
                validation.blocks += usize::from(rows > 0);
                validation.rows += rows;
                for finding in findings {
                    let is_same = |known: &Objection| {
                        known.feature == finding.feature
                            && std::mem::discriminant(&known.reason) == std::mem::discriminant(&finding.reason)
                    };
                    if !validation.findings.iter().any(is_same) {
                        validation.findings.push(finding);
                    }
                }
            }
        }
        Ok(validation)
    }

    /// Some entities of a view.
    fn sample(&self, name: &ViewName, definition: &ViewDefinition) -> Result<Vec<EntityKey>> {
        let entity = self.definitions().entities().get(&definition.entity);
        let entity = entity.ok_or_else(|| Error::internal(format!("the entity of view {name} is not defined")))?;
        let always = TimeRange::new(Timestamp::MIN, Timestamp::MAX)?;
        Ok(match self.entities(name, always)? {
            Some(entities) => entities.into_iter().take(ENTITIES).collect(),
            None => vec![anyone(entity)?],
        })
    }

    /// The newest blocks that may have rows.
    fn newest_blocks(&self, bound: &Bound, entity: &EntityKey) -> Result<Vec<TimeRange>> {
        let Some(newest) = bound.newest(self.store(), entity)? else { return Ok(Vec::new()) };
        let span = bound.recipe.view().span();
        let before = |block: &TimeRange| Some(span.block_of(Timestamp::from_ns(block.start().as_ns().checked_sub(1)?)));
        let mut found = Vec::new();
        for block in std::iter::successors(Some(span.block_of(newest)), before).take(FURTHEST) {
            if !bound.rows(self.store(), entity, block)?.times().is_empty() {
                found.push(block);
            }
            if found.len() == BLOCKS {
                break;
            }
        }
        Ok(found)
    }
}

/// An entity to compute rows for that belong to every one.
fn anyone(entity: &EntityDefinition) -> Result<EntityKey> {
    EntityKey::new(entity.keys.iter().map(|(name, key_type)| {
        let value = match key_type {
            KeyType::Text => KeyValue::from("any"),
            KeyType::Integer => KeyValue::from(0),
        };
        (name.as_str(), value)
    }))
}

/// One block of one entity.
struct Check<'a> {
    features: &'a Features,
    bound: &'a Bound,
    definition: &'a ViewDefinition,
    entity: &'a EntityKey,
    block: TimeRange,
}

impl Check<'_> {
    fn run(&self) -> Result<(usize, Vec<Objection>)> {
        let declared = self.definition.lookback;
        // What declares no history may need some all the same.
        let more = declared.max(self.block.duration()).saturating_mul(MORE);
        let range = TimeRange::new(self.block.start().saturating_sub(more), self.block.end())?;
        let rows = self.bound.rows(self.features.store(), self.entity, range)?;
        let values = self.with_lookback(&rows, declared)?;
        let most = self.with_lookback(&rows, more)?;
        let mut findings = Vec::new();
        for difference in self.differences(&values, &most)? {
            let needed = self.needed(&rows, difference.feature, &most, declared, more)?;
            let reason = Reason::Lookback {
                declared_seconds: declared.as_secs(),
                needed_seconds: needed.map(|needed| needed.as_secs()),
            };
            findings.push(self.objection(difference, reason));
        }
        let own = rows.within(TimeRange::new(self.block.start().saturating_sub(declared), self.block.end())?);
        let (first, end) = (own.find(self.block).start, own.times().len());
        for part in 1..4 {
            let Some(last) = own.times().get(first + (end - first) * part / 4).copied() else { continue };
            let seen = values.until(last);
            for other in [own.until(last), changed_after(&own, last)?] {
                let other = self.values(&other)?.until(last);
                for difference in self.differences(&seen, &other)? {
                    findings.push(self.objection(difference, Reason::Future { after: Timestamp::from_ns(last) }));
                }
            }
        }
        Ok((values.times.len(), findings))
    }

    fn values(&self, rows: &Frame) -> Result<Values> {
        let (times, features) = self.bound.recipe.features(rows, self.block)?;
        Ok(Values { times, features })
    }

    fn with_lookback(&self, rows: &Frame, lookback: Duration) -> Result<Values> {
        let range = TimeRange::new(self.block.start().saturating_sub(lookback), self.block.end())?;
        self.values(&rows.within(range))
    }

    /// About how much history gives a feature the values that all of it gives.
    fn needed(
        &self,
        rows: &Frame,
        feature: Option<usize>,
        most: &Values,
        declared: Duration,
        more: Duration,
    ) -> Result<Option<Duration>> {
        let is_enough = |lookback: Duration| {
            let differences = self.differences(&self.with_lookback(rows, lookback)?, most)?;
            Ok::<_, Error>(!differences.iter().any(|difference| difference.feature == feature))
        };
        // What the last tenth of it still changes has no end in sight.
        let (mut short, mut enough) = (declared, more - more / MORE);
        if !is_enough(enough)? {
            return Ok(None);
        }
        for _ in 0..HALVINGS {
            let middle = short + (enough - short) / 2;
            if is_enough(middle)? { enough = middle } else { short = middle }
        }
        // Where the rows begin within it, no one knows how much more of them would matter.
        let reaches_all =
            rows.times().first().is_some_and(|first| self.block.start().saturating_sub(enough).as_ns() <= *first);
        Ok((!reaches_all).then_some(enough))
    }

    /// The first difference in the rows, or else the first of each feature.
    fn differences(&self, values: &Values, otherwise: &Values) -> Result<Vec<Difference>> {
        if let Some(at) = first_other(&values.times, &otherwise.times) {
            let has = |values: &Values| if values.times.contains(&at) { "a row" } else { "no row" }.to_owned();
            return Ok(vec![Difference { feature: None, at, value: has(values), otherwise: has(otherwise) }]);
        }
        let mut found = Vec::new();
        for (feature, (one, other)) in values.features.iter().zip(&otherwise.features).enumerate() {
            if let Some(row) = first_difference(one, other, self.definition.tolerance)? {
                let shown = |values: &ArrayRef| match values.is_null(row) {
                    true => Ok("null".to_owned()),
                    false => array_value_to_string(values, row).map_err(broken),
                };
                let at = values.times.get(row).copied().unwrap_or_default();
                let (value, otherwise) = (shown(one)?, shown(other)?);
                found.push(Difference { feature: Some(feature), at, value, otherwise });
            }
        }
        Ok(found)
    }

    fn objection(&self, difference: Difference, reason: Reason) -> Objection {
        let feature = difference.feature.and_then(|at| self.definition.features.get(at));
        Objection {
            feature: feature.map(|feature| feature.name.clone()),
            entity: self.entity.clone(),
            at: Timestamp::from_ns(difference.at),
            value: difference.value,
            otherwise: difference.otherwise,
            reason,
        }
    }
}

/// The first time that only one of the two has.
fn first_other(one: &[i64], other: &[i64]) -> Option<i64> {
    let shared = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    one.get(shared).into_iter().chain(other.get(shared)).min().copied()
}

/// The first row in which the columns differ by more than `tolerance`, as a part of the value.
fn first_difference(one: &ArrayRef, other: &ArrayRef, tolerance: f64) -> Result<Option<usize>> {
    if one.data_type().is_floating() {
        let double = |values: &ArrayRef| cast(values, &DataType::Float64).map_err(broken);
        let (one, other) = (double(one)?, double(other)?);
        let (one, other) = (one.as_primitive::<Float64Type>(), other.as_primitive::<Float64Type>());
        let is_same = |(a, b): (Option<f64>, Option<f64>)| match (a, b) {
            (Some(a), Some(b)) => {
                a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * a.abs().max(b.abs()).max(1.0)
            }
            (a, b) => a.is_none() && b.is_none(),
        };
        return Ok(one.iter().zip(other.iter()).position(|pair| !is_same(pair)));
    }
    let distinct: BooleanArray = distinct(one, other).map_err(broken)?;
    Ok(distinct.iter().position(|is_distinct| is_distinct == Some(true)))
}

/// The same rows up to a time, and others after it.
fn changed_after(rows: &Frame, last: i64) -> Result<Frame> {
    let (before, after) = (rows.until(last), rows.after(last));
    let change = |values: &ArrayRef| -> ArrayRef {
        match values.data_type() {
            DataType::Float64 => {
                std::sync::Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(|v| v * 1.5 + 1.0))
            }
            DataType::Float32 => {
                std::sync::Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(|v| v * 1.5 + 1.0))
            }
            DataType::Int64 => {
                std::sync::Arc::new(values.as_primitive::<Int64Type>().unary::<_, Int64Type>(|v| v.wrapping_add(7)))
            }
            // The rest is tried by leaving the rows out.
            _ => values.clone(),
        }
    };
    let columns = before.columns().columns().iter().zip(after.columns().columns());
    let columns = columns.map(|(before, after)| concat(&[before, &change(after)]).map_err(broken));
    rows.with_columns(columns.collect::<Result<_>>()?)
}

#[cfg(test)]
mod tests;
