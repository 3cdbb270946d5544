//! What has been read of all files so far.

use std::collections::BTreeMap;

use super::super::definitions::Definitions;
use super::super::place::{Finding, Place};
use super::super::service::ServiceFeature;
use super::super::template::Environment;
use super::super::view::ViewSource;
use super::table::Table;
use crate::model::EntityName;

/// The kinds of definitions, which are the tables of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    Entity,
    Source,
    View,
    OnDemand,
    Service,
    /// The features of views, named `view.feature`; no table of their own.
    Feature,
}

impl Section {
    /// Those that are tables of a file.
    pub const TABLES: [Self; 5] = [Self::Entity, Self::Source, Self::View, Self::OnDemand, Self::Service];

    /// Its table in a file.
    pub fn key(self) -> &'static str {
        match self {
            Self::Entity => "entity",
            Self::Source => "source",
            Self::View => "view",
            Self::OnDemand => "on_demand",
            Self::Service => "service",
            Self::Feature => "feature",
        }
    }

    /// What one of its definitions is called.
    pub fn word(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand feature",
            other => other.key(),
        }
    }

    /// What several are called.
    pub fn words(self) -> &'static str {
        match self {
            Self::Entity => "entities",
            Self::Source => "sources",
            Self::View => "views",
            Self::OnDemand => "on-demand features",
            Self::Service => "services",
            Self::Feature => "features",
        }
    }
}

/// Definitions, not yet checked against one another.
pub(super) struct Collection {
    pub definitions: Definitions,
    /// Every name with its first place, those of definitions that could not be read included: what mentions them
    /// is no mistake.
    pub declared: BTreeMap<(Section, String), Place>,
    pub mentions: Vec<Mention>,
    pub mistakes: Vec<Finding>,
}

/// One definition's word of another.
pub(super) struct Mention {
    pub place: Place,
    /// Who says it.
    pub by: String,
    pub mentioned: Mentioned,
}

pub(super) enum Mentioned {
    Entity(EntityName),
    Rows(ViewSource),
    Feature(ServiceFeature),
    /// A feature of a service, and the earlier one of its name with its number.
    Namesake(ServiceFeature, ServiceFeature, usize),
}

impl Collection {
    pub fn new(environment: Environment) -> Self {
        Self {
            definitions: Definitions {
                entities: BTreeMap::new(),
                sources: BTreeMap::new(),
                views: BTreeMap::new(),
                on_demand: BTreeMap::new(),
                services: BTreeMap::new(),
                warnings: Vec::new(),
                environment,
            },
            declared: BTreeMap::new(),
            mentions: Vec::new(),
            mistakes: Vec::new(),
        }
    }

    pub fn mention(&mut self, table: &Table<'_>, at: usize, mentioned: Mentioned) {
        self.mentions.push(Mention { place: table.file.place(at), by: table.what.clone(), mentioned });
    }

    pub fn mistake(&mut self, place: &Place, message: String) {
        self.mistakes.push(Finding { place: place.clone(), message });
    }

    /// The names of one section.
    pub fn names(&self, section: Section) -> impl Iterator<Item = &str> {
        self.declared.keys().filter(move |(of, _)| *of == section).map(|(_, name)| name.as_str())
    }

    /// Keeps the place of a name. A second one of the same name is a mistake.
    pub fn declare(&mut self, section: Section, name: &str, place: Place) -> bool {
        let key = (section, name.to_owned());
        if let Some(first) = self.declared.get(&key) {
            let message = format!("{} \"{name}\" is defined twice: first at {first}", section.word());
            self.mistake(&place, message);
            return false;
        }
        self.declared.insert(key, place);
        true
    }
}
