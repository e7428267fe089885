//! The serving engines' own memory rules, composed of terms.

#[cfg(test)]
mod fixtures;
mod llamacpp;
mod ollama;
mod server;
mod sglang;
mod tgi;
mod trtllm;
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
        EngineName::Sglang => sglang::estimate(workload, model, device),
        EngineName::Tgi => tgi::estimate(workload, model, device),
        EngineName::Trtllm => trtllm::estimate(workload, model, device),
        EngineName::Llamacpp => llamacpp::estimate(workload, model, device),
        EngineName::Ollama => ollama::estimate(workload, model, device),
        EngineName::Generic => upfront::estimate(workload, model, device),
    }
}
