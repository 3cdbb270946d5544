//! What times mean.

use arrow::array::{
    Date32Array, Int64Array, TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
};
use proptest::prelude::*;

use super::*;

/// A file with one column of times.
fn file(data: &Data, values: ArrayRef) {
    let numbers = doubles((0..values.len()).map(|row| row as f64));
    let symbols = texts((0..values.len()).map(|_| "A"));
    data.parquet("a.parquet", &batch(vec![("symbol", symbols), ("ts", values), ("x", numbers)]));
}

fn read(data: &Data, lines: &str) -> Result<Vec<String>> {
    let reader = data.reader(&with(PARQUET, &format!("path = \"a.parquet\"\n{lines}")))?;
    Ok(times(&reader.read(&key("A"), all(), &["x"])?))
}

#[test]
fn every_way_to_write_a_time_is_the_same_instant() {
    let at = ns("2024-03-01T09:30:00Z");
    let every: Vec<(ArrayRef, &str)> = vec![
        (Arc::new(TimestampNanosecondArray::from(vec![at])), ""),
        (Arc::new(TimestampMicrosecondArray::from(vec![at / 1_000])), ""),
        (Arc::new(TimestampMillisecondArray::from(vec![at / 1_000_000])), ""),
        (Arc::new(TimestampNanosecondArray::from(vec![at]).with_timezone("UTC")), "time_zone = \"America/Bogota\""),
        (Arc::new(TimestampMicrosecondArray::from(vec![at / 1_000]).with_timezone("America/New_York")), ""),
        (Arc::new(TimestampSecondArray::from(vec![at / 1_000_000_000])), "time_unit = \"s\""),
        (Arc::new(Int64Array::from(vec![at / 1_000_000_000])), "time_unit = \"s\""),
        (Arc::new(Int64Array::from(vec![at / 1_000_000])), "time_unit = \"ms\""),
        (Arc::new(Int64Array::from(vec![at / 1_000])), "time_unit = \"us\""),
        (Arc::new(Int64Array::from(vec![at])), "time_unit = \"ns\""),
        (texts(["2024-03-01T09:30:00Z"]), ""),
        (texts(["2024-03-01 09:30:00+00"]), "time_zone = \"America/Bogota\""),
        (texts(["2024-03-01T04:30:00-05:00"]), ""),
        (texts(["2024-03-01 04:30:00"]), "time_zone = \"America/Bogota\""),
        (texts(["2024-03-01T04:30"]), "time_zone = \"America/New_York\""),
        (Arc::new(TimestampNanosecondArray::from(vec![at - 5 * 3_600_000_000_000])), "time_zone = \"America/Bogota\""),
    ];
    for (values, lines) in every {
        let data = Data::new();
        let what = format!("{} {lines}", values.data_type());
        file(&data, values);
        assert_eq!(read(&data, lines).unwrap(), ["2024-03-01T09:30:00Z"], "{what}");
        // The same where the engine is to compare it.
        let reader = data.reader(&with(PARQUET, &format!("path = \"a.parquet\"\n{lines}"))).unwrap();
        let between = |start: i64, end: i64| {
            let range = TimeRange::new(Timestamp::from_ns(start), Timestamp::from_ns(end)).unwrap();
            reader.read(&key("A"), range, &["x"]).unwrap().len()
        };
        assert_eq!([between(at, at + 1), between(at - 1, at), between(at + 1, at + 2)], [1, 0, 0], "{what}");
        assert_eq!(reader.newest(None).unwrap().unwrap().as_ns(), at, "{what}");
    }
}

#[test]
fn nanoseconds_are_kept() {
    for zone in [None, Some("UTC")] {
        let data = Data::new();
        file(&data, Arc::new(TimestampNanosecondArray::from(vec![1_700_000_000_123_456_789]).with_timezone_opt(zone)));
        assert_eq!(read(&data, "").unwrap(), ["2023-11-14T22:13:20.123456789Z"]);
    }
    let data = Data::new();
    file(&data, texts(["2023-11-14 22:13:20.123456789"]));
    assert_eq!(read(&data, "").unwrap(), ["2023-11-14T22:13:20.123456789Z"]);
}

#[test]
fn a_row_labelled_by_the_open_is_known_at_the_close() {
    let data = Data::new();
    data.parquet("a.parquet", &bars(&[("A", "2024-03-01T09:55:00Z", 1.0), ("A", "2024-03-01T10:00:00Z", 2.0)]));
    let reader = data.reader(&with(PARQUET, "path = \"a.parquet\"\nlabel = { at = \"open\", bar = \"5m\" }")).unwrap();
    let rows = reader.read(&key("A"), range("2024-03-01T10:00:00Z", "2024-03-01T10:05:00Z"), &["x"]).unwrap();
    assert_eq!((times(&rows), numbers(&rows, "x")), (vec!["2024-03-01T10:00:00Z".to_owned()], vec![Some(1.0)]));
    assert_eq!(reader.newest(None).unwrap().unwrap().to_string(), "2024-03-01T10:05:00Z");
}

#[test]
fn a_date_is_the_first_instant_of_its_day() {
    let data = Data::new();
    // Clocks in São Paulo were set forward at midnight: that day began at one o'clock.
    let day = |text: &str| (ns(text) / 86_400_000_000_000) as i32;
    file(&data, Arc::new(Date32Array::from(vec![day("2018-11-03"), day("2018-11-04")])));
    assert_eq!(
        read(&data, "time_zone = \"America/Sao_Paulo\"").unwrap(),
        ["2018-11-03T03:00:00Z", "2018-11-04T03:00:00Z"]
    );
    assert_eq!(
        read(&data, "time_zone = \"America/Bogota\"").unwrap(),
        ["2018-11-03T05:00:00Z", "2018-11-04T05:00:00Z"]
    );
}

#[test]
fn a_time_that_a_clock_shows_twice_is_the_first() {
    let data = Data::new();
    let wall = |text: &str| ns(text) / 1_000;
    let walls = ["2024-11-03T00:30:00Z", "2024-11-03T01:30:00Z", "2024-11-03T02:30:00Z"];
    file(&data, Arc::new(TimestampMicrosecondArray::from_iter_values(walls.map(wall))));
    let new_york = read(&data, "time_zone = \"America/New_York\"").unwrap();
    assert_eq!(new_york, ["2024-11-03T04:30:00Z", "2024-11-03T05:30:00Z", "2024-11-03T07:30:00Z"]);
    let bogota = read(&data, "time_zone = \"America/Bogota\"").unwrap();
    assert_eq!(bogota, ["2024-11-03T05:30:00Z", "2024-11-03T06:30:00Z", "2024-11-03T07:30:00Z"]);
}

#[test]
fn a_time_that_no_clock_showed_is_an_error() {
    let data = Data::new();
    data.parquet("a.parquet", &bars(&[("A", "2024-03-10T02:30:00Z", 1.0)]));
    let error = read(&data, "time_zone = \"America/New_York\"").unwrap_err().to_string();
    assert!(error.contains("a.parquet: 2024-03-10T02:30:00 does not exist in America/New_York"), "{error}");
    assert_eq!(read(&data, "time_zone = \"America/Bogota\"").unwrap(), ["2024-03-10T07:30:00Z"]);
}

#[test]
fn a_number_is_a_time_only_where_its_unit_is_said() {
    let data = Data::new();
    file(&data, Arc::new(Int64Array::from(vec![1_700_000_000])));
    let error = read(&data, "").unwrap_err().to_string();
    assert!(error.contains("column ts") && error.contains("time_unit"), "{error}");
}

#[test]
fn text_that_is_no_time_is_an_error_that_shows_it() {
    for bad in ["yesterday", "03/01/2024", "1709285400", "", "2024-03-01T10:00:00[America/Bogota]"] {
        let data = Data::new();
        file(&data, texts([bad]));
        let error = read(&data, "").unwrap_err().to_string();
        assert!(error.contains(&format!("{bad:?} is no time")), "{error}");
    }
}

proptest! {
    /// The engine's comparison of readings of a clock is the same as converting each and comparing instants.
    #[test]
    fn a_range_of_readings_is_the_range_of_their_instants(
        (zone, set) in prop::sample::select(vec![
            ("America/New_York", "2024-11-03T06:00:00Z"),
            ("America/New_York", "2024-03-10T07:00:00Z"),
            ("America/Sao_Paulo", "2018-02-18T02:00:00Z"),
            ("America/Sao_Paulo", "2018-11-04T03:00:00Z"),
            ("Australia/Lord_Howe", "2024-04-06T15:00:00Z"),
            ("Pacific/Apia", "2011-12-30T10:00:00Z"),
            ("UTC", "2024-03-01T00:00:00Z"),
        ]),
        minutes in prop::collection::vec(-120i64..120, 1..30),
        from in -120i64..120,
        length in 1i64..120,
    ) {
        let minute = 60_000_000_000;
        let zone = crate::definition::Zone::new(zone).unwrap();
        let clock = super::super::moment::Clockface::new(&zone, None);
        let found = super::super::found::Found::new("TIMESTAMP_NS");
        // What the clock showed when it was set.
        let offset = zone.rules().to_offset(jiff::Timestamp::from_nanosecond((ns(set) - 1).into()).unwrap()).seconds();
        let wall = ns(set) + i64::from(offset) * 1_000_000_000;
        let readings: Vec<i64> = minutes.iter().map(|at| wall + at * minute).collect();
        let (start, end) = (ns(set) + from * minute, ns(set) + (from + length) * minute);
        let condition = clock.between("t", &found, start, end).unwrap();
        for reading in readings {
            let values: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![reading]));
            let Ok(instant) = clock.instants(&values, &found) else { continue };
            let sql = format!("SELECT {condition} FROM (SELECT make_timestamp_ns({reading}) AS t)");
            let mut inside = None;
            super::super::engine::lease().unwrap().query(&sql, |batch| {
                inside = Some(batch.column(0).as_boolean().value(0));
                Ok::<_, std::convert::Infallible>(())
            }).unwrap().unwrap();
            prop_assert_eq!(inside, Some(start <= instant.value(0) && instant.value(0) < end), "{} {}", sql, instant.value(0));
        }
    }
}
