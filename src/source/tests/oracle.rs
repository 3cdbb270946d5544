//! The reader against all rows, read and settled one by one.

use std::collections::BTreeMap;

use arrow::array::TimestampNanosecondArray;
use arrow::datatypes::TimestampNanosecondType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

use super::*;

type Row = (String, Option<i64>, Option<i64>, Option<f64>);

/// Every row of a file, by the Parquet crate.
fn every(path: &Path) -> Vec<Row> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    let batches = reader.map(|batch| {
        let batch = batch.unwrap();
        let time = |at: usize| batch.column(at).as_primitive::<TimestampNanosecondType>().iter().collect::<Vec<_>>();
        let symbols =
            batch.column(0).as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect::<Vec<_>>();
        let x = batch.column(3).as_primitive::<Float64Type>().iter().collect::<Vec<_>>();
        let rows = symbols.into_iter().zip(time(1)).zip(time(2)).zip(x);
        rows.map(|(((symbol, at), seen), x)| (symbol, at, seen, x)).collect::<Vec<_>>()
    });
    batches.flatten().collect()
}

fn file(rows: &[Row]) -> RecordBatch {
    batch(vec![
        ("symbol", texts(rows.iter().map(|row| row.0.as_str()))),
        ("ts", Arc::new(rows.iter().map(|row| row.1).collect::<TimestampNanosecondArray>())),
        ("seen", Arc::new(rows.iter().map(|row| row.2).collect::<TimestampNanosecondArray>())),
        ("x", Arc::new(rows.iter().map(|row| row.3).collect::<Float64Array>())),
    ])
}

fn text(rows: &[Row]) -> String {
    let time = |at: Option<i64>| at.map_or(String::new(), |at| Timestamp::from_ns(at).to_string());
    let number = |x: Option<f64>| x.map_or(String::new(), |x| format!("{x:?}"));
    let line = |row: &Row| format!("{},{},{},{}\n", row.0, time(row.1), time(row.2), number(row.3));
    format!("symbol,ts,seen,x\n{}", rows.iter().map(line).collect::<String>())
}

fn row() -> impl Strategy<Value = Row> {
    let value = prop_oneof![3 => (-5i32..5).prop_map(|x| Some(f64::from(x) / 2.0)), 1 => Just(None)];
    let at = prop_oneof![20 => (0i64..40).prop_map(Some), 1 => Just(None)];
    (prop::sample::select(vec!["A", "B"]), at, prop::option::of(0i64..4), value)
        .prop_map(|(symbol, at, seen, x)| (symbol.to_owned(), at, seen, x))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_read_is_what_all_rows_say(
        files in prop::collection::vec(prop::collection::vec(row(), 1..30), 1..4),
        (start, length) in (-2i64..42, 1i64..20),
        bar in 0i64..3,
        first in any::<bool>(),
        dropped in any::<bool>(),
    ) {
        let data = Data::new();
        let mut rows = Vec::new();
        for (number, content) in files.iter().enumerate() {
            write_parquet(&data.path(&format!("{number}.parquet")), &file(content), 5);
            data.text(&format!("{number}.csv"), &text(content));
            rows.extend(every(&data.path(&format!("{number}.parquet"))));
        }
        // One at a time: known at the close; possible; newest created, then the order.
        let mut expected: BTreeMap<i64, (Option<i64>, Option<f64>)> = BTreeMap::new();
        for (symbol, at, seen, x) in rows {
            let Some(at) = at.filter(|_| symbol == "A").map(|at| at + bar) else { continue };
            let newer = expected.get(&at).is_none_or(|(before, _)| *before < seen || (*before == seen && !first));
            if newer {
                expected.insert(at, (seen, x));
            }
        }
        if dropped {
            expected.retain(|_, (_, x)| x.is_none_or(|x| x >= 0.0));
        }
        let expected: Vec<_> = expected.range(start..start + length).map(|(at, (seen, x))| (*at, *seen, *x)).collect();

        let label = if bar == 0 { String::new() } else { format!("label = {{ at = \"open\", bar = \"{bar}ns\" }}\n") };
        let lines = format!(
            "created_time = \"seen\"\non_null_time = \"drop\"\n{label}types = {{ x = \"double\" }}\non_duplicate = \"{}\"\n{}",
            if first { "first" } else { "last" },
            if dropped { "valid = { x = { min = 0.0, on_violation = \"drop\" } }\n" } else { "" },
        );
        let range = TimeRange::new(Timestamp::from_ns(start), Timestamp::from_ns(start + length)).unwrap();
        for (kind, path) in [(PARQUET, "path = \"*.parquet\"\n"), (CSV, "path = \"*.csv\"\n")] {
            let reader = data.reader(&with(kind, &format!("{path}{lines}"))).unwrap();
            let rows = reader.read(&key("A"), range, &["x"]).unwrap();
            let created: Vec<_> = rows.created().unwrap().iter().collect();
            let got: Vec<_> = rows.times().iter().copied().zip(created).zip(numbers(&rows, "x")).map(|((at, seen), x)| (at, seen, x)).collect();
            prop_assert_eq!(&got, &expected, "{}", kind);
        }
    }
}
