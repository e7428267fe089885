//! Slices to the devices of each node, without what only tells devices of a kind apart.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::objects::{CounterSet, Device, ResourceSlice, quantity};
use crate::decide::inventory::dynamic::{Attribute, DynamicDevice, NodeDevices};

/// Attributes that differ between devices of a kind.
const UNIQUE: &[&str] = &[
    "uuid",
    "parentUUID",
    "minor",
    "parentMinor",
    "index",
    "parentIndex",
    "pciBusID",
    "pciAddress",
    "pciAddr",
    "numaNode",
    "numa",
    "pcieRoot",
    "cliqueId",
    "serial",
    "cardIdx",
    "renderIdx",
    "placementStart",
];

/// Devices of one slice at most.
const MOST_DEVICES: usize = 128;

/// Where devices are.
#[derive(Debug, Clone, Default)]
pub struct Placed {
    /// By node.
    pub nodes: BTreeMap<String, NodeDevices>,
    /// Reachable from several nodes, or of pools that are not complete.
    pub unplaced: Vec<DynamicDevice>,
}

/// Sorts devices by node. Of a pool only the newest generation counts.
#[must_use]
pub fn place<S: Borrow<ResourceSlice>>(slices: impl IntoIterator<Item = S>) -> Placed {
    let slices: Vec<S> = slices.into_iter().collect();
    let mut newest: BTreeMap<(&str, &str), (i64, u64)> = BTreeMap::new();
    for slice in slices.iter().map(|slice| &slice.borrow().spec) {
        let entry = newest.entry((&slice.driver, &slice.pool.name)).or_insert((i64::MIN, 0));
        match slice.pool.generation.cmp(&entry.0) {
            std::cmp::Ordering::Greater => *entry = (slice.pool.generation, 1),
            std::cmp::Ordering::Equal => entry.1 += 1,
            std::cmp::Ordering::Less => {}
        }
    }
    let mut placed = Placed::default();
    for slice in slices.iter().map(|slice| &slice.borrow().spec) {
        let Some((generation, seen)) = newest.get(&(slice.driver.as_str(), slice.pool.name.as_str())) else { continue };
        if slice.pool.generation < *generation {
            continue;
        }
        let complete = *seen >= slice.pool.resource_slice_count;
        for set in &slice.shared_counters {
            let counters = counters(&slice.driver, &slice.pool.name, &slice.node_name, set);
            if !slice.node_name.is_empty() {
                placed.nodes.entry(slice.node_name.clone()).or_default().counters.extend(counters);
            }
        }
        for view in slice.devices.iter().take(MOST_DEVICES) {
            let node = if slice.node_name.is_empty() { &view.node_name } else { &slice.node_name };
            let device = device(&slice.driver, &slice.pool.name, node, view);
            if node.is_empty() || !complete {
                placed.unplaced.push(device);
            } else {
                placed.nodes.entry(node.clone()).or_default().devices.push(device);
            }
        }
    }
    for node in placed.nodes.values_mut() {
        node.devices.sort();
    }
    placed
}

fn device(driver: &str, pool: &str, node: &str, view: &Device) -> DynamicDevice {
    let body = view.basic.as_deref().unwrap_or(view);
    let qualified = |name: &String| if name.contains('/') { name.clone() } else { format!("{driver}/{name}") };
    let attributes = body.attributes.iter().filter_map(|(name, value)| {
        let bare = name.rsplit('/').next().unwrap_or(name);
        let value = if UNIQUE.contains(&bare) { Attribute::Varies } else { attribute(value)? };
        Some((qualified(name), value))
    });
    let capacity = body.capacity.iter().filter_map(|(name, value)| Some((qualified(name), amount(value)?)));
    let consumes = body.consumes_counters.iter().flat_map(|set| counters(driver, pool, node, set));
    let repels =
        |taint: &Value| matches!(taint.get("effect").and_then(Value::as_str), Some("NoSchedule" | "NoExecute"));
    DynamicDevice {
        driver: driver.to_owned(),
        name: view.name.clone(),
        attributes: attributes.collect(),
        capacity: capacity.collect(),
        consumes: consumes.collect(),
        multiple: body.allow_multiple_allocations,
        tainted: body.taints.iter().any(repels),
    }
}

fn attribute(value: &Value) -> Option<Attribute> {
    let (kind, value) = value.as_object()?.iter().next()?;
    Some(match kind.as_str() {
        "string" => Attribute::Text(value.as_str()?.to_owned()),
        "int" => Attribute::Int(value.as_i64()?),
        "bool" => Attribute::Bool(value.as_bool()?),
        "version" => Attribute::Version(value.as_str()?.to_owned()),
        _ => Attribute::Varies,
    })
}

/// `{value: 40Gi}`, or the quantity itself as older versions wrote it.
fn amount(value: &Value) -> Option<i128> {
    quantity(value.get("value").unwrap_or(value)).map(crate::estimate::quantity::Quantity::nanos)
}

/// Counters by a name that is the same on nodes that are alike: pools are mostly called after their node.
fn counters<'a>(
    driver: &str,
    pool: &str,
    node: &str,
    set: &'a CounterSet,
) -> impl Iterator<Item = (String, i128)> + 'a {
    let pool = if pool == node { "" } else { pool };
    let name = if set.name.is_empty() { &set.counter_set } else { &set.name };
    let prefix = format!("{driver}/{pool}/{name}/");
    set.counters.iter().filter_map(move |(counter, value)| Some((format!("{prefix}{counter}"), amount(value)?)))
}
