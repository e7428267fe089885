//! MIG slices: their own labels, else the catalogue's row of product and profile, else what the profile's name bounds.

use super::{Found, Labels, Offer, number, nvidia};
use crate::decide::inventory::{CapacitySource, GpuClass, Sharing};
use crate::estimate::{Bytes, Device};
use crate::facts::gpus;

/// What resources of the mixed strategy begin with.
pub(super) const PREFIX: &str = "nvidia.com/mig-";

/// A profile is named after the share of the board's nameplate, of which a slice has at least this much: the worst
/// reading of 50 is 0.885.
const LEAST_OF_NAME: f64 = 0.88;

/// Memory of a slice, between bounds; equal where it was measured.
pub(super) struct Slice {
    pub(super) product: String,
    pub(super) most: Bytes,
    pub(super) least: Bytes,
    pub(super) source: CapacitySource,
    pub(super) capability: Option<(u8, u8)>,
}

/// A slice of a board (which need not be known) by the profile's name, e.g. `1g.10gb`, `1g.10gb.me`, `2g.20gb+gfx`.
pub(super) fn slice(board: Option<&str>, profile: &str) -> Option<Slice> {
    let (name, gigabytes) = base(profile)?;
    let most = Bytes::from_gib(gigabytes);
    let row = board.and_then(gpus::by_product).and_then(|gpu| gpus::by_product(&format!("{}-MIG-{name}", gpu.product)));
    let product = match (row, board) {
        (Some(row), _) => row.product.to_owned(),
        (None, Some(board)) => format!("{board}-MIG-{name}"),
        (None, None) => format!("GPU-MIG-{name}"),
    };
    let (most, least, source) = match row.and_then(|row| Some((row.visible?, row.floor))) {
        Some((memory, false)) => (memory, memory, CapacitySource::Product),
        Some((floor, true)) => (most.max(floor), floor, CapacitySource::Product),
        None => (most, most.scale(LEAST_OF_NAME), CapacitySource::Profile),
    };
    Some(Slice { product, most, least, source, capability: row.and_then(|row| row.compute_capability) })
}

/// The profile without media and graphics extensions, which have no memory of their own, and the size in its name.
fn base(profile: &str) -> Option<(&str, f64)> {
    let (slices, rest) = profile.split_once("g.")?;
    let (size, _) = rest.split_once("gb")?;
    let end = slices.len() + "g.".len() + size.len() + "gb".len();
    let gigabytes: u32 = size.parse().ok().filter(|size| *size > 0)?;
    slices.parse::<u8>().ok()?;
    Some((profile.get(..end)?, f64::from(gigabytes)))
}

/// A slice under the mixed strategy: every profile has labels of its own.
pub(super) fn mixed(offer: &Offer<'_>) -> Found {
    let (labels, resource) = (offer.labels, offer.resource);
    let read = |what: &str| labels.get(&format!("{resource}.{what}"));
    let board = labels.get("nvidia.com/gpu.product").map(|name| name.trim_end_matches("-SHARED"));
    let profile = resource.strip_prefix(PREFIX).unwrap_or(resource);
    let known = slice(board, profile);
    let capability = nvidia::capability(labels).or_else(|| known.as_ref().and_then(|slice| slice.capability));
    let memory = read("memory").and_then(|text| text.parse().ok()).filter(|&mib: &u64| mib > 0).map(Bytes::from_mib);
    let slice = match (memory, known) {
        (Some(memory), known) => {
            let named = read("product").map(|name| name.trim_end_matches("-SHARED").to_owned());
            let product = named.or_else(|| known.map(|slice| slice.product));
            let product = product.unwrap_or_else(|| resource.replace("nvidia.com/", "NVIDIA-"));
            Slice { product, most: memory, least: memory, source: CapacitySource::Label, capability }
        }
        (None, Some(slice)) => slice,
        (None, None) => {
            return Found::Unknown(format!("the node has no {resource}.memory label and its profile is not known"));
        }
    };
    let device = Device { product: slice.product, visible: slice.most, compute_capability: capability };
    let mut class = GpuClass::whole(device, resource, slice.source);
    (class.assured, class.sharing) = (slice.least, Sharing::Mig);
    let replicas = number(labels, &format!("{resource}.replicas")).unwrap_or(1);
    if replicas > 1 && read("sharing-strategy").is_none_or(|strategy| strategy == "time-slicing") {
        class.sharing = Sharing::TimeSlicing;
        class.clients = replicas;
        class.assured = Bytes(class.assured.0 / replicas);
    }
    Found::Known(class)
}

/// GKE cuts every GPU of a node into slices of one profile, which it offers as whole devices.
pub(super) fn partition_size(labels: &Labels) -> Option<&str> {
    labels.get("cloud.google.com/gke-gpu-partition-size").map(String::as_str).filter(|size| base(size).is_some())
}

/// Slices of a profile that one device is cut into, by its compute slices of seven.
pub(super) fn most_instances(profile: &str) -> u64 {
    let slices = profile.split_once("g.").and_then(|(slices, _)| slices.parse::<u64>().ok()).unwrap_or(7);
    (7 / slices.max(1)).max(1)
}
