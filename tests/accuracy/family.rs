//! Families of models, by what decides their memory.

use vramguard::estimate::model::{Attention, Mlp, Model, TensorKind};

/// What a model is, by the part that is hardest to estimate: towers, recurrent or windowed layers, latents, experts.
pub fn of(model: &Model) -> &'static str {
    let any = |check: fn(&Attention) -> bool| model.layers.iter().any(|group| check(&group.attention));
    let full = |attention: &Attention| matches!(attention, Attention::Full(_));
    if model.outer.iter().any(|tensor| tensor.kind == TensorKind::Tower) {
        "multimodal"
    } else if any(|attention| matches!(attention, Attention::Latent { .. })) {
        "latent"
    } else if !model.layers.iter().all(|group| full(&group.attention)) {
        "hybrid"
    } else if model.layers.iter().any(|group| matches!(group.mlp, Mlp::Moe { .. })) {
        "mixture"
    } else {
        "dense"
    }
}

/// Whether every layer keeps the same cache for every token, so that a pool's tokens are its bytes by a constant.
pub fn uniform(model: &Model) -> bool {
    let plain =
        |attention: &Attention| matches!(attention, Attention::Full(_) | Attention::Latent { indexer: None, .. });
    model.layers.iter().all(|group| plain(&group.attention))
}
