//! GPUs by product and by cloud instance type.
//!
//! Memory is the total that NVML and the label `nvidia.com/gpu.memory` report; a label outranks these tables, whose
//! sources are in `data/README.md`.

use std::sync::OnceLock;

use crate::estimate::{Bytes, Device};

/// One line per product: name, other names, MiB, compute capability, confidence, source.
const PRODUCTS: &str = include_str!("../../data/gpus.tsv");
/// One line per instance type: name, product, devices, resource, MiB of a fraction, whether it is one, source.
const INSTANCES: &str = include_str!("../../data/instances.tsv");

/// Stands between a product and the profile of its slice.
const SLICE: &str = "-MIG-";
/// Endings that GPU feature discovery adds to the product of a shared device.
const SHARED: &str = "-shared";
/// Parts of product names that people leave out.
const VENDORS: [&str; 3] = ["nvidia", "tesla", "geforce"];

/// A GPU product, or a MIG slice of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// As the label `nvidia.com/gpu.product` names it; the vendor's name for others.
    pub product: &'static str,
    /// Total memory as NVML reports it; not known for devices that share the host's.
    pub visible: Option<Bytes>,
    /// Major and minor compute capability; only NVIDIA's have one.
    pub compute_capability: Option<(u8, u8)>,
    /// `visible` is a bound from below, not a reading.
    pub floor: bool,
    /// Names in lower case with dashes, this product's own first.
    full: Vec<String>,
    /// The same without vendor.
    names: Vec<String>,
}

/// An instance type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance {
    /// Product of its GPUs.
    pub product: &'static str,
    /// Total memory of one; of a fraction, the share that the provider promises.
    pub visible: Option<Bytes>,
    /// Major and minor compute capability.
    pub compute_capability: Option<(u8, u8)>,
    /// Extended resource that the nodes offer, e.g. `nvidia.com/gpu`.
    pub resource: &'static str,
    /// How many of it.
    pub count: u64,
}

impl Gpu {
    fn new(line: &'static str) -> Option<Self> {
        let mut cells = line.split('\t');
        let (product, others) = (cells.next()?, cells.next()?);
        let visible = cells.next().and_then(|mib| mib.parse().ok()).map(Bytes::from_mib);
        let capability = cells.next().and_then(|text| text.split_once('.'));
        let compute_capability = capability.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let floor = cells.next() == Some("derived_floor");
        let others = others.split(',').filter(|name| !name.is_empty());
        let full: Vec<String> = std::iter::once(product).chain(others).map(dashed).collect();
        let mut names: Vec<String> = full.iter().map(|name| without_vendor(name)).collect();
        names.dedup();
        Some(Self { product, visible, compute_capability, floor, full, names })
    }

    /// A partition of a device rather than a whole one.
    fn is_slice(&self) -> bool {
        self.product.contains(SLICE)
    }

    fn device(&self) -> Option<Device> {
        let total = self.visible?;
        // Only NVIDIA drivers are known to keep a share of what they report.
        let visible = match self.compute_capability {
            Some(_) => super::runtime_memory::visible(self.product, total),
            None => total,
        };
        Some(Device { product: self.product.to_owned(), visible, compute_capability: self.compute_capability })
    }
}

/// Lower case, dashes between words, no mark of sharing.
fn dashed(name: &str) -> String {
    let lower = name.trim().to_ascii_lowercase().replace([' ', '_'], "-");
    lower.strip_suffix(SHARED).unwrap_or(&lower).to_owned()
}

fn without_vendor(dashed: &str) -> String {
    let words: Vec<&str> = dashed.split('-').filter(|word| !word.is_empty() && !VENDORS.contains(word)).collect();
    words.join("-")
}

fn plain(name: &str) -> String {
    without_vendor(&dashed(name))
}

fn products() -> &'static [Gpu] {
    static TABLE: OnceLock<Vec<Gpu>> = OnceLock::new();
    TABLE.get_or_init(|| PRODUCTS.lines().filter_map(Gpu::new).collect())
}

/// The only one of some products, or the first where they are alike in memory and capability: `A100-80GB` is sold
/// with two connectors, but `a100` with two sizes of memory, which no one may guess.
fn only(mut found: impl Iterator<Item = &'static Gpu>) -> Option<&'static Gpu> {
    let first = found.next()?;
    found
        .all(|other| other.visible == first.visible && other.compute_capability == first.compute_capability)
        .then_some(first)
}

/// Names longer than this are not looked for.
const MOST_CHARS: usize = 128;

/// A product by the value of a node's label: as GPU feature discovery, the cloud or the driver name it, with or
/// without vendor, `-SHARED` left out. `None` also where a name stands for products with different memory (`a100`).
#[must_use]
pub fn by_product(label: &str) -> Option<&'static Gpu> {
    if label.len() > MOST_CHARS {
        return None;
    }
    let full = dashed(label);
    let name = without_vendor(&full);
    let own = products().iter().find(|gpu| gpu.full.first() == Some(&full) || gpu.names.first() == Some(&name));
    own.or_else(|| only(products().iter().filter(|gpu| gpu.full.contains(&full))))
        .or_else(|| only(products().iter().filter(|gpu| gpu.names.contains(&name))))
}

/// The whole product with a name all of whose words are among those of a longer one, as drivers write them
/// (`AMD_Instinct_MI300X_OAM`).
#[must_use]
pub fn within(label: &str) -> Option<&'static Gpu> {
    if label.len() > MOST_CHARS {
        return None;
    }
    let words = plain(label);
    let all = |name: &String| name.split('-').all(|word| words.split('-').any(|known| known == word));
    only(products().iter().filter(|gpu| !gpu.is_slice() && gpu.names.iter().any(all)))
}

fn instance_table() -> &'static [(&'static str, Instance)] {
    static TABLE: OnceLock<Vec<(&'static str, Instance)>> = OnceLock::new();
    TABLE.get_or_init(|| INSTANCES.lines().filter_map(instance).collect())
}

/// Every instance type, with its name in lower case.
pub fn instances() -> impl Iterator<Item = (&'static str, &'static Instance)> {
    instance_table().iter().map(|(name, instance)| (*name, instance))
}

/// What nodes of a cloud's instance type have.
#[must_use]
pub fn by_instance_type(name: &str) -> Option<Instance> {
    let table = instance_table();
    let name = (name.len() <= MOST_CHARS).then(|| name.trim().to_ascii_lowercase())?;
    let at = table.binary_search_by(|(known, _)| (*known).cmp(name.as_str())).ok()?;
    table.get(at).map(|(_, instance)| *instance)
}

fn instance(line: &'static str) -> Option<(&'static str, Instance)> {
    let cells: Vec<&'static str> = line.split('\t').collect();
    let [name, product, count, resource, share, fraction, ..] = cells.as_slice() else { return None };
    let gpu = by_product(product);
    let visible = match *fraction {
        "fraction" => share.parse().ok().map(Bytes::from_mib),
        _ => gpu.and_then(|gpu| gpu.visible),
    };
    let compute_capability = gpu.and_then(|gpu| gpu.compute_capability);
    Some((name, Instance { product, visible, compute_capability, resource, count: count.parse().ok()? }))
}

/// Every whole device whose memory is known, as the runtime sees it.
pub fn all() -> impl Iterator<Item = Device> {
    products().iter().filter(|gpu| !gpu.is_slice()).filter_map(Gpu::device)
}

/// Every MIG slice of which nothing but the memory differs (no media engines), with the product that is sliced and the
/// profile.
pub fn slices() -> impl Iterator<Item = (&'static str, &'static str, Device)> {
    products().iter().filter_map(|gpu| {
        let (parent, profile) = gpu.product.split_once(SLICE)?;
        (!profile.contains('+')).then_some((parent, profile, gpu.device()?))
    })
}

/// A device by any of its names or by words of them in order (`H100-80GB`, `rtx 4090`, `l40s`), as the runtime sees
/// it. `None` where the name fits products with different memory: [`suggest`] lists them.
#[must_use]
pub fn device(name: &str) -> Option<Device> {
    by_product(name).or_else(|| only(like(name).into_iter())).and_then(Gpu::device)
}

/// Whole products that have all the words of a name, in order.
fn like(name: &str) -> Vec<&'static Gpu> {
    if name.len() > MOST_CHARS {
        return Vec::new();
    }
    let name = plain(name);
    let has = |known: &String| {
        let mut words = known.split('-');
        !name.is_empty() && name.split('-').all(|word| words.any(|known| known == word))
    };
    products().iter().filter(|gpu| !gpu.is_slice() && gpu.names.iter().any(has)).collect()
}

/// Products that a name may have meant, at most five.
#[must_use]
pub fn suggest(name: &str) -> Vec<String> {
    let shown = |gpu: &&Gpu| gpu.product.strip_prefix("NVIDIA-").unwrap_or(gpu.product).to_owned();
    let fitting = like(name);
    if !fitting.is_empty() {
        return fitting.iter().take(5).map(shown).collect();
    }
    let cut: String = name.chars().take(MOST_CHARS).collect();
    let name = plain(&cut);
    let near = |gpu: &&Gpu| gpu.names.iter().any(|known| nearly(known, &name));
    products().iter().filter(|gpu| !gpu.is_slice()).filter(near).take(5).map(|gpu| shown(&gpu)).collect()
}

/// Whether the letters and digits of one name begin the other's, or differ in one place.
fn nearly(known: &str, name: &str) -> bool {
    let letters = |text: &str| text.bytes().filter(u8::is_ascii_alphanumeric).collect::<Vec<u8>>();
    let (known, name) = (letters(known), letters(name));
    if name.len() < 2 {
        return false;
    }
    let differing = known.iter().zip(&name).filter(|(a, b)| a != b).count();
    known.starts_with(&name) || name.starts_with(&known) || (known.len() == name.len() && differing == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mib(label: &str) -> Option<u64> {
        by_product(label).and_then(|gpu| gpu.visible).map(|bytes| bytes.0 >> 20)
    }

    #[test]
    fn every_line_is_a_row() {
        assert_eq!(products().len(), PRODUCTS.lines().count());
        assert_eq!(INSTANCES.lines().filter_map(instance).count(), INSTANCES.lines().count());
        assert!(INSTANCES.lines().is_sorted());
    }

    #[test]
    fn labels_name_products() {
        for label in
            ["NVIDIA-H100-80GB-HBM3", "H100-80GB-HBM3", "NVIDIA-H100-80GB-HBM3-SHARED", "NVIDIA H100 80GB HBM3"]
        {
            assert_eq!(mib(label), Some(81_559), "{label}");
        }
        assert_eq!(mib("nvidia-tesla-a100"), Some(40_960), "as GKE calls the 40 GB model");
        assert_eq!(mib("Tesla-T4"), Some(15_360));
        assert_eq!(mib("NVIDIA-A10"), Some(23_028));
        assert_eq!(mib("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb"), Some(4_864));
        assert_eq!(mib("a100"), None, "40 or 80 GB");
        assert_eq!(mib("NVIDIA-Z9"), None);
        assert_eq!(mib(&"A".repeat(1 << 20)), None);
    }

    #[test]
    fn devices_are_what_people_type() {
        let cases = [
            ("h100", "NVIDIA-H100-80GB-HBM3"),
            ("H100-80GB", "NVIDIA-H100-80GB-HBM3"),
            ("A100-80GB", "NVIDIA-A100-SXM4-80GB"),
            ("L40S", "NVIDIA-L40S"),
            ("l40", "NVIDIA-L40"),
            ("a10", "NVIDIA-A10"),
            ("T4", "Tesla-T4"),
            ("rtx 4090", "NVIDIA-GeForce-RTX-4090"),
            ("mi300x", "Instinct MI300X"),
        ];
        for (name, product) in cases {
            assert_eq!(device(name).map(|device| device.product).as_deref(), Some(product), "{name}");
        }
        assert_eq!(device("h100").unwrap().compute_capability, Some((9, 0)));
        assert_eq!(device("a100"), None);
        assert_eq!(suggest("a100").len(), 4, "{:?}", suggest("a100"));
        assert!(suggest("h101").contains(&"H100-80GB-HBM3".to_owned()), "{:?}", suggest("h101"));
        assert!(suggest("").is_empty() && suggest("\0").is_empty());
        assert!(all().count() > 60 && all().all(|device| !device.product.contains("MIG")));
    }

    #[test]
    fn instance_types_have_devices() {
        let p5 = by_instance_type("p5.48xlarge").unwrap();
        assert_eq!((p5.product, p5.count, p5.resource), ("NVIDIA-H100-80GB-HBM3", 8, "nvidia.com/gpu"));
        assert_eq!(p5.visible, Some(Bytes::from_mib(81_559)));
        let tenth = by_instance_type("Standard_NV12ads_A10_v5").unwrap();
        assert_eq!(tenth.visible, Some(Bytes::from_mib(8_192)), "a third of an A10");
        assert_eq!(by_instance_type("m5.large"), None);
    }
}
