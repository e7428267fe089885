//! The metrics that dashboard and rules may query, with their labels.

use vramguard::telemetry::families::{ALL, Kind};

/// Metrics of others: the API server's (admission metrics of k8s.io/apiserver) and DCGM exporter's. The labels
/// without `exported_` of the latter are those that our queries make.
const FOREIGN: &[(&str, &[&str])] = &[
    ("apiserver_admission_webhook_admission_duration_seconds_bucket", &["name", "type", "operation", "rejected", "le"]),
    ("apiserver_admission_webhook_request_total", &["name", "type", "operation", "code", "rejected"]),
    ("apiserver_admission_webhook_fail_open_count", &["name", "type"]),
    ("DCGM_FI_DEV_FB_USED", &["namespace", "pod", "container", "workload"]),
];

/// One metric as Prometheus stores it.
#[derive(Clone, Debug)]
pub(crate) struct Metric {
    /// The name, with the suffix of a histogram's part.
    pub(crate) name: String,
    /// Its labels, without those of the scrape.
    pub(crate) labels: Vec<&'static str>,
    /// Whether we export it.
    pub(crate) own: bool,
}

/// Everything that may be queried.
pub(crate) fn metrics() -> Vec<Metric> {
    let mut metrics = Vec::new();
    for family in ALL {
        let mut add = |suffix: &str, more: &[&'static str]| {
            let labels = [family.labels, more].concat();
            metrics.push(Metric { name: format!("{}{suffix}", family.name), labels, own: true });
        };
        if family.kind == Kind::Histogram {
            add("_bucket", &["le"]);
            add("_sum", &[]);
            add("_count", &[]);
        } else {
            add("", &[]);
        }
    }
    let foreign = FOREIGN.iter();
    metrics.extend(foreign.map(|(name, labels)| Metric {
        name: (*name).to_owned(),
        labels: labels.to_vec(),
        own: false,
    }));
    metrics
}
