//! Sums without rounding.

/// A sum of floats, exact: as many floats as it takes, each smaller than the last digit of the next.
///
/// So what leaves a window leaves no trace, and a sum is the same however it came about. Source: Shewchuk, "Adaptive
/// precision floating-point arithmetic", 1997; the rounding is that of Python's `math.fsum`. A sum of prices takes one
/// or two floats.
#[derive(Debug, Clone, Default)]
pub(super) struct ExactSum(Vec<f64>);

impl ExactSum {
    pub(super) fn add(&mut self, value: f64) {
        let mut carry = value;
        self.0.retain_mut(|part| {
            let sum = carry + *part;
            // What rounding took from the sum, itself exact (Knuth's TwoSum).
            let of_part = sum - carry;
            *part = (carry - (sum - of_part)) + (*part - of_part);
            carry = sum;
            *part != 0.0
        });
        if carry != 0.0 {
            self.0.push(carry);
        }
    }

    /// Adds `a * b`.
    pub(super) fn add_product(&mut self, a: f64, b: f64) {
        let (product, error) = product(a, b);
        self.add(error);
        self.add(product);
    }

    /// Adds `sum * factor`.
    pub(super) fn add_scaled(&mut self, sum: &Self, factor: f64) {
        sum.0.iter().for_each(|part| self.add_product(*part, factor));
    }

    /// Becomes a copy of the other, in the memory it has.
    pub(super) fn copy(&mut self, other: &Self) {
        self.0.clone_from(&other.0);
    }

    /// The sum, rounded once. Not finite where the sum or a sum on its way went beyond what a float can hold.
    pub(super) fn value(&self) -> f64 {
        let mut parts = self.0.iter().rev();
        let mut sum = parts.next().copied().unwrap_or_default();
        while let Some(part) = parts.next() {
            let larger = sum;
            sum = larger + part;
            let rest = part - (sum - larger);
            if rest == 0.0 {
                continue;
            }
            // Half-way between two floats, what is left below decides.
            let doubled = sum + 2.0 * rest;
            let tie = 2.0 * rest == doubled - sum;
            if tie && parts.next().is_some_and(|next| (*next < 0.0) == (rest < 0.0)) {
                sum = doubled;
            }
            break;
        }
        sum
    }
}

impl FromIterator<f64> for ExactSum {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sum = Self::default();
        values.into_iter().for_each(|value| sum.add(value));
        sum
    }
}

/// `a * b` as two floats, without rounding (Dekker's product: a fused multiply-add is a call into the C library where
/// the machine the program was built for need not have one).
fn product(a: f64, b: f64) -> (f64, f64) {
    let (product, (a_high, a_low), (b_high, b_low)) = (a * b, halves(a), halves(b));
    (product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low)
}

/// A float as two of half as many digits (Veltkamp's split).
fn halves(value: f64) -> (f64, f64) {
    let scaled = value * 134_217_729.0;
    let high = scaled - (scaled - value);
    (high, value - high)
}

/// The sum of every `period` consecutive values, at the last of them; NaN before the first.
pub(super) fn rolling(values: &[f64], period: usize) -> Vec<f64> {
    let mut sum = ExactSum::default();
    let mut found = Vec::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        sum.add(*value);
        let Some(first) = (row + 1).checked_sub(period) else {
            found.push(f64::NAN);
            continue;
        };
        if !sum.value().is_finite() {
            // Too large for a float once, it stays so: begun again from the window.
            sum = values.iter().skip(first).take(period).copied().collect();
        }
        found.push(sum.value());
        sum.add(-values.get(first).copied().unwrap_or_default());
    }
    found
}
