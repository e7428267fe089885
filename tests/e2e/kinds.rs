//! Kinds with definitions of their own: whoever applies one is told, by the webhook as the chart registers it.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::controlplane::{ControlPlane, eventually};
use crate::gpu_nodes::t4_node;
use crate::llama::LLAMA;
use crate::trial;
use crate::webhook::Settings;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("kinds::a_misfit_is_denied_at_the_object_that_was_applied", misfits_are_denied)]
}

/// Serves 7 billion parameters on one T4.
fn server() -> Value {
    json!({
        "name": "server", "image": "vllm/vllm-openai:v0.19.0", "args": ["--model", LLAMA],
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
    })
}

/// Trains them all on one T4.
fn training() -> Value {
    let spec = format!(
        "{{task: training, model: {LLAMA}, batchSize: 1, contextLength: 512, training: {{sharding: none, precision: mixed-bf16}}}}"
    );
    json!({
        "metadata": {"annotations": {"vramguard.io/spec": spec}},
        "spec": {"containers": [{"name": "trainer", "image": "pytorch/pytorch:2.8.0", "command": ["python", "train.py"],
            "resources": {"limits": {"nvidia.com/gpu": "1"}}}]},
    })
}

/// Group, version, kind, plural, and a spec that cannot fit.
fn misfits() -> Vec<(&'static str, &'static str, &'static str, &'static str, Value)> {
    let (training, serving) = (training(), json!({"spec": {"containers": [server()]}}));
    let ray = "applications:\n- name: llm\n  args:\n    llm_configs:\n    - model_loading_config: {model_id: meta-llama/Llama-2-7b-hf}\n";
    vec![
        (
            "leaderworkerset.x-k8s.io",
            "v1",
            "LeaderWorkerSet",
            "leaderworkersets",
            json!({"leaderWorkerTemplate": {"size": 1, "workerTemplate": serving}}),
        ),
        (
            "jobset.x-k8s.io",
            "v1alpha2",
            "JobSet",
            "jobsets",
            json!({"replicatedJobs": [{"name": "a", "template": {"spec": {"template": training}}}]}),
        ),
        (
            "kubeflow.org",
            "v1",
            "PyTorchJob",
            "pytorchjobs",
            json!({"pytorchReplicaSpecs": {"Master": {"replicas": 1, "template": training}}}),
        ),
        (
            "trainer.kubeflow.org",
            "v1alpha1",
            "TrainJob",
            "trainjobs",
            json!({"runtimeRef": {"name": "torch-distributed"}, "trainer": {"numNodes": 1,
                "command": ["trl", "sft", "--model_name_or_path", LLAMA, "--per_device_train_batch_size", "1",
                    "--max_length", "512", "--dtype", "bfloat16"],
                "resourcesPerNode": {"limits": {"nvidia.com/gpu": "1"}}}}),
        ),
        (
            "ray.io",
            "v1",
            "RayService",
            "rayservices",
            json!({"serveConfigV2": ray, "rayClusterConfig": {"workerGroupSpecs": [{"template": {"spec": {"containers": [
                {"name": "worker", "image": "rayproject/ray-llm:2.46.0", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}}}]}}),
        ),
        (
            "serving.kserve.io",
            "v1beta1",
            "InferenceService",
            "inferenceservices",
            json!({"predictor": {"containers": [server()]}}),
        ),
    ]
}

/// A definition that takes whatever it is given, as far as the test is concerned.
fn definition(group: &str, version: &str, kind: &str, plural: &str) -> Value {
    let singular = kind.to_lowercase();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural, "singular": singular},
            "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema":
                {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    })
}

fn misfits_are_denied(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[t4_node("t4", 1)])?;
    let webhook =
        Settings::default().config("mode: enforce\n").registered_as(crate::reach::from_chart()?).start(plane)?;
    let team = webhook.namespace("kinds")?;
    for (group, version, kind, plural, spec) in misfits() {
        let definition = definition(group, version, kind, plural).to_string();
        plane.admin().run_with(&["apply", "--filename=-"], &definition)?.success()?;
        let object = json!({
            "apiVersion": format!("{group}/{version}"), "kind": kind,
            "metadata": {"name": "misfit", "namespace": team.name()}, "spec": spec,
        });
        eventually(std::time::Duration::from_secs(30), || {
            let asked = plane.admin().run_with(&["create", "--dry-run=server", "--filename=-"], &object.to_string())?;
            let refused = asked.stderr.contains("TOO_BIG") || asked.stderr.contains("ENGINE_REFUSES");
            ensure!(!asked.ok() && refused, "{kind}: {} {}", asked.code, asked.stderr);
            Ok(())
        })?;
        // What another object made was judged with it.
        let mut owned = object.clone();
        owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "example.com/v1", "kind": "Owner", "name": "o",
            "uid": "00000000-0000-0000-0000-000000000001", "controller": true}]);
        plane.admin().run_with(&["create", "--dry-run=server", "--filename=-"], &owned.to_string())?.success()?;
    }
    Ok(())
}
