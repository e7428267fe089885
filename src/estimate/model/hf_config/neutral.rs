//! Keys that no reader asked for: which of them may change sizes.

use serde_json::Value;

use super::error::ConfigError;
use super::keys::Keys;

/// Keys that change what is stored. If one of them is set and its reader did not ask for it, the size would be a guess.
const STRUCTURAL: &[&str] = &[
    "add_cross_attention",
    "altup_num_inputs",
    "attn_layer_period",
    "attn_type_list",
    "block_configs",
    "compress_ratios",
    "cross_attention_layers",
    "encoder_layers",
    "full_attention_interval",
    "full_attn_idxs",
    "global_head_dim",
    "hc_mult",
    "hidden_size_per_layer_input",
    "hybrid_layer_pattern",
    "hybrid_override_pattern",
    "index_head_dim",
    "is_encoder_decoder",
    "kv_lora_rank",
    "laurel_rank",
    "layers_block_type",
    "linear_attn_config",
    "mamba_d_state",
    "mamba_num_heads",
    "moe_latent_size",
    "moe_num_experts",
    "n_routed_experts",
    "num_experts",
    "num_global_key_value_heads",
    "num_kv_shared_layers",
    "num_local_experts",
    "o_lora_rank",
    "routed_expert_hidden_size",
    "shared_intermediate_size",
    "sparse_attention_config",
    "ssm_cfg",
    "ssm_state_size",
    "state_size",
    "swa_head_dim",
    "swa_num_key_value_heads",
    "use_double_wide_mlp",
    "v_head_dim",
];

/// Keys that never change what is stored, although they say nothing of a known kind below.
const NEUTRAL: &[&str] = &[
    "_name_or_path",
    "architectures",
    "auto_map",
    "do_sample",
    "gradient_checkpointing",
    "id2label",
    "is_decoder",
    "label2id",
    "max_length",
    "max_window_layers",
    "min_length",
    "model_type",
    "num_labels",
    "partial_rotary_factor",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "pruned_heads",
    "quantization_config",
    "return_dict",
    "sliding_window",
    "task_specific_params",
    "tie_encoder_decoder",
    "tie_word_embeddings",
    "top_k",
    "top_p",
    "torchscript",
    "transformers_version",
    "typical_p",
    "use_bfloat16",
    "use_cache",
    "use_sliding_window",
];

/// Parts of names of keys about numerics, initialisation, tokens and generation.
const NEUTRAL_PARTS: &[&str] = &[
    "_act",
    "_eps",
    "_token",
    "activation",
    "attn_implementation",
    "beam",
    "dropout",
    "epsilon",
    "init",
    "output_",
    "pdrop",
    "penalty",
    "rope",
    "rotary",
    "softcapping",
    "temperature",
    "token_id",
    "tokenizer",
];

/// Refuses keys that were not read and may change sizes: the structural ones, and of an unknown model type all that
/// are not known to be neutral.
pub(super) fn check(keys: &Keys<'_>, model_type: &str, known: bool) -> Result<(), ConfigError> {
    if !known && !looks_like_llama(keys) {
        return Err(ConfigError::UnknownType { model_type: model_type.to_owned() });
    }
    for (key, value) in keys.unread() {
        let refused = if known { STRUCTURAL.contains(&key) } else { !neutral(key) };
        if refused && says_something(value) {
            let key = key.chars().take(64).collect();
            return Err(ConfigError::UnknownKey { key, model_type: model_type.to_owned() });
        }
    }
    Ok(())
}

/// What an unknown model type must say of itself to be read as a Llama: a causal language model, SiLU (which means
/// gated), RMS norms.
fn looks_like_llama(keys: &Keys<'_>) -> bool {
    let causal = keys.value("architectures").and_then(|list| list.get(0)?.as_str()).unwrap_or_default();
    let activation = keys.value("hidden_act").and_then(Value::as_str);
    causal.ends_with("ForCausalLM") && activation == Some("silu") && keys.has("rms_norm_eps")
}

fn neutral(key: &str) -> bool {
    NEUTRAL.contains(&key) || NEUTRAL_PARTS.iter().any(|part| key.contains(part))
}

/// Null, false, zero and empty values switch something off.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
    }
}
