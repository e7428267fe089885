//! The serving engines' own memory rules, composed of terms.

#[cfg(test)]
pub(in crate::estimate) mod fixtures;
pub(in crate::estimate) mod llamacpp;
mod ollama;
pub(in crate::estimate) mod server;
pub(in crate::estimate) mod sglang;
mod startup;
pub(in crate::estimate) mod tgi;
pub(in crate::estimate) mod trtllm;
mod upfront;
pub mod vllm;

use super::model::{Model, TensorKind};
use super::workload::EngineName;
use super::{Device, Estimate, EstimateError, Workload};

/// Estimates an inference workload.
///
/// # Errors
/// As [`super::estimate`].
pub fn estimate(workload: &Workload, model: &Model, device: &Device) -> Result<Estimate, EstimateError> {
    let text = workload.engine.text_only.then(|| without_towers(model));
    let model = text.as_ref().unwrap_or(model);
    let mut estimate = by_engine(workload, model, device)?;
    estimate.refusals.extend(startup::refusals(workload, model, device));
    Ok(estimate)
}

fn by_engine(workload: &Workload, model: &Model, device: &Device) -> Result<Estimate, EstimateError> {
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

/// The model without the towers that only media pass through.
fn without_towers(model: &Model) -> Model {
    let mut model = model.clone();
    model.outer.retain(|tensor| tensor.kind != TensorKind::Tower);
    model
}

#[cfg(test)]
mod tests {
    use super::fixtures::{self, Shape};
    use super::*;
    use crate::estimate::model::{Attention, LinearState};
    use crate::estimate::{Bytes, Interval, TermName};

    const ENGINES: [EngineName; 7] = [
        EngineName::Vllm,
        EngineName::Sglang,
        EngineName::Tgi,
        EngineName::Trtllm,
        EngineName::Llamacpp,
        EngineName::Ollama,
        EngineName::Generic,
    ];

    fn run(workload: &Workload, device: &Device) -> Estimate {
        crate::estimate::estimate(workload, device).unwrap()
    }

    fn hybrid(shape: &Shape) -> Model {
        let heads = shape.attention();
        let state = LinearState {
            conv_channels: 8192,
            conv_kernel: 4,
            recurrent: 32 * 128 * 128,
            heads: 32,
            groups: 16,
            fp32_state: true,
        };
        let attentions = [Attention::Full(heads), Attention::Sliding { heads, window: 1024 }, Attention::Linear(state)];
        fixtures::model(shape, attentions.map(|attention| fixtures::layers(shape, 8, attention)).to_vec())
    }

    fn each(check: impl Fn(&str, Workload, Device)) {
        for engine in ENGINES {
            for model in [fixtures::dense(&Shape::LLAMA_8B), hybrid(&Shape::LLAMA_8B)] {
                let (mut workload, device) = fixtures::on(engine, model, 79.15);
                workload.context_length = Some(8192);
                check(engine.name(), workload, device);
            }
        }
    }

    #[test]
    fn terms_sum_to_what_is_required_and_bounds_are_ordered() {
        each(|engine, workload, device| {
            let estimate = run(&workload, &device);
            let sum: Interval = estimate.terms.iter().map(|term| term.bytes).sum();
            if workload.engine.kv_cache_memory.is_none() {
                assert_eq!(sum, estimate.per_gpu.required, "{engine}");
            }
            let per_gpu = estimate.per_gpu;
            for interval in [per_gpu.required, per_gpu.wanted, per_gpu.reserved] {
                assert!(interval.low <= interval.likely && interval.likely <= interval.high, "{engine}: {per_gpu:?}");
            }
            assert!(per_gpu.wanted.likely >= per_gpu.required.likely, "{engine}: {per_gpu:?}");
        });
    }

    #[test]
    fn more_context_or_sequences_never_need_less() {
        each(|engine, workload, device| {
            let short = run(&workload, &device).per_gpu;
            let longer = Workload { context_length: Some(32_768), ..workload.clone() };
            let more = Workload { batch_size: Some(8), ..workload };
            for (what, other) in [("context", longer), ("sequences", more)] {
                let other = run(&other, &device).per_gpu;
                for (few, many) in [(short.required, other.required), (short.wanted, other.wanted)] {
                    let grows = few.low <= many.low && few.likely <= many.likely && few.high <= many.high;
                    assert!(grows, "{engine}, {what}: {few:?} {many:?}");
                }
            }
        });
    }

    #[test]
    fn more_ranks_never_hold_more_weights() {
        each(|engine, workload, device| {
            let weights = |tensor: u64| {
                let mut workload = workload.clone();
                workload.parallelism.tensor = tensor;
                let estimate = run(&workload, &device);
                estimate.terms.iter().find(|term| term.name == TermName::Weights).unwrap().bytes.likely
            };
            assert!(weights(2) < weights(1) && weights(4) < weights(2), "{engine}");
        });
    }

    #[test]
    fn absurd_sizes_saturate() {
        let huge = Shape { hidden: 1 << 20, layers: 1 << 20, intermediate: 1 << 22, ..Shape::LLAMA_8B };
        for engine in ENGINES {
            let (mut workload, device) = fixtures::on(engine, fixtures::dense(&huge), 79.15);
            workload.context_length = Some(1 << 40);
            workload.batch_size = Some(1 << 40);
            let required = run(&workload, &device).per_gpu.required;
            assert!(required.likely > Bytes::from_gib(1e6), "{}", engine.name());
        }
    }
}
