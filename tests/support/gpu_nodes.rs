//! Nodes with GPUs, labelled as NVIDIA's GPU feature discovery and a cloud label them.

use std::borrow::Borrow;

use serde_json::{Value, json};

/// A node object under construction.
#[derive(Clone, Debug)]
pub(crate) struct Node(Value);

impl Borrow<Value> for Node {
    fn borrow(&self) -> &Value {
        &self.0
    }
}

impl Node {
    /// Sets a label.
    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["labels"][key] = value.into();
        self
    }

    /// Removes a label, for clusters without feature discovery.
    pub(crate) fn without_label(mut self, key: &str) -> Self {
        if let Some(labels) = self.0.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels.remove(key);
        }
        self
    }

    /// Sets an annotation, such as HAMi's register of shared GPUs.
    pub(crate) fn annotation(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["annotations"][key] = value.into();
        self
    }

    /// Sets what the node has of a resource, in capacity and allocatable alike; "0" stands for a plugin not yet up.
    pub(crate) fn resource(mut self, name: &str, quantity: &str) -> Self {
        self.0["status"]["capacity"][name] = quantity.into();
        self.0["status"]["allocatable"][name] = quantity.into();
        self
    }

    /// Adds a taint with effect `NoSchedule`.
    pub(crate) fn taint(mut self, key: &str, value: &str) -> Self {
        let taint = json!({"key": key, "value": value, "effect": "NoSchedule"});
        match self.0.pointer_mut("/spec/taints").and_then(Value::as_array_mut) {
            Some(taints) => taints.push(taint),
            None => self.0["spec"]["taints"] = json!([taint]),
        }
        self
    }
}

/// What a GPU product looks like on a node.
struct Product {
    name: &'static str,
    memory_mib: u32,
    family: &'static str,
    compute: (&'static str, &'static str),
    mig_capable: bool,
    /// Cloud instance types by number of GPUs.
    instances: &'static [(u32, &'static str)],
}

/// NVIDIA A100 SXM with 81920 MiB.
pub(crate) fn a100_80gb_node(name: &str, gpus: u32) -> Node {
    let product = Product {
        name: "NVIDIA-A100-SXM4-80GB",
        memory_mib: 81_920,
        family: "ampere",
        compute: ("8", "0"),
        mig_capable: true,
        instances: &[(1, "a2-ultragpu-1g"), (2, "a2-ultragpu-2g"), (4, "a2-ultragpu-4g"), (8, "p4de.24xlarge")],
    };
    gpu_node(name, gpus, &product)
}

/// NVIDIA T4 with 15360 MiB.
pub(crate) fn t4_node(name: &str, gpus: u32) -> Node {
    let product = Product {
        name: "Tesla-T4",
        memory_mib: 15_360,
        family: "turing",
        compute: ("7", "5"),
        mig_capable: false,
        instances: &[(1, "g4dn.xlarge"), (4, "g4dn.12xlarge"), (8, "g4dn.metal")],
    };
    gpu_node(name, gpus, &product)
}

/// NVIDIA A10 with 23028 MiB.
pub(crate) fn a10_node(name: &str, gpus: u32) -> Node {
    let product = Product {
        name: "NVIDIA-A10",
        memory_mib: 23_028,
        family: "ampere",
        compute: ("8", "6"),
        mig_capable: false,
        instances: &[(1, "VM.GPU.A10.1"), (2, "VM.GPU.A10.2"), (4, "BM.GPU.A10.4")],
    };
    gpu_node(name, gpus, &product)
}

/// NVIDIA L40S with 46068 MiB.
pub(crate) fn l40s_node(name: &str, gpus: u32) -> Node {
    let product = Product {
        name: "NVIDIA-L40S",
        memory_mib: 46_068,
        family: "ada-lovelace",
        compute: ("8", "9"),
        mig_capable: false,
        instances: &[(1, "g6e.xlarge"), (4, "g6e.12xlarge"), (8, "g6e.48xlarge")],
    };
    gpu_node(name, gpus, &product)
}

/// A node without GPUs.
pub(crate) fn cpu_node(name: &str) -> Node {
    let labels = json!({
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "node.kubernetes.io/instance-type": "m7i.24xlarge",
    });
    let size = json!({"cpu": "96", "memory": "1152Gi", "ephemeral-storage": "1Ti", "pods": "110"});
    Node(json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {"capacity": size, "allocatable": size},
    }))
}

fn gpu_node(name: &str, gpus: u32, product: &Product) -> Node {
    let instance = product.instances.iter().find(|(count, _)| *count == gpus).map_or("bare-metal", |(_, name)| *name);
    let count = gpus.to_string();
    let memory = product.memory_mib.to_string();
    let capable = product.mig_capable.to_string();
    [
        ("node.kubernetes.io/instance-type", instance),
        ("nvidia.com/gpu.present", "true"),
        ("nvidia.com/gpu.product", product.name),
        ("nvidia.com/gpu.memory", &memory),
        ("nvidia.com/gpu.count", &count),
        ("nvidia.com/gpu.replicas", "1"),
        ("nvidia.com/gpu.sharing-strategy", "none"),
        ("nvidia.com/gpu.family", product.family),
        ("nvidia.com/gpu.compute.major", product.compute.0),
        ("nvidia.com/gpu.compute.minor", product.compute.1),
        ("nvidia.com/mig.capable", &capable),
        ("nvidia.com/mig.strategy", "single"),
        ("nvidia.com/cuda.driver-version.full", "580.95.05"),
    ]
    .into_iter()
    .fold(cpu_node(name), |node, (key, value)| node.label(key, value))
    .resource("nvidia.com/gpu", &count)
}
