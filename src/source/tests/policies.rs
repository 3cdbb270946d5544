//! Duplicates, nulls, impossible values, long tables.

use arrow::array::TimestampNanosecondArray;

use super::*;

/// `symbol`, `ts`, `seen` and `x`, all but the symbol possibly null. Times in seconds.
fn rows(rows: &[(Option<i64>, Option<i64>, Option<f64>)]) -> RecordBatch {
    let time = |at: Option<i64>| at.map(|at| at * 1_000_000_000);
    batch(vec![
        ("symbol", texts(rows.iter().map(|_| "A"))),
        ("ts", Arc::new(rows.iter().map(|row| time(row.0)).collect::<TimestampNanosecondArray>())),
        ("seen", Arc::new(rows.iter().map(|row| time(row.1)).collect::<TimestampNanosecondArray>())),
        ("x", Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>())),
    ])
}

fn read(data: &Data, lines: &str) -> Result<Rows> {
    let reader = data.reader(&with(PARQUET, &format!("path = \"*.parquet\"\n{lines}")))?;
    reader.read(&key("A"), all(), &["x"])
}

fn x(data: &Data, lines: &str) -> Vec<Option<f64>> {
    numbers(&read(data, lines).unwrap(), "x")
}

#[test]
fn of_rows_with_one_time_the_newest_counts_and_then_the_order() {
    let data = Data::new();
    data.parquet("a.parquet", &rows(&[(Some(2), Some(9), Some(1.0)), (Some(1), Some(5), Some(2.0))]));
    data.parquet("b.parquet", &rows(&[(Some(2), Some(9), Some(3.0)), (Some(2), Some(7), Some(4.0))]));
    assert_eq!(x(&data, ""), [Some(2.0), Some(4.0)]);
    assert_eq!(x(&data, "on_duplicate = \"first\""), [Some(2.0), Some(1.0)]);
    assert_eq!(x(&data, "created_time = \"seen\""), [Some(2.0), Some(3.0)]);
    assert_eq!(x(&data, "created_time = \"seen\"\non_duplicate = \"first\""), [Some(2.0), Some(1.0)]);
    let seen = read(&data, "created_time = \"seen\"").unwrap();
    assert_eq!(seen.created().unwrap().values(), &[5_000_000_000, 9_000_000_000]);
    let error = read(&data, "on_duplicate = \"error\"").unwrap_err().to_string();
    for part in ["two rows of symbol=A at 1970-01-01T00:00:02Z", "a.parquet", "b.parquet", "on_duplicate"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn rows_in_order_are_those_that_putting_them_in_order_gives() {
    let in_order: Vec<_> = (0..5_000)
        .map(|at| (Some(at), (at % 3 > 0).then_some(at + 7), (at % 5 > 0).then_some(at as f64 / 3.0)))
        .collect();
    let mut mixed = in_order.clone();
    mixed.swap(1_000, 4_000);
    let read = |found: &[_], created: &str| {
        let data = Data::new();
        data.parquet("a.parquet", &rows(found));
        let reader = data.reader(&with(PARQUET, &format!("path = \"*.parquet\"\n{created}"))).unwrap();
        let part = range("1970-01-01T00:00:10Z", "1970-01-01T01:20:00Z");
        [all(), part].map(|range| reader.read(&key("A"), range, &["x", "symbol"]).unwrap())
    };
    for created in ["", "created_time = \"seen\""] {
        let [whole, part] = read(&in_order, created);
        assert_eq!((whole.len(), part.len(), part.times()[0]), (5_000, 4_790, 10_000_000_000));
        assert_eq!(part.created().is_some(), !created.is_empty());
        assert_eq!([whole, part], read(&mixed, created));
    }
}

#[test]
fn a_row_without_a_time_is_an_error_or_left_out() {
    let data = Data::new();
    data.parquet("a.parquet", &rows(&[(None, None, Some(1.0)), (Some(1), None, Some(2.0))]));
    let error = read(&data, "").unwrap_err().to_string();
    assert!(error.contains("a.parquet has a row of symbol=A without ts"), "{error}");
    assert_eq!(x(&data, "on_null_time = \"drop\""), [Some(2.0)]);
    // An error of a range that it is not in as well: it is in none.
    let reader = data.reader(&with(PARQUET, "path = \"a.parquet\"")).unwrap();
    assert!(reader.read(&key("A"), range("2024-03-01", "2024-03-02"), &["x"]).is_err());
    assert!(reader.read(&key("B"), range("2024-03-01", "2024-03-02"), &["x"]).unwrap().is_empty());
}

#[test]
fn impossible_values_are_nulls_left_out_or_errors() {
    let data = Data::new();
    data.parquet(
        "a.parquet",
        &rows(&[(Some(1), None, Some(1.0)), (Some(2), None, Some(-36.98)), (Some(3), None, None)]),
    );
    let valid = |what: &str| format!("valid = {{ x = {{ min = 0.0, exclusive = true{what} }} }}");
    assert_eq!(x(&data, &valid(", on_violation = \"null\"")), [Some(1.0), None, None]);
    assert_eq!(x(&data, &valid(", on_violation = \"drop\"")), [Some(1.0), None]);
    let error = read(&data, &valid("")).unwrap_err().to_string();
    assert!(
        error.contains("x of symbol=A is -36.98 at 1970-01-01T00:00:02Z in ") && error.contains("a.parquet"),
        "{error}"
    );
    let infinite = rows(&[(Some(1), None, Some(f64::INFINITY)), (Some(2), None, Some(1.0))]);
    data.parquet("a.parquet", &infinite);
    assert_eq!(x(&data, "valid = { x = { finite = true, on_violation = \"drop\" } }"), [Some(1.0)]);
}

#[test]
fn a_row_is_left_out_whatever_columns_are_asked_for() {
    let data = Data::new();
    data.parquet("a.parquet", &rows(&[(Some(1), Some(1), Some(-1.0)), (Some(2), Some(2), Some(1.0))]));
    let reader = data
        .reader(&with(PARQUET, "path = \"a.parquet\"\nvalid = { x = { min = 0.0, on_violation = \"drop\" } }"))
        .unwrap();
    let rows = reader.read(&key("A"), all(), &["seen"]).unwrap();
    assert_eq!((rows.len(), rows.batch().num_columns()), (1, 1));
}

#[test]
fn a_mistake_that_was_corrected_is_none() {
    let data = Data::new();
    data.parquet("a.parquet", &rows(&[(Some(1), Some(1), Some(-1.0)), (Some(1), Some(2), Some(1.0))]));
    assert_eq!(x(&data, "created_time = \"seen\"\nvalid = { x = { min = 0.0 } }"), [Some(1.0)]);
}

#[test]
fn a_null_takes_a_value_from_before_the_range() {
    let data = Data::new();
    let day = 86_400;
    data.parquet(
        "a.parquet",
        &rows(&[
            (Some(0), Some(5 * day), Some(1.0)),
            (Some(day), Some(day), None),
            (Some(3 * day), Some(3 * day), None),
        ]),
    );
    let lines = "path = \"a.parquet\"\ncreated_time = \"seen\"\nfill = { method = \"last\", within = \"2d\" }";
    let reader = data.reader(&with(PARQUET, lines)).unwrap();
    let rows = reader.read(&key("A"), range("1970-01-02", "1970-02-01"), &["x"]).unwrap();
    assert_eq!(numbers(&rows, "x"), [Some(1.0), None]);
    let known: Vec<_> = rows.created().unwrap().iter().map(|at| at.map(|at| at / 1_000_000_000)).collect();
    assert_eq!(known, [Some(5 * day), Some(3 * day)], "a row that takes a value is known once that is");
}

/// `series`, `day` (a date) and `value`.
fn long(rows: &[(&str, i32, Option<f64>)]) -> RecordBatch {
    batch(vec![
        ("series", texts(rows.iter().map(|row| row.0))),
        ("ts", Arc::new(arrow::array::Date32Array::from_iter_values(rows.iter().map(|row| row.1)))),
        ("value", Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>())),
    ])
}

const LONG: &str = "path = \"*.parquet\"\nkeys = {}\nlayout = { long = { name = \"series\", value = \"value\" } }\n";

#[test]
fn a_long_table_is_read_as_a_wide_one() {
    let data = Data::new();
    data.parquet(
        "a.parquet",
        &long(&[
            ("it's", 1, Some(1.0)),
            ("b", 1, Some(10.0)),
            ("b", 3, Some(30.0)),
            ("it's", 2, Some(2.0)),
            ("c", 4, Some(4.0)),
            ("b", 3, Some(31.0)),
            ("it's", 3, None),
        ]),
    );
    let lines = with(PARQUET, &format!("{LONG}columns = {{ a = \"it's\", b = \"b\", none = \"nothing\" }}"));
    let reader = data.reader(&lines).unwrap();
    // The rows belong to every entity.
    for symbol in ["A", "B"] {
        let rows = reader.read(&key(symbol), all(), &["b", "a", "none"]).unwrap();
        assert_eq!(rows.times().iter().map(|at| at / 86_400_000_000_000).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(numbers(&rows, "a"), [Some(1.0), Some(2.0), None]);
        assert_eq!(numbers(&rows, "b"), [Some(10.0), None, Some(31.0)]);
        assert_eq!(numbers(&rows, "none"), [None, None, None]);
    }
    assert!(reader.entities(&entity_of("symbol = \"text\""), all()).is_err());
    let filled = data.reader(&format!("{lines}\nfill = {{ method = \"last\", within = \"1d\" }}")).unwrap();
    let rows = filled.read(&key("A"), range("1970-01-03", "1970-01-10"), &["a", "b"]).unwrap();
    assert_eq!(numbers(&rows, "a"), [Some(2.0), Some(2.0)]);
    assert_eq!(numbers(&rows, "b"), [Some(10.0), Some(31.0)]);
}

#[test]
fn an_impossible_value_of_a_series_is_none_of_another() {
    let data = Data::new();
    data.parquet("a.parquet", &long(&[("a", 1, Some(-1.0)), ("b", 1, Some(-1.0)), ("a", 2, Some(-2.0))]));
    let lines = |what: &str| {
        with(
            PARQUET,
            &format!(
                "{LONG}columns = {{ a = \"a\", b = \"b\" }}\nvalid = {{ a = {{ min = 0.0, on_violation = \"{what}\" }} }}"
            ),
        )
    };
    let read = |what| data.reader(&lines(what)).unwrap().read(&key("A"), all(), &["a", "b"]).unwrap();
    assert_eq!((numbers(&read("null"), "a"), numbers(&read("null"), "b")), (vec![None, None], vec![Some(-1.0), None]));
    assert_eq!((numbers(&read("drop"), "a"), numbers(&read("drop"), "b")), (vec![None], vec![Some(-1.0)]));
}
