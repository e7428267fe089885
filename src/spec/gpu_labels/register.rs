//! Devices as sharing layers write them into the node's annotations: HAMi and Volcano's vGPUs.
//!
//! Both multiply `count` by the number of pods that may share a device, so the node's resource does not tell how many
//! devices there are. A request of several is of several devices.

use serde::Deserialize;

use super::{Found, Offer};
use crate::decide::inventory::{CapacitySource, GpuClass};
use crate::estimate::{Bytes, Device};
use crate::facts::{gpus, runtime_memory};

pub(super) const HAMI: &str = "hami.io/node-nvidia-register";
pub(super) const VOLCANO: &str = "volcano.sh/node-vgpu-register";

/// One healthy device.
#[derive(Debug, PartialEq)]
struct Registered {
    product: String,
    mib: u64,
}

/// Classes of the devices in the register; none where there is none.
pub(super) fn classes(offer: &Offer<'_>) -> Vec<(Found, u64)> {
    let key = if offer.resource == super::VOLCANO { VOLCANO } else { HAMI };
    let Some(text) = offer.node.metadata.annotations.get(key) else { return Vec::new() };
    let mut found: Vec<(GpuClass, u64)> = Vec::new();
    for device in devices(text) {
        let class = class(&device, offer.resource);
        match found.iter_mut().find(|(known, _)| *known == class) {
            Some((_, count)) => *count += 1,
            None => found.push((class, 1)),
        }
    }
    found.into_iter().map(|(class, count)| (Found::Known(class), count)).collect()
}

fn class(device: &Registered, resource: &str) -> GpuClass {
    let product = device.product.strip_prefix("NVIDIA-").unwrap_or(&device.product);
    let row = gpus::by_product(product);
    let product = row.map_or_else(|| device.product.clone(), |row| row.product.to_owned());
    let visible = runtime_memory::visible(&product, Bytes::from_mib(device.mib));
    let compute_capability = row.and_then(|row| row.compute_capability);
    let mut class =
        GpuClass::whole(Device { product, visible, compute_capability }, resource, CapacitySource::Register);
    class.platform = crate::decide::inventory::Platform::Cuda;
    class
}

fn devices(text: &str) -> Vec<Registered> {
    if text.trim_start().starts_with('[') { listed(text) } else { joined(text) }
}

/// A JSON list, as HAMi writes it since 2.5.
fn listed(text: &str) -> Vec<Registered> {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        devmem: u64,
        #[serde(default, rename = "type")]
        product: String,
        #[serde(default)]
        health: bool,
    }
    let entries: Vec<Entry> = serde_json::from_str(text).unwrap_or_default();
    let healthy = entries.into_iter().filter(|entry| entry.health && entry.devmem > 0);
    healthy.map(|entry| Registered { product: entry.product, mib: entry.devmem }).collect()
}

/// Devices separated by colons, fields by commas: uuid, split, MiB, then cores (HAMi only), product, ..., health.
fn joined(text: &str) -> Vec<Registered> {
    let device = |entry: &str| {
        let fields: Vec<&str> = entry.split(',').map(str::trim).collect();
        let [_, _, memory, rest @ .., health] = fields.as_slice() else { return None };
        let product = rest.iter().find(|field| field.chars().any(|c| c.is_ascii_alphabetic()))?;
        let mib = memory.parse().ok().filter(|mib| *mib > 0)?;
        (*health == "true").then(|| Registered { product: (*product).to_owned(), mib })
    };
    text.split(':').filter_map(device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_formats_of_registers_are_read() {
        let v100 = || Registered { product: "NVIDIA-Tesla V100-SXM2-32GB".into(), mib: 32_768 };
        let old = "GPU-a,10,32768,100,NVIDIA-Tesla V100-SXM2-32GB,0,true:GPU-b,10,32768,100,NVIDIA-Tesla V100-SXM2-32GB,1,false:";
        assert_eq!(devices(old), [v100()]);
        assert_eq!(devices("GPU-a,10,32768,NVIDIA-Tesla V100-SXM2-32GB,true:"), [v100()]);
        let json = r#"[{"id":"GPU-a","count":10,"devmem":32768,"devcore":100,"type":"NVIDIA-Tesla V100-SXM2-32GB","numa":0,"health":true},
                       {"id":"GPU-b","count":10,"devmem":32768,"type":"x","health":false}]"#;
        assert_eq!(devices(json), [v100()]);
        for nothing in ["", "[", "[{}]", "a,b", "GPU-a,10,many,100,X,0,true:"] {
            assert_eq!(devices(nothing), [], "{nothing}");
        }
    }
}
