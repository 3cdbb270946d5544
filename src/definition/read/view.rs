//! Entities and views.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use toml::de::DeValue;

use super::super::view::{EntityDefinition, ViewDefinition, ViewSource};
use super::collection::{Collection, Mentioned};
use super::feature::features;
use super::table::Table;
use super::value::Value;
use crate::model::{EntityName, KeyName, KeyType, Span, ViewName};

/// The entity that `table` defines; every mistake in it is kept.
pub(super) fn entity(name: EntityName, table: Table<'_>) -> Option<EntityDefinition> {
    let description = table.optional("description");
    let keys = match table.map::<KeyName, KeyType>("keys") {
        None => BTreeMap::from([(KeyName::new(name.as_str()).ok()?, KeyType::Text)]),
        Some(keys) => keys,
    };
    if table.is_empty("keys") {
        table.mistake("keys", "keys: there is none: use { symbol = \"text\" }, or leave keys out");
    }
    Some(EntityDefinition { place: table.file.place(table.at), name, keys, description })
}

/// The view that `table` defines; every mistake in it is kept, and what it mentions.
pub(super) fn view(name: ViewName, table: Table<'_>, collection: &mut Collection) -> Option<ViewDefinition> {
    let (entity, source) = (table.required::<EntityName>("entity"), table.required::<ViewSource>("source"));
    let sql = table.optional("sql");
    let features = features(&name, &table, collection);
    let (span, lookback) = (table.or("span", Span::Day), table.or("lookback", Duration::ZERO));
    let tolerance = table.with("tolerance", tolerance).unwrap_or(1e-9);
    let ttl = table.optional("ttl");
    let version = table.or("version", "1".to_owned());
    let lateness = table.optional("lateness");
    let max_age = table.optional("max_age");
    let stale_while_revalidate = table.or("stale_while_revalidate", Duration::ZERO);
    let max_stale = table.or("max_stale", Duration::ZERO);
    let parameters = table.map("parameters").unwrap_or_default();
    let (owner, description) = (table.optional("owner"), table.optional("description"));
    let tags: BTreeSet<_> = table.list("tags").unwrap_or_default().into_iter().map(|(tag, _)| tag).collect();
    if let Some(entity) = &entity {
        collection.mention(&table, table.value_of("entity"), Mentioned::Entity(entity.clone()));
    }
    if let Some(source) = &source {
        collection.mention(&table, table.value_of("source"), Mentioned::Rows(source.clone()));
    }
    Some(ViewDefinition {
        place: table.file.place(table.at),
        name,
        entity: entity?,
        source: source?,
        sql,
        features,
        span,
        lookback,
        tolerance,
        ttl,
        version,
        lateness,
        max_age,
        stale_while_revalidate,
        max_stale,
        parameters,
        owner,
        description,
        tags,
    })
}

fn tolerance(value: &DeValue<'_>) -> Result<f64, String> {
    match f64::read(value)? {
        part if part > 0.0 && part < 1.0 => Ok(part),
        part => Err(format!("{part} is not allowed: use a number above 0 and below 1, such as 1e-9")),
    }
}
