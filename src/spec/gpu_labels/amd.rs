//! AMD devices, whole and partitioned.
//!
//! The labeller rounds memory to GiB, names labels in three ways over its history, and may tell the board's memory or a
//! partition's: the product decides which it is.

use super::{Found, Labels, Offer, by_instance, other};
use crate::decide::inventory::CapacitySource;
use crate::estimate::Bytes;
use crate::facts::gpus::{self, Gpu};

/// Prefixes of the labeller's labels, today's first.
const PREFIXES: [&str; 2] = ["amd.com/gpu.", "beta.amd.com/gpu."];

/// Partitions of a device by mode of compute partitioning.
const PARTITIONS: &[(&str, u64)] = &[("spx", 1), ("dpx", 2), ("tpx", 3), ("qpx", 4), ("cpx", 8)];

/// Boards whose compute units are cut into fewer partitions in CPX mode.
const FEWER_IN_CPX: &[(&str, u64)] = &[("Instinct MI300A", 6)];

/// PCI device ids, as the kernel driver lists them.
const DEVICE_IDS: &[(&str, &str)] = &[
    ("738c", "MI100"),
    ("740c", "MI250X"),
    ("740f", "MI210"),
    ("7408", "MI250X"),
    ("74a0", "MI300A"),
    ("74a1", "MI300X"),
    ("74a5", "MI325X"),
    ("74b5", "MI300X"),
    ("75a0", "MI350X"),
    ("75a3", "MI355X"),
];

/// A board cannot be told from a partition of it by rounding alone: this far apart they are different.
const SAME_WITHIN: f64 = 0.1;

/// The class behind `amd.com/gpu`, or behind the name of a partition.
pub(super) fn class(offer: &Offer<'_>) -> Found {
    let labels = offer.labels;
    let board = board(labels).and_then(|gpu| Some((gpu.product, gpu.visible?)));
    let parts = parts(offer, board.map(|(product, _)| product));
    let labelled = memory(labels);
    let (product, most, least, source) = match (board, labelled) {
        (Some((product, whole)), label) => {
            let part = Bytes(whole.0 / parts);
            let agrees =
                |bytes: Bytes, with: Bytes| (bytes.as_f64() - with.as_f64()).abs() <= SAME_WITHIN * with.as_f64();
            match label {
                // The label is believed where it contradicts the catalogue.
                Some((most, least)) if !agrees(most, whole) && !agrees(most, part) => {
                    (product, most, Bytes(least.0 / parts), CapacitySource::Label)
                }
                _ => (product, part, part, CapacitySource::Product),
            }
        }
        (None, Some((most, least))) => ("AMD-GPU", most, Bytes(least.0 / parts), CapacitySource::Label),
        (None, None) => {
            return by_instance(offer).unwrap_or_else(|| {
                Found::Unknown(format!("no label or instance type tells the memory of {}", offer.resource))
            });
        }
    };
    let product = if parts > 1 { format!("{product} 1/{parts}") } else { product.to_owned() };
    let mut class = other(offer, &product, most, source);
    class.assured = least;
    Found::Known(class)
}

fn board(labels: &Labels) -> Option<&'static Gpu> {
    let named = values(labels, "product-name").find_map(|name| gpus::within(&name));
    named.or_else(|| {
        let id = values(labels, "device-id").next()?.trim_start_matches("0x").to_ascii_lowercase();
        DEVICE_IDS.iter().find(|(known, _)| *known == id).and_then(|(_, name)| gpus::by_product(name))
    })
}

/// Partitions that one board is cut into: as the resource is called, else as the label says.
fn parts(offer: &Offer<'_>, product: Option<&str>) -> u64 {
    let named = offer.resource.strip_prefix("amd.com/").filter(|name| *name != "gpu").map(str::to_owned);
    let mode = named.or_else(|| values(offer.labels, "compute-memory-partition").next());
    let mode = mode.or_else(|| values(offer.labels, "compute-partitioning").next()).unwrap_or_default();
    let mode = mode.to_ascii_lowercase();
    let Some((name, parts)) = PARTITIONS.iter().find(|(name, _)| mode.starts_with(name)) else { return 1 };
    let fewer = FEWER_IN_CPX.iter().find(|(board, _)| *name == "cpx" && product == Some(*board));
    fewer.map_or(*parts, |(_, parts)| *parts)
}

/// Most and least memory that labels tell, in whole GiB; they differ on nodes with several products.
fn memory(labels: &Labels) -> Option<(Bytes, Bytes)> {
    let gib = |text: String| text.trim_end_matches(['G', 'g']).trim_end_matches("Gi").parse::<u32>().ok();
    let all: Vec<u32> = values(labels, "vram").filter_map(gib).filter(|gib| *gib > 0).collect();
    let bytes = |gib: &u32| Bytes::from_gib(f64::from(*gib));
    Some((all.iter().max().map(bytes)?, all.iter().min().map(bytes)?))
}

/// Values of a label in all its spellings: `amd.com/gpu.vram=192G`, `amd.com/gpu.vram.192G=8`, `beta.amd.com/gpu.vram=16G`.
fn values<'a>(labels: &'a Labels, what: &'a str) -> impl Iterator<Item = String> + 'a {
    let single = move |prefix: &str| labels.get(&format!("{prefix}{what}")).cloned();
    let counted = labels.keys().filter_map(move |key| {
        let value = PREFIXES.iter().find_map(|prefix| key.strip_prefix(prefix))?;
        value.strip_prefix(what)?.strip_prefix('.').map(str::to_owned)
    });
    PREFIXES.into_iter().filter_map(single).chain(counted)
}
