//! KAITO's workspaces: a preset model on an instance type, or a pod template.

use serde_json::{Value, json};

use super::text;
use crate::facts::gpus;

/// A workspace, or what an InferenceSet makes workspaces from.
pub(in super::super) fn workspace(part: &Value, _: &Value) -> Option<Value> {
    let inference = part.get("inference")?;
    if let Some(template) = inference.get("template").filter(|template| template.is_object()) {
        return Some(template.clone());
    }
    let preset = text(inference, "preset.name")?;
    let instance_type = text(part, "resource.instanceType")?;
    let instance = gpus::by_instance_type(instance_type)?;
    let gpus = instance.count.to_string();
    Some(json!({"spec": {
        "nodeSelector": {"node.kubernetes.io/instance-type": instance_type},
        "containers": [{
            "name": "inference",
            "command": ["vllm", "serve", preset, "--tensor-parallel-size", gpus],
            "resources": {"limits": {(instance.resource): gpus}},
        }],
    }}))
}
