//! The profile run's peak: what vLLM sets aside for a step.
//!
//! Fitted on vLLM 0.19 / H100 logs (llm-d-planner PR 205) and checked against other versions' logs. The peak is the
//! larger of two moments: the sampler on `max_num_seqs` rows of logits, and one layer's forward pass over
//! `max_num_batched_tokens` tokens. Fused mixture-of-experts workspaces persist through both.

use crate::estimate::model::{Mlp, Model, TensorKind};
use crate::estimate::parallel::Stage;

/// What logs tell of a profile run that no shape tells; `tests/accuracy` refits it from rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// Bytes that every profile run holds beside what is counted here.
    pub base: f64,
    /// Buffers of the width of the residual stream that are live in a layer.
    pub streams: f64,
    /// Further ones that arrive from the stage before.
    pub stage_streams: f64,
    /// Bytes that a multimodal encoder's profile leaves live beside its outputs.
    pub tower: f64,
}

/// The fit in force.
pub const FIT: Fit = Fit { base: 0.04 * GIB, streams: 4.25, stage_streams: 2.0, tower: 0.13 * GIB };
const GIB: f64 = (1u64 << 30) as f64;

/// Tokens that the fused experts work on at once (`VLLM_FUSED_MOE_CHUNK_SIZE`).
const EXPERT_CHUNK: f64 = 32_768.0;

/// Sizes of a profile run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// `max_num_batched_tokens`.
    pub tokens: f64,
    /// `max_num_seqs`.
    pub sequences: f64,
    /// Bytes of an activation element.
    pub element: f64,
    /// Bytes per logit that the sampler holds beside the logit.
    pub sampler: f64,
    /// Tensor-parallel degree.
    pub tensor: f64,
    /// Expert-parallel degree.
    pub expert: f64,
    /// Data-parallel ranks whose tokens are gathered for the experts.
    pub data: f64,
    /// What was fitted to logs: [`FIT`].
    pub fit: Fit,
}

/// Peak bytes of the profile run on one rank of a stage.
#[must_use]
pub fn peak(model: &Model, stage: &Stage<'_>, profile: &Profile) -> f64 {
    let fit = &profile.fit;
    let hidden = profile.tokens * model.hidden_size as f64 * profile.element;
    let workspace = stage.layers.iter().map(|(_, group)| experts(&group.mlp, model, profile)).fold(0.0, f64::max);
    let dense = stage.layers.iter().map(|(_, group)| feed_forward(&group.mlp, profile)).fold(0.0, f64::max);
    let streams = if stage.is_first() { fit.streams } else { fit.streams + fit.stage_streams };
    let forward = dense + streams * hidden;
    let logits = profile.sequences.min(profile.tokens) * model.vocab_size as f64;
    let sampler = if stage.is_last() { logits * (profile.element + profile.sampler) + hidden + fit.base } else { 0.0 };
    let tower = model.outer.iter().any(|tensor| tensor.kind == TensorKind::Tower) && stage.is_first();
    let tower = if tower { fit.tower + hidden } else { 0.0 };
    forward.max(sampler) + workspace + tower
}

/// Inner buffers of a feed-forward block: both halves of the gate and their product, or input and output of the
/// activation function.
fn feed_forward(mlp: &Mlp, profile: &Profile) -> f64 {
    let (width, gated) = match *mlp {
        Mlp::Dense { intermediate, gated } => (intermediate, gated),
        Mlp::Moe { shared_intermediate, gated, .. } => (shared_intermediate, gated),
        Mlp::None => return 0.0,
    };
    let buffers = if gated { 3.0 } else { 2.0 };
    profile.tokens * buffers * width as f64 / profile.tensor * profile.element
}

/// The fused-experts workspace: a buffer for the wider of up-projection and output, one for the activation.
fn experts(mlp: &Mlp, model: &Model, profile: &Profile) -> f64 {
    let Mlp::Moe { top_k, intermediate, gated, .. } = *mlp else { return 0.0 };
    let apart = profile.expert > 1.0;
    let inner = intermediate as f64 / if apart { 1.0 } else { profile.tensor };
    let up = if gated { 2.0 * inner } else { inner };
    let hidden = model.hidden_size as f64;
    let gathered = if apart { profile.tokens * profile.data } else { profile.tokens };
    let tokens = gathered.min(EXPERT_CHUNK.max(profile.tokens));
    let received = (gathered - profile.tokens) * hidden * profile.element;
    tokens * top_k as f64 * (up.max(hidden) + inner) * profile.element + received
}
