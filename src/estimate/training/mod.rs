//! The trainers' own memory rules, composed of terms.

use super::{Device, Estimate, EstimateError, Workload};

/// Estimates a training workload.
///
/// # Errors
/// As [`super::estimate`].
pub fn estimate(workload: &Workload, device: &Device) -> Result<Estimate, EstimateError> {
    let _ = (workload, device);
    Err(EstimateError::Missing { field: "model", hint: "no trainer is implemented".to_owned() })
}
