//! Models by hand, for the tests of the engines' rules.

use std::sync::Arc;

use crate::estimate::Device;
use crate::estimate::dtype::DType;
use crate::estimate::model::{Attention, Heads, LayerGroup, Mlp, Model, Split, Tensor, TensorKind};
use crate::estimate::units::Bytes;
use crate::estimate::workload::{Engine, EngineName, Method, ModelFacts, Parallelism, Task, Training, Workload};

/// Numbers of a dense decoder.
#[derive(Debug, Clone, Copy)]
pub(in crate::estimate) struct Shape {
    pub hidden: u64,
    pub layers: u64,
    pub heads: u64,
    pub kv_heads: u64,
    pub head_dim: u64,
    pub intermediate: u64,
    pub vocab: u64,
}

impl Shape {
    pub(in crate::estimate) const LLAMA_8B: Self =
        Self { hidden: 4096, layers: 32, heads: 32, kv_heads: 8, head_dim: 128, intermediate: 14_336, vocab: 128_256 };

    pub(in crate::estimate) const fn attention(&self) -> Heads {
        let (heads, kv_heads) = (self.heads, self.kv_heads);
        Heads { heads, kv_heads, key_dim: self.head_dim, value_dim: self.head_dim, qk_norm: false }
    }
}

pub(in crate::estimate) fn tensor(
    module: &'static str,
    rows: u64,
    cols: u64,
    kind: TensorKind,
    split: Split,
) -> Tensor {
    Tensor { module, rows, cols, copies: 1, kind, split }
}

/// One gated layer of softmax attention.
pub(in crate::estimate) fn layers(shape: &Shape, count: u64, attention: Attention) -> LayerGroup {
    use Split::Tensor as T;
    use TensorKind::Linear as L;
    let (hidden, inner, kv) = (shape.hidden, shape.intermediate, shape.kv_heads * shape.head_dim);
    let queries = shape.heads * shape.head_dim;
    LayerGroup {
        count,
        attention,
        mlp: Mlp::Dense { intermediate: inner, gated: true },
        norms: 2,
        tensors: vec![
            tensor("q_proj", queries, hidden, L, T),
            tensor("k_proj", kv, hidden, L, Split::KvHeads(shape.kv_heads)),
            tensor("v_proj", kv, hidden, L, Split::KvHeads(shape.kv_heads)),
            tensor("o_proj", hidden, queries, L, T),
            tensor("gate_proj", inner, hidden, L, T),
            tensor("up_proj", inner, hidden, L, T),
            tensor("down_proj", hidden, inner, L, T),
            tensor("norm", 2 * hidden, 1, TensorKind::Vector, Split::Replicated),
        ],
    }
}

/// A decoder with an untied head.
pub(in crate::estimate) fn model(shape: &Shape, layers: Vec<LayerGroup>) -> Model {
    Model {
        name: "by hand".to_owned(),
        model_type: "llama".to_owned(),
        hidden_size: shape.hidden,
        vocab_size: shape.vocab,
        tied_embeddings: false,
        max_position_embeddings: Some(131_072),
        dtype: DType::Bf16,
        quantization: None,
        layers,
        outer: vec![
            tensor("embed_tokens", shape.vocab, shape.hidden, TensorKind::Embedding, Split::Vocab),
            tensor("lm_head", shape.vocab, shape.hidden, TensorKind::Head, Split::Vocab),
            tensor("norm", shape.hidden, 1, TensorKind::Vector, Split::Replicated),
        ],
        mtp: Vec::new(),
        rotary_rows: 0,
        logit_softcap: false,
        checkpoint_bytes: None,
        measured: None,
    }
}

/// A uniform decoder.
pub(in crate::estimate) fn dense(shape: &Shape) -> Model {
    model(shape, vec![layers(shape, shape.layers, Attention::Full(shape.attention()))])
}

/// The model on an engine, and a device of so many GiB.
pub(in crate::estimate) fn on(name: EngineName, model: Model, gib: f64) -> (Workload, Device) {
    let workload = Workload {
        task: Task::Inference,
        model: ModelFacts::Known(Arc::new(model)),
        parallelism: Parallelism::default(),
        dtype: None,
        quantization: None,
        kv_cache_dtype: None,
        context_length: None,
        batch_size: None,
        engine: Engine { name, ..Engine::default() },
        training: Training::default(),
        method: Method::Auto,
    };
    let device = Device { product: String::new(), visible: Bytes::from_gib(gib), compute_capability: Some((8, 0)) };
    (workload, device)
}
