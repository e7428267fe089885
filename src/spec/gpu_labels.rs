//! What node labels say about a node's GPUs, vendor by vendor and cloud by cloud, as tables.
//!
//! Labels and catalogues count memory as NVML does; a class has what the CUDA runtime sees of it, which is less.

use std::collections::BTreeMap;

use crate::decide::inventory::{CapacitySource, GpuClass, Sharing};
use crate::estimate::{Bytes, Device};
use crate::facts::{gpus, runtime_memory};

type Labels = BTreeMap<String, String>;

const NVIDIA: &str = "nvidia.com/gpu";
const NVIDIA_SHARED: &str = "nvidia.com/gpu.shared";
const NVIDIA_MIG: &str = "nvidia.com/mig-";
const INSTANCE_TYPES: [&str; 2] = ["node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type"];

/// Resource names, or prefixes of them, that are accelerators with memory of their own.
const ACCELERATORS: &[&str] = &[
    NVIDIA,
    NVIDIA_MIG,
    "amd.com/gpu",
    "gpu.intel.com/i915",
    "gpu.intel.com/xe",
    "habana.ai/gaudi",
    "google.com/tpu",
    "aws.amazon.com/neuron",
];

/// Labels that name the product of a node's GPUs where GPU feature discovery does not run, in the words of the GPU
/// catalogue or of one of its aliases.
const PRODUCT_LABELS: &[&str] = &[
    "cloud.google.com/gke-accelerator",
    "karpenter.k8s.aws/instance-gpu-name",
    "eks.amazonaws.com/instance-gpu-name",
    "karpenter.azure.com/sku-gpu-name",
    "k8s.amazonaws.com/accelerator",
    "gpu.nvidia.com/class",
    "skypilot.co/accelerator",
];

/// Labels with the number of GPUs of a node whose device plugin has not registered yet.
const COUNT_LABELS: &[&str] = &[
    "nvidia.com/gpu.count",
    "cloud.google.com/gke-accelerator-count",
    "karpenter.k8s.aws/instance-gpu-count",
    "eks.amazonaws.com/instance-gpu-count",
    "karpenter.azure.com/sku-gpu-count",
];

/// Label of the strategy, label of the replicas per GPU, and what a strategy is called there.
type SharingLabels = (&'static str, &'static str, &'static [(&'static str, Sharing)]);

/// Labels of sharing, in the order they are asked.
const SHARING_LABELS: &[SharingLabels] = &[
    (
        "nvidia.com/gpu.sharing-strategy",
        "nvidia.com/gpu.replicas",
        &[("time-slicing", Sharing::TimeSlicing), ("mps", Sharing::Mps)],
    ),
    (
        "cloud.google.com/gke-gpu-sharing-strategy",
        "cloud.google.com/gke-max-shared-clients-per-gpu",
        &[("time-sharing", Sharing::TimeSlicing), ("mps", Sharing::Mps)],
    ),
];

/// A device class, or why its memory is not known.
pub(super) enum Found {
    Known(GpuClass),
    Unknown(String),
}

/// Whether an extended resource is an accelerator whose memory matters.
pub(super) fn is_accelerator(resource: &str) -> bool {
    ACCELERATORS.iter().any(|name| match resource.strip_prefix(name) {
        Some("") => true,
        Some(rest) => {
            name.ends_with('-') || rest.starts_with('.') || rest.starts_with("core") || rest.starts_with("device")
        }
        None => false,
    })
}

/// The resource and count that a node's labels promise although no device plugin has registered it.
pub(super) fn promised(labels: &Labels) -> Option<(&'static str, u64)> {
    // Under the mixed MIG strategy slices are offered, and no label tells which before they are.
    if labels.get("nvidia.com/mig.strategy").is_some_and(|strategy| strategy == "mixed") {
        return None;
    }
    let labelled = COUNT_LABELS.iter().find_map(|key| number(labels, key));
    let count = labelled.or_else(|| instance(labels).filter(|i| i.resource == NVIDIA).map(|i| i.count))?;
    let replicas = sharing(labels).map_or(1, |(_, replicas)| replicas);
    Some((NVIDIA, count.saturating_mul(replicas))).filter(|(_, count)| *count > 0)
}

/// The device class behind a resource of a node with these labels.
pub(super) fn class_of(labels: &Labels, resource: &str) -> Found {
    if resource == NVIDIA || resource == NVIDIA_SHARED {
        return nvidia(labels, resource);
    }
    if resource.starts_with(NVIDIA_MIG) {
        return mig_slice(labels, resource);
    }
    match instance(labels).filter(|i| i.resource == resource) {
        Some(found) => known(
            found.product,
            found.memory,
            found.capability,
            Sharing::Exclusive,
            resource,
            CapacitySource::InstanceType,
        ),
        None => Found::Unknown(format!("no label or instance type that we read tells the memory of {resource}")),
    }
}

/// Whole NVIDIA devices, shared ones, and slices under the single MIG strategy, which look like whole devices.
fn nvidia(labels: &Labels, resource: &str) -> Found {
    let product = labels.get("nvidia.com/gpu.product").map(|name| name.trim_end_matches("-SHARED"));
    if product.is_some_and(|name| name.ends_with("-MIG-INVALID")) {
        return Found::Unknown("its MIG configuration is invalid (nvidia.com/gpu.product ends in -MIG-INVALID)".into());
    }
    let (strategy, replicas) = match sharing(labels) {
        Some(shared) => shared,
        None if product.is_some_and(|name| name.contains("-MIG-")) => (Sharing::Mig, 1),
        None => (Sharing::Exclusive, 1),
    };
    let Some(device) = whole_device(labels, product) else { return Found::Unknown(unknown_reason(labels, product)) };
    // MPS gives each client its share of the memory; time slicing gives each the whole, at other times.
    // A MIG slice's label is already what the runtime sees.
    let seen = match strategy {
        Sharing::Mig => device.memory,
        _ => runtime_memory::visible(&device.product, device.memory),
    };
    let memory = if strategy == Sharing::Mps { Bytes(seen.0 / replicas.max(1)) } else { seen };
    known(device.product, memory, device.capability, strategy, resource, device.source)
}

/// What is known of one physical device, from the best source.
struct Whole {
    product: String,
    /// As NVML and the labels count it.
    memory: Bytes,
    capability: Option<(u8, u8)>,
    source: CapacitySource,
}

fn whole_device(labels: &Labels, product: Option<&str>) -> Option<Whole> {
    let labelled_capability = capability(labels);
    let catalogued = product
        .or_else(|| PRODUCT_LABELS.iter().find_map(|key| labels.get(*key).map(String::as_str)))
        .and_then(gpus::by_product);
    let capability = labelled_capability.or_else(|| catalogued.as_ref().and_then(|gpu| gpu.compute_capability));
    if let Some(mib) = number(labels, "nvidia.com/gpu.memory").filter(|&mib| mib > 0) {
        let name = product.map(str::to_owned).or_else(|| catalogued.as_ref().map(|gpu| gpu.product.to_owned()));
        let product = name.unwrap_or_else(|| "GPU".to_owned());
        return Some(Whole { product, memory: Bytes::from_mib(mib), capability, source: CapacitySource::Label });
    }
    if let Some((gpu, memory)) = catalogued.as_ref().and_then(|gpu| Some((gpu, gpu.visible?))) {
        let product = gpu.product.to_owned();
        return Some(Whole { product, memory, capability, source: CapacitySource::Product });
    }
    // A product label that the catalogue does not know outranks the instance type: they would contradict each other.
    if product.is_some() {
        return None;
    }
    let found = instance(labels).filter(|i| i.resource == NVIDIA)?;
    let capability = labelled_capability.or(found.capability);
    Some(Whole { product: found.product, memory: found.memory, capability, source: CapacitySource::InstanceType })
}

fn unknown_reason(labels: &Labels, product: Option<&str>) -> String {
    let instance_type = INSTANCE_TYPES.iter().find_map(|key| labels.get(*key));
    match (product, instance_type) {
        (Some(product), _) => {
            format!("product {product} is not in the GPU catalogue and the node has no nvidia.com/gpu.memory label")
        }
        (None, Some(kind)) => format!(
            "the node has no nvidia.com/gpu.memory or nvidia.com/gpu.product label and the memory of instance type {kind} is not known"
        ),
        (None, None) => {
            "the node has no nvidia.com/gpu.memory, nvidia.com/gpu.product or instance type label".to_owned()
        }
    }
}

/// A slice under the mixed MIG strategy: every profile has labels of its own.
fn mig_slice(labels: &Labels, resource: &str) -> Found {
    let read = |what: &str| labels.get(&format!("{resource}.{what}"));
    let memory = read("memory").and_then(|text| text.parse().ok()).filter(|&mib: &u64| mib > 0);
    let Some(mib) = memory else { return Found::Unknown(format!("the node has no {resource}.memory label")) };
    let product = read("product").cloned().unwrap_or_else(|| resource.replace("nvidia.com/", "NVIDIA-"));
    let replicas = number(labels, &format!("{resource}.replicas")).unwrap_or(1);
    let shared = replicas > 1 && read("sharing-strategy").is_some_and(|strategy| strategy == "time-slicing");
    let sharing = if shared { Sharing::TimeSlicing } else { Sharing::Mig };
    known(product, Bytes::from_mib(mib), capability(labels), sharing, resource, CapacitySource::Label)
}

fn known(
    product: String,
    visible: Bytes,
    compute_capability: Option<(u8, u8)>,
    sharing: Sharing,
    resource: &str,
    source: CapacitySource,
) -> Found {
    let device = Device { product, visible, compute_capability };
    Found::Known(GpuClass { device, sharing, resource: resource.to_owned(), source })
}

/// Strategy and replicas per GPU, where a device is shared at all.
fn sharing(labels: &Labels) -> Option<(Sharing, u64)> {
    SHARING_LABELS.iter().find_map(|(strategy_key, replicas_key, names)| {
        let strategy = labels.get(*strategy_key)?;
        let (_, sharing) = names.iter().find(|(name, _)| name == strategy)?;
        Some((*sharing, number(labels, replicas_key).filter(|&n| n > 0).unwrap_or(1)))
    })
}

/// What an instance type has, as far as memory is concerned.
struct Instance {
    product: String,
    memory: Bytes,
    capability: Option<(u8, u8)>,
    resource: String,
    count: u64,
}

fn instance(labels: &Labels) -> Option<Instance> {
    let name = INSTANCE_TYPES.iter().find_map(|key| labels.get(*key))?;
    let row = gpus::by_instance_type(name)?;
    Some(Instance {
        product: row.product.to_owned(),
        memory: row.visible?,
        capability: row.compute_capability,
        resource: row.resource.to_owned(),
        count: row.count,
    })
}

fn capability(labels: &Labels) -> Option<(u8, u8)> {
    let read = |key: &str| labels.get(key)?.parse().ok();
    Some((read("nvidia.com/gpu.compute.major")?, read("nvidia.com/gpu.compute.minor")?))
}

fn number(labels: &Labels, key: &str) -> Option<u64> {
    labels.get(key)?.parse().ok()
}
