//! Mixtures of experts with softmax attention.

use super::super::family::{Draft, Family, Flag, Moe, MoeLayers, Names, Norm, Norms, Only, QkNorm, Shared, Window};
use super::{CORRECTED, DEEPSEEK_EXPERTS, LLAMA, MIXTRAL_MOE, QWEN2, QWEN2_EXPERTS, QWEN3, QWEN3_EXPERTS, SEPARATE};

/// Rows.
pub(super) const FAMILIES: &[Family] = &[
    Family {
        types: &["mixtral"],
        names: Names { mlp: ["w1", "w3", "w2"], ..SEPARATE },
        window: Window::Every,
        moe: Some(MIXTRAL_MOE),
        ..LLAMA
    },
    Family { types: &["granitemoe"], moe: Some(MIXTRAL_MOE), ..LLAMA },
    Family { types: &["olmoe"], qk_norm: QkNorm::Full(Flag::On), moe: Some(MIXTRAL_MOE), ..LLAMA },
    Family {
        types: &["phimoe"],
        norm: Norm::ScaleAndBias,
        window: Window::Every,
        head_bias: Flag::Key("lm_head_bias", false),
        moe: Some(MIXTRAL_MOE),
        ..LLAMA
    },
    Family { types: &["grok-1"], norms: Norms::Fixed(4), tied: true, moe: Some(MIXTRAL_MOE), ..LLAMA },
    Family {
        types: &["gpt_oss"],
        head_dim: Some(64),
        qkv_bias: Flag::Key("attention_bias", true),
        out_bias: Flag::Key("attention_bias", true),
        sinks: true,
        window: Window::Alternating,
        moe: Some(Moe { bias: true, ..MIXTRAL_MOE }),
        ..LLAMA
    },
    Family { types: &["qwen2_moe"], moe: Some(QWEN2_EXPERTS), ..QWEN2 },
    Family { types: &["qwen3_moe", "qwen3_vl_moe_text"], head_dim: None, moe: Some(QWEN3_EXPERTS), ..QWEN3 },
    Family { types: &["deepseek"], moe: Some(DEEPSEEK_EXPERTS), ..LLAMA },
    Family {
        types: &["glm4_moe", "glm4v_moe_text"],
        out_bias: Flag::Off,
        qk_norm: QkNorm::PerHead(Flag::Key("use_qk_norm", false)),
        draft: Draft::LastLayer(3),
        moe: Some(CORRECTED),
        ..LLAMA
    },
    Family { types: &["dots1"], qk_norm: QkNorm::PerHead(Flag::On), moe: Some(CORRECTED), ..LLAMA },
    Family {
        types: &["ernie4_5_moe"],
        qkv_bias: Flag::Key("use_bias", false),
        tied: true,
        moe: Some(Moe { layers: MoeLayers::Range, correction: Flag::On, ..DEEPSEEK_EXPERTS }),
        ..LLAMA
    },
    Family {
        types: &["minimax_m2"],
        qk_norm: QkNorm::Full(Flag::Key("use_qk_norm", true)),
        moe: Some(Moe { correction: Flag::Key("use_routing_bias", true), ..MIXTRAL_MOE }),
        only: &[("shared_intermediate_size", Only::Number(0)), ("qk_norm_type", Only::Word("per_layer"))],
        ..LLAMA
    },
    Family {
        types: &["llama4_text", "llama4"],
        tied: false,
        moe: Some(Moe {
            layers: MoeLayers::Interleaved,
            shared: Shared::One,
            dense_width: "intermediate_size_mlp",
            ..MIXTRAL_MOE
        }),
        ..LLAMA
    },
];
