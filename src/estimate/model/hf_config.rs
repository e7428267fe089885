//! Reads a Hugging Face `config.json` into a [`Model`](super::Model).

use serde_json::Value;

use super::{Attention, Heads, LayerGroup, Mlp, Model, Split, Tensor, TensorKind};
use crate::estimate::dtype::DType;

/// A key is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Reads a dense decoder's config.
///
/// # Errors
/// When a key is missing.
pub fn read(name: &str, config: &Value) -> Result<Model, ConfigError> {
    let get = |key: &str| config[key].as_u64().filter(|n| *n > 0).ok_or_else(|| ConfigError(format!("{key} is missing")));
    let (h, v, l, a, i) = (get("hidden_size")?, get("vocab_size")?, get("num_hidden_layers")?, get("num_attention_heads")?, get("intermediate_size")?);
    let kv = get("num_key_value_heads").unwrap_or(a);
    let d = get("head_dim").unwrap_or(h / a);
    let kind = config["model_type"].as_str().unwrap_or("");
    let t = |module, rows, cols, kind, split| Tensor { module, rows, cols, copies: 1, kind, split };
    let mut tensors = vec![
        t("q_proj", a * d, h, TensorKind::Linear, Split::Tensor),
        t("k_proj", kv * d, h, TensorKind::Linear, Split::KvHeads(kv)),
        t("v_proj", kv * d, h, TensorKind::Linear, Split::KvHeads(kv)),
        t("o_proj", h, a * d, TensorKind::Linear, Split::Tensor),
        t("gate_proj", i, h, TensorKind::Linear, Split::Tensor),
        t("up_proj", i, h, TensorKind::Linear, Split::Tensor),
        t("down_proj", h, i, TensorKind::Linear, Split::Tensor),
        t("norm", 2 * h, 1, TensorKind::Vector, Split::Replicated),
    ];
    if kind == "qwen2" {
        tensors.push(t("bias", (a + 2 * kv) * d, 1, TensorKind::Vector, Split::Tensor));
    }
    if kind == "qwen3" {
        tensors.push(t("qk_norm", 2 * d, 1, TensorKind::Vector, Split::Replicated));
    }
    let tied = config["tie_word_embeddings"].as_bool().unwrap_or(false);
    let mut outer = vec![t("embed_tokens", v, h, TensorKind::Embedding, Split::Vocab), t("norm", h, 1, TensorKind::Vector, Split::Replicated)];
    if !tied {
        outer.push(t("lm_head", v, h, TensorKind::Head, Split::Vocab));
    }
    let heads = Heads { heads: a, kv_heads: kv, key_dim: d, value_dim: d, qk_norm: kind == "qwen3" };
    Ok(Model {
        name: name.to_owned(),
        model_type: kind.to_owned(),
        hidden_size: h,
        vocab_size: v,
        tied_embeddings: tied,
        max_position_embeddings: config["max_position_embeddings"].as_u64(),
        dtype: DType::Bf16,
        quantization: None,
        layers: vec![LayerGroup { count: l, attention: Attention::Full(heads), mlp: Mlp::Dense { intermediate: i, gated: true }, norms: 2, tensors }],
        outer,
        mtp: Vec::new(),
        logit_softcap: false,
        checkpoint_bytes: None,
    })
}
