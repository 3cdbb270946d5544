//! Against TA-Lib's own output over real bars.

use std::path::PathBuf;

use arrow::array::Float64Array;
use duckdb::Connection;

use super::{COLUMNS, period, prices, values};
use crate::definition::{BollingerOutput, Indicator, MacdOutput, Over};
use crate::indicator::Columns;

const CRYPTO: (&str, &str) = ("data/bars_5m_crypto_binance_2021.parquet", "reference/talib_crypto_5m.parquet");
const PESO: (&str, &str) = ("data/bars_5m_usdcop_20251205.parquet", "reference/talib_usdcop_5m.parquet");

/// Real bars and TA-Lib's output over them lie beside the project, where there are any.
fn shared(file: &str) -> Option<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared").join(file);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path.display().to_string())
}

/// The indicators that TA-Lib has, and the column of each.
fn theirs() -> Vec<(&'static str, Indicator)> {
    let column = || "close".to_owned();
    let macd =
        |output| Indicator::Macd { column: column(), fast: period(12), slow: period(26), signal: period(9), output };
    let bands = |output| Indicator::Bollinger { column: column(), period: period(20), width: 2.0, output };
    vec![
        ("rsi_9", Indicator::Rsi { column: column(), period: period(9) }),
        ("rsi_14", Indicator::Rsi { column: column(), period: period(14) }),
        ("atr_14", Indicator::Atr { prices: prices(), period: period(14) }),
        ("atr_pct_14", Indicator::AtrPct { prices: prices(), period: period(14) }),
        ("adx_14", Indicator::Adx { prices: prices(), period: period(14) }),
        ("sma_20", Indicator::Sma { column: column(), period: period(20) }),
        ("ema_20", Indicator::Ema { column: column(), period: period(20) }),
        ("std_20", Indicator::RollingStd { column: column(), period: period(20) }),
        ("log_ret_1", Indicator::LogReturn { column: column(), over: Over::Bars(period(1)) }),
        ("macd", macd(MacdOutput::Macd)),
        ("macd_signal", macd(MacdOutput::Signal)),
        ("macd_hist", macd(MacdOutput::Histogram)),
        ("bb_upper_20_2", bands(BollingerOutput::Upper)),
        ("bb_middle_20_2", bands(BollingerOutput::Middle)),
        ("bb_lower_20_2", bands(BollingerOutput::Lower)),
    ]
}

/// Columns of numbers in the order of their times.
fn read(query: &str, count: usize) -> Vec<Vec<Option<f64>>> {
    let connection = Connection::open_in_memory().unwrap();
    let mut statement = connection.prepare(query).unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut columns = vec![Vec::new(); count];
    while let Some(row) = rows.next().unwrap() {
        columns.iter_mut().enumerate().for_each(|(at, column)| column.push(row.get(at).unwrap()));
    }
    columns
}

/// Panics unless the values of a symbol are TA-Lib's, and null where TA-Lib's are.
fn assert_talib((bars, reference): (&str, &str), symbol: &str) {
    let (Some(bars), Some(reference)) = (shared(bars), shared(reference)) else { return };
    let theirs = theirs();
    let names: Vec<_> = COLUMNS.into_iter().chain(theirs.iter().map(|(name, _)| *name)).collect();
    let found = read(
        &format!(
            "SELECT {} FROM '{bars}' AS bars JOIN '{reference}' AS talib USING (symbol, ts) WHERE symbol = '{symbol}' \
             ORDER BY ts",
            names.iter().map(|name| if *name == "close" { "bars.close" } else { *name }).collect::<Vec<_>>().join(", "),
        ),
        names.len(),
    );
    let (inputs, reference) = found.split_at(COLUMNS.len());
    assert!(inputs[0].len() > 8_000, "{} rows", inputs[0].len());
    let rows = Columns::new((0..inputs[0].len() as i64).collect::<Vec<_>>()).unwrap();
    let rows = COLUMNS
        .into_iter()
        .zip(inputs)
        .fold(rows, |rows, (name, values)| rows.with(name, &Float64Array::from(values.clone())));
    for ((name, indicator), theirs) in theirs.iter().zip(reference) {
        let mut worst = 0.0f64;
        for (row, (ours, theirs)) in values(indicator, &rows).into_iter().zip(theirs).enumerate() {
            match (ours, *theirs) {
                // A difference of averages is as exact as they are, which is to a part of the price.
                (Some(ours), Some(theirs)) => {
                    let price = inputs[2][row].unwrap();
                    worst = worst.max((ours - theirs).abs() / (theirs.abs() + 1e-5 * price));
                }
                (ours, theirs) => assert_eq!(ours, theirs, "{symbol} {name} row {row}"),
            }
        }
        println!("{symbol} {name}: worst relative deviation {worst:.1e}");
        assert!(worst <= 1e-9, "{symbol} {name}: {worst:e}");
    }
}

#[test]
fn ether_is_what_talib_says() {
    assert_talib(CRYPTO, "ETH/USDT");
}

#[test]
fn ada_is_what_talib_says() {
    assert_talib(CRYPTO, "ADA/USDT");
}

#[test]
fn peso_is_what_talib_says() {
    assert_talib(PESO, "USD/COP");
}
