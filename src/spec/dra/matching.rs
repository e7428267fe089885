//! Which devices an ask selects, and what class of GPU each of them is.

use std::collections::BTreeMap;

use crate::decide::inventory::dynamic::{Attribute, DeviceAsk, Dynamic, DynamicDevice};
use crate::decide::inventory::{CapacitySource, GpuClass, Platform, Sharing};
use crate::estimate::{Bytes, Device};
use crate::facts::{gpus, runtime_memory};
use crate::spec::cel::{self, Expr, Value};
use crate::spec::gpu_labels;

const NANOS: i128 = 1_000_000_000;

/// Classes as the drivers' own charts define them, for inputs that hold no `DeviceClass`.
const KNOWN_CLASSES: &[(&str, &str)] = &[
    ("gpu.nvidia.com", "device.driver == 'gpu.nvidia.com' && device.attributes['gpu.nvidia.com'].type == 'gpu'"),
    ("mig.nvidia.com", "device.driver == 'gpu.nvidia.com' && device.attributes['gpu.nvidia.com'].type == 'mig'"),
    ("gpu.amd.com", "device.driver == 'gpu.amd.com'"),
    ("gpu.intel.com", "device.driver == 'gpu.intel.com'"),
];

/// The conditions of an ask, parsed once for all devices.
pub(super) struct Conditions {
    /// `None` where one is outside of what is understood.
    expressions: Vec<Option<Expr>>,
    tolerates: bool,
    /// The device class is not known.
    unknown_class: bool,
}

impl Conditions {
    pub(super) fn of(ask: &DeviceAsk, dynamic: &Dynamic) -> Self {
        let built_in = || KNOWN_CLASSES.iter().find(|(name, _)| *name == ask.class).map(|(_, cel)| *cel);
        let class: Option<Vec<&str>> = match dynamic.classes.get(&ask.class) {
            Some(class) => Some(class.selectors.iter().map(String::as_str).collect()),
            None => built_in().map(|cel| vec![cel]),
        };
        let unknown_class = class.is_none();
        let all = class.into_iter().flatten().chain(ask.selectors.iter().map(String::as_str));
        Self { expressions: all.map(cel::parse).collect(), tolerates: ask.tolerates, unknown_class }
    }

    /// Whether the device is selected; `None` where that cannot be told.
    pub(super) fn select(&self, device: &DynamicDevice) -> Option<bool> {
        if device.tainted && !self.tolerates {
            return Some(false);
        }
        let scope = BTreeMap::from([("device".to_owned(), value(device))]);
        let mut sure = !self.unknown_class;
        for expression in &self.expressions {
            match expression.as_ref().map(|expression| cel::evaluate(expression, &scope)) {
                Some(Value::Bool(false)) => return Some(false),
                Some(Value::Bool(true)) => {}
                _ => sure = false,
            }
        }
        sure.then_some(true)
    }
}

/// The variable `device` of selectors.
fn value(device: &DynamicDevice) -> Value {
    let mut attributes: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    // A driver's own domain exists even if it says nothing.
    attributes.entry(device.driver.clone()).or_default();
    let mut capacity = attributes.clone();
    let mut put = |name: &str, value: Value, of_capacity: bool| {
        let Some((domain, name)) = name.rsplit_once('/') else { return };
        let map = if of_capacity { &mut capacity } else { &mut attributes };
        map.entry(domain.to_owned()).or_default().insert(name.to_owned(), value);
    };
    for (name, attribute) in &device.attributes {
        let value = match attribute {
            Attribute::Text(text) => Value::Text(text.clone()),
            Attribute::Int(number) => Value::Int(*number),
            Attribute::Bool(truth) => Value::Bool(*truth),
            Attribute::Version(text) => cel::version(text),
            Attribute::Varies => Value::Unknown,
        };
        put(name, value, false);
    }
    for (name, amount) in &device.capacity {
        put(name, Value::Quantity(*amount), true);
    }
    let maps = |maps: BTreeMap<String, BTreeMap<String, Value>>| {
        Value::Map(maps.into_iter().map(|(domain, map)| (domain, Value::Map(map))).collect())
    };
    Value::Map(BTreeMap::from([
        ("driver".to_owned(), Value::Text(device.driver.clone())),
        ("allowMultipleAllocations".to_owned(), Value::Bool(device.multiple)),
        ("attributes".to_owned(), maps(attributes)),
        ("capacity".to_owned(), maps(capacity)),
    ]))
}

/// The class of a GPU; `None` for a device without memory of its own (a network card), the reason where it has some
/// that is not known.
pub(super) fn gpu(device: &DynamicDevice, ask: &DeviceAsk) -> Option<Result<GpuClass, String>> {
    let text = |name: &str| match device.attributes.get(&format!("{}/{name}", device.driver)) {
        Some(Attribute::Text(text) | Attribute::Version(text)) => Some(text.as_str()),
        _ => None,
    };
    let published = device.capacity.iter().find(|(name, _)| name.rsplit('/').next() == Some("memory"));
    let published = published.and_then(|(_, nanos)| u64::try_from(nanos / NANOS).ok()).filter(|bytes| *bytes > 0);
    let product = text("productName").or_else(|| text("model")).map(|name| name.replace(' ', "-"));
    let graphics =
        device.driver.starts_with("gpu.") || product.as_deref().is_some_and(|name| gpus::by_product(name).is_some());
    if !graphics {
        return None;
    }
    let cuda = device.driver.ends_with("nvidia.com");
    let row = product.as_deref().and_then(|name| gpus::by_product(name).or_else(|| gpus::within(name)));
    let profile = text("profile").filter(|profile| !profile.is_empty());
    let slice = profile.is_some() || text("type") == Some("mig");
    let board = product.clone().unwrap_or_else(|| "GPU".to_owned());
    let name = profile.map_or_else(|| board.clone(), |profile| format!("{board}-MIG-{profile}"));
    let whole = || row.and_then(|row| row.visible).map(|visible| (visible, visible));
    let catalogued = || profile.map_or_else(whole, |profile| gpu_labels::slice_bounds(Some(&board), profile));
    let (most, least) = match published.map(Bytes) {
        Some(bytes) => (bytes, bytes),
        None => match catalogued() {
            Some(bounds) => bounds,
            None => return Some(Err(format!("device {} of {} does not tell its memory", device.name, device.driver))),
        },
    };
    // Drivers publish what NVML says of a whole GPU; a slice's figure is already what the runtime sees.
    let seen = |bytes| if cuda && !slice { runtime_memory::visible(&name, bytes) } else { bytes };
    let (visible, assured) = (seen(most), seen(least));
    let capability =
        text("cudaComputeCapability").and_then(capability).or_else(|| row.and_then(|row| row.compute_capability));
    let device_seen = Device { product: name, visible, compute_capability: capability };
    let mut class = GpuClass::whole(device_seen, &ask.class, CapacitySource::DeviceSlice);
    class.platform = if cuda { Platform::Cuda } else { Platform::Other };
    class.assured = assured;
    if slice {
        class.sharing = Sharing::Mig;
    }
    if let Some(asked) = ask.memory.filter(|_| device.multiple) {
        class.assured = asked.min(visible);
        class.sharing = Sharing::Fraction;
    }
    Some(Ok(class))
}

fn capability(text: &str) -> Option<(u8, u8)> {
    let mut parts = text.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}
