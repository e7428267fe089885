//! What a node says about its accelerators, vendor by vendor and cloud by cloud, as tables.
//!
//! Labels and catalogues count memory as NVML does; a class has what the CUDA runtime sees of it, which is less.

mod amd;
mod mig;
mod nvidia;
mod register;
mod vendors;

use std::collections::BTreeMap;

use super::gpus::{self as resources, NVIDIA, VOLCANO};
use super::nodes::NodeView;
use crate::decide::inventory::{CapacitySource, GpuClass, UnknownCapacity};
use crate::estimate::{Bytes, Device};
use crate::facts::gpus;

type Labels = BTreeMap<String, String>;

const INSTANCE_TYPES: [&str; 2] = ["node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type"];

/// Labels with the number of GPUs of a node whose device plugin has not registered yet.
const COUNT_LABELS: &[&str] = &[
    "nvidia.com/gpu.count",
    "cloud.google.com/gke-accelerator-count",
    "karpenter.k8s.aws/instance-gpu-count",
    "eks.amazonaws.com/instance-gpu-count",
    "karpenter.azure.com/sku-gpu-count",
];

/// Annotations of nodes that capacity is read from; the others need not be kept.
pub const ANNOTATIONS: &[&str] = &[register::HAMI, register::VOLCANO];

/// A resource of a node, with how many of it.
struct Offer<'a> {
    node: &'a NodeView,
    labels: &'a Labels,
    resource: &'a str,
    count: u64,
}

/// A device class, or why its memory is not known.
#[derive(Debug)]
enum Found {
    Known(GpuClass),
    Unknown(String),
}

/// The accelerators of one node.
#[derive(Default)]
pub(super) struct Equipment {
    pub(super) gpus: Vec<(GpuClass, u64)>,
    pub(super) unknown: Vec<UnknownCapacity>,
}

impl Equipment {
    pub(super) const fn is_empty(&self) -> bool {
        self.gpus.is_empty() && self.unknown.is_empty()
    }
}

/// Every accelerator resource that the node offers. A fresh node says 0, or nothing, until its device plugin has
/// registered: then what its labels promise counts, since a pod would wait for it and run.
pub(super) fn equipment(node: &NodeView) -> Equipment {
    let labels = &node.metadata.labels;
    let names = node.status.allocatable.keys().chain(node.status.capacity.keys());
    let mut offered: BTreeMap<&str, u64> = names
        .filter(|name| resources::is_gpu(name))
        .filter_map(|name| Some((name.as_str(), node.stated(name)?)))
        .collect();
    let mut found = Equipment::default();
    if let Some(gap) = nvidia::gap(labels, offered.keys().any(|name| name.starts_with("nvidia.com/"))) {
        offered.retain(|name, _| !gap.covers(name));
        found.unknown.push(gap);
    } else if offered.is_empty() {
        offered.extend(promised(labels));
    }
    for (resource, count) in offered {
        for (class, count) in classes(&Offer { node, labels, resource, count }) {
            match class {
                Found::Known(class) => found.gpus.push((class, count)),
                Found::Unknown(reason) => {
                    found.unknown.push(UnknownCapacity { resource: resource.to_owned(), count, reason });
                }
            }
        }
    }
    found
}

/// The classes of device behind a resource.
fn classes(offer: &Offer<'_>) -> Vec<(Found, u64)> {
    let one = |found: Found| vec![(found, offer.count)];
    let resource = offer.resource;
    match resource {
        NVIDIA | VOLCANO => {
            let registered = register::classes(offer);
            if registered.is_empty() { nvidia::classes(offer) } else { registered }
        }
        _ if resource.starts_with(mig::PREFIX) => one(mig::mixed(offer)),
        _ if resource.starts_with("nvidia.com/") => nvidia::classes(offer),
        _ if resource.starts_with("amd.com/") => one(amd::class(offer)),
        _ => one(vendors::class(offer)),
    }
}

/// Most and least memory of a MIG slice of a board by its profile's name.
pub(super) fn slice_bounds(board: Option<&str>, profile: &str) -> Option<(Bytes, Bytes)> {
    mig::slice(board, profile).map(|slice| (slice.most, slice.least))
}

/// The resource and count that a node's labels promise although no device plugin has registered it.
fn promised(labels: &Labels) -> Option<(&'static str, u64)> {
    match nvidia::promised(labels) {
        Some(count) => Some((NVIDIA, count)),
        None => instance(labels).map(|found| (found.resource, found.count)),
    }
    .filter(|(_, count)| *count > 0)
}

/// The class of a whole device whose instance type is all that is known.
fn by_instance(offer: &Offer<'_>) -> Option<Found> {
    let found = instance(offer.labels).filter(|found| found.resource == offer.resource)?;
    Some(Found::Known(found.class(offer.resource)))
}

impl gpus::Instance {
    fn class(&self, resource: &str) -> GpuClass {
        let device = Device {
            product: self.product.to_owned(),
            visible: self.visible.unwrap_or_default(),
            compute_capability: self.compute_capability,
        };
        GpuClass::whole(device, resource, CapacitySource::InstanceType)
    }
}

/// What the node's instance type has, where its memory is known.
fn instance(labels: &Labels) -> Option<gpus::Instance> {
    let name = INSTANCE_TYPES.iter().find_map(|key| labels.get(*key))?;
    gpus::by_instance_type(name).filter(|row| row.visible.is_some())
}

/// A device of a vendor other than NVIDIA.
fn other(offer: &Offer<'_>, product: &str, visible: Bytes, source: CapacitySource) -> GpuClass {
    let device = Device { product: product.to_owned(), visible, compute_capability: None };
    GpuClass::whole(device, offer.resource, source)
}

fn number(labels: &Labels, key: &str) -> Option<u64> {
    labels.get(key)?.parse().ok()
}

/// Physical devices of the node by its labels.
fn physical(labels: &Labels) -> Option<u64> {
    COUNT_LABELS.iter().find_map(|key| number(labels, key)).filter(|count| *count > 0)
}

#[cfg(test)]
mod tests;
