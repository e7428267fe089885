//! The architecture families, one row each. Sources: the model classes of transformers 5, reconciled with published
//! parameter counts (data/README.md).

mod dense;
mod hybrids;
mod megatron;
mod mixtures;

use super::family::{
    Draft, Family, Flag, KvHeads, Moe, MoeLayers, Names, Norm, Norms, Positions, QkNorm, Shared, Width, Window,
};
use super::pattern::Plan;

const SEPARATE: Names =
    Names { attention: ["q_proj", "k_proj", "v_proj", "o_proj"], mlp: ["gate_proj", "up_proj", "down_proj"] };

const OUT_PROJ: Names = Names { attention: ["q_proj", "k_proj", "v_proj", "out_proj"], mlp: SEPARATE.mlp };

/// Llama: what every other row is written as a difference from.
pub(super) const LLAMA: Family = Family {
    types: &["llama", "xverse", "aquila", "yi", "Yi"],
    names: SEPARATE,
    plan: Plan::Softmax,
    draft: Draft::None,
    window: Window::Never,
    kv_heads: KvHeads::Key,
    head_dim: None,
    qkv_bias: Flag::Key("attention_bias", false),
    out_bias: Flag::Key("attention_bias", false),
    qk_norm: QkNorm::None,
    query_gate: false,
    sinks: false,
    norm: Norm::Scale,
    norms: Norms::Fixed(2),
    outer_norms: 1,
    gated: true,
    mlp_bias: Flag::Key("mlp_bias", false),
    extra: 0,
    width: Width::Key,
    moe: None,
    tied: false,
    head_bias: Flag::Off,
    positions: Positions::None,
    extra_rows: 0,
    vocab: None,
    context_scaled: false,
    only: &[],
};

/// Bias on queries, keys and values alone.
const QWEN2: Family = Family {
    types: &["qwen2", "qwen2_vl", "qwen2_5_vl", "qwen2_vl_text", "qwen2_5_vl_text", "qwen2_5_omni_text"],
    qkv_bias: Flag::On,
    out_bias: Flag::Off,
    window: Window::IfUsed,
    ..LLAMA
};

const QWEN3: Family = Family {
    types: &["qwen3", "qwen3_vl_text"],
    head_dim: Some(128),
    qk_norm: QkNorm::PerHead(Flag::On),
    window: Window::IfUsed,
    ..LLAMA
};

const GEMMA: Family = Family { types: &["gemma"], head_dim: Some(256), tied: true, ..LLAMA };

const MIXTRAL_MOE: Moe = Moe {
    layers: MoeLayers::All,
    width: "intermediate_size",
    correction: Flag::Off,
    shared: Shared::None,
    shared_gate: false,
    bias: false,
    dense_width: "intermediate_size",
    optional: false,
};

const DEEPSEEK_EXPERTS: Moe =
    Moe { layers: MoeLayers::AfterDense, width: "moe_intermediate_size", shared: Shared::Count, ..MIXTRAL_MOE };

const CORRECTED: Moe = Moe { correction: Flag::On, ..DEEPSEEK_EXPERTS };

const QWEN2_EXPERTS: Moe =
    Moe { shared: Shared::Width("shared_expert_intermediate_size"), shared_gate: true, ..QWEN3_EXPERTS };

const QWEN3_EXPERTS: Moe = Moe { layers: MoeLayers::SparseStep, width: "moe_intermediate_size", ..MIXTRAL_MOE };

/// The family of a `model_type`.
pub(super) fn find(model_type: &str) -> Option<&'static Family> {
    let tables = [dense::FAMILIES, mixtures::FAMILIES, hybrids::FAMILIES, megatron::FAMILIES];
    tables.into_iter().flatten().find(|family| family.types.contains(&model_type))
}
