//! A pod's claims to what it can land on.

use std::collections::BTreeMap;

use super::matching::{self, Conditions};
use super::objects::key;
use crate::decide::inventory::dynamic::{DeviceAsk, DeviceRequest, DynamicDevice};
use crate::decide::inventory::{Candidate, Candidates, GpuClass, Inventory, NodeClass};
use crate::spec::declaration::GpuRequest;
use crate::spec::eligibility::{self, Found};
use crate::spec::pod::{Container, PodTemplate};
use std::sync::Arc;

/// Devices that a container uses: a claim of the pod, or one request of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimUse {
    /// Name of the claim object, or of the template that it is made from.
    pub object: String,
    /// It is a template.
    pub template: bool,
    /// The request; empty for all.
    pub request: String,
}

/// What a container's claims come to.
#[derive(Debug, Clone, Default)]
pub struct Claimed {
    /// GPUs asked for; `None` where the claims are of no GPU, or cannot be told.
    pub request: Option<GpuRequest>,
    /// Where they can be had; `None` where the claims are of no GPU.
    pub candidates: Option<Candidates>,
}

/// The claims that a container uses.
#[must_use]
pub fn uses(pod: &PodTemplate, container: &Container) -> Vec<ClaimUse> {
    let of_pod = |name: &str| pod.spec.resource_claims.iter().find(|claim| claim.name == name);
    let each = container.resources.claims.iter().map(|used| {
        let claim = of_pod(&used.name);
        let template = claim.is_some_and(|claim| claim.resource_claim_name.is_empty());
        let object =
            claim.map(|claim| if template { &claim.resource_claim_template_name } else { &claim.resource_claim_name });
        ClaimUse { object: object.cloned().unwrap_or_default(), template, request: used.request.clone() }
    });
    each.collect()
}

/// Resolves claims and finds the devices that meet them.
#[must_use]
pub fn claimed(pod: &PodTemplate, uses: &[ClaimUse], inventory: &Inventory) -> Claimed {
    let mut requests: Vec<&DeviceRequest> = Vec::new();
    for used in uses {
        let Some(found) = find(pod, used, inventory) else {
            let kind = if used.template { "ResourceClaimTemplate" } else { "ResourceClaim" };
            return unknown(format!("the {kind} `{}` is not known", used.object));
        };
        // A request of a prioritised list is named after its alternative.
        let named = used.request.split('/').next().unwrap_or_default();
        requests.extend(found.iter().filter(|request| named.is_empty() || request.name == named));
    }
    let mut offers: Vec<(&DeviceRequest, Candidates)> = Vec::new();
    for request in requests {
        if let Some(candidates) = of_request(pod, request, inventory) {
            offers.push((request, candidates));
        }
    }
    let Some((first, candidates)) = offers.first() else { return Claimed::default() };
    if offers.iter().any(|(other, _)| !alike(first, other)) {
        return unknown("the pod claims different kinds of GPUs at once".to_owned());
    }
    let each = first.alternatives.iter().filter_map(|ask| ask.count).max();
    let most = || candidates.eligible.iter().map(|candidate| candidate.gpus_per_node).max().unwrap_or(1);
    let count = each.unwrap_or_else(most).saturating_mul(offers.len() as u64);
    let class = first.alternatives.first().map_or("", |ask| ask.class.as_str());
    let mut candidates = candidates.clone();
    let (enough, few) = candidates
        .eligible
        .into_iter()
        .partition(|candidate| candidate.gpus_per_node >= count || each.is_none() || offers.len() == 1);
    candidates.eligible = enough;
    let reason = |found: Candidate| {
        let reason = format!("has {} devices of {class}, the claims ask for {count}", found.gpus_per_node);
        (found, reason)
    };
    candidates.excluded.extend(Vec::into_iter(few).map(reason));
    Claimed { request: Some(GpuRequest::new(class, count)), candidates: Some(candidates) }
}

/// Candidates of an extended resource that a device class stands behind.
#[must_use]
pub fn extended(pod: &PodTemplate, request: &GpuRequest, inventory: &Inventory) -> Option<Candidates> {
    let mut classes = inventory.dynamic.classes.iter();
    let (class, _) = classes.find(|(_, class)| class.extended_resource == request.resource)?;
    let ask = DeviceAsk { class: class.clone(), count: Some(request.count), ..DeviceAsk::default() };
    let devices = DeviceRequest { name: String::new(), alternatives: vec![ask] };
    of_request(pod, &devices, inventory)
}

fn unknown(reason: String) -> Claimed {
    let candidates = Candidates { unknown: vec![reason], ..Candidates::default() };
    Claimed { request: None, candidates: Some(candidates) }
}

fn find<'a>(pod: &PodTemplate, used: &ClaimUse, inventory: &'a Inventory) -> Option<&'a Vec<DeviceRequest>> {
    let dynamic = &inventory.dynamic;
    let known: &BTreeMap<String, Vec<DeviceRequest>> = if used.template { &dynamic.templates } else { &dynamic.claims };
    // Manifests may leave the namespace to whoever applies them.
    known.get(&key(&pod.namespace, &used.object)).or_else(|| known.get(&key("", &used.object)))
}

fn alike(a: &DeviceRequest, b: &DeviceRequest) -> bool {
    a.alternatives == b.alternatives
}

/// Where a request can be met; `None` where it selects devices that are no GPUs.
fn of_request(pod: &PodTemplate, request: &DeviceRequest, inventory: &Inventory) -> Option<Candidates> {
    let mut search =
        Search { pod, eligible: Found::default(), excluded: Found::default(), unknown: Vec::new(), other: false };
    for ask in &request.alternatives {
        let conditions = Conditions::of(ask, &inventory.dynamic);
        for class in &inventory.classes {
            search.node_class(ask, &conditions, class);
        }
        let unplaced = inventory.dynamic.unplaced.iter().filter(|device| conditions.select(device) != Some(false));
        if unplaced.into_iter().any(|device| matching::gpu(device, ask).is_some()) {
            search.doubt(format!("devices of {} are not tied to one node", ask.class));
        }
    }
    let nothing = search.eligible.is_empty() && search.excluded.is_empty() && search.unknown.is_empty();
    (!(nothing && search.other)).then(|| {
        let mut excluded = search.excluded;
        excluded.forget(&search.eligible);
        Candidates {
            eligible: search.eligible.largest_first().map(|(candidate, _)| candidate).collect(),
            excluded: excluded.largest_first().collect(),
            unknown: search.unknown,
            ..Candidates::default()
        }
    })
}

struct Search<'a> {
    pod: &'a PodTemplate,
    eligible: Found,
    excluded: Found,
    unknown: Vec<String>,
    /// Devices that are no GPUs were selected.
    other: bool,
}

impl Search<'_> {
    fn doubt(&mut self, reason: String) {
        if !self.unknown.contains(&reason) {
            self.unknown.push(reason);
        }
    }

    fn node_class(&mut self, ask: &DeviceAsk, conditions: &Conditions, class: &NodeClass) {
        let Some(devices) = &class.devices else { return };
        let placement = eligibility::place(&self.pod.spec, class);
        let mut selected: Vec<&DynamicDevice> = Vec::new();
        let mut groups: Vec<(GpuClass, Vec<&DynamicDevice>)> = Vec::new();
        for device in &devices.devices {
            let (selects, gpu) = (conditions.select(device), matching::gpu(device, ask));
            match (selects, gpu) {
                (Some(true), None) => self.other = true,
                (None, Some(_)) if placement.is_ok() => {
                    self.doubt(format!("the selectors of {} cannot be evaluated for {}", ask.class, device.driver));
                }
                (Some(true), Some(Err(reason))) if placement.is_ok() => self.doubt(reason),
                (Some(true), Some(Ok(gpu))) => {
                    selected.push(device);
                    match groups.iter_mut().find(|(known, _)| *known == gpu) {
                        Some((_, members)) => members.push(device),
                        None => groups.push((gpu, vec![device])),
                    }
                }
                _ => {}
            }
        }
        let offered = devices.at_once(selected);
        for (gpu, members) in groups {
            let found = |nodes| Candidate {
                class: Arc::new(gpu.clone()),
                gpus_per_node: devices.at_once(members.iter().copied()),
                nodes,
                crowding: None,
            };
            let all = class.members.len() as u64;
            match (&placement, ask.count) {
                (Err(reason), _) => self.excluded.add(found(all), reason),
                (Ok(_), Some(count)) if offered < count => {
                    let reason = format!("has {offered} devices of {}, the claim asks for {count}", ask.class);
                    self.excluded.add(found(all), &reason);
                }
                (Ok(nodes), _) => self.eligible.add(found(*nodes), ""),
            }
        }
    }
}
