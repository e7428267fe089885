//! What GPUs there are: classes of devices and classes of nodes, without any Kubernetes type.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::estimate::{Bytes, Device};

/// How a device is shared. Part of a GPU class's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// One pod has the device.
    Exclusive,
    /// Replicas share time and memory.
    TimeSlicing,
    /// Memory is divided by the number of replicas.
    Mps,
    /// A hardware partition.
    Mig,
}

/// Where a capacity figure came from, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CapacitySource {
    /// The node's own `nvidia.com/gpu.memory` label.
    Label,
    /// The product label, looked up in the GPU catalogue.
    Product,
    /// The instance type, looked up in the instance catalogue.
    InstanceType,
    /// Given on the command line (`--gpu`).
    Given,
}

/// Devices that are the same for fitting: product × visible memory × sharing × resource name.
#[derive(Debug, Clone, PartialEq)]
pub struct GpuClass {
    /// Product and memory.
    pub device: Device,
    /// How it is shared.
    pub sharing: Sharing,
    /// Extended resource that a pod requests, e.g. `nvidia.com/gpu`.
    pub resource: String,
    /// Where the memory figure came from.
    pub source: CapacitySource,
}

impl GpuClass {
    /// Short stable name for output and metric labels, e.g. `NVIDIA-L40S-45GiB`.
    #[must_use]
    pub fn name(&self) -> String {
        let shared = match self.sharing {
            Sharing::Exclusive | Sharing::Mig => "",
            Sharing::TimeSlicing => "-time-sliced",
            Sharing::Mps => "-mps",
        };
        format!("{}-{:.0}GiB{shared}", self.device.product, self.device.visible.gib())
    }
}

/// A taint that keeps pods away.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value, possibly empty.
    pub value: String,
    /// `NoSchedule`, `NoExecute` or `PreferNoSchedule`.
    pub effect: String,
}

/// Nodes that are the same to the scheduler, apart from labels that are unique to each.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeClass {
    /// Labels that all members share.
    pub labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: Vec<Taint>,
    /// Cordoned.
    pub unschedulable: bool,
    /// Devices by class with the allocatable count on one node (replicas, where shared).
    pub gpus: Vec<(Arc<GpuClass>, u64)>,
    /// GPUs are requested here under this resource name but their memory is not known; empty if all is known.
    pub unknown: Vec<UnknownCapacity>,
    /// The members with the labels that differ between them (host name and other per-node keys).
    pub members: Vec<Member>,
}

/// A node of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Node name.
    pub name: String,
    /// Labels of this node that are not shared by the class.
    pub labels: BTreeMap<String, String>,
}

/// GPUs whose memory could not be found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownCapacity {
    /// Extended resource, e.g. `nvidia.com/gpu`.
    pub resource: String,
    /// Allocatable count on one node.
    pub count: u64,
    /// Why, for the message.
    pub reason: String,
}

/// All that is known about capacity at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Inventory {
    /// Node classes with GPUs, in a stable order.
    pub classes: Vec<NodeClass>,
    /// Nodes seen in all, GPU or not.
    pub nodes: usize,
}

/// A GPU class that the workload may land on, with where.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The device class.
    pub class: Arc<GpuClass>,
    /// Most devices of this class that one eligible node offers.
    pub gpus_per_node: u64,
    /// Eligible nodes with it.
    pub nodes: u64,
}

/// What the workload can land on: the answer of eligibility.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Candidates {
    /// Eligible classes, largest device first, each once.
    pub eligible: Vec<Candidate>,
    /// Classes that exist but that this pod cannot land on, each with the first reason (for fixes and messages).
    pub excluded: Vec<(Candidate, String)>,
    /// Eligible nodes offer the resource, but their memory is not known: reasons.
    pub unknown: Vec<String>,
}

impl Candidates {
    /// Every class of an inventory, for workloads that are not tied to a pod.
    #[must_use]
    pub fn everywhere(inventory: &Inventory) -> Self {
        let mut all = Self::default();
        for node in &inventory.classes {
            for (class, count) in &node.gpus {
                let nodes = node.members.len() as u64;
                match all.eligible.iter_mut().find(|candidate| candidate.class == *class) {
                    Some(known) => {
                        known.gpus_per_node = known.gpus_per_node.max(*count);
                        known.nodes = known.nodes.saturating_add(nodes);
                    }
                    None => {
                        all.eligible.push(Candidate { class: Arc::clone(class), gpus_per_node: *count, nodes });
                    }
                }
            }
            all.unknown.extend(node.unknown.iter().map(|gap| gap.reason.clone()));
        }
        all.unknown.dedup();
        all.eligible.sort_by(|a, b| {
            let (a, b) = (&a.class.device, &b.class.device);
            b.visible.cmp(&a.visible).then_with(|| a.product.cmp(&b.product))
        });
        all
    }
}

/// Visible memory summed over all devices of a class, for metrics.
#[must_use]
pub fn devices_by_class(inventory: &Inventory) -> BTreeMap<String, (Bytes, u64)> {
    let mut totals = BTreeMap::new();
    for class in &inventory.classes {
        for (gpu, count) in &class.gpus {
            let entry = totals.entry(gpu.name()).or_insert((gpu.device.visible, 0));
            entry.1 += count.saturating_mul(class.members.len() as u64);
        }
    }
    totals
}
