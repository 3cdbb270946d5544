//! Counters: to the recorder at once, and to the journal for whoever exports those of all processes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::core::Core;
use super::observe::Series;
use crate::manifest::Record;
use crate::metrics::{Metric, Whose, catalogue};

/// What was counted and is not in the journal yet, by the name of the metric and the values of its labels.
#[derive(Default)]
pub struct Counters(Mutex<Counts>);

type Counts = HashMap<(&'static str, Vec<String>), u64>;

impl Counters {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// Raises a counter.
    pub fn count(&self, metric: &'static Metric, labels: &[&str], by: u64) {
        self.recorder.add(metric, labels, by as f64);
        if metric.whose == Whose::All {
            let labels = labels.iter().map(ToString::to_string).collect();
            *self.counters.lock().entry((metric.name, labels)).or_default() += by;
        }
    }

    /// Raises a counter by what others told; one that this version does not know is left out.
    pub fn count_of_others(&self, metric: &str, labels: &[String], by: u64) {
        let told = |known: &&&Metric| known.name == metric && known.asked.is_none() && known.whose == Whose::All;
        let known = catalogue::ALL.iter().find(told).filter(|known| known.labels.len() == labels.len());
        if let Some(known) = known {
            let labels: Vec<_> = labels.iter().map(String::as_str).collect();
            self.recorder.add(known, &labels, by as f64);
        }
    }

    /// Writes what was counted since the last time; what cannot be written is kept.
    pub fn flush_counters(&self) {
        // Held until they are remembered as this store's own: whoever looked in between would count them again.
        let mut seen = self.observes.then(|| self.observed.lock());
        let counts = std::mem::take(&mut *self.counters.lock());
        let now = self.now();
        let record = |((metric, labels), count): (&(&'static str, Vec<String>), &u64)| {
            Record::counted(now, metric, labels.clone(), *count)
        };
        if !self.journal(&counts.iter().map(record).collect::<Vec<_>>()) {
            let mut kept = self.counters.lock();
            counts.into_iter().for_each(|(series, count)| *kept.entry(series).or_default() += count);
            return;
        }
        if let Some(seen) = &mut seen {
            for ((metric, labels), count) in counts {
                seen.wrote(Series::Counter(metric.to_owned(), labels), now.minute(), count);
            }
        }
    }
}
