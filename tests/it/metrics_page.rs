//! `docs/metrics.md` is the catalogue.

use std::fmt::Write;

use larder::metrics::catalogue::{ALL, PROCESS};
use larder::metrics::{DURATION_BOUNDS_NS, Kind, Metric, Whose};

use crate::checkout;

fn row(metric: &Metric) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let labels: Vec<String> = metric
        .labels
        .iter()
        .map(|label| match label.values {
            [] => format!("`{}`", label.name),
            values => format!("`{}`: {}", label.name, values.join(", ")),
        })
        .collect();
    let whose = match metric.whose {
        Whose::All => "all",
        Whose::Own => "its own",
    };
    format!("| `{}` | {kind}, {} | {} | {whose} | {} |", metric.name, metric.unit, labels.join("; "), metric.help)
}

fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Series whose labels are known are there at 0 from the beginning, those of a view from its first sight on. The\n\
         first 50 views have labels of their own, the others share `other`. No symbol is ever a label. A process with\n\
         `manifest.fold_interval` = 0 s exports nothing about folding, which others do.\n\n\
         The column *serve* says whose work `larder serve` exports: that of all processes of the cache directory, or only\n\
         its own. Counters of all come through the journals: they count from when `larder serve` began, seconds late. A\n\
         service exports its own of everything, except what says how the directory is.\n\n\
         | metric | kind, unit | labels | serve | |\n|---|---|---|---|---|\n",
    );
    ALL.iter().for_each(|metric| writeln!(page, "{}", row(metric)).unwrap());
    let bounds: Vec<String> = DURATION_BOUNDS_NS.iter().map(|ns| format!("{}", *ns as f64 / 1e9)).collect();
    writeln!(page, "\nBuckets of histograms, in seconds: {}.\n", bounds.join(", ")).unwrap();
    let process: Vec<String> = PROCESS.iter().map(|name| format!("`{name}`")).collect();
    writeln!(page, "On Linux, of the process, as in every client library: {}.", process.join(", ")).unwrap();
    page
}

#[test]
fn the_page_of_metrics_is_the_catalogue() {
    let file = checkout::path("docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, page()).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written == page(), "docs/metrics.md is behind the catalogue: run this test with UPDATE_DOCS=1");
}
