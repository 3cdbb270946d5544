//! Against each formula written down as plainly as it can be.

use proptest::prelude::*;

use super::{COLUMNS, bars, columns_of, every, rows_of, values};
use crate::definition::{BollingerOutput, Indicator, MacdOutput, Over, Prices};

/// The complete rows up to one of them: times and columns by name.
struct History<'a> {
    times: &'a [i64],
    columns: [Vec<f64>; 4],
}

impl History<'_> {
    fn of(&self, name: &str) -> &[f64] {
        &self.columns[COLUMNS.iter().position(|known| *known == name).unwrap()]
    }

    /// High, low, close.
    fn bars(&self, prices: &Prices) -> Vec<[f64; 3]> {
        let (high, low, close) = (self.of(&prices.high), self.of(&prices.low), self.of(&prices.close));
        high.iter().zip(low).zip(close).map(|((high, low), close)| [*high, *low, *close]).collect()
    }

    /// The row that the last one is compared with.
    fn base(&self, over: Over) -> Option<usize> {
        let last = self.times.len() - 1;
        match over {
            Over::Bars(bars) => last.checked_sub(bars.rows()),
            Over::Time(span) => {
                let span = span.as_nanos() as i64;
                let age = |row: &usize| self.times[last] - self.times[*row];
                (0..last).rev().find(|row| age(row) >= span).filter(|row| age(row) < 2 * span)
            }
        }
    }
}

/// The last `count` values.
fn last(values: &[f64], count: usize) -> Option<&[f64]> {
    values.len().checked_sub(count).map(|first| &values[first..])
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let middle = mean(values);
    let variance = mean(&values.iter().map(|value| (value - middle).powi(2)).collect::<Vec<_>>());
    if values.windows(2).all(|pair| pair[0] == pair[1]) { 0.0 } else { variance.sqrt() }
}

/// The averages of values that keep `1 - share` of the one before, the first being the mean of `count`.
fn smooth(values: &[f64], count: usize, share: f64) -> Vec<f64> {
    let Some(rest) = values.get(count..) else { return Vec::new() };
    let mut average = mean(&values[..count]);
    let mut averages = vec![average];
    for value in rest {
        average = average * (1.0 - share) + value * share;
        averages.push(average);
    }
    averages
}

fn exponential(values: &[f64], count: usize) -> Vec<f64> {
    smooth(values, count, 2.0 / (count as f64 + 1.0))
}

fn wilder(values: &[f64], count: usize) -> Option<f64> {
    smooth(values, count, 1.0 / count as f64).last().copied()
}

fn true_ranges(bars: &[[f64; 3]]) -> Vec<f64> {
    let range = |pair: &[[f64; 3]]| {
        let ([_, _, before], [high, low, _]) = (pair[0], pair[1]);
        high.max(before) - low.min(before)
    };
    bars.windows(2).map(range).collect()
}

fn rsi(values: &[f64], count: usize) -> Option<f64> {
    let moves: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let gain = wilder(&moves.iter().map(|moved| moved.max(0.0)).collect::<Vec<_>>(), count)?;
    let loss = wilder(&moves.iter().map(|moved| (-moved).max(0.0)).collect::<Vec<_>>(), count)?;
    Some(if gain + loss > 0.0 { 100.0 * gain / (gain + loss) } else { 50.0 })
}

/// Wilder's, whose sums begin with one row less than they keep, as in TA-Lib.
fn adx(bars: &[[f64; 3]], count: usize) -> Option<f64> {
    let share = 1.0 / count as f64;
    let moves = bars.windows(2).map(|pair| {
        let (up, down) = (pair[1][0] - pair[0][0], pair[0][1] - pair[1][1]);
        [if up > down { up.max(0.0) } else { 0.0 }, if down > up { down.max(0.0) } else { 0.0 }]
    });
    let (mut sums, mut indices, mut average) = ([0.0; 3], Vec::new(), None);
    for (row, ([up, down], range)) in moves.zip(true_ranges(bars)).enumerate() {
        let keep = if row + 1 < count { 1.0 } else { 1.0 - share };
        sums = [sums[0] * keep + up, sums[1] * keep + down, sums[2] * keep + range];
        if row + 1 < count {
            continue;
        }
        let index =
            (sums[2] > 0.0 && sums[0] + sums[1] > 0.0).then(|| 100.0 * (sums[0] - sums[1]).abs() / (sums[0] + sums[1]));
        average = match (average, index) {
            (None, index) => {
                indices.push(index.unwrap_or(0.0));
                (indices.len() == count).then(|| mean(&indices))
            }
            (Some(average), Some(index)) => Some(average + (index - average) * share),
            (average, None) => average,
        };
    }
    average
}

/// The fast average begins so that both have their first value at one row.
fn macd(values: &[f64], [fast, slow, signal]: [usize; 3], output: MacdOutput) -> Option<f64> {
    let lines = exponential(values.get(slow - fast..)?, fast).into_iter().zip(exponential(values, slow));
    let lines: Vec<f64> = lines.map(|(fast, slow)| fast - slow).collect();
    let signal = exponential(&lines, signal).last().copied()?;
    let line = lines.last().copied()?;
    Some(match output {
        MacdOutput::Macd => line,
        MacdOutput::Signal => signal,
        MacdOutput::Histogram => line - signal,
    })
}

fn bollinger(window: &[f64], width: f64, output: BollingerOutput) -> Option<f64> {
    let (middle, deviation) = (mean(window), deviation(window));
    let (upper, lower) = (middle + width * deviation, middle - width * deviation);
    match output {
        BollingerOutput::Upper => Some(upper),
        BollingerOutput::Middle => Some(middle),
        BollingerOutput::Lower => Some(lower),
        BollingerOutput::PercentB => (deviation > 0.0).then(|| (window.last().unwrap() - lower) / (upper - lower)),
        BollingerOutput::Width => Some((upper - lower) / middle),
    }
}

/// The value of the last row of a history.
fn naive(indicator: &Indicator, history: &History<'_>) -> Option<f64> {
    let of = |name: &str| history.of(name).to_vec();
    let window = |column: &str, count: usize| last(history.of(column), count).map(<[f64]>::to_vec);
    let now = |name: &str| history.of(name).last().copied();
    match indicator {
        Indicator::LogReturn { column, over } => Some((now(column)? / history.of(column)[history.base(*over)?]).ln()),
        Indicator::Change { column, over, relative } => {
            let then = history.of(column)[history.base(*over)?];
            Some(if *relative { now(column)? / then - 1.0 } else { now(column)? - then })
        }
        Indicator::Sma { column, period } => Some(mean(&window(column, period.rows())?)),
        Indicator::Ema { column, period } => exponential(&of(column), period.rows()).last().copied(),
        Indicator::RollingStd { column, period } => Some(deviation(&window(column, period.rows())?)),
        Indicator::Zscore { column, period } => {
            let window = window(column, period.rows())?;
            let deviation = deviation(&window);
            (deviation > 0.0).then(|| (window.last().unwrap() - mean(&window)) / deviation)
        }
        Indicator::Rsi { column, period } => rsi(&of(column), period.rows()),
        Indicator::Atr { prices, period } => wilder(&true_ranges(&history.bars(prices)), period.rows()),
        Indicator::AtrPct { prices, period } => {
            Some(100.0 * wilder(&true_ranges(&history.bars(prices)), period.rows())? / now(&prices.close)?)
        }
        Indicator::Adx { prices, period } => adx(&history.bars(prices), period.rows()),
        Indicator::Macd { column, fast, slow, signal, output } => {
            macd(&of(column), [fast.rows(), slow.rows(), signal.rows()], *output)
        }
        Indicator::Bollinger { column, period, width, output } => {
            bollinger(&window(column, period.rows())?, *width, *output)
        }
        Indicator::Vwap { prices, volume, period } => {
            let volumes = window(volume, period.rows())?;
            let bars = history.bars(prices);
            let bars = &bars[bars.len() - period.rows()..];
            let turnover: f64 = bars.iter().zip(&volumes).map(|(bar, volume)| mean(bar) * volume).sum();
            let volume: f64 = volumes.iter().sum();
            (volume > 0.0).then(|| turnover / volume)
        }
        Indicator::RealisedVolatility { column, period, annualise } => {
            let window = window(column, period.rows() + 1)?;
            let squares: f64 = window.windows(2).map(|pair| (pair[1] / pair[0]).ln().powi(2)).sum();
            Some(match annualise {
                Some(rows) => (squares * rows / period.rows() as f64).sqrt(),
                None => squares.sqrt(),
            })
        }
        Indicator::RollingMin { column, period } => window(column, period.rows())?.into_iter().reduce(f64::min),
        Indicator::RollingMax { column, period } => window(column, period.rows())?.into_iter().reduce(f64::max),
        Indicator::Rank { column, period } => {
            let window = window(column, period.rows())?;
            let (now, others) = window.split_last().unwrap();
            let points = others.iter().map(|other| {
                if other < now {
                    1.0
                } else if other == now {
                    0.5
                } else {
                    0.0
                }
            });
            Some(points.sum::<f64>() / others.len() as f64)
        }
        Indicator::Lag { column, bars } => Some(window(column, bars.rows() + 1)?[0]),
        Indicator::Spread { column, minus } => Some(now(column)? - now(minus)?),
        // They have tests of their own.
        Indicator::TimeOfDay { .. } | Indicator::DayOfWeek { .. } => None,
    }
}

proptest! {
    #[test]
    fn every_kind_is_its_formula_over_the_rows_that_have_its_columns(
        bars in bars(0..180),
        rows in prop_oneof![4 => 2usize..12, 1 => 126usize..132],
    ) {
        let (times, columns) = columns_of(&bars);
        for indicator in every(rows) {
            if matches!(indicator, Indicator::TimeOfDay { .. } | Indicator::DayOfWeek { .. }) {
                continue;
            }
            let reads: Vec<usize> = (0..4).filter(|at| indicator.columns().contains(&COLUMNS[*at])).collect();
            let complete: Vec<usize> =
                (0..bars.len()).filter(|row| reads.iter().all(|column| columns[*column][*row].is_some())).collect();
            let known: Vec<i64> = complete.iter().map(|row| times[*row]).collect();
            let mut expected = vec![None; bars.len()];
            for (count, row) in complete.iter().enumerate() {
                let column = |at: usize| {
                    let rows = &complete[..=count];
                    rows.iter().map(|row| columns[at][*row].unwrap_or(f64::NAN)).collect::<Vec<_>>()
                };
                let history = History { times: &known[..=count], columns: [0, 1, 2, 3].map(column) };
                expected[*row] = naive(&indicator, &history);
            }
            for (row, (found, expected)) in values(&indicator, &rows_of(&bars)).into_iter().zip(expected).enumerate() {
                prop_assert_eq!(found.is_some(), expected.is_some(), "{:?} row {}", &indicator, row);
                if let (Some(found), Some(expected)) = (found, expected) {
                    // Prices are about 100: a difference of prices is as exact as they are.
                    let near = (found - expected).abs() <= 1e-9 * expected.abs().max(1.0);
                    prop_assert!(near, "{:?} row {}: {} is not {}", &indicator, row, found, expected);
                }
            }
        }
    }
}
