//! Latent and linear attention, Mamba, hybrids, and shapes that have a reader of their own.

use super::super::family::{Draft, Family, Flag, Moe, MoeLayers, Names, Norms, Only, QkNorm, Shared, Width};
use super::super::pattern::Plan;
use super::super::{compressed, encoder, gemma4, nas, seq2seq};
use super::{CORRECTED, DEEPSEEK_EXPERTS, GEMMA, LLAMA, MIXTRAL_MOE, OUT_PROJ, QWEN2_EXPERTS};

const QWEN3_NEXT: Family = Family {
    types: &["qwen3_next"],
    plan: Plan::Delta { split: false },
    head_dim: Some(256),
    qk_norm: QkNorm::PerHead(Flag::On),
    query_gate: true,
    draft: Draft::LastLayer(3),
    moe: Some(Moe { optional: true, ..QWEN2_EXPERTS }),
    ..LLAMA
};

const DEEPSEEK_V3: Family = Family {
    types: &["deepseek_v3", "deepseek_v32", "kimi_k2", "glm4_moe_lite", "glm_moe_dsa"],
    plan: Plan::Latent,
    draft: Draft::LastLayer(3),
    moe: Some(CORRECTED),
    ..LLAMA
};

const MAMBA: Family = Family { types: &["mamba"], plan: Plan::Mamba1, norms: Norms::Fixed(1), tied: true, ..LLAMA };

/// Rows.
pub(super) const FAMILIES: &[Family] = &[
    // Latent attention.
    DEEPSEEK_V3,
    Family { types: &["deepseek_v2"], draft: Draft::None, moe: Some(DEEPSEEK_EXPERTS), ..DEEPSEEK_V3 },
    Family { types: &["minicpm3"], plan: Plan::Latent, tied: true, ..LLAMA },
    // Hybrids.
    QWEN3_NEXT,
    Family {
        types: &["qwen3_5_text", "qwen3_5_moe_text", "qwen3_5", "qwen3_5_moe"],
        plan: Plan::Delta { split: true },
        ..QWEN3_NEXT
    },
    Family { types: &["kimi_linear"], plan: Plan::Kda, moe: Some(CORRECTED), ..LLAMA },
    Family { types: &["minimax_text_01", "minimax"], plan: Plan::Lightning, moe: Some(MIXTRAL_MOE), ..LLAMA },
    Family {
        types: &["jamba"],
        plan: Plan::Jamba,
        moe: Some(Moe { layers: MoeLayers::Period, ..MIXTRAL_MOE }),
        ..LLAMA
    },
    Family {
        types: &["granitemoehybrid"],
        plan: Plan::Granite,
        tied: true,
        moe: Some(Moe { shared: Shared::Width("shared_intermediate_size"), ..MIXTRAL_MOE }),
        ..LLAMA
    },
    Family {
        types: &["nemotron_h"],
        plan: Plan::NemotronH,
        draft: Draft::AttentionAndMixture,
        head_dim: Some(128),
        norms: Norms::Fixed(1),
        gated: false,
        moe: Some(Moe {
            width: "moe_intermediate_size",
            correction: Flag::On,
            shared: Shared::Width("moe_shared_expert_intermediate_size"),
            ..MIXTRAL_MOE
        }),
        ..LLAMA
    },
    Family {
        types: &["minimax_m3", "minimax_m3_text", "minimax_m3_vl"],
        plan: Plan::Selected,
        qk_norm: QkNorm::PerHead(Flag::Key("use_qk_norm", true)),
        moe: Some(Moe {
            layers: MoeLayers::AfterDense,
            correction: Flag::Key("use_routing_bias", true),
            shared: Shared::Width("shared_intermediate_size"),
            dense_width: "dense_intermediate_size",
            ..MIXTRAL_MOE
        }),
        only: &[("attention_output_gate", Only::Bool(false)), ("qk_norm_type", Only::Word("per_head"))],
        ..LLAMA
    },
    Family {
        types: &["mimo_v2_flash"],
        plan: Plan::Windowed,
        moe: Some(CORRECTED),
        only: &[("add_full_attention_sink_bias", Only::Bool(false))],
        ..LLAMA
    },
    Family { types: &["dbrx"], moe: Some(MIXTRAL_MOE), ..LLAMA },
    MAMBA,
    Family { types: &["falcon_mamba"], ..MAMBA },
    Family { types: &["mamba2"], plan: Plan::Mamba2, tied: false, ..MAMBA },
    Family {
        types: &["lfm2"],
        names: Names { attention: OUT_PROJ.attention, mlp: ["w1", "w3", "w2"] },
        plan: Plan::Convolution,
        qk_norm: QkNorm::PerHead(Flag::On),
        width: Width::Adjusted,
        tied: true,
        ..LLAMA
    },
    Family { types: &["mllama_text_model", "mllama"], plan: Plan::Cross, extra_rows: 8, ..LLAMA },
    // Shapes that have a reader of their own.
    Family {
        types: &["gemma4_text", "gemma4"],
        plan: Plan::Own(gemma4::read),
        qk_norm: QkNorm::PerHead(Flag::On),
        moe: Some(Moe { width: "moe_intermediate_size", ..MIXTRAL_MOE }),
        ..GEMMA
    },
    Family { types: &["nemotron-nas", "deci"], plan: Plan::Own(nas::read), ..LLAMA },
    Family {
        types: &["deepseek_v4", "deepseek_ref"],
        plan: Plan::Own(compressed::read),
        moe: Some(CORRECTED),
        ..LLAMA
    },
    Family { types: &["bert", "roberta", "xlm-roberta", "camembert"], plan: Plan::Own(encoder::read), ..LLAMA },
    Family { types: &["t5", "mt5"], plan: Plan::Own(seq2seq::t5), tied: true, ..LLAMA },
    Family { types: &["whisper"], plan: Plan::Own(seq2seq::whisper), tied: true, ..LLAMA },
];
