//! What GPUs there are: classes of devices and classes of nodes, without any Kubernetes type.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::estimate::{Bytes, Device};

pub mod dynamic;

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
    /// A share that the pod asked for and that the runtime enforces (HAMi, Volcano).
    Limited,
    /// A share that the pod asked for and that nothing enforces (KAI).
    Fraction,
}

/// Where a capacity figure came from, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CapacitySource {
    /// The node's own `nvidia.com/gpu.memory` label, or another that says the memory itself.
    Label,
    /// A device that a driver published in a `ResourceSlice`.
    DeviceSlice,
    /// What a sharing layer wrote into the node's annotations.
    Register,
    /// The product label, looked up in the GPU catalogue.
    Product,
    /// The instance type, looked up in the instance catalogue.
    InstanceType,
    /// The name of a partition's profile.
    Profile,
    /// Given on the command line (`--gpu`).
    Given,
}

/// Whose software runs on the device: the engines' rules were measured on CUDA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    /// NVIDIA.
    Cuda,
    /// Any other.
    Other,
}

/// Devices that are the same for fitting: product × memory × sharing × resource name.
#[derive(Debug, Clone, PartialEq)]
pub struct GpuClass {
    /// Product, and the most memory that a pod can have of one device.
    pub device: Device,
    /// Of it, what a pod can count on: less than all where pods share it, or where only bounds are known.
    pub assured: Bytes,
    /// Pods that can be on one device at once.
    pub clients: u64,
    /// How it is shared.
    pub sharing: Sharing,
    /// Whose device it is.
    pub platform: Platform,
    /// Extended resource that a pod requests, e.g. `nvidia.com/gpu`, or the device class of a claim.
    pub resource: String,
    /// Where the memory figure came from.
    pub source: CapacitySource,
}

impl GpuClass {
    /// A whole device, all of it for one pod.
    #[must_use]
    pub fn whole(device: Device, resource: &str, source: CapacitySource) -> Self {
        let platform = if device.compute_capability.is_some() || resource.starts_with("nvidia.com/") {
            Platform::Cuda
        } else {
            Platform::Other
        };
        let (assured, resource) = (device.visible, resource.to_owned());
        Self { device, assured, clients: 1, sharing: Sharing::Exclusive, platform, resource, source }
    }

    /// Other pods may use what is visible but not assured.
    #[must_use]
    pub const fn has_neighbours(&self) -> bool {
        matches!(self.sharing, Sharing::TimeSlicing | Sharing::Fraction)
    }

    /// Short stable name for output and metric labels, e.g. `NVIDIA-L40S-45GiB`.
    #[must_use]
    pub fn name(&self) -> String {
        let shared = match self.sharing {
            Sharing::Exclusive | Sharing::Mig => "",
            Sharing::TimeSlicing => "-time-sliced",
            Sharing::Mps => "-mps",
            Sharing::Limited => "-limited",
            Sharing::Fraction => "-fraction",
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
    /// Devices that are claimed one by one; none where no driver publishes any.
    pub devices: Option<Arc<dynamic::NodeDevices>>,
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
    /// Extended resource, e.g. `nvidia.com/gpu`; all that begin alike where it ends in `*`.
    pub resource: String,
    /// Allocatable count on one node.
    pub count: u64,
    /// Why, for the message.
    pub reason: String,
}

impl UnknownCapacity {
    /// Whether devices of this resource are among what is not known.
    #[must_use]
    pub fn covers(&self, resource: &str) -> bool {
        self.resource.strip_suffix('*').map_or(self.resource == resource, |prefix| resource.starts_with(prefix))
    }
}

/// All that is known about capacity at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Inventory {
    /// Node classes with GPUs, in a stable order.
    pub classes: Vec<NodeClass>,
    /// Nodes seen in all, GPU or not.
    pub nodes: usize,
    /// Claims, and what they can be on.
    pub dynamic: dynamic::Dynamic,
    /// Nodes that an autoscaler could add. Labels that they do not state may have any value.
    pub possible: Vec<NodeClass>,
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
    /// The request gets fewer devices than it asks for.
    pub crowding: Option<Crowding>,
}

/// Several replicas of shared devices were asked for, and one node has fewer devices than that behind them: ranks would
/// have to share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowding {
    /// Replicas asked for.
    pub asked: u64,
    /// Distinct devices that they can be on, at most.
    pub devices: u64,
}

impl Crowding {
    /// Of a request for so many replicas on a node that offers `per_node` of them: replicas of time slicing give no
    /// more memory.
    #[must_use]
    pub fn of(class: &GpuClass, per_node: u64, asked: u64) -> Option<Self> {
        let devices = per_node.div_ceil(class.clients.max(1)).max(1);
        (class.sharing == Sharing::TimeSlicing && devices < asked).then_some(Self { asked, devices })
    }
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
    /// Classes of nodes that an autoscaler could add for the pod, largest device first, each once.
    pub possible: Vec<Candidate>,
    /// Such nodes have the resource, but their memory is not known: reasons.
    pub possible_unknown: Vec<String>,
}

impl Candidates {
    /// Every class of an inventory, for workloads that are not tied to a pod.
    #[must_use]
    pub fn everywhere(inventory: &Inventory) -> Self {
        let mut all = Self::default();
        for node in &inventory.classes {
            for (class, count) in &node.gpus {
                let nodes = node.members.len() as u64;
                if let Some(known) = all.eligible.iter_mut().find(|candidate| candidate.class == *class) {
                    known.gpus_per_node = known.gpus_per_node.max(*count);
                    known.nodes = known.nodes.saturating_add(nodes);
                } else {
                    let (class, gpus_per_node) = (Arc::clone(class), *count);
                    all.eligible.push(Candidate { class, gpus_per_node, nodes, crowding: None });
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
