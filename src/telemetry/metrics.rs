//! The registry. The one file that names the Prometheus crate.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use prometheus::{Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};

use super::families::{self, Family};

/// The metrics cannot be set up or written.
#[derive(Debug, thiserror::Error)]
#[error("metrics")]
pub struct MetricsError(#[from] prometheus::Error);

/// All metrics of one server: an own registry, so that several can live in one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    counters: BTreeMap<&'static str, IntCounterVec>,
    gauges: BTreeMap<&'static str, GaugeVec>,
    durations: HistogramVec,
    /// Gauges are refilled at each scrape; two scrapes must not interleave.
    scrape: Mutex<()>,
}

/// Counters that exist from the start, at zero. `increase()` sees a step, not an appearance: without these, the alert
/// for the first bad policy file would not fire.
const FROM_THE_START: &[(Family, &[&str])] = &[
    (families::SERIES_DROPPED, &[]),
    (families::CONFIG_RELOADS, &["ok"]),
    (families::CONFIG_RELOADS, &["error"]),
    (families::CACHE_BAD_OBJECTS, &["nodes"]),
    (families::CACHE_BAD_OBJECTS, &["namespaces"]),
    (families::CACHE_BAD_OBJECTS, &["pods"]),
    (families::CACHE_BAD_OBJECTS, &["modelprofiles"]),
    (families::CACHE_BAD_OBJECTS, &["clustermodelprofiles"]),
    (families::HUB_LOOKUPS, &["ok"]),
    (families::ERRORS, &["malformed"]),
    (families::ERRORS, &["timeout"]),
    (families::ERRORS, &["too_large"]),
    (families::ERRORS, &["overloaded"]),
];

/// One value of a gauge family.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Which family.
    pub family: Family,
    /// Label values in the family's order.
    pub labels: Vec<String>,
    /// Value.
    pub value: f64,
}

impl Metrics {
    /// Registers every family.
    ///
    /// # Errors
    /// When a family is malformed or registered twice, which a test excludes.
    pub fn new() -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let (mut counters, mut gauges) = (BTreeMap::new(), BTreeMap::new());
        let options = HistogramOpts::new(families::DURATION.name, families::DURATION.help)
            .buckets(families::DURATION_BUCKETS.to_vec());
        let durations = HistogramVec::new(options, families::DURATION.labels)?;
        registry.register(Box::new(durations.clone()))?;
        for family in families::ALL {
            let options = Opts::new(family.name, family.help);
            match family.kind {
                families::Kind::Counter => {
                    let counter = IntCounterVec::new(options, family.labels)?;
                    registry.register(Box::new(counter.clone()))?;
                    counters.insert(family.name, counter);
                }
                families::Kind::Gauge => {
                    let gauge = GaugeVec::new(options, family.labels)?;
                    registry.register(Box::new(gauge.clone()))?;
                    gauges.insert(family.name, gauge);
                }
                families::Kind::Histogram => {}
            }
        }
        let metrics = Self { registry, counters, gauges, durations, scrape: Mutex::new(()) };
        for (family, labels) in FROM_THE_START {
            metrics.add(*family, labels, 0);
        }
        Ok(metrics)
    }

    /// Adds to a counter. Labels that do not match the family are ignored, which a test excludes.
    pub fn add(&self, family: Family, labels: &[&str], amount: u64) {
        let counter = self.counters.get(family.name).and_then(|c| c.get_metric_with_label_values(labels).ok());
        debug_assert!(counter.is_some(), "{} with {labels:?}", family.name);
        if let Some(counter) = counter {
            counter.inc_by(amount);
        }
    }

    /// Adds one to a counter.
    pub fn count(&self, family: Family, labels: &[&str]) {
        self.add(family, labels, 1);
    }

    /// Records how long an answer took, seconds.
    pub fn observe_duration(&self, endpoint: &str, seconds: f64) {
        if let Ok(histogram) = self.durations.get_metric_with_label_values(&[endpoint]) {
            histogram.observe(seconds);
        }
    }

    /// Replaces all gauges by `samples` and writes everything in text format. Series that are not in `samples` vanish.
    ///
    /// # Errors
    /// When a sample's labels do not match its family.
    pub fn render(&self, samples: &[Sample]) -> Result<Vec<u8>, MetricsError> {
        let _one_at_a_time = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        for gauge in self.gauges.values() {
            gauge.reset();
        }
        for sample in samples {
            if let Some(gauge) = self.gauges.get(sample.family.name) {
                let labels: Vec<&str> = sample.labels.iter().map(String::as_str).collect();
                gauge.get_metric_with_label_values(&labels)?.set(sample.value);
            }
        }
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// `Content-Type` of [`Metrics::render`]'s output.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics, samples: &[Sample]) -> String {
        String::from_utf8(metrics.render(samples).unwrap()).unwrap()
    }

    #[test]
    fn gauges_vanish_with_their_source() {
        let metrics = Metrics::new().unwrap();
        let sample = Sample { family: families::GPU_NODES, labels: vec!["NVIDIA-L4-22GiB".into()], value: 3.0 };
        assert!(text(&metrics, &[sample]).contains("vramguard_gpu_nodes{gpu_class=\"NVIDIA-L4-22GiB\"} 3"));
        assert!(!text(&metrics, &[]).contains("vramguard_gpu_nodes{"));
    }

    #[test]
    fn counters_survive_scrapes() {
        let metrics = Metrics::new().unwrap();
        metrics.count(families::ERRORS, &["timeout"]);
        metrics.observe_duration("validate", 0.0003);
        let page = text(&metrics, &[]) + &text(&metrics, &[]);
        assert_eq!(page.matches("vramguard_admission_errors_total{reason=\"timeout\"} 1").count(), 2);
        assert!(page.contains("vramguard_admission_duration_seconds_bucket{endpoint=\"validate\",le=\"0.0005\"} 1"));
        for (family, labels) in FROM_THE_START {
            let values: Vec<String> = labels.iter().map(|label| format!("\"{label}\"")).collect();
            let values = values.concat();
            let line = page.lines().find(|line| line.starts_with(family.name) && line.contains(&values));
            assert!(line.is_some(), "{} {values} in {page}", family.name);
        }
    }

    #[test]
    fn wrong_labels_are_an_error_and_no_panic() {
        let metrics = Metrics::new().unwrap();
        assert!(metrics.render(&[Sample { family: families::GPU_NODES, labels: vec![], value: 1.0 }]).is_err());
    }
}
