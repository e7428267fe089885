//! Which GPU classes a pod can land on, by the scheduler's rules, asked of node classes instead of nodes.
//!
//! Only a rule on a label that the class does not share (host name and the like), or on the node's name, looks at
//! single nodes: the cost of one question does not grow with the cluster otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::declaration::GpuRequest;
use super::pod::{PodSpec, PodTemplate, Toleration};
use super::selector::Requirement;
use crate::decide::inventory::{
    Candidate, Candidates, Crowding, GpuClass, Inventory, Member, NodeClass, Sharing, Taint,
};

/// Taint that stands for a cordoned node.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// GPU classes that the pod can and cannot land on.
#[must_use]
pub fn candidates(pod: &PodTemplate, request: &GpuRequest, inventory: &Inventory) -> Candidates {
    let mut eligible = Found::default();
    let mut excluded = Found::default();
    let mut unknown = Vec::new();
    for class in &inventory.classes {
        let placement = place(&pod.spec, class);
        let offered = offered(class, &request.resource);
        for (gpu, count) in &class.gpus {
            let (gpu, small) = shared(gpu, request);
            let verdict = match &placement {
                _ if gpu.resource != request.resource => {
                    Err(format!("offers {}, the pod requests {}", gpu.resource, request.resource))
                }
                Err(reason) => Err(reason.clone()),
                Ok(_) if offered < request.count => {
                    Err(format!("has {offered} × {} a node, the pod requests {}", request.resource, request.count))
                }
                Ok(_) if small.is_some() => Err(small.unwrap_or_default()),
                Ok(nodes) => Ok(*nodes),
            };
            let found = |nodes| Candidate {
                crowding: Crowding::of(&gpu, *count, request.count),
                class: Arc::clone(&gpu),
                gpus_per_node: *count,
                nodes,
            };
            match verdict {
                Ok(nodes) => eligible.add(found(nodes), ""),
                Err(reason) => excluded.add(found(class.members.len() as u64), &reason),
            }
        }
        if placement.is_ok() && offered >= request.count {
            for gap in class.unknown.iter().filter(|gap| gap.covers(&request.resource)) {
                if !unknown.contains(&gap.reason) {
                    unknown.push(gap.reason.clone());
                }
            }
        }
    }
    // The same resource may be had through claims that the scheduler makes.
    if let Some(claimed) = super::dra::extended(pod, request, inventory) {
        claimed.eligible.into_iter().for_each(|candidate| eligible.add(candidate, ""));
        claimed.excluded.into_iter().for_each(|(candidate, reason)| excluded.add(candidate, &reason));
        unknown.extend(claimed.unknown);
    }
    excluded.forget(&eligible);
    Candidates {
        eligible: eligible.largest_first().map(|(candidate, _)| candidate).collect(),
        excluded: excluded.largest_first().collect(),
        unknown,
        ..Candidates::default()
    }
}

/// Adds what an autoscaler could bring for the pod.
pub fn could_be_added<'a>(
    pod: &PodTemplate,
    request: &GpuRequest,
    possible: impl IntoIterator<Item = &'a NodeClass>,
    candidates: &mut Candidates,
) {
    let mut found = Found::default();
    for class in possible.into_iter().filter(|class| could_take(&pod.spec, class)) {
        if offered(class, &request.resource) < request.count {
            continue;
        }
        for (gpu, count) in class.gpus.iter().filter(|(gpu, _)| gpu.resource == request.resource) {
            let (gpu, small) = shared(gpu, request);
            if small.is_none() {
                let crowding = Crowding::of(&gpu, *count, request.count);
                found.add(Candidate { class: gpu, gpus_per_node: *count, nodes: 0, crowding }, "");
            }
        }
        let gaps = class.unknown.iter().filter(|gap| gap.covers(&request.resource));
        candidates.possible_unknown.extend(gaps.map(|gap| gap.reason.clone()));
    }
    candidates.possible = found.largest_first().map(|(candidate, _)| candidate).collect();
}

/// Whether a node that does not exist yet could take the pod: labels that nothing states may have any value.
fn could_take(spec: &PodSpec, class: &NodeClass) -> bool {
    let label = |key: &str| class.labels.get(key).map(String::as_str);
    let met = |requirement: &Requirement| match label(&requirement.key) {
        None => true,
        stated => requirement.matches(stated),
    };
    let selected = spec.node_selector.iter().all(|(key, value)| label(key).is_none_or(|have| have == value));
    let affine = spec
        .required_affinity
        .as_ref()
        .is_none_or(|affinity| affinity.node_selector_terms.iter().any(|term| term.match_expressions.iter().all(met)));
    spec.node_name.is_empty() && selected && affine && taints(spec, class).is_ok()
}

/// Allocatable devices of the resource on one node of the class, whatever their class.
fn offered(class: &NodeClass, resource: &str) -> u64 {
    let known = class.gpus.iter().filter(|(gpu, _)| gpu.resource == resource).map(|(_, count)| *count);
    let unknown = class.unknown.iter().filter(|gap| gap.covers(resource)).map(|gap| gap.count);
    known.chain(unknown).fold(0, u64::saturating_add)
}

/// The class as the pod has it: the part of a device that it asks for, or why the device is too small for that.
fn shared(class: &Arc<GpuClass>, request: &GpuRequest) -> (Arc<GpuClass>, Option<String>) {
    /// Labels and registers count what the driver keeps for itself too.
    const RUNTIME_OF_TOTAL: f64 = 0.9;
    let Some(share) = request.share else { return (Arc::clone(class), None) };
    let amount = share.amount.of(class.device.visible);
    if amount.scale(RUNTIME_OF_TOTAL) > class.device.visible {
        return (
            Arc::clone(class),
            Some(format!("a device has {:.1}, the pod asks for {amount:.1} of one", class.device.visible)),
        );
    }
    let mut class = GpuClass::clone(class);
    class.assured = amount.min(class.device.visible);
    if share.enforced {
        class.device.visible = class.assured;
        class.sharing = Sharing::Limited;
    } else if class.assured < class.device.visible {
        class.sharing = Sharing::Fraction;
    }
    (Arc::new(class), None)
}

/// GPU classes met so far, each once.
#[derive(Default)]
pub(super) struct Found(Vec<(Candidate, String)>);

impl Found {
    fn contains(&self, class: &Arc<GpuClass>) -> bool {
        self.0.iter().any(|(candidate, _)| same(&candidate.class, class))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Leaves out classes that others have.
    pub(super) fn forget(&mut self, others: &Self) {
        self.0.retain(|(candidate, _)| !others.contains(&candidate.class));
    }

    pub(super) fn add(&mut self, found: Candidate, reason: &str) {
        let Some((candidate, _)) = self.0.iter_mut().find(|(known, _)| same(&known.class, &found.class)) else {
            return self.0.push((found, reason.to_owned()));
        };
        candidate.gpus_per_node = candidate.gpus_per_node.max(found.gpus_per_node);
        candidate.nodes = candidate.nodes.saturating_add(found.nodes);
        // The node with the most devices behind the request counts.
        candidate.crowding =
            candidate.crowding.zip(found.crowding).map(|(a, b)| if a.devices < b.devices { b } else { a });
    }

    pub(super) fn largest_first(mut self) -> impl Iterator<Item = (Candidate, String)> {
        self.0.sort_by(|(a, _), (b, _)| {
            let (a, b) = (&a.class.device, &b.class.device);
            b.visible.cmp(&a.visible).then_with(|| a.product.cmp(&b.product))
        });
        self.0.into_iter()
    }
}

fn same(a: &Arc<GpuClass>, b: &Arc<GpuClass>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// How many nodes of the class accept the pod, or the first reason why none does.
pub(super) fn place(spec: &PodSpec, class: &NodeClass) -> Result<u64, String> {
    if spec.node_name.is_empty() {
        cordon(spec, class)?;
    }
    taints(spec, class)?;
    if let Some((key, value)) = spec.node_selector.iter().find(|(k, v)| class.labels.get(*k).is_some_and(|l| l != *v)) {
        return Err(selector_reason(key, value, class.labels.get(key)));
    }
    let accepts = |member: Option<&Member>| check_node(spec, class, member);
    if needs_members(spec, class) {
        let mut first_reason = None;
        let mut nodes = 0_u64;
        for member in &class.members {
            match accepts(Some(member)) {
                Ok(()) => nodes = nodes.saturating_add(1),
                Err(reason) => first_reason = first_reason.or(Some(reason)),
            }
        }
        return match first_reason {
            Some(reason) if nodes == 0 => Err(reason),
            _ if nodes == 0 => Err("has no node".to_owned()),
            _ => Ok(nodes),
        };
    }
    accepts(None).map(|()| class.members.len() as u64)
}

fn cordon(spec: &PodSpec, class: &NodeClass) -> Result<(), String> {
    let taint = Taint { key: UNSCHEDULABLE.to_owned(), value: String::new(), effect: "NoSchedule".to_owned() };
    if class.unschedulable && !spec.tolerations.iter().any(|toleration| tolerates(toleration, &taint)) {
        return Err("cordoned".to_owned());
    }
    Ok(())
}

/// A pod bound by `nodeName` never meets the scheduler; the kubelet only minds `NoExecute`.
fn taints(spec: &PodSpec, class: &NodeClass) -> Result<(), String> {
    let minded: &[&str] = if spec.node_name.is_empty() { &["NoSchedule", "NoExecute"] } else { &["NoExecute"] };
    let mut repelling = class.taints.iter().filter(|taint| minded.contains(&taint.effect.as_str()));
    match repelling.find(|taint| !spec.tolerations.iter().any(|toleration| tolerates(toleration, taint))) {
        None => Ok(()),
        Some(Taint { key, value, effect }) if value.is_empty() => Err(format!("taint {key}:{effect} is not tolerated")),
        Some(Taint { key, value, effect }) => Err(format!("taint {key}={value}:{effect} is not tolerated")),
    }
}

/// Whether a toleration accepts a taint (`core/v1/toleration.go`, with the numeric operators of v1.35).
#[must_use]
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    if !toleration.effect.is_empty() && toleration.effect != taint.effect {
        return false;
    }
    if !toleration.key.is_empty() && toleration.key != taint.key {
        return false;
    }
    let numbers = || Some((taint.value.parse::<i64>().ok()?, toleration.value.parse::<i64>().ok()?));
    match toleration.operator.as_str() {
        "" | "Equal" => toleration.value == taint.value,
        "Exists" => true,
        "Gt" => numbers().is_some_and(|(have, bound)| have > bound),
        "Lt" => numbers().is_some_and(|(have, bound)| have < bound),
        _ => false,
    }
}

/// Whether the class's shared labels alone cannot answer.
fn needs_members(spec: &PodSpec, class: &NodeClass) -> bool {
    let terms = || spec.required_affinity.iter().flat_map(|affinity| &affinity.node_selector_terms);
    !spec.node_name.is_empty()
        || spec.node_selector.keys().any(|key| !class.labels.contains_key(key))
        || terms().any(|term| !term.match_fields.is_empty())
        || terms().flat_map(|term| &term.match_expressions).any(|r| !class.labels.contains_key(&r.key))
}

/// Name, `nodeSelector` and required affinity against one node; `None` stands for any node of the class.
fn check_node(spec: &PodSpec, class: &NodeClass, member: Option<&Member>) -> Result<(), String> {
    let own: Option<&BTreeMap<String, String>> = member.map(|member| &member.labels);
    let label = |key: &str| own.and_then(|labels| labels.get(key)).or_else(|| class.labels.get(key));
    let name = member.map_or("", |member| member.name.as_str());
    if !spec.node_name.is_empty() && spec.node_name != name {
        return Err(format!("the pod is bound to node {}", spec.node_name));
    }
    if let Some((key, value)) = spec.node_selector.iter().find(|(key, value)| label(key) != Some(*value)) {
        return Err(selector_reason(key, value, label(key)));
    }
    let Some(affinity) = &spec.required_affinity else { return Ok(()) };
    let terms = &affinity.node_selector_terms;
    if terms.iter().any(|term| term.matches(|key| label(key).map(String::as_str), name)) {
        return Ok(());
    }
    let unmet =
        terms.iter().flat_map(|term| &term.match_expressions).find(|r| !r.matches(label(&r.key).map(String::as_str)));
    Err(match (unmet, terms.len()) {
        (Some(requirement), 1) => format!(
            "required node affinity: {requirement}, but the label {}",
            label(&requirement.key).map_or("is absent".to_owned(), |value| format!("is `{value}`"))
        ),
        (_, terms) => format!("no term of the required node affinity ({terms}) matches"),
    })
}

fn selector_reason(key: &str, value: &str, have: Option<&String>) -> String {
    match have {
        Some(have) => format!("nodeSelector {key}={value}, but the label is `{have}`"),
        None => format!("nodeSelector {key}={value}, but the label is absent"),
    }
}

#[cfg(test)]
mod tests;
