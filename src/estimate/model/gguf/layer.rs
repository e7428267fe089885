//! One layer of a GGUF file: its tensors say what it does, the metadata how wide its cache is.

use crate::estimate::model::checkpoint::StoredTensor;
use crate::estimate::model::{Attention, Heads, LayerGroup, LinearState, Mlp, Split, Tensor, TensorKind};

use super::model::ModelError;
use super::{Gguf, Metadata};

/// Names of a layer's matrices here and in Hugging Face models.
const MODULES: &[(&str, &str)] = &[
    ("attn_q", "q_proj"),
    ("attn_k", "k_proj"),
    ("attn_v", "v_proj"),
    ("attn_qkv", "qkv_proj"),
    ("attn_output", "o_proj"),
    ("attn_q_a", "q_a_proj"),
    ("attn_q_b", "q_b_proj"),
    ("attn_kv_a_mqa", "kv_a_proj_with_mqa"),
    ("attn_kv_b", "kv_b_proj"),
    ("attn_k_b", "k_b_proj"),
    ("attn_v_b", "v_b_proj"),
    ("attn_gate", "g_proj"),
    ("ffn_gate", "gate_proj"),
    ("ffn_up", "up_proj"),
    ("ffn_down", "down_proj"),
    ("ffn_gate_shexp", "shared_gate_proj"),
    ("ffn_up_shexp", "shared_up_proj"),
    ("ffn_down_shexp", "shared_down_proj"),
    ("ssm_in", "in_proj"),
    ("ssm_out", "out_proj"),
];

/// Architectures whose layers alternate between a window and the whole context: of so many layers the last is full.
const PERIODS: &[(&str, u64)] = &[
    ("cohere2", 4),
    ("exaone4", 4),
    ("gemma2", 2),
    ("gemma3", 6),
    ("gemma3n", 5),
    ("gpt-oss", 2),
    ("llama4", 4),
    ("olmo2", 4),
];

/// Architectures for which llama.cpp keeps the whole context although the file names a window.
const WHOLE: &[&str] = &["llama", "phi3", "phimoe", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "starcoder2"];

/// Mixers whose memory is not modelled, by the start of their tensors' names.
const UNKNOWN: &[&str] = &["time_mix", "cross_attn", "ssm_conv1d_q"];

/// What the metadata says of the whole model.
pub(super) struct About<'a> {
    metadata: &'a Metadata,
    /// `general.architecture`.
    pub(super) architecture: String,
    /// `embedding_length`.
    pub(super) hidden: u64,
}

impl<'a> About<'a> {
    pub(super) fn new(gguf: &'a Gguf) -> Result<Self, ModelError> {
        let architecture = gguf.metadata.text("general.architecture");
        let architecture = architecture.ok_or_else(|| ModelError::Missing("general.architecture".to_owned()))?;
        let mut about =
            Self { metadata: &gguf.metadata, architecture: architecture.chars().take(64).collect(), hidden: 0 };
        if about.architecture == "clip" {
            return Err(about.unknown("a projector without its language model".to_owned()));
        }
        about.hidden = about.needed("embedding_length")?;
        Ok(about)
    }

    /// The key of the architecture.
    pub(super) fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    /// A number, if it is there.
    pub(super) fn count(&self, key: &str) -> Option<u64> {
        self.metadata.count(&self.key(key))
    }

    /// A number of at least 1.
    pub(super) fn needed(&self, key: &str) -> Result<u64, ModelError> {
        self.count(key).filter(|n| *n > 0).ok_or_else(|| ModelError::Missing(self.key(key)))
    }

    fn of_layer(&self, key: &str, layer: u64) -> Option<u64> {
        self.metadata.of_layer(&self.key(key), layer)
    }

    fn unknown(&self, what: String) -> ModelError {
        ModelError::Unknown { what, architecture: self.architecture.clone() }
    }

    /// Metadata and tensors contradict each other.
    #[expect(clippy::unused_self, reason = "errors are made by what they are about")]
    pub(super) fn contradiction(&self, what: String) -> ModelError {
        ModelError::Contradiction(what)
    }

    /// The window of a layer, if it has one.
    fn window(&self, layer: u64) -> Result<Option<u64>, ModelError> {
        const PATTERN: &str = "attention.sliding_window_pattern";
        let Some(window) = self.count("attention.sliding_window").filter(|window| *window > 0) else {
            // Llama 4 attends in chunks.
            let chunk = self.count("attention.chunk_size").filter(|_| self.architecture == "llama4");
            return Ok(chunk.filter(|_| layer % 4 < 3));
        };
        if self.metadata.is_list(&self.key(PATTERN)) {
            return Ok(self.of_layer(PATTERN, layer).filter(|slides| *slides > 0).map(|_| window));
        }
        let known = PERIODS.iter().find(|(name, _)| *name == self.architecture).map(|(_, period)| *period);
        match self.count(PATTERN).filter(|period| *period > 0).or(known) {
            Some(period) => Ok((layer % period < period - 1).then_some(window)),
            None if WHOLE.contains(&self.architecture.as_str()) => Ok(None),
            None => Err(self.unknown(format!("which layers have the sliding window of {window} tokens"))),
        }
    }
}

/// Rows and columns: everything but the innermost size, and that.
pub(super) fn sides(shape: &[u64]) -> (u64, u64) {
    match shape {
        [] => (1, 1),
        [rows] => (*rows, 1),
        [outer @ .., cols] => (outer.iter().fold(1, |n, size| n.saturating_mul(*size)), *cols),
    }
}

/// The name of a layer's tensor without layer and `.weight`.
fn part(tensor: &StoredTensor) -> &str {
    let name = tensor.name.as_str();
    let name = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')).map_or(name, |(_, rest)| rest);
    name.strip_suffix(".weight").unwrap_or(name)
}

fn module(part: &str) -> &'static str {
    MODULES.iter().find(|(known, _)| *known == part).map_or("other", |(_, module)| module)
}

/// Tensor names are lower case by the format's convention, and no file names.
fn is_bias(part: &str) -> bool {
    part.rsplit('.').next() == Some("bias") && part.contains('.')
}

/// By what the width of a matrix is averaged: its module, or `None` for all experts. No part at all for vectors and routers.
#[expect(clippy::option_option, reason = "no part, all experts together, one module: three different answers")]
pub(super) fn matrix_part(tensor: &StoredTensor) -> Option<Option<&'static str>> {
    let part = part(tensor);
    if tensor.shape.len() < 2 || is_bias(part) || part.starts_with("ffn_gate_inp") {
        return None;
    }
    Some(match (tensor.layer(), part) {
        (None, "token_embd") => Some("embed_tokens"),
        (None, "output") => Some("lm_head"),
        (None, "per_layer_token_embd") => Some("embed_tokens_per_layer"),
        (None, "position_embd") => Some("position_embeddings"),
        (_, part) if part.ends_with("_exps") => None,
        (_, part) => Some(module(part)),
    })
}

/// A layer.
pub(super) struct Layer<'a> {
    /// The model.
    pub(super) about: &'a About<'a>,
    /// Its number.
    pub(super) index: u64,
    /// Layers of the model.
    pub(super) count: u64,
    /// Its tensors.
    pub(super) tensors: Vec<&'a StoredTensor>,
}

impl Layer<'_> {
    pub(super) fn read(&self) -> Result<LayerGroup, ModelError> {
        if self.tensors.is_empty() {
            return Err(self.about.contradiction(format!("layer {} has no tensors", self.index)));
        }
        let attention = self.attention()?;
        let kv_heads = match attention {
            Attention::Full(heads) | Attention::Sliding { heads, .. } | Attention::Chunked { heads, .. } => {
                heads.kv_heads
            }
            _ => 1,
        };
        let mut tensors: Vec<Tensor> = self.tensors.iter().map(|tensor| stored(tensor, kv_heads)).collect();
        tensors.sort_by_key(|tensor| (tensor.module, tensor.kind as u8, tensor.rows, tensor.cols, tensor.copies));
        let norm = |tensor: &&&StoredTensor| tensor.shape.len() == 1 && part(tensor).ends_with("norm");
        let norms = self.tensors.iter().filter(norm).count() as u64;
        Ok(LayerGroup { count: 1, attention, mlp: self.mlp()?, norms, tensors })
    }

    fn get(&self, name: &str) -> Option<&StoredTensor> {
        self.tensors.iter().find(|tensor| part(tensor) == name).copied()
    }

    fn has(&self, start: &str) -> bool {
        self.tensors.iter().any(|tensor| part(tensor).starts_with(start))
    }

    fn attention(&self) -> Result<Attention, ModelError> {
        if let Some(unknown) = UNKNOWN.iter().find(|start| self.has(start)) {
            return Err(self.about.unknown(format!("`{unknown}` in layer {}", self.index)));
        }
        let softmax = self.get("attn_q").is_some() || (self.get("attn_qkv").is_some() && !self.has("ssm_"));
        match (softmax, self.get("ssm_conv1d"), self.has("attn_kv_a_mqa")) {
            (true, Some(_), _) => Err(self.about.unknown(format!("attention beside a state in layer {}", self.index))),
            (false, Some(conv), _) => self.state(conv),
            (_, None, true) => self.latent(),
            (true, None, false) => self.softmax(),
            (false, None, false) if self.has("shortconv") => self.convolution(),
            (false, None, false) if self.has("attn_q") || self.has("ssm_") => {
                Err(self.about.unknown(format!("the attention of layer {}", self.index)))
            }
            (false, None, false) => Ok(Attention::None),
        }
    }

    fn heads(&self, windowed: bool) -> Result<Heads, ModelError> {
        let about = self.about;
        let key = |name: &str| about.key(name);
        let heads = about.of_layer("attention.head_count", self.index).filter(|n| *n > 0);
        let heads = heads.ok_or_else(|| ModelError::Missing(key("attention.head_count")))?;
        let kv_heads = about.of_layer("attention.head_count_kv", self.index).unwrap_or(heads).max(1);
        let width = |name: &str, swa: &str| {
            let of_window = if windowed { about.count(swa) } else { None };
            of_window.or(about.count(name)).filter(|n| *n > 0)
        };
        let even = about.hidden.is_multiple_of(heads).then(|| about.hidden / heads);
        let key_dim = width("attention.key_length", "attention.key_length_swa").or(even);
        let key_dim = key_dim.ok_or_else(|| ModelError::Missing(key("attention.key_length")))?;
        let value_dim = width("attention.value_length", "attention.value_length_swa").unwrap_or(key_dim);
        Ok(Heads { heads, kv_heads, key_dim, value_dim, qk_norm: self.has("attn_q_norm") })
    }

    fn softmax(&self) -> Result<Attention, ModelError> {
        let window = self.about.window(self.index)?;
        let heads = self.heads(window.is_some())?;
        if let Some(keys) = self.get("attn_k") {
            let rows = sides(&keys.shape).0;
            if Some(rows) != heads.kv_heads.checked_mul(heads.key_dim) {
                return Err(self.about.contradiction(format!(
                    "attn_k of layer {} has {rows} rows, {} heads of {} are described",
                    self.index, heads.kv_heads, heads.key_dim
                )));
            }
        }
        let shared = self.about.count("attention.shared_kv_layers").unwrap_or(0);
        if self.index >= self.count.saturating_sub(shared) {
            return Ok(Attention::SharedKv(heads));
        }
        if self.about.metadata.flag(&self.about.key("attention.causal")) == Some(false) {
            return Ok(Attention::Encoder(heads));
        }
        Ok(match window {
            Some(chunk) if self.about.architecture == "llama4" => Attention::Chunked { heads, chunk },
            Some(window) => Attention::Sliding { heads, window },
            None => Attention::Full(heads),
        })
    }

    /// Latent attention; files from before llama.cpp cached the latent have whole heads.
    fn latent(&self) -> Result<Attention, ModelError> {
        let about = self.about;
        let Some(key) = about.count("attention.key_length_mla").filter(|n| *n > 0) else {
            let heads = self.heads(false)?;
            return Ok(Attention::Full(Heads { kv_heads: heads.heads, ..heads }));
        };
        let rope = about.needed("rope.dimension_count")?;
        let nope = key.checked_sub(rope);
        let heads = about.of_layer("attention.head_count", self.index).filter(|n| *n > 0);
        Ok(Attention::Latent {
            heads: heads.ok_or_else(|| ModelError::Missing(about.key("attention.head_count")))?,
            latent: about.needed("attention.kv_lora_rank")?,
            rope,
            nope: nope.ok_or_else(|| ModelError::Missing(about.key("attention.key_length_mla")))?,
            value: about.needed("attention.value_length_mla")?,
            q_latent: about.count("attention.q_lora_rank").filter(|n| *n > 0),
            indexer: None,
        })
    }

    /// Mamba or gated delta rule: the convolution's channels are stored, the state is inner width times state width.
    fn state(&self, conv: &StoredTensor) -> Result<Attention, ModelError> {
        let (conv_channels, conv_kernel) = sides(&conv.shape);
        let inner = self.about.needed("ssm.inner_size")?;
        let state = self.about.needed("ssm.state_size")?;
        let state = LinearState {
            conv_channels,
            conv_kernel,
            recurrent: inner.saturating_mul(state),
            heads: self.about.count("ssm.time_step_rank").unwrap_or(1).max(1),
            groups: self.about.count("ssm.group_count").unwrap_or(1).max(1),
            fp32_state: true,
        };
        Ok(if self.has("ssm_beta") || self.has("ssm_ba") { Attention::Linear(state) } else { Attention::Mamba(state) })
    }

    fn convolution(&self) -> Result<Attention, ModelError> {
        let conv_kernel = self.about.needed("shortconv.l_cache")?;
        let (conv_channels, recurrent) = (self.about.hidden, 0);
        Ok(Attention::Linear(LinearState {
            conv_channels,
            conv_kernel,
            recurrent,
            heads: 1,
            groups: 1,
            fp32_state: true,
        }))
    }

    fn mlp(&self) -> Result<Mlp, ModelError> {
        let width = |name: &str| self.get(name).map(|tensor| sides(&tensor.shape).1);
        if let Some(intermediate) = width("ffn_down_exps") {
            return Ok(Mlp::Moe {
                experts: self.about.needed("expert_count")?,
                top_k: self.about.needed("expert_used_count")?,
                intermediate,
                shared_intermediate: width("ffn_down_shexp").unwrap_or(0),
                gated: self.has("ffn_gate_exps") || self.has("ffn_gate_up_exps"),
            });
        }
        let Some(intermediate) = width("ffn_down") else { return Ok(Mlp::None) };
        let up = self.get("ffn_up").map(|tensor| sides(&tensor.shape).0);
        let gated = self.get("ffn_gate").is_some() || up == intermediate.checked_mul(2);
        Ok(Mlp::Dense { intermediate, gated })
    }
}

/// A stored tensor as the estimator sees it.
fn stored(tensor: &StoredTensor, kv_heads: u64) -> Tensor {
    let part = part(tensor);
    let (rows, cols) = sides(&tensor.shape);
    let one = |kind, split| Tensor { module: module(part), rows, cols, copies: 1, kind, split };
    match (tensor.shape.as_slice(), part) {
        ([experts, rows, cols], part) if part.ends_with("_exps") => {
            Tensor { copies: *experts, rows: *rows, cols: *cols, ..one(TensorKind::Expert, Split::Expert) }
        }
        (_, part) if part.starts_with("ffn_gate_inp") => one(TensorKind::Router, Split::Replicated),
        ([] | [_], _) => one(TensorKind::Vector, Split::Replicated),
        (_, part) if is_bias(part) => one(TensorKind::Vector, Split::Replicated),
        (_, "attn_k" | "attn_v") => one(TensorKind::Linear, Split::KvHeads(kv_heads)),
        (_, "attn_kv_a_mqa" | "attn_q_a") => one(TensorKind::Linear, Split::Replicated),
        _ => one(TensorKind::Linear, Split::Tensor),
    }
}
