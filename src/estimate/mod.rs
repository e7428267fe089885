//! The core engine: how much GPU memory a workload needs on its worst rank.
//!
//! Pure and total: no I/O, clock, environment, async or Kubernetes type (`tests/repo` enforces it).

#![deny(clippy::disallowed_methods, reason = "pure: see clippy.toml")]

pub mod constants;
pub mod dtype;
pub mod explain;
mod fallback;
pub mod interval;
pub mod measured;
pub mod memory;
pub mod model;
pub mod parallel;
pub mod quantity;
pub mod refusal;
pub mod serving;
pub mod training;
pub mod units;
pub mod workload;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use interval::{Interval, Provenance};
pub use refusal::Refusal;
pub use units::Bytes;
pub use workload::Workload;

use workload::{Method, ModelFacts, Task};

/// The device that an estimate is made for: defaults and budgets depend on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Product as labels name it, e.g. `NVIDIA-A100-SXM4-80GB`; only compared by engine rules that name products.
    pub product: String,
    /// Total memory that the runtime sees on one device (NVML total, not the nameplate).
    pub visible: Bytes,
    /// Major and minor compute capability, where known.
    pub compute_capability: Option<(u8, u8)>,
}

/// Names one addend of an estimate. Stable: part of the machine interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TermName {
    /// Model parameters on the rank.
    Weights,
    /// Cache of keys and values (or latents) for the declared requests.
    KvCache,
    /// Recurrent states of linear attention and Mamba layers.
    State,
    /// Tensors kept for backward, or live during a forward pass.
    Activations,
    /// Logits, loss and sampler buffers.
    Logits,
    /// Gradients.
    Gradients,
    /// Optimizer states and master weights.
    Optimizer,
    /// Temporaries of the optimizer step or of unsharding.
    Transient,
    /// Adapter slots or trainable adapters.
    Adapters,
    /// Communication buffers (NCCL, all-reduce workspaces).
    Comm,
    /// CUDA context, libraries and kernels.
    Runtime,
    /// Captured CUDA graphs.
    CudaGraphs,
    /// What the allocator holds but cannot use.
    Fragmentation,
    /// Everything together, measured instead of estimated.
    Measured,
}

impl TermName {
    /// All terms, in the order in which they are stacked.
    pub const ALL: [Self; 13] = [
        Self::Weights,
        Self::Adapters,
        Self::KvCache,
        Self::State,
        Self::Optimizer,
        Self::Gradients,
        Self::Activations,
        Self::Logits,
        Self::Transient,
        Self::Comm,
        Self::Runtime,
        Self::CudaGraphs,
        Self::Fragmentation,
    ];
}

/// One addend: the terms of a quantity sum to it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Term {
    /// Which addend.
    pub name: TermName,
    /// How much, per GPU of the worst rank.
    #[serde(flatten)]
    pub bytes: Interval,
    /// The formula with the numbers in it.
    pub formula: String,
    /// How it is known.
    pub provenance: Provenance,
}

/// The three questions that people mix up, for one GPU of the worst rank.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct PerGpu {
    /// To start and serve one longest request; for training and engines that allocate up front, everything.
    pub required: Interval,
    /// At the declared concurrency.
    pub wanted: Interval,
    /// What the engine takes and nvidia-smi will show.
    pub reserved: Interval,
}

/// Serving figures that can be held against the engine's own log. Per GPU of the worst rank.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServingDetail {
    /// Weights.
    pub weights_bytes: Bytes,
    /// Everything of the engine's budget that is not KV cache, weights included.
    pub non_kv_bytes: Bytes,
    /// The KV pool that the engine will have; zero if nothing is left.
    pub kv_pool_bytes: Bytes,
    /// Cache per token of context, all layers of the rank.
    pub kv_bytes_per_token: Bytes,
    /// Tokens that the pool holds.
    pub kv_tokens: u64,
    /// Longest context of which one request fits.
    pub max_context: u64,
    /// Lines that the engine will print.
    pub expected_log: Vec<String>,
}

/// Training figures. Per GPU of the worst rank.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrainingDetail {
    /// Parameters, in their working precision.
    pub parameters_bytes: Bytes,
    /// Gradients.
    pub gradients_bytes: Bytes,
    /// Optimizer states and master weights.
    pub optimizer_bytes: Bytes,
    /// Activations kept for backward, at their peak.
    pub activations_bytes: Bytes,
    /// Peak of what the caching allocator hands out (`torch.cuda.max_memory_allocated`).
    pub peak_allocated_bytes: Bytes,
    /// Which phase of a step has the peak: `forward`, `backward` or `optimizer`.
    pub peak_phase: &'static str,
}

/// What a workload needs on one GPU of its worst rank, for one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Needed, wanted and reserved.
    pub per_gpu: PerGpu,
    /// The share of the device that the engine may plan with; a fit compares `required` with this.
    pub usable: Bytes,
    /// The addends of `required`, largest first.
    pub terms: Vec<Term>,
    /// For inference.
    pub serving: Option<ServingDetail>,
    /// For training.
    pub training: Option<TrainingDetail>,
    /// Which rank was the worst, e.g. `pipeline stage 4 of 4`; empty when all are equal.
    pub worst_rank: String,
    /// Surely refused at start-up, whatever the bytes.
    pub refusals: Vec<Refusal>,
    /// What was assumed and what else is worth knowing, one sentence each.
    pub notes: Vec<String>,
    /// GPUs of the whole replica.
    pub gpus: u64,
}

/// The workload contradicts itself or cannot be estimated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EstimateError {
    /// A value that no run can have.
    #[error("{field}: {reason}")]
    Invalid {
        /// Annotation field, e.g. `batchSize`.
        field: &'static str,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// The model cannot be divided this way.
    #[error("{0}")]
    Parallelism(String),
    /// The model cannot be divided this way, for a reason with a code.
    #[error("{}", .0.message)]
    Undivided(Refusal),
    /// A fact is missing without which any number would be a guess.
    #[error("{field} is not known: {hint}")]
    Missing {
        /// Annotation field, e.g. `contextLength`.
        field: &'static str,
        /// What to add.
        hint: String,
    },
}

/// What the workload needs on one GPU of its worst rank.
///
/// # Errors
/// When a value is impossible, parallelism does not divide the model, or a needed fact is missing.
pub fn estimate(workload: &Workload, device: &Device) -> Result<Estimate, EstimateError> {
    let _ = positive("batchSize", workload.batch_size)?;
    let _ = positive("contextLength", workload.context_length)?;
    if let Some(fraction) = workload.engine.memory_fraction
        && !(fraction > 0.0 && fraction <= 1.0)
    {
        let reason = format!("must be above 0 and at most 1, not {fraction}");
        return Err(EstimateError::Invalid { field: "engine.memoryFraction", reason });
    }
    let estimate = match (&workload.model, workload.method, workload.task) {
        (_, Method::Reference, _) | (ModelFacts::Shape(_), _, _) => fallback::estimate(workload, device),
        (ModelFacts::Known(model), _, task) => {
            parallel::check(model, &workload.parallelism)?;
            match task {
                Task::Inference => serving::estimate(workload, model, device),
                Task::Training => training::estimate(workload, device),
            }
        }
    };
    estimate.map(|mut estimate| {
        if let (ModelFacts::Known(model), Method::Auto) = (&workload.model, workload.method) {
            measured::apply(workload, model, &mut estimate);
        }
        estimate.terms.sort_by_key(|term| std::cmp::Reverse(term.bytes.likely));
        estimate
    })
}

/// Refuses zero and numbers that no run can have (2^40 sequences or tokens).
fn positive(field: &'static str, value: Option<u64>) -> Result<Option<u64>, EstimateError> {
    const MOST: u64 = 1 << 40;
    match value {
        Some(0) => Err(EstimateError::Invalid { field, reason: "must be at least 1, not 0".to_owned() }),
        Some(n) if n > MOST => Err(EstimateError::Invalid { field, reason: format!("must be at most 2^40, not {n}") }),
        other => Ok(other),
    }
}

/// A model of the catalogue, for tests.
#[cfg(test)]
pub(crate) fn catalogued(name: &str) -> std::sync::Arc<model::Model> {
    crate::facts::catalog::Catalog::embedded().find(name).unwrap()
}
