//! What an exporter asks a store for.

use std::sync::Arc;

use super::core::Core;
use crate::metrics::{Metric, MetricsSource, RequestCells, Sample, catalogue};
use crate::model::{Timestamp, ViewName};
use crate::slo::SloReport;

impl MetricsSource for Core {
    fn requests(&self) -> Vec<(String, Arc<RequestCells>)> {
        let ledgers = self.views.ledgers().into_iter();
        ledgers.map(|(view, ledger)| (view.to_string(), Arc::clone(ledger.cells()))).collect()
    }

    fn samples(&self) -> Vec<Sample> {
        let mut samples = self.service_level();
        samples.extend(self.sizes());
        samples.extend(self.folding());
        samples.extend(self.last_look());
        samples
    }
}

impl Core {
    fn service_level(&self) -> Vec<Sample> {
        let slo = self.slo_so_far(None);
        let mut samples = vec![one(&catalogue::SLO_OBJECTIVE, slo.objective)];
        // Without requests there is no ratio, and a gauge that says 0 or 1 then would be a lie.
        let five_minutes = slo.windows.first().and_then(|window| window.hit_ratio);
        samples.extend(five_minutes.map(|ratio| one(&catalogue::HIT_RATIO, ratio)));
        // Until the history is there, a budget would say what this process alone did since its start.
        if self.has_history() {
            samples.extend(budget(&slo));
        }
        samples
    }

    fn sizes(&self) -> Vec<Sample> {
        let settings = self.settings();
        let mut samples = vec![
            one(&catalogue::MEMORY_BYTES, self.memory.bytes() as f64),
            one(&catalogue::MEMORY_LIMIT, settings.memory_limit() as f64),
            one(&catalogue::MEMORY_EVICTIONS, self.memory.evictions() as f64),
            one(&catalogue::DISK_LIMIT, settings.size_limit() as f64),
            one(&catalogue::DISK_RESERVE, settings.reserve() as f64),
        ];
        samples.extend(self.dir.free_bytes().ok().map(|free| one(&catalogue::DISK_FREE, free as f64)));
        samples
    }

    /// Nothing where this process never folds: others do, and it does not know when and what.
    fn folding(&self) -> Vec<Sample> {
        if self.settings().manifest.fold_interval.is_zero() {
            return Vec::new();
        }
        let (at, took) = self.last_fold.get();
        let mut samples = vec![one(&catalogue::LAST_FOLD, seconds(at))];
        samples.extend(took.map(|took| one(&catalogue::FOLD_DURATION, took.as_secs_f64())));
        samples.extend(self.manifest.unfolded_bytes().ok().map(|n| one(&catalogue::JOURNAL_UNFOLDED, n as f64)));
        samples
    }

    fn last_look(&self) -> Vec<Sample> {
        let look = self.look.get();
        let mut samples = Vec::new();
        for view in &look.views {
            samples.push(of_view(&catalogue::DISK_BYTES, &view.view, view.bytes as f64));
            samples.push(of_view(&catalogue::DISK_BLOCKS, &view.view, view.blocks as f64));
            samples.extend(view.newest.map(|at| of_view(&catalogue::NEWEST_EVENT, &view.view, seconds(at))));
            samples.extend(view.ttl.map(|ttl| of_view(&catalogue::VIEW_TTL, &view.view, ttl.as_secs_f64())));
        }
        samples.extend(look.quarantined.map(|files| one(&catalogue::QUARANTINED_BLOCKS, files as f64)));
        samples
    }
}

fn budget(slo: &SloReport) -> Vec<Sample> {
    let remaining = slo.budget.remaining.map(|left| one(&catalogue::BUDGET_REMAINING, left));
    let rates = slo.windows.iter().filter_map(|window| {
        let value = window.burn_rate?;
        Some(Sample { metric: &catalogue::BURN_RATE, labels: vec![window.window.to_owned()], value })
    });
    remaining.into_iter().chain(rates).collect()
}

fn seconds(at: Timestamp) -> f64 {
    at.as_ns() as f64 / 1e9
}

fn one(metric: &'static Metric, value: f64) -> Sample {
    Sample { metric, labels: Vec::new(), value }
}

fn of_view(metric: &'static Metric, view: &ViewName, value: f64) -> Sample {
    Sample { metric, labels: vec![view.to_string()], value }
}
