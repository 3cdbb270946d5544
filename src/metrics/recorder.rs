//! The seam through which measurements leave.

use std::sync::{Arc, Weak};

use super::catalogue::Metric;
use super::requests::RequestCells;

/// A value that is asked for at the moment of export.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Which metric.
    pub metric: &'static Metric,
    /// The values of its labels, in their order.
    pub labels: Vec<String>,
    /// The value.
    pub value: f64,
}

/// What a store offers to be asked for at the moment of export.
pub trait MetricsSource: Send + Sync {
    /// The request counters of every view in use, which a hit raises without telling anybody.
    fn requests(&self) -> Vec<(String, Arc<RequestCells>)>;

    /// What is computed when asked for.
    fn samples(&self) -> Vec<Sample>;
}

/// Receives measurements. The default of every method does nothing.
///
/// Calls come from any thread and must neither block nor panic. The counters of requests are not
/// pushed: an exporter pulls them from the sources that were attached, so that a hit costs two
/// additions whatever the exporter is.
pub trait Recorder: Send + Sync + 'static {
    /// Pull from this store at every export, as long as it lives.
    fn attach(&self, source: Weak<dyn MetricsSource>) {
        let _ = source;
    }

    /// Pull from this store for the last time: it is about to go, and counters never fall.
    fn detach(&self, source: &Weak<dyn MetricsSource>) {
        let _ = source;
    }

    /// Everything in the text format that Prometheus scrapes; `None` where it leaves in another way.
    fn text(&self) -> Option<String> {
        None
    }

    /// Raises a counter, or moves a gauge by this much.
    fn add(&self, metric: &'static Metric, labels: &[&str], by: f64) {
        let _ = (metric, labels, by);
    }

    /// Records an observation in a histogram.
    fn observe(&self, metric: &'static Metric, labels: &[&str], value: f64) {
        let _ = (metric, labels, value);
    }

    /// Sets a gauge.
    fn set(&self, metric: &'static Metric, labels: &[&str], value: f64) {
        let _ = (metric, labels, value);
    }
}

/// Records nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRecorder;

impl Recorder for NoRecorder {}

impl<R: Recorder + ?Sized> Recorder for Arc<R> {
    fn attach(&self, source: Weak<dyn MetricsSource>) {
        self.as_ref().attach(source);
    }

    fn detach(&self, source: &Weak<dyn MetricsSource>) {
        self.as_ref().detach(source);
    }

    fn text(&self) -> Option<String> {
        self.as_ref().text()
    }

    fn add(&self, metric: &'static Metric, labels: &[&str], by: f64) {
        self.as_ref().add(metric, labels, by);
    }

    fn observe(&self, metric: &'static Metric, labels: &[&str], value: f64) {
        self.as_ref().observe(metric, labels, value);
    }

    fn set(&self, metric: &'static Metric, labels: &[&str], value: f64) {
        self.as_ref().set(metric, labels, value);
    }
}
