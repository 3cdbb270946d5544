//! Fills a `prometheus` registry.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric as Series, MetricFamily, MetricType};
use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry};

use super::catalogue::{self, Kind, Merge, Metric};
use super::recorder::{MetricsSource, Recorder, Sample};
use super::requests::{DURATION_BOUNDS_NS, RequestTotals};
use crate::config::MetricsSettings;
use crate::model::Outcome;

/// So many views have a label of their own; all others are `other`.
const MOST_VIEWS: usize = 50;
const OTHER: &str = "other";

/// A [`Recorder`] that fills a registry of its own, to be gathered or merged into a service's.
///
/// Series whose labels are known in advance are there at 0 from the beginning, those of a view from its
/// first sight on: a series that is born at 500 has no increase. The requests of a view, which it may have before
/// anybody knows of it, stay 0 until every scraper has seen that.
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
    stores: Mutex<Stores>,
    /// When the requests of a view were exported first, and for how long that is 0.
    exported: Mutex<BTreeMap<String, Instant>>,
    scrape_interval: Duration,
}

/// Whom to ask, and what those answered last that are gone.
#[derive(Default)]
struct Stores {
    living: Vec<Weak<dyn MetricsSource>>,
    gone: Answers,
}

/// What stores answered.
#[derive(Clone, Default)]
struct Answers {
    /// By the label of the view.
    requests: BTreeMap<String, RequestTotals>,
    samples: Samples,
}

struct Pulled(Arc<Families>);

impl Default for PrometheusRecorder {
    fn default() -> Self {
        Self::new()
    }
}

impl PrometheusRecorder {
    /// A recorder with a new registry, which is scraped as often as usual.
    pub fn new() -> Self {
        Self::scraped_every(MetricsSettings::default().scrape_interval)
    }

    /// The same where each scraper asks at least so often: for so long the requests of a new view are 0.
    pub fn scraped_every(interval: Duration) -> Self {
        let registry = Registry::new();
        let mut families = Families { scrape_interval: interval, ..Families::default() };
        let mut collectors: Vec<Box<dyn Collector>> = Vec::new();
        for metric in catalogue::ALL.iter().filter(|metric| metric.asked.is_none()) {
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
    fn living(&self) -> Vec<Arc<dyn MetricsSource>> {
        lock(&self.stores).living.iter().filter_map(Weak::upgrade).collect()
    }

    /// What all stores answer, with what those did that are gone.
    fn ask(&self) -> Answers {
        let (living, mut answers) = {
            // At once: a store is either asked or among those that are gone.
            let stores = lock(&self.stores);
            let living: Vec<_> = stores.living.iter().filter_map(Weak::upgrade).collect();
            (living, stores.gone.clone())
        };
        living.iter().for_each(|store| self.add_answers(&**store, |_| true, &mut answers));
        answers
    }

    fn add_answers(&self, store: &dyn MetricsSource, wanted: impl Fn(&Metric) -> bool, answers: &mut Answers) {
        for (view, cells) in store.requests() {
            answers.requests.entry(self.view_label(&view).to_owned()).or_default().add(&cells.totals());
        }
        for mut sample in store.samples().into_iter().filter(|sample| wanted(sample.metric)) {
            if let Some(view) = sample.labels.first_mut().filter(|_| of_a_view(sample.metric)) {
                *view = self.view_label(view).to_owned();
            }
            answers.samples.add(sample);
        }
    }

    /// Whether every scraper has seen this view without requests by now.
    fn was_seen_at_zero(&self, view: &str) -> bool {
        let now = Instant::now();
        now.duration_since(*lock(&self.exported).entry(view.to_owned()).or_insert(now)) >= self.scrape_interval
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
        let mut stores = lock(&self.families.stores);
        stores.living.retain(|store| store.strong_count() > 0);
        stores.living.push(source);
    }

    fn detach(&self, source: &Weak<dyn MetricsSource>) {
        let mut stores = lock(&self.families.stores);
        let Stores { living, gone } = &mut *stores;
        let Some(place) = living.iter().position(|store| store.ptr_eq(source)) else { return };
        if let Some(store) = living.swap_remove(place).upgrade() {
            self.families.add_answers(&*store, |metric| metric.kind == Kind::Counter, gone);
        }
    }

    fn text(&self) -> Option<String> {
        // So that what is gathered before the requests of a new view has its zeros too.
        for store in self.families.living() {
            store.requests().iter().for_each(|(view, _)| _ = self.families.view_label(view));
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

impl Collector for Pulled {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Answers { mut requests, samples } = self.0.ask();
        for (_, totals) in requests.iter_mut().filter(|(view, _)| !self.0.was_seen_at_zero(view)) {
            *totals = RequestTotals::default();
        }
        let mut families = request_families(&requests);
        families.extend(samples.families());
        families
    }
}

/// One value for each metric that is asked for and its labels.
#[derive(Clone, Default)]
struct Samples(BTreeMap<&'static str, Sampled>);

/// The values of one metric by its labels.
#[derive(Clone)]
struct Sampled {
    metric: &'static Metric,
    values: BTreeMap<Vec<String>, f64>,
}

impl Samples {
    /// Views beyond the cap, and several stores on one recorder, come together as the catalogue says.
    fn add(&mut self, sample: Sample) {
        let new = || Sampled { metric: sample.metric, values: BTreeMap::new() };
        let sampled = self.0.entry(sample.metric.name).or_insert_with(new);
        let merged = |value: &mut f64| {
            *value = match sample.metric.asked {
                Some(Merge::Sum) => *value + sample.value,
                Some(Merge::Least) => value.min(sample.value),
                Some(Merge::Most) | None => value.max(sample.value),
            }
        };
        sampled.values.entry(sample.labels).and_modify(merged).or_insert(sample.value);
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

    /// A store with the same requests of each view, and what else it answers.
    struct Store {
        views: Vec<String>,
        cells: Arc<RequestCells>,
        samples: Vec<(&'static Metric, f64)>,
    }

    impl MetricsSource for Store {
        fn requests(&self) -> Vec<(String, Arc<RequestCells>)> {
            self.views.iter().map(|view| (view.clone(), Arc::clone(&self.cells))).collect()
        }

        fn samples(&self) -> Vec<Sample> {
            let sample = |&(metric, value)| Sample { metric, labels: Vec::new(), value };
            self.samples.iter().map(sample).collect()
        }
    }

    fn views(n: usize) -> Vec<String> {
        (0..n).map(|at| format!("view_{at:02}")).collect()
    }

    /// A store with a hit of each view, attached to a recorder.
    fn attached(
        recorder: &PrometheusRecorder,
        views: Vec<String>,
        samples: Vec<(&'static Metric, f64)>,
    ) -> Arc<dyn MetricsSource> {
        let cells = Arc::new(RequestCells::default());
        cells.record(Outcome::Hit, Duration::from_micros(3));
        let store: Arc<dyn MetricsSource> = Arc::new(Store { views, cells, samples });
        recorder.attach(Arc::downgrade(&store));
        store
    }

    fn value(recorder: &PrometheusRecorder, series: &str) -> Option<f64> {
        let text = recorder.text().unwrap();
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    const HITS: &str = "featurestore_requests_total{outcome=\"hit\",view=\"view_00\"}";

    #[test]
    fn hits_are_pulled_and_every_outcome_is_there_at_zero() {
        let recorder = PrometheusRecorder::scraped_every(Duration::ZERO);
        let store = attached(&recorder, views(60), vec![(&catalogue::HIT_RATIO, 0.5)]);
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
        drop(store);
        assert!(!recorder.text().unwrap().contains("featurestore_hit_ratio"), "a store that is gone is not exported");
    }

    #[test]
    fn a_new_view_is_zero_however_many_ask_until_each_of_them_has_asked() {
        let recorder = PrometheusRecorder::scraped_every(Duration::from_secs(3600));
        let _store = attached(&recorder, views(1), vec![(&catalogue::HIT_RATIO, 1.0)]);
        for _ in 0..3 {
            assert_eq!(value(&recorder, HITS), Some(0.0));
            assert_eq!(value(&recorder, "featurestore_hit_ratio"), Some(1.0), "the gauge waits for nobody");
        }
    }

    #[test]
    fn what_a_new_view_was_asked_is_counted_after_a_scrape_interval() {
        let interval = Duration::from_millis(50);
        let recorder = PrometheusRecorder::scraped_every(interval);
        let _store = attached(&recorder, views(1), Vec::new());
        std::thread::sleep(interval);
        assert_eq!(value(&recorder, HITS), Some(0.0), "the first export, however late it is");
        std::thread::sleep(interval);
        assert_eq!(value(&recorder, HITS), Some(1.0));
        assert_eq!(value(&recorder, "featurestore_request_duration_seconds_count{outcome=\"hit\"}"), Some(1.0));
    }

    #[test]
    fn counters_do_not_fall_when_a_store_goes() {
        let recorder = PrometheusRecorder::scraped_every(Duration::ZERO);
        let evicted = |n| vec![(&catalogue::MEMORY_EVICTIONS, n), (&catalogue::MEMORY_BYTES, n)];
        let (one, _other) = (attached(&recorder, views(1), evicted(3.0)), attached(&recorder, views(1), evicted(4.0)));
        let seen = || {
            let value = |series| value(&recorder, series);
            (value(HITS), value("featurestore_memory_evictions_total"), value("featurestore_memory_bytes"))
        };
        assert_eq!(seen(), (Some(2.0), Some(7.0), Some(7.0)));
        recorder.detach(&Arc::downgrade(&one));
        assert_eq!(seen(), (Some(2.0), Some(7.0), Some(4.0)), "detached and still there");
        recorder.detach(&Arc::downgrade(&one));
        drop(one);
        assert_eq!(seen(), (Some(2.0), Some(7.0), Some(4.0)), "gone");
    }

    #[test]
    fn stores_of_one_process_come_together_as_the_catalogue_says() {
        for metric in catalogue::ALL.iter().filter(|metric| metric.labels.is_empty()) {
            let expected = match metric.asked {
                Some(Merge::Sum) => 5.0,
                Some(Merge::Least) => 2.0,
                Some(Merge::Most) => 3.0,
                None => continue,
            };
            let recorder = PrometheusRecorder::new();
            let stores = [2.0, 3.0].map(|value| attached(&recorder, Vec::new(), vec![(*metric, value)]));
            assert_eq!(value(&recorder, metric.name), Some(expected), "{}", metric.name);
            drop(stores);
        }
        for (metric, merge) in [
            (&catalogue::HIT_RATIO, Merge::Least),
            (&catalogue::BUDGET_REMAINING, Merge::Least),
            (&catalogue::DISK_FREE, Merge::Least),
            (&catalogue::DISK_RESERVE, Merge::Most),
            (&catalogue::NEWEST_EVENT, Merge::Least),
            (&catalogue::LAST_FOLD, Merge::Least),
        ] {
            assert_eq!(metric.asked, Some(merge), "{}: a store that fares worse must not be hidden", metric.name);
        }
    }
}
