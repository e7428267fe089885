//! The serving engines' own memory rules, composed of terms.

use super::model::Model;
use super::{Device, Estimate, EstimateError, Workload};

/// Estimates an inference workload.
///
/// # Errors
/// As [`super::estimate`].
pub fn estimate(workload: &Workload, model: &Model, device: &Device) -> Result<Estimate, EstimateError> {
    let _ = (workload, model, device);
    Err(EstimateError::Missing { field: "model", hint: "no engine is implemented".to_owned() })
}
