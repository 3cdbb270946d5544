//! What an exporter asks a store for.

use std::sync::Arc;

use super::core::Core;
use crate::metrics::{MetricsSource, RequestCells, Sample, catalogue};

impl MetricsSource for Core {
    fn requests(&self) -> Vec<(String, Arc<RequestCells>)> {
        let ledgers = self.views.ledgers().into_iter();
        ledgers.map(|(view, ledger)| (view.to_string(), Arc::clone(ledger.cells()))).collect()
    }

    fn gauges(&self) -> Vec<Sample> {
        let sample = |metric, value| Sample { metric, labels: Vec::new(), value };
        let slo = self.slo_so_far(None);
        let mut samples = vec![
            sample(&catalogue::SLO_OBJECTIVE, slo.objective),
            sample(&catalogue::MEMORY_BYTES, self.memory.bytes() as f64),
            sample(&catalogue::DISK_LIMIT, self.settings.size_limit() as f64),
        ];
        samples.extend(self.dir.free_bytes().ok().map(|free| sample(&catalogue::DISK_FREE, free as f64)));
        // Without requests there is no ratio, and a gauge that says 0 or 1 then would be a lie.
        let five_minutes = slo.windows.first().and_then(|window| window.hit_ratio);
        samples.extend(five_minutes.map(|ratio| sample(&catalogue::HIT_RATIO, ratio)));
        // Until the history is there, a budget would say what this process alone did since its start.
        if !self.has_history() {
            return samples;
        }
        samples.extend(slo.budget.remaining.map(|left| sample(&catalogue::BUDGET_REMAINING, left)));
        samples.extend(slo.windows.iter().filter_map(|window| {
            let value = window.burn_rate?;
            Some(Sample { metric: &catalogue::BURN_RATE, labels: vec![window.window.to_owned()], value })
        }));
        samples
    }
}
