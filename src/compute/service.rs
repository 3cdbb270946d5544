//! The features of a service at given times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, RecordBatch, RecordBatchOptions, TimestampNanosecondArray, UInt64Array, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::asof::Match;
use super::features::Features;
use super::on_demand::evaluate;
use super::past::{Matched, Question};
use super::rows::{Frame, broken};
use crate::definition::{FeatureReference, ServiceDefinition, ServiceFeature, ValueType};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{EVENT_TIME, EntityKey, FeatureName, ServiceName, TimeRange, Timestamp, ViewName};

/// What a value of a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Presence {
    /// A value.
    Present,
    /// The row that counts has none.
    Null,
    /// The newest row is older than the view's `ttl`.
    Expired,
    /// There is no row.
    Missing,
}

/// The features of a service, in its order.
#[derive(Debug, Clone)]
pub struct ServiceRows {
    /// The times asked for, then the features: null where [`presence`](Self::presence) is not `Present`.
    pub batch: RecordBatch,
    /// What each value is: a vector for each feature, as long as the batch.
    pub presence: Vec<Vec<Presence>>,
}

/// A feature at each of the times.
#[derive(Clone)]
struct Column {
    name: FeatureName,
    values: ArrayRef,
    presence: Vec<Presence>,
}

impl Features {
    /// The features of the service `name` for `entity` at each of the times `at`, which strictly increase: of each
    /// view the newest row with `at - ttl <= event time <= at`. Each view that it reads is one request.
    ///
    /// Where the source of a view has a created time, also through views in between, the row is the one that would have
    /// been computed at that time, from source rows with `created time <= at` (a row without one is known at its event
    /// time), bit for bit. Where something was not known yet that a cached row was computed from, it is computed from
    /// what was, and not kept. Rows of a fallback count as they are where the source is away.
    ///
    /// # Errors
    /// `NotFound` where no such service is defined; `Invalid` where times do not increase, a view has no `ttl`, or a
    /// feature needs data that only a request brings, as for [`service_with`](Self::service_with); otherwise those of
    /// [`get_or_compute`](Self::get_or_compute), and those of a source that cannot be read, or whose rows were not
    /// allowed at one of the times.
    pub fn service(&self, name: &ServiceName, entity: &EntityKey, at: &[Timestamp]) -> Result<ServiceRows> {
        let nothing = RecordBatchOptions::new().with_row_count(Some(at.len()));
        let nothing = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &nothing);
        self.service_with(name, entity, at, &nothing.map_err(broken)?)
    }

    /// The same with what on-demand features need of the request: a row for each time, a column for each name.
    ///
    /// # Errors
    /// As [`service`](Self::service), and `Invalid` for a column that is missing, not asked for or of another type.
    pub fn service_with(
        &self,
        name: &ServiceName,
        entity: &EntityKey,
        at: &[Timestamp],
        request: &RecordBatch,
    ) -> Result<ServiceRows> {
        let service = self.service_named(name)?;
        self.check_request(service, request, at.len())?;
        let at: Vec<i64> = at.iter().map(|at| at.as_ns()).collect();
        if let Some((a, b)) = at.iter().zip(at.iter().skip(1)).find(|(a, b)| a >= b) {
            let (a, b) = (Timestamp::from_ns(*a), Timestamp::from_ns(*b));
            return Err(Error::invalid(format!("{b} follows {a}: give the times in order, each once")));
        }
        let mut views = BTreeMap::new();
        let mut columns = Vec::with_capacity(service.features.len());
        for feature in &service.features {
            columns.push(match feature {
                ServiceFeature::View(reference) => self.looked_up(reference, entity, &at, &mut views)?,
                ServiceFeature::OnDemand(name) => self.on_demand(name, entity, (&at, request), &mut views)?,
            });
        }
        let presence = columns.iter().map(|column| column.presence.clone()).collect();
        Ok(ServiceRows { batch: batch(&at, columns)?, presence })
    }

    /// The times in the range at which the first view of a service has rows.
    ///
    /// # Errors
    /// As [`service`](Self::service).
    pub fn service_times(&self, name: &ServiceName, entity: &EntityKey, range: TimeRange) -> Result<Vec<Timestamp>> {
        let service = self.service_named(name)?;
        let first = service.features.iter().find_map(|feature| match feature {
            ServiceFeature::View(reference) => Some(&reference.view),
            ServiceFeature::OnDemand(name) => {
                self.definitions().on_demand().get(name)?.inputs.first().map(|reference| &reference.view)
            }
        });
        let first = first.ok_or_else(|| {
            Error::invalid(format!("service {name} reads no view, which would say when it has rows: give the times"))
        })?;
        let frame = Frame::of_batch(&self.get_or_compute(first, entity, range)?.to_batch()?)?;
        Ok(frame.times().iter().map(|time| Timestamp::from_ns(*time)).collect())
    }

    fn service_named(&self, name: &ServiceName) -> Result<&ServiceDefinition> {
        self.definitions().services().get(name).ok_or_else(|| {
            let known: Vec<_> = self.definitions().services().keys().map(ServiceName::as_str).collect();
            Error::new(
                ErrorKind::NotFound,
                format!("service {name} is not defined: the services are {}", known.join(", ")),
            )
        })
    }

    /// That the request has a row for each time, and nothing that no feature of the service needs.
    fn check_request(&self, service: &ServiceDefinition, request: &RecordBatch, times: usize) -> Result<()> {
        if request.num_rows() != times {
            let rows = request.num_rows();
            return Err(Error::invalid(format!("the request has {rows} rows for {times} times: give one for each")));
        }
        let on_demand = service.features.iter().filter_map(|feature| match feature {
            ServiceFeature::OnDemand(name) => self.definitions().on_demand().get(name),
            ServiceFeature::View(_) => None,
        });
        let needed: BTreeSet<&str> =
            on_demand.flat_map(|definition| definition.request.keys().map(FeatureName::as_str)).collect();
        match request.schema().fields().iter().find(|field| !needed.contains(field.name().as_str())) {
            None => Ok(()),
            Some(field) => {
                let known = if needed.is_empty() { "nothing".to_owned() } else { Vec::from_iter(needed).join(", ") };
                let what = format!("service {} needs {known} from the request, not {}", service.name, field.name());
                Err(Error::invalid(what))
            }
        }
    }

    fn looked_up(
        &self,
        reference: &FeatureReference,
        entity: &EntityKey,
        at: &[i64],
        views: &mut BTreeMap<ViewName, Option<Matched>>,
    ) -> Result<Column> {
        if !views.contains_key(&reference.view) {
            let matched = self.matched(&reference.view, entity, at)?;
            views.insert(reference.view.clone(), matched);
        }
        let name = reference.feature.clone();
        let Some(Some(matched)) = views.get(&reference.view) else {
            let view = self.view(&reference.view)?;
            let data_type =
                view.features().iter().find(|feature| *feature.name() == name).map(|feature| feature.data_type());
            let values = new_null_array(data_type.unwrap_or(&DataType::Null), at.len());
            return Ok(Column { name, values, presence: vec![Presence::Missing; at.len()] });
        };
        let column = matched.rows.column_by_name(name.as_str());
        let column =
            column.ok_or_else(|| Error::internal(format!("view {} lost its feature {name}", reference.view)))?;
        let rows: UInt64Array = matched.matches.iter().map(|found| found.row().map(|row| row as u64)).collect();
        let values = take(column, &rows, None).map_err(broken)?;
        let presence = matched.matches.iter().enumerate().map(|(row, found)| match found {
            Match::Present(_) if values.is_null(row) => Presence::Null,
            Match::Present(_) => Presence::Present,
            Match::Expired(_) => Presence::Expired,
            Match::Missing => Presence::Missing,
        });
        let presence = presence.collect();
        Ok(Column { name, values, presence })
    }

    /// The rows of a view that count; `None` where no time is asked for.
    fn matched(&self, name: &ViewName, entity: &EntityKey, at: &[i64]) -> Result<Option<Matched>> {
        let ttl = self.ttl(name)?;
        let (Some(first), Some(last)) = (at.first(), at.last()) else { return Ok(None) };
        let from = first.saturating_sub(i64::try_from(ttl.as_nanos()).unwrap_or(i64::MAX));
        let range = TimeRange::new(Timestamp::from_ns(from), Timestamp::from_ns(last.saturating_add(1)))?;
        let answer = self.get_or_compute(name, entity, range)?;
        let question = Question { bound: self.bound(name)?, entity, from, at, ttl };
        self.matched_then(&question, &answer).map(Some)
    }

    fn ttl(&self, name: &ViewName) -> Result<Duration> {
        self.view(name)?.ttl().ok_or_else(|| {
            Error::invalid(format!(
                "view {name} has no ttl, so nothing says how old a value may be at a time: give it one"
            ))
        })
    }

    fn on_demand(
        &self,
        name: &FeatureName,
        entity: &EntityKey,
        (at, request): (&[i64], &RecordBatch),
        views: &mut BTreeMap<ViewName, Option<Matched>>,
    ) -> Result<Column> {
        let definition = self.definitions().on_demand().get(name);
        let definition =
            definition.ok_or_else(|| Error::internal(format!("on-demand feature {name} is not defined")))?;
        let mut inputs = Vec::with_capacity(definition.inputs.len() + definition.request.len());
        for (needed, value_type) in &definition.request {
            inputs.push(requested(request, needed, *value_type).map_err(|error| {
                Error::invalid(format!(
                    "on-demand feature {name} needs {needed}, a {value_type}, from the request: {error}"
                ))
            })?);
        }
        for input in &definition.inputs {
            inputs.push(self.looked_up(input, entity, at, views)?);
        }
        let rows = batch(at, inputs.clone())?;
        let values = evaluate(self.on_demand_features(), definition, self.sandbox(), &rows)?;
        // As good as the worst that it was made of.
        let worst = |row: usize| inputs.iter().filter_map(|input| input.presence.get(row).copied()).max();
        let presence = (0..at.len()).map(|row| match worst(row).unwrap_or(Presence::Present) {
            Presence::Present | Presence::Null if values.is_null(row) => Presence::Null,
            Presence::Null => Presence::Present,
            other => other,
        });
        let presence = presence.collect();
        Ok(Column { name: name.clone(), values, presence })
    }
}

/// What comes with the request, in its declared type: what does not fit is an error, not a null.
fn requested(request: &RecordBatch, name: &FeatureName, value_type: ValueType) -> Result<Column, String> {
    let values = request.column_by_name(name.as_str()).ok_or("it is not there")?;
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let values = cast_with_options(values, &value_type.data_type(), &strict).map_err(|error| error.to_string())?;
    let presence = |row| if values.is_null(row) { Presence::Null } else { Presence::Present };
    let presence = (0..values.len()).map(presence).collect();
    Ok(Column { name: name.clone(), values, presence })
}

fn batch(at: &[i64], columns: Vec<Column>) -> Result<RecordBatch> {
    let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(at.to_vec()).with_timezone("UTC"));
    let mut fields = vec![Field::new(EVENT_TIME, DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), false)];
    let mut arrays = vec![times];
    for column in columns {
        fields.push(Field::new(column.name.as_str(), column.values.data_type().clone(), true));
        arrays.push(column.values);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(broken)
}
