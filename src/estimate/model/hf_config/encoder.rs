//! Encoders (BERT and its like): no cache, no head.

use crate::estimate::model::{Attention, Heads, LayerGroup, Mlp, Split, TensorKind};

use super::decoder::table;
use super::error::ConfigError;
use super::parts::{layer, linear, norms, vector};
use super::{Build, Parts};

/// BERT, RoBERTa, XLM-RoBERTa.
pub(super) fn read(build: &Build<'_>) -> Result<Parts, ConfigError> {
    let (keys, hidden) = (build.keys, build.hidden);
    if let Some(kind) = keys.text("position_embedding_type")?
        && kind != "absolute"
    {
        return Err(keys.invalid("position_embedding_type", "only `absolute` is understood"));
    }
    let layers = keys.layers("num_hidden_layers")?;
    let group = LayerGroup { count: layers, ..block(build)? };
    let positions = keys.size_or("max_position_embeddings", 512)?;
    let segments = keys.size_or("type_vocab_size", 2)?;
    let lookup = |module, rows, split| table(module, rows, hidden, split, TensorKind::Embedding);
    let mut outer = vec![
        lookup("word_embeddings", build.vocab, Split::Vocab),
        lookup("position_embeddings", positions, Split::Replicated),
        lookup("token_type_embeddings", segments, Split::Replicated),
    ];
    norms(&mut outer, hidden, 2);
    linear(&mut outer, "pooler", (hidden, hidden), Split::Replicated, Some(Split::Replicated));
    Ok(Parts { layers: vec![group], outer, mtp: Vec::new() })
}

fn block(build: &Build<'_>) -> Result<LayerGroup, ConfigError> {
    let (keys, hidden) = (build.keys, build.hidden);
    let count = keys.size("num_attention_heads")?;
    if !hidden.is_multiple_of(count) {
        return Err(keys.invalid("num_attention_heads", format!("it must divide hidden_size ({hidden})")));
    }
    for understood in ["num_key_value_heads", "head_dim"] {
        keys.touch(understood);
    }
    let dim = hidden / count;
    let heads = Heads { heads: count, kv_heads: count, key_dim: dim, value_dim: dim, qk_norm: false };
    let intermediate = keys.size("intermediate_size")?;
    let mut tensors = Vec::with_capacity(13);
    for module in ["query", "key", "value"] {
        linear(&mut tensors, module, (hidden, hidden), Split::Tensor, Some(Split::Tensor));
    }
    linear(&mut tensors, "dense", (hidden, hidden), Split::Tensor, Some(Split::Replicated));
    linear(&mut tensors, "intermediate", (intermediate, hidden), Split::Tensor, Some(Split::Tensor));
    linear(&mut tensors, "output", (hidden, intermediate), Split::Tensor, Some(Split::Replicated));
    tensors.push(vector("LayerNorm", 4 * hidden, Split::Replicated));
    Ok(layer(Attention::Encoder(heads), Mlp::Dense { intermediate, gated: false }, 2, tensors))
}
