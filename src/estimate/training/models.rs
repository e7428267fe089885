//! Models built by hand for the tests of this room.

use crate::estimate::dtype::DType;
use crate::estimate::model::{Attention, Heads, LayerGroup, Mlp, Model, Split, Tensor, TensorKind};

fn tensor(module: &'static str, rows: u64, cols: u64, kind: TensorKind, split: Split) -> Tensor {
    Tensor { module, rows, cols, copies: 1, kind, split }
}

fn linear(module: &'static str, rows: u64, cols: u64, split: Split) -> Tensor {
    tensor(module, rows, cols, TensorKind::Linear, split)
}

fn vector(rows: u64) -> Tensor {
    tensor("norm", rows, 1, TensorKind::Vector, Split::Replicated)
}

/// The numbers of a Llama-like decoder.
pub(crate) struct Decoder {
    pub(crate) layers: u64,
    pub(crate) hidden: u64,
    pub(crate) heads: u64,
    pub(crate) kv_heads: u64,
    pub(crate) head_dim: u64,
    pub(crate) intermediate: u64,
    pub(crate) vocabulary: u64,
    pub(crate) tied: bool,
    pub(crate) qk_norm: bool,
}

impl Decoder {
    pub(crate) fn build(&self) -> Model {
        let (hidden, query, key) = (self.hidden, self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let mut tensors = vec![
            linear("q_proj", query, hidden, Split::Tensor),
            linear("k_proj", key, hidden, Split::KvHeads(self.kv_heads)),
            linear("v_proj", key, hidden, Split::KvHeads(self.kv_heads)),
            linear("o_proj", hidden, query, Split::Tensor),
            linear("gate_proj", self.intermediate, hidden, Split::Tensor),
            linear("up_proj", self.intermediate, hidden, Split::Tensor),
            linear("down_proj", hidden, self.intermediate, Split::Tensor),
            vector(hidden),
            vector(hidden),
        ];
        if self.qk_norm {
            tensors.extend([vector(self.head_dim), vector(self.head_dim)]);
        }
        let mut outer =
            vec![tensor("embed_tokens", self.vocabulary, hidden, TensorKind::Embedding, Split::Vocab), vector(hidden)];
        if !self.tied {
            outer.push(tensor("lm_head", self.vocabulary, hidden, TensorKind::Head, Split::Vocab));
        }
        let heads = Heads {
            heads: self.heads,
            kv_heads: self.kv_heads,
            key_dim: self.head_dim,
            value_dim: self.head_dim,
            qk_norm: self.qk_norm,
        };
        let mlp = Mlp::Dense { intermediate: self.intermediate, gated: true };
        let group = LayerGroup { count: self.layers, attention: Attention::Full(heads), mlp, norms: 2, tensors };
        Model {
            name: "test".to_owned(),
            model_type: "llama".to_owned(),
            hidden_size: hidden,
            vocab_size: self.vocabulary,
            tied_embeddings: self.tied,
            max_position_embeddings: None,
            dtype: DType::Bf16,
            quantization: None,
            layers: vec![group],
            outer,
            mtp: Vec::new(),
            rotary_rows: 0,
            logit_softcap: false,
            checkpoint_bytes: None,
            measured: None,
        }
    }
}

const LLAMA: Decoder = Decoder {
    layers: 32,
    hidden: 4096,
    heads: 32,
    kv_heads: 32,
    head_dim: 128,
    intermediate: 11008,
    vocabulary: 32000,
    tied: false,
    qk_norm: false,
};

pub(crate) fn llama2_7b() -> Model {
    LLAMA.build()
}

pub(crate) fn llama3_8b() -> Model {
    Decoder { kv_heads: 8, intermediate: 14336, vocabulary: 128_256, ..LLAMA }.build()
}

pub(crate) fn llama32_1b() -> Model {
    let small = Decoder { layers: 16, hidden: 2048, kv_heads: 8, head_dim: 64, intermediate: 8192, ..LLAMA };
    Decoder { vocabulary: 128_256, tied: true, ..small }.build()
}

pub(crate) fn llama32_3b() -> Model {
    let small = Decoder { layers: 28, hidden: 3072, heads: 24, kv_heads: 8, intermediate: 8192, ..LLAMA };
    Decoder { vocabulary: 128_256, tied: true, ..small }.build()
}

pub(crate) fn qwen3_06b() -> Model {
    let small = Decoder { layers: 28, hidden: 1024, heads: 16, kv_heads: 8, intermediate: 3072, ..LLAMA };
    Decoder { vocabulary: 151_936, tied: true, qk_norm: true, ..small }.build()
}
