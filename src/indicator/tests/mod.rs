//! Tests of `indicator`.

mod calendar;
mod columns;
mod history;
mod naive;
mod oracle;
mod reference;
mod sum;

use std::time::Duration;

use arrow::array::Float64Array;
use proptest::prelude::*;

use crate::definition::{BollingerOutput, Encode, Indicator, MacdOutput, Over, Period, Prices, Zone};
use crate::indicator::{Columns, compute};

const MINUTE: i64 = 60_000_000_000;
const COLUMNS: [&str; 4] = ["high", "low", "close", "volume"];

fn period(rows: usize) -> Period {
    Period::new(rows as i64).unwrap()
}

fn prices() -> Prices {
    Prices { high: "high".into(), low: "low".into(), close: "close".into() }
}

fn over(minutes: u64) -> Over {
    Over::Time(Duration::from_secs(60 * minutes))
}

/// Every kind with every output, over about so many rows, from 2.
fn every(rows: usize) -> Vec<Indicator> {
    let (column, period, prices) = ("close".to_owned(), period(rows), prices());
    let mut all = vec![
        Indicator::Sma { column: column.clone(), period },
        Indicator::Ema { column: column.clone(), period },
        Indicator::RollingStd { column: column.clone(), period },
        Indicator::Zscore { column: column.clone(), period },
        Indicator::Rsi { column: column.clone(), period },
        Indicator::Atr { prices: prices.clone(), period },
        Indicator::AtrPct { prices: prices.clone(), period },
        Indicator::Adx { prices: prices.clone(), period },
        Indicator::Vwap { prices, volume: "volume".into(), period },
        Indicator::RealisedVolatility { column: column.clone(), period, annualise: None },
        Indicator::RealisedVolatility { column: column.clone(), period, annualise: Some(252.0) },
        Indicator::RollingMin { column: column.clone(), period },
        Indicator::RollingMax { column: column.clone(), period },
        Indicator::Rank { column: column.clone(), period },
        Indicator::Lag { column: column.clone(), bars: period },
        Indicator::Spread { column: "high".into(), minus: "low".into() },
    ];
    for over in [over(rows as u64), Over::Bars(period)] {
        all.push(Indicator::LogReturn { column: column.clone(), over });
        all.extend([true, false].map(|relative| Indicator::Change { column: column.clone(), over, relative }));
    }
    all.extend([MacdOutput::Macd, MacdOutput::Signal, MacdOutput::Histogram].map(|output| {
        let slow = self::period(rows + 3);
        Indicator::Macd { column: column.clone(), fast: period, slow, signal: self::period(rows - 1), output }
    }));
    let bands = [
        BollingerOutput::Upper,
        BollingerOutput::Middle,
        BollingerOutput::Lower,
        BollingerOutput::PercentB,
        BollingerOutput::Width,
    ];
    all.extend(bands.map(|output| Indicator::Bollinger { column: column.clone(), period, width: 1.5, output }));
    for encode in [Encode::Sin, Encode::Cos, Encode::Fraction] {
        let zone = Zone::new("America/Bogota").unwrap();
        all.push(Indicator::TimeOfDay { encode, zone: zone.clone() });
        all.push(Indicator::DayOfWeek { encode, zone });
    }
    all
}

/// One row: minutes since the one before it, then high, low, close and volume.
type Row = (i64, [Option<f64>; 4]);

/// Bars with gaps and nulls, that stand still at times, and of which some have no volume.
fn bars(rows: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Row>> {
    let step = prop_oneof![5 => Just(1i64), 1 => 2..40i64];
    let moved = prop_oneof![1 => Just(0.0), 4 => -3.0..3.0f64];
    let volume = prop_oneof![1 => Just(0.0), 3 => (1..1_000i32).prop_map(f64::from)];
    let null = proptest::array::uniform4(proptest::bool::weighted(0.04));
    let row = (step, moved, 0.0..1.0f64, volume, null);
    proptest::collection::vec(row, rows).prop_map(|rows| {
        let mut price: f64 = 100.0;
        rows.into_iter()
            .map(|(step, moved, range, volume, null)| {
                price = (price + moved).max(1.0);
                let values = [price + range, price - range / 2.0, price, volume];
                let mut nulls = null.into_iter();
                (step, values.map(|value| (nulls.next() != Some(true)).then_some(value)))
            })
            .collect()
    })
}

/// The times and columns of bars.
fn columns_of(bars: &[Row]) -> (Vec<i64>, [Vec<Option<f64>>; 4]) {
    let mut minute = 29_000_000;
    let times = bars.iter().map(|(step, _)| {
        minute += step;
        minute * MINUTE
    });
    (times.collect(), [0, 1, 2, 3].map(|column| bars.iter().map(|(_, values)| values[column]).collect()))
}

fn rows_of(bars: &[Row]) -> Columns {
    let (times, columns) = columns_of(bars);
    let named = COLUMNS.iter().zip(columns);
    named.fold(Columns::new(times).unwrap(), |rows, (name, values)| rows.with(*name, &Float64Array::from(values)))
}

/// Rows a minute apart with one column, `close`.
fn closes(values: &[f64]) -> Columns {
    let times: Vec<i64> = (0..values.len() as i64).map(|minute| minute * MINUTE).collect();
    Columns::new(times).unwrap().with("close", &Float64Array::from(values.to_vec()))
}

fn values(indicator: &Indicator, rows: &Columns) -> Vec<Option<f64>> {
    compute(indicator, rows).unwrap().iter().collect()
}

/// Their bits, which tell apart what `==` does not.
fn bits(values: &[Option<f64>]) -> Vec<Option<u64>> {
    values.iter().map(|value| value.map(f64::to_bits)).collect()
}

/// Numbers that are the same on every machine, from -1 to 1.
fn noise(seed: u64) -> impl Iterator<Item = f64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    })
}
