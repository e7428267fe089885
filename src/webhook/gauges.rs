//! The values of all gauges at the moment of a scrape, read from where they live: nothing can go stale, and series
//! vanish with what they describe.

use std::collections::BTreeMap;

use super::app::App;
use crate::decide::Inventory;
use crate::decide::inventory::devices_by_class;
use crate::telemetry::VERSION;
use crate::telemetry::families::{self, Family};
use crate::telemetry::metrics::Sample;

/// Every gauge of the server.
pub(super) fn samples(app: &App) -> Vec<Sample> {
    let mut samples = vec![
        sample(families::BUILD_INFO, &[VERSION], 1.0),
        sample(families::CERTIFICATE_EXPIRY, &[], app.certificate.expiry() as f64),
        sample(families::CACHE_AGE, &["policy"], app.policy.stale_for().as_secs_f64()),
    ];
    for cache in app.cluster.status() {
        samples.push(sample(families::CACHE_OBJECTS, &[cache.name], cache.objects as f64));
        // A cache that was never filled has no age; readiness says so.
        samples.extend(cache.age.map(|age| sample(families::CACHE_AGE, &[cache.name], age.as_secs_f64())));
    }
    capacity(&app.cluster.snapshot().inventory, &mut samples);
    app.workloads.samples(&mut samples);
    samples
}

fn capacity(inventory: &Inventory, samples: &mut Vec<Sample>) {
    for (class, (visible, devices)) in devices_by_class(inventory) {
        samples.push(sample(families::GPU_CAPACITY, &[&class], visible.as_f64()));
        samples.push(sample(families::GPU_DEVICES, &[&class], devices as f64));
    }
    let mut nodes: BTreeMap<String, usize> = BTreeMap::new();
    for class in &inventory.classes {
        for (gpu, _) in &class.gpus {
            *nodes.entry(gpu.name()).or_default() += class.members.len();
        }
    }
    samples.extend(nodes.into_iter().map(|(class, count)| sample(families::GPU_NODES, &[&class], count as f64)));
}

fn sample(family: Family, labels: &[&str], value: f64) -> Sample {
    Sample { family, labels: labels.iter().map(|&label| label.to_owned()).collect(), value }
}
