//! What is measured, and who is told.

pub mod catalogue;
#[cfg(feature = "prometheus")]
mod prometheus;
mod recorder;
mod requests;

#[cfg(feature = "prometheus")]
pub use self::prometheus::PrometheusRecorder;
pub use catalogue::{Kind, Merge, Metric, Whose};
pub use recorder::{MetricsSource, NoRecorder, Recorder, Sample};
pub use requests::{DURATION_BOUNDS_NS, RequestCells, RequestTotals};
