//! `larder views|sources|entities|services describe NAME`: everything that a definition says, and who reads it.

mod words;

use std::collections::BTreeSet;

use clap::Subcommand;
use serde::Serialize;
use serde_json::{Map, Value, json};

use self::words::Said;
use super::cache::Cache;
use super::definitions;
use super::failure::Failure;
use super::names::existing;
use super::page::{Align, Page, plain};
use super::quantity;
use super::report::Report;
use super::session::Session;
use crate::definition::{
    Definitions, EntityDefinition, OnDemandDefinition, Place, ServiceDefinition, ServiceFeature, SourceDefinition,
    ViewDefinition, ViewSource,
};
use crate::error::{Error, ErrorKind, Result};
use crate::model::TimeRange;

/// What to do with the definitions of one kind.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List them, as without any action
    List,
    /// Show everything that one of them says, defaults included, and who reads it
    Describe {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Everything that is known of one definition.
#[derive(Debug, Serialize)]
pub struct DescribeFacts {
    kind: &'static str,
    name: String,
    /// File and line.
    place: String,
    owner: Option<String>,
    description: Option<String>,
    tags: BTreeSet<String>,
    /// What it says, by name; a default where the file says nothing.
    says: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    features: Vec<FeatureFacts>,
    /// Who reads it, by kind.
    read_by: Vec<Reader>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached: Option<Cached>,
    /// The same in words.
    #[serde(skip)]
    lines: Vec<(&'static str, String)>,
}

/// A feature of a view or a service.
#[derive(Debug, Serialize)]
struct FeatureFacts {
    name: String,
    r#type: Option<String>,
    is: Value,
    nulls: Option<bool>,
    nan: Option<bool>,
    description: Option<String>,
    #[serde(skip)]
    words: String,
}

#[derive(Debug, Serialize)]
struct Reader {
    kind: &'static str,
    name: String,
}

/// How much of a view's present fingerprint is cached.
#[derive(Debug, Default, Serialize)]
struct Cached {
    blocks: u64,
    entities: u64,
    bytes: u64,
    first: Option<String>,
    last: Option<String>,
    /// Why it cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<String>,
    #[serde(skip)]
    range: Option<TimeRange>,
}

impl DescribeFacts {
    fn new(kind: &'static str, name: &dyn ToString, place: &Place) -> Self {
        Self {
            kind,
            name: name.to_string(),
            place: format!("{}:{}", place.file.display(), place.line),
            owner: None,
            description: None,
            tags: BTreeSet::new(),
            says: Map::new(),
            features: Vec::new(),
            read_by: Vec::new(),
            fingerprint: None,
            cached: None,
            lines: Vec::new(),
        }
    }

    fn say(&mut self, all: Vec<Said>) {
        for Said { name, value, words } in all {
            self.says.insert(name.to_owned(), value);
            self.lines.push((name, words));
        }
    }

    fn read<'a>(&mut self, kind: &'static str, names: impl IntoIterator<Item = &'a str>) {
        self.read_by.extend(names.into_iter().map(|name| Reader { kind, name: name.to_owned() }));
    }
}

/// Describes the entity of this name.
///
/// # Errors
/// `NotFound` where there is none, or nothing was applied.
pub fn entity(name: &str, session: &Session) -> Result<DescribeFacts, Failure> {
    let definitions = definitions::applied(session)?;
    let EntityDefinition { name, place, keys, description } =
        find("entity", name, definitions.entities(), &definitions)?;
    let mut facts = DescribeFacts::new("entity", name, place);
    facts.description.clone_from(description);
    facts.say(words::entity(keys)?);
    let views = definitions.views().values().filter(|view| view.entity == *name);
    facts.read("view", views.map(|view| view.name.as_str()));
    Ok(facts)
}

/// Describes the source of this name.
///
/// # Errors
/// As [`entity`].
pub fn source(name: &str, session: &Session) -> Result<DescribeFacts, Failure> {
    let definitions = definitions::applied(session)?;
    let source: &SourceDefinition = find("source", name, definitions.sources(), &definitions)?;
    let mut facts = DescribeFacts::new("source", &source.name, &source.place);
    facts.owner.clone_from(&source.owner);
    facts.description.clone_from(&source.description);
    facts.say(words::source(source)?);
    let reads = ViewSource::Source(source.name.clone());
    let views = definitions.views().values().filter(|view| view.source == reads);
    facts.read("view", views.map(|view| view.name.as_str()));
    Ok(facts)
}

/// Describes the view of this name.
///
/// # Errors
/// As [`entity`].
pub fn view(name: &str, session: &Session) -> Result<DescribeFacts, Failure> {
    let definitions = definitions::applied(session)?;
    let view: &ViewDefinition = find("view", name, definitions.views(), &definitions)?;
    let defined = definitions.feature_view(&view.name);
    let mut facts = DescribeFacts::new("view", &view.name, &view.place);
    facts.owner.clone_from(&view.owner);
    facts.description.clone_from(&view.description);
    facts.tags.clone_from(&view.tags);
    facts.say(words::view(view, defined.as_ref().ok().map(|view| view.lateness()))?);
    for feature in &view.features {
        let is = words::json(&feature.expression)?;
        facts.features.push(FeatureFacts {
            name: feature.name.to_string(),
            r#type: Some(feature.value_type.to_string()),
            words: words::sentence(&is),
            is,
            nulls: Some(feature.nulls),
            nan: Some(feature.nan),
            description: feature.description.clone(),
        });
    }
    let reads = ViewSource::View(view.name.clone());
    let others = definitions.views().values().filter(|other| other.source == reads);
    facts.read("view", others.map(|other| other.name.as_str()));
    let on_demand: Vec<_> = definitions.on_demand().values().filter(|feature| has_input(feature, view)).collect();
    facts.read("on demand", on_demand.iter().map(|feature| feature.name.as_str()));
    let services = definitions.services().values().filter(|service| {
        service.features.iter().any(|feature| match feature {
            ServiceFeature::View(reference) => reference.view == view.name,
            ServiceFeature::OnDemand(name) => on_demand.iter().any(|feature| feature.name == *name),
        })
    });
    facts.read("service", services.map(|service| service.name.as_str()));
    facts.fingerprint = defined.ok().map(|view| view.fingerprint().to_string());
    facts.cached = Some(cached(session, &facts));
    Ok(facts)
}

/// Describes the service of this name.
///
/// # Errors
/// As [`entity`].
pub fn service(name: &str, session: &Session) -> Result<DescribeFacts, Failure> {
    let definitions = definitions::applied(session)?;
    let service: &ServiceDefinition = find("service", name, definitions.services(), &definitions)?;
    let mut facts = DescribeFacts::new("service", &service.name, &service.place);
    facts.owner.clone_from(&service.owner);
    facts.description.clone_from(&service.description);
    facts.say(vec![Said::maybe("contract", service.contract.as_deref(), "none")]);
    for feature in &service.features {
        facts.features.push(service_feature(feature, &definitions)?);
    }
    Ok(facts)
}

fn service_feature(feature: &ServiceFeature, definitions: &Definitions) -> Result<FeatureFacts> {
    let name = feature.to_string();
    Ok(match feature {
        ServiceFeature::View(reference) => {
            let view = definitions.views().get(&reference.view);
            let found = view.and_then(|view| view.features.iter().find(|known| known.name == reference.feature));
            FeatureFacts {
                name,
                r#type: found.map(|found| found.value_type.to_string()),
                is: json!({ "view": reference.view, "feature": reference.feature }),
                nulls: found.map(|found| found.nulls),
                nan: found.map(|found| found.nan),
                description: found.and_then(|found| found.description.clone()),
                words: format!("of view {}", reference.view),
            }
        }
        ServiceFeature::OnDemand(on_demand) => {
            let found = definitions.on_demand().get(on_demand);
            let inputs: Vec<String> =
                found.into_iter().flat_map(|found| &found.inputs).map(ToString::to_string).collect();
            let sql = found.map_or("", |found| &found.sql);
            let request = found.map(|found| words::json(&found.request)).transpose()?.unwrap_or(Value::Null);
            let asks = match request.as_object().filter(|request| !request.is_empty()) {
                Some(request) => {
                    format!(" and the request's {}", request.keys().cloned().collect::<Vec<_>>().join(", "))
                }
                None => String::new(),
            };
            FeatureFacts {
                name,
                r#type: found.map(|found| found.value_type.to_string()),
                words: format!("on demand, of {}{asks}: {sql}", inputs.join(", ")),
                is: json!({ "on_demand": { "inputs": inputs, "request": request, "sql": sql } }),
                nulls: None,
                nan: None,
                description: found.and_then(|found| found.description.clone()),
            }
        }
    })
}

fn has_input(feature: &OnDemandDefinition, view: &ViewDefinition) -> bool {
    feature.inputs.iter().any(|input| input.view == view.name)
}

fn find<'a, N: AsRef<str> + Ord, D>(
    kind: &str,
    name: &str,
    all: &'a std::collections::BTreeMap<N, D>,
    definitions: &Definitions,
) -> Result<&'a D> {
    if let Some((_, found)) = all.iter().find(|(known, _)| known.as_ref() == name) {
        return Ok(found);
    }
    let known = match definitions::other_kind(definitions, name).filter(|_| kind != "service") {
        Some(other) => other,
        None if all.is_empty() => "none is defined".to_owned(),
        None => format!("there is {}", existing(name, all.keys().map(AsRef::as_ref))),
    };
    Err(Error::new(ErrorKind::NotFound, format!("there is no {kind} {name}: {known}")))
}

/// How much of the view's fingerprint is cached.
fn cached(session: &Session, facts: &DescribeFacts) -> Cached {
    let Some(fingerprint) = &facts.fingerprint else {
        return Cached { unknown: Some("a variable that it needs is not set".to_owned()), ..Cached::default() };
    };
    match Cache::summaries(session) {
        Err(error) => Cached { unknown: Some(error.to_string()), ..Cached::default() },
        Ok(summaries) => {
            let found = summaries.iter().find(|summary| summary.fingerprint.to_string() == *fingerprint);
            found.map_or_else(Cached::default, |found| Cached {
                blocks: found.totals.blocks,
                entities: found.entities,
                bytes: found.totals.bytes,
                first: Some(found.first_start.to_string()),
                last: Some(found.known_until.to_string()),
                unknown: None,
                range: TimeRange::new(found.first_start, found.known_until).ok(),
            })
        }
    }
}

impl Report for DescribeFacts {
    fn write(&self, page: &mut Page) {
        page.line(&format!("{} {}, {}", capital(self.kind), self.name, self.place));
        if let Some(description) = &self.description {
            page.line(&plain(description));
        }
        page.gap();
        let tags: Vec<&str> = self.tags.iter().map(String::as_str).collect();
        let about = [("owner", self.owner.clone()), ("tags", Some(tags.join(", ")).filter(|tags| !tags.is_empty()))];
        let about = about.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let says = self.lines.iter().cloned().chain(about).chain(self.readers()).chain(self.kept());
        page.table(
            [("says", Align::Left), ("", Align::Left)],
            says.map(|(name, value)| [name.replace('_', " "), plain(&value.replace('\n', " "))]),
        );
        if !self.features.is_empty() {
            page.gap();
            page.table(
                [("feature", Align::Left), ("type", Align::Left), ("is", Align::Left)],
                self.features.iter().map(|feature| {
                    let kind = feature.r#type.clone().unwrap_or_default();
                    [feature.name.clone(), kind, plain(&feature.sentence().replace('\n', " "))]
                }),
            );
        }
    }
}

impl FeatureFacts {
    fn sentence(&self) -> String {
        let never = match (self.nulls, self.nan) {
            (Some(false), Some(false)) => "; never null or NaN",
            (Some(false), _) => "; never null",
            (_, Some(false)) => "; never NaN",
            _ => "",
        };
        let description = self.description.as_ref().map_or_else(String::new, |text| format!(". {text}"));
        format!("{}{never}{description}", self.words)
    }
}

impl DescribeFacts {
    fn readers(&self) -> Option<(&'static str, String)> {
        let readers: Vec<_> = self.read_by.iter().map(|reader| format!("{} {}", reader.kind, reader.name)).collect();
        let readers = if readers.is_empty() { "nobody".to_owned() } else { readers.join(", ") };
        (self.kind != "service").then_some(("read by", readers))
    }

    fn kept(&self) -> Vec<(&'static str, String)> {
        let Some(cached) = &self.cached else { return Vec::new() };
        let fingerprint = self.fingerprint.clone().unwrap_or_else(|| "unknown".to_owned());
        let text = match (&cached.unknown, cached.range) {
            (Some(unknown), _) => format!("unknown: {unknown}"),
            (None, None) => "nothing".to_owned(),
            (None, Some(range)) => format!(
                "{} of {}, {}, {}",
                quantity::counted(cached.blocks, "block", "blocks"),
                quantity::counted(cached.entities, "entity", "entities"),
                quantity::bytes(cached.bytes),
                quantity::times(range)
            ),
        };
        vec![("fingerprint", fingerprint), ("cached", text)]
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
