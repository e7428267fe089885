//! How many pods hold one copy of the model together, kind by kind.

use serde_json::Value;

use super::paths::{at, follow, parent};
use crate::spec::pod::ReplicaPods;

/// Pods of one replica: from the object and the path of the template in it.
pub(super) type Pods = fn(object: &Value, path: &str) -> ReplicaPods;

/// One pod, or what the pod itself says.
pub(super) fn unsaid(_: &Value, _: &str) -> ReplicaPods {
    ReplicaPods::Unsaid
}

/// Several, of which the object does not say how many work together.
pub(super) fn several(_: &Value, _: &str) -> ReplicaPods {
    ReplicaPods::Several
}

fn number(value: &Value, path: &str) -> Option<u64> {
    at(value, path)?.as_u64()
}

fn known(pods: Option<u64>) -> ReplicaPods {
    pods.filter(|pods| *pods > 0).map_or(ReplicaPods::Unsaid, ReplicaPods::Known)
}

/// Sum of `replicas` over the items of a pattern, 1 where none is given.
fn sum(object: &Value, pattern: &str) -> ReplicaPods {
    let replicas = |item: &Value| item.get("replicas").and_then(Value::as_u64).unwrap_or(1);
    known(Some(follow(object, pattern).iter().map(|(_, item)| replicas(item)).fold(0, u64::saturating_add)))
}

/// A LeaderWorkerSet's group.
pub(super) fn leader_and_workers(object: &Value, _: &str) -> ReplicaPods {
    known(number(object, "spec.leaderWorkerTemplate.size"))
}

/// An indexed Job is one program in several pods; another Job's pods know nothing of each other.
pub(super) fn indexed_job(object: &Value, path: &str) -> ReplicaPods {
    let job = parent(path);
    let indexed = at(object, job).and_then(|job| job.get("completionMode")).and_then(Value::as_str) == Some("Indexed");
    if indexed { known(number(object, &format!("{job}.parallelism"))) } else { ReplicaPods::Unsaid }
}

/// The pods of one replicated job of a JobSet: `spec.replicatedJobs[N].template.spec.template`.
pub(super) fn replicated_job(object: &Value, path: &str) -> ReplicaPods {
    let job = parent(path);
    let replicas = number(object, &format!("{}.replicas", parent(parent(job)))).unwrap_or(1);
    known(Some(replicas.saturating_mul(number(object, &format!("{job}.parallelism")).unwrap_or(1))))
}

/// All roles of a PyTorchJob and its like train together: `spec.pytorchReplicaSpecs.Master.template`.
pub(super) fn all_roles(object: &Value, path: &str) -> ReplicaPods {
    sum(object, &format!("{}{{}}", parent(parent(path))))
}

/// An MPIJob's launcher holds no rank.
pub(super) fn mpi_workers(object: &Value, _: &str) -> ReplicaPods {
    known(at(object, "spec.mpiReplicaSpecs.Worker").map(|workers| number(workers, "replicas").unwrap_or(1)))
}

/// All tasks of a Volcano job.
pub(super) fn all_tasks(object: &Value, _: &str) -> ReplicaPods {
    sum(object, "spec.tasks[]")
}

/// The nodes of a TrainJob.
pub(super) fn train_nodes(object: &Value, _: &str) -> ReplicaPods {
    known(number(object, "spec.trainer.numNodes"))
}

/// The nodes of one service of a Dynamo graph.
pub(super) fn dynamo_nodes(object: &Value, path: &str) -> ReplicaPods {
    let service = path.strip_suffix(".podTemplate").unwrap_or(path);
    known(number(object, &format!("{service}.multinode.nodeCount")))
}

/// A predictor with a worker spec spreads its stages over pods.
pub(super) fn predictor(object: &Value, _: &str) -> ReplicaPods {
    if at(object, "spec.predictor.workerSpec").is_some_and(Value::is_object) {
        ReplicaPods::Several
    } else {
        ReplicaPods::Unsaid
    }
}

/// An LLMInferenceService with workers is a group of pods.
pub(super) fn llm_workers(object: &Value, path: &str) -> ReplicaPods {
    let side = if path.starts_with("spec.prefill") { "spec.prefill.worker" } else { "spec.worker" };
    if at(object, side).is_some_and(Value::is_object) { ReplicaPods::Several } else { ReplicaPods::Unsaid }
}

/// A NIMService over several nodes.
pub(super) fn nim_nodes(object: &Value, _: &str) -> ReplicaPods {
    if at(object, "spec.multiNode").is_some_and(Value::is_object) { ReplicaPods::Several } else { ReplicaPods::Unsaid }
}

/// A KAITO workspace spreads one model over its nodes.
pub(super) fn kaito_nodes(object: &Value, path: &str) -> ReplicaPods {
    let workspace = if path.starts_with("spec.template") { "spec.template" } else { "" };
    known(at(object, workspace).and_then(|workspace| number(workspace, "resource.count")).filter(|count| *count > 1))
}
