//! What nodes and drivers offer besides whole GPUs, as a real API server takes and serves it.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::controlplane::{ControlPlane, eventually};
use crate::gpu_nodes::{Node, a100_80gb_node, cpu_node, l40s_node, t4_node};
use crate::llama::{serving, training};
use crate::trial;
use crate::webhook::Webhook;
use crate::workloads::Pod;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("capacity::mixed_mig_slices_have_their_own_memory", mixed_mig_slices_have_their_own_memory),
        trial("capacity::time_slices_are_warned_of_and_mps_is_split", time_slices_are_warned_of_and_mps_is_split),
        trial("capacity::a_changing_mig_configuration_refuses_nothing", a_changing_mig_configuration_refuses_nothing),
        trial("capacity::claims_are_held_against_published_devices", claims_are_held_against_published_devices),
        trial("capacity::a_limit_of_a_sharing_layer_is_the_capacity", a_limit_of_a_sharing_layer_is_the_capacity),
        trial("capacity::a_node_shape_that_could_be_added_refuses_nothing", a_shape_that_could_be_added),
    ]
}

/// Llama 2 7B with four sequences, about 22 GiB, on one device of a resource instead of a whole GPU.
fn asking(resource: &str) -> Value {
    let mut pod = serving("serve").into_object();
    let one = json!({resource: "1"});
    pod["spec"]["containers"][0]["resources"] = json!({"limits": one, "requests": one});
    pod
}

fn mixed_mig_slices_have_their_own_memory(plane: &ControlPlane) -> Result<()> {
    let node = a100_80gb_node("a100", 2)
        .label("nvidia.com/mig.strategy", "mixed")
        .label("nvidia.com/mig-1g.10gb.memory", "9728")
        .label("nvidia.com/mig-1g.10gb.product", "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb")
        .resource("nvidia.com/gpu", "0")
        .resource("nvidia.com/mig-1g.10gb", "7")
        // Its label is missing: the catalogue knows the profile.
        .resource("nvidia.com/mig-3g.40gb", "2");
    let _nodes = plane.nodes(&[node])?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("mig")?;
    team.rejects(&asking("nvidia.com/mig-1g.10gb")).because("TOO_BIG").because("MIG-1g.10gb");
    team.accepts(&asking("nvidia.com/mig-3g.40gb"))
        .silently()
        .with("/metadata/annotations/vramguard.io~1verdict", "FITS");
    Ok(())
}

fn shared(node: Node, strategy: &str, replicas: u32) -> Node {
    node.label("nvidia.com/gpu.product", "NVIDIA-L40S-SHARED")
        .label("nvidia.com/gpu.replicas", &replicas.to_string())
        .label("nvidia.com/gpu.sharing-strategy", strategy)
        .resource("nvidia.com/gpu", &replicas.to_string())
}

fn time_slices_are_warned_of_and_mps_is_split(plane: &ControlPlane) -> Result<()> {
    let pools = [
        shared(l40s_node("sliced", 1), "time-slicing", 4).label("pool", "sliced"),
        shared(l40s_node("split", 1), "mps", 4).label("pool", "split"),
    ];
    let _nodes = plane.nodes(&pools)?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("shared")?;
    let on = |pool: &str, pod: Pod| pod.on_nodes_with("pool", pool);
    team.accepts(&on("sliced", serving("serve"))).with_warning("4 pods may share");
    // No number of replicas makes a device larger.
    team.rejects(&on("sliced", training("train"))).because("TOO_BIG");
    team.rejects(&on("split", serving("serve"))).because("TOO_BIG").because("mps");
    Ok(())
}

fn a_changing_mig_configuration_refuses_nothing(plane: &ControlPlane) -> Result<()> {
    let node =
        a100_80gb_node("a100", 1).label("nvidia.com/mig.config.state", "pending").resource("nvidia.com/gpu", "0");
    let _nodes = plane.nodes(&[node])?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("flux")?;
    team.accepts(&asking("nvidia.com/mig-1g.10gb")).with_warning("pending");
    Ok(())
}

fn a_limit_of_a_sharing_layer_is_the_capacity(plane: &ControlPlane) -> Result<()> {
    let register = "GPU-a,10,46068,100,NVIDIA-NVIDIA L40S,0,true:";
    let node = cpu_node("hami").resource("nvidia.com/gpu", "10").annotation("hami.io/node-nvidia-register", register);
    let _nodes = plane.nodes(&[node])?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("hami")?;
    let with = |mib: &str| serving("serve").resource("nvidia.com/gpumem", mib);
    team.rejects(&with("8000")).because("TOO_BIG").because("limited");
    team.accepts(&with("40000")).silently();
    Ok(())
}

fn a_shape_that_could_be_added(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[t4_node("t4", 1)])?;
    let config = "nodeShapes:\n- name: large\n  labels: {node.kubernetes.io/instance-type: p5.48xlarge}\n";
    let webhook = Webhook::start(plane, config)?;
    let team = webhook.namespace("scale")?;
    team.accepts(&serving("serve")).with_warning("could be added by an autoscaler");
    let here = serving("serve").on_nodes_with("nvidia.com/gpu.product", "Tesla-T4");
    team.rejects(&here).because("TOO_BIG");
    Ok(())
}

/// Objects of the whole cluster for the time of one test.
struct Installed<'a>(&'a ControlPlane);

impl Drop for Installed<'_> {
    fn drop(&mut self) {
        let _ = self.0.admin().run(&["delete", "resourceslices,deviceclasses", "--all", "--wait=false"]);
    }
}

/// One GPU, or two slices of it.
fn slice() -> Value {
    let device = |name: &str, kind: &str, memory: &str, takes: &str| {
        let profile = if kind == "mig" { "1g.10gb" } else { "" };
        json!({"name": name,
            "attributes": {"type": {"string": kind}, "profile": {"string": profile}, "productName": {"string": "NVIDIA A100-SXM4-80GB"}, "uuid": {"string": name}},
            "capacity": {"memory": {"value": memory}},
            "consumesCounters": [{"counterSet": "gpu-0", "counters": {"memory": {"value": takes}}}]})
    };
    let pool = |generation: u32| json!({"name": "dra", "generation": generation, "resourceSliceCount": 2});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": "dra-counters"},
         "spec": {"driver": "gpu.nvidia.com", "nodeName": "dra", "pool": pool(1),
            "sharedCounters": [{"name": "gpu-0", "counters": {"memory": {"value": "80Gi"}}}]}},
        {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": "dra-devices"},
         "spec": {"driver": "gpu.nvidia.com", "nodeName": "dra", "pool": pool(1), "devices": [
            device("gpu-0", "gpu", "81920Mi", "80Gi"),
            device("gpu-0-mig-0", "mig", "9728Mi", "10Gi"), device("gpu-0-mig-1", "mig", "9728Mi", "10Gi")]}},
        {"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "gpu.nvidia.com"},
         "spec": {"selectors": [{"cel": {"expression": "device.driver == 'gpu.nvidia.com'"}}]}},
    ]})
}

fn template(name: &str, cel: &str, count: u32) -> Value {
    let exactly =
        json!({"deviceClassName": "gpu.nvidia.com", "count": count, "selectors": [{"cel": {"expression": cel}}]});
    json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate", "metadata": {"name": name},
        "spec": {"spec": {"devices": {"requests": [{"name": "gpu", "exactly": exactly}]}}}})
}

fn claiming(template: &str) -> Value {
    let mut pod = serving("serve").into_object();
    pod["spec"]["containers"][0]["resources"] = json!({"claims": [{"name": "gpu"}]});
    pod["spec"]["resourceClaims"] = json!([{"name": "gpu", "resourceClaimTemplateName": template}]);
    pod
}

fn claims_are_held_against_published_devices(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[cpu_node("dra")])?;
    let webhook = Webhook::start(plane, "")?;
    let team = webhook.namespace("claims")?;
    let _installed = Installed(plane);
    plane.apply(&slice().to_string())?;
    let large = "device.capacity['gpu.nvidia.com'].memory.compareTo(quantity('40Gi')) >= 0";
    let slices = "device.attributes['gpu.nvidia.com'].type == 'mig'";
    for object in [template("large", large, 1), template("slices", slices, 1), template("two", large, 2)] {
        let mut object = object;
        object["metadata"]["namespace"] = team.name().into();
        plane.apply(&object.to_string())?;
    }
    let fits = |name: &str| {
        eventually(Duration::from_secs(10), || {
            let found = team.ask(&claiming(name))?.json()?;
            let verdict = found["metadata"]["annotations"]["vramguard.io/verdict"].clone();
            ensure!(verdict == "FITS", "the verdict is {verdict}");
            Ok(())
        })
    };
    fits("large")?;
    team.rejects(&claiming("slices")).because("TOO_BIG").because("MIG");
    team.accepts(&claiming("two")).with_warning("the claim asks for 2");
    team.accepts(&claiming("unheard-of")).with_warning("is not known");
    Ok(())
}
