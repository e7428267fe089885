//! Workers of a group: they only wait for what the leader starts on their GPUs.

use serde_json::{Map, Value};

use super::super::paths::at;
use crate::spec::pod::{Container, PodTemplate};
use crate::spec::{args, gpus};

/// A LeaderWorkerSet's worker.
pub(in super::super) fn leader_worker(part: &Value, object: &Value) -> Option<Value> {
    Some(led(part, at(object, "spec.leaderWorkerTemplate.leaderTemplate")))
}

/// A RayCluster's worker.
pub(in super::super) fn ray_worker(part: &Value, object: &Value) -> Option<Value> {
    Some(led(part, at(object, "spec.headGroupSpec.template")))
}

/// A role of an MPIJob.
pub(in super::super) fn mpi(part: &Value, object: &Value) -> Option<Value> {
    Some(led(part, at(object, "spec.mpiReplicaSpecs.Launcher.template")))
}

/// The template, its GPU containers running what the leader's first program is where they run none of their own.
fn led(part: &Value, leader: Option<&Value>) -> Value {
    let mut template = part.clone();
    let theirs = leader.and_then(|leader| leader.pointer("/spec/containers")?.as_array());
    let Some(leading) = theirs.into_iter().flatten().find(|container| runs_program(container)) else {
        return template;
    };
    let pod: PodTemplate = serde_json::from_value(part.clone()).unwrap_or_default();
    let containers = template.pointer_mut("/spec/containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        if asks_for_gpu(&pod, container)
            && !runs_program(container)
            && let (Some(container), Some(leading)) = (container.as_object_mut(), leading.as_object())
        {
            follow(container, leading);
        }
    }
    template
}

/// The leader's words, and its variables before the container's own.
fn follow(container: &mut Map<String, Value>, leading: &Map<String, Value>) {
    for key in ["command", "args"] {
        container.insert(key.to_owned(), leading.get(key).cloned().unwrap_or_default());
    }
    let variables = |of: &Map<String, Value>| of.get("env").and_then(Value::as_array).cloned().unwrap_or_default();
    let env = variables(leading).into_iter().chain(variables(container)).collect();
    container.insert("env".to_owned(), Value::Array(env));
}

fn decoded(container: &Value) -> Option<Container> {
    serde_json::from_value(container.clone()).ok()
}

fn asks_for_gpu(pod: &PodTemplate, container: &Value) -> bool {
    decoded(container).is_some_and(|container| gpus::request(pod, &container).is_some())
}

fn runs_program(container: &Value) -> bool {
    decoded(container).is_some_and(|container| args::runs_program(&container))
}
