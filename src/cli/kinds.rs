//! `larder entities`, `larder sources` and `larder services`: what is defined beside views.

use clap::Args;
use serde::Serialize;

use super::definitions;
use super::describe::{self, Action, DescribeFacts};
use super::failure::Failure;
use super::page::{Align, Page, plain};
use super::report::{Report, Shown};
use super::session::Session;

/// Examples of `larder entities`.
pub const ENTITIES: &str = "\
Examples:
  larder entities
  larder entities describe symbol";

/// Examples of `larder sources`.
pub const SOURCES: &str = "\
Examples:
  larder sources
  larder sources describe bars_5m --json";

/// Examples of `larder services`.
pub const SERVICES: &str = "\
Examples:
  larder services
  larder services describe observation_15d";

/// List them, or describe one.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    action: Option<Action>,
}

/// The entities.
#[derive(Debug, Serialize)]
pub struct Entities {
    entities: Vec<EntityFacts>,
}

#[derive(Debug, Serialize)]
struct EntityFacts {
    name: String,
    keys: Vec<String>,
    description: Option<String>,
}

/// The sources.
#[derive(Debug, Serialize)]
pub struct Sources {
    sources: Vec<SourceFacts>,
}

#[derive(Debug, Serialize)]
struct SourceFacts {
    name: String,
    kind: &'static str,
    owner: Option<String>,
    description: Option<String>,
}

/// The services.
#[derive(Debug, Serialize)]
pub struct Services {
    services: Vec<ServiceFacts>,
}

#[derive(Debug, Serialize)]
struct ServiceFacts {
    name: String,
    features: usize,
    contract: Option<String>,
    owner: Option<String>,
    description: Option<String>,
}

/// Lists or describes entities.
///
/// # Errors
/// `NotFound` where nothing was applied or there is no such entity.
pub fn entities(options: &Options, session: &Session) -> Result<Shown<Entities, DescribeFacts>, Failure> {
    if let Some(Action::Describe { name }) = &options.action {
        return describe::entity(name, session).map(Shown::One);
    }
    let definitions = definitions::applied(session)?;
    let entities = definitions.entities().values().map(|entity| EntityFacts {
        name: entity.name.to_string(),
        keys: entity.keys.iter().map(|(name, key_type)| format!("{name} ({key_type})")).collect(),
        description: entity.description.clone(),
    });
    Ok(Shown::All(Entities { entities: entities.collect() }))
}

/// Lists or describes sources.
///
/// # Errors
/// `NotFound` where nothing was applied or there is no such source.
pub fn sources(options: &Options, session: &Session) -> Result<Shown<Sources, DescribeFacts>, Failure> {
    if let Some(Action::Describe { name }) = &options.action {
        return describe::source(name, session).map(Shown::One);
    }
    let definitions = definitions::applied(session)?;
    let sources = definitions.sources().values().map(|source| SourceFacts {
        name: source.name.to_string(),
        kind: source.kind.name(),
        owner: source.owner.clone(),
        description: source.description.clone(),
    });
    Ok(Shown::All(Sources { sources: sources.collect() }))
}

/// Lists or describes services.
///
/// # Errors
/// `NotFound` where nothing was applied or there is no such service.
pub fn services(options: &Options, session: &Session) -> Result<Shown<Services, DescribeFacts>, Failure> {
    if let Some(Action::Describe { name }) = &options.action {
        return describe::service(name, session).map(Shown::One);
    }
    let definitions = definitions::applied(session)?;
    let services = definitions.services().values().map(|service| ServiceFacts {
        name: service.name.to_string(),
        features: service.features.len(),
        contract: service.contract.clone(),
        owner: service.owner.clone(),
        description: service.description.clone(),
    });
    Ok(Shown::All(Services { services: services.collect() }))
}

/// Text that may be missing, for a cell.
fn cell(text: Option<&String>) -> String {
    text.map(|text| plain(text)).unwrap_or_default()
}

impl Report for Entities {
    fn write(&self, page: &mut Page) {
        page.table(
            [("entity", Align::Left), ("keys", Align::Left), ("", Align::Left)],
            self.entities
                .iter()
                .map(|entity| [entity.name.clone(), entity.keys.join(", "), cell(entity.description.as_ref())]),
        );
    }
}

impl Report for Sources {
    fn write(&self, page: &mut Page) {
        page.table(
            [("source", Align::Left), ("kind", Align::Left), ("owner", Align::Left), ("", Align::Left)],
            self.sources.iter().map(|source| {
                let (owner, description) = (cell(source.owner.as_ref()), cell(source.description.as_ref()));
                [source.name.clone(), source.kind.to_owned(), owner, description]
            }),
        );
    }
}

impl Report for Services {
    fn write(&self, page: &mut Page) {
        page.table(
            [
                ("service", Align::Left),
                ("features", Align::Right),
                ("contract", Align::Left),
                ("owner", Align::Left),
                ("", Align::Left),
            ],
            self.services.iter().map(|service| {
                let (contract, owner) = (cell(service.contract.as_ref()), cell(service.owner.as_ref()));
                let features = service.features.to_string();
                [service.name.clone(), features, contract, owner, cell(service.description.as_ref())]
            }),
        );
    }
}
