//! The serving engines' own memory rules, composed of terms.

use super::{Device, Estimate, EstimateError, Workload};

/// Estimates an inference workload.
///
/// # Errors
/// As [`super::estimate`].
pub fn estimate(workload: &Workload, device: &Device) -> Result<Estimate, EstimateError> {
    let _ = (workload, device);
    Err(EstimateError::Missing { field: "model", hint: "no engine is implemented".to_owned() })
}
