//! Extended resources that stand for accelerators, and how a pod asks for a share of one.

use super::declaration::GpuRequest;
use super::pod::{Container, PodTemplate};
use crate::estimate::Bytes;
use crate::estimate::quantity::Quantity;

/// NVIDIA's devices, whole or shared without renaming.
pub const NVIDIA: &str = "nvidia.com/gpu";
/// Volcano's shares of NVIDIA devices.
pub const VOLCANO: &str = "volcano.sh/vgpu-number";

/// Resource names; one that ends in `*` matches by prefix.
pub const GPU_RESOURCES: &[&str] = &[
    NVIDIA,
    "nvidia.com/gpu.shared",
    "nvidia.com/mig-*",
    "nvidia.com/pgpu",
    VOLCANO,
    "amd.com/gpu",
    "amd.com/spx_*",
    "amd.com/dpx_*",
    "amd.com/tpx_*",
    "amd.com/qpx_*",
    "amd.com/cpx_*",
    "gpu.intel.com/i915",
    "gpu.intel.com/xe",
    "habana.ai/gaudi",
    "google.com/tpu",
    "aws.amazon.com/neuron",
    "aws.amazon.com/neuroncore",
    "aws.amazon.com/neurondevice",
    "huawei.com/Ascend*",
];

/// Whether a resource name stands for accelerators with memory of their own.
#[must_use]
pub fn is_gpu(resource: &str) -> bool {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => resource.len() > prefix.len() && resource.starts_with(prefix),
        None => resource == pattern,
    };
    // Ascend's memory is a resource beside its devices.
    !resource.ends_with("-memory") && GPU_RESOURCES.iter().any(|pattern| matches(pattern))
}

/// The part of each device that a pod asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// How much.
    pub amount: Amount,
    /// The runtime holds the pod to it; otherwise it is a promise among neighbours.
    pub enforced: bool,
}

/// An amount of one device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// Bytes.
    Memory(Bytes),
    /// Millionths of the device.
    Millionths(u64),
}

impl Amount {
    /// In bytes, of a device with so much memory.
    #[must_use]
    pub fn of(self, visible: Bytes) -> Bytes {
        match self {
            Self::Memory(bytes) => bytes,
            Self::Millionths(part) => visible.scale(part as f64 / 1e6),
        }
    }
}

const fn mebibytes(n: u64) -> Amount {
    Amount::Memory(Bytes::from_mib(n))
}

const fn percent(n: u64) -> Amount {
    Amount::Millionths(n.saturating_mul(10_000))
}

/// Resources that limit the share of a device: name, the resource that counts the devices, unit.
type ShareResource = (&'static str, &'static str, fn(u64) -> Amount);

/// HAMi's and Volcano's; both enforce the limit inside the container.
const SHARES: &[ShareResource] = &[
    ("nvidia.com/gpumem", NVIDIA, mebibytes),
    ("nvidia.com/gpumem-percentage", NVIDIA, percent),
    ("volcano.sh/vgpu-memory", VOLCANO, mebibytes),
    ("volcano.sh/vgpu-memory-percentage", VOLCANO, percent),
];

/// KAI's annotations of pods: MiB, a fraction of a device, devices, and which container they are for.
const KAI_MEMORY: &str = "gpu-memory";
const KAI_FRACTION: &str = "gpu-fraction";
const KAI_DEVICES: &str = "gpu-fraction-num-devices";
const KAI_CONTAINER: &str = "gpu-fraction-container-name";

/// Annotations that [`request`] reads.
pub const ANNOTATIONS: [&str; 4] = [KAI_MEMORY, KAI_FRACTION, KAI_DEVICES, KAI_CONTAINER];

/// GPUs that a container asks for: its limits, else its requests, else the pod's annotations. A count of zero, or one
/// that cannot be read (the API server has refused it), asks for none.
#[must_use]
pub fn request(pod: &PodTemplate, container: &Container) -> Option<GpuRequest> {
    of_resources(container).or_else(|| of_annotations(pod, container))
}

fn of_resources(container: &Container) -> Option<GpuRequest> {
    let resources = &container.resources;
    let all = || resources.limits.iter().chain(&resources.requests);
    let count = |name: &str| all().filter(|(resource, _)| *resource == name).find_map(|(_, text)| count(text));
    let limited = SHARES.iter().find_map(|(name, of, unit)| Some((*of, unit(count(name)?))));
    let devices =
        all().filter(|(resource, _)| is_gpu(resource)).find_map(|(name, text)| Some((name, self::count(text)?)));
    let (resource, count) = match (devices, limited) {
        (Some((resource, count)), _) => (resource.clone(), count),
        // A share without a count is of one device.
        (None, Some((of, _))) => (of.to_owned(), 1),
        (None, None) => return None,
    };
    let share = limited.filter(|(of, _)| *of == resource).map(|(_, amount)| Share { amount, enforced: true });
    Some(GpuRequest { share, ..GpuRequest::new(&resource, count) })
}

/// A positive count.
fn count(text: &str) -> Option<u64> {
    u64::try_from(text.parse::<Quantity>().ok()?.value()).ok().filter(|count| *count > 0)
}

/// A fraction asks for no resource: the scheduler finds the device.
fn of_annotations(pod: &PodTemplate, container: &Container) -> Option<GpuRequest> {
    let read = |key: &str| pod.annotations.get(key).map(|text| text.trim());
    let whose = read(KAI_CONTAINER).or_else(|| pod.spec.containers.first().map(|first| first.name.as_str()));
    if whose != Some(container.name.as_str()) {
        return None;
    }
    let memory = read(KAI_MEMORY).and_then(|text| text.parse().ok()).filter(|mib| *mib > 0).map(mebibytes);
    let fraction = || {
        let part: f64 = read(KAI_FRACTION)?.parse().ok()?;
        (part > 0.0 && part <= 1.0).then_some(Amount::Millionths((part * 1e6) as u64))
    };
    let share = Share { amount: memory.or_else(fraction)?, enforced: false };
    let devices = read(KAI_DEVICES).and_then(|text| text.parse().ok()).filter(|n| *n > 0).unwrap_or(1);
    Some(GpuRequest { share: Some(share), ..GpuRequest::new(NVIDIA, devices) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(resources: &str) -> Option<(String, u64, Option<Share>)> {
        let pod = format!(r#"{{"spec":{{"containers":[{{"name":"c","resources":{resources}}}]}}}}"#);
        let pod: PodTemplate = serde_json::from_str(&pod).unwrap();
        request(&pod, &pod.spec.containers[0]).map(|r| (r.resource, r.count, r.share))
    }

    #[test]
    fn limits_decide() {
        let whole = |resource: &str, count| Some((resource.to_owned(), count, None));
        assert_eq!(asked(r#"{"limits":{"cpu":4,"nvidia.com/gpu":"2"}}"#), whole("nvidia.com/gpu", 2));
        assert_eq!(asked(r#"{"limits":{"nvidia.com/mig-1g.10gb":1}}"#), whole("nvidia.com/mig-1g.10gb", 1));
        assert_eq!(asked(r#"{"requests":{"amd.com/gpu":8}}"#), whole("amd.com/gpu", 8));
        assert_eq!(asked(r#"{"limits":{"amd.com/cpx_nps4":1}}"#), whole("amd.com/cpx_nps4", 1));
        assert_eq!(asked(r#"{"limits":{"google.com/tpu":4}}"#), whole("google.com/tpu", 4));
        for none in [
            r#"{"limits":{"nvidia.com/gpu":0}}"#,
            r#"{"limits":{"nvidia.com/gpu":"many"}}"#,
            r#"{"limits":{"memory":"8Gi"}}"#,
            r#"{"limits":{"huawei.com/Ascend910B3-memory":8}}"#,
            "{}",
        ] {
            assert_eq!(asked(none), None, "{none}");
        }
    }

    #[test]
    fn a_memory_limit_is_the_share_of_each_device() {
        let share = |amount| Some(Share { amount, enforced: true });
        let memory = share(Amount::Memory(Bytes::from_mib(3000)));
        let nvidia = "nvidia.com/gpu".to_owned();
        let two = r#"{"limits":{"nvidia.com/gpumem":3000,"nvidia.com/gpu":2}}"#;
        assert_eq!(asked(two), Some((nvidia.clone(), 2, memory)));
        assert_eq!(asked(r#"{"limits":{"nvidia.com/gpumem":"3k"}}"#), Some((nvidia.clone(), 1, memory)));
        let half = share(Amount::Millionths(500_000));
        let percentage = r#"{"limits":{"nvidia.com/gpu":1,"nvidia.com/gpumem-percentage":50}}"#;
        assert_eq!(asked(percentage), Some((nvidia, 1, half)));
        let volcano = r#"{"limits":{"volcano.sh/vgpu-number":1,"volcano.sh/vgpu-memory":3000}}"#;
        assert_eq!(asked(volcano), Some(("volcano.sh/vgpu-number".to_owned(), 1, memory)));
    }

    #[test]
    fn annotations_ask_for_a_fraction_of_a_device() {
        let ask = |annotations: &str, container: usize| {
            let pod = format!(
                r#"{{"metadata":{{"annotations":{annotations}}},"spec":{{"containers":[{{"name":"a"}},{{"name":"b"}}]}}}}"#
            );
            let pod: PodTemplate = serde_json::from_str(&pod).unwrap();
            request(&pod, &pod.spec.containers[container]).map(|r| (r.count, r.share.unwrap()))
        };
        let half = Share { amount: Amount::Millionths(500_000), enforced: false };
        assert_eq!(ask(r#"{"gpu-fraction":"0.5"}"#, 0), Some((1, half)));
        assert_eq!(ask(r#"{"gpu-fraction":"0.5"}"#, 1), None);
        assert_eq!(ask(r#"{"gpu-fraction":"0.5","gpu-fraction-container-name":"b"}"#, 1), Some((1, half)));
        assert_eq!(ask(r#"{"gpu-fraction":"0.5","gpu-fraction-num-devices":"2"}"#, 0), Some((2, half)));
        let memory = Share { amount: Amount::Memory(Bytes::from_mib(4096)), enforced: false };
        assert_eq!(ask(r#"{"gpu-memory":"4096"}"#, 0), Some((1, memory)));
        for wrong in [r#"{"gpu-memory":"4Gi"}"#, r#"{"gpu-fraction":"2"}"#, r#"{"gpu-fraction":"NaN"}"#] {
            assert_eq!(ask(wrong, 0), None, "{wrong}");
        }
    }
}
