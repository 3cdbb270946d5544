//! Fills a `prometheus` registry.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

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
/// The series of every outcome are there at 0 from the first sight of a view on: a series that is born at
/// 500 has no increase. Those of other labels appear with their first event.
pub struct PrometheusRecorder {
    registry: Registry,
    counters: HashMap<&'static str, CounterVec>,
    gauges: HashMap<&'static str, GaugeVec>,
    histograms: HashMap<&'static str, HistogramVec>,
    pulled: std::sync::Arc<Pulled>,
    views: Mutex<BTreeSet<String>>,
}

/// What is asked for at every export.
#[derive(Default)]
struct Pulled {
    sources: Mutex<Vec<Weak<dyn MetricsSource>>>,
}

struct PulledCollector(std::sync::Arc<Pulled>, Vec<Desc>);

impl Default for PrometheusRecorder {
    fn default() -> Self {
        Self::new()
    }
}

impl PrometheusRecorder {
    /// A recorder with a new registry.
    pub fn new() -> Self {
        let mut recorder = Self {
            registry: Registry::new(),
            counters: HashMap::new(),
            gauges: HashMap::new(),
            histograms: HashMap::new(),
            pulled: Default::default(),
            views: Mutex::default(),
        };
        for metric in catalogue::ALL.iter().filter(|metric| !is_pulled(metric)) {
            recorder.add_family(metric);
        }
        let collector = PulledCollector(std::sync::Arc::clone(&recorder.pulled), Vec::new());
        recorder.register(Box::new(collector));
        recorder
    }

    /// The registry, for services that expose several.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Everything in the text format that Prometheus scrapes.
    pub fn text(&self) -> String {
        let mut families = self.registry.gather();
        families.sort_by(|a, b| a.name().cmp(b.name()));
        prometheus::TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }

    fn add_family(&mut self, metric: &'static Metric) {
        let opts = Opts::new(metric.name, metric.help);
        let names: Vec<_> = metric.labels.iter().map(|label| label.name).collect();
        match metric.kind {
            Kind::Counter => {
                if let Ok(family) = CounterVec::new(opts, &names) {
                    self.register(Box::new(family.clone()));
                    self.counters.insert(metric.name, family);
                }
            }
            Kind::Gauge => {
                if let Ok(family) = GaugeVec::new(opts, &names) {
                    self.register(Box::new(family.clone()));
                    self.gauges.insert(metric.name, family);
                }
            }
            Kind::Histogram => {
                let opts = HistogramOpts::from(opts).buckets(bounds_in_seconds());
                if let Ok(family) = HistogramVec::new(opts, &names) {
                    self.register(Box::new(family.clone()));
                    self.histograms.insert(metric.name, family);
                }
            }
        }
    }

    fn register(&self, collector: Box<dyn Collector>) {
        // Names are unique in the catalogue and the registry is ours, so this cannot fail.
        if let Err(error) = self.registry.register(collector) {
            tracing::error!(target: "larder::metrics", %error, "a metric is missing");
        }
    }

    /// Caps the number of views, and so of series.
    fn labels<'a>(&self, metric: &Metric, labels: &[&'a str]) -> Vec<&'a str> {
        let mut labels = labels.to_vec();
        if let (Some("view"), Some(view)) = (metric.labels.first().map(|label| label.name), labels.first_mut()) {
            let mut views = lock(&self.views);
            if !views.contains(*view) {
                if views.len() >= MOST_VIEWS {
                    *view = OTHER;
                } else {
                    views.insert((*view).to_owned());
                }
            }
        }
        labels
    }
}

impl Recorder for PrometheusRecorder {
    fn attach(&self, source: Weak<dyn MetricsSource>) {
        lock(&self.pulled.sources).push(source);
    }

    fn add(&self, metric: &'static Metric, labels: &[&str], by: f64) {
        let labels = self.labels(metric, labels);
        if let Some(Ok(counter)) =
            self.counters.get(metric.name).map(|family| family.get_metric_with_label_values(&labels))
        {
            counter.inc_by(by.max(0.0));
        } else if let Some(Ok(gauge)) =
            self.gauges.get(metric.name).map(|family| family.get_metric_with_label_values(&labels))
        {
            gauge.add(by);
        }
    }

    fn observe(&self, metric: &'static Metric, labels: &[&str], value: f64) {
        let labels = self.labels(metric, labels);
        if let Some(Ok(histogram)) =
            self.histograms.get(metric.name).map(|family| family.get_metric_with_label_values(&labels))
        {
            histogram.observe(value);
        }
    }

    fn set(&self, metric: &'static Metric, labels: &[&str], value: f64) {
        if let Some(Ok(gauge)) = self.gauges.get(metric.name).map(|family| family.get_metric_with_label_values(labels))
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
        &catalogue::DISK_LIMIT,
        &catalogue::DISK_FREE,
    ]
    .contains(&metric)
}

impl Collector for PulledCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.1.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let sources: Vec<_> = lock(&self.0.sources).iter().filter_map(Weak::upgrade).collect();
        let mut requests: BTreeMap<String, RequestTotals> = BTreeMap::new();
        let mut samples = Vec::new();
        for source in sources {
            for (view, cells) in source.requests() {
                let view =
                    if requests.len() < MOST_VIEWS || requests.contains_key(&view) { view } else { OTHER.to_owned() };
                requests.entry(view).and_modify(|totals| totals.add(&cells.totals())).or_insert_with(|| cells.totals());
            }
            samples.extend(source.gauges());
        }
        let mut families = request_families(&requests);
        families.extend(gauge_families(samples));
        families
    }
}

fn request_families(requests: &BTreeMap<String, RequestTotals>) -> Vec<MetricFamily> {
    let mut counts = family(&catalogue::REQUESTS);
    let mut durations = family(&catalogue::REQUEST_DURATION);
    for (view, totals) in requests {
        for outcome in Outcome::ALL {
            let labels = [view.as_str(), outcome.as_str()];
            let mut counter = Counter::default();
            counter.set_value(totals.count(outcome) as f64);
            let mut series = labelled(&catalogue::REQUESTS, &labels);
            series.set_counter(counter);
            counts.mut_metric().push(series);
            let mut series = labelled(&catalogue::REQUEST_DURATION, &labels);
            series.set_histogram(histogram(totals, outcome));
            durations.mut_metric().push(series);
        }
    }
    [counts, durations].into_iter().filter(|family| !family.get_metric().is_empty()).collect()
}

fn gauge_families(samples: Vec<Sample>) -> Vec<MetricFamily> {
    let mut families: BTreeMap<&str, MetricFamily> = BTreeMap::new();
    for sample in samples {
        let mut gauge = Gauge::default();
        gauge.set_value(sample.value);
        let labels: Vec<_> = sample.labels.iter().map(String::as_str).collect();
        let mut series = labelled(sample.metric, &labels);
        series.set_gauge(gauge);
        families.entry(sample.metric.name).or_insert_with(|| family(sample.metric)).mut_metric().push(series);
    }
    families.into_values().collect()
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
    series.set_label(pairs.collect());
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
    histogram.set_sample_count(totals.count(outcome));
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
    use std::sync::Arc;
    use std::time::Duration;

    struct Store(Arc<RequestCells>);

    impl MetricsSource for Store {
        fn requests(&self) -> Vec<(String, Arc<RequestCells>)> {
            (0..60).map(|at| (format!("view_{at:02}"), Arc::clone(&self.0))).collect()
        }

        fn gauges(&self) -> Vec<Sample> {
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
        let text = recorder.text();
        for line in [
            "featurestore_requests_total{outcome=\"hit\",view=\"view_00\"} 1",
            "featurestore_requests_total{outcome=\"error\",view=\"view_00\"} 0",
            "featurestore_request_duration_seconds_bucket{outcome=\"hit\",view=\"view_00\",le=\"0.000005\"} 1",
            "featurestore_request_duration_seconds_bucket{outcome=\"hit\",view=\"view_00\",le=\"+Inf\"} 1",
            "featurestore_requests_total{outcome=\"hit\",view=\"other\"} 10",
            "featurestore_hit_ratio 0.5",
            "featurestore_corrupt_blocks_total{view=\"view_00\"} 2",
        ] {
            assert!(
                text.contains(line) || text.contains(&swapped(line)),
                "{line} is missing from\n{}",
                &text[..2000.min(text.len())]
            );
        }
        assert!(!text.contains("view_55"), "views are capped");
        drop(source);
        assert!(!recorder.text().contains("featurestore_hit_ratio"), "a store that is gone is not exported");
    }

    /// The same line with the two labels in the other order.
    fn swapped(line: &str) -> String {
        let Some((name, rest)) = line.split_once('{') else { return line.to_owned() };
        let Some((labels, value)) = rest.split_once('}') else { return line.to_owned() };
        let mut labels: Vec<_> = labels.split(',').collect();
        labels.sort_by_key(|label| (label.starts_with("le="), !label.starts_with("view=")));
        format!("{name}{{{}}}{value}", labels.join(","))
    }
}
