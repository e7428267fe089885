//! Accelerators of Intel, Google and AWS: what their labels name, looked up; the rest by instance type.

use super::{Found, Labels, Offer, by_instance, number, other};
use crate::decide::inventory::{CapacitySource, Sharing};
use crate::estimate::Bytes;
use crate::facts::gpus;

/// Intel's products as node labels name them, MiB of one device (product specifications at Intel's site).
const INTEL: &[(&str, u64)] = &[("Max_1550", 131_072), ("Max_1100", 49_152), ("Flex_170", 16_384), ("Flex_140", 6_144)];

/// What other labels call products of the catalogue.
const NAMES: &[(&str, &[(&str, &str)])] = &[
    (
        "cloud.google.com/gke-tpu-accelerator",
        &[
            ("tpu-v5-lite-podslice", "TPU v5e (per chip)"),
            ("tpu-v5-lite-device", "TPU v5e (per chip)"),
            ("tpu-v5p-slice", "TPU v5p (per chip)"),
            ("tpu-v6e-slice", "TPU v6e (per chip)"),
            ("tpu-v6e-device", "TPU v6e (per chip)"),
            ("tpu7x", "TPU7x Ironwood (per chip)"),
        ],
    ),
    ("karpenter.k8s.aws/instance-accelerator-name", &[]),
    ("eks.amazonaws.com/instance-accelerator-name", &[]),
    ("karpenter.k8s.aws/instance-gpu-name", &[]),
    ("eks.amazonaws.com/instance-gpu-name", &[]),
];

/// A resource that is a part of a device, the resource that counts the devices, and the parts by product.
type Part = (&'static str, &'static str, &'static [(&'static str, u64)]);

/// Resources that are parts of a device.
const PARTS: &[Part] = &[(
    "aws.amazon.com/neuroncore",
    "aws.amazon.com/neuron",
    &[("Trainium (trn1, per device of 2 cores)", 2), ("Inferentia2 (per device of 2 cores)", 2)],
)];

/// The class behind a resource.
pub(super) fn class(offer: &Offer<'_>) -> Found {
    let found = intel(offer).or_else(|| named(offer)).or_else(|| by_instance(offer)).or_else(|| part(offer));
    found.unwrap_or_else(|| {
        Found::Unknown(format!("no label or instance type that we read tells the memory of {}", offer.resource))
    })
}

/// Intel's: the product label, else the memory that the node offers beside its devices.
fn intel(offer: &Offer<'_>) -> Option<Found> {
    if !offer.resource.starts_with("gpu.intel.com/") {
        return None;
    }
    let devices = number(offer.labels, "gpu.intel.com/device.count").filter(|count| *count > 0).unwrap_or(offer.count);
    let product = offer.labels.get("gpu.intel.com/product").map_or("Intel-GPU", String::as_str);
    let catalogued = INTEL.iter().find(|(name, _)| *name == product).map(|(_, mib)| Bytes::from_mib(*mib));
    let offered = || offer.node.stated("gpu.intel.com/memory.max").map(|bytes| Bytes(bytes / devices.max(1)));
    let (memory, source) = match catalogued {
        Some(memory) => (memory, CapacitySource::Product),
        None => (offered()?, CapacitySource::Label),
    };
    let mut class = other(offer, product, memory, source);
    // The plugin can offer each device several times, without dividing it.
    class.clients = (offer.count / devices.max(1)).max(1);
    if class.clients > 1 {
        class.sharing = Sharing::TimeSlicing;
        class.assured = Bytes(memory.0 / class.clients);
    }
    Some(Found::Known(class))
}

/// Products that a cloud's label names.
fn named(offer: &Offer<'_>) -> Option<Found> {
    if offer.resource.starts_with("aws.amazon.com/neuroncore") {
        return None;
    }
    let product = |labels: &Labels| {
        NAMES.iter().find_map(|(key, names)| {
            let value = labels.get(*key)?;
            let name = names.iter().find(|(label, _)| label == value).map_or(value.as_str(), |(_, name)| *name);
            gpus::by_product(name)
        })
    };
    let found = product(offer.labels).filter(|gpu| gpu.compute_capability.is_none())?;
    Some(Found::Known(other(offer, found.product, found.visible?, CapacitySource::Product)))
}

/// Parts of a device of which only the whole is known.
fn part(offer: &Offer<'_>) -> Option<Found> {
    let (_, whole, parts) = PARTS.iter().find(|(resource, ..)| *resource == offer.resource)?;
    let whole = Offer { resource: whole, ..*offer };
    let Some(Found::Known(device)) = named(&whole).or_else(|| by_instance(&whole)) else { return None };
    let (_, cores) = parts
        .iter()
        .find(|(product, _)| gpus::by_product(&device.device.product).is_some_and(|gpu| gpu.product == *product))?;
    let memory = Bytes(device.device.visible.0 / cores);
    Some(Found::Known(other(offer, &format!("{} 1/{cores}", device.device.product), memory, device.source)))
}
