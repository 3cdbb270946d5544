//! Requests by outcome.

use crate::metrics::RequestTotals;
use crate::model::Outcome;

/// How many requests had each outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts([u64; Outcome::ALL.len()]);

/// The requests of one minute: its number since the epoch, and their outcomes.
pub type MinuteCounts = (i64, Counts);

impl Counts {
    /// Of one outcome.
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.0.get(outcome.index()).copied().unwrap_or(0)
    }

    /// Counts `n` more of one outcome.
    pub fn add(&mut self, outcome: Outcome, n: u64) {
        if let Some(count) = self.0.get_mut(outcome.index()) {
            *count = count.saturating_add(n);
        }
    }

    /// Counts another's requests too.
    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count = count.saturating_add(more));
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self(std::array::from_fn(|at| {
            let value = |counts: &Self| counts.0.get(at).copied().unwrap_or(0);
            value(self).saturating_sub(value(earlier))
        }))
    }

    /// All requests.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Those served from cache.
    pub fn good(&self) -> u64 {
        Outcome::ALL.into_iter().filter(|outcome| outcome.is_good()).map(|outcome| self.get(outcome)).sum()
    }

    /// The hit ratio, good / total: the only definition of it. `None` without requests.
    #[expect(clippy::cast_precision_loss, reason = "2^53 requests are enough")]
    pub fn ratio(&self) -> Option<f64> {
        let total = self.total();
        (total > 0).then(|| self.good() as f64 / total as f64)
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// Every outcome with its count, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (Outcome, u64)> + '_ {
        Outcome::ALL.into_iter().map(|outcome| (outcome, self.get(outcome)))
    }
}

impl From<&RequestTotals> for Counts {
    fn from(totals: &RequestTotals) -> Self {
        let mut counts = Self::default();
        Outcome::ALL.into_iter().for_each(|outcome| counts.add(outcome, totals.count(outcome)));
        counts
    }
}

impl FromIterator<(Outcome, u64)> for Counts {
    fn from_iter<I: IntoIterator<Item = (Outcome, u64)>>(pairs: I) -> Self {
        let mut counts = Self::default();
        pairs.into_iter().for_each(|(outcome, n)| counts.add(outcome, n));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hit_and_stale_are_good_and_nothing_else() {
        let one_each: Counts = Outcome::ALL.into_iter().map(|outcome| (outcome, 1)).collect();
        assert_eq!((one_each.good(), one_each.total()), (2, 7));
        assert_eq!(one_each.ratio(), Some(2.0 / 7.0));
    }

    #[test]
    fn without_requests_there_is_no_ratio() {
        assert_eq!(Counts::default().ratio(), None);
    }
}
