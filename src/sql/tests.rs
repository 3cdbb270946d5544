use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::array::{Array, AsArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{Float64Type, TimestampNanosecondType};
use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;

static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new(Limits::default()));

fn rows(closes: &[Option<f64>]) -> RecordBatch {
    let times = (0..closes.len()).map(|row| 1_700_000_000_000_000_001 + i64::try_from(row).unwrap() * 60_000_000_000);
    let times = TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC");
    let venue = StringArray::from_iter_values(closes.iter().map(|_| "a'b"));
    RecordBatch::try_from_iter([
        ("event_timestamp", Arc::new(times) as ArrayRef),
        ("close", Arc::new(Float64Array::from(closes.to_vec()))),
        ("Group", Arc::new(venue)),
    ])
    .unwrap()
}

fn doubles(batch: &RecordBatch, sql: &str) -> crate::error::Result<Vec<Option<f64>>> {
    let select = Select::expression(&SANDBOX, sql)?;
    let found = SANDBOX.expressions(batch, &[("x", &select, &DataType::Float64)])?;
    Ok(found[0].as_primitive::<Float64Type>().iter().collect())
}

fn refusal(sql: &str) -> String {
    let error = Select::expression(&SANDBOX, sql).expect_err(sql);
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    error.to_string()
}

#[test]
fn duckdb_starts_with_the_first_sql() {
    let sandbox = Sandbox::new(Limits::default());
    assert!(!sandbox.has_started());
    Select::expression(&sandbox, "close").unwrap();
    assert!(sandbox.has_started());
}

#[test]
fn an_expression_has_a_value_for_each_row_in_their_order() {
    let batch = rows(&[Some(2.0), None, Some(8.0)]);
    assert_eq!(doubles(&batch, "close / 2").unwrap(), [Some(1.0), None, Some(4.0)]);
    assert_eq!(doubles(&batch, "lag(close, 2) OVER w").unwrap(), [None, None, Some(2.0)]);
    assert_eq!(doubles(&batch, "sum(close) OVER w -- up to now").unwrap(), [Some(2.0), Some(2.0), Some(10.0)]);
    assert_eq!(doubles(&batch, "length(\"Group\")").unwrap(), [Some(3.0); 3]);
    assert_eq!(doubles(&rows(&[]), "close").unwrap(), []);
}

#[test]
fn several_expressions_are_one_query() {
    let batch = rows(&[Some(2.5), Some(3.5)]);
    let [a, b] = ["close + 1", "upper(\"Group\")"].map(|sql| Select::expression(&SANDBOX, sql).unwrap());
    let wanted = [("a", &a, &DataType::Int64), ("b", &b, &DataType::Utf8)];
    let found = SANDBOX.expressions(&batch, &wanted).unwrap();
    // DuckDB rounds half to even.
    assert_eq!(found[0].as_ref(), &Int64Array::from(vec![4, 4]) as &dyn Array);
    assert_eq!(found[1].as_ref(), &StringArray::from(vec!["A'B", "A'B"]) as &dyn Array);
}

#[test]
fn times_keep_their_nanoseconds() {
    let batch = rows(&[Some(1.0), Some(2.0)]);
    let query = Select::query(&SANDBOX, "SELECT event_timestamp, close * 2 AS twice FROM source", "source").unwrap();
    let found = SANDBOX.query("source", &batch, &query).unwrap();
    let times = found.column(0).as_primitive::<TimestampNanosecondType>();
    assert_eq!(times.values().to_vec(), [1_700_000_000_000_000_001, 1_700_000_060_000_000_001]);
    assert_eq!(found.schema().field(1).name(), "twice");
}

#[test]
fn the_columns_that_are_read_are_known() {
    let columns = |sql: &str| Select::expression(&SANDBOX, sql).unwrap().columns().iter().cloned().collect::<Vec<_>>();
    assert_eq!(columns("(close - lag(rows.open) OVER w) / \"High\""), ["High", "close", "event_timestamp", "open"]);
    let all = Select::query(&SANDBOX, "SELECT * FROM source", "source").unwrap();
    assert!(all.columns().contains("*"));
}

#[test]
fn what_is_not_the_same_each_time_is_refused() {
    for sql in [
        "random()",
        "now()",
        "current_timestamp",
        "current_date",
        "today()",
        "uuid()",
        "close + RANDOM()",
        "(SELECT max(random()) FROM rows)",
        "current_setting('threads')",
        "nextval('x')",
        "localtimestamp",
        "sleep_ms(9)",
    ] {
        assert!(refusal(sql).contains("not the same each time"), "{sql}: {}", refusal(sql));
    }
}

#[test]
fn only_its_own_rows_are_read() {
    for sql in [
        "(SELECT count(*) FROM read_csv('/etc/passwd'))",
        "(SELECT count(*) FROM glob('/*'))",
        "(SELECT count(*) FROM duckdb_settings())",
        "(SELECT count(*) FROM other)",
        "(SELECT count(*) FROM '/etc/passwd')",
        "(SELECT count(*) FROM memory.main.rows)",
        "(SELECT count(*) FROM information_schema.tables)",
    ] {
        assert!(refusal(sql).contains("it reads"), "{sql}: {}", refusal(sql));
    }
    assert_eq!(
        doubles(&rows(&[Some(3.0)]), "(WITH x AS (SELECT close FROM rows) SELECT max(close) FROM x)").unwrap(),
        [Some(3.0)]
    );
    assert_eq!(doubles(&rows(&[Some(3.0)]), "(SELECT sum(i) FROM range(3) t(i))").unwrap(), [Some(3.0)]);
}

#[test]
fn a_sandbox_that_is_not_asked_first_reads_no_file_either() {
    // The checks of a statement could have a hole; this is what lies behind them.
    let connection = SANDBOX.connection_for_tests();
    for sql in [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY (SELECT 1) TO '/tmp/larder-sandbox.csv'",
        "ATTACH '/tmp/larder-sandbox.duckdb'",
        "EXPORT DATABASE '/tmp/larder-sandbox'",
        "INSTALL icu",
        "LOAD '/tmp/larder-sandbox'",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "RESET allowed_directories",
        "SET memory_limit = '64GB'",
        "PRAGMA temp_directory = '/tmp'",
    ] {
        let refused = connection.execute_batch(sql).expect_err(sql).to_string();
        assert!(refused.contains("disabled") || refused.contains("locked"), "{sql}: {refused}");
    }
}

#[test]
fn anything_but_one_select_is_refused_with_the_place() {
    let cases = [
        ("close +", "syntax error"),
        ("close open", "where it says `open`"),
        ("1) FROM rows; DROP TABLE rows; SELECT (2", "only SELECT"),
        ("1) FROM rows; SELECT (2", "2 statements"),
        ("close > ?", "has a parameter"),
        ("close > $limit", "has a parameter"),
        (" ", "it is empty"),
    ];
    for (sql, part) in cases {
        assert!(refusal(sql).contains(part), "{sql}: {}", refusal(sql));
    }
    let dropped = Select::query(&SANDBOX, "DROP TABLE source", "source").unwrap_err().to_string();
    assert!(dropped.contains("only SELECT is allowed"), "{dropped}");
}

#[test]
fn an_expression_that_does_not_fit_is_named() {
    let batch = rows(&[Some(1.0)]);
    let [good, bad] = ["close", "clos"].map(|sql| Select::expression(&SANDBOX, sql).unwrap());
    let wanted = [("good", &good, &DataType::Float64), ("mid", &bad, &DataType::Float64)];
    let error = SANDBOX.expressions(&batch, &wanted).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Compute);
    let message = error.to_string();
    assert!(message.contains("feature mid") && message.contains("\"clos\" not found"), "{message}");
    assert!(!message.contains("LINE 1"), "{message}");
    let cast = doubles(&batch, "\"Group\"").unwrap_err().to_string();
    assert!(cast.contains("feature x") && cast.contains("a'b"), "{cast}");
}

#[test]
fn more_memory_than_the_limit_is_an_error_and_the_next_query_works() {
    let small = Sandbox::new(Limits { memory: 32 << 20, threads: 1, ..Limits::default() });
    let greedy =
        Select::expression(&small, "(SELECT count(DISTINCT a.i * b.i) FROM range(4000) a(i), range(4000) b(i))")
            .unwrap();
    let batch = rows(&[Some(1.0)]);
    let error = small.expressions(&batch, &[("x", &greedy, &DataType::Float64)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Compute);
    assert!(error.to_string().contains("Out of Memory"), "{error}");
    let fine = Select::expression(&small, "close").unwrap();
    assert!(small.expressions(&batch, &[("x", &fine, &DataType::Float64)]).is_ok());
}

#[test]
fn a_query_may_run_for_so_long_and_the_connection_works_afterwards() {
    let hasty = Sandbox::new(Limits { query_timeout: Duration::from_millis(50), ..Limits::default() });
    let batch = rows(&[Some(1.0)]);
    let advice = "let it do less, give the view a shorter span, or raise compute.query_timeout";
    let [fine, endless] = ["close", "(SELECT count(*) FROM range(10000000000) a, range(10000000000) b)"]
        .map(|sql| Select::expression(&hasty, sql).unwrap());
    let double = &DataType::Float64;
    for (wanted, named) in [
        (vec![("x", &endless, double)], "feature x"),
        (vec![("x", &fine, double), ("y", &endless, double)], "one of the features x, y"),
    ] {
        let error = hasty.expressions(&batch, &wanted).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Compute);
        assert_eq!(error.to_string(), format!("{named}: its SQL was not done within 50ms: {advice}"));
    }
    let recursive = "WITH RECURSIVE a AS (SELECT 1 AS n UNION ALL SELECT 2 - n FROM a) SELECT max(n) AS n FROM a";
    let recursive = Select::query(&hasty, recursive, "source").unwrap();
    let error = hasty.query("source", &batch, &recursive).unwrap_err().to_string();
    assert_eq!(error, format!("its SQL was not done within 50ms: {advice}"));
    assert_eq!(hasty.idle_for_tests(), 1, "it is the same connection");
    assert!(hasty.expressions(&batch, &[("x", &fine, double)]).is_ok());
}

#[test]
fn a_query_does_not_see_the_rows_of_another() {
    std::thread::scope(|scope| {
        for thread in 0..4_i32 {
            scope.spawn(move || {
                for round in 0..10 {
                    let close = f64::from(thread * 100 + round);
                    assert_eq!(doubles(&rows(&[Some(close)]), "sum(close) OVER w").unwrap(), [Some(close)]);
                }
            });
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_text_makes_it_panic_or_return_other_rows(text in "[ -~\\n'\"();*]{0,40}") {
        if let Ok(found) = doubles(&rows(&[Some(1.0), Some(2.0)]), &text) {
            prop_assert_eq!(found.len(), 2);
        }
    }
}
