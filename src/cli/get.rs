//! `larder get`: features of an entity, from the cache or computed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use clap::Args;
use serde::Serialize;

use super::definitions;
use super::failure::Failure;
use super::names::existing;
use super::output;
use super::page::Page;
use super::quantity;
use super::report::Report;
use super::session::Session;
use crate::compute::Features;
use crate::definition::{Definitions, ServiceFeature};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{EntityKey, EntityName, ServiceName, TimeRange, Timestamp, ViewName};

const EXAMPLES: &str = "\
Examples:
  larder get technical_features --entity symbol=USD/COP --start 2025-11-03 --end 2025-11-04
  larder get observation_15d --entity symbol=USD/COP --start 2025-11-03 --end 2025-11-04 --output day.parquet
  larder get observation_15d --entity symbol=USD/COP --start 2025-11-03 --every 1h

A service has a row at each event time of the first view that it reads, or at every step: --every 5m. It has what was known at that time: of a source with a created_time, ask somewhat later than at its event times.
The request counts towards the service level, like any other.";

/// At most so many rows are shown, the newest.
const SHOWN: usize = 5;

/// Get the features of an entity, from the cache or computed
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// A view or a service
    #[arg(value_name = "NAME")]
    name: String,
    /// The entity, by all of its join keys
    #[arg(long, value_name = "KEY=VALUE[,…]")]
    entity: String,
    /// From this time on, such as 2024-03-08 or 2024-03-08T09:30:00Z
    #[arg(long, value_name = "TIME")]
    start: Timestamp,
    /// Up to this time, which is not in it [default: now]
    #[arg(long, value_name = "TIME")]
    end: Option<Timestamp>,
    /// Of a service: at times this far apart
    #[arg(long, value_name = "STEP", value_parser = humantime::parse_duration)]
    every: Option<Duration>,
    /// Of a service: what its on-demand features need of the request, the same at every time; may be given several times
    #[arg(long = "request", value_name = "NAME=VALUE", value_parser = assignment)]
    request: Vec<(String, String)>,
    /// Write the rows to this file: .csv, .parquet or .arrow
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What was got.
#[derive(Debug, Serialize)]
pub struct GetFacts {
    name: String,
    entity: String,
    start: String,
    end: String,
    outcome: Option<String>,
    took_seconds: f64,
    num_rows: usize,
    /// Where there are rows, if not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    output: Option<PathBuf>,
    /// All rows, where they are not written to a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<output::Rows>,
}

/// Gets.
///
/// # Errors
/// `NotFound` for an unknown name; `Invalid` for a wrong entity, range or file name; those of computing.
pub fn run(options: &Options, session: &Session) -> Result<GetFacts, Failure> {
    let format = options.output.as_deref().map(output::Format::of).transpose()?;
    let features = definitions::features(session)?;
    let asked = Asked::find(features.definitions(), &options.name)?;
    let entity = definitions::entity(features.definitions(), asked.entity(), &options.entity)?;
    let range = TimeRange::new(options.start, options.end.unwrap_or_else(|| session.now()))?;
    let began = Instant::now();
    let (batch, outcome) = asked.get(&features, &entity, range, options)?;
    let took = began.elapsed();
    features.store().flush();
    if let (Some(format), Some(path)) = (format, &options.output) {
        format.write(path, &batch)?;
    }
    Ok(GetFacts {
        name: options.name.clone(),
        entity: entity.to_string(),
        start: range.start().to_string(),
        end: range.end().to_string(),
        outcome,
        took_seconds: took.as_secs_f64(),
        num_rows: batch.num_rows(),
        hint: if batch.num_rows() == 0 { hint(&features, asked.view(), &entity, range)? } else { None },
        output: options.output.clone(),
        rows: options.output.is_none().then_some(output::Rows(batch)),
    })
}

/// Where the source has rows: of whom in that time, or else up to when. Only the files of that time are read.
fn hint(features: &Features, view: &ViewName, entity: &EntityKey, range: TimeRange) -> Result<Option<String>> {
    let Some(found) = features.entities(view, range)? else { return Ok(None) };
    let found: Vec<String> = found.iter().filter(|other| *other != entity).map(ToString::to_string).collect();
    if !found.is_empty() {
        let others = existing(&entity.to_string(), found.iter().map(String::as_str));
        return Ok(Some(format!("in that time the source of {view} has rows of {others}")));
    }
    let none = match features.known_until(view)? {
        Timestamp::MIN => "none at all".to_owned(),
        Timestamp::MAX => return Ok(Some(format!("in that time nothing was pushed to the source of {view}"))),
        // Its newest row counts: it is known until just after that.
        known => format!("some up to {}", quantity::time(known.saturating_sub(Duration::from_nanos(1)))),
    };
    Ok(Some(format!("in that time the source of {view} has rows of nobody else; it has {none}")))
}

/// What was asked for by its name; of a service with the view that says when it has rows.
enum Asked {
    View(ViewName, EntityName),
    Service(ServiceName, ViewName, EntityName),
}

impl Asked {
    fn find(definitions: &Definitions, name: &str) -> Result<Self> {
        let entity_of = |view: &ViewName| definitions.views().get(view).map(|view| view.entity.clone());
        if let Some(view) = definitions.views().keys().find(|view| view.as_str() == name) {
            let entity = entity_of(view).ok_or_else(|| Error::internal("a view without an entity"))?;
            return Ok(Self::View(view.clone(), entity));
        }
        if let Some(service) = definitions.services().values().find(|service| service.name.as_str() == name) {
            let view = service.features.iter().find_map(|feature| match feature {
                ServiceFeature::View(reference) => Some(&reference.view),
                ServiceFeature::OnDemand(name) => {
                    definitions.on_demand().get(name)?.inputs.first().map(|reference| &reference.view)
                }
            });
            let found = view.and_then(|view| Some((view.clone(), entity_of(view)?)));
            let (view, entity) = found.ok_or_else(|| Error::invalid(format!("service {name} reads no view")))?;
            return Ok(Self::Service(service.name.clone(), view, entity));
        }
        if let Some(other) = definitions::other_kind(definitions, name) {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no view or service {name}: {other}")));
        }
        let views = definitions.views().keys().map(ViewName::as_str);
        let known = existing(name, views.chain(definitions.services().keys().map(ServiceName::as_str)));
        Err(Error::new(ErrorKind::NotFound, format!("there is no view or service {name}: there is {known}")))
    }

    fn entity(&self) -> &EntityName {
        match self {
            Self::View(_, entity) | Self::Service(_, _, entity) => entity,
        }
    }

    fn view(&self) -> &ViewName {
        match self {
            Self::View(view, _) | Self::Service(_, view, _) => view,
        }
    }

    fn get(
        &self,
        features: &Features,
        entity: &EntityKey,
        range: TimeRange,
        options: &Options,
    ) -> Result<(RecordBatch, Option<String>)> {
        match (self, options.every) {
            (Self::View(..), _) if !options.request.is_empty() => {
                Err(Error::invalid("--request is for services: a view asks nothing of a request"))
            }
            (Self::View(..), Some(_)) => Err(Error::invalid("--every is for services: a view has its own rows")),
            (Self::View(view, _), None) => {
                let answer = features.get_or_compute(view, entity, range)?;
                Ok((answer.to_batch()?, Some(answer.outcome().to_string())))
            }
            (Self::Service(service, ..), step) => {
                let times = match step {
                    Some(step) => steps(range, step)?,
                    None => features.service_times(service, entity, range)?,
                };
                let request = request(&options.request, times.len())?;
                Ok((features.service_with(service, entity, &times, &request)?.batch, None))
            }
        }
    }
}

/// A name and a value.
fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, such as ask=4012.5")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// What comes with the request, at each of so many times.
fn request(given: &[(String, String)], times: usize) -> Result<RecordBatch> {
    let column = |(name, value): &(String, String)| {
        let values: ArrayRef = Arc::new(std::iter::repeat_n(Some(value), times).collect::<StringArray>());
        (Field::new(name, DataType::Utf8, false), values)
    };
    let (fields, columns): (Vec<_>, Vec<_>) = given.iter().map(column).unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(times));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).map_err(|error| {
        Error::with_source(ErrorKind::Internal, "what comes with the request does not fit together", error)
    })
}

/// The times of a range this far apart, from its start on.
fn steps(range: TimeRange, step: Duration) -> Result<Vec<Timestamp>> {
    const MOST: u128 = 1_000_000;
    if step.is_zero() || range.duration().as_nanos() / step.as_nanos() > MOST {
        return Err(Error::invalid(format!(
            "--every {} makes more than {MOST} rows of {range}",
            quantity::rough(step)
        )));
    }
    let next = |at: &Timestamp| Some(at.saturating_add(step)).filter(|at| *at < range.end());
    Ok(std::iter::successors(Some(range.start()), next).collect())
}

impl Report for GetFacts {
    fn write(&self, page: &mut Page) {
        let rows = quantity::counted(self.num_rows as u64, "row", "rows");
        let outcome = self.outcome.as_ref().map_or_else(String::new, |outcome| format!(", {outcome}"));
        let took = quantity::duration(Duration::from_secs_f64(self.took_seconds));
        page.line(&format!("{} of {}: {rows}{outcome}, {took}.", self.name, self.entity));
        if let Some(hint) = &self.hint {
            page.line(&format!("No rows: {hint}."));
        }
        if let Some(output) = &self.output {
            page.field("File", &output.display().to_string());
            return;
        }
        if let Some(rows) = self.rows.as_ref().filter(|rows| rows.0.num_rows() > 0) {
            output::newest(page, &rows.0, SHOWN);
        }
    }
}
