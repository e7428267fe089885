//! Ollama: llama.cpp's arithmetic, but a model that does not fit is put on the GPU in part and never fails.

use super::llamacpp::{self, Setup};
use crate::estimate::model::Model;
use crate::estimate::units::Bytes;
use crate::estimate::workload::{Version, Workload};
use crate::estimate::{Device, Estimate, EstimateError};

/// Context where none is given, by version: oldest first.
const CONTEXTS: [(Version, u64); 2] = [(Version([0, 0, 0]), 2048), (Version([0, 5, 13]), 4096)];

/// Estimates an Ollama server with one model loaded.
///
/// # Errors
/// When there are more GPUs than layers.
pub(super) fn estimate(workload: &Workload, model: &Model, device: &Device) -> Result<Estimate, EstimateError> {
    let engine = &workload.engine;
    let default = CONTEXTS.iter().rev().find(|(since, _)| engine.version.is_none_or(|version| *since <= version));
    let default = default.map_or(4096, |(_, tokens)| *tokens).min(model.max_position_embeddings.unwrap_or(u64::MAX));
    let context = workload.context_length.unwrap_or(default);
    let slots = engine.parallel_slots.or(workload.batch_size).unwrap_or(1);
    // Every parallel request has the whole context.
    let setup = Setup {
        context: context.saturating_mul(slots),
        least_context: 0,
        slots: (slots, slots),
        layers_may_shrink: true,
        margin: Bytes::ZERO,
    };
    let mut estimate = llamacpp::evaluate(workload, model, device, setup)?;
    estimate.refusals.clear();
    estimate.notes = notes(workload, &estimate, context);
    if let Some(serving) = &mut estimate.serving {
        serving.expected_log.clear();
    }
    Ok(estimate)
}

fn notes(workload: &Workload, estimate: &Estimate, context: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if estimate.per_gpu.required.high > estimate.usable {
        notes.push("what does not fit on the GPU stays on the CPU: Ollama runs the model, but slower".to_owned());
    }
    if workload.context_length.is_none() {
        notes.push(format!(
            "OLLAMA_CONTEXT_LENGTH is not given: {context} tokens are assumed; recent versions raise it with GPU memory"
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use crate::estimate::serving::fixtures::{self, Shape};
    use crate::estimate::units::Bytes;
    use crate::estimate::workload::EngineName;

    #[test]
    fn never_denied_and_every_request_has_its_context() {
        let (mut workload, device) = fixtures::on(EngineName::Ollama, fixtures::dense(&Shape::LLAMA_8B), 7.6);
        workload.context_length = Some(8192);
        workload.engine.parallel_slots = Some(4);
        let estimate = crate::estimate::estimate(&workload, &device).unwrap();
        assert!(estimate.per_gpu.required.low < Bytes::from_gib(1.0));
        assert!(estimate.per_gpu.required.likely > device.visible);
        assert!(estimate.refusals.is_empty());
        assert!(estimate.notes[0].contains("CPU"));
        assert_eq!(estimate.serving.unwrap().kv_pool_bytes, Bytes::from_gib(4.0));
    }
}
