//! Slices, classes and claims as drivers and users write them.

use serde_json::{Value, json};

use super::*;
use crate::decide::Candidates;
use crate::decide::inventory::{Inventory, Sharing};
use crate::spec::nodes::{NodeView, with_devices};
use crate::spec::pod::PodTemplate;

const A100_BYTES: &str = "80Gi";

fn gpu(index: u64) -> Value {
    json!({"name": format!("gpu-{index}"),
        "attributes": {
            "type": {"string": "gpu"}, "uuid": {"string": format!("GPU-{index}")}, "productName": {"string": "NVIDIA A100-SXM4-80GB"},
            "cudaComputeCapability": {"version": "8.0.0"}, "resource.kubernetes.io/pcieRoot": {"string": format!("pci{index}")}
        },
        "capacity": {"memory": {"value": A100_BYTES}},
        "consumesCounters": [{"counterSet": format!("gpu-{index}"), "counters": {"memory": {"value": A100_BYTES}}}]})
}

/// A slice of the GPU: two of them take what the whole one takes.
fn mig(index: u64, at: u64) -> Value {
    json!({"name": format!("gpu-{index}-mig-3g.40gb-{at}"),
        "attributes": {
            "type": {"string": "mig"}, "profile": {"string": "3g.40gb"}, "productName": {"string": "NVIDIA A100-SXM4-80GB"},
            "uuid": {"string": format!("MIG-{index}-{at}")}
        },
        "capacity": {"memory": {"value": "40192Mi"}},
        "consumesCounters": [{"counterSet": format!("gpu-{index}"), "counters": {"memory": {"value": "40Gi"}}}]})
}

fn slice(node: &str, devices: &[Value], gpus: u64) -> Value {
    let counters: Vec<Value> =
        (0..gpus).map(|i| json!({"name": format!("gpu-{i}"), "counters": {"memory": {"value": A100_BYTES}}})).collect();
    json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": format!("{node}-gpu")},
        "spec": {"driver": "gpu.nvidia.com", "nodeName": node, "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
                 "devices": devices, "sharedCounters": counters}})
}

fn template(request: Value) -> Value {
    let mut request = request;
    request["name"] = "gpu".into();
    json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate", "metadata": {"name": "t", "namespace": "ml"},
           "spec": {"spec": {"devices": {"requests": [request]}}}})
}

fn inventory(objects: &[Value], nodes: &[Value]) -> Inventory {
    let mut published = Published::default();
    for object in objects {
        assert!(published.add(object).unwrap(), "{object}");
    }
    let nodes = nodes.iter().map(|node| serde_json::from_value::<NodeView>(node.clone()).unwrap());
    with_devices(nodes, place(&published.slices), published.dynamic)
}

fn pod() -> PodTemplate {
    let pod = json!({"metadata": {"name": "p", "namespace": "ml"}, "spec": {
        "resourceClaims": [{"name": "device", "resourceClaimTemplateName": "t"}],
        "containers": [{"name": "c", "resources": {"claims": [{"name": "device"}]}}]
    }});
    serde_json::from_value(pod).unwrap()
}

fn ask(inventory: &Inventory) -> Claimed {
    let pod = pod();
    claimed(&pod, &uses(&pod, &pod.spec.containers[0]), inventory)
}

fn shown(candidates: &Candidates) -> Vec<(String, u64, u64)> {
    candidates.eligible.iter().map(|c| (c.class.name(), c.gpus_per_node, c.nodes)).collect()
}

fn exactly(selectors: &[&str], count: u64) -> Value {
    let selectors: Vec<Value> = selectors.iter().map(|cel| json!({"cel": {"expression": cel}})).collect();
    json!({"exactly": {"deviceClassName": "gpu.nvidia.com", "selectors": selectors, "allocationMode": "ExactCount", "count": count}})
}

#[test]
fn a_claim_lands_on_devices_that_its_class_and_selectors_choose() {
    let devices = [gpu(0), gpu(1)];
    let slices = [slice("n1", &devices, 2), slice("n2", &devices, 2)];
    let with = |request: Value| ask(&inventory(&[&slices[..], &[template(request)]].concat(), &[]));
    let found = with(exactly(&[], 2));
    assert_eq!(found.request.as_ref().map(|r| (r.resource.as_str(), r.count)), Some(("gpu.nvidia.com", 2)));
    let candidates = found.candidates.unwrap();
    assert_eq!(
        shown(&candidates),
        [("NVIDIA-A100-SXM4-80GB-79GiB".to_owned(), 2, 2)],
        "nodes that are alike are one class"
    );
    assert_eq!(candidates.eligible[0].class.device.compute_capability, Some((8, 0)));
    let small = with(exactly(&["device.capacity['gpu.nvidia.com'].memory.compareTo(quantity('90Gi')) >= 0"], 1));
    assert!(small.candidates.is_some_and(|found| found.eligible.is_empty() && found.unknown.is_empty()));
    let many = with(exactly(&[], 4)).candidates.unwrap();
    assert_eq!(many.excluded[0].1, "has 2 devices of gpu.nvidia.com, the claim asks for 4");
}

#[test]
fn a_gpu_and_its_slices_are_counted_once() {
    let devices = [gpu(0), mig(0, 0), mig(0, 1), gpu(1), mig(1, 0), mig(1, 1)];
    let of_class = |class: &str, cel: &str| {
        let class_object = json!({"kind": "DeviceClass", "metadata": {"name": class}, "spec": {"selectors": [{"cel": {"expression": cel}}]}});
        let request = json!({"exactly": {"deviceClassName": class, "allocationMode": "All"}});
        ask(&inventory(&[slice("n", &devices, 2), class_object, template(request)], &[]))
    };
    let any = of_class("any", "device.driver == 'gpu.nvidia.com'");
    assert_eq!(any.request.map(|request| request.count), Some(4), "four slices, or two GPUs, never six devices");
    let whole = of_class("gpu.nvidia.com", "device.attributes['gpu.nvidia.com'].type == 'gpu'").candidates.unwrap();
    assert_eq!(shown(&whole), [("NVIDIA-A100-SXM4-80GB-79GiB".to_owned(), 2, 1)]);
    let slices = of_class("mig.nvidia.com", "device.attributes['gpu.nvidia.com'].type == 'mig'").candidates.unwrap();
    assert_eq!(shown(&slices), [("NVIDIA-A100-SXM4-80GB-MIG-3g.40gb-39GiB".to_owned(), 4, 1)]);
    assert_eq!(slices.eligible[0].class.sharing, Sharing::Mig);
}

#[test]
fn what_cannot_be_evaluated_is_unknown() {
    let devices = [gpu(0)];
    let with = |request: Value| ask(&inventory(&[slice("n", &devices, 1), template(request)], &[])).candidates.unwrap();
    let uuid = with(exactly(&["device.attributes['gpu.nvidia.com'].uuid == 'GPU-0'"], 1));
    assert!(uuid.eligible.is_empty() && uuid.unknown[0].contains("selectors"), "{uuid:?}");
    let class = with(json!({"exactly": {"deviceClassName": "somebody.example.com"}}));
    assert!(class.eligible.is_empty() && !class.unknown.is_empty());
    let nothing = ask(&inventory(&[slice("n", &devices, 1)], &[]));
    assert_eq!(nothing.candidates.unwrap().unknown, ["the ResourceClaimTemplate `t` is not known"]);
    assert_eq!(nothing.request, None);
}

#[test]
fn alternatives_are_all_possible_and_older_spellings_are_read() {
    let devices = [gpu(0), mig(0, 0)];
    let list = json!({"firstAvailable": [{"name": "whole", "deviceClassName": "gpu.nvidia.com"}, {"name": "slice", "deviceClassName": "mig.nvidia.com"}]});
    let either = ask(&inventory(&[slice("n", &devices, 1), template(list)], &[])).candidates.unwrap();
    assert_eq!(either.eligible.len(), 2);
    let flat = json!({"deviceClassName": "gpu.nvidia.com"});
    let nested: Vec<Value> = devices
        .iter()
        .map(|device| {
            let mut basic = device.clone();
            let name = basic.as_object_mut().unwrap().remove("name").unwrap();
            json!({"name": name, "basic": basic})
        })
        .collect();
    let beta = ask(&inventory(&[slice("n", &nested, 1), template(flat)], &[])).candidates.unwrap();
    assert_eq!(shown(&beta), [("NVIDIA-A100-SXM4-80GB-79GiB".to_owned(), 1, 1)]);
}

#[test]
fn nodes_keep_pods_away_from_their_devices() {
    let node = json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]}});
    let found = ask(&inventory(&[slice("n", &[gpu(0)], 1), template(exactly(&[], 1))], &[node])).candidates.unwrap();
    assert_eq!(found.excluded[0].1, "taint gpu:NoSchedule is not tolerated");
    let mut tainted = gpu(0);
    tainted["taints"] = json!([{"key": "broken", "effect": "NoExecute"}]);
    let found = ask(&inventory(&[slice("n", &[tainted], 1), template(exactly(&[], 1))], &[])).candidates.unwrap();
    assert!(found.eligible.is_empty(), "a tainted device repels claims");
}

#[test]
fn only_complete_pools_of_the_newest_generation_count() {
    let mut old = slice("n", &[gpu(0), gpu(1)], 2);
    old["spec"]["pool"]["generation"] = 0.into();
    let found = ask(&inventory(&[old, slice("n", &[gpu(0)], 1), template(exactly(&[], 1))], &[])).candidates.unwrap();
    assert_eq!(shown(&found)[0].1, 1);
    let mut part = slice("n", &[gpu(0)], 1);
    part["spec"]["pool"]["resourceSliceCount"] = 2.into();
    let found = ask(&inventory(&[part, template(exactly(&[], 1))], &[])).candidates.unwrap();
    assert!(found.eligible.is_empty() && found.unknown.len() == 1, "{found:?}");
}

#[test]
fn an_extended_resource_may_stand_for_a_device_class() {
    let class = json!({"kind": "DeviceClass", "metadata": {"name": "gpu.nvidia.com"}, "spec": {
        "extendedResourceName": "nvidia.com/gpu", "selectors": [{"cel": {"expression": "device.attributes['gpu.nvidia.com'].type == 'gpu'"}}]}});
    let inventory = inventory(&[slice("n", &[gpu(0), mig(0, 0)], 1), class], &[]);
    let request = crate::spec::GpuRequest::new("nvidia.com/gpu", 1);
    let found = crate::spec::candidates(&PodTemplate::default(), &request, &inventory);
    assert_eq!(shown(&found), [("NVIDIA-A100-SXM4-80GB-79GiB".to_owned(), 1, 1)]);
}

#[test]
fn devices_that_are_no_gpus_are_none_of_our_business() {
    let card = json!({"kind": "ResourceSlice", "metadata": {"name": "s"}, "spec": {"driver": "dra.net", "nodeName": "n",
        "pool": {"name": "n", "generation": 1, "resourceSliceCount": 1}, "devices": [{"name": "eth1", "attributes": {"rdma": {"bool": true}}}]}});
    let class = json!({"kind": "DeviceClass", "metadata": {"name": "net"}, "spec": {"selectors": [{"cel": {"expression": "device.driver == 'dra.net'"}}]}});
    let found = ask(&inventory(&[card, class, template(json!({"exactly": {"deviceClassName": "net"}}))], &[]));
    assert_eq!((found.request, found.candidates.is_none()), (None, true));
}

#[test]
fn a_shared_device_is_held_against_the_memory_that_was_asked() {
    let mut device = gpu(0);
    device["allowMultipleAllocations"] = true.into();
    let request =
        json!({"exactly": {"deviceClassName": "gpu.nvidia.com", "capacity": {"requests": {"memory": "20Gi"}}}});
    let found = ask(&inventory(&[slice("n", &[device], 1), template(request)], &[])).candidates.unwrap();
    let class = &found.eligible[0].class;
    assert_eq!((class.sharing, class.assured.gib()), (Sharing::Fraction, 20.0));
}
