//! From a pod to declarations: which containers matter and what each of them runs.

use super::annotations::{self, CONTAINER};
use super::args::{self, Surroundings};
use super::declaration::{Declaration, SpecError};
use super::draft::Draft;
use super::files::{ConfigMaps, Files};
use super::gpus;
use super::numbers::shown;
use super::pod::{Container, PodTemplate, ReplicaPods};
use super::suggest::did_you_mean;

/// What the pod's containers run: those that request GPUs or are named by `vramguard.io/container`, else the first
/// container of an annotated pod. Empty when the pod is none of our business.
#[must_use]
pub fn declare(pod: &PodTemplate) -> Vec<Result<Declaration, SpecError>> {
    declare_with(pod, None)
}

/// As [`declare`], with the ConfigMaps whose keys the pod's volumes may show as files.
#[must_use]
pub fn declare_with(pod: &PodTemplate, maps: Option<&ConfigMaps>) -> Vec<Result<Declaration, SpecError>> {
    let annotated = annotations::describes_workload(&pod.annotations);
    let target = match target(pod) {
        Ok(target) => target,
        Err(error) => return vec![Err(error)],
    };
    let mut matter: Vec<&Container> = pod.containers().filter(|container| has_devices(pod, container)).collect();
    if let Some(target) = target
        && !matter.iter().any(|container| container.name == target.name)
    {
        matter.insert(0, target);
    }
    if matter.is_empty() && annotated {
        matter.extend(pod.containers().next());
    }
    let target = target.or_else(|| matter.first().copied());
    let all = matter.iter().map(|container| one(pod, container, target, matter.len(), maps));
    // Claims may be on any device: they are none of our business where nothing is said of a model.
    let concerns = |found: &Declaration| {
        found.gpus.is_some() || found.claims.is_empty() || annotated || found.engine_named || found.model.is_some()
    };
    all.filter(|found| found.as_ref().map_or(true, concerns)).collect()
}

fn has_devices(pod: &PodTemplate, container: &Container) -> bool {
    !container.resources.claims.is_empty() || gpus::request(pod, container).is_some()
}

/// The container that the annotations name.
fn target(pod: &PodTemplate) -> Result<Option<&Container>, SpecError> {
    let Some(name) = pod.annotations.get(CONTAINER) else { return Ok(None) };
    pod.container(name.trim()).map(Some).ok_or_else(|| {
        let names: Vec<&str> = pod.containers().map(|container| container.name.as_str()).collect();
        let hint = did_you_mean(name, names.iter().copied());
        Draft::error(CONTAINER, format!("no container `{}`; the pod has: {}{hint}", shown(name), names.join(", ")))
    })
}

/// Labels and variables of groups of pods that serve one replica together.
const GROUP_LABELS: &[&str] = &["leaderworkerset.sigs.k8s.io/", "ray.io/", "grove.io/", "jobset.sigs.k8s.io/"];
const GROUP_VARIABLES: &[&str] = &["LWS_", "RAY_"];
/// Written on the pods of a LeaderWorkerSet: how many of them are one group.
const GROUP_SIZE: &str = "leaderworkerset.sigs.k8s.io/size";

/// Pods of the replica, where their number is known.
fn replica_pods(pod: &PodTemplate) -> Option<u64> {
    match pod.replica_pods {
        ReplicaPods::Known(pods) => Some(pods),
        ReplicaPods::Several => None,
        ReplicaPods::Unsaid => pod.annotations.get(GROUP_SIZE).and_then(|size| size.parse().ok()),
    }
}

/// The pod is one of a group, or starts Ray.
fn spans_pods(pod: &PodTemplate, container: &Container) -> bool {
    if pod.replica_pods == ReplicaPods::Several || replica_pods(pod).is_some_and(|pods| pods > 1) {
        return true;
    }
    let labelled = pod.labels.keys().any(|key| GROUP_LABELS.iter().any(|group| key.starts_with(group)));
    let variable = container.env.iter().any(|env| GROUP_VARIABLES.iter().any(|prefix| env.name.starts_with(prefix)));
    let mut words = container.command.iter().chain(&container.args);
    labelled || variable || words.any(|word| word.contains("ray start") || word.contains("LWS_"))
}

fn one(
    pod: &PodTemplate,
    container: &Container,
    target: Option<&Container>,
    of: usize,
    maps: Option<&ConfigMaps>,
) -> Result<Declaration, SpecError> {
    let mut draft = Draft::default();
    draft.out.container.clone_from(&container.name);
    draft.out.gpus = gpus::request(pod, container);
    if draft.out.gpus.is_none() {
        draft.out.claims = super::dra::uses(pod, container);
    }
    draft.out.spans_pods = spans_pods(pod, container);
    draft.out.replica_pods = replica_pods(pod);
    annotations::read_control(&pod.annotations, &mut draft)?;
    if target.is_some_and(|target| std::ptr::eq(target, container)) {
        annotations::read(&pod.annotations, &mut draft)?;
        if of > 1 && annotations::describes_workload(&pod.annotations) && !pod.annotations.contains_key(CONTAINER) {
            draft.out.notes.push(format!(
                "the pod has {of} GPU containers; the annotations are read for `{}` (name another with {CONTAINER})",
                container.name
            ));
        }
    }
    args::read(
        container,
        &Surroundings { files: Files::of(pod, container, maps), pods: replica_pods(pod) },
        &mut draft,
    );
    if let Some((model, by)) = downloads::model(pod) {
        draft.downloaded(model, by);
    }
    Ok(draft.finish())
}

mod downloads;

#[cfg(test)]
mod tests;
