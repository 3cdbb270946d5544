//! The SQL of on-demand features.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch, new_empty_array};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use crate::definition::{Definitions, FeatureReference, OnDemandDefinition};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{EVENT_TIME, FeatureName};
use crate::sql::{Sandbox, Select};

/// What is run for each feature.
pub(super) type OnDemand = BTreeMap<FeatureName, Select>;

/// Checks every expression against the features and the request that it is computed from.
///
/// # Errors
/// `Invalid`, with the place of the definition; `Unavailable` where DuckDB does not start.
pub(super) fn compile(definitions: &Definitions, sandbox: &Sandbox) -> Result<OnDemand> {
    let one = |(name, definition): (&FeatureName, &OnDemandDefinition)| {
        let named = |error: Error| {
            let kind = if error.kind() == ErrorKind::Compute { ErrorKind::Invalid } else { error.kind() };
            Error::new(kind, format!("{}: on-demand {error}", definition.place))
        };
        let select = Select::expression(sandbox, &definition.sql)
            .map_err(|error| named(Error::new(error.kind(), format!("feature {name}: sql: {error}"))))?;
        // Where a view is not known, as for want of a variable, whoever asks is told of that.
        if let Some(nothing) = no_rows(definitions, definition) {
            let wanted = [(name.as_str(), &select, &definition.value_type.data_type())];
            sandbox.expressions(&nothing, &wanted).map_err(named)?;
        }
        Ok((name.clone(), select))
    };
    definitions.on_demand().iter().map(one).collect()
}

/// The values of an expression over rows of what it needs.
///
/// # Errors
/// `Compute` where it does not fit them, or takes more than the limits.
pub(super) fn evaluate(
    on_demand: &OnDemand,
    definition: &OnDemandDefinition,
    sandbox: &Sandbox,
    rows: &RecordBatch,
) -> Result<ArrayRef> {
    let name = &definition.name;
    let select = on_demand.get(name).ok_or_else(|| Error::internal(format!("{name} was not compiled")))?;
    let wanted = [(name.as_str(), select, &definition.value_type.data_type())];
    let named = |error: Error| Error::new(error.kind(), format!("on-demand {error}"));
    let found = sandbox.expressions(rows, &wanted).map_err(named)?;
    found.into_iter().next().ok_or_else(|| Error::internal("SQL returned no column"))
}

/// The columns that an expression is computed from, without a row.
fn no_rows(definitions: &Definitions, definition: &OnDemandDefinition) -> Option<RecordBatch> {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let mut fields = vec![Field::new(EVENT_TIME, time, false)];
    for (name, value_type) in &definition.request {
        fields.push(Field::new(name.as_str(), value_type.data_type(), true));
    }
    for FeatureReference { view, feature, .. } in &definition.inputs {
        let view = definitions.feature_view(view).ok()?;
        let input = view.features().iter().find(|known| known.name() == feature)?;
        fields.push(Field::new(feature.as_str(), input.data_type().clone(), true));
    }
    let columns = fields.iter().map(|field| new_empty_array(field.data_type())).collect();
    RecordBatch::try_new(Schema::new(fields).into(), columns).ok()
}
