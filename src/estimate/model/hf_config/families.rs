//! The architecture families, one row each. Sources: the model classes of transformers 5, reconciled with published
//! parameter counts (data/README.md).

use super::family::{
    Draft, Family, Flag, KvHeads, Moe, MoeLayers, Names, Norm, Norms, Only, Positions, QkNorm, Shared, Width, Window,
};
use super::pattern::Plan;
use super::{compressed, encoder, gemma4, nas, seq2seq};

const SEPARATE: Names =
    Names { attention: ["q_proj", "k_proj", "v_proj", "o_proj"], mlp: ["gate_proj", "up_proj", "down_proj"] };
const GPT2: Names = Names { attention: ["c_attn", "c_attn", "c_attn", "c_proj"], mlp: ["c_gate", "c_fc", "c_proj"] };
const NEOX: Names = Names {
    attention: ["query_key_value", "query_key_value", "query_key_value", "dense"],
    mlp: ["gate", "dense_h_to_4h", "dense_4h_to_h"],
};
const PHI: Names = Names { attention: ["q_proj", "k_proj", "v_proj", "dense"], mlp: ["gate", "fc1", "fc2"] };
const PHI3: Names = Names {
    attention: ["qkv_proj", "qkv_proj", "qkv_proj", "o_proj"],
    mlp: ["gate_up_proj", "gate_up_proj", "down_proj"],
};
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
const GPT_2: Family = Family {
    types: &["gpt2"],
    names: GPT2,
    qkv_bias: Flag::On,
    out_bias: Flag::On,
    norm: Norm::ScaleAndBias,
    gated: false,
    mlp_bias: Flag::On,
    width: Width::FourTimes,
    tied: true,
    positions: Positions::Table(0),
    only: &[("add_cross_attention", Only::Bool(false))],
    ..LLAMA
};
const COHERE: Family = Family {
    types: &["cohere"],
    norm: Norm::Scale,
    norms: Norms::Fixed(1),
    qk_norm: QkNorm::Full(Flag::Key("use_qk_norm", false)),
    tied: true,
    ..LLAMA
};
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
const QWEN3_EXPERTS: Moe = Moe { layers: MoeLayers::SparseStep, width: "moe_intermediate_size", ..MIXTRAL_MOE };
const QWEN2_EXPERTS: Moe =
    Moe { shared: Shared::Width("shared_expert_intermediate_size"), shared_gate: true, ..QWEN3_EXPERTS };
const DEEPSEEK_EXPERTS: Moe =
    Moe { layers: MoeLayers::AfterDense, width: "moe_intermediate_size", shared: Shared::Count, ..MIXTRAL_MOE };
const CORRECTED: Moe = Moe { correction: Flag::On, ..DEEPSEEK_EXPERTS };
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

/// Every family that the decoder reader understands.
pub(super) const FAMILIES: &[Family] = &[
    LLAMA,
    // Llama with other defaults.
    Family { types: &["mistral", "ministral", "ministral3"], window: Window::Every, ..LLAMA },
    Family { types: &["granite"], ..LLAMA },
    Family { types: &["smollm3", "minicpm"], tied: true, ..LLAMA },
    Family { types: &["ernie4_5"], qkv_bias: Flag::Key("use_bias", false), tied: true, ..LLAMA },
    Family { types: &["exaone"], ..LLAMA },
    Family {
        types: &["baichuan"],
        names: Names { attention: ["W_pack", "W_pack", "W_pack", "o_proj"], ..SEPARATE },
        ..LLAMA
    },
    Family { types: &["internlm"], qkv_bias: Flag::Key("bias", true), out_bias: Flag::Key("bias", true), ..LLAMA },
    Family {
        types: &["internlm2"],
        names: Names { attention: ["wqkv", "wqkv", "wqkv", "wo"], mlp: ["w1", "w3", "w2"] },
        qkv_bias: Flag::Key("bias", false),
        out_bias: Flag::Key("bias", false),
        ..LLAMA
    },
    Family {
        types: &["internlm3"],
        qkv_bias: Flag::Key("qkv_bias", false),
        out_bias: Flag::Key("bias", false),
        ..LLAMA
    },
    Family { types: &["phi3"], names: PHI3, window: Window::Every, ..LLAMA },
    Family { types: &["olmo"], norm: Norm::Parameterless, ..LLAMA },
    Family { types: &["olmo2"], qk_norm: QkNorm::Full(Flag::On), ..LLAMA },
    Family { types: &["olmo3"], qk_norm: QkNorm::Full(Flag::On), window: Window::AllButNth(4), ..LLAMA },
    Family { types: &["orion"], norm: Norm::ScaleAndBias, ..LLAMA },
    Family {
        types: &["seed_oss"],
        head_dim: Some(128),
        qkv_bias: Flag::Key("attention_bias", true),
        out_bias: Flag::Key("attention_out_bias", false),
        ..LLAMA
    },
    Family { types: &["hunyuan_v1_dense"], qk_norm: QkNorm::PerHead(Flag::Key("use_qk_norm", true)), ..LLAMA },
    Family { types: &["exaone4"], qk_norm: QkNorm::PerHead(Flag::On), window: Window::AllButNth(4), ..LLAMA },
    Family {
        types: &["stablelm", "stablelm_epoch"],
        norm: Norm::ScaleAndBias,
        norms: Norms::UnlessParallel("use_parallel_residual"),
        qkv_bias: Flag::Key("use_qkv_bias", false),
        out_bias: Flag::Off,
        only: &[("qk_layernorm", Only::Bool(false))],
        ..LLAMA
    },
    // Cohere: one norm before both blocks.
    COHERE,
    Family { types: &["cohere2"], qk_norm: QkNorm::None, window: Window::AllButNth(4), ..COHERE },
    // Qwen.
    Family {
        types: &["qwen"],
        names: Names { attention: ["c_attn", "c_attn", "c_attn", "c_proj"], mlp: ["w1", "w2", "c_proj"] },
        width: Width::Half,
        ..QWEN2
    },
    QWEN2,
    Family { types: &["mimo"], qkv_bias: Flag::Key("attention_bias", true), draft: Draft::LastLayer(3), ..QWEN2 },
    QWEN3,
    // Gemma.
    GEMMA,
    Family { types: &["gemma2"], norms: Norms::Fixed(4), window: Window::Alternating, ..GEMMA },
    Family {
        types: &["gemma3_text", "gemma3"],
        norms: Norms::Fixed(4),
        qk_norm: QkNorm::PerHead(Flag::On),
        window: Window::AllButNth(6),
        vocab: Some(262_208),
        ..GEMMA
    },
    // GLM.
    Family {
        types: &["chatglm"],
        names: NEOX,
        kv_heads: KvHeads::Groups,
        qkv_bias: Flag::Key("add_qkv_bias", false),
        out_bias: Flag::Key("add_bias_linear", false),
        mlp_bias: Flag::Key("add_bias_linear", false),
        only: &[("rmsnorm", Only::Bool(true))],
        ..LLAMA
    },
    Family { types: &["glm"], names: Names { mlp: PHI3.mlp, ..SEPARATE }, out_bias: Flag::Off, ..LLAMA },
    Family {
        types: &["glm4"],
        names: Names { mlp: PHI3.mlp, ..SEPARATE },
        out_bias: Flag::Off,
        norms: Norms::Fixed(4),
        ..LLAMA
    },
    // GPT-2 and its like: LayerNorm, biases, no gate.
    GPT_2,
    Family { types: &["gpt_bigcode"], kv_heads: KvHeads::MultiQuery(true), ..GPT_2 },
    Family {
        types: &["gpt_neo"],
        names: Names { mlp: GPT2.mlp, ..OUT_PROJ },
        qkv_bias: Flag::Off,
        window: Window::Alternating,
        ..GPT_2
    },
    Family {
        types: &["gptj"],
        names: Names { mlp: ["gate", "fc_in", "fc_out"], ..OUT_PROJ },
        qkv_bias: Flag::Off,
        out_bias: Flag::Off,
        norms: Norms::Fixed(1),
        tied: false,
        head_bias: Flag::On,
        positions: Positions::None,
        ..GPT_2
    },
    Family {
        types: &["gpt_neox"],
        names: NEOX,
        qkv_bias: Flag::Key("attention_bias", true),
        out_bias: Flag::Key("attention_bias", true),
        tied: false,
        positions: Positions::None,
        ..GPT_2
    },
    Family { types: &["opt"], names: Names { mlp: PHI.mlp, ..OUT_PROJ }, positions: Positions::Table(2), ..GPT_2 },
    Family { types: &["bloom"], names: NEOX, positions: Positions::None, outer_norms: 2, ..GPT_2 },
    Family {
        types: &["phi", "phi-msft"],
        names: PHI,
        norms: Norms::Fixed(1),
        tied: false,
        head_bias: Flag::On,
        positions: Positions::None,
        only: &[("qk_layernorm", Only::Bool(false))],
        ..GPT_2
    },
    Family {
        types: &["phi3small"],
        names: NEOX,
        qkv_bias: Flag::On,
        out_bias: Flag::On,
        norm: Norm::ScaleAndBias,
        mlp_bias: Flag::On,
        tied: true,
        ..LLAMA
    },
    Family {
        types: &["starcoder2"],
        names: Names { mlp: GPT2.mlp, ..SEPARATE },
        qkv_bias: Flag::Key("use_bias", true),
        out_bias: Flag::Key("use_bias", true),
        mlp_bias: Flag::Key("use_bias", true),
        norm: Norm::ScaleAndBias,
        gated: false,
        window: Window::Every,
        tied: true,
        ..LLAMA
    },
    Family {
        types: &["falcon", "RefinedWeb", "RefinedWebModel"],
        names: NEOX,
        kv_heads: KvHeads::Falcon,
        qkv_bias: Flag::Key("bias", false),
        out_bias: Flag::Key("bias", false),
        mlp_bias: Flag::Key("bias", false),
        norm: Norm::ScaleAndBias,
        norms: Norms::Falcon,
        gated: false,
        width: Width::FourTimes,
        tied: true,
        ..LLAMA
    },
    Family {
        types: &["mpt"],
        names: Names { attention: ["Wqkv", "Wqkv", "Wqkv", "out_proj"], mlp: ["gate", "up_proj", "down_proj"] },
        qkv_bias: Flag::Off,
        out_bias: Flag::Off,
        gated: false,
        mlp_bias: Flag::Off,
        width: Width::Expansion,
        tied: true,
        positions: Positions::UnlessAlibi,
        only: &[("no_bias", Only::Bool(true))],
        ..LLAMA
    },
    Family { types: &["nemotron"], norm: Norm::ScaleAndBias, gated: false, ..LLAMA },
    Family { types: &["apertus"], qk_norm: QkNorm::PerHead(Flag::On), gated: false, extra: 2, ..LLAMA },
    // Mixtures.
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
