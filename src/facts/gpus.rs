//! GPUs by product and instance type.

use crate::estimate::Bytes;

/// A catalogue row.
pub struct Gpu {
    /// Product.
    pub product: &'static str,
    /// Memory.
    pub visible: Option<Bytes>,
    /// Capability.
    pub compute_capability: Option<(u8, u8)>,
}

/// An instance type.
pub struct Instance {
    /// Product.
    pub product: &'static str,
    /// Memory.
    pub visible: Option<Bytes>,
    /// Capability.
    pub compute_capability: Option<(u8, u8)>,
    /// Resource.
    pub resource: &'static str,
    /// Count.
    pub count: u64,
}

/// By product.
#[must_use]
pub fn by_product(_name: &str) -> Option<Gpu> {
    None
}

/// By instance type.
#[must_use]
pub fn by_instance_type(_name: &str) -> Option<Instance> {
    None
}
