//! Dense decoders.

use super::super::family::{Draft, Family, Flag, KvHeads, Names, Norm, Norms, Only, Positions, QkNorm, Width, Window};
use super::{GEMMA, LLAMA, OUT_PROJ, QWEN2, QWEN3, SEPARATE};

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

/// Rows.
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
        context_scaled: true,
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
];
