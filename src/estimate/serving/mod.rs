//! The serving engines' own memory rules, composed of terms.

mod upfront;
pub mod vllm;

use super::model::Model;
use super::workload::EngineName;
use super::{Device, Estimate, EstimateError, Workload};

/// Estimates an inference workload.
///
/// # Errors
/// As [`super::estimate`].
pub fn estimate(workload: &Workload, model: &Model, device: &Device) -> Result<Estimate, EstimateError> {
    match workload.engine.name {
        EngineName::Vllm => vllm::estimate(workload, model, device),
        _ => upfront::estimate(workload, model, device),
    }
}
