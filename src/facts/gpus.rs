//! GPUs by product and instance type.

use std::sync::OnceLock;

use serde::Deserialize;

use crate::estimate::{Bytes, Device};

/// A catalogue row.
#[derive(Debug)]
pub struct Gpu {
    /// Product.
    pub product: &'static str,
    /// Memory.
    pub visible: Option<Bytes>,
    /// Capability.
    pub compute_capability: Option<(u8, u8)>,
}

/// An instance type.
pub struct Instance {
    /// Product.
    pub product: &'static str,
    /// Memory.
    pub visible: Option<Bytes>,
    /// Capability.
    pub compute_capability: Option<(u8, u8)>,
    /// Resource.
    pub resource: &'static str,
    /// Count.
    pub count: u64,
}

#[derive(Deserialize)]
struct Row {
    gfd_product: Option<String>,
    nvml_name: Option<String>,
    aliases: Vec<String>,
    memory_mib: Option<u64>,
    compute_capability: Option<String>,
}

#[derive(Deserialize)]
struct File {
    products: Vec<Row>,
}

fn table() -> &'static [(Vec<String>, Gpu)] {
    static TABLE: OnceLock<Vec<(Vec<String>, Gpu)>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let file: File =
            serde_json::from_str(include_str!("../../data/gpus-minimal.json")).unwrap_or(File { products: Vec::new() });
        file.products
            .into_iter()
            .map(|row| {
                let product = row.gfd_product.or(row.nvml_name).unwrap_or_default();
                let mut names: Vec<String> = row.aliases.iter().map(|a| a.to_lowercase()).collect();
                names.push(product.to_lowercase());
                names.push(product.to_lowercase().replace("nvidia-", "").replace("tesla-", ""));
                let capability = row.compute_capability.and_then(|c| {
                    let (a, b) = c.split_once('.')?;
                    Some((a.parse().ok()?, b.parse().ok()?))
                });
                let product: &'static str = product.leak();
                (names, Gpu { product, visible: row.memory_mib.map(Bytes::from_mib), compute_capability: capability })
            })
            .collect()
    })
}

/// By product.
#[must_use]
pub fn by_product(name: &str) -> Option<&'static Gpu> {
    let name = name.to_lowercase();
    let name = name.trim_end_matches("-shared");
    table().iter().find(|(names, _)| names.iter().any(|n| n == name)).map(|(_, gpu)| gpu)
}

/// By instance type.
#[must_use]
pub fn by_instance_type(_name: &str) -> Option<Instance> {
    None
}

fn to_device(gpu: &Gpu) -> Option<Device> {
    let visible = super::runtime_memory::visible(gpu.product, gpu.visible?);
    Some(Device { product: gpu.product.to_owned(), visible, compute_capability: gpu.compute_capability })
}

/// All devices.
pub fn all() -> impl Iterator<Item = Device> {
    table().iter().filter_map(|(_, gpu)| to_device(gpu))
}

/// A device by any of its names.
#[must_use]
pub fn device(name: &str) -> Option<Device> {
    let found = by_product(name).or_else(|| {
        let name = name.to_lowercase();
        table().iter().find(|(names, _)| names.iter().any(|n| n.starts_with(&name))).map(|(_, gpu)| gpu)
    });
    found.and_then(to_device)
}

/// Near names.
#[must_use]
pub fn suggest(name: &str) -> Vec<String> {
    let head: String = name.to_lowercase().chars().take(2).collect();
    all().map(|d| d.product).filter(|p| p.to_lowercase().contains(&head)).take(3).collect()
}
