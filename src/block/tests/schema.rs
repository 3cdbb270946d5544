use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::{encoded, small};
use crate::block::decode;

/// What decoding the small batch under a changed schema says.
fn message(change: impl FnOnce(&mut Vec<Field>)) -> String {
    let batch = small();
    let mut fields: Vec<_> = batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    change(&mut fields);
    let declared: SchemaRef = Schema::new(fields).into();
    decode(encoded(&batch).into(), &declared).unwrap_err().to_string()
}

#[test]
fn another_type_is_named_with_both_sides() {
    let message = message(|fields| fields[11] = Field::new("f64", DataType::Float32, true));
    assert_eq!(message, "column \"f64\" is Float64 nullable, declared Float32 nullable");
}

#[test]
fn another_nullability_is_a_mismatch() {
    let message = message(|fields| fields[11] = Field::new("f64", DataType::Float64, false));
    assert_eq!(message, "column \"f64\" is Float64 nullable, declared Float64 not null");
}

#[test]
fn another_time_zone_is_a_mismatch() {
    let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let message = message(|fields| fields[18] = Field::new("new_york", utc, true));
    let found = r#"Timestamp(ns, "America/New_York")"#;
    let wanted = r#"Timestamp(ns, "UTC")"#;
    assert_eq!(message, format!("column \"new_york\" is {found} nullable, declared {wanted} nullable"));
}

#[test]
fn columns_in_another_order_are_a_mismatch() {
    let message = message(|fields| fields.swap(1, 2));
    assert_eq!(message, "column \"i8\" is column \"bool\" (Boolean nullable), declared Int8 nullable");
}

#[test]
fn a_column_too_few_or_too_many_is_named() {
    let fewer = message(|fields| drop(fields.pop()));
    assert_eq!(fewer, "column \"d38\" is Decimal128(38, 37) nullable, declared absent");
    let more = message(|fields| fields.push(Field::new("new", DataType::Int8, true)));
    assert_eq!(more, "column \"new\" is absent, declared Int8 nullable");
}

#[test]
fn metadata_of_fields_is_not_compared() {
    let batch = small();
    let note = [("note".to_owned(), "x".to_owned())];
    let fields = batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect::<Vec<_>>();
    let fields = fields.into_iter().map(|field| field.with_metadata(note.clone()));
    let declared: SchemaRef = Schema::new(fields.collect::<Vec<_>>()).into();
    let decoded = decode(encoded(&batch).into(), &declared).unwrap();
    assert_eq!(decoded.batch.schema(), declared);
}
