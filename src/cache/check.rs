//! Checks what a compute returned, before anything is kept or answered.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, TimestampNanosecondType};

use super::gap::Gap;
use crate::model::{EVENT_TIME, Feature, FeatureView, Timestamp};

/// Returns the batch with its columns in the declared order, or what is wrong with it: the column,
/// the row and the value.
pub fn check(gap: &Gap, batch: &RecordBatch) -> Result<RecordBatch, String> {
    let view = gap.view();
    let columns = columns_in_order(view, batch)?;
    let times = columns.first().and_then(|times| times.as_primitive_opt::<TimestampNanosecondType>());
    let times = times.ok_or_else(|| format!("column {EVENT_TIME} is missing"))?;
    check_times(gap, times)?;
    for (feature, column) in view.features().iter().zip(columns.iter().skip(1)) {
        check_values(feature, column)?;
    }
    RecordBatch::try_new(Arc::clone(view.schema()), columns).map_err(|error| error.to_string())
}

fn columns_in_order(view: &FeatureView, batch: &RecordBatch) -> Result<Vec<ArrayRef>, String> {
    let declared = view.schema();
    let found = batch.schema();
    if let Some(stranger) = found.fields().iter().find(|field| declared.field_with_name(field.name()).is_err()) {
        return Err(format!(
            "column {:?} is not declared: return only {EVENT_TIME} and the view's features",
            stranger.name()
        ));
    }
    let mut columns = Vec::with_capacity(declared.fields().len());
    for field in declared.fields() {
        let mut named = found.fields().iter().zip(batch.columns()).filter(|(found, _)| found.name() == field.name());
        let Some((_, column)) = named.next() else { return Err(format!("column {:?} is missing", field.name())) };
        if named.next().is_some() {
            return Err(format!("column {:?} is there twice", field.name()));
        }
        columns.push(retyped(column, field.data_type()).ok_or_else(|| {
            format!("column {:?} is {}, declared {}", field.name(), column.data_type(), field.data_type())
        })?);
    }
    Ok(columns)
}

/// The column under the declared type; `None` where it is another one. `UTC` and `+00:00` are one zone.
fn retyped(column: &ArrayRef, declared: &DataType) -> Option<ArrayRef> {
    if column.data_type() == declared {
        return Some(Arc::clone(column));
    }
    let is_utc = |zone: &str| matches!(zone, "UTC" | "+00:00" | "Z" | "Etc/UTC");
    match (column.data_type(), declared) {
        (DataType::Timestamp(found_unit, Some(found)), DataType::Timestamp(unit, Some(zone)))
            if found_unit == unit && is_utc(found) && is_utc(zone) =>
        {
            let data = column.to_data().into_builder().data_type(declared.clone()).build().ok()?;
            Some(arrow::array::make_array(data))
        }
        _ => None,
    }
}

fn check_times(gap: &Gap, times: &arrow::array::TimestampNanosecondArray) -> Result<(), String> {
    if let Some(row) = (0..times.len()).find(|row| times.is_null(*row)) {
        return Err(format!("{EVENT_TIME} is null in row {row}"));
    }
    let mut previous: Option<Timestamp> = None;
    for (row, ns) in times.values().iter().enumerate() {
        let time = Timestamp::from_ns(*ns);
        if !gap.range().contains(time) {
            return Err(format!("{EVENT_TIME} of row {row} is {time}, outside of the gap {}", gap.range()));
        }
        match previous {
            Some(before) if before == time => {
                return Err(format!("{EVENT_TIME} of row {row} is {time}, as in the row before: one row per time"));
            }
            Some(before) if before > time => {
                return Err(format!(
                    "{EVENT_TIME} of row {row} is {time}, earlier than {before} before it: sort the rows"
                ));
            }
            _ => previous = Some(time),
        }
    }
    Ok(())
}

fn check_values(feature: &Feature, column: &ArrayRef) -> Result<(), String> {
    let name = feature.name();
    if !feature.allows_null()
        && let Some(row) = (0..column.len()).find(|row| column.is_null(*row))
    {
        return Err(format!("column {name} is null in row {row}, which the view forbids"));
    }
    if feature.allows_nan() {
        return Ok(());
    }
    let nan = match column.data_type() {
        DataType::Float64 => column.as_primitive::<Float64Type>().iter().position(|v| v.is_some_and(f64::is_nan)),
        DataType::Float32 => column.as_primitive::<Float32Type>().iter().position(|v| v.is_some_and(f32::is_nan)),
        _ => None,
    };
    nan.map_or(Ok(()), |row| Err(format!("column {name} is NaN in row {row}, which the view forbids")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EntityKey, TimeRange};
    use arrow::array::{Float64Array, StringArray, TimestampNanosecondArray};
    use arrow::datatypes::{Field, Schema, TimeUnit};

    fn gap() -> Gap {
        let view = FeatureView::builder("v")
            .entity("symbol")
            .feature_with(Feature::new("a", DataType::Float64).unwrap().forbid_nan().forbid_null())
            .feature("b", DataType::Float64)
            .build()
            .unwrap();
        let entity = EntityKey::new([("symbol", "A")]).unwrap();
        Gap::new(view, entity, TimeRange::new(Timestamp::from_ns(10), Timestamp::from_ns(20)).unwrap())
    }

    fn times(ns: &[Option<i64>], zone: &str) -> ArrayRef {
        Arc::new(TimestampNanosecondArray::from(ns.to_vec()).with_timezone(zone))
    }

    fn floats(values: &[Option<f64>]) -> ArrayRef {
        Arc::new(Float64Array::from(values.to_vec()))
    }

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        let fields: Vec<_> =
            columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, column)| column).collect())
            .unwrap()
    }

    fn with_times(ns: &[Option<i64>]) -> RecordBatch {
        let values = floats(&vec![Some(1.0); ns.len()]);
        batch(vec![(EVENT_TIME, times(ns, "UTC")), ("a", Arc::clone(&values)), ("b", values)])
    }

    #[test]
    fn a_good_batch_comes_back_in_the_declared_order() {
        let shuffled = batch(vec![
            ("b", floats(&[None, Some(f64::NAN)])),
            (EVENT_TIME, times(&[Some(10), Some(19)], "+00:00")),
            ("a", floats(&[Some(1.0), Some(2.0)])),
        ]);
        let checked = check(&gap(), &shuffled).unwrap();
        assert_eq!(&checked.schema(), gap().view().schema());
        assert_eq!(checked.column(1).as_primitive::<Float64Type>().values(), &[1.0, 2.0]);
    }

    #[test]
    fn what_is_wrong_is_named_with_column_row_and_value() {
        let one = floats(&[Some(1.0)]);
        let time = times(&[Some(10)], "UTC");
        let cases = [
            (batch(vec![(EVENT_TIME, time.clone()), ("a", one.clone())]), "column \"b\" is missing"),
            (batch(vec![("a", one.clone()), ("b", one.clone())]), "column \"event_timestamp\" is missing"),
            (
                batch(vec![(EVENT_TIME, time.clone()), ("a", one.clone()), ("b", one.clone()), ("c", one.clone())]),
                "column \"c\" is not declared",
            ),
            (
                batch(vec![(EVENT_TIME, time.clone()), ("a", one.clone()), ("b", one.clone()), ("b", one.clone())]),
                "column \"b\" is there twice",
            ),
            (
                batch(vec![
                    (EVENT_TIME, time.clone()),
                    ("a", one.clone()),
                    ("b", Arc::new(StringArray::from(vec!["x"]))),
                ]),
                "column \"b\" is Utf8, declared Float64",
            ),
            (
                batch(vec![(EVENT_TIME, times(&[Some(10)], "America/Bogota")), ("a", one.clone()), ("b", one.clone())]),
                "column \"event_timestamp\" is Timestamp",
            ),
            (with_times(&[Some(10), None]), "event_timestamp is null in row 1"),
            (with_times(&[Some(11), Some(10)]), "row 1 is 1970-01-01T00:00:00.000000010Z, earlier than"),
            (with_times(&[Some(11), Some(11)]), "row 1 is 1970-01-01T00:00:00.000000011Z, as in the row before"),
            (with_times(&[Some(9)]), "outside of the gap"),
            (with_times(&[Some(20)]), "outside of the gap"),
            (
                batch(vec![(EVENT_TIME, time.clone()), ("a", floats(&[Some(f64::NAN)])), ("b", one.clone())]),
                "column a is NaN in row 0",
            ),
            (batch(vec![(EVENT_TIME, time), ("a", floats(&[None])), ("b", one)]), "column a is null in row 0"),
        ];
        for (wrong, part) in cases {
            let message = check(&gap(), &wrong).unwrap_err();
            assert!(message.contains(part), "{message:?} should say {part:?}");
        }
    }

    #[test]
    fn a_time_of_another_unit_is_refused() {
        let seconds: ArrayRef = Arc::new(arrow::array::TimestampSecondArray::from(vec![10]).with_timezone("UTC"));
        assert_eq!(seconds.data_type(), &DataType::Timestamp(TimeUnit::Second, Some("UTC".into())));
        let one = floats(&[Some(1.0)]);
        assert!(check(&gap(), &batch(vec![(EVENT_TIME, seconds), ("a", one.clone()), ("b", one)])).is_err());
    }
}
