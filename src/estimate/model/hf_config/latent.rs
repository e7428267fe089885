//! Multi-head latent attention (MLA), with and without the sparse indexer.

use crate::estimate::model::{Attention, Split, Tensor, TensorKind};

use super::Build;
use super::error::ConfigError;
use super::parts::{linear, matrix, vector};

/// One MLA layer; `indexer` says whether it owns an indexer.
pub(super) fn layer(build: &Build<'_>, indexer: bool) -> Result<(Attention, Vec<Tensor>), ConfigError> {
    let (keys, hidden) = (build.keys, build.hidden);
    let heads = keys.size("num_attention_heads")?;
    let (latent, rope) = (keys.size("kv_lora_rank")?, keys.count("qk_rope_head_dim")?);
    let rope = rope.ok_or_else(|| keys.missing("qk_rope_head_dim", "the cache of every token depends on it"))?;
    let nope = keys.size("qk_nope_head_dim")?;
    let value = match keys.size_if("v_head_dim")? {
        Some(value) => value,
        None if hidden.is_multiple_of(heads) => hidden / heads,
        None => return Err(keys.missing("v_head_dim", "the width of value heads is needed")),
    };
    let q_latent = match keys.value("q_lora_rank") {
        Some(_) => keys.size_if("q_lora_rank")?,
        None if keys.has("q_lora_rank") => None,
        None => return Err(keys.missing("q_lora_rank", "a size, or null where queries are not compressed")),
    };
    let bias = build.family.qkv_bias.get(keys)?.then_some(Split::Replicated);
    let mut tensors = Vec::with_capacity(12);
    match q_latent {
        Some(rank) => {
            linear(&mut tensors, "q_a_proj", (rank, hidden), Split::Replicated, bias);
            tensors.push(vector("q_a_layernorm", rank, Split::Replicated));
            tensors.push(matrix("q_b_proj", heads * (nope + rope), rank, Split::Tensor));
        }
        None => tensors.push(matrix("q_proj", heads * (nope + rope), hidden, Split::Tensor)),
    }
    linear(&mut tensors, "kv_a_proj_with_mqa", (latent + rope, hidden), Split::Replicated, bias);
    tensors.push(vector("kv_a_layernorm", latent, Split::Replicated));
    tensors.push(matrix("kv_b_proj", heads * (nope + value), latent, Split::Tensor));
    linear(&mut tensors, "o_proj", (hidden, heads * value), Split::Tensor, bias);
    let indexer = if indexer { Some(indexer_tensors(build, q_latent, &mut tensors)?) } else { None };
    Ok((Attention::Latent { heads, latent, rope, nope, value, q_latent, indexer }, tensors))
}

/// The indexer's projections: queries from the compressed queries, one key per token with a LayerNorm, head weights.
fn indexer_tensors(build: &Build<'_>, q_latent: Option<u64>, into: &mut Vec<Tensor>) -> Result<u64, ConfigError> {
    let keys = build.keys;
    let (width, heads) = (keys.size("index_head_dim")?, keys.size("index_n_heads")?);
    let from = q_latent.unwrap_or(build.hidden);
    into.push(matrix("wq_b", heads * width, from, Split::Replicated));
    into.push(matrix("wk", width, build.hidden, Split::Replicated));
    into.push(Tensor { copies: 2, ..vector("k_norm", width, Split::Replicated) });
    let weights = matrix("weights_proj", heads, build.hidden, Split::Replicated);
    into.push(Tensor { kind: TensorKind::Router, ..weights });
    Ok(width)
}
