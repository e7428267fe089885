//! Nodes as clouds and operators label them, to classes.

use serde_json::json;

use super::*;
use crate::decide::inventory::{CapacitySource, Sharing, UnknownCapacity};
use crate::estimate::Bytes;

#[expect(clippy::needless_pass_by_value, reason = "callers write json!({...}) in place")]
fn node(name: &str, labels: serde_json::Value, allocatable: serde_json::Value) -> NodeView {
    let mut view: NodeView = serde_json::from_value(
        json!({"metadata": {"name": name, "labels": labels}, "status": {"allocatable": allocatable}}),
    )
    .unwrap();
    view.metadata.labels.insert("kubernetes.io/hostname".into(), name.into());
    view
}

fn h100(name: &str) -> NodeView {
    let labels = json!({
        "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.memory": "81559", "nvidia.com/gpu.count": "8",
        "nvidia.com/gpu.compute.major": "9", "nvidia.com/gpu.compute.minor": "0", "topology.kubernetes.io/zone": "a"
    });
    node(name, labels, json!({"nvidia.com/gpu": "8", "cpu": "96"}))
}

fn only_gpu(view: NodeView) -> (Arc<GpuClass>, u64) {
    let inventory = inventory([view]);
    assert_eq!((inventory.classes.len(), inventory.classes[0].gpus.len()), (1, 1), "{inventory:?}");
    inventory.classes[0].gpus[0].clone()
}

fn only_unknown(view: NodeView) -> UnknownCapacity {
    let inventory = inventory([view]);
    assert!(inventory.classes[0].gpus.is_empty(), "{inventory:?}");
    inventory.classes[0].unknown[0].clone()
}

#[test]
fn nodes_that_differ_only_in_their_host_name_are_one_class() {
    let plain = node("cpu", json!({}), json!({"cpu": "4"}));
    let inventory = inventory([h100("b"), plain, h100("a")]);
    assert_eq!((inventory.nodes, inventory.classes.len()), (3, 1));
    let class = &inventory.classes[0];
    assert_eq!(class.members.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(class.members[0].labels["kubernetes.io/hostname"], "a");
    assert_eq!(class.labels["topology.kubernetes.io/zone"], "a");
    assert!(!class.labels.contains_key("kubernetes.io/hostname"));
    let (gpu, count) = &class.gpus[0];
    assert_eq!((gpu.device.visible, *count), (Bytes::from_gib(79.19), 8), "what the runtime sees");
    assert_eq!((gpu.device.compute_capability, gpu.source), (Some((9, 0)), CapacitySource::Label));
}

#[test]
fn the_order_of_the_nodes_does_not_matter() {
    let mut cordoned = h100("c");
    cordoned.spec.unschedulable = true;
    let nodes = [h100("a"), h100("b"), cordoned];
    let reversed: Vec<_> = nodes.iter().rev().collect();
    assert_eq!(inventory(&nodes), inventory(reversed));
}

#[test]
fn taints_cordon_and_shared_labels_separate_classes() {
    let mut tainted = h100("b");
    tainted.spec.taints = serde_json::from_value(json!([{"key": "gpu", "effect": "NoSchedule"}])).unwrap();
    let mut cordoned = h100("c");
    cordoned.spec.unschedulable = true;
    let mut elsewhere = h100("d");
    elsewhere.metadata.labels.insert("topology.kubernetes.io/zone".into(), "b".into());
    let inventory = inventory([h100("a"), tainted, cordoned, elsewhere]);
    assert_eq!(inventory.classes.len(), 4);
    assert!(inventory.classes.iter().any(|c| c.taints.len() == 1 && c.taints[0].value.is_empty()));
}

#[test]
fn a_thousand_nodes_with_their_own_labels_are_one_class() {
    let nodes = (0..1000).map(|i| {
        let mut view = h100(&format!("n{i}"));
        // Unique but for a handful of nodes that lack or share it, as rack and claim labels do.
        view.metadata.labels.insert("example.com/claim".into(), format!("c{}", i / 3 * 3 + (i % 3).min(1)));
        view
    });
    assert_eq!(inventory(nodes).classes.len(), 1);
}

#[test]
fn mps_divides_the_memory_and_time_slicing_does_not() {
    let shared = |strategy: &str| {
        let labels = json!({
            "nvidia.com/gpu.product": "NVIDIA-L4-SHARED", "nvidia.com/gpu.memory": "23034", "nvidia.com/gpu.count": "1",
            "nvidia.com/gpu.replicas": "4", "nvidia.com/gpu.sharing-strategy": strategy
        });
        only_gpu(node("n", labels, json!({"nvidia.com/gpu": 4})))
    };
    let (mps, count) = shared("mps");
    assert_eq!((mps.device.visible, mps.sharing, count), (Bytes(Bytes::from_gib(22.03).0 / 4), Sharing::Mps, 4));
    let (sliced, _) = shared("time-slicing");
    assert_eq!((sliced.device.visible, sliced.sharing), (Bytes::from_gib(22.03), Sharing::TimeSlicing));
    assert_eq!(sliced.device.product, "NVIDIA-L4");
    let (whole, _) = shared("none");
    assert_eq!((whole.device.visible, whole.sharing), (Bytes::from_gib(22.03), Sharing::Exclusive));
}

#[test]
fn renamed_replicas_do_not_make_whole_devices_appear() {
    let labels = json!({
        "nvidia.com/gpu.product": "NVIDIA-L4-SHARED", "nvidia.com/gpu.memory": "23034", "nvidia.com/gpu.count": "1",
        "nvidia.com/gpu.replicas": "10", "nvidia.com/gpu.sharing-strategy": "time-slicing"
    });
    let (gpu, count) = only_gpu(node("n", labels, json!({"nvidia.com/gpu": "0", "nvidia.com/gpu.shared": "10"})));
    assert_eq!((gpu.resource.as_str(), count), ("nvidia.com/gpu.shared", 10));
}

#[test]
fn a_fresh_node_counts_what_its_labels_promise() {
    let mut fresh = h100("n");
    fresh.status.allocatable.clear();
    assert_eq!(only_gpu(fresh.clone()).1, 8);
    fresh.status.allocatable.insert("nvidia.com/gpu".into(), Count(Some(0)));
    assert_eq!(only_gpu(fresh).1, 8);
}

#[test]
fn slices_of_the_mixed_strategy_have_their_own_memory() {
    let labels = json!({
        "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB", "nvidia.com/gpu.memory": "40960", "nvidia.com/gpu.count": "1",
        "nvidia.com/mig.strategy": "mixed", "nvidia.com/mig-1g.10gb.memory": "9856",
        "nvidia.com/mig-1g.10gb.product": "NVIDIA-A100-SXM4-40GB-MIG-1g.10gb"
    });
    let (gpu, count) =
        only_gpu(node("n", labels.clone(), json!({"nvidia.com/gpu": "0", "nvidia.com/mig-1g.10gb": "4"})));
    assert_eq!((gpu.device.visible, gpu.sharing, count), (Bytes::from_mib(9856), Sharing::Mig, 4));
    let (unlabelled, _) = only_gpu(node("n", labels, json!({"nvidia.com/mig-2g.10gb": "3"})));
    assert_eq!((unlabelled.device.visible, unlabelled.source), (Bytes::from_mib(9856), CapacitySource::Product));
}

#[test]
fn slices_of_the_single_strategy_look_like_devices() {
    let labels = json!({"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "nvidia.com/gpu.memory": "4864"});
    let (gpu, _) = only_gpu(node("n", labels, json!({"nvidia.com/gpu": "7"})));
    assert_eq!((gpu.device.visible, gpu.sharing), (Bytes::from_mib(4864), Sharing::Mig));
    let invalid =
        json!({"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB-MIG-INVALID", "nvidia.com/gpu.memory": "40960"});
    assert!(only_unknown(node("n", invalid, json!({"nvidia.com/gpu": "1"}))).reason.contains("MIG-INVALID"));
}

#[test]
fn what_nobody_knows_is_unknown_with_a_reason() {
    let unheard =
        only_unknown(node("n", json!({"nvidia.com/gpu.product": "NVIDIA-Z9000"}), json!({"nvidia.com/gpu": "2"})));
    assert_eq!(unheard.count, 2);
    assert!(unheard.reason.contains("NVIDIA-Z9000"), "{}", unheard.reason);
    let bare = only_unknown(node("n", json!({}), json!({"nvidia.com/gpu": "1"})));
    assert!(bare.reason.contains("nvidia.com/gpu.memory"), "{}", bare.reason);
    let other = only_unknown(node("n", json!({}), json!({"habana.ai/gaudi": "8"})));
    assert_eq!((other.resource.as_str(), other.count), ("habana.ai/gaudi", 8));
    let zero = json!({"nvidia.com/gpu.memory": "0"});
    assert_eq!(only_unknown(node("n", zero, json!({"nvidia.com/gpu": "1"}))).count, 1);
}

#[test]
fn a_label_with_the_memory_is_enough_without_a_product() {
    let (gpu, _) = only_gpu(node("n", json!({"nvidia.com/gpu.memory": "24000"}), json!({"nvidia.com/gpu": "1"})));
    assert_eq!(format!("{:.2}", gpu.device.visible), "22.99 GiB");
}

#[test]
fn odd_nodes_are_read_and_not_refused() {
    let view: NodeView = serde_json::from_value(json!({
        "apiVersion": "v1", "metadata": {"name": "n", "labels": null, "managedFields": [{}]},
        "spec": {"taints": null, "unschedulable": null},
        "status": {"allocatable": {"nvidia.com/gpu": "2k", "cpu": "3500m", "weird": -1.5}, "capacity": null}
    }))
    .unwrap();
    assert_eq!(view.status.allocatable["nvidia.com/gpu"], Count(Some(2000)));
    assert_eq!(view.status.allocatable["cpu"], Count(None));
    assert_eq!(inventory([serde_json::from_str::<NodeView>("{}").unwrap()]).classes.len(), 0);
}

#[test]
fn a_product_without_a_memory_label_is_looked_up() {
    for labels in
        [json!({"nvidia.com/gpu.product": "Tesla-T4"}), json!({"cloud.google.com/gke-accelerator": "nvidia-tesla-t4"})]
    {
        let (gpu, _) = only_gpu(node("n", labels, json!({"nvidia.com/gpu": "1"})));
        assert_eq!((gpu.device.product.as_str(), gpu.source), ("Tesla-T4", CapacitySource::Product));
        assert_eq!(gpu.device.visible, Bytes::from_gib(14.56));
    }
}

#[test]
fn a_node_without_gpu_labels_is_known_by_its_instance_type() {
    let labels = json!({"node.kubernetes.io/instance-type": "g4dn.12xlarge"});
    let (gpu, count) = only_gpu(node("n", labels, json!({"nvidia.com/gpu": "4"})));
    assert_eq!((gpu.device.product.as_str(), gpu.source, count), ("Tesla-T4", CapacitySource::InstanceType, 4));
}
