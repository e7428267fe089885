//! Nodes as vendors, sharing layers and clouds label them.

use serde_json::json;

use super::*;
use crate::decide::inventory::{Platform, Sharing};

#[expect(clippy::needless_pass_by_value, reason = "callers write json!({...}) in place")]
fn read(labels: serde_json::Value, annotations: serde_json::Value, resources: serde_json::Value) -> Equipment {
    let node = json!({"metadata": {"name": "n", "labels": labels, "annotations": annotations}, "status": {"allocatable": resources}});
    equipment(&serde_json::from_value(node).unwrap())
}

#[track_caller]
fn only(labels: serde_json::Value, resources: serde_json::Value) -> (GpuClass, u64) {
    let found = read(labels, json!({}), resources);
    assert!(found.unknown.is_empty(), "{:?}", found.unknown);
    assert_eq!(found.gpus.len(), 1, "{:?}", found.gpus);
    found.gpus.into_iter().next().unwrap()
}

fn mib(bytes: Bytes) -> u64 {
    bytes.0 >> 20
}

#[test]
fn a_mixed_slice_without_its_label_is_looked_up_by_product_and_profile() {
    let labels = json!({"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB", "nvidia.com/mig.strategy": "mixed"});
    for resource in ["nvidia.com/mig-1g.10gb", "nvidia.com/mig-1g.10gb.me", "nvidia.com/mig-1g.10gb+me.all"] {
        let (class, count) = only(labels.clone(), json!({resource: "7"}));
        assert_eq!((mib(class.device.visible), class.assured, count), (9728, class.device.visible, 7), "{resource}");
        assert_eq!((class.device.product.as_str(), class.sharing), ("NVIDIA-A100-SXM4-80GB-MIG-1g.10gb", Sharing::Mig));
    }
}

#[test]
fn a_slice_that_was_never_measured_is_bounded_by_its_name() {
    let b200 = json!({"nvidia.com/gpu.product": "NVIDIA-B200", "nvidia.com/mig.strategy": "mixed"});
    let (floor, _) = only(b200, json!({"nvidia.com/mig-1g.23gb": "7"}));
    assert_eq!((mib(floor.assured), mib(floor.device.visible)), (20_725, 23 * 1024));
    let unheard = json!({"nvidia.com/gpu.product": "NVIDIA-Z9", "nvidia.com/mig.strategy": "mixed"});
    let (named, _) = only(unheard, json!({"nvidia.com/mig-2g.50gb": "3"}));
    assert_eq!((mib(named.assured), mib(named.device.visible)), (50 * 1024 * 88 / 100, 50 * 1024));
    let odd = read(json!({}), json!({}), json!({"nvidia.com/mig-odd": "1"}));
    assert!(odd.unknown[0].reason.contains("nvidia.com/mig-odd.memory"), "{:?}", odd.unknown);
}

#[test]
fn a_time_sliced_slice_is_shared_by_its_replicas() {
    let labels = json!({
        "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB", "nvidia.com/mig-3g.20gb.memory": "19968",
        "nvidia.com/mig-3g.20gb.replicas": "4", "nvidia.com/mig-3g.20gb.sharing-strategy": "time-slicing",
        "nvidia.com/mig-3g.20gb.product": "NVIDIA-A100-SXM4-40GB-MIG-3g.20gb-SHARED"
    });
    let (class, count) = only(labels, json!({"nvidia.com/mig-3g.20gb": "8"}));
    assert_eq!((class.sharing, class.clients, count), (Sharing::TimeSlicing, 4, 8));
    assert_eq!((mib(class.device.visible), mib(class.assured)), (19_968, 4_992));
    assert_eq!(class.device.product, "NVIDIA-A100-SXM4-40GB-MIG-3g.20gb");
}

#[test]
fn a_single_strategy_slice_without_memory_label_is_looked_up() {
    let labels =
        json!({"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb", "nvidia.com/mig.strategy": "single"});
    let (class, _) = only(labels, json!({"nvidia.com/gpu": "7"}));
    assert_eq!((mib(class.device.visible), class.sharing), (9984, Sharing::Mig));
    let eight = json!({"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb", "nvidia.com/gpu.memory": "9984", "nvidia.com/gpu.count": "8"});
    let (class, count) = only(eight, json!({"nvidia.com/gpu": "56"}));
    assert_eq!((class.sharing, class.clients, count), (Sharing::Mig, 1, 56), "slices are no replicas");
}

#[test]
fn a_cloud_partitions_its_gpus_and_offers_them_as_whole_ones() {
    let labels = json!({
        "cloud.google.com/gke-accelerator": "nvidia-tesla-a100", "cloud.google.com/gke-accelerator-count": "1",
        "cloud.google.com/gke-gpu-partition-size": "1g.5gb"
    });
    let (class, count) = only(labels.clone(), json!({"nvidia.com/gpu": "7"}));
    assert_eq!((mib(class.device.visible), class.sharing, count), (4864, Sharing::Mig, 7));
    assert_eq!(only(labels, json!({})).1, 7, "before the plugin registers");
}

#[test]
fn a_changing_mig_configuration_makes_all_nvidia_resources_unknown() {
    let labels = |state: &str| {
        json!({"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB", "nvidia.com/gpu.memory": "40960",
               "nvidia.com/gpu.count": "1", "nvidia.com/mig.config": "all-1g.5gb", "nvidia.com/mig.config.state": state})
    };
    for state in ["pending", "rebooting", "failed"] {
        let found = read(labels(state), json!({}), json!({"nvidia.com/gpu": "1"}));
        assert!(found.gpus.is_empty(), "{state}");
        assert!(found.unknown[0].covers("nvidia.com/mig-1g.5gb") && found.unknown[0].covers("nvidia.com/gpu"));
        assert!(!found.unknown[0].covers("amd.com/gpu"));
        assert!(found.unknown[0].reason.contains(state));
    }
    assert_eq!(only(labels("success"), json!({"nvidia.com/gpu": "1"})).1, 1);
}

#[test]
fn a_fresh_node_of_the_mixed_strategy_may_offer_anything() {
    let labels = json!({"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB", "nvidia.com/gpu.memory": "40960",
                        "nvidia.com/gpu.count": "1", "nvidia.com/mig.strategy": "mixed"});
    let found = read(labels, json!({}), json!({"nvidia.com/gpu": "0"}));
    assert!(found.unknown[0].covers("nvidia.com/mig-3g.20gb") && found.unknown[0].covers("nvidia.com/gpu"));
    let unlabelled = read(json!({"nvidia.com/gpu.present": "true"}), json!({}), json!({}));
    assert!(unlabelled.unknown[0].covers("nvidia.com/gpu"));
    assert!(read(json!({}), json!({}), json!({"cpu": "4"})).is_empty());
}

#[test]
fn replicas_are_counted_where_labels_are_old_or_wrong() {
    let labels = |more: serde_json::Value| {
        let mut labels = json!({"nvidia.com/gpu.product": "NVIDIA-L4-SHARED", "nvidia.com/gpu.memory": "23034", "nvidia.com/gpu.count": "2"});
        labels.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        labels
    };
    let (old, _) = only(labels(json!({})), json!({"nvidia.com/gpu": "8"}));
    assert_eq!((old.sharing, old.clients), (Sharing::TimeSlicing, 4), "no label of strategy or replicas");
    let wrong = json!({"nvidia.com/gpu.replicas": "2", "nvidia.com/gpu.sharing-strategy": "mps"});
    let (mps, _) = only(labels(wrong), json!({"nvidia.com/gpu": "8"}));
    let whole = Bytes::from_gib(22.03).0;
    assert_eq!((mps.device.visible.0, mps.assured.0), (whole / 2, whole / 4), "both witnesses bound it");
}

#[test]
fn time_slices_are_seen_whole_and_assured_in_part() {
    let labels = json!({
        "nvidia.com/gpu.product": "Tesla-T4-SHARED", "nvidia.com/gpu.memory": "15360", "nvidia.com/gpu.count": "1",
        "nvidia.com/gpu.replicas": "4", "nvidia.com/gpu.sharing-strategy": "time-slicing"
    });
    let (class, count) = only(labels, json!({"nvidia.com/gpu": "4"}));
    let whole = Bytes::from_gib(14.56);
    assert_eq!((class.device.visible, class.assured.0, class.clients, count), (whole, whole.0 / 4, 4, 4));
}

#[test]
fn mps_replicas_have_their_part() {
    let labels = json!({
        "nvidia.com/gpu.product": "NVIDIA-A10-SHARED", "nvidia.com/gpu.memory": "23028", "nvidia.com/gpu.count": "1",
        "nvidia.com/gpu.replicas": "2", "nvidia.com/gpu.sharing-strategy": "mps"
    });
    let (class, _) = only(labels, json!({"nvidia.com/gpu": "2"}));
    let half = Bytes(Bytes::from_gib(22.07).0 / 2);
    assert_eq!((class.device.visible, class.assured, class.sharing), (half, half, Sharing::Mps));
}

#[test]
fn a_host_with_two_products_is_known_in_part() {
    let labels =
        json!({"nvidia.com/gpu.product": "Tesla-T4", "nvidia.com/gpu.memory": "15360", "nvidia.com/gpu.count": "2"});
    let found = read(labels, json!({}), json!({"nvidia.com/gpu": "3"}));
    assert_eq!((found.gpus[0].1, found.unknown[0].count), (2, 1));
    let labels =
        json!({"nvidia.com/gpu.product": "Tesla-T4", "nvidia.com/gpu.memory": "15360", "nvidia.com/gpu.count": "1"});
    let (replicas, _) = only(labels, json!({"nvidia.com/gpu": "1k"}));
    assert_eq!((replicas.sharing, replicas.clients), (Sharing::TimeSlicing, 1000), "no host has a thousand boards");
}

#[test]
fn amd_boards_are_known_by_any_of_their_labels() {
    for labels in [
        json!({"amd.com/gpu.vram": "192G", "amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"}),
        json!({"amd.com/gpu.device-id": "74a1"}),
        json!({"beta.amd.com/gpu.device-id.74a1": "8", "beta.amd.com/gpu.vram.192G": "8"}),
        json!({"amd.com/gpu.product-name": "AMD_Instinct_MI300X_VF"}),
        json!({"node.kubernetes.io/instance-type": "Standard_ND96isr_MI300X_v5"}),
    ] {
        let (class, count) = only(labels.clone(), json!({"amd.com/gpu": "8"}));
        assert_eq!((mib(class.device.visible), class.platform, count), (196_608, Platform::Other, 8), "{labels}");
    }
    let (legacy, _) = only(json!({"beta.amd.com/gpu.vram": "16G"}), json!({"amd.com/gpu": "1"}));
    assert_eq!(mib(legacy.device.visible), 16_384);
}

#[test]
fn amd_partitions_are_parts_of_the_board() {
    let partition = json!({"amd.com/gpu.compute-memory-partition": "cpx_nps4", "amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"});
    for (labels, resource) in [
        (partition.clone(), "amd.com/gpu"),
        (json!({"amd.com/gpu.vram": "192G", "amd.com/gpu.device-id": "74a1"}), "amd.com/cpx_nps4"),
        (json!({"amd.com/gpu.vram": "24G", "amd.com/gpu.device-id": "74a1"}), "amd.com/cpx_nps4"),
    ] {
        let (class, _) = only(labels, json!({resource: "64"}));
        assert_eq!((mib(class.device.visible), mib(class.assured)), (24_576, 24_576), "{resource}");
    }
    let (spx, _) = only(
        json!({"amd.com/gpu.vram": "192G", "amd.com/gpu.compute-memory-partition": "spx_nps1"}),
        json!({"amd.com/gpu": "8"}),
    );
    assert_eq!(mib(spx.device.visible), 196_608);
    // Whose memory the label tells is not known without the product.
    let (bounds, _) = only(json!({"amd.com/gpu.vram": "192G"}), json!({"amd.com/cpx_nps1": "64"}));
    assert_eq!((mib(bounds.device.visible), mib(bounds.assured)), (196_608, 24_576));
}

#[test]
fn other_vendors_are_known_by_product_or_instance_type() {
    let cases = [
        (json!({"gpu.intel.com/product": "Max_1550"}), "gpu.intel.com/i915", 131_072),
        (json!({"cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice"}), "google.com/tpu", 32_768),
        (json!({"cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice"}), "google.com/tpu", 16_384),
        (json!({"node.kubernetes.io/instance-type": "trn1.32xlarge"}), "aws.amazon.com/neuron", 32_768),
        (json!({"node.kubernetes.io/instance-type": "trn1.32xlarge"}), "aws.amazon.com/neuroncore", 16_384),
        (json!({"karpenter.k8s.aws/instance-gpu-name": "gaudi"}), "habana.ai/gaudi", 32_768),
    ];
    for (labels, resource, expected) in cases {
        let (class, _) = only(labels, json!({resource: "4"}));
        assert_eq!((mib(class.device.visible), class.platform), (expected, Platform::Other), "{resource}");
    }
    for resource in ["habana.ai/gaudi", "google.com/tpu", "aws.amazon.com/neuron", "gpu.intel.com/xe", "amd.com/gpu"] {
        let found = read(json!({}), json!({}), json!({resource: "8"}));
        assert_eq!((found.gpus.len(), found.unknown[0].count), (0, 8), "{resource}");
    }
}

#[test]
fn intel_devices_may_be_offered_several_times() {
    let labels = json!({"gpu.intel.com/product": "Flex_170", "gpu.intel.com/device.count": "2"});
    let (class, _) = only(labels, json!({"gpu.intel.com/i915": "10"}));
    assert_eq!((class.clients, class.sharing, mib(class.device.visible)), (5, Sharing::TimeSlicing, 16_384));
    let (unnamed, _) = only(
        json!({"gpu.intel.com/device.count": "2"}),
        json!({"gpu.intel.com/xe": "2", "gpu.intel.com/memory.max": "51539607552"}),
    );
    assert_eq!(mib(unnamed.device.visible), 24_576);
}

#[test]
fn a_register_tells_devices_behind_multiplied_counts() {
    let register = "GPU-a,10,23028,100,NVIDIA-NVIDIA A10,0,true:GPU-b,10,23028,100,NVIDIA-NVIDIA A10,0,true:";
    let found = read(json!({}), json!({"hami.io/node-nvidia-register": register}), json!({"nvidia.com/gpu": "20"}));
    assert_eq!((found.gpus.len(), found.gpus[0].1), (1, 2), "devices, not shares of them");
    assert_eq!(
        (found.gpus[0].0.device.product.as_str(), found.gpus[0].0.source),
        ("NVIDIA-A10", CapacitySource::Register)
    );
    let volcano = "GPU-a,10,32768,Tesla-V100-SXM2-32GB,true:";
    let found = read(
        json!({}),
        json!({"volcano.sh/node-vgpu-register": volcano}),
        json!({"volcano.sh/vgpu-number": "10", "volcano.sh/vgpu-memory": "32768"}),
    );
    assert_eq!((found.gpus[0].1, found.gpus[0].0.platform), (1, Platform::Cuda));
}
