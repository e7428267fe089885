//! The profile run's peak: what vLLM sets aside for a step.
//!
//! Fitted on vLLM 0.19 / H100 logs (llm-d-planner PR 205) and checked against other versions' logs. The peak is the
//! larger of two moments: the sampler on `max_num_seqs` rows of logits, and one layer's forward pass over
//! `max_num_batched_tokens` tokens. Fused mixture-of-experts workspaces persist through both.

use crate::estimate::model::{Attention, Mlp, Model, TensorKind};
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

/// Bytes of a sparse indexer's key beside its width, and of its scores (`VLLM_SPARSE_INDEXER_MAX_LOGITS_MB`).
const INDEX_SCALE: f64 = 4.0;
const INDEX_SCORES: f64 = 512.0 * (1u64 << 20) as f64;

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
    /// Tokens whose index keys a sparse indexer gathers at once.
    pub indexed: f64,
}

/// Peak bytes of the profile run on one rank of a stage.
#[must_use]
pub fn peak(model: &Model, stage: &Stage<'_>, profile: &Profile) -> f64 {
    let fit = &profile.fit;
    let hidden = profile.tokens * model.hidden_size as f64 * profile.element;
    let workspace = stage.layers.iter().map(|(_, group)| experts(&group.mlp, model, profile)).fold(0.0, f64::max);
    let dense = stage.layers.iter().map(|(_, group)| feed_forward(&group.mlp, profile)).fold(0.0, f64::max);
    let streams = if stage.is_first() { fit.streams } else { fit.streams + fit.stage_streams };
    let indexer = stage.layers.iter().map(|(_, group)| index_keys(&group.attention, profile)).fold(0.0, f64::max);
    let scores = if indexer > 0.0 { INDEX_SCORES } else { 0.0 };
    let forward = (dense + streams * hidden).max(scores);
    let logits = profile.sequences.min(profile.tokens) * model.vocab_size as f64;
    let sampler = if stage.is_last() { logits * (profile.element + profile.sampler) + hidden + fit.base } else { 0.0 };
    let tower = model.outer.iter().any(|tensor| tensor.kind == TensorKind::Tower) && stage.is_first();
    let tower = if tower { fit.tower + hidden } else { 0.0 };
    forward.max(sampler) + workspace + indexer + tower
}

/// The workspace that a sparse indexer gathers keys in: 8-bit keys with one fp32 scale each.
fn index_keys(attention: &Attention, profile: &Profile) -> f64 {
    match attention {
        Attention::Latent { indexer: Some(width), .. } => profile.indexed * (*width as f64 + INDEX_SCALE),
        _ => 0.0,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::serving::fixtures::{self, Shape};

    const PROFILE: Profile = Profile {
        tokens: 8192.0,
        sequences: 1024.0,
        element: 2.0,
        sampler: 12.55,
        tensor: 1.0,
        expert: 1.0,
        data: 1.0,
        indexed: 0.0,
        fit: FIT,
    };

    fn of(model: &Model, profile: &Profile) -> f64 {
        let stages = crate::estimate::parallel::stages(model, 1, None).unwrap();
        peak(model, &stages[0], profile)
    }

    /// 0.19.0 on H100 with Llama-3.1-8B: 1.89 GiB; without a sampler the widest layer is the peak.
    #[test]
    fn the_larger_of_sampler_and_layer() {
        let model = fixtures::dense(&Shape::LLAMA_8B);
        let gib = |bytes: f64| bytes / f64::from(1 << 30);
        assert!((gib(of(&model, &PROFILE)) - 1.89).abs() < 0.01);
        let layer = of(&model, &Profile { sequences: 0.0, ..PROFILE });
        assert!((gib(layer) - 8192.0 * 2.0 * (3.0 * 14_336.0 + 4.25 * 4096.0) / f64::from(1 << 30)).abs() < 0.001);
    }

    /// `get_max_prefill_buffer_size`: DeepSeek-V3.2 at 163,840 tokens reserves 865,075,200 bytes.
    #[test]
    fn a_sparse_indexer_reserves_room_for_its_keys() {
        let shape = Shape::LLAMA_8B;
        let latent = |indexer| Attention::Latent {
            heads: 128,
            latent: 512,
            rope: 64,
            nope: 128,
            value: 128,
            q_latent: Some(1536),
            indexer,
        };
        let model = |indexer| fixtures::model(&shape, vec![fixtures::layers(&shape, 4, latent(indexer))]);
        let profile = Profile { indexed: 40.0 * 163_840.0, ..PROFILE };
        let more = of(&model(Some(128)), &profile) - of(&model(None), &profile);
        assert!((more - 865_075_200.0).abs() < 1.0, "{more}");
    }
}
