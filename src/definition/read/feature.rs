//! The features of a view.

use super::super::value_type::ValueType;
use super::super::view::{Expression, FeatureDefinition};
use super::collection::{Collection, Section};
use super::indicator::indicator;
use super::table::Table;
use crate::model::{Feature, FeatureName, ViewName};

/// The features of the view that `table` defines, in the order in which they stand in the file.
pub(super) fn features(of: &ViewName, view: &Table<'_>, collection: &mut Collection) -> Vec<FeatureDefinition> {
    if !view.has("features") || view.is_empty("features") {
        view.mistake("features", "features is missing: use a table with an entry for each feature");
    }
    let Some(mut table) = view.table("features") else { return Vec::new() };
    let mut features = Vec::new();
    for (name, at, value) in table.entries() {
        collection.declare(Section::Feature, &format!("{of}.{name}"), view.file.place(at));
        let what = format!("{}: feature \"{name}\"", view.what);
        let Some(entry) = Table::of(view.file, what, at, value) else { continue };
        features.extend(feature(name, entry));
    }
    features
}

fn feature(name: &str, mut table: Table<'_>) -> Option<FeatureDefinition> {
    let (nulls, nan) = (table.or("nulls", true), table.or("nan", true));
    let description = table.optional("description");
    let expression = expression(&mut table);
    // An indicator is a double by its formula.
    let value_type = match &expression {
        Some(Expression::Indicator(_)) => ValueType::Double,
        _ if table.has("kind") => ValueType::Double,
        _ => table.or("type", ValueType::Double),
    };
    // The model knows which names and types a column of a view may have.
    let checked = Feature::new(name, value_type.data_type());
    let checked = checked.map_err(|error| table.mistake_at(table.at, &error.to_string())).ok();
    Some(FeatureDefinition {
        name: FeatureName::clone(checked?.name()),
        place: table.file.place(table.at),
        expression: expression?,
        value_type,
        nulls,
        nan,
        description,
    })
}

fn expression(table: &mut Table<'_>) -> Option<Expression> {
    if table.has("kind") {
        return indicator(table).map(Expression::Indicator);
    }
    if table.has("sql") {
        return table.optional("sql").map(Expression::Sql);
    }
    if table.has("function") {
        let parameters = table.map("parameters").unwrap_or_default();
        return table.optional("function").map(|name| Expression::Function { name, parameters });
    }
    if table.has("column") {
        return table.optional("column").map(Expression::Column);
    }
    table.ignore_rest();
    table.mistake("kind", "it is not said what it is: use kind, sql, function or column");
    None
}
