//! Columns and their types.

use arrow::array::{Date32Array, Float32Array, Int32Array, Int64Array};

use super::*;
use crate::error::ErrorKind;

fn one(x: ArrayRef) -> RecordBatch {
    let rows = bars(&[("A", "2024-03-01", 0.0), ("A", "2024-03-02", 0.0)]);
    batch(vec![("symbol", rows.column(0).clone()), ("ts", rows.column(1).clone()), ("x", x)])
}

fn ints(values: [i64; 2]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

#[test]
fn columns_have_their_names_in_the_definition() {
    let data = Data::new();
    data.parquet("a.parquet", &one(doubles([1.0, 2.0])));
    let reader = data.reader(&with(PARQUET, "path = \"a.parquet\"\ncolumns = { close = \"x\" }")).unwrap();
    assert_eq!(reader.schema().field(0).name(), "close");
    let rows = reader.read(&key("A"), all(), &["close"]).unwrap();
    assert_eq!(numbers(&rows, "close"), [Some(1.0), Some(2.0)]);
    let error = reader.read(&key("A"), all(), &["x"]).unwrap_err();
    assert_eq!(error.to_string(), "source data: it has no column x: its columns are close");
    let none = reader.read(&key("A"), all(), &[]).unwrap();
    assert_eq!((none.len(), none.batch().num_rows()), (2, 2));
}

#[test]
fn a_column_that_is_nowhere_is_named_when_the_source_is_opened() {
    let data = Data::new();
    data.parquet("a.parquet", &one(doubles([1.0, 2.0])));
    for (lines, part) in [
        ("columns = { close = \"last\" }", "column last is not in"),
        ("created_time = \"seen\"", "the time column seen is not in"),
        ("types = { symbol = \"double\", x = \"date\" }", "column x is DOUBLE"),
        ("valid = { symbol = { min = 0.0 } }", "valid: column symbol is text"),
    ] {
        let error = data.reader(&with(PARQUET, &format!("path = \"a.parquet\"\n{lines}"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn narrower_numbers_widen_and_anything_else_is_another_type() {
    let data = Data::new();
    data.parquet("d/a.parquet", &one(doubles([1.0, 2.0])));
    let reader = data.reader(&with(PARQUET, "path = \"d/*.parquet\"")).unwrap();
    for (values, expected) in [
        (ints([3, 4]), [Some(3.0), Some(4.0)]),
        (Arc::new(Int32Array::from(vec![5, 6])), [Some(5.0), Some(6.0)]),
        (Arc::new(Float32Array::from(vec![0.5, 7.0])) as ArrayRef, [Some(0.5), Some(7.0)]),
    ] {
        data.parquet("d/b.parquet", &one(values));
        assert_eq!(read_x(&reader), expected);
    }
    data.parquet("d/b.parquet", &one(texts(["1", "2"])));
    let error = reader.read(&key("A"), all(), &["x"]).unwrap_err().to_string();
    for part in ["column x is VARCHAR in", "d/b.parquet", "but DOUBLE in", "d/a.parquet", "types = { x = \"double\" }"]
    {
        assert!(error.contains(part), "{error}");
    }
    data.parquet("d/b.parquet", &one(texts(["1", "2"])).project(&[0, 1]).unwrap());
    let error = reader.read(&key("A"), all(), &["x"]).unwrap_err().to_string();
    assert!(error.contains("column x is not in") && error.contains("d/b.parquet"), "{error}");
}

#[test]
fn declared_types_are_cast_to_strictly() {
    let data = Data::new();
    data.parquet("a.parquet", &one(texts(["1.5", "-2"])));
    let lines = "path = \"a.parquet\"\ntypes = { x = \"double\" }";
    assert_eq!(read_x(&data.reader(&with(PARQUET, lines)).unwrap()), [Some(1.5), Some(-2.0)]);
    data.parquet("a.parquet", &one(texts(["1.5", "n/a"])));
    let error = data.reader(&with(PARQUET, lines)).unwrap().read(&key("A"), all(), &["x"]).unwrap_err().to_string();
    for part in ["column x of", "a.parquet", "2024-03-02T00:00:00Z", "\"n/a\" is no double"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn whole_numbers_are_keys_too() {
    let data = Data::new();
    let rows = one(doubles([1.0, 2.0]));
    let columns = vec![("id", ints([5, 6])), ("ts", rows.column(1).clone()), ("x", rows.column(2).clone())];
    data.parquet("a.parquet", &batch(columns));
    let reader = data.reader(&with(PARQUET, "path = \"a.parquet\"")).unwrap();
    for five in [EntityKey::new([("id", 5i64)]).unwrap(), EntityKey::new([("id", "5")]).unwrap()] {
        assert_eq!(numbers(&reader.read(&five, all(), &["x"]).unwrap(), "x"), [Some(1.0)]);
    }
    assert!(reader.read(&EntityKey::new([("id", "05")]).unwrap(), all(), &["x"]).unwrap().is_empty());
    let entities = reader.entities(&entity_of("id = \"integer\""), range("2024-03-02", "2024-03-03")).unwrap();
    assert_eq!(entities.into_iter().collect::<Vec<_>>(), [EntityKey::new([("id", 6i64)]).unwrap()]);
}

#[test]
fn a_csv_file_says_what_a_parquet_file_says() {
    let data = Data::new();
    let rows = batch(vec![
        ("symbol", texts(["A", "A", "005930"])),
        ("ts", Arc::new(TimestampMicrosecondArray::from(vec![ns("2024-03-01") / 1_000, ns("2024-03-02") / 1_000, 0]))),
        ("x", Arc::new(Float64Array::from(vec![Some(1.5), None, Some(3.0)]))),
        ("n", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("note", texts(["a,\"b\"", "\n", ""])),
    ]);
    data.parquet("a.parquet", &rows);
    data.text(
        "a.csv",
        "symbol,ts,x,n,note\nA,2024-03-01,1.5,1,\"a,\"\"b\"\"\"\nA,2024-03-02 00:00:00,,2,\"\n\"\n\
         005930,1970-01-01T00:00:00Z,3.0,3,\"\"\n",
    );
    let parquet = data.reader(&with(PARQUET, "path = \"a.parquet\"")).unwrap();
    let csv = data.reader(&with(CSV, "path = \"a.csv\"")).unwrap();
    for symbol in ["A", "005930"] {
        let columns = ["x", "n", "note"];
        assert_eq!(
            csv.read(&key(symbol), all(), &columns).unwrap(),
            parquet.read(&key(symbol), all(), &columns).unwrap()
        );
    }
    let entity = entity_of("symbol = \"text\"");
    assert_eq!(csv.entities(&entity, all()).unwrap(), parquet.entities(&entity, all()).unwrap());
    assert_eq!(csv.newest(None).unwrap(), parquet.newest(None).unwrap());
}

#[test]
fn a_csv_file_may_be_written_in_another_way() {
    let data = Data::new();
    data.text("a.csv", "A;2024-03-01;1,5\nA;2024-03-02;NA\n");
    let reader = data
        .reader(
            &with(
                CSV,
                "path = \"a.csv\"\ndelimiter = \";\"\nheader = false\nnull = \"NA\"\ndecimal = \",\"\n\
             keys = { symbol = \"column_1\" }\ncolumns = { x = \"column_3\" }\n",
            )
            .replace("\"ts\"", "\"column_2\""),
        )
        .unwrap();
    assert_eq!(read_x(&reader), [Some(1.5), None]);
}

#[test]
fn all_values_of_a_csv_file_decide_its_types() {
    let data = Data::new();
    let mut text = "symbol,ts,x\n".to_owned();
    for row in 0..30_000 {
        text += &format!("A,{},{}\n", Timestamp::from_secs(row), row);
    }
    data.text("d/a.csv", &(text.clone() + "A,2024-03-01,0.5\n"));
    let reader = data.reader(&with(CSV, "path = \"d/*.csv\"")).unwrap();
    assert_eq!(reader.schema().field_with_name("x").unwrap().data_type(), &DataType::Float64);
    assert_eq!(read_x(&reader).last().unwrap(), &Some(0.5));
    // Another file has whole numbers only, a third one text.
    data.text("d/b.csv", "symbol,ts,x\nA,2024-03-02,7\n");
    assert_eq!(read_x(&reader).last().unwrap(), &Some(7.0));
    data.text("d/c.csv", "symbol,ts,x\nA,2024-03-03,seven\n");
    let error = reader.read(&key("A"), all(), &["x"]).unwrap_err().to_string();
    assert!(error.contains("c.csv at 2024-03-03T00:00:00Z: \"seven\" is no double"), "{error}");
}

#[test]
fn a_csv_row_with_too_few_values_is_an_error() {
    let data = Data::new();
    data.text("a.csv", "symbol,ts,x\nA,2024-03-01,1\nA,2024-03-02\n");
    let error = data.reader(&with(CSV, "path = \"a.csv\"")).and_then(|reader| reader.read(&key("A"), all(), &["x"]));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn dates_are_values_too() {
    let data = Data::new();
    data.parquet("a.parquet", &one(Arc::new(Date32Array::from(vec![0, 1]))));
    let reader = data.reader(&with(PARQUET, "path = \"a.parquet\"")).unwrap();
    let rows = reader.read(&key("A"), all(), &["x", "ts"]).unwrap();
    assert_eq!(rows.batch().schema(), Arc::new(reader.schema().project(&[2, 1]).unwrap()));
}
