//! The reader against real market data with its real defects, where that lies beside the checkout.

use super::*;

/// A reader of a file of real data, or nothing, and a word about it, where there is none.
fn real(data: &Data, file: &str, lines: &str) -> Option<Reader> {
    let path = crate::checkout::path("../shared/data").join(file);
    if !path.is_file() {
        println!("not compared with real data: there is no {}", path.display());
        return None;
    }
    let lines = format!("kind = \"parquet\"\npath = \"{}\"\n{lines}", path.display());
    Some(data.reader(&lines).unwrap())
}

#[test]
fn ticks_of_one_time_are_one_row() {
    let data = Data::new();
    let Some(reader) = real(&data, "ticks_fx_oanda_2014.parquet", "event_time = \"ts\"") else { return };
    let rows: Vec<_> =
        ["EURUSD", "NZDUSD"].map(|symbol| reader.read(&key(symbol), all(), &["bid"]).unwrap().len()).into();
    assert_eq!(rows.iter().sum::<usize>(), 990_602 - 11_537);
    assert_eq!(reader.entities(&entity_of("symbol = \"text\""), all()).unwrap().len(), 2);
}

#[test]
fn a_price_below_nothing_is_what_the_definition_says() {
    let data = Data::new();
    let lines = "event_time = \"obs_date\"\nkeys = {}\ncolumns = { wti = \"WTI_SPOT\" }\n\
                 layout = { long = { name = \"series\", value = \"value\" } }\n";
    let Some(reader) = real(&data, "macro_daily.parquet", lines) else { return };
    let day = range("2020-04-20", "2020-04-21");
    assert_eq!(numbers(&reader.read(&key("x"), day, &["wti"]).unwrap(), "wti"), [Some(-36.98)]);
    let lines = format!("{lines}valid = {{ wti = {{ min = 0.0 }} }}");
    let error = real(&data, "macro_daily.parquet", &lines).unwrap().read(&key("x"), day, &["wti"]).unwrap_err();
    assert!(error.to_string().contains("wti of any entity is -36.98 at 2020-04-20T00:00:00Z"), "{error}");
}

#[test]
fn a_lost_decimal_point_is_a_null() {
    let data = Data::new();
    let lines = "event_time = \"obs_date\"\nkeys = {}\ncolumns = { mxn = \"fxrt_spot_usdmxn_mex_d_usdmxn\" }\n\
                 layout = { long = { name = \"series\", value = \"value\" } }\n\
                 valid = { mxn = { max = 100.0, on_violation = \"null\" } }";
    let Some(reader) = real(&data, "macro_colombia_daily_20260709.parquet", lines) else { return };
    let rows = reader.read(&key("x"), range("2026-01-27", "2026-07-08"), &["mxn"]).unwrap();
    assert_eq!(numbers(&rows, "mxn").iter().filter(|value| value.is_none()).count(), 56);
}

#[test]
fn one_symbol_of_two_vendors_is_two_entities() {
    let data = Data::new();
    let Some(reader) = real(&data, "bars_1m_fx_lean_2014.parquet", "event_time = \"ts\"\non_duplicate = \"error\"")
    else {
        return;
    };
    let entities = reader.entities(&entity_of("symbol = \"text\", vendor = \"text\""), all()).unwrap();
    let rows: usize = entities.iter().map(|entity| reader.read(entity, all(), &["bid_close"]).unwrap().len()).sum();
    assert_eq!(rows, 77_862);
    assert!(reader.read(&key("EURUSD"), all(), &["bid_close"]).is_err(), "without the vendor the bars collide");
}

#[test]
fn bars_are_known_when_they_close() {
    let data = Data::new();
    let lines = "event_time = \"ts\"\ncreated_time = \"created_at\"\nlabel = { at = \"open\", bar = \"5m\" }";
    let Some(reader) = real(&data, "bars_5m_usdcop_20251205.parquet", lines) else { return };
    let entity = key("USD/COP");
    assert_eq!(reader.newest(Some(&entity)).unwrap().unwrap().to_string(), "2025-12-05T14:15:00Z");
    let rows = reader.read(&entity, all(), &["close"]).unwrap();
    assert_eq!(rows.len(), 91_179);
    let early = rows.times().iter().zip(rows.created().unwrap()).filter(|(at, seen)| seen.unwrap() < **at).count();
    assert_eq!(early, 5, "rows that were stored while their bar was still forming");
}
