//! Files that change while they are read, and damaged ones.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::error::ErrorKind;

fn one(value: f64) -> RecordBatch {
    bars(&[("A", "2024-03-01T10:00:00Z", value)])
}

/// A reader of two files, one of which is changed by `change` after each of the first `times` reads of it.
fn changed(data: &Data, times: usize, change: impl Fn(&Path) + Send + Sync + 'static) -> Reader {
    let reader = data.reader(&with(PARQUET, "path = \"d/*.parquet\"\n")).unwrap();
    let so_far = AtomicUsize::new(0);
    let mut reader = reader;
    reader.seam.after_reading = Some(Box::new(move |path| {
        if path.ends_with("b.parquet") && so_far.fetch_add(1, Ordering::Relaxed) < times {
            change(path);
        }
    }));
    reader
}

fn replace(path: &Path) {
    let other = path.with_extension("new");
    write_parquet(&other, &bars(&[("A", "2024-03-01T10:00:00Z", 7.0), ("A", "2024-03-02T10:00:00Z", 8.0)]), 10);
    std::fs::rename(other, path).unwrap();
}

#[test]
fn how_far_a_file_reaches_is_asked_again_only_when_it_changed() {
    let data = Data::new();
    data.parquet("d/a.parquet", &one(1.0));
    let path = data.parquet("d/b.parquet", &one(2.0));
    let reader = data.reader(&with(PARQUET, "path = \"d/*.parquet\"\n")).unwrap();
    let newest = || reader.newest(None).unwrap().unwrap().to_string();
    let asked = || reader.seam.asked.load(Ordering::Relaxed);
    assert_eq!((newest(), newest(), asked()), ("2024-03-01T10:00:00Z".into(), "2024-03-01T10:00:00Z".into(), 2));
    replace(&path);
    assert_eq!((newest(), newest(), asked()), ("2024-03-02T10:00:00Z".into(), "2024-03-02T10:00:00Z".into(), 3));
    // Of one entity it is another question.
    assert_eq!((reader.newest(Some(&key("B"))).unwrap(), asked()), (None, 5));
    assert_eq!((newest(), asked()), ("2024-03-02T10:00:00Z".into(), 5));
}

#[test]
fn a_file_that_was_replaced_is_read_again() {
    let data = Data::new();
    data.parquet("d/a.parquet", &one(1.0));
    data.parquet("d/b.parquet", &one(2.0));
    assert_eq!(read_x(&changed(&data, 1, replace)), [Some(7.0), Some(8.0)]);
}

#[test]
fn a_file_that_vanished_is_not_read() {
    let data = Data::new();
    data.parquet("d/a.parquet", &one(1.0));
    data.parquet("d/b.parquet", &one(2.0));
    assert_eq!(read_x(&changed(&data, 1, |path| std::fs::remove_file(path).unwrap())), [Some(1.0)]);
}

#[test]
fn a_file_that_keeps_changing_is_unavailable() {
    let data = Data::new();
    data.parquet("d/a.parquet", &one(1.0));
    data.parquet("d/b.parquet", &one(2.0));
    let reader = changed(&data, usize::MAX, replace);
    let error = reader.read(&key("A"), all(), &["x"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("b.parquet changed each of 3 times"), "{error}");
}

#[test]
fn a_file_that_grew_is_read_again() {
    let data = Data::new();
    data.text("a.csv", "symbol,ts,x\nA,2024-03-01,1\n");
    let mut reader = data.reader(&with(CSV, "path = \"a.csv\"")).unwrap();
    let done = AtomicUsize::new(0);
    reader.seam.after_reading = Some(Box::new(move |path| {
        if done.fetch_add(1, Ordering::Relaxed) == 0 {
            OpenOptions::new().append(true).open(path).unwrap().write_all(b"A,2024-03-02,2\n").unwrap();
        }
    }));
    assert_eq!(read_x(&reader), [Some(1.0), Some(2.0)]);
}

#[test]
fn a_damaged_file_is_named_and_nothing_is_returned() {
    let data = Data::new();
    data.parquet("d/a.parquet", &one(1.0));
    let reader = data.reader(&with(PARQUET, "path = \"d/*.parquet\"")).unwrap();
    let whole = std::fs::read(data.path("d/a.parquet")).unwrap();
    for torn in [&whole[..whole.len() / 2], &whole[..whole.len() - 1], b"".as_slice(), b"PAR1".as_slice()] {
        std::fs::write(data.path("d/b.parquet"), torn).unwrap();
        let error = reader.read(&key("A"), all(), &["x"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        let message = error.to_string();
        assert!(message.contains("d/b.parquet") && !message.contains("/fd/"), "{message}");
    }
}

#[test]
fn readers_of_many_threads_share_one() {
    let data = Data::new();
    data.parquet("d/a.parquet", &one(1.0));
    let reader = data.reader(&with(PARQUET, "path = \"d/*.parquet\"")).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| (0..20).for_each(|_| assert_eq!(read_x(&reader), [Some(1.0)])));
        }
    });
}
