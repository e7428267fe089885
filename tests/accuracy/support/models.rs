//! Decoders from their published dimensions.

use vramguard::estimate::dtype::DType;
use vramguard::estimate::model::{Attention, Heads, LayerGroup, Mlp, Model, Split, Tensor, TensorKind};

/// The numbers of a decoder of equal layers.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties of a decoder")]
pub struct Decoder {
    pub layers: u64,
    pub hidden: u64,
    pub heads: u64,
    pub kv_heads: u64,
    pub head_dim: u64,
    pub intermediate: u64,
    pub vocabulary: u64,
    pub tied: bool,
    pub qk_norm: bool,
    pub gated: bool,
    pub biases: bool,
    pub norms: u64,
    pub softcap: bool,
    /// Learned positions.
    pub positions: u64,
    /// Routed experts and those that a token uses.
    pub experts: Option<(u64, u64)>,
    /// Queries, keys and values come out of one projection.
    pub fused_qkv: bool,
}

fn tensor(module: &'static str, rows: u64, cols: u64, kind: TensorKind, split: Split) -> Tensor {
    Tensor { module, rows, cols, copies: 1, kind, split }
}

fn vector(rows: u64, split: Split) -> Tensor {
    tensor("norm", rows, 1, TensorKind::Vector, split)
}

impl Decoder {
    fn attention(&self) -> Vec<Tensor> {
        let linear = |module, rows, cols, split| tensor(module, rows, cols, TensorKind::Linear, split);
        let (query, key) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let kv = Split::KvHeads(self.kv_heads);
        let mut tensors = if self.fused_qkv {
            vec![linear("c_attn", query + 2 * key, self.hidden, Split::Tensor)]
        } else {
            vec![
                linear("q_proj", query, self.hidden, Split::Tensor),
                linear("k_proj", key, self.hidden, kv),
                linear("v_proj", key, self.hidden, kv),
            ]
        };
        tensors.push(linear("o_proj", self.hidden, query, Split::Tensor));
        if self.qk_norm {
            tensors.extend([vector(self.head_dim, Split::Replicated), vector(self.head_dim, Split::Replicated)]);
        }
        if self.biases {
            tensors.extend([vector(query + 2 * key, Split::Tensor), vector(self.hidden, Split::Replicated)]);
        }
        tensors
    }

    fn mlp(&self) -> (Mlp, Vec<Tensor>) {
        let (kind, split, copies) = match self.experts {
            Some((experts, _)) => (TensorKind::Expert, Split::Expert, experts),
            None => (TensorKind::Linear, Split::Tensor, 1),
        };
        let linear = |module, rows, cols| Tensor { module, rows, cols, copies, kind, split };
        let mut tensors = vec![
            linear("up_proj", self.intermediate, self.hidden),
            linear("down_proj", self.hidden, self.intermediate),
        ];
        if self.gated {
            tensors.push(linear("gate_proj", self.intermediate, self.hidden));
        }
        if self.biases {
            tensors.push(Tensor { copies, ..vector(self.intermediate, split) });
            tensors.push(Tensor { copies, ..vector(self.hidden, Split::Replicated) });
        }
        let (gated, intermediate) = (self.gated, self.intermediate);
        let Some((experts, top_k)) = self.experts else { return (Mlp::Dense { intermediate, gated }, tensors) };
        tensors.push(tensor("gate", experts, self.hidden, TensorKind::Router, Split::Replicated));
        (Mlp::Moe { experts, top_k, intermediate, shared_intermediate: 0, gated }, tensors)
    }

    pub fn build(&self) -> Model {
        let (mlp, more) = self.mlp();
        let mut tensors = self.attention();
        tensors.extend(more);
        let norm = vector(if self.gated { self.hidden } else { 2 * self.hidden }, Split::Replicated);
        tensors.extend((0..self.norms).map(|_| norm));
        let embedding = |module, kind| tensor(module, self.vocabulary, self.hidden, kind, Split::Vocab);
        let mut outer = vec![embedding("embed_tokens", TensorKind::Embedding), norm];
        if !self.tied {
            outer.push(embedding("lm_head", TensorKind::Head));
        }
        if self.positions > 0 {
            let kind = TensorKind::Embedding;
            outer.push(tensor("position_embeddings", self.positions, self.hidden, kind, Split::Replicated));
        }
        let (heads, kv_heads, dim, qk_norm) = (self.heads, self.kv_heads, self.head_dim, self.qk_norm);
        let heads = Heads { heads, kv_heads, key_dim: dim, value_dim: dim, qk_norm };
        let attention = Attention::Full(heads);
        Model {
            name: "measured".to_owned(),
            model_type: "decoder".to_owned(),
            hidden_size: self.hidden,
            vocab_size: self.vocabulary,
            tied_embeddings: self.tied,
            max_position_embeddings: None,
            dtype: DType::Bf16,
            quantization: None,
            layers: vec![LayerGroup { count: self.layers, attention, mlp, norms: self.norms, tensors }],
            outer,
            mtp: Vec::new(),
            rotary_rows: 0,
            logit_softcap: self.softcap,
            checkpoint_bytes: None,
            measured: None,
        }
    }
}

pub const LLAMA2_7B: Decoder = Decoder {
    layers: 32,
    hidden: 4096,
    heads: 32,
    kv_heads: 32,
    head_dim: 128,
    intermediate: 11008,
    vocabulary: 32000,
    tied: false,
    qk_norm: false,
    gated: true,
    biases: false,
    norms: 2,
    softcap: false,
    positions: 0,
    experts: None,
    fused_qkv: false,
};
const LLAMA3_8B: Decoder = Decoder { kv_heads: 8, intermediate: 14336, vocabulary: 128_256, ..LLAMA2_7B };
const LLAMA3_70B: Decoder = Decoder { layers: 80, hidden: 8192, heads: 64, intermediate: 28672, ..LLAMA3_8B };
const LLAMA3_SMALL: Decoder = Decoder { tied: true, ..LLAMA3_8B };
const QWEN3: Decoder = Decoder { qk_norm: true, vocabulary: 151_936, ..LLAMA3_8B };
const QWEN25: Decoder = Decoder { biases: true, vocabulary: 152_064, ..LLAMA3_8B };
const QWEN1: Decoder = Decoder { vocabulary: 151_936, fused_qkv: true, ..LLAMA2_7B };
const GEMMA: Decoder = Decoder { head_dim: 256, vocabulary: 256_000, tied: true, ..LLAMA2_7B };

/// Published dimensions by the name that the measured rows use.
pub fn by_name(name: &str) -> Option<Model> {
    let wide = |layers, hidden, heads, kv_heads, intermediate, base: Decoder| Decoder {
        layers,
        hidden,
        heads,
        kv_heads,
        intermediate,
        ..base
    };
    let short = name.rsplit('/').next().unwrap_or(name);
    let short = short.split(" (").next().unwrap_or(short);
    let decoder = match short.to_ascii_lowercase().as_str() {
        "llama-2-7b-hf" | "llama-2-7b" => LLAMA2_7B,
        "llama-2-13b-hf" => wide(40, 5120, 40, 40, 13824, LLAMA2_7B),
        "llama-2-70b-hf" => wide(80, 8192, 64, 8, 28672, LLAMA2_7B),
        "llama-3.1-8b" | "meta-llama-3-8b" => LLAMA3_8B,
        "llama-3.1-70b" | "meta-llama-3-70b" => LLAMA3_70B,
        "llama-3.1-405b" => wide(126, 16384, 128, 8, 53248, LLAMA3_8B),
        "llama-3.2-1b" => Decoder { head_dim: 64, ..wide(16, 2048, 32, 8, 8192, LLAMA3_SMALL) },
        "llama-3.2-3b" => wide(28, 3072, 24, 8, 8192, LLAMA3_SMALL),
        "mistral-7b-v0.1" | "mistral-7b-v0.2" | "zephyr-7b" => Decoder { vocabulary: 32000, ..LLAMA3_8B },
        "qwen3-8b" => wide(36, 4096, 32, 8, 12288, QWEN3),
        "qwen3-14b" => wide(40, 5120, 40, 8, 17408, QWEN3),
        "qwen3-32b" => wide(64, 5120, 64, 8, 25600, QWEN3),
        "qwen3-30b-a3b" | "qwen3-30b-a3b-base" => {
            Decoder { experts: Some((128, 8)), ..wide(48, 2048, 32, 4, 768, QWEN3) }
        }
        "qwen2.5-7b" | "qwen2.5-7b-instruct" => wide(28, 3584, 28, 4, 18944, QWEN25),
        "qwen2.5-14b" => wide(48, 5120, 40, 8, 13824, QWEN25),
        "qwen2.5-72b-instruct" => wide(80, 8192, 64, 8, 29568, QWEN25),
        "qwen-7b-chat" | "qwen-7b" => QWEN1,
        "qwen-14b" => Decoder { vocabulary: 152_064, ..wide(40, 5120, 40, 40, 13696, QWEN1) },
        "qwen-72b-chat" => Decoder { vocabulary: 152_064, ..wide(80, 8192, 64, 64, 24576, QWEN1) },
        "chatglm3-6b" => Decoder { vocabulary: 65024, fused_qkv: true, ..wide(28, 4096, 32, 2, 13696, LLAMA2_7B) },
        "yi-6b-chat" => Decoder { vocabulary: 64000, ..wide(32, 4096, 32, 4, 11008, LLAMA2_7B) },
        "yi-34b" => Decoder { vocabulary: 64000, ..wide(60, 7168, 56, 8, 20480, LLAMA2_7B) },
        "gemma-2b" => wide(18, 2048, 8, 1, 16384, GEMMA),
        "gemma-7b" => wide(28, 3072, 16, 16, 24576, GEMMA),
        "gemma-2-2b" => Decoder { norms: 4, softcap: true, ..wide(26, 2304, 8, 4, 9216, GEMMA) },
        "phi-2" => Decoder {
            head_dim: 80,
            vocabulary: 51200,
            gated: false,
            biases: true,
            norms: 1,
            ..wide(32, 2560, 32, 32, 10240, LLAMA2_7B)
        },
        "falcon-40b" => Decoder {
            head_dim: 64,
            vocabulary: 65024,
            gated: false,
            tied: true,
            fused_qkv: true,
            ..wide(60, 8192, 128, 8, 32768, LLAMA2_7B)
        },
        _ => return None,
    };
    Some(decoder.build())
}
