//! The objects of `resource.k8s.io`, as far as they are read: v1, and the beta spellings of the same fields.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::decide::inventory::dynamic::{DeviceAsk, DeviceClass, DeviceRequest};
use crate::estimate::quantity::Quantity;
use crate::spec::pod::or_default;

/// One object of the API group.
#[derive(Debug, Clone)]
pub enum Object {
    /// `ResourceSlice`.
    Slice(ResourceSlice),
    /// `DeviceClass` by name.
    Class(String, DeviceClass),
    /// `ResourceClaim` by namespace and name.
    Claim(String, Vec<DeviceRequest>),
    /// `ResourceClaimTemplate` by namespace and name.
    Template(String, Vec<DeviceRequest>),
}

/// The kinds that are read.
pub const KINDS: [&str; 4] = ["ResourceSlice", "DeviceClass", "ResourceClaim", "ResourceClaimTemplate"];

/// Reads an object; `None` for other kinds.
///
/// # Errors
/// When a field has a wrong type.
pub fn read(object: &Value) -> Result<Option<Object>, serde_json::Error> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let spec = || object.get("spec").unwrap_or(&Value::Null);
    let name = text("/metadata/name").to_owned();
    let key = || key(text("/metadata/namespace"), &name);
    Ok(Some(match text("/kind") {
        "ResourceSlice" => Object::Slice(ResourceSlice { spec: Option::deserialize(spec())?.unwrap_or_default() }),
        "DeviceClass" => Object::Class(name.clone(), device_class(spec())?),
        "ResourceClaim" => Object::Claim(key(), device_requests(spec())?),
        "ResourceClaimTemplate" => {
            Object::Template(key(), device_requests(spec().get("spec").unwrap_or(&Value::Null))?)
        }
        _ => return Ok(None),
    }))
}

/// How claims are keyed: the namespace defaults as kubectl's does.
#[must_use]
pub fn key(namespace: &str, name: &str) -> String {
    format!("{}/{name}", if namespace.is_empty() { "default" } else { namespace })
}

/// A `DeviceClass`'s spec.
///
/// # Errors
/// When a field has a wrong type.
pub fn device_class(spec: &Value) -> Result<DeviceClass, serde_json::Error> {
    let view: ClassSpec = Option::deserialize(spec)?.unwrap_or_default();
    Ok(DeviceClass { selectors: expressions(view.selectors), extended_resource: view.extended_resource_name })
}

/// A `ResourceClaim`'s spec.
///
/// # Errors
/// When a field has a wrong type.
pub fn device_requests(spec: &Value) -> Result<Vec<DeviceRequest>, serde_json::Error> {
    let view: ClaimSpec = Option::deserialize(spec)?.unwrap_or_default();
    let request = |request: Request| {
        let mut alternatives: Vec<DeviceAsk> = request.exactly.into_iter().filter_map(ask).collect();
        alternatives.extend(request.first_available.into_iter().filter_map(ask));
        alternatives.extend(ask(request.flat));
        DeviceRequest { name: request.name, alternatives }
    };
    Ok(view.devices.requests.into_iter().map(request).filter(|request| !request.alternatives.is_empty()).collect())
}

/// An ask that gets devices: administrative access takes none.
fn ask(view: Exact) -> Option<DeviceAsk> {
    if view.device_class_name.is_empty() || view.admin_access {
        return None;
    }
    let all = view.allocation_mode == "All";
    Some(DeviceAsk {
        class: view.device_class_name,
        selectors: expressions(view.selectors),
        count: (!all).then_some(view.count.unwrap_or(1).max(1)),
        memory: view.capacity.requests.get("memory").and_then(quantity).map(Quantity::bytes),
        tolerates: !view.tolerations.is_empty(),
    })
}

fn expressions(selectors: Vec<Selector>) -> Vec<String> {
    selectors.into_iter().map(|selector| selector.cel.map(|cel| cel.expression).unwrap_or_default()).collect()
}

/// A quantity as text or number.
pub(super) fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

macro_rules! views {
    ($($(#[$doc:meta])* $visibility:vis $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        $visibility struct $name {
            $($(#[$field_doc])* #[serde(deserialize_with = "or_default")] $visibility $field: $kind,)*
        }
    )*};
}

views! {
    ClassSpec { selectors: Vec<Selector>, extended_resource_name: String, }
    Selector { cel: Option<Cel>, }
    Cel { expression: String, }
    ClaimSpec { devices: Devices, }
    Devices { requests: Vec<Request>, }
    Exact {
        device_class_name: String, selectors: Vec<Selector>, allocation_mode: String, count: Option<u64>,
        admin_access: bool, capacity: Requested, tolerations: Vec<Value>,
    }
    Requested { requests: BTreeMap<String, Value>, }
    /// Of a slice's spec.
    pub SliceSpec {
        /// Driver.
        driver: String,
        /// Node that the devices are on; empty where several can reach them.
        node_name: String,
        /// Pool that the slice is a part of.
        pool: Pool,
        /// Devices.
        devices: Vec<Device>,
        /// Counters that devices draw on.
        shared_counters: Vec<CounterSet>,
    }
    /// A pool's version.
    pub Pool {
        /// Name.
        name: String,
        /// Only the slices of the highest count.
        generation: i64,
        /// Slices of the whole pool.
        resource_slice_count: u64,
    }
    /// A device, in the flat form of v1 or the nested one of v1beta1.
    pub Device {
        /// Name.
        name: String,
        /// The nested form.
        basic: Option<Box<Device>>,
        /// Node, where the slice leaves it to each device.
        node_name: String,
        /// Attributes.
        attributes: BTreeMap<String, Value>,
        /// Quantities.
        capacity: BTreeMap<String, Value>,
        /// Counters that it takes.
        consumes_counters: Vec<CounterSet>,
        /// Several claims may have it.
        allow_multiple_allocations: bool,
        /// Taints.
        taints: Vec<Value>,
    }
    /// Counters of one set.
    pub CounterSet {
        /// Name of the set, in the slice.
        name: String,
        /// Name of the set, in a device.
        counter_set: String,
        /// Amounts.
        counters: BTreeMap<String, Value>,
    }
}

/// One request: in `exactly`, `firstAvailable`, or flat as in v1beta1.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Request {
    #[serde(deserialize_with = "or_default")]
    name: String,
    exactly: Option<Exact>,
    #[serde(deserialize_with = "or_default")]
    first_available: Vec<Exact>,
    #[serde(flatten)]
    flat: Exact,
}

/// Devices of one driver on one node.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct ResourceSlice {
    /// What is read of it.
    #[serde(deserialize_with = "or_default")]
    pub spec: SliceSpec,
}
