//! Mean and deviation of the last values.

use super::sum::ExactSum;
use crate::definition::Period;

/// Up to this many values, looking at each again is faster than carrying exact sums.
const FEW: usize = 128;

/// Mean and variance of the last values, as seen from the newest of them.
///
/// Seen from there, values that are near each other keep the digits in which they differ, and equal ones have a
/// variance of exactly 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moments {
    /// The mean less the newest value.
    mean: f64,
    /// Over the population.
    variance: f64,
}

impl Moments {
    /// The deviation over the population.
    pub(super) fn deviation(self) -> f64 {
        self.variance.sqrt()
    }

    /// How many deviations the newest value is above the mean; NaN where there is no deviation.
    pub(super) fn score(self) -> f64 {
        let spread = self.variance > 0.0 && self.variance.is_finite();
        if spread { -self.mean / self.variance.sqrt() } else { f64::NAN }
    }

    /// Of these values, looking at each.
    fn of(window: &[f64]) -> Self {
        let newest = window.last().copied().unwrap_or_default();
        let count = window.len() as f64;
        let mean = window.iter().map(|value| value - newest).sum::<f64>() / count;
        let variance = window.iter().map(|value| (value - newest - mean).powi(2)).sum::<f64>() / count;
        Self { mean, variance }
    }
}

/// What `function` makes of every `period` consecutive values, at the last of them; NaN before the first.
pub(super) fn moments(values: &[f64], period: Period, function: impl Fn(Moments) -> f64) -> Vec<f64> {
    let warming = std::iter::repeat_n(f64::NAN, values.len().min(period.rows() - 1));
    let windows = values.windows(period.rows());
    if period.rows() <= FEW {
        return warming.chain(windows.map(|window| function(Moments::of(window)))).collect();
    }
    let mut sums = Sums::default();
    values.iter().take(period.rows() - 1).for_each(|value| sums.add(*value));
    warming.chain(windows.map(|window| function(sums.slide(window)))).collect()
}

/// Sums of the values of a window and of their squares, exact.
#[derive(Debug, Default)]
struct Sums {
    values: ExactSum,
    squares: ExactSum,
    about: ExactSum,
}

impl Sums {
    fn add(&mut self, value: f64) {
        self.values.add(value);
        self.squares.add_product(value, value);
    }

    fn remove(&mut self, value: f64) {
        self.values.add(-value);
        self.squares.add_product(-value, value);
    }

    /// The moments of a window whose newest value is not yet in the sums; then its oldest is no longer.
    fn slide(&mut self, window: &[f64]) -> Moments {
        window.last().into_iter().for_each(|newest| self.add(*newest));
        let mut moments = self.moments(window);
        if !moments.variance.is_finite() {
            // Too large for a float once, the sums stay so: begun again from the window.
            *self = Self::default();
            window.iter().for_each(|value| self.add(*value));
            moments = self.moments(window);
        }
        window.first().into_iter().for_each(|oldest| self.remove(*oldest));
        moments
    }

    /// From `sum(v - c) = sum(v) - n c` and `sum((v - c)^2) = sum(v^2) - 2 c sum(v) + n c^2`, each rounded once, where
    /// `c` is the newest value.
    fn moments(&mut self, window: &[f64]) -> Moments {
        let newest = window.last().copied().unwrap_or_default();
        let count = window.len() as f64;
        self.about.copy(&self.values);
        self.about.add_product(-count, newest);
        let mean = self.about.value() / count;

        let mut squared = ExactSum::default();
        squared.add_product(newest, newest);
        self.about.copy(&self.squares);
        self.about.add_scaled(&self.values, -2.0 * newest);
        self.about.add_scaled(&squared, count);
        let variance = self.about.value() / count - mean * mean;
        // Not `max`, which would make 0 of what is no number.
        Moments { mean, variance: if variance < 0.0 { 0.0 } else { variance } }
    }
}
