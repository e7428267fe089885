//! The objects that are watched, with only the fields that are read: the rest is skipped while decoding.

use std::borrow::Cow;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

use crate::spec::files::Keys;
use crate::spec::gpu_labels;
use crate::spec::gpus;
use crate::spec::nodes::{NodeMetadata, NodeSpec, NodeStatus, NodeView};
use crate::spec::pod::{Owner, PodSpec, PodTemplate, ReplicaPods};

/// What our annotations begin with.
const OURS: &str = "vramguard.io/";

/// The label that sets a namespace's mode.
const MODE_LABEL: &str = "vramguard.io/mode";

macro_rules! slim_resource {
    ($slim:ident as $full:ty) => {
        impl Resource for $slim {
            type DynamicType = ();
            type Scope = <$full as Resource>::Scope;

            fn kind((): &()) -> Cow<'_, str> {
                <$full as Resource>::kind(&())
            }
            fn group((): &()) -> Cow<'_, str> {
                <$full as Resource>::group(&())
            }
            fn version((): &()) -> Cow<'_, str> {
                <$full as Resource>::version(&())
            }
            fn plural((): &()) -> Cow<'_, str> {
                <$full as Resource>::plural(&())
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

/// A node.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Node {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: NodeSpec,
    #[serde(default)]
    status: NodeStatus,
}

slim_resource!(Node as core::Node);

/// What capacity is read from.
pub(super) fn node_view(node: Node) -> NodeView {
    let mut annotations = node.metadata.annotations.unwrap_or_default();
    annotations.retain(|key, _| gpu_labels::ANNOTATIONS.contains(&key.as_str()));
    let (name, labels) = (node.metadata.name.unwrap_or_default(), node.metadata.labels.unwrap_or_default());
    let metadata = NodeMetadata { name, labels, annotations };
    NodeView { metadata, spec: node.spec, status: node.status }
}

/// A namespace.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Namespace {
    metadata: ObjectMeta,
}

slim_resource!(Namespace as core::Namespace);

/// The mode label, where there is one.
pub(super) fn namespace_mode(namespace: Namespace) -> Option<String> {
    namespace.metadata.labels.and_then(|mut labels| labels.remove(MODE_LABEL))
}

/// A ConfigMap.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ConfigMap {
    metadata: ObjectMeta,
    #[serde(default)]
    data: Option<Keys>,
}

slim_resource!(ConfigMap as core::ConfigMap);

/// Larger keys are no settings of a trainer or an engine.
const LARGEST_KEY: usize = 64 << 10;

/// The keys that may be settings.
pub(super) fn settings(map: ConfigMap) -> Option<Keys> {
    let mut keys = map.data.unwrap_or_default();
    keys.retain(|_, text| text.len() <= LARGEST_KEY);
    (!keys.is_empty()).then_some(keys)
}

/// Bytes of keys and texts.
pub(super) fn weight(keys: &Keys) -> usize {
    keys.iter().map(|(key, text)| key.len() + text.len()).sum()
}

/// A pod.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Pod {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: PodSpec,
}

slim_resource!(Pod as core::Pod);

/// A pod that has GPUs, or says something about a model.
#[derive(Debug, Clone, PartialEq)]
pub struct GpuPod {
    /// Name of the workload: the controller that owns the pod, or the pod itself.
    pub workload: String,
    /// What it runs, and where.
    pub template: PodTemplate,
}

/// What figures are made from; other pods do not matter.
pub(super) fn gpu_pod(pod: Pod) -> Option<GpuPod> {
    let metadata = pod.metadata;
    let owners = metadata.owner_references.unwrap_or_default().into_iter();
    let controller = owners
        .map(|owner| Owner { kind: owner.kind, name: owner.name, controller: owner.controller.unwrap_or(false) })
        .find(|owner| owner.controller);
    let mut annotations = metadata.annotations.unwrap_or_default();
    annotations.retain(|key, _| key.starts_with(OURS) || gpus::ANNOTATIONS.contains(&key.as_str()));
    let template = PodTemplate {
        namespace: metadata.namespace.unwrap_or_default(),
        name: metadata.name.unwrap_or_default(),
        generate_name: metadata.generate_name.unwrap_or_default(),
        labels: metadata.labels.unwrap_or_default(),
        has_annotations: !annotations.is_empty(),
        annotations,
        controller,
        replica_pods: ReplicaPods::Unsaid,
        spec: pod.spec,
    };
    let concerned = template.annotations.keys().any(|key| key.starts_with(OURS))
        || template.containers().any(|c| !c.resources.claims.is_empty() || gpus::request(&template, c).is_some());
    concerned.then(|| GpuPod { workload: workload(&template), template })
}

/// The controller's name, or the pod's. A ReplicaSet of a Deployment is named after it and the template's hash.
fn workload(template: &PodTemplate) -> String {
    let Some(controller) = &template.controller else { return template.name.clone() };
    let deployment = template
        .labels
        .get("pod-template-hash")
        .filter(|_| controller.kind == "ReplicaSet")
        .and_then(|hash| controller.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
    deployment.unwrap_or(&controller.name).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(object: serde_json::Value) -> Option<GpuPod> {
        gpu_pod(serde_json::from_value(object).unwrap())
    }

    fn pod(kind: &str, owner: &str) -> serde_json::Value {
        json!({
            "metadata": {
                "name": "vllm-6d5f-x", "namespace": "ml", "labels": {"pod-template-hash": "6d5f"},
                "annotations": {"vramguard.io/model": "m", "example.com/other": "x"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": "u", "controller": true}]
            },
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}
        })
    }

    #[test]
    fn a_workload_is_named_after_its_controller() {
        assert_eq!(read(pod("ReplicaSet", "vllm-6d5f")).unwrap().workload, "vllm");
        assert_eq!(read(pod("ReplicaSet", "by-hand")).unwrap().workload, "by-hand");
        assert_eq!(read(pod("StatefulSet", "vllm-6d5f")).unwrap().workload, "vllm-6d5f");
        let mut alone = pod("x", "y");
        alone["metadata"]["ownerReferences"] = json!(null);
        assert_eq!(read(alone).unwrap().workload, "vllm-6d5f-x");
    }

    #[test]
    fn pods_without_gpus_and_without_a_word_are_not_kept() {
        let mut plain = pod("ReplicaSet", "web");
        plain["metadata"]["annotations"] = json!({"example.com/other": "x"});
        plain["spec"]["containers"][0]["resources"] = json!({});
        assert_eq!(read(plain.clone()), None);
        plain["metadata"]["annotations"] = json!({"vramguard.io/model": "m"});
        assert_eq!(read(plain).unwrap().template.annotations.len(), 1);
    }

    #[test]
    fn other_annotations_are_not_kept() {
        assert_eq!(
            read(pod("Job", "j")).unwrap().template.annotations.into_keys().collect::<Vec<_>>(),
            ["vramguard.io/model"]
        );
    }
}
