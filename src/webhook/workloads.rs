//! Estimates of what runs: one set of figures a workload, made again whenever pods or capacity change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::app::App;
use crate::cluster::GpuPod;
use crate::decide::Report;
use crate::decide::policy::PolicyInput;
use crate::decide::report::Source;
use crate::estimate::{Interval, PerGpu};
use crate::evaluate::{Environment, evaluate};
use crate::facts::catalog::Catalog;
use crate::telemetry::families::{self, Family};
use crate::telemetry::metrics::Sample;

/// Containers with series at most: a gauge of each would otherwise grow with the cluster.
const LIMIT: usize = 1000;

/// A rollout changes many pods; figures wait for it this long.
const DEBOUNCE: Duration = Duration::from_millis(500);

/// What one container of a workload needs.
#[derive(Debug, Clone, PartialEq)]
struct Figures {
    namespace: String,
    workload: String,
    container: String,
    per_gpu: PerGpu,
    /// Usable memory minus the likely requirement, bytes; where the GPU is known.
    headroom: Option<f64>,
}

/// The latest figures.
#[derive(Debug, Default)]
pub(super) struct Workloads(ArcSwap<Vec<Figures>>);

impl Workloads {
    /// All series.
    pub(super) fn samples(&self, samples: &mut Vec<Sample>) {
        for figures in self.0.load().iter() {
            figures.samples(samples);
        }
    }
}

/// Keeps the figures up to date for ever.
pub(super) async fn follow(app: &Arc<App>) {
    loop {
        app.cluster.workloads_changed().await;
        tokio::time::sleep(DEBOUNCE).await;
        // A thousand estimates are milliseconds: too long for the threads that answer reviews.
        let app = Arc::clone(app);
        let _a_panic_costs_one_refresh = tokio::task::spawn_blocking(move || refresh(&app)).await;
    }
}

fn refresh(app: &App) {
    let pods = app.cluster.pods();
    let mut workloads: BTreeMap<(&str, &str), &GpuPod> = BTreeMap::new();
    for pod in &pods {
        workloads.entry((&pod.template.namespace, &pod.workload)).or_insert(pod);
    }
    let (snapshot, policy) = (app.cluster.snapshot(), app.policy.current());
    let config_maps = app.cluster.config_maps();
    let environment = Environment {
        catalog: Catalog::embedded(),
        profiles: &snapshot.profiles,
        source: app.model_source(),
        inventory: snapshot.known_inventory(),
        policy: &policy,
        config_maps: config_maps.as_deref(),
    };
    let mut figures = Vec::new();
    let mut dropped = 0;
    for pod in workloads.into_values() {
        if figures.len() >= LIMIT {
            dropped += 1;
            continue;
        }
        let source = Source { kind: "Pod".to_owned(), ..Source::default() };
        let asked = PolicyInput { namespace: &pod.template.namespace, ..PolicyInput::default() };
        let reports = evaluate(&pod.template, &source, &asked, &environment);
        figures.extend(reports.into_iter().filter_map(|report| Figures::of(pod, report)));
    }
    app.metrics.add(families::SERIES_DROPPED, &[], dropped);
    app.workloads.0.store(Arc::new(figures));
}

impl Figures {
    fn of(pod: &GpuPod, report: Report) -> Option<Self> {
        let per_gpu = report.estimate?.per_gpu;
        let headroom = report.capacity.map(|c| c.usable_bytes.as_f64() - per_gpu.required.likely.as_f64());
        let (namespace, workload) = (pod.template.namespace.clone(), pod.workload.clone());
        Some(Self { namespace, workload, container: report.source.container, per_gpu, headroom })
    }

    fn samples(&self, samples: &mut Vec<Sample>) {
        let PerGpu { required, wanted, reserved } = self.per_gpu;
        self.bounds(families::REQUIRED, required, samples);
        self.bounds(families::WANTED, wanted, samples);
        self.bounds(families::RESERVED, reserved, samples);
        if let Some(value) = self.headroom {
            samples.push(Sample { family: families::HEADROOM, labels: self.labels().into(), value });
        }
    }

    fn bounds(&self, family: Family, interval: Interval, samples: &mut Vec<Sample>) {
        for (bound, bytes) in [("low", interval.low), ("likely", interval.likely), ("high", interval.high)] {
            let mut labels: Vec<String> = self.labels().into();
            labels.push(bound.to_owned());
            samples.push(Sample { family, labels, value: bytes.as_f64() });
        }
    }

    fn labels(&self) -> [String; 3] {
        [self.namespace.clone(), self.workload.clone(), self.container.clone()]
    }
}
