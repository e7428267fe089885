//! Nodes that an autoscaler could add: Karpenter's `NodePool`s over the instance catalogue, and shapes that are configured.
//!
//! What could be added is a reason not to refuse, never a reason to refuse: what a pool does not say may be anything.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::gpu_labels;
use super::nodes::{Count, NodeMetadata, NodeStatus, NodeTaint, NodeView, taints};
use super::pod::or_default;
use super::selector::Requirement;
use crate::decide::inventory::{Member, NodeClass, UnknownCapacity};
use crate::decide::policy::NodeShape;
use crate::estimate::quantity::Quantity;
use crate::facts::gpus::{self, Instance};

macro_rules! views {
    ($($(#[$doc:meta])* $visibility:vis $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        $visibility struct $name {
            $($(#[$field_doc])* #[serde(deserialize_with = "or_default")] $field: $kind,)*
        }
    )*};
}

views! {
    /// Karpenter's `NodePool`, as far as it is read.
    pub NodePool { metadata: Named, spec: PoolSpec, }
    Named { name: String, labels: BTreeMap<String, String>, }
    PoolSpec { template: Template, limits: BTreeMap<String, serde_json::Value>, }
    Template { metadata: Named, spec: TemplateSpec, }
    TemplateSpec { requirements: Vec<Requirement>, taints: Vec<NodeTaint>, node_class_ref: ClassRef, }
    ClassRef { group: String, }
}

const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";

/// What accelerated instance types of the clouds begin with.
const ACCELERATED: &[&str] =
    &["p", "g", "trn", "inf", "dl", "standard_n", "a2-", "a3-", "a4-", "ct", "tpu", "bm.gpu", "vm.gpu"];

/// Vendors' figures of memory and the driver's differ by up to this much.
const NOMINAL: f64 = 0.07;

/// What the pools could add: a class for each instance type that meets a pool's requirements.
#[must_use]
pub fn possible(pools: &[NodePool]) -> Vec<NodeClass> {
    pools.iter().flat_map(of_pool).collect()
}

/// Classes of configured shapes.
#[must_use]
pub fn shapes(shapes: &[NodeShape]) -> Vec<NodeClass> {
    let class = |shape: &NodeShape| {
        let taint = |taint: &crate::decide::policy::ShapeTaint| NodeTaint {
            key: taint.key.clone(),
            value: taint.value.clone(),
            effect: taint.effect.clone(),
        };
        let kind = shape.labels.get(INSTANCE_TYPE).map(|name| name.to_ascii_lowercase());
        let row = kind.and_then(|kind| gpus::instances().find(|(name, _)| **name == kind));
        let mut labels = row.map(|(name, instance)| stated(name, instance)).unwrap_or_default();
        labels.extend(shape.labels.clone());
        let node = node(&shape.name, labels, &shape.resources);
        node_class(node, shape.taints.iter().map(taint).collect())
    };
    shapes.iter().map(class).collect()
}

fn of_pool(pool: &NodePool) -> Vec<NodeClass> {
    let template = &pool.spec.template;
    let mut classes: Vec<NodeClass> = gpus::instances()
        .filter(|(name, instance)| {
            template.spec.requirements.iter().all(|requirement| meets(requirement, name, instance))
                && provider(pool).is_none_or(|provider| provider == cloud(name))
                && within_limits(pool, instance)
        })
        .map(|(name, instance)| {
            let mut labels = template.metadata.labels.clone();
            labels.insert("karpenter.sh/nodepool".to_owned(), pool.metadata.name.clone());
            labels.extend(stated(name, instance));
            let single = |r: &Requirement| match (r.operator.as_str(), r.values.as_slice()) {
                ("In", [value]) => Some((r.key.clone(), value.clone())),
                _ => None,
            };
            labels.extend(template.spec.requirements.iter().filter_map(single));
            let resources = BTreeMap::from([(instance.resource.to_owned(), instance.count)]);
            node_class(node(&pool.metadata.name, labels, &resources), template.spec.taints.clone())
        })
        .collect();
    if let Some(kind) = unheard_of(pool) {
        let reason = format!("NodePool {} may add {kind}, which is not in the instance catalogue", pool.metadata.name);
        let mut class = node_class(
            node(&pool.metadata.name, template.metadata.labels.clone(), &BTreeMap::new()),
            template.spec.taints.clone(),
        );
        class.unknown = vec![UnknownCapacity { resource: "*".to_owned(), count: u64::MAX, reason }];
        classes.push(class);
    }
    classes
}

fn node(name: &str, labels: BTreeMap<String, String>, resources: &BTreeMap<String, u64>) -> NodeView {
    let capacity = resources.iter().map(|(name, count)| (name.clone(), Count(Some(*count)))).collect();
    NodeView {
        metadata: NodeMetadata { name: name.to_owned(), labels, annotations: BTreeMap::new() },
        status: NodeStatus { capacity, ..NodeStatus::default() },
        ..NodeView::default()
    }
}

fn node_class(mut node: NodeView, of_pool: Vec<NodeTaint>) -> NodeClass {
    node.spec.taints = of_pool;
    let equipment = gpu_labels::equipment(&node);
    NodeClass {
        taints: taints(&node),
        labels: node.metadata.labels,
        unschedulable: false,
        gpus: equipment.gpus.into_iter().map(|(class, count)| (std::sync::Arc::new(class), count)).collect(),
        unknown: equipment.unknown,
        devices: None,
        members: vec![Member { name: node.metadata.name, labels: BTreeMap::new() }],
    }
}

/// Whose instance types the pool chooses from, where it says so.
fn provider(pool: &NodePool) -> Option<&'static str> {
    match pool.spec.template.spec.node_class_ref.group.as_str() {
        "karpenter.k8s.aws" | "eks.amazonaws.com" => Some("aws"),
        "karpenter.azure.com" => Some("azure"),
        "karpenter.k8s.gcp" => Some("gcp"),
        _ => None,
    }
}

/// Whose instance type it is, by the way it is written.
fn cloud(name: &str) -> &'static str {
    match name {
        _ if name.starts_with("standard_") => "azure",
        _ if name.split_once('.').is_some_and(|(family, size)| {
            !family.contains("gpu") && (size.ends_with("large") || size.starts_with("metal"))
        }) =>
        {
            "aws"
        }
        _ if name.contains("-highgpu-")
            || name.contains("-standard-")
            || name.contains("-megagpu-")
            || name.contains("-ultragpu-")
            || name.contains("-edgegpu-")
            || name.contains("-maxgpu-")
            || name.starts_with("ct") =>
        {
            "gcp"
        }
        _ => "other",
    }
}

/// Labels that a node of the type surely has.
fn stated(name: &str, instance: &Instance) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([(INSTANCE_TYPE.to_owned(), name.to_owned())]);
    if instance.resource == "nvidia.com/gpu" {
        labels.insert("nvidia.com/gpu.product".to_owned(), instance.product.to_owned());
        labels.insert("nvidia.com/gpu.count".to_owned(), instance.count.to_string());
        if let Some(visible) = instance.visible {
            labels.insert("nvidia.com/gpu.memory".to_owned(), (visible.0 >> 20).to_string());
        }
    }
    if let ("aws", Some((family, size))) = (cloud(name), name.split_once('.')) {
        let letters = family.find(|c: char| c.is_ascii_digit()).unwrap_or(family.len());
        let (category, rest) = family.split_at_checked(letters).unwrap_or((family, ""));
        let generation: String = rest.chars().take_while(char::is_ascii_digit).collect();
        for prefix in ["karpenter.k8s.aws", "eks.amazonaws.com"] {
            for (key, value) in
                [("family", family), ("size", size), ("category", category), ("generation", generation.as_str())]
            {
                labels.insert(format!("{prefix}/instance-{key}"), value.to_owned());
            }
            if instance.resource == "nvidia.com/gpu" {
                labels.insert(format!("{prefix}/instance-gpu-count"), instance.count.to_string());
                labels.insert(format!("{prefix}/instance-gpu-manufacturer"), "nvidia".to_owned());
            }
        }
    }
    if cloud(name) == "azure" && instance.resource == "nvidia.com/gpu" {
        labels.insert("karpenter.azure.com/sku-gpu-count".to_owned(), instance.count.to_string());
    }
    labels
}

/// Whether a type can meet a requirement; what is not known of it may be anything.
fn meets(requirement: &Requirement, name: &str, instance: &Instance) -> bool {
    let key = requirement.key.rsplit('/').next().unwrap_or_default();
    match (key, requirement.operator.as_str()) {
        ("instance-gpu-name" | "sku-gpu-name", "In") => {
            requirement.values.iter().any(|value| called(instance.product, value))
        }
        ("instance-gpu-memory", operator @ ("Gt" | "Lt" | "In")) => {
            let Some(mib) = instance.visible.map(|bytes| (bytes.0 >> 20) as f64) else { return true };
            requirement.values.iter().filter_map(|value| value.parse::<f64>().ok()).any(|bound| match operator {
                "Gt" => mib * (1.0 + NOMINAL) > bound,
                "Lt" => mib * (1.0 - NOMINAL) < bound,
                _ => (mib - bound).abs() <= bound * NOMINAL,
            })
        }
        ("instance-type", _) => {
            let lower: Vec<String> = requirement.values.iter().map(|value| value.to_ascii_lowercase()).collect();
            Requirement { values: lower, ..requirement.clone() }.matches(Some(name))
        }
        _ => match stated(name, instance).get(&requirement.key) {
            Some(value) => requirement.matches(Some(value)),
            None => true,
        },
    }
}

/// Whether a product goes by a cloud's short name: `a100` is every A100.
fn called(product: &str, name: &str) -> bool {
    let words = product.to_ascii_lowercase().replace([' ', '_'], "-");
    let name = name.to_ascii_lowercase();
    let name = name.replace([' ', '_'], "-");
    gpus::by_product(&name).is_some_and(|gpu| gpu.product == product)
        || name.split('-').all(|word| words.split('-').any(|known| known == word))
}

/// A pool whose limit leaves no room for one node adds none.
fn within_limits(pool: &NodePool, instance: &Instance) -> bool {
    let limit = pool.spec.limits.get(instance.resource).and_then(|limit| match limit {
        serde_json::Value::String(text) => text.parse::<Quantity>().ok().map(Quantity::value),
        other => other.as_i64(),
    });
    limit.and_then(|limit| u64::try_from(limit).ok()).is_none_or(|limit| limit >= instance.count)
}

/// A type or family that the pool names, that looks accelerated, and that the catalogue lacks.
fn unheard_of(pool: &NodePool) -> Option<&str> {
    let requirements = pool.spec.template.spec.requirements.iter().filter(|requirement| requirement.operator == "In");
    let named = |requirement: &&Requirement| {
        [INSTANCE_TYPE, "karpenter.k8s.aws/instance-family", "eks.amazonaws.com/instance-family"]
            .contains(&requirement.key.as_str())
    };
    let mut values = requirements.filter(named).flat_map(|requirement| &requirement.values);
    values
        .find(|value| {
            let lower = value.to_ascii_lowercase();
            let digits_follow = |prefix: &str| {
                lower.strip_prefix(prefix).is_some_and(|rest| {
                    !prefix.ends_with(|c: char| c.is_ascii_alphabetic())
                        || prefix.len() > 3
                        || rest.starts_with(|c: char| c.is_ascii_digit())
                })
            };
            let known =
                gpus::instances().any(|(name, _)| name == lower || name.split('.').next() == Some(lower.as_str()));
            !known && ACCELERATED.iter().any(|prefix| digits_follow(prefix))
        })
        .map(String::as_str)
}

#[cfg(test)]
mod tests;
