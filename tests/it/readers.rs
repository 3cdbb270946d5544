//! Other engines read the cache in place.

use std::process::Command;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Float64Type;

use crate::damage::files;
use crate::desk::{Desk, minutes, range, symbol, view};

fn stored(desk: &Desk) -> RecordBatch {
    let store = desk.open();
    let answer =
        store.get_or_compute(&view(), &symbol("ETH/USDT"), range("2024-03-01", "2024-03-03"), minutes).unwrap();
    answer.to_batch().unwrap()
}

#[test]
fn duckdb_reads_rows_and_keys_in_place() {
    let desk = Desk::new();
    let stored = stored(&desk);
    let glob = format!("{}/blocks/**/*.parquet", desk.dir.path().join("cache").display());
    let duckdb = duckdb::Connection::open_in_memory().unwrap();
    let sql = "SELECT value, symbol, view FROM read_parquet(?, hive_partitioning = true) ORDER BY event_timestamp";
    let mut statement = duckdb.prepare(sql).unwrap();
    let rows: Vec<(f64, String, String)> = statement
        .query_map([&glob], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let expected = stored.column(1).as_primitive::<Float64Type>().values();
    assert_eq!(rows.len(), expected.len());
    for (row, value) in rows.iter().zip(expected) {
        assert_eq!(row, &(*value, "ETH/USDT".to_owned(), "prices".to_owned()));
    }
}

#[test]
fn pyarrow_reads_the_same_values() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_pyarrow =
        Command::new(&python).args(["-c", "import pyarrow"]).output().is_ok_and(|out| out.status.success());
    if !has_pyarrow {
        assert!(std::env::var_os("CI").is_none(), "pyarrow has to be installed where CI is set");
        crate::tools::skip(&format!("{python} has no pyarrow"));
        return;
    }
    let desk = Desk::new();
    let stored = stored(&desk);
    let script = "import sys, pyarrow.parquet as pq\n\
        for path in sys.argv[1:]:\n    for value in pq.ParquetFile(path).read()['value'].to_pylist(): print(value.hex())";
    let blocks = files(&desk.dir.path().join("cache/blocks"));
    let output = Command::new(&python).arg("-c").arg(script).args(&blocks).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut sum = 0;
    let read = String::from_utf8(output.stdout).unwrap();
    let expected = stored.column(1).as_primitive::<Float64Type>().values();
    for (line, value) in read.lines().zip(expected) {
        assert_eq!(parse_hex(line), *value);
        sum += 1;
    }
    assert_eq!(sum, expected.len());
}

/// Python's `float.hex`, exactly.
fn parse_hex(text: &str) -> f64 {
    let (mantissa, exponent) = text.trim_start_matches("0x").split_once('p').unwrap();
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = u64::from_str_radix(&format!("{whole}{fraction}"), 16).unwrap();
    digits as f64 * 2f64.powi(exponent.parse::<i32>().unwrap() - 4 * fraction.len() as i32)
}

#[test]
fn whoever_has_a_block_open_goes_on_reading_it_as_it_was() {
    let desk = Desk::new();
    let store = desk.open();
    let ask = |end| drop(store.get_or_compute(&view(), &symbol("EURUSD"), range("2024-03-15", end), minutes).unwrap());
    ask("2024-03-15T11:00:00Z");
    let path = files(&desk.dir.path().join("cache/blocks")).remove(0);
    let before = std::fs::read(&path).unwrap();
    let mut open = std::fs::File::open(&path).unwrap();
    desk.clock.advance(std::time::Duration::from_secs(600));
    ask("2024-03-15T12:05:00Z");
    assert_ne!(std::fs::read(&path).unwrap(), before, "the tail was extended");
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut open, &mut read).unwrap();
    assert_eq!(read, before);
}
