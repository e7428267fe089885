//! Softmax attention: heads and the tensors that project to and from them.

use crate::estimate::model::{Heads, Split, Tensor};

use super::Build;
use super::error::ConfigError;
use super::family::{KvHeads, QkNorm};
use super::keys::Keys;
use super::parts::{linear, matrix, vector};

/// Heads as the config has them.
pub(super) fn heads(build: &Build<'_>) -> Result<Heads, ConfigError> {
    let keys = build.keys;
    let heads = keys.size("num_attention_heads")?;
    let kv_heads = kv_heads(build, heads)?;
    let key_dim = head_dim(build, heads)?;
    let heads =
        Heads { heads, kv_heads, key_dim, value_dim: keys.size_or("v_head_dim", key_dim)?, qk_norm: qk_norm(build)? };
    divides(build, &heads)?;
    Ok(heads)
}

/// Key/value heads must divide query heads.
pub(super) fn divides(build: &Build<'_>, heads: &Heads) -> Result<(), ConfigError> {
    if heads.heads.is_multiple_of(heads.kv_heads) {
        return Ok(());
    }
    let allowed = format!("it must divide num_attention_heads ({})", heads.heads);
    Err(build.keys.invalid("num_key_value_heads", allowed))
}

fn head_dim(build: &Build<'_>, heads: u64) -> Result<u64, ConfigError> {
    if let Some(dim) = build.keys.size_if("head_dim")?.or(build.family.head_dim) {
        return Ok(dim);
    }
    if build.hidden.is_multiple_of(heads) {
        return Ok(build.hidden / heads);
    }
    let allowed = format!("it must divide hidden_size ({}), or head_dim must be given", build.hidden);
    Err(build.keys.invalid("num_attention_heads", allowed))
}

fn kv_heads(build: &Build<'_>, heads: u64) -> Result<u64, ConfigError> {
    let keys = build.keys;
    let multi_query = |default| keys.flag("multi_query", default);
    match build.family.kv_heads {
        KvHeads::Key => keys.size_or("num_key_value_heads", heads),
        KvHeads::MultiQuery(default) => Ok(if multi_query(default)? { 1 } else { heads }),
        KvHeads::Falcon => {
            let (multi_query, grouped) = (multi_query(true)?, keys.size_or("num_key_value_heads", heads)?);
            let new = keys.flag("new_decoder_architecture", false)?;
            Ok(if new {
                grouped
            } else if multi_query {
                1
            } else {
                heads
            })
        }
        KvHeads::Groups => {
            let groups = keys.size_or("multi_query_group_num", 1)?;
            Ok(if keys.flag("multi_query_attention", false)? { groups } else { heads })
        }
    }
}

fn qk_norm(build: &Build<'_>) -> Result<bool, ConfigError> {
    match build.family.qk_norm {
        QkNorm::None => Ok(false),
        QkNorm::PerHead(flag) | QkNorm::Full(flag) => flag.get(build.keys),
    }
}

/// Heads of windowed layers where they differ (`swa_*` keys, MiMo).
pub(super) fn windowed_heads(build: &Build<'_>) -> Result<Heads, ConfigError> {
    let (keys, all) = (build.keys, heads(build)?);
    let heads = Heads {
        heads: keys.size_or("swa_num_attention_heads", all.heads)?,
        kv_heads: keys.size_or("swa_num_key_value_heads", all.kv_heads)?,
        key_dim: keys.size_or("swa_head_dim", all.key_dim)?,
        value_dim: keys.size_or("swa_v_head_dim", all.value_dim)?,
        ..all
    };
    divides(build, &heads)?;
    Ok(heads)
}

/// The heads' cache with the keys of a sparse block selector beside it (MiniMax M3), counted as wider values: the
/// selector keeps one key of `sparse_index_dim` per token for all heads.
pub(super) fn with_selector(build: &Build<'_>, heads: Heads) -> Result<(Heads, Vec<Tensor>), ConfigError> {
    let Some(config) = build.keys.object("sparse_attention_config") else {
        return Err(build.keys.missing("sparse_attention_config", "the selector is sized by it"));
    };
    let keys = Keys::new(config, "sparse_attention_config.");
    let (width, count) = (keys.size("sparse_index_dim")?, keys.size("sparse_num_index_heads")?);
    let tensors = vec![
        matrix("index_q_proj", count * width, build.hidden, Split::Replicated),
        matrix("index_k_proj", width, build.hidden, Split::Replicated),
        Tensor { copies: 2, ..vector("index_norm", width, Split::Replicated) },
    ];
    Ok((Heads { value_dim: heads.value_dim + width.div_ceil(heads.kv_heads), ..heads }, tensors))
}

/// Projections, biases and norms of softmax attention.
pub(super) fn tensors(build: &Build<'_>, heads: &Heads) -> Result<Vec<Tensor>, ConfigError> {
    let (family, keys, hidden) = (build.family, build.keys, build.hidden);
    let [query, key, value, output] = family.names.attention;
    let (bias, out_bias) = (family.qkv_bias.get(keys)?, family.out_bias.get(keys)?);
    let kv = Split::KvHeads(heads.kv_heads);
    let wide = if family.query_gate && keys.flag("attn_output_gate", true)? { 2 } else { 1 };
    let (rows, key_rows) = (heads.heads * heads.key_dim, heads.kv_heads * heads.key_dim);
    let (value_rows, out_cols) = (heads.kv_heads * heads.value_dim, heads.heads * heads.value_dim);
    let mut tensors = Vec::with_capacity(12);
    linear(&mut tensors, query, (rows * wide, hidden), Split::Tensor, bias.then_some(Split::Tensor));
    linear(&mut tensors, key, (key_rows, hidden), kv, bias.then_some(kv));
    linear(&mut tensors, value, (value_rows, hidden), kv, bias.then_some(kv));
    linear(&mut tensors, output, (hidden, out_cols), Split::Tensor, out_bias.then_some(Split::Replicated));
    if heads.qk_norm {
        let (q, k) = match family.qk_norm {
            QkNorm::Full(_) => (rows, key_rows),
            _ => (heads.key_dim, heads.key_dim),
        };
        tensors.push(vector("q_norm", q, Split::Replicated));
        tensors.push(vector("k_norm", k, Split::Replicated));
    }
    if family.sinks {
        tensors.push(sinks(heads));
    }
    Ok(tensors)
}

/// A learned sink per head.
pub(super) const fn sinks(heads: &Heads) -> Tensor {
    vector("sinks", heads.heads, Split::Tensor)
}
