//! Fills a `prometheus` registry.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric as Series, MetricFamily, MetricType};
use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry};

use super::catalogue::{self, Kind, Metric};
use super::recorder::{MetricsSource, Recorder, Sample};
use super::requests::{DURATION_BOUNDS_NS, RequestTotals};
use crate::model::Outcome;

/// So many views have a label of their own; all others are `other`.
const MOST_VIEWS: usize = 50;
const OTHER: &str = "other";

/// A [`Recorder`] that fills a registry of its own, to be gathered or merged into a service's.
///
/// Series whose labels are known in advance are there at 0 from the beginning, those of a view from its
/// first sight on: a series that is born at 500 has no increase.
pub struct PrometheusRecorder {
    registry: Registry,
    families: Arc<Families>,
}

/// What is told, and whom to ask at every export.
#[derive(Default)]
struct Families {
    counters: HashMap<&'static str, CounterVec>,
    gauges: HashMap<&'static str, GaugeVec>,
    histograms: HashMap<&'static str, HistogramVec>,
    views: Mutex<BTreeSet<String>>,
    sources: Mutex<Vec<Weak<dyn MetricsSource>>>,
}

struct Pulled(Arc<Families>);

impl Default for PrometheusRecorder {
    fn default() -> Self {
        Self::new()
    }
}

impl PrometheusRecorder {
    /// A recorder with a new registry.
    pub fn new() -> Self {
        let registry = Registry::new();
        let mut families = Families::default();
        let mut collectors: Vec<Box<dyn Collector>> = Vec::new();
        for metric in catalogue::ALL.iter().filter(|metric| !is_pulled(metric)) {
            collectors.extend(families.add(metric));
        }
        let families = Arc::new(families);
        families.create_at_zero(None);
        collectors.push(Box::new(Pulled(Arc::clone(&families))));
        #[cfg(target_os = "linux")]
        collectors.push(Box::new(prometheus::process_collector::ProcessCollector::for_self()));
        for collector in collectors {
            // Names are unique in the catalogue and the registry is ours, so this cannot fail.
            if let Err(error) = registry.register(collector) {
                tracing::error!(target: "larder::metrics", %error, "a metric is missing");
            }
        }
        Self { registry, families }
    }

    /// The registry, for services that expose several.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl Families {
    fn add(&mut self, metric: &'static Metric) -> Option<Box<dyn Collector>> {
        let opts = Opts::new(metric.name, metric.help);
        let labels: Vec<_> = metric.labels.iter().map(|label| label.name).collect();
        match metric.kind {
            Kind::Counter => {
                let family = CounterVec::new(opts, &labels).ok()?;
                self.counters.insert(metric.name, family.clone());
                Some(Box::new(family))
            }
            Kind::Gauge => {
                let family = GaugeVec::new(opts, &labels).ok()?;
                self.gauges.insert(metric.name, family.clone());
                Some(Box::new(family))
            }
            Kind::Histogram => {
                let opts = HistogramOpts::from(opts).buckets(bounds_in_seconds());
                let family = HistogramVec::new(opts, &labels).ok()?;
                self.histograms.insert(metric.name, family.clone());
                Some(Box::new(family))
            }
        }
    }

    /// Makes the series whose labels are known: those of a view, or those that are of no view.
    fn create_at_zero(&self, view: Option<&str>) {
        for metric in catalogue::ALL.iter().filter(|metric| of_a_view(metric) == view.is_some()) {
            let closed = metric.labels.iter().skip(usize::from(view.is_some()));
            let mut combinations: Vec<Vec<&str>> = vec![view.into_iter().collect()];
            for label in closed {
                combinations = combinations
                    .iter()
                    .flat_map(|known| label.values.iter().map(|value| [known.as_slice(), &[*value]].concat()))
                    .collect();
            }
            for labels in combinations {
                self.create(metric, &labels);
            }
        }
    }

    fn create(&self, metric: &Metric, labels: &[&str]) {
        // Failing to make one costs only its zero.
        let _ = self.counters.get(metric.name).map(|family| family.get_metric_with_label_values(labels));
        let _ = self.histograms.get(metric.name).map(|family| family.get_metric_with_label_values(labels));
    }

    /// The stores that are still there.
    fn sources(&self) -> Vec<Arc<dyn MetricsSource>> {
        lock(&self.sources).iter().filter_map(Weak::upgrade).collect()
    }

    /// The label of a view: its name, or `other` for one that is seen after too many.
    fn view_label<'a>(&self, view: &'a str) -> &'a str {
        let mut views = lock(&self.views);
        if views.contains(view) {
            return view;
        }
        if views.len() >= MOST_VIEWS {
            return OTHER;
        }
        views.insert(view.to_owned());
        drop(views);
        self.create_at_zero(Some(view));
        view
    }

    fn labels<'a>(&self, metric: &Metric, labels: &[&'a str]) -> Vec<&'a str> {
        let mut labels = labels.to_vec();
        if let Some(view) = labels.first_mut().filter(|_| of_a_view(metric)) {
            *view = self.view_label(view);
        }
        labels
    }
}

fn of_a_view(metric: &Metric) -> bool {
    metric.labels.first().is_some_and(|label| label.name == "view")
}

impl Recorder for PrometheusRecorder {
    fn attach(&self, source: Weak<dyn MetricsSource>) {
        let mut sources = lock(&self.families.sources);
        sources.retain(|source| source.strong_count() > 0);
        sources.push(source);
    }

    fn text(&self) -> Option<String> {
        // So that what is gathered before the requests of a new view has its zeros too.
        for source in self.families.sources() {
            source.requests().iter().for_each(|(view, _)| _ = self.families.view_label(view));
        }
        let mut families = self.registry.gather();
        families.sort_by(|a, b| a.name().cmp(b.name()));
        prometheus::TextEncoder::new().encode_to_string(&families).ok()
    }

    fn add(&self, metric: &'static Metric, labels: &[&str], by: f64) {
        let labels = self.families.labels(metric, labels);
        if let Some(Ok(counter)) =
            self.families.counters.get(metric.name).map(|family| family.get_metric_with_label_values(&labels))
        {
            counter.inc_by(by.max(0.0));
        } else if let Some(Ok(gauge)) =
            self.families.gauges.get(metric.name).map(|family| family.get_metric_with_label_values(&labels))
        {
            gauge.add(by);
        }
    }

    fn observe(&self, metric: &'static Metric, labels: &[&str], value: f64) {
        let labels = self.families.labels(metric, labels);
        if let Some(Ok(histogram)) =
            self.families.histograms.get(metric.name).map(|family| family.get_metric_with_label_values(&labels))
        {
            histogram.observe(value);
        }
    }

    fn set(&self, metric: &'static Metric, labels: &[&str], value: f64) {
        let labels = self.families.labels(metric, labels);
        if let Some(Ok(gauge)) =
            self.families.gauges.get(metric.name).map(|family| family.get_metric_with_label_values(&labels))
        {
            gauge.set(value);
        }
    }
}

/// Whether a store is asked for the metric instead of telling it.
fn is_pulled(metric: &Metric) -> bool {
    [
        &catalogue::REQUESTS,
        &catalogue::REQUEST_DURATION,
        &catalogue::HIT_RATIO,
        &catalogue::SLO_OBJECTIVE,
        &catalogue::BUDGET_REMAINING,
        &catalogue::BURN_RATE,
        &catalogue::MEMORY_BYTES,
        &catalogue::MEMORY_LIMIT,
        &catalogue::MEMORY_EVICTIONS,
        &catalogue::DISK_LIMIT,
        &catalogue::DISK_RESERVE,
        &catalogue::DISK_FREE,
        &catalogue::DISK_BYTES,
        &catalogue::DISK_BLOCKS,
        &catalogue::NEWEST_EVENT,
        &catalogue::VIEW_TTL,
        &catalogue::QUARANTINED_BLOCKS,
        &catalogue::JOURNAL_UNFOLDED,
    ]
    .contains(&metric)
}

impl Collector for Pulled {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut requests: BTreeMap<String, RequestTotals> = BTreeMap::new();
        let mut samples = Samples::default();
        for source in self.0.sources() {
            for (view, cells) in source.requests() {
                let view = self.0.view_label(&view).to_owned();
                requests.entry(view).and_modify(|totals| totals.add(&cells.totals())).or_insert_with(|| cells.totals());
            }
            for mut sample in source.samples() {
                if let Some(view) = sample.labels.first_mut().filter(|_| of_a_view(sample.metric)) {
                    *view = self.0.view_label(view).to_owned();
                }
                samples.add(sample);
            }
        }
        let mut families = request_families(&requests);
        families.extend(samples.families());
        families
    }
}

/// What stores answered, one value for each metric and its labels.
#[derive(Default)]
struct Samples(BTreeMap<&'static str, Sampled>);

/// The values of one metric by its labels.
struct Sampled {
    metric: &'static Metric,
    values: BTreeMap<Vec<String>, f64>,
}

impl Samples {
    /// Views beyond the cap, and several stores on one recorder, come together: amounts add up, of what is
    /// better the more there is the least stands, of the rest the most.
    fn add(&mut self, sample: Sample) {
        let scarce = [&catalogue::HIT_RATIO, &catalogue::BUDGET_REMAINING, &catalogue::DISK_FREE];
        let scarce = scarce.contains(&sample.metric);
        let adds_up = !scarce && ["bytes", "blocks"].contains(&sample.metric.unit);
        let new = || Sampled { metric: sample.metric, values: BTreeMap::new() };
        let sampled = self.0.entry(sample.metric.name).or_insert_with(new);
        let value = sampled.values.entry(sample.labels).or_insert(if adds_up { 0.0 } else { sample.value });
        *value = match (adds_up, scarce) {
            (true, _) => *value + sample.value,
            (_, true) => value.min(sample.value),
            _ => value.max(sample.value),
        };
    }

    fn families(self) -> Vec<MetricFamily> {
        let families = self.0.into_values().map(|Sampled { metric, values }| {
            let mut family = family(metric);
            for (labels, value) in values {
                let labels: Vec<_> = labels.iter().map(String::as_str).collect();
                let mut series = labelled(metric, &labels);
                if metric.kind == Kind::Counter {
                    let mut counter = Counter::default();
                    counter.set_value(value);
                    series.set_counter(counter);
                } else {
                    let mut gauge = Gauge::default();
                    gauge.set_value(value);
                    series.set_gauge(gauge);
                }
                family.mut_metric().push(series);
            }
            family
        });
        families.collect()
    }
}

fn request_families(requests: &BTreeMap<String, RequestTotals>) -> Vec<MetricFamily> {
    let mut counts = family(&catalogue::REQUESTS);
    let mut durations = family(&catalogue::REQUEST_DURATION);
    let mut all = RequestTotals::default();
    for (view, totals) in requests {
        all.add(totals);
        for outcome in Outcome::ALL {
            let mut counter = Counter::default();
            counter.set_value(totals.count(outcome) as f64);
            let mut series = labelled(&catalogue::REQUESTS, &[view.as_str(), outcome.as_str()]);
            series.set_counter(counter);
            counts.mut_metric().push(series);
        }
    }
    for outcome in Outcome::ALL {
        let mut series = labelled(&catalogue::REQUEST_DURATION, &[outcome.as_str()]);
        series.set_histogram(histogram(&all, outcome));
        durations.mut_metric().push(series);
    }
    [counts, durations].into_iter().filter(|family| !family.get_metric().is_empty()).collect()
}

fn family(metric: &Metric) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(match metric.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    family
}

fn labelled(metric: &Metric, values: &[&str]) -> Series {
    let mut series = Series::default();
    let pairs = metric.labels.iter().zip(values).map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.name.to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    let mut pairs: Vec<_> = pairs.collect();
    // As the registry has those that it makes.
    pairs.sort_by(|a, b| a.name().cmp(b.name()));
    series.set_label(pairs);
    series
}

fn histogram(totals: &RequestTotals, outcome: Outcome) -> Histogram {
    let mut histogram = Histogram::default();
    let mut cumulative = 0;
    let buckets = totals.buckets(outcome).iter().zip(bounds_in_seconds()).map(|(count, bound)| {
        cumulative += count;
        let mut bucket = Bucket::default();
        bucket.set_cumulative_count(cumulative);
        bucket.set_upper_bound(bound);
        bucket
    });
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(totals.timed(outcome));
    histogram.set_sample_sum(totals.duration(outcome).as_secs_f64());
    histogram
}

fn bounds_in_seconds() -> Vec<f64> {
    DURATION_BOUNDS_NS.iter().map(|ns| *ns as f64 / 1e9).collect()
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::RequestCells;
    use std::time::Duration;

    struct Store(Arc<RequestCells>);

    impl MetricsSource for Store {
        fn requests(&self) -> Vec<(String, Arc<RequestCells>)> {
            (0..60).map(|at| (format!("view_{at:02}"), Arc::clone(&self.0))).collect()
        }

        fn samples(&self) -> Vec<Sample> {
            vec![Sample { metric: &catalogue::HIT_RATIO, labels: Vec::new(), value: 0.5 }]
        }
    }

    #[test]
    fn hits_are_pulled_and_every_outcome_is_there_at_zero() {
        let recorder = PrometheusRecorder::new();
        let cells = Arc::new(RequestCells::default());
        cells.record(Outcome::Hit, Duration::from_micros(3));
        let source: Arc<dyn MetricsSource> = Arc::new(Store(cells));
        recorder.attach(Arc::downgrade(&source));
        recorder.add(&catalogue::CORRUPT_BLOCKS, &["view_00"], 2.0);
        let text = recorder.text().unwrap();
        for line in [
            "featurestore_requests_total{outcome=\"hit\",view=\"view_00\"} 1",
            "featurestore_requests_total{outcome=\"error\",view=\"view_00\"} 0",
            "featurestore_request_duration_seconds_bucket{outcome=\"hit\",le=\"0.000005\"} 60",
            "featurestore_request_duration_seconds_bucket{outcome=\"hit\",le=\"+Inf\"} 60",
            "featurestore_published_blocks_total{view=\"view_00\"} 0",
            "featurestore_io_errors_total{operation=\"publish\"} 0",
            "featurestore_compute_failures_total{reason=\"panic\",view=\"view_07\"} 0",
            "featurestore_requests_total{outcome=\"hit\",view=\"other\"} 10",
            "featurestore_hit_ratio 0.5",
            "featurestore_corrupt_blocks_total{view=\"view_00\"} 2",
        ] {
            assert!(text.contains(line), "{line} is missing from\n{}", &text[..2000.min(text.len())]);
        }
        assert!(!text.contains("view_55"), "views are capped");
        drop(source);
        assert!(!recorder.text().unwrap().contains("featurestore_hit_ratio"), "a store that is gone is not exported");
    }
}
