//! Extended resources that stand for GPUs.

use super::declaration::GpuRequest;
use super::pod::Container;
use crate::estimate::quantity::Quantity;

/// What a count of a resource means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuKind {
    /// Whole devices.
    Whole,
    /// Replicas of a shared device.
    Shared,
    /// Hardware partitions.
    Partition,
}

/// Resource names; one that ends in `*` matches by prefix.
pub const GPU_RESOURCES: &[(&str, GpuKind)] = &[
    ("nvidia.com/gpu", GpuKind::Whole),
    ("nvidia.com/gpu.shared", GpuKind::Shared),
    ("nvidia.com/mig-*", GpuKind::Partition),
    ("nvidia.com/pgpu", GpuKind::Whole),
    ("amd.com/gpu", GpuKind::Whole),
    ("habana.ai/gaudi", GpuKind::Whole),
    ("gpu.intel.com/i915", GpuKind::Whole),
    ("gpu.intel.com/xe", GpuKind::Whole),
    ("volcano.sh/vgpu-number", GpuKind::Shared),
    ("huawei.com/Ascend*", GpuKind::Whole),
];

/// What a resource name stands for, if it is a GPU.
#[must_use]
pub fn kind(resource: &str) -> Option<GpuKind> {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => resource.len() > prefix.len() && resource.starts_with(prefix),
        None => resource == pattern,
    };
    GPU_RESOURCES.iter().find(|(pattern, _)| matches(pattern)).map(|(_, kind)| *kind)
}

/// GPUs that a container asks for: its limits, else its requests. A count of zero, or one that cannot be read (the API
/// server has refused it), asks for none.
#[must_use]
pub fn request(container: &Container) -> Option<GpuRequest> {
    let resources = &container.resources;
    resources.limits.iter().chain(&resources.requests).find_map(|(resource, text)| {
        kind(resource)?;
        let count = u64::try_from(text.parse::<Quantity>().ok()?.value()).ok()?;
        (count > 0).then(|| GpuRequest { resource: resource.clone(), count })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(resources: &str) -> Container {
        serde_json::from_str(&format!(r#"{{"name":"c","resources":{resources}}}"#)).unwrap()
    }

    #[test]
    fn limits_decide_and_memory_shares_are_no_gpus() {
        let asked = |resources: &str| request(&container(resources)).map(|r| (r.resource, r.count));
        assert_eq!(asked(r#"{"limits":{"cpu":4,"nvidia.com/gpu":"2"}}"#), Some(("nvidia.com/gpu".into(), 2)));
        assert_eq!(asked(r#"{"limits":{"nvidia.com/mig-1g.10gb":1}}"#), Some(("nvidia.com/mig-1g.10gb".into(), 1)));
        assert_eq!(asked(r#"{"requests":{"amd.com/gpu":8}}"#), Some(("amd.com/gpu".into(), 8)));
        assert_eq!(
            asked(r#"{"limits":{"nvidia.com/gpumem":3000,"nvidia.com/gpu":1}}"#),
            Some(("nvidia.com/gpu".into(), 1))
        );
        assert_eq!(asked(r#"{"limits":{"nvidia.com/gpu":0}}"#), None);
        assert_eq!(asked(r#"{"limits":{"nvidia.com/gpu":"many"}}"#), None);
        assert_eq!(asked(r#"{"limits":{"memory":"8Gi"}}"#), None);
        assert_eq!(asked("{}"), None);
    }
}
