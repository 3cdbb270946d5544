//! Which files are read.

use std::sync::atomic::Ordering;

use super::*;
use crate::error::ErrorKind;

fn one(value: f64) -> RecordBatch {
    bars(&[("A", "2024-03-01T10:00:00Z", value)])
}

#[test]
fn every_character_of_a_name_is_only_a_character() {
    let names = [
        "A1.parquet",
        "A[1].parquet",
        "A*.parquet",
        "A?.parquet",
        "A'.parquet",
        "A\".parquet",
        "A\\.parquet",
        "A{1,2}.parquet",
        "A$B.parquet",
        "A é漢.parquet",
        "A = b.parquet",
        "A%20.parquet",
        "A#?x=1.parquet",
        "A;--.parquet",
        "A\n.parquet",
        "A**.parquet",
        "~A.parquet",
        "-A.parquet",
    ];
    let data = Data::new();
    for (number, name) in names.iter().enumerate() {
        data.parquet(&format!("in/{name}"), &one(number as f64));
        data.parquet(&format!("symbol={name}/x.parquet"), &one(number as f64));
    }
    for (number, name) in names.iter().enumerate() {
        // Found by a wildcard, then read under its own name.
        let alone = Data::new();
        alone.parquet(&format!("in/{name}"), &one(number as f64));
        let reader = alone.reader(&with(PARQUET, "path = \"in/*.parquet\"")).unwrap();
        assert_eq!(read_x(&reader), [Some(number as f64)], "{name}");
    }
    let reader = data.reader(&with(PARQUET, "path = \"in/*.parquet\"\non_duplicate = \"error\"")).unwrap();
    assert_eq!(reader.files().unwrap().len(), names.len());
    let reader = data.reader(&with(PARQUET, "path = \"in/A[[]1].parquet\"")).unwrap();
    assert_eq!(read_x(&reader), [Some(1.0)], "the file A[1], not A1");
}

#[test]
fn directories_are_columns_whatever_their_values() {
    let data = Data::new();
    let values = ["A", "BRK%2FB", "x'y", "a=b", "a b", "ключ", "100%", "A*", "[A]"];
    for (number, value) in values.iter().enumerate() {
        let rows = one(number as f64).project(&[1, 2]).unwrap();
        data.parquet(&format!("d/symbol={value}/x.parquet"), &rows);
    }
    let reader = data.reader(&with(PARQUET, "path = \"d/symbol=*/*.parquet\"")).unwrap();
    for (number, value) in values.iter().enumerate() {
        let symbol = value.replace("%2F", "/");
        let rows = reader.read(&key(&symbol), all(), &["x", "symbol"]).unwrap();
        assert_eq!(numbers(&rows, "x"), [Some(number as f64)], "{value}");
        assert_eq!(rows.batch().column(1).as_string::<i32>().value(0), symbol);
    }
    let entities = reader.entities(&entity_of("symbol = \"text\""), all()).unwrap();
    assert_eq!(entities.len(), values.len());
    assert!(entities.contains(&key("BRK/B")));
}

#[test]
fn only_the_directories_of_the_entity_and_the_days_are_listed() {
    let data = Data::new();
    for symbol in 0..20 {
        for day in 1..=28 {
            let rows = bars(&[("A", &format!("2024-02-{day:02}T10:00:00Z"), f64::from(day))]).project(&[1, 2]).unwrap();
            data.parquet(&format!("d/symbol=S{symbol}/date=2024-02-{day:02}/x.parquet"), &rows);
        }
    }
    let reader = data.reader(&with(PARQUET, "path = \"d/symbol=*/date=*/*.parquet\"")).unwrap();
    let rows = reader.read(&key("S7"), range("2024-02-10", "2024-02-11"), &["x"]).unwrap();
    assert_eq!(numbers(&rows, "x"), [Some(10.0)]);
    // d, d/symbol=S7, and the day with its neighbours.
    assert_eq!(reader.seam.listed.load(Ordering::Relaxed), 5);
    assert_eq!(reader.newest(Some(&key("S7"))).unwrap().unwrap().to_string(), "2024-02-28T10:00:00Z");
    assert!(reader.read(&key("unknown"), all(), &["x"]).unwrap().is_empty());
}

#[test]
fn years_and_months_are_pruned_too() {
    let data = Data::new();
    for month in 1..=12 {
        let rows = bars(&[("A", &format!("2024-{month:02}-15"), f64::from(month))]);
        data.parquet(&format!("year=2024/month={month}/x.parquet"), &rows);
    }
    let reader = data.reader(&with(PARQUET, "path = \"year=*/**/*.parquet\"")).unwrap();
    let rows = reader.read(&key("A"), range("2024-05-10", "2024-05-20"), &["x"]).unwrap();
    assert_eq!(numbers(&rows, "x"), [Some(5.0)]);
    assert!(reader.seam.listed.load(Ordering::Relaxed) < 8);
}

#[test]
fn a_date_that_is_written_out_may_be_that_of_a_snapshot() {
    let data = Data::new();
    data.parquet("date=2030-01-01/x.parquet", &one(1.0));
    let reader = data.reader(&with(PARQUET, "path = \"date=2030-01-01/*.parquet\"")).unwrap();
    let rows = reader.read(&key("A"), range("2024-03-01", "2024-03-02"), &["x"]).unwrap();
    assert_eq!(numbers(&rows, "x"), [Some(1.0)]);
}

#[test]
fn files_are_read_once_in_their_order_and_hidden_ones_never() {
    let data = Data::new();
    data.parquet("d/b.parquet", &one(2.0));
    data.parquet("d/a.parquet", &one(1.0));
    data.parquet("d/deep/er/c.parquet", &one(3.0));
    data.text("d/_SUCCESS", "");
    data.text("d/.half.parquet", "PAR1");
    data.text("d/_temporary/0/half.parquet", "PAR1");
    let reader = data.reader(&with(PARQUET, "path = [\"d/**/*.parquet\", \"d/a.parquet\"]")).unwrap();
    let names: Vec<_> = reader.files().unwrap().iter().map(|file| file.path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["a.parquet", "b.parquet", "c.parquet"]);
    assert_eq!(read_x(&reader), [Some(3.0)], "the last in the order of the files");
}

#[test]
fn a_source_without_files_says_what_is_there() {
    let data = Data::new();
    std::fs::create_dir(data.path("there")).unwrap();
    let error = data.reader(&with(PARQUET, "path = \"there/not/*.parquet\"")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let message = error.to_string();
    let there = data.path("there");
    assert!(
        message.contains("not/*.parquet") && message.contains(&format!("({} is there)", there.display())),
        "{message}"
    );
}

#[test]
fn files_that_are_all_gone_are_no_empty_source() {
    let data = Data::new();
    let path = data.parquet("d/a.parquet", &one(1.0));
    let reader = data.reader(&with(PARQUET, "path = \"d/*.parquet\"")).unwrap();
    std::fs::remove_file(path).unwrap();
    let error = reader.read(&key("A"), all(), &["x"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[test]
fn pushed_rows_have_no_files() {
    let data = Data::new();
    let error = data.reader("kind = \"push\"\ntypes = { x = \"double\" }").unwrap_err();
    assert_eq!(error.to_string(), "source data: its kind is push: only parquet and csv have files");
}

#[test]
#[cfg(target_os = "linux")]
fn a_day_of_a_large_file_reads_a_small_part_of_it() {
    // In a process of its own, since other tests read files too.
    let name = "source::tests::places::bytes_that_a_day_of_a_large_file_reads";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", name, "--ignored", "--nocapture"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let figure =
        |what: &str| -> u64 { said.lines().find_map(|line| line.strip_prefix(what)?.parse().ok()).expect(&said) };
    let (size, read) = (figure("size "), figure("read "));
    assert!(read < size / 10, "{read} of {size} bytes");
}

#[test]
#[ignore = "a process of another test, which is: cargo test --release --all-features --lib a_day_of_a_large_file"]
fn bytes_that_a_day_of_a_large_file_reads() {
    let data = Data::new();
    let rows = 400_000i64;
    let large = batch(vec![
        ("symbol", texts((0..rows).map(|_| "A"))),
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values((0..rows).map(|row| row * 60_000_000)))),
        ("x", doubles((0..rows).map(|row| (row as f64 * 0.7).sin()))),
    ]);
    write_parquet(&data.path("large.parquet"), &large, 10_000);
    let reader = data.reader(&with(PARQUET, "path = \"large.parquet\"")).unwrap();
    let before = bytes_read();
    let day = reader.read(&key("A"), range("1970-05-01", "1970-05-02"), &["x"]).unwrap();
    let read = bytes_read() - before;
    assert_eq!(day.len(), 1_440);
    println!("\nsize {}\nread {read}", std::fs::metadata(data.path("large.parquet")).unwrap().len());
}

/// What this process has read, in bytes.
fn bytes_read() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    io.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok()).unwrap_or_default()
}
