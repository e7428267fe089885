//! DeepSeek V4: one shared key/value vector per token in a window, beside it caches compressed by a ratio per layer,
//! grouped low-rank output, hyper-connections.

use crate::estimate::model::{Attention, Heads, LayerGroup, Split, Tensor, TensorKind};

use super::error::ConfigError;
use super::parts::{layer, matrix, merge, norms, vector};
use super::{Build, Parts, decoder, moe};

struct Shape {
    heads: u64,
    head_dim: u64,
    q_rank: u64,
    o_rank: u64,
    o_groups: u64,
    index_heads: u64,
    index_dim: u64,
    /// Copies of the residual stream.
    streams: u64,
    window: u64,
}

/// Layers with this compression ratio have a sparse indexer.
const INDEXED: u64 = 4;

pub(super) fn read(build: &Build<'_>) -> Result<Parts, ConfigError> {
    let keys = build.keys;
    let layers = keys.layers("num_hidden_layers")?;
    let window = keys.tokens("sliding_window")?;
    let shape = Shape {
        heads: keys.size("num_attention_heads")?,
        head_dim: keys.size("head_dim")?,
        q_rank: keys.size("q_lora_rank")?,
        o_rank: keys.size("o_lora_rank")?,
        o_groups: keys.size("o_groups")?,
        index_heads: keys.size("index_n_heads")?,
        index_dim: keys.size("index_head_dim")?,
        streams: keys.size("hc_mult")?,
        window: window.ok_or_else(|| keys.missing("sliding_window", "the uncompressed cache is that long"))?,
    };
    let drafts = keys.count("num_nextn_predict_layers")?.unwrap_or(0);
    let hashed = keys.count("num_hash_layers")?.unwrap_or(0);
    let ratios = keys.per_layer("compress_ratios", layers)?;
    let ratios =
        ratios.ok_or_else(|| keys.missing("compress_ratios", "it says how each layer's cache is compressed"))?;
    let ratios: Option<Vec<u64>> = ratios.iter().map(serde_json::Value::as_u64).collect();
    let ratios = ratios.ok_or_else(|| keys.invalid("compress_ratios", "a list of numbers is allowed"))?;
    let read: Result<Vec<LayerGroup>, ConfigError> =
        ratios.into_iter().zip(0..).map(|(ratio, i)| one(build, &shape, ratio, i < hashed)).collect();
    let mut outer = decoder::outer(build)?;
    outer.push(vector("hc_head", head_connections(build, &shape), Split::Replicated));
    let mtp = if drafts > 0 { vec![draft(build, &shape, drafts)?] } else { Vec::new() };
    Ok(Parts { layers: merge(read?), outer, mtp })
}

/// Weights, base and scale by which the streams are joined before the head.
const fn head_connections(build: &Build<'_>, shape: &Shape) -> u64 {
    shape.streams * shape.streams * build.hidden + shape.streams + 1
}

fn one(build: &Build<'_>, shape: &Shape, ratio: u64, hashed: bool) -> Result<LayerGroup, ConfigError> {
    let hidden = build.hidden;
    let mut tensors = attention(build, shape)?;
    if ratio > 0 {
        compressor(&mut tensors, hidden, shape.head_dim, ratio);
    }
    if ratio == INDEXED {
        let rows = shape.index_heads * shape.index_dim;
        tensors.push(matrix("indexer_wq_b", rows, shape.q_rank, Split::Replicated));
        let weights = matrix("weights_proj", shape.index_heads, hidden, Split::Replicated);
        tensors.push(Tensor { kind: TensorKind::Router, ..weights });
        compressor(&mut tensors, hidden, shape.index_dim, ratio);
    }
    let (mlp, mut experts) = moe::mixture(build)?;
    if hashed {
        // Tokens are assigned to experts by a table of integers: the router has no correction.
        experts.retain(|tensor| tensor.module != "e_score_correction_bias");
    }
    tensors.extend(experts);
    // Two of three matrices that mix the streams, around attention and around the experts: weights, base, scales.
    let mixes = (2 + shape.streams) * shape.streams;
    let connection = mixes * shape.streams * hidden + mixes + 3;
    tensors.push(Tensor { copies: 2, ..vector("hc", connection, Split::Replicated) });
    norms(&mut tensors, hidden, 2);
    Ok(layer(cache(shape, ratio), mlp, 2, tensors))
}

fn attention(build: &Build<'_>, shape: &Shape) -> Result<Vec<Tensor>, ConfigError> {
    let (hidden, inner) = (build.hidden, shape.heads * shape.head_dim);
    if !inner.is_multiple_of(shape.o_groups) {
        let allowed = format!("it must divide the width of all heads ({inner})");
        return Err(build.keys.invalid("o_groups", allowed));
    }
    Ok(vec![
        matrix("wq_a", shape.q_rank, hidden, Split::Replicated),
        vector("q_norm", shape.q_rank, Split::Replicated),
        matrix("wq_b", inner, shape.q_rank, Split::Tensor),
        matrix("wkv", shape.head_dim, hidden, Split::Replicated),
        vector("kv_norm", shape.head_dim, Split::Replicated),
        matrix("wo_a", shape.o_groups * shape.o_rank, inner / shape.o_groups, Split::Tensor),
        matrix("wo_b", hidden, shape.o_groups * shape.o_rank, Split::Tensor),
        vector("sinks", shape.heads, Split::Tensor),
    ])
}

/// Two projections, positions inside a block, a norm; blocks overlap where the ratio is small.
fn compressor(into: &mut Vec<Tensor>, hidden: u64, width: u64, ratio: u64) {
    let rows = width * if ratio == INDEXED { 2 } else { 1 };
    into.push(Tensor { copies: 2, ..matrix("compressor", rows, hidden, Split::Replicated) });
    into.push(vector("ape", ratio * rows, Split::Replicated));
    into.push(vector("compressor_norm", width, Split::Replicated));
}

/// Per token a vector of `head_dim` divided by the ratio, and of the indexer's. The window of uncompressed vectors, a
/// constant of some MiB per sequence, counts on layers that have nothing else. Not reconciled with measured servers.
fn cache(shape: &Shape, ratio: u64) -> Attention {
    let heads = Heads { heads: shape.heads, kv_heads: 1, key_dim: shape.head_dim, value_dim: 0, qk_norm: true };
    if ratio == 0 {
        return Attention::Sliding { heads, window: shape.window };
    }
    let index = if ratio == INDEXED { shape.index_dim.div_ceil(ratio) } else { 0 };
    Attention::Latent {
        heads: shape.heads,
        latent: shape.head_dim.div_ceil(ratio) + index,
        rope: 0,
        nope: shape.head_dim,
        value: shape.head_dim,
        q_latent: Some(shape.q_rank),
        indexer: None,
    }
}

/// A draft layer: uncompressed, two projections of the hidden size, three norms, its own joining of streams.
fn draft(build: &Build<'_>, shape: &Shape, count: u64) -> Result<LayerGroup, ConfigError> {
    let mut layer = one(build, shape, 0, false)?;
    layer.count = count.min(super::keys::MOST_LAYERS);
    let projection = matrix("eh_proj", build.hidden, build.hidden, Split::Replicated);
    layer.tensors.push(Tensor { copies: 2, ..projection });
    norms(&mut layer.tensors, build.hidden, 3);
    layer.tensors.push(vector("hc_head", head_connections(build, shape), Split::Replicated));
    Ok(layer)
}
