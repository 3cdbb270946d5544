//! Blocks of features with a market's structure, for the benchmarks.

#![allow(dead_code, reason = "each benchmark uses a part")]

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::DataType;
use larder::{EntityKey, FeatureView, Gap, event_times};

/// 2024-01-01.
pub const FIRST_DAY: i64 = 1_704_067_200_000_000_000;
const DAY: i64 = 86_400_000_000_000;
const MINUTE: i64 = 60_000_000_000;
const FEATURES: usize = 32;

/// splitmix64, so that every run has the same data.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Roughly normal: the sum of twelve uniform numbers.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| (self.next() >> 11) as f64 / (1u64 << 53) as f64).sum::<f64>() - 6.0
    }
}

/// A view of 32 features.
pub fn view() -> FeatureView {
    (0..FEATURES)
        .fold(FeatureView::builder("market").entity("symbol"), |view, at| {
            view.feature(&format!("f{at:02}"), DataType::Float64)
        })
        .build()
        .expect("a view")
}

/// One day: returns, prices, oscillators and z-scores, all rounded to 1e-5.
pub fn day(view: &FeatureView, seed: u64, start: i64) -> RecordBatch {
    let mut random = Random(seed);
    let times: Vec<i64> = (0..1440).map(|minute| start + minute * MINUTE).collect();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(TimestampNanosecondArray::from(times).with_timezone("UTC"))];
    for feature in 0..FEATURES {
        let mut level = 0.0;
        let values = (0..1440).map(|_| {
            let step = random.normal();
            level += step;
            let value = match feature % 4 {
                0 => step * 2e-4 * (1 + feature / 8) as f64,
                1 => 1.08 + level * 5e-5,
                2 => 50.0 + 50.0 * (level / 20.0).sin(),
                _ => step,
            };
            (value * 1e5).round() / 1e5
        });
        columns.push(Arc::new(Float64Array::from_iter_values(values)));
    }
    RecordBatch::try_new(Arc::clone(view.schema()), columns).expect("a batch")
}

/// Days of several symbols.
pub fn blocks(view: &FeatureView, symbols: usize, days: usize) -> HashMap<(usize, i64), RecordBatch> {
    let keys = (0..symbols).flat_map(|symbol| (0..days).map(move |day| (symbol, FIRST_DAY + day as i64 * DAY)));
    keys.map(|(symbol, start)| ((symbol, start), day(view, symbol as u64 ^ start as u64, start))).collect()
}

/// The rows of a gap; symbols beyond those that were made share their data.
pub fn cut(blocks: &HashMap<(usize, i64), RecordBatch>, gap: &Gap) -> RecordBatch {
    let symbols = blocks.keys().map(|(symbol, _)| symbol + 1).max().unwrap_or(1);
    let symbol = number(gap.entity()) % symbols;
    let parts: Vec<&RecordBatch> =
        gap.windows().filter_map(|window| blocks.get(&(symbol, window.range.start().as_ns()))).collect();
    let batch = arrow::compute::concat_batches(gap.view().schema(), parts).expect("one schema");
    assert!(event_times(&batch).iter().all(|time| gap.range().contains(larder::Timestamp::from_ns(*time))));
    batch
}

fn number(entity: &EntityKey) -> usize {
    let digits: String = entity.to_string().chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}
