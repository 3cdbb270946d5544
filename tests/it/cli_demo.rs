//! `larder demo`: the main job on made-up and on real bars.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, TimestampNanosecondArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampNanosecondType};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::cli::{Larder, code, json, stderr, walk};

const FEATURES: [&str; 7] = ["log_ret_5m", "log_ret_1h", "log_ret_4h", "rsi_9", "atr_pct", "adx_14", "close_z_20"];

/// Of each symbol: Friday until 22:00, two hours of Sunday, Monday and Tuesday.
const ROWS: usize = 22 * 60 + 2 * 60 + 2 * 1440;

fn outcomes<'a>(report: &'a Value, which: &str) -> Vec<&'a str> {
    report["symbols"].as_array().unwrap().iter().map(|symbol| symbol[which].as_str().unwrap()).collect()
}

fn read(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

#[test]
fn a_first_demo_computes_and_then_hits() {
    let larder = Larder::new();
    let report = larder.demo(&[]);
    assert_eq!(report["cold_hit_ratio"], 0.0);
    assert_eq!(report["warm_hit_ratio"], 1.0);
    assert_eq!(report["objective"], 0.95);
    assert_eq!(outcomes(&report, "cold_outcome"), ["miss", "miss"]);
    assert_eq!(outcomes(&report, "warm_outcome"), ["hit", "hit"]);
    assert_eq!(report["blocks"], larder.blocks().len());
    assert_eq!(report["blocks"], 2 * 5);
    assert_eq!(report["empty_blocks"], 2, "the Saturday of each symbol");
    let bytes: u64 = larder.blocks().iter().map(|path| path.metadata().unwrap().len()).sum();
    assert_eq!(report["bytes"], bytes);
    let symbols = report["symbols"].as_array().unwrap();
    assert_eq!(symbols.iter().map(|symbol| symbol["bytes"].as_u64().unwrap()).sum::<u64>(), bytes);
    assert!(symbols.iter().all(|symbol| symbol["rows"] == ROWS));
    assert!(Path::new(report["manifest"].as_str().unwrap()).is_file());
}

#[test]
fn a_second_demo_hits_from_the_start_and_a_fresh_one_does_not() {
    let larder = Larder::with_demo();
    let again = larder.demo(&[]);
    assert_eq!((&again["cold_hit_ratio"], &again["warm_hit_ratio"]), (&1.0.into(), &1.0.into()));
    let (text, _) = larder.text("demo --symbols 2");
    assert!(text.contains("cached before") && text.contains("--fresh"), "{text}");
    larder.json("invalidate --view demo_features --entity symbol=EURUSD --start 2024-03-10 --end 2024-03-11");
    let (text, _) = larder.text("demo --symbols 2");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("of the first requests 1 found all in the cache, 1 a part and 0 nothing"), "{text}");
    larder.json("invalidate --view demo_features");
    let (text, _) = larder.text("demo --symbols 2");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("the first requests found nothing in the cache and had to compute"), "{text}");
    assert!(!text.contains("new cache"), "{text}");
    let fresh = larder.demo(&["--fresh"]);
    assert_eq!((&fresh["cold_hit_ratio"], &fresh["warm_hit_ratio"]), (&0.0.into(), &1.0.into()));
}

/// Two days of minute bars of one symbol whose price rises by `step` a minute.
fn write_bars(path: &Path, step: f64) {
    let day = 19_790 * 86_400_000_000_000;
    let times: Vec<i64> = (0..2880).map(|minute| day + minute * 60_000_000_000).collect();
    let prices: ArrayRef =
        Arc::new(Float64Array::from_iter_values((0..2880).map(|minute| 100.0 + step * f64::from(minute))));
    let mut columns: Vec<(&str, ArrayRef)> = vec![("ts", Arc::new(TimestampNanosecondArray::from(times)))];
    columns.extend(["open", "high", "low", "close"].map(|name| (name, Arc::clone(&prices))));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn other_bars_never_get_the_values_of_the_first() {
    let larder = Larder::new();
    let mut exported = Vec::new();
    for step in [0.01, 0.02] {
        write_bars(&larder.path("EURUSD.parquet"), step);
        let (report, _) = larder.json("demo --bars EURUSD.parquet --export out");
        assert_eq!((&report["cold_hit_ratio"], &report["warm_hit_ratio"]), (&0.0.into(), &1.0.into()));
        assert_eq!(report["symbols"][0]["symbol"], "EURUSD");
        exported.push(read(&larder.path("out/EURUSD.parquet")));
    }
    assert_eq!(exported[0].column_by_name("event_timestamp"), exported[1].column_by_name("event_timestamp"));
    assert_ne!(exported[0].column_by_name("log_ret_1h"), exported[1].column_by_name("log_ret_1h"));
}

#[test]
fn its_requests_count_towards_the_service_level() {
    let larder = Larder::with_demo();
    let (slo, status) = larder.json("slo");
    assert_eq!(slo["budget"]["requests"], 6);
    assert_eq!((&slo["outcomes"]["miss"], &slo["outcomes"]["hit"]), (&2.into(), &4.into()));
    assert_eq!((slo["state"].as_str(), status), (Some("too_few_requests"), 0));
    assert_eq!(slo["summary"], "too few requests to judge: 6 of 100");
    let (text, _) = larder.text("slo");
    assert!(
        text.contains("too few requests to judge: 6 of 100") && text.contains("2 misses in 6 requests\n"),
        "{text}"
    );
    let (stats, _) = larder.json("stats");
    assert_eq!(stats["views"][0]["requests"], 6);
    assert_eq!(stats["views"][0]["versions"][0]["version"], "1");
}

#[test]
fn exported_files_hold_the_symbol_the_time_and_the_features() {
    let larder = Larder::new();
    let report = larder.demo(&["--export", "out/features"]);
    assert_eq!(report["exported"], "out/features");
    for symbol in report["symbols"].as_array().unwrap() {
        let name = symbol["symbol"].as_str().unwrap();
        let batch = read(&larder.path(&format!("out/features/{name}.parquet")));
        let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names[..2], ["symbol", "event_timestamp"]);
        assert_eq!(names[2..], FEATURES);
        assert_eq!(batch.num_rows(), ROWS);
        assert!(batch.column(0).as_string::<i32>().iter().all(|value| value == Some(name)));
        let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        assert_eq!(*batch.column(1).data_type(), utc);
        assert!(batch.column(1).as_primitive::<TimestampNanosecondType>().values().is_sorted());
    }
    let parts = std::fs::read_dir(larder.path("out/features")).unwrap().count();
    assert_eq!(parts, 2, "nothing half written is left");
}

#[test]
fn nobody_but_the_owner_can_read_the_cache() {
    let larder = Larder::with_demo();
    larder.json("stats");
    walk(&larder.cache(), &mut |path| {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        let wanted = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, wanted, "{} is {mode:o}", path.display());
    });
}

#[test]
fn bars_that_are_none_are_named() {
    let larder = Larder::new();
    std::fs::write(larder.path("bars.parquet"), "no bars").unwrap();
    for (file, status) in [("bars.parquet", 2), ("missing.parquet", 1)] {
        let output = larder.run(["demo", "--bars", file]);
        assert_eq!(code(&output), status);
        assert!(stderr(&output).starts_with("error: bars file ") && stderr(&output).contains(file));
        assert_eq!(stderr(&output).lines().count(), 1);
    }
    assert!(!larder.cache().exists());
}

/// Starts a demo that takes seconds, sends SIGINT once it has published, and waits for its end.
fn interrupted(larder: &Larder) -> Output {
    let mut command = larder.command(["demo", "--json", "--symbols", "40", "--days", "30"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while larder.blocks_or_none().is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn ctrl_c_leaves_a_sound_cache_from_which_the_next_demo_goes_on() {
    let larder = Larder::new();
    let output = interrupted(&larder);
    assert_eq!(code(&output), 130, "{}", stderr(&output));
    assert_eq!(json(&output)["error"]["kind"], "interrupted");
    assert!(stderr(&output).contains("of 40 symbols are in the cache"), "{}", stderr(&output));
    let (verified, status) = larder.json("verify");
    assert_eq!((verified["findings"].as_array().unwrap().len(), status), (0, 0), "{verified}");
    assert!(verified["files"].as_u64().unwrap() > 0);
    let half_written = std::fs::read_dir(larder.cache().join("tmp")).unwrap().count();
    assert_eq!(half_written, 0);
    let (again, _) = larder.json("demo --symbols 40 --days 30");
    assert!(again["cold_hit_ratio"].as_f64().unwrap() > 0.0);
    assert_eq!(again["warm_hit_ratio"], 1.0);
}

impl Larder {
    fn blocks_or_none(&self) -> Vec<PathBuf> {
        if self.cache().join("blocks/view=demo_features").exists() { self.blocks() } else { Vec::new() }
    }
}

/// Real bars and TA-Lib's output over them lie beside the project, where there are any.
fn shared(file: &str) -> Option<PathBuf> {
    let path = crate::checkout::path("../shared").join(file);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path.canonicalize().unwrap())
}

type ByTime = HashMap<i64, f64>;

/// A column's valid values by time.
fn values(batch: &RecordBatch, time: &str, column: &str) -> ByTime {
    let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let times = cast(batch.column_by_name(time).unwrap(), &nanos).unwrap();
    let times = times.as_primitive::<TimestampNanosecondType>().values().clone();
    let values = batch.column_by_name(column).unwrap().as_primitive::<Float64Type>().clone();
    times.iter().zip(values.iter()).filter_map(|(time, value)| Some((*time, value?))).collect()
}

/// Compares the exported indicators with TA-Lib's where TA-Lib has any; returns how many were compared.
fn compare(exported: &Path, reference: &RecordBatch, symbol: &str) -> usize {
    let symbols = cast(reference.column_by_name("symbol").unwrap(), &DataType::Utf8).unwrap();
    let mine = symbols.as_string::<i32>().iter().map(|value| Some(value == Some(symbol))).collect();
    let reference = arrow::compute::filter_record_batch(reference, &mine).unwrap();
    let exported = read(exported);
    let mut compared = 0;
    for (ours, theirs) in [("rsi_9", "rsi_9"), ("atr_pct", "atr_pct_14"), ("adx_14", "adx_14")] {
        let got = values(&exported, "event_timestamp", ours);
        for (time, wanted) in values(&reference, "ts", theirs) {
            let value = got.get(&time).unwrap_or_else(|| panic!("{symbol} has no {ours} at {time}"));
            assert!(
                (value - wanted).abs() <= 1e-9 * wanted.abs(),
                "{symbol} {ours} at {time}: {value} is not {wanted}"
            );
            compared += 1;
        }
    }
    compared
}

fn demo_of_real_bars(bars: &str, reference: &str, compared: &[(&str, &str)], symbols: usize) {
    let (Some(bars), Some(reference)) = (shared(bars), shared(reference)) else { return };
    let larder = Larder::new();
    let output = larder.run(["demo", "--json", "--export", "out", "--bars", bars.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let report = json(&output);
    assert_eq!((&report["cold_hit_ratio"], &report["warm_hit_ratio"]), (&0.0.into(), &1.0.into()));
    assert_eq!(report["symbols"].as_array().unwrap().len(), symbols);
    let reference = read(&reference);
    for (symbol, file) in compared {
        let count = compare(&larder.path("out").join(file), &reference, symbol);
        assert!(count > 20_000, "only {count} values of {symbol} were compared");
    }
    let (verified, status) = larder.json("verify");
    assert_eq!(status, 0, "{verified}");
}

#[test]
fn real_crypto_bars_hit_and_their_indicators_are_those_of_talib() {
    demo_of_real_bars(
        "data/bars_5m_crypto_binance_2021.parquet",
        "reference/talib_crypto_5m.parquet",
        &[("ETH/USDT", "ETH_USDT.parquet"), ("ADA/USDT", "ADA_USDT.parquet")],
        14,
    );
}

#[test]
fn real_sessions_with_nights_and_holidays_hit_and_their_indicators_are_those_of_talib() {
    demo_of_real_bars(
        "data/bars_5m_usdcop_20251205.parquet",
        "reference/talib_usdcop_5m.parquet",
        &[("USD/COP", "USD_COP.parquet")],
        1,
    );
}
