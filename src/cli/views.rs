//! `larder views`: what is defined.

use clap::Args;
use serde::Serialize;

use super::definitions;
use super::describe::{self, Action, DescribeFacts};
use super::failure::Failure;
use super::page::{Align, Page};
use super::quantity;
use super::report::{Report, Shown};
use super::session::Session;
use crate::definition::ViewSource;

const EXAMPLES: &str = "\
Examples:
  larder views
  larder views describe technical_features
  larder views --json | jq -r '.views[].name'";

/// List the feature views that were applied, or describe one
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    #[command(subcommand)]
    action: Option<Action>,
}

/// The views.
#[derive(Debug, Serialize)]
pub struct ViewsFacts {
    views: Vec<ViewFacts>,
    services: Vec<ServiceFacts>,
}

#[derive(Debug, Serialize)]
struct ViewFacts {
    name: String,
    entity: String,
    source: String,
    features: Vec<String>,
    span: String,
    lookback_seconds: u64,
    ttl_seconds: Option<u64>,
    owner: Option<String>,
    description: Option<String>,
    fingerprint: Option<String>,
}

#[derive(Debug, Serialize)]
struct ServiceFacts {
    name: String,
    features: usize,
    contract: Option<String>,
}

/// Lists them, or describes one.
///
/// # Errors
/// `NotFound` where nothing was applied or there is no such view.
pub fn run(options: &Options, session: &Session) -> Result<Shown<ViewsFacts, DescribeFacts>, Failure> {
    if let Some(Action::Describe { name }) = &options.action {
        return describe::view(name, session).map(Shown::One);
    }
    let definitions = definitions::applied(session)?;
    let views = definitions.views().values().map(|view| ViewFacts {
        name: view.name.to_string(),
        entity: view.entity.to_string(),
        source: match &view.source {
            ViewSource::Source(name) => name.to_string(),
            ViewSource::View(name) => format!("view:{name}"),
        },
        features: view.features.iter().map(|feature| feature.name.to_string()).collect(),
        span: view.span.to_string(),
        lookback_seconds: view.lookback.as_secs(),
        ttl_seconds: view.ttl.map(|ttl| ttl.as_secs()),
        owner: view.owner.clone(),
        description: view.description.clone(),
        fingerprint: definitions.feature_view(&view.name).ok().map(|view| view.fingerprint().to_string()),
    });
    let services = definitions.services().values().map(|service| ServiceFacts {
        name: service.name.to_string(),
        features: service.features.len(),
        contract: service.contract.clone(),
    });
    Ok(Shown::All(ViewsFacts { views: views.collect(), services: services.collect() }))
}

impl Report for ViewsFacts {
    fn write(&self, page: &mut Page) {
        let rough = |seconds: u64| quantity::rough(std::time::Duration::from_secs(seconds));
        page.table(
            [
                ("view", Align::Left),
                ("entity", Align::Left),
                ("source", Align::Left),
                ("features", Align::Right),
                ("span", Align::Left),
                ("lookback", Align::Right),
                ("ttl", Align::Right),
            ],
            self.views.iter().map(|view| {
                [
                    view.name.clone(),
                    view.entity.clone(),
                    view.source.clone(),
                    view.features.len().to_string(),
                    view.span.clone(),
                    if view.lookback_seconds == 0 { "none".to_owned() } else { rough(view.lookback_seconds) },
                    view.ttl_seconds.map_or_else(|| "for ever".to_owned(), rough),
                ]
            }),
        );
        if self.services.is_empty() {
            return;
        }
        page.gap();
        page.table(
            [("service", Align::Left), ("features", Align::Right), ("contract", Align::Left)],
            self.services.iter().map(|service| {
                [service.name.clone(), service.features.to_string(), service.contract.clone().unwrap_or_default()]
            }),
        );
    }
}
