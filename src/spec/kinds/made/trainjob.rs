//! Kubeflow Trainer's jobs: what the job says of its node; the runtime that it names completes the rest.

use serde_json::{Map, Value, json};

use super::super::paths::at;
use super::{number, pod, text};

/// Commands of the runtimes that the project ships, by name (kubeflow/trainer `manifests/base/runtimes`).
const RUNTIMES: &[(&str, &[&str])] = &[
    ("torchtune-llama3.2-1b", &["tune", "run", "full_finetune_distributed", "--config", "llama3_2/1B_full"]),
    ("torchtune-llama3.2-3b", &["tune", "run", "full_finetune_distributed", "--config", "llama3_2/3B_full"]),
    ("torchtune-qwen2.5-1.5b", &["tune", "run", "full_finetune_distributed", "--config", "qwen2_5/1.5B_full"]),
];

/// One node of the job.
pub(in super::super) fn node(part: &Value, _: &Value) -> Option<Value> {
    let trainer = part.get("trainer")?.as_object()?;
    let mut container: Map<String, Value> = ["image", "command", "args", "env"]
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), trainer.get(*key)?.clone())))
        .collect();
    container.insert("name".to_owned(), Value::from("node"));
    let runtime = text(part, "runtimeRef.name").unwrap_or_default();
    let shipped = RUNTIMES.iter().find(|(name, _)| *name == runtime);
    if let Some((_, command)) = shipped.filter(|_| !container.contains_key("command")) {
        container.insert("command".to_owned(), json!(command));
    }
    if let Some(resources) = trainer.get("resourcesPerNode") {
        container.insert("resources".to_owned(), resources.clone());
    }
    let variables = [("numNodes", "PET_NNODES"), ("numProcPerNode", "PET_NPROC_PER_NODE")];
    let known = variables.iter().filter_map(|(field, name)| {
        let value = number(at(part, "trainer")?, field)?;
        Some(json!({"name": name, "value": value.to_string()}))
    });
    if let Some(env) = container.entry("env").or_insert_with(|| json!([])).as_array_mut() {
        env.extend(known);
    }
    Some(pod(Map::new(), vec![Value::Object(container)]))
}
