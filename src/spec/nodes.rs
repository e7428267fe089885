//! Nodes to an [`Inventory`]: which GPUs they have, what memory each, and which nodes are the same to the scheduler.
//!
//! Memory is taken from the best source there is: the label of GPU feature discovery, else the product's row in the GPU
//! catalogue, else the instance type's. What none of them knows becomes [`UnknownCapacity`], with a reason, and never a
//! guess.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use super::dra::Placed;
use super::gpu_labels::{Equipment, equipment};
use crate::decide::inventory::dynamic::{Dynamic, NodeDevices};
use crate::decide::inventory::{GpuClass, Inventory, Member, NodeClass, Taint};

/// What is read of a node; everything else is skipped.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct NodeView {
    /// Name and labels.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: NodeMetadata,
    /// Taints and cordon.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: NodeSpec,
    /// Resources.
    #[serde(deserialize_with = "null_as_default")]
    pub status: NodeStatus,
}

impl NodeView {
    fn named(name: &str) -> Self {
        Self { metadata: NodeMetadata { name: name.to_owned(), ..NodeMetadata::default() }, ..Self::default() }
    }

    /// Allocatable devices of a resource, or those that exist but are not allocatable at the moment.
    #[must_use]
    pub fn stated(&self, resource: &str) -> Option<u64> {
        let positive = |map: &BTreeMap<String, Count>| map.get(resource).and_then(|count| count.0).filter(|&n| n > 0);
        positive(&self.status.allocatable).or_else(|| positive(&self.status.capacity))
    }
}

/// Of a node's metadata.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct NodeMetadata {
    /// Name.
    pub name: String,
    /// Labels.
    #[serde(deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
}

/// Of a node's spec.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// Taints.
    #[serde(deserialize_with = "null_as_default")]
    pub taints: Vec<NodeTaint>,
    /// Cordoned.
    #[serde(deserialize_with = "null_as_default")]
    pub unschedulable: bool,
}

/// A taint as Kubernetes writes it.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct NodeTaint {
    /// Key.
    pub key: String,
    /// Value, possibly absent.
    #[serde(deserialize_with = "null_as_default")]
    pub value: String,
    /// Effect.
    pub effect: String,
}

/// Of a node's status: quantities as text or number.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// What pods may use.
    #[serde(deserialize_with = "null_as_default")]
    pub allocatable: BTreeMap<String, Count>,
    /// What there is.
    #[serde(deserialize_with = "null_as_default")]
    pub capacity: BTreeMap<String, Count>,
}

/// A resource quantity, as far as it is a plain count; extended resources always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count(pub Option<u64>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Quantity {
            Number(u64),
            Text(String),
            Other(serde::de::IgnoredAny),
        }
        Ok(Self(match Quantity::deserialize(deserializer)? {
            Quantity::Number(count) => Some(count),
            Quantity::Text(text) => plain_count(&text),
            Quantity::Other(_) => None,
        }))
    }
}

/// Kubernetes writes extended resources canonically: thousands as `1k`.
fn plain_count(text: &str) -> Option<u64> {
    match text.strip_suffix('k') {
        Some(thousands) => thousands.parse::<u64>().ok()?.checked_mul(1000),
        None => text.parse().ok(),
    }
}

fn null_as_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// The inventory of a set of nodes, in any order.
#[must_use]
pub fn inventory<N: Borrow<NodeView>>(nodes: impl IntoIterator<Item = N>) -> Inventory {
    with_devices(nodes, Placed::default(), Dynamic::default())
}

/// The same with devices that drivers publish. Nodes of which only those are known accept any pod.
#[must_use]
pub fn with_devices<N: Borrow<NodeView>>(
    nodes: impl IntoIterator<Item = N>,
    mut placed: Placed,
    dynamic: Dynamic,
) -> Inventory {
    let nodes: Vec<N> = nodes.into_iter().collect();
    let names: BTreeSet<&str> = nodes.iter().map(|node| node.borrow().metadata.name.as_str()).collect();
    let unheard = placed.nodes.keys().filter(|name| !names.contains(name.as_str()));
    let unheard: Vec<NodeView> = unheard.map(|name| NodeView::named(name)).collect();
    let all = nodes.iter().map(Borrow::borrow).chain(&unheard);
    let mut equipped: Vec<(&NodeView, Equipment)> = all
        .map(|node| (node, equipment(node)))
        .filter(|(node, equipment)| !equipment.is_empty() || placed.nodes.contains_key(&node.metadata.name))
        .collect();
    let mut devices: Vec<Arc<NodeDevices>> = Vec::new();
    equipped.sort_by(|a, b| a.0.metadata.name.cmp(&b.0.metadata.name));
    let own_keys = keys_of_single_nodes(equipped.iter().map(|(node, _)| &node.metadata.labels));

    let mut interned: Vec<Arc<GpuClass>> = Vec::new();
    let mut classes: BTreeMap<Key, NodeClass> = BTreeMap::new();
    for (node, equipment) in equipped {
        let gpus: Vec<(Arc<GpuClass>, u64)> =
            equipment.gpus.into_iter().map(|(class, count)| (intern(&mut interned, class), count)).collect();
        let (own, shared): (BTreeMap<_, _>, BTreeMap<_, _>) =
            node.metadata.labels.clone().into_iter().partition(|(key, _)| own_keys.contains(key.as_str()));
        let own_devices = placed.nodes.remove(&node.metadata.name).map(|own| intern(&mut devices, own));
        let key = Key {
            devices: own_devices.as_ref().map(|own| position(&devices, own)),
            gpus: gpus.iter().map(|(class, count)| (position(&interned, class), *count)).collect(),
            unknown: equipment.unknown.iter().map(|u| (u.resource.clone(), u.count, u.reason.clone())).collect(),
            taints: taints(node),
            unschedulable: node.spec.unschedulable,
            labels: shared,
        };
        let member = Member { name: node.metadata.name.clone(), labels: own };
        let class = classes.entry(key).or_insert_with_key(|key| NodeClass {
            labels: key.labels.clone(),
            taints: key.taints.clone(),
            unschedulable: key.unschedulable,
            gpus,
            unknown: equipment.unknown,
            devices: own_devices,
            members: Vec::new(),
        });
        class.members.push(member);
    }
    let dynamic = Dynamic { unplaced: placed.unplaced, ..dynamic };
    Inventory {
        classes: classes.into_values().collect(),
        nodes: nodes.len() + unheard.len(),
        dynamic,
        possible: Vec::new(),
    }
}

/// What makes two nodes the same. The order of the fields is the order of the classes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    devices: Option<usize>,
    gpus: Vec<(usize, u64)>,
    unknown: Vec<(String, u64, String)>,
    taints: Vec<Taint>,
    unschedulable: bool,
    labels: BTreeMap<String, String>,
}

pub(super) fn taints(node: &NodeView) -> Vec<Taint> {
    let mut taints: Vec<Taint> = node
        .spec
        .taints
        .iter()
        .map(|t| Taint { key: t.key.clone(), value: t.value.clone(), effect: t.effect.clone() })
        .collect();
    taints.sort();
    taints
}

/// Label keys that would make every node a class of its own: the host name, keys whose values differ for every node, and
/// large sets that nearly do. It only decides where a label is kept, so it can never change an answer.
fn keys_of_single_nodes<'a>(nodes: impl Iterator<Item = &'a BTreeMap<String, String>>) -> BTreeSet<&'a str> {
    const HOSTNAME: &str = "kubernetes.io/hostname";
    const MANY: usize = 16;
    let mut values: BTreeMap<&str, (BTreeSet<&str>, usize)> = BTreeMap::new();
    for labels in nodes {
        for (key, value) in labels {
            let entry = values.entry(key).or_default();
            entry.0.insert(value);
            entry.1 += 1;
        }
    }
    values
        .into_iter()
        .filter(|(key, (distinct, nodes))| {
            let all_differ = *nodes > 1 && distinct.len() == *nodes;
            let most_differ = distinct.len() > MANY && distinct.len() * 2 > *nodes;
            *key == HOSTNAME || all_differ || most_differ
        })
        .map(|(key, _)| key)
        .collect()
}

/// One allocation a class, however many nodes have it. There are few classes, so a linear search will do.
fn intern<T: PartialEq>(known: &mut Vec<Arc<T>>, class: T) -> Arc<T> {
    if let Some(same) = known.iter().find(|other| ***other == class) {
        return Arc::clone(same);
    }
    let class = Arc::new(class);
    known.push(Arc::clone(&class));
    class
}

fn position<T>(known: &[Arc<T>], class: &Arc<T>) -> usize {
    known.iter().position(|other| Arc::ptr_eq(other, class)).unwrap_or(known.len())
}

#[cfg(test)]
mod tests;
