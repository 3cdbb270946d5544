//! What definitions say of one another.

use std::collections::BTreeSet;

use super::super::place::{Finding, Place};
use super::super::service::{FeatureReference, ServiceFeature};
use super::super::source::SourceKeys;
use super::super::view::{EntityDefinition, Expression, FeatureDefinition, ViewDefinition, ViewSource};
use super::collection::{Collection, Mention, Mentioned, Section};
use super::nearest::suggest;
use crate::model::{FeatureName, ViewName};

/// Checks every mention, and every view with what it reads.
pub(super) fn check(collection: &Collection) -> Vec<Finding> {
    let mut found: Vec<_> = collection
        .mentions
        .iter()
        .filter_map(|Mention { place, by, mentioned }| {
            wrong(collection, mentioned).map(|what| finding(place, format!("{by}: {what}")))
        })
        .collect();
    for view in collection.definitions.views.values() {
        found.extend(refusal(collection, view).map(|what| finding(&view.place, what)));
        let of_view = circle(collection, view).into_iter().chain(keys(collection, view));
        found.extend(of_view.map(|what| finding(&view.place, format!("view \"{}\": {what}", view.name))));
        for feature in &view.features {
            let what = feature_mistakes(collection, view, feature).into_iter();
            let by = format!("view \"{}\": feature \"{}\"", view.name, feature.name);
            found.extend(what.map(|what| finding(&feature.place, format!("{by}: {what}"))));
        }
    }
    found
}

fn finding(place: &Place, message: String) -> Finding {
    Finding { place: place.clone(), message }
}

/// What is wrong with a mention: mostly that it mentions what is not there.
fn wrong(collection: &Collection, mentioned: &Mentioned) -> Option<String> {
    match mentioned {
        Mentioned::Entity(entity) => absent(collection, Section::Entity, entity.as_str()),
        Mentioned::Rows(ViewSource::Source(source)) => absent(collection, Section::Source, source.as_str()),
        Mentioned::Rows(ViewSource::View(view)) => absent(collection, Section::View, view.as_str()),
        Mentioned::Feature(feature) => unknown(collection, feature),
        Mentioned::Namesake(feature, other, number) => {
            // One that is not there is a mistake already.
            let are_known = [feature, other].iter().all(|feature| unknown(collection, feature).is_none());
            let name = feature.name();
            are_known.then(|| {
                format!("{feature} and {other}, number {number}, would both be called \"{name}\": rename one of them")
            })
        }
    }
}

/// What is wrong with a feature that is not there.
fn unknown(collection: &Collection, feature: &ServiceFeature) -> Option<String> {
    match feature {
        ServiceFeature::View(reference) => {
            absent(collection, Section::View, reference.view.as_str()).or_else(|| absent_feature(collection, reference))
        }
        ServiceFeature::OnDemand(name) => {
            let message = absent(collection, Section::OnDemand, name.as_str())?;
            Some(
                in_a_view(collection, name).map_or(message, |full| format!("\"{name}\" names no view: use \"{full}\"")),
            )
        }
    }
}

fn absent(collection: &Collection, section: Section, name: &str) -> Option<String> {
    if collection.declared.contains_key(&(section, name.to_owned())) {
        return None;
    }
    let near = suggest(name, collection.names(section), section.words());
    Some(format!("there is no {} \"{name}\": {near}", section.word()))
}

fn absent_feature(collection: &Collection, reference: &FeatureReference) -> Option<String> {
    let FeatureReference { view, feature } = reference;
    let known: Vec<_> = features_of(collection, view).collect();
    // A view without features is a mistake of its own.
    if known.is_empty() || known.contains(&feature.as_str()) {
        return None;
    }
    let near = suggest(feature.as_str(), known, "features");
    Some(format!("view \"{view}\" has no feature \"{feature}\": {near}"))
}

fn features_of<'c>(collection: &'c Collection, view: &'c ViewName) -> impl Iterator<Item = &'c str> {
    let names = collection.names(Section::Feature).filter_map(|name| name.split_once('.'));
    names.filter(move |(of, _)| *of == view.as_str()).map(|(_, feature)| feature)
}

/// The full name of a feature of any view with this short one.
fn in_a_view<'c>(collection: &'c Collection, name: &FeatureName) -> Option<&'c str> {
    collection
        .names(Section::Feature)
        .find(|full| full.split_once('.').is_some_and(|(_, feature)| feature == name.as_str()))
}

/// What the model says against a view, of which it knows what it may be.
fn refusal(collection: &Collection, view: &ViewDefinition) -> Option<String> {
    // Features that could not be read are mistakes already, and lack here.
    let is_whole = !view.features.is_empty() && features_of(collection, &view.name).count() == view.features.len();
    let builder = is_whole.then(|| collection.definitions.builder(view).ok()).flatten()?;
    builder.build().err().map(|error| error.to_string())
}

/// Views that read one another without an end; said of the first of them alone.
fn circle(collection: &Collection, view: &ViewDefinition) -> Option<String> {
    let mut path = vec![&view.name];
    let mut at = view;
    while let ViewSource::View(next) = &at.source {
        if *next == view.name {
            let first = path.iter().min() == Some(&&view.name);
            let names: Vec<_> = path.iter().chain([&next]).map(|name| name.as_str()).collect();
            return first.then(|| format!("views read each other in a circle: {}", names.join(" reads ")));
        }
        if path.contains(&next) {
            return None;
        }
        path.push(next);
        at = collection.definitions.views.get(next)?;
    }
    None
}

/// What is wrong with the keys of a view's rows.
fn keys(collection: &Collection, view: &ViewDefinition) -> Vec<String> {
    let definitions = &collection.definitions;
    let Some(entity) = definitions.entities.get(&view.entity) else { return Vec::new() };
    match &view.source {
        ViewSource::View(name) => definitions
            .views
            .get(name)
            .filter(|read| read.entity != view.entity)
            .map(|read| format!("its entity is \"{}\", but view \"{name}\" is of \"{}\"", view.entity, read.entity))
            .into_iter()
            .collect(),
        ViewSource::Source(name) => match definitions.sources.get(name).map(|source| &source.keys) {
            Some(SourceKeys::Columns(columns)) => {
                let (named, wanted): (BTreeSet<_>, BTreeSet<_>) =
                    (columns.keys().collect(), entity.keys.keys().collect());
                let lacking = wanted.difference(&named).map(|key| {
                    format!(
                        "key \"{key}\" of entity \"{}\" has no column in source \"{name}\": add it to its keys",
                        entity.name
                    )
                });
                let strange = named.difference(&wanted).map(|key| {
                    let near = suggest(key.as_str(), wanted.iter().map(|key| key.as_str()), "keys");
                    format!("source \"{name}\" has a key \"{key}\", which entity \"{}\" has not: {near}", entity.name)
                });
                lacking.chain(strange).collect()
            }
            _ => Vec::new(),
        },
    }
}

fn feature_mistakes(collection: &Collection, view: &ViewDefinition, feature: &FeatureDefinition) -> Vec<String> {
    let mut mistakes = Vec::new();
    let entity = collection.definitions.entities.get(&view.entity);
    if entity.is_some_and(|entity| entity.keys.keys().any(|key| key.as_str() == feature.name.as_str())) {
        mistakes.push(format!("it is named like a key of entity \"{}\": use another name", view.entity));
    }
    let read = match &feature.expression {
        Expression::Column(column) => vec![column.as_str()],
        Expression::Indicator(indicator) => indicator.columns(),
        Expression::Sql(_) | Expression::Function { .. } => Vec::new(),
    };
    if let Some(known) = columns(collection, view, entity) {
        let lacking = read.into_iter().filter(|column| !known.contains(column));
        mistakes.extend(lacking.map(|column| {
            format!("there is no column \"{column}\": {}", suggest(column, known.iter().copied(), "columns"))
        }));
    }
    mistakes
}

/// The columns that the features of a view may read; `None` where only the data or the SQL knows.
fn columns<'c>(
    collection: &'c Collection,
    view: &'c ViewDefinition,
    entity: Option<&'c EntityDefinition>,
) -> Option<Vec<&'c str>> {
    let mut known = match &view.source {
        _ if view.sql.is_some() => return None,
        ViewSource::Source(source) => collection.definitions.sources.get(source)?.known_columns()?,
        ViewSource::View(read) => features_of(collection, read).collect(),
    };
    if known.is_empty() {
        return None;
    }
    known.extend(entity?.keys.keys().map(|key| key.as_str()));
    Some(known)
}
