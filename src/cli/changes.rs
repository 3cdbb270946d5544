//! What differs between two sets of definitions, by what they mean: a comment or an owner is no difference.

use std::collections::BTreeMap;

use serde::Serialize;

use super::page::{Align, Page};
use crate::definition::{Definitions, SourceDefinition, ViewDefinition};
use crate::model::{SourceName, ViewName};

/// What became of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    New,
    Changed,
    Same,
    Removed,
}

impl Change {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Same => "same",
            Self::Removed => "removed",
        }
    }
}

/// Every definition before or after, by kind.
#[derive(Debug, Serialize)]
pub struct Changes {
    pub entities: Vec<Named>,
    pub sources: Vec<Named>,
    pub views: Vec<ViewChange>,
    pub on_demand: Vec<Named>,
    pub services: Vec<Named>,
}

/// A definition before and after.
#[derive(Debug, Serialize)]
pub struct Named {
    pub name: String,
    pub change: Change,
}

/// A view before and after. One that changed with the same fingerprint has other settings, and keeps its blocks.
#[derive(Debug, Serialize)]
pub struct ViewChange {
    pub view: ViewName,
    pub change: Change,
    pub fingerprint: Option<String>,
    pub was: Option<String>,
}

impl Changes {
    /// What `new` differs in from `old`; without one everything is new.
    pub fn between(old: Option<&Definitions>, new: &Definitions) -> Self {
        let views = compare(old, new, Definitions::views, |definitions, name, view| {
            (fingerprint(definitions, name), settings(definitions, view))
        });
        let view = |(view, change): (ViewName, Change)| ViewChange {
            fingerprint: fingerprint(new, &view),
            was: old.and_then(|old| fingerprint(old, &view)),
            view,
            change,
        };
        Self {
            entities: named(compare(old, new, Definitions::entities, |_, _, entity| entity.keys.clone())),
            sources: named(compare(old, new, Definitions::sources, source)),
            views: views.into_iter().map(view).collect(),
            on_demand: named(compare(old, new, Definitions::on_demand, |_, _, feature| {
                (feature.inputs.clone(), feature.request.clone(), feature.sql.clone(), feature.value_type)
            })),
            services: named(compare(old, new, Definitions::services, |_, _, service| {
                (service.features.clone(), service.contract.clone())
            })),
        }
    }

    /// What is new, changed or removed, with its kind.
    pub fn differing(&self) -> Vec<(&'static str, &str, Change)> {
        let mut all: Vec<_> = of("entity", &self.entities).chain(of("source", &self.sources)).collect();
        all.extend(self.views.iter().map(|view| ("view", view.view.as_str(), view.change)));
        all.extend(of("on demand", &self.on_demand).chain(of("service", &self.services)));
        all.retain(|(.., change)| *change != Change::Same);
        all
    }

    /// Writes them as a table.
    pub fn write(&self, page: &mut Page) {
        page.table(
            [("kind", Align::Left), ("name", Align::Left), ("", Align::Left)],
            self.differing().into_iter().map(|(kind, name, change)| [kind, name, change.as_str()].map(str::to_owned)),
        );
    }
}

fn of<'a>(kind: &'static str, named: &'a [Named]) -> impl Iterator<Item = (&'static str, &'a str, Change)> {
    named.iter().map(move |named| (kind, named.name.as_str(), named.change))
}

fn named<N: ToString>(changes: Vec<(N, Change)>) -> Vec<Named> {
    changes.into_iter().map(|(name, change)| Named { name: name.to_string(), change }).collect()
}

/// Those of `new` in their order, then those that only `old` has.
fn compare<N: Ord + Clone, D, M: PartialEq>(
    old: Option<&Definitions>,
    new: &Definitions,
    of: fn(&Definitions) -> &BTreeMap<N, D>,
    meaning: impl Fn(&Definitions, &N, &D) -> M,
) -> Vec<(N, Change)> {
    let before = |name: &N| old.and_then(|old| Some((old, of(old).get(name)?)));
    let now = of(new).iter().map(|(name, definition)| {
        let change = match before(name) {
            None => Change::New,
            Some((old, was)) if meaning(old, name, was) == meaning(new, name, definition) => Change::Same,
            Some(_) => Change::Changed,
        };
        (name.clone(), change)
    });
    let gone = old.into_iter().flat_map(|old| of(old).keys()).filter(|name| !of(new).contains_key(*name));
    now.chain(gone.map(|name| (name.clone(), Change::Removed))).collect()
}

/// `None` where there is no such view, or it cannot be told because a variable is not set.
fn fingerprint(definitions: &Definitions, name: &ViewName) -> Option<String> {
    definitions.feature_view(name).ok().map(|view| view.fingerprint().to_string())
}

/// What a view's fingerprint leaves out, because its values do not depend on it.
fn settings(definitions: &Definitions, view: &ViewDefinition) -> impl PartialEq + use<> {
    let lateness = definitions.feature_view(&view.name).ok().map(|view| view.lateness());
    let ages = (view.max_age, view.stale_while_revalidate, view.max_stale);
    (view.entity.clone(), view.source.clone(), view.ttl, view.tolerance, lateness, ages)
}

fn source(definitions: &Definitions, name: &SourceName, source: &SourceDefinition) -> impl PartialEq + use<> {
    (definitions.rows_of(name).ok(), source.lateness)
}
