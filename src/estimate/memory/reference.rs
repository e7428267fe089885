//! The reference formula: `--method reference`, and the fallback when only a parameter count and a shape are known.
//!
//! ```text
//! training  = P × (weight + gradient + optimizer bytes) + batch × seq × layers × hidden × bytes × 7.0
//! inference = P × weight bytes + layers × batch × heads × seq × head_dim × kv bytes × 2
//! ```
//!
//! `batch` is that of the whole replica: activations are divided by every degree of parallelism.

use crate::estimate::dtype::DType;
use crate::estimate::interval::{Interval, Provenance};
use crate::estimate::model::{Attention, Model};
use crate::estimate::units::Bytes;
use crate::estimate::workload::{ModelFacts, Optimizer, Precision, Shape, Sharding, Task, Workload};
use crate::estimate::{EstimateError, Term, TermName};

/// Activation bytes per token, layer and hidden unit, in units of the number format's width.
pub const ACTIVATION_SCALE: f64 = 7.0;

/// The formula's addends for one GPU, each exact under the formula.
#[derive(Debug, Clone, PartialEq)]
pub struct Addends {
    /// Weights.
    pub weights: f64,
    /// Gradients; 0 for inference.
    pub gradients: f64,
    /// Optimizer states; 0 for inference.
    pub optimizer: f64,
    /// Activations; 0 for inference.
    pub activations: f64,
    /// KV cache of one sequence; 0 for training.
    pub kv_sequence: f64,
    /// Sequences or micro-batch.
    pub batch: u64,
    /// Tokens.
    pub tokens: u64,
    /// The shape was guessed from the parameter count.
    pub guessed: bool,
    formulas: [String; 3],
}

/// Layers, width and heads that decoders of this size usually have: width is about 128 times the depth.
#[must_use]
pub fn typical_shape(parameters: f64) -> (u64, u64) {
    let layers = (parameters.max(1.0) / (12.0 * 128.0 * 128.0)).cbrt().round().clamp(1.0, 1e5);
    (layers as u64, layers as u64 * 128)
}

/// The shape that the formula uses of a known model.
#[must_use]
pub fn shape_of(model: &Model) -> Shape {
    let heads = model.layers.iter().find_map(|group| match group.attention {
        Attention::Full(heads) | Attention::Sliding { heads, .. } | Attention::Chunked { heads, .. } => Some(heads),
        _ => None,
    });
    Shape {
        parameters: model.parameters() as f64,
        layers: Some(model.layer_count()),
        hidden_size: Some(model.hidden_size),
        heads: heads.map(|heads| heads.kv_heads),
        head_dim: heads.map(|heads| heads.key_dim),
    }
}

/// Evaluates the formula for one GPU.
///
/// # Errors
/// When batch or context is missing or zero, or the parameter count is not a positive number.
pub fn evaluate(workload: &Workload) -> Result<Addends, EstimateError> {
    let shape = match &workload.model {
        ModelFacts::Known(model) => shape_of(model),
        ModelFacts::Shape(shape) => *shape,
    };
    if !(shape.parameters.is_finite() && shape.parameters >= 1.0) {
        return Err(EstimateError::Invalid {
            field: "parameters",
            reason: format!("must be a positive number, not {}", shape.parameters),
        });
    }
    let batch = workload.batch_size.unwrap_or(1);
    let tokens = super::super::positive("contextLength", workload.context_length)?.ok_or(EstimateError::Missing {
        field: "contextLength",
        hint: "add the longest context in tokens, e.g. `vramguard.io/context-length: \"4096\"`".to_owned(),
    })?;
    let _ = super::super::positive("batchSize", Some(batch))?;
    let (typical_layers, typical_hidden) = typical_shape(shape.parameters);
    let layers = shape.layers.unwrap_or(typical_layers);
    let hidden = shape.hidden_size.unwrap_or(typical_hidden);
    let head_width = match (shape.heads, shape.head_dim) {
        (Some(heads), Some(dim)) => heads as f64 * dim as f64,
        _ => hidden as f64,
    };
    let guessed = shape.layers.is_none() || shape.hidden_size.is_none();
    let dims = Dimensions { parameters: shape.parameters, layers, hidden, head_width, batch, tokens };
    Ok(match workload.task {
        Task::Training => training(workload, &dims, guessed),
        Task::Inference => inference(workload, &dims, guessed),
    })
}

struct Dimensions {
    parameters: f64,
    layers: u64,
    hidden: u64,
    head_width: f64,
    batch: u64,
    tokens: u64,
}

/// Weight, gradient and optimizer bytes per parameter.
fn bytes_per_parameter(workload: &Workload) -> (f64, f64, f64) {
    let (weight, gradient, master, state) = match workload.training.precision {
        Some(Precision::Fp32) => (4.0, 4.0, 0.0, 4.0),
        Some(Precision::Bf16) => (2.0, 2.0, 0.0, 2.0),
        _ => (2.0, 2.0, 4.0, 4.0),
    };
    let states = match workload.training.optimizer {
        None | Some(Optimizer::AdamW | Optimizer::PagedAdamW) => 2.0 * state,
        Some(Optimizer::AdamW8bit | Optimizer::PagedAdamW8bit) => 2.0,
        Some(Optimizer::Lion | Optimizer::SgdMomentum | Optimizer::Muon) => state,
        Some(Optimizer::Lion8bit | Optimizer::AdamW4bit) => 1.0,
        Some(Optimizer::AdEmaMix) => 3.0 * state,
        Some(Optimizer::Adafactor | Optimizer::Sgd) => 0.0,
    };
    (weight, gradient, master + states)
}

fn training(workload: &Workload, dims: &Dimensions, guessed: bool) -> Addends {
    let (weight, gradient, optimizer) = bytes_per_parameter(workload);
    let split = &workload.parallelism;
    let model_ranks = split.tensor as f64 * split.pipeline as f64;
    let data = split.data as f64;
    let (w, g, o) = match workload.training.sharding.unwrap_or(Sharding::None) {
        Sharding::None | Sharding::Ddp => (1.0, 1.0, 1.0),
        Sharding::Zero1 | Sharding::Megatron => (1.0, 1.0, data),
        Sharding::Zero2 => (1.0, data, data),
        Sharding::Zero3 | Sharding::Fsdp | Sharding::Hsdp => (data, data, data),
    };
    let width = weight.min(4.0);
    let tokens = dims.batch as f64 * dims.tokens as f64;
    let ranks = model_ranks * data * split.context as f64;
    Addends {
        weights: dims.parameters * weight / model_ranks / w,
        gradients: dims.parameters * gradient / model_ranks / g,
        optimizer: dims.parameters * optimizer / model_ranks / o,
        activations: tokens * dims.layers as f64 * dims.hidden as f64 * width * ACTIVATION_SCALE / ranks,
        kv_sequence: 0.0,
        batch: dims.batch,
        tokens: dims.tokens,
        guessed,
        formulas: [
            format!("{:.4e} parameters × {weight} B / {}", dims.parameters, model_ranks * w),
            format!("{:.4e} parameters × ({gradient} B gradients, {optimizer} B states) / ranks", dims.parameters),
            format!(
                "{} × {} tokens × {} layers × {} hidden × {width} B × {ACTIVATION_SCALE} / {ranks}",
                dims.batch, dims.tokens, dims.layers, dims.hidden
            ),
        ],
    }
}

fn inference(workload: &Workload, dims: &Dimensions, guessed: bool) -> Addends {
    let stored = match &workload.model {
        ModelFacts::Known(model) => Some(model.dtype),
        ModelFacts::Shape(_) => None,
    };
    let width = workload.dtype.or(stored).unwrap_or(DType::Bf16).bytes();
    let weight = workload.quantization.as_ref().map_or(width, |quantization| quantization.bits / 8.0);
    let kv = workload.kv_cache_dtype.map_or_else(|| width.max(1.0), DType::bytes);
    let ranks = (workload.parallelism.tensor as f64) * (workload.parallelism.pipeline as f64);
    Addends {
        weights: dims.parameters * weight / ranks,
        gradients: 0.0,
        optimizer: 0.0,
        activations: 0.0,
        kv_sequence: dims.layers as f64 * dims.tokens as f64 * dims.head_width * kv * 2.0 / ranks,
        batch: dims.batch,
        tokens: dims.tokens,
        guessed,
        formulas: [
            format!("{:.4e} parameters × {weight} B / {ranks}", dims.parameters),
            format!(
                "{} layers × {} × {} wide heads × {} tokens × {kv} B × 2 / {ranks}",
                dims.layers, dims.batch, dims.head_width, dims.tokens
            ),
            String::new(),
        ],
    }
}

impl Addends {
    /// The addends as terms for `batch` sequences; exact under the formula.
    #[must_use]
    pub fn terms(&self, batch: u64) -> Vec<Term> {
        let [weights, second, third] = &self.formulas;
        let all = [
            (TermName::Weights, self.weights, weights),
            (TermName::Gradients, self.gradients, second),
            (TermName::Optimizer, self.optimizer, second),
            (TermName::Activations, self.activations, third),
            (TermName::KvCache, self.kv_sequence * batch as f64, second),
        ];
        let kept = all.into_iter().filter(|(_, bytes, _)| *bytes > 0.0);
        kept.map(|(name, bytes, formula)| Term {
            name,
            bytes: Interval::exact(Bytes::from_f64(bytes)),
            formula: formula.clone(),
            provenance: if self.guessed { Provenance::Assumed } else { Provenance::Derived },
        })
        .collect()
    }
}
