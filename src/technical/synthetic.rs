//! Bars of a market that does not exist.

use std::collections::BTreeMap;

use crate::technical::bars::{Bar, Bars};

const MINUTE_NS: i64 = 60_000_000_000;
const MINUTES_PER_DAY: i64 = 1_440;
/// Minutes of a week that begins, as the Unix epoch does, on a Thursday at midnight: the market is
/// closed from Friday 22:00 to Sunday 22:00.
const CLOSED: std::ops::Range<i64> = (MINUTES_PER_DAY + 22 * 60)..(3 * MINUTES_PER_DAY + 22 * 60);
/// How lively each hour of the UTC day is, from the quiet after New York to London and New York
/// trading together.
const LIVELINESS: [f64; 24] = [
    0.6, 0.7, 0.7, 0.6, 0.6, 0.7, 0.9, 1.2, 1.4, 1.2, 1.0, 1.0, 1.2, 1.6, 1.7, 1.6, 1.3, 1.0, 0.9, 0.8, 0.7, 0.5, 0.4,
    0.5,
];
/// Standard deviation of a minute's return in an average hour; about 0.5 % a day.
const MINUTE_RISK: f64 = 1.3e-4;
/// Standard deviation of the jump from Friday's close to Sunday's open.
const WEEKEND_RISK: f64 = 2.0e-3;
/// Steps of the price within one bar.
const STEPS: u32 = 4;

/// Minute bars of the symbols for the `days` days before `end_ns` (nanoseconds since the Unix
/// epoch, UTC; cut to the minute, itself not included), labelled with their opening minute.
///
/// The calendar is that of foreign exchange: around the clock, closed from Friday 22:00 to Sunday
/// 22:00 UTC. Prices are walks with lively and quiet hours, clustered volatility and weekend
/// jumps, held near a level between 0.6 and 2, rounded to 0.00001. Volumes count ticks.
///
/// The same arguments give the same bars, on every machine: only operations that IEEE 754 defines
/// to the last bit are used, so no logarithm. A symbol's bars do not depend on which other symbols
/// are asked for.
pub fn synthetic_bars<S: AsRef<str>>(symbols: &[S], days: u32, end_ns: i64, seed: u64) -> BTreeMap<String, Bars> {
    let end = end_ns.div_euclid(MINUTE_NS);
    let start = end - i64::from(days) * MINUTES_PER_DAY;
    let bars_of = |symbol: &S| {
        let symbol = symbol.as_ref();
        let mut market = Market::new(symbol, seed);
        let bars = (start..end).filter_map(|minute| market.bar(minute)).collect();
        (symbol.to_owned(), bars)
    };
    symbols.iter().map(bars_of).collect()
}

/// One symbol's price on its way through time.
struct Market {
    noise: SplitMix64,
    /// Where the price is drawn to.
    level: f64,
    price: f64,
    /// Volatility against its average; large moves follow large moves.
    mood: f64,
    was_closed: bool,
}

impl Market {
    fn new(symbol: &str, seed: u64) -> Self {
        let mut noise = SplitMix64(seed);
        for byte in symbol.bytes() {
            noise = SplitMix64(noise.next() ^ u64::from(byte));
        }
        let level = round(0.6 + 1.4 * noise.uniform());
        Self { noise, level, price: level, mood: 1.0, was_closed: false }
    }

    /// The bar that opens at `minute` since the Unix epoch; `None` while the market is closed.
    fn bar(&mut self, minute: i64) -> Option<Bar> {
        if CLOSED.contains(&minute.rem_euclid(7 * MINUTES_PER_DAY)) {
            self.was_closed = true;
            return None;
        }
        if std::mem::take(&mut self.was_closed) {
            self.step(WEEKEND_RISK);
        }
        self.mood = (1.0 + 0.98 * (self.mood - 1.0) + 0.1 * self.noise.normal()).clamp(0.3, 4.0);
        let liveliness = self.mood * liveliness(minute);
        let risk = MINUTE_RISK * liveliness / f64::from(STEPS).sqrt();

        let open = self.price;
        let (mut high, mut low) = (open, open);
        for _ in 0..STEPS {
            self.step(risk);
            high = high.max(self.price);
            low = low.min(self.price);
        }
        Some(Bar {
            ts: minute * MINUTE_NS,
            open,
            high,
            low,
            close: self.price,
            volume: (40.0 * liveliness * (0.5 + self.noise.uniform())).round(),
        })
    }

    fn step(&mut self, risk: f64) {
        let pull = 1e-5 * (self.level - self.price);
        let moved = self.price * (1.0 + risk * self.noise.normal()) + pull;
        // Never to zero, however long the walk.
        self.price = round(moved.max(0.1 * self.level));
    }
}

fn liveliness(minute: i64) -> f64 {
    let hour = usize::try_from(minute.rem_euclid(MINUTES_PER_DAY) / 60).unwrap_or_default();
    LIVELINESS.get(hour).copied().unwrap_or(1.0)
}

/// The nearest price that is a multiple of 0.00001.
fn round(price: f64) -> f64 {
    (price * 1e5).round() / 1e5
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
pub(super) struct SplitMix64(pub(super) u64);

impl SplitMix64 {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Evenly from `[0, 1)`, in steps of 2^-53.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Nearly normal, mean 0 and variance 1: twelve uniforms, each of variance 1/12, added up.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}
