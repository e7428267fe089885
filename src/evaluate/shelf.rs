//! Hardware that could be had: the catalogue as candidates.

use std::sync::{Arc, OnceLock};

use crate::decide::inventory::{Candidate, CapacitySource, GpuClass, Sharing};
use crate::decide::solve::{Shelf, Slice};
use crate::estimate::Device;
use crate::facts;

/// GPUs of a usual node.
const GPUS_PER_NODE: u64 = 8;
/// The oldest GPUs that current builds of PyTorch and of the engines run on.
const OLDEST: (u8, u8) = (7, 0);

/// The catalogue's devices on which engines run, and its MIG slices.
pub(super) fn shelf() -> &'static Shelf {
    static SHELF: OnceLock<Shelf> = OnceLock::new();
    SHELF.get_or_init(|| {
        let modern = |device: &Device| device.compute_capability.is_some_and(|capability| capability >= OLDEST);
        let devices = facts::gpus::all()
            .filter(modern)
            .map(|device| on_shelf(device, Sharing::Exclusive, "nvidia.com/gpu", GPUS_PER_NODE));
        let slices = facts::gpus::slices().map(|(parent, profile, device)| Slice {
            parent: parent.to_owned(),
            profile: profile.to_owned(),
            candidate: on_shelf(device, Sharing::Mig, &format!("nvidia.com/mig-{profile}"), 1),
        });
        Shelf { devices: devices.collect(), slices: slices.collect() }
    })
}

fn on_shelf(device: Device, sharing: Sharing, resource: &str, gpus_per_node: u64) -> Candidate {
    let class = GpuClass { sharing, ..GpuClass::whole(device, resource, CapacitySource::Product) };
    Candidate { class: Arc::new(class), gpus_per_node, nodes: 0, crowding: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shelf_has_devices_and_slices_of_them() {
        let shelf = shelf();
        assert!(shelf.devices.len() > 30 && shelf.slices.len() > 30);
        for device in &shelf.devices {
            let slices = shelf.slices.iter().filter(|slice| slice.parent == device.class.device.product);
            for slice in slices {
                let inside = slice.candidate.class.device.visible <= device.class.device.visible;
                assert!(inside && !slice.profile.contains('+'), "{slice:?}");
            }
        }
        let profiles = shelf.slices.iter().filter(|slice| slice.parent == "NVIDIA-A100-SXM4-80GB");
        let profiles: Vec<&str> = profiles.map(|slice| slice.profile.as_str()).collect();
        assert_eq!(profiles, ["1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"]);
    }
}
