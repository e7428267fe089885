//! NVIDIA devices: whole, shared by time slicing or MPS, and slices that look whole under the single MIG strategy.

use super::{Found, Labels, Offer, instance, mig, number, physical};
use crate::decide::inventory::{CapacitySource, GpuClass, Sharing, UnknownCapacity};
use crate::estimate::{Bytes, Device};
use crate::facts::{gpus, runtime_memory};
use crate::spec::gpus::NVIDIA;

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

/// No host holds more boards than this: more devices than these are replicas, whatever labels say.
const MOST_ON_A_HOST: u64 = 16;

const PRODUCT: &str = "nvidia.com/gpu.product";
const REPLICAS: &str = "nvidia.com/gpu.replicas";
const MIG_STATE: &str = "nvidia.com/mig.config.state";

/// Label of the strategy, label of the replicas per GPU, and what a strategy is called there.
type SharingLabels = (&'static str, &'static str, &'static [(&'static str, Sharing)]);

/// Labels of sharing, in the order they are asked.
const SHARING_LABELS: &[SharingLabels] = &[
    ("nvidia.com/gpu.sharing-strategy", REPLICAS, &[("time-slicing", Sharing::TimeSlicing), ("mps", Sharing::Mps)]),
    (
        "cloud.google.com/gke-gpu-sharing-strategy",
        "cloud.google.com/gke-max-shared-clients-per-gpu",
        &[("time-sharing", Sharing::TimeSlicing), ("mps", Sharing::Mps)],
    ),
];

/// Resources whose memory cannot be told at the moment: a MIG configuration is under way, or nothing is registered and
/// the labels do not say what will be.
pub(super) fn gap(labels: &Labels, offered: bool) -> Option<UnknownCapacity> {
    let unknown = |resource: &str, reason: String| {
        Some(UnknownCapacity { resource: resource.to_owned(), count: u64::MAX, reason })
    };
    if let Some(state) = labels.get(MIG_STATE).filter(|state| *state != "success") {
        return unknown("nvidia.com/*", format!("its MIG configuration is changing ({MIG_STATE} is {state})"));
    }
    if offered {
        return None;
    }
    if labels.get("nvidia.com/mig.strategy").is_some_and(|strategy| strategy == "mixed") {
        // Whole devices are offered under the same strategy where none is cut.
        return unknown("nvidia.com/*", "its GPUs or MIG slices are not registered yet".to_owned());
    }
    let present = labels.get("nvidia.com/gpu.present").is_some_and(|value| value == "true");
    let counted = promised(labels).is_some() || instance(labels).is_some();
    if present && !counted {
        return unknown("nvidia.com/*", "its GPUs are not registered yet".to_owned());
    }
    None
}

/// Devices, or replicas of them, that the labels promise before the device plugin registers.
pub(super) fn promised(labels: &Labels) -> Option<u64> {
    let count = physical(labels).or_else(|| instance(labels).filter(|i| i.resource == NVIDIA).map(|i| i.count))?;
    let (_, replicas) = sharing(labels).unwrap_or((Sharing::Exclusive, 1));
    let slices = mig::partition_size(labels).map_or(1, mig::most_instances);
    Some(count.saturating_mul(replicas).saturating_mul(slices))
}

/// The class behind `nvidia.com/gpu` and its other names; a second entry where labels do not tell of all devices.
pub(super) fn classes(offer: &Offer<'_>) -> Vec<(Found, u64)> {
    let labels = offer.labels;
    let product = labels.get(PRODUCT).map(|name| name.trim_end_matches("-SHARED"));
    if product.is_some_and(|name| name.ends_with("-MIG-INVALID")) {
        let reason = "its MIG configuration is invalid (nvidia.com/gpu.product ends in -MIG-INVALID)";
        return vec![(Found::Unknown(reason.to_owned()), offer.count)];
    }
    let sliced = mig::partition_size(labels).is_some() || product.is_some_and(|name| name.contains("-MIG-"));
    let own = physical(labels).filter(|own| *own < offer.count && !sliced);
    let replicated = own.is_some() && offer.count > MOST_ON_A_HOST;
    let shared = sharing(labels).or_else(|| replicated.then_some((Sharing::TimeSlicing, 1)));
    let Some(device) = whole_device(labels, product) else {
        return vec![(Found::Unknown(unknown_reason(labels, product)), offer.count)];
    };
    if let (None, Some(own)) = (shared, own) {
        // More devices than feature discovery counted of the product that it names: the others are of other products.
        let rest = format!("the node has {} × {}, its labels tell of {own}", offer.count, offer.resource);
        let known = Found::Known(device.class(offer.resource, None, 1));
        return vec![(known, own), (Found::Unknown(rest), offer.count - own)];
    }
    let stated = shared.map_or(1, |(_, replicas)| replicas);
    // Feature discovery has told wrong replicas; those that the node offers of each device are another witness.
    let counted = physical(labels).filter(|own| shared.is_some() && offer.count.is_multiple_of(*own));
    let counted = counted.map_or(stated, |own| offer.count / own).max(1);
    let mut class = device.class(offer.resource, shared.map(|(strategy, _)| strategy), stated.max(counted));
    if class.sharing == Sharing::Mps {
        // MPS gives each client its share of the memory; time slicing gives each the whole, at other times.
        class.assured = Bytes(class.device.visible.0 / stated.max(counted));
        class.device.visible = Bytes(class.device.visible.0 / stated.min(counted));
    }
    vec![(Found::Known(class), offer.count)]
}

/// What is known of one device, from the best source.
struct Whole {
    product: String,
    /// Bounds, as NVML and the labels count it.
    most: Bytes,
    least: Bytes,
    capability: Option<(u8, u8)>,
    source: CapacitySource,
}

impl Whole {
    fn class(self, resource: &str, strategy: Option<Sharing>, clients: u64) -> GpuClass {
        let slice = self.product.contains("-MIG-");
        // A MIG slice's figure is already what the runtime sees.
        let seen = |bytes| if slice { bytes } else { runtime_memory::visible(&self.product, bytes) };
        let (visible, least) = (seen(self.most), seen(self.least));
        let device = Device { product: self.product, visible, compute_capability: self.capability };
        let mut class = GpuClass::whole(device, resource, self.source);
        class.sharing = strategy.unwrap_or(if slice { Sharing::Mig } else { Sharing::Exclusive });
        class.clients = clients;
        class.assured = if class.sharing == Sharing::TimeSlicing { Bytes(least.0 / clients.max(1)) } else { least };
        class
    }
}

fn whole_device(labels: &Labels, product: Option<&str>) -> Option<Whole> {
    let labelled_capability = capability(labels);
    let name = product.or_else(|| PRODUCT_LABELS.iter().find_map(|key| labels.get(*key).map(String::as_str)));
    let catalogued = name.and_then(gpus::by_product);
    let capability = labelled_capability.or_else(|| catalogued.as_ref().and_then(|gpu| gpu.compute_capability));
    if let Some(mib) = number(labels, "nvidia.com/gpu.memory").filter(|&mib| mib > 0) {
        let name = product.map(str::to_owned).or_else(|| catalogued.as_ref().map(|gpu| gpu.product.to_owned()));
        let (product, memory) = (name.unwrap_or_else(|| "GPU".to_owned()), Bytes::from_mib(mib));
        return Some(Whole { product, most: memory, least: memory, capability, source: CapacitySource::Label });
    }
    // Partitions that a cloud makes, or slices under the single strategy whose memory nothing labels.
    let partition = mig::partition_size(labels).or_else(|| Some(product?.split_once("-MIG-")?.1));
    if let Some(profile) = partition {
        let board = name.map(|name| name.split_once("-MIG-").map_or(name, |(board, _)| board));
        let slice = mig::slice(board, profile)?;
        let (product, source, capability) = (slice.product, slice.source, capability.or(slice.capability));
        return Some(Whole { product, most: slice.most, least: slice.least, capability, source });
    }
    if let Some((gpu, memory)) = catalogued.as_ref().and_then(|gpu| Some((gpu, gpu.visible?))) {
        let product = gpu.product.to_owned();
        return Some(Whole { product, most: memory, least: memory, capability, source: CapacitySource::Product });
    }
    // A product label that the catalogue does not know outranks the instance type: they would contradict each other.
    if product.is_some() {
        return None;
    }
    let found = instance(labels).filter(|i| i.resource == NVIDIA)?;
    let (capability, memory) = (labelled_capability.or(found.compute_capability), found.visible?);
    let product = found.product.to_owned();
    Some(Whole { product, most: memory, least: memory, capability, source: CapacitySource::InstanceType })
}

fn unknown_reason(labels: &Labels, product: Option<&str>) -> String {
    let instance_type = super::INSTANCE_TYPES.iter().find_map(|key| labels.get(*key));
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

/// Strategy and replicas per GPU, where a device is shared at all. Before there was a label of the strategy, replicas
/// were time slices.
fn sharing(labels: &Labels) -> Option<(Sharing, u64)> {
    let stated = SHARING_LABELS.iter().find_map(|(strategy_key, replicas_key, names)| {
        let strategy = labels.get(*strategy_key)?;
        let sharing = names.iter().find(|(name, _)| name == strategy).map(|(_, sharing)| *sharing);
        Some((sharing, number(labels, replicas_key)))
    });
    let (sharing, replicas) = stated.unwrap_or_else(|| {
        let replicas = number(labels, REPLICAS);
        let suffixed = labels.get(PRODUCT).is_some_and(|product| product.ends_with("-SHARED"));
        ((suffixed || replicas > Some(1)).then_some(Sharing::TimeSlicing), replicas)
    });
    Some((sharing?, replicas.filter(|&n| n > 0).unwrap_or(1)))
}

pub(super) fn capability(labels: &Labels) -> Option<(u8, u8)> {
    let read = |key: &str| labels.get(key)?.parse().ok();
    Some((read("nvidia.com/gpu.compute.major")?, read("nvidia.com/gpu.compute.minor")?))
}
