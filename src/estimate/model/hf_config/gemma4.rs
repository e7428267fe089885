//! Gemma 4: full layers with wider heads, keys that serve as values, layers that share a cache, inputs per layer.

use crate::estimate::model::{Attention, Heads, LayerGroup, Mlp, Split, Tensor, TensorKind};

use super::decoder::{outer, table};
use super::error::ConfigError;
use super::parts::{layer, linear, matrix, merge, norms, vector};
use super::pattern::{self, Span};
use super::{Build, Parts, attention, feed, moe};

/// Norms per layer, and how many more a layer with a mixture and with inputs of its own has.
const NORMS: u64 = 4;
const MIXTURE_NORMS: u64 = 3;

/// Settings that hold for all layers.
struct Shape {
    /// Width of the input that each layer has of its own; 0 without.
    per_layer: u64,
    /// Layers from this on use the cache of earlier ones.
    shared_from: u64,
    mixture: bool,
    double_wide: bool,
}

pub(super) fn read(build: &Build<'_>) -> Result<Parts, ConfigError> {
    let keys = build.keys;
    let layers = keys.layers("num_hidden_layers")?;
    let spans = pattern::spans(build, layers)?;
    let shape = Shape {
        per_layer: keys.count("hidden_size_per_layer_input")?.unwrap_or(0),
        shared_from: layers.saturating_sub(keys.count("num_kv_shared_layers")?.unwrap_or(0)),
        mixture: keys.flag("enable_moe_block", false)?,
        double_wide: keys.flag("use_double_wide_mlp", false)?,
    };
    for understood in ["num_experts", "attention_k_eq_v", "vocab_size_per_layer_input"] {
        keys.touch(understood);
    }
    let read: Result<Vec<LayerGroup>, ConfigError> =
        spans.into_iter().zip(0..).map(|(span, i)| one(build, &shape, span, i >= shape.shared_from)).collect();
    let mut outer = outer(build)?;
    if shape.per_layer > 0 {
        let width = shape.per_layer * layers;
        let rows = keys.size_or("vocab_size_per_layer_input", build.vocab)?;
        outer.push(table("embed_tokens_per_layer", rows, width, Split::Vocab, TensorKind::Embedding));
        outer.push(matrix("per_layer_model_projection", width, build.hidden, Split::Replicated));
        outer.push(vector("per_layer_projection_norm", shape.per_layer, Split::Replicated));
    }
    Ok(Parts { layers: merge(read?), outer, mtp: Vec::new() })
}

fn heads(build: &Build<'_>, span: Span) -> Result<Heads, ConfigError> {
    let keys = build.keys;
    let local = attention::heads(build)?;
    if span != Span::Full {
        return Ok(local);
    }
    let dim = keys.size_or("global_head_dim", local.key_dim)?;
    let kv_heads = keys.size_or("num_global_key_value_heads", local.kv_heads)?;
    let heads = Heads { kv_heads, key_dim: dim, value_dim: dim, ..local };
    attention::divides(build, &heads)?;
    Ok(heads)
}

fn one(build: &Build<'_>, shape: &Shape, span: Span, shared: bool) -> Result<LayerGroup, ConfigError> {
    let (keys, hidden) = (build.keys, build.hidden);
    let heads = heads(build, span)?;
    let kv = Split::KvHeads(heads.kv_heads);
    let (rows, kv_rows) = (heads.heads * heads.key_dim, heads.kv_heads * heads.key_dim);
    let mut tensors = Vec::with_capacity(20);
    linear(&mut tensors, "q_proj", (rows, hidden), Split::Tensor, None);
    tensors.push(vector("q_norm", heads.key_dim, Split::Replicated));
    if !shared {
        tensors.push(matrix("k_proj", kv_rows, hidden, kv));
        tensors.push(vector("k_norm", heads.key_dim, Split::Replicated));
        // On full layers keys may serve as values too; both are cached all the same.
        if span != Span::Full || !keys.flag("attention_k_eq_v", false)? {
            tensors.push(matrix("v_proj", kv_rows, hidden, kv));
        }
    }
    tensors.push(matrix("o_proj", hidden, rows, Split::Tensor));
    let (mlp, mut blocks) = blocks(build, shape, shared)?;
    tensors.append(&mut blocks);
    let count = NORMS + if shape.mixture { MIXTURE_NORMS } else { 0 } + u64::from(shape.per_layer > 0);
    norms(&mut tensors, hidden, count);
    if shape.per_layer > 0 {
        tensors.push(matrix("per_layer_input_gate", shape.per_layer, hidden, Split::Replicated));
        tensors.push(matrix("per_layer_projection", hidden, shape.per_layer, Split::Replicated));
    }
    let attention = match (shared, span) {
        (true, _) => Attention::SharedKv(heads),
        (false, Span::Sliding(window)) => Attention::Sliding { heads, window },
        (false, Span::Chunked(chunk)) => Attention::Chunked { heads, chunk },
        (false, Span::Full) => Attention::Full(heads),
    };
    Ok(layer(attention, mlp, count, tensors))
}

/// The dense block, and the mixture beside it, whose router has a scale per channel and one per expert.
fn blocks(build: &Build<'_>, shape: &Shape, shared: bool) -> Result<(Mlp, Vec<Tensor>), ConfigError> {
    let width = build.keys.size("intermediate_size")? * if shared && shape.double_wide { 2 } else { 1 };
    let (dense, mut tensors) = feed::dense(build, width)?;
    if !shape.mixture {
        return Ok((dense, tensors));
    }
    let (mixture, experts) = moe::mixture(build)?;
    tensors.extend(experts);
    let Mlp::Moe { experts, top_k, intermediate, gated, .. } = mixture else { return Ok((mixture, tensors)) };
    tensors.push(vector("router_scale", build.hidden + experts, Split::Replicated));
    Ok((Mlp::Moe { experts, top_k, intermediate, shared_intermediate: width, gated }, tensors))
}
