//! Devices that drivers publish one by one and that pods ask for by claims, instead of by counting a resource.

use std::collections::BTreeMap;

use crate::estimate::Bytes;

/// Everything about claims that does not belong to one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dynamic {
    /// Device classes by name.
    pub classes: BTreeMap<String, DeviceClass>,
    /// What claims ask for, by `namespace/name`.
    pub claims: BTreeMap<String, Vec<DeviceRequest>>,
    /// The same of claim templates.
    pub templates: BTreeMap<String, Vec<DeviceRequest>>,
    /// Devices that several nodes can reach, or that are being published: not counted, and no reason to refuse.
    pub unplaced: Vec<DynamicDevice>,
}

impl Dynamic {
    /// Adds what others ask for; theirs win.
    pub fn extend(&mut self, other: Self) {
        self.classes.extend(other.classes);
        self.claims.extend(other.claims);
        self.templates.extend(other.templates);
        self.unplaced.extend(other.unplaced);
    }
}

/// A device class.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceClass {
    /// CEL expressions that must all hold.
    pub selectors: Vec<String>,
    /// Extended resource that stands for one device of the class.
    pub extended_resource: String,
}

/// One request of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceRequest {
    /// Name in the claim.
    pub name: String,
    /// Alternatives, the preferred first; mostly one.
    pub alternatives: Vec<DeviceAsk>,
}

/// Devices asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceAsk {
    /// Device class.
    pub class: String,
    /// CEL expressions that must all hold.
    pub selectors: Vec<String>,
    /// How many; `None` for all that match on the node.
    pub count: Option<u64>,
    /// Memory asked of a device that several claims share.
    pub memory: Option<Bytes>,
    /// Taints of devices are tolerated.
    pub tolerates: bool,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct DynamicDevice {
    /// Driver that published it.
    pub driver: String,
    /// Name in its pool.
    pub name: String,
    /// Attributes by `domain/name`.
    pub attributes: BTreeMap<String, Attribute>,
    /// Quantities by `domain/name`, in nano-units.
    pub capacity: BTreeMap<String, i128>,
    /// What it takes of counters that devices share, by counter, in nano-units.
    pub consumes: BTreeMap<String, i128>,
    /// Several claims may have it at once.
    pub multiple: bool,
    /// It repels claims.
    pub tainted: bool,
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attribute {
    /// Text.
    Text(String),
    /// Number.
    Int(i64),
    /// Truth.
    Bool(bool),
    /// Semantic version.
    Version(String),
    /// Different for every device (uuid, bus address): left out, so that nodes can be alike.
    Varies,
}

/// The devices of one node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct NodeDevices {
    /// Devices, alternatives of one another among them.
    pub devices: Vec<DynamicDevice>,
    /// Counters that devices consume, in nano-units.
    pub counters: BTreeMap<String, i128>,
}

impl NodeDevices {
    /// How many of some devices can be had at once: a whole GPU and its slices draw on the same counters.
    #[must_use]
    pub fn at_once<'a>(&self, devices: impl IntoIterator<Item = &'a DynamicDevice>) -> u64 {
        let mut left = self.counters.clone();
        let mut devices: Vec<&DynamicDevice> = devices.into_iter().collect();
        // Those that take the least leave the most for others.
        devices.sort_by_cached_key(|device| device.consumes.values().fold(0_i128, |sum, n| sum.saturating_add(*n)));
        let mut had = 0;
        for device in devices {
            let free = |(counter, amount): (&String, &i128)| left.get(counter).is_some_and(|rest| rest >= amount);
            if device.consumes.iter().all(free) {
                for (counter, amount) in &device.consumes {
                    if let Some(rest) = left.get_mut(counter) {
                        *rest -= amount;
                    }
                }
                had += 1;
            }
        }
        had
    }
}
