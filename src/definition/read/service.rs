//! On-demand features and services.

use std::collections::{BTreeMap, BTreeSet};

use super::super::service::{FeatureReference, OnDemandDefinition, ServiceDefinition, ServiceFeature};
use super::super::value_type::ValueType;
use super::collection::{Collection, Mentioned};
use super::table::Table;
use crate::model::{FeatureName, ServiceName};

/// The on-demand feature that `table` defines; every mistake in it is kept, and what it mentions.
pub(super) fn on_demand(
    name: FeatureName,
    table: Table<'_>,
    collection: &mut Collection,
) -> Option<OnDemandDefinition> {
    let inputs = table.list::<FeatureReference>("inputs").unwrap_or_default();
    let request: BTreeMap<FeatureName, ValueType> = table.map("request").unwrap_or_default();
    let (sql, value_type) = (table.required("sql"), table.or("type", ValueType::Double));
    let description = table.optional("description");
    if !table.has("inputs") && !table.has("request") {
        table.mistake("inputs", "it is computed from nothing: give inputs or request");
    }
    let mut names: BTreeSet<_> = request.keys().collect();
    for (input, at) in &inputs {
        collection.mention(&table, *at, Mentioned::Feature(ServiceFeature::View(input.clone())));
        if !names.insert(&input.feature) {
            let twice =
                format!("two inputs are called \"{}\", and the expression knows them by that name", input.feature);
            table.mistake_at(*at, &twice);
        }
    }
    Some(OnDemandDefinition {
        place: table.file.place(table.at),
        name,
        inputs: inputs.into_iter().map(|(input, _)| input).collect(),
        request,
        sql: sql?,
        value_type,
        description,
    })
}

/// The service that `table` defines; every mistake in it is kept, and what it mentions.
pub(super) fn service(name: ServiceName, table: Table<'_>, collection: &mut Collection) -> Option<ServiceDefinition> {
    let listed = table.required_list::<ServiceFeature>("features").unwrap_or_default();
    let (contract, owner) = (table.optional("contract"), table.optional("owner"));
    let description = table.optional("description");
    if listed.is_empty() && table.has("features") {
        table.mistake("features", "features: there is none: name the features in the order in which they are read");
    }
    let mut features: Vec<ServiceFeature> = Vec::with_capacity(listed.len());
    for (feature, at) in listed {
        collection.mention(&table, at, Mentioned::Feature(feature.clone()));
        if let Some((first, other)) = features.iter().enumerate().find(|(_, it)| it.name() == feature.name()) {
            let number = first + 1;
            if *other == feature {
                table.mistake_at(at, &format!("{feature} is listed twice: it is number {number} already"));
            } else {
                collection.mention(&table, at, Mentioned::Namesake(feature.clone(), other.clone(), number));
            }
        }
        features.push(feature);
    }
    Some(ServiceDefinition { place: table.file.place(table.at), name, features, contract, owner, description })
}
