//! Mamba 1 and 2 layers.

use crate::estimate::model::{LinearState, Split, Tensor};

use super::Build;
use super::error::ConfigError;
use super::keys::Keys;
use super::parts::{linear, matrix, vector};

/// The first of the keys that is set, else the default of transformers.
fn first(keys: &Keys<'_>, names: &[&str], default: u64) -> Result<u64, ConfigError> {
    for name in names {
        if let Some(size) = keys.size_if(name)? {
            return Ok(size);
        }
    }
    Ok(default)
}

fn any(keys: &Keys<'_>, names: &[&str], default: bool) -> Result<bool, ConfigError> {
    for name in names {
        if keys.has(name) {
            return keys.flag(name, default);
        }
    }
    Ok(default)
}

/// The config asks for recurrent states in 32 bit.
pub(super) fn fp32_state(keys: &Keys<'_>) -> Result<bool, ConfigError> {
    let dtype = keys.text("mamba_ssm_dtype")?.or(keys.text("mamba_ssm_cache_dtype")?);
    Ok(dtype == Some("float32"))
}

/// A Mamba 1 mixer; `inner_norms` as Jamba has them.
pub(super) fn one(build: &Build<'_>, inner_norms: bool) -> Result<(LinearState, Vec<Tensor>), ConfigError> {
    let (keys, hidden) = (build.keys, build.hidden);
    let state = first(keys, &["mamba_d_state", "state_size"], 16)?;
    let kernel = first(keys, &["mamba_d_conv", "conv_kernel"], 4)?;
    let inner = hidden * first(keys, &["mamba_expand", "expand"], 2)?;
    let rank = dt_rank(keys, hidden)?;
    let bias = any(keys, &["mamba_proj_bias", "use_bias"], false)?;
    let conv_bias = any(keys, &["mamba_conv_bias", "use_conv_bias"], true)?;
    let mut tensors = Vec::with_capacity(12);
    linear(&mut tensors, "in_proj", (2 * inner, hidden), Split::Tensor, bias.then_some(Split::Tensor));
    tensors.push(vector("conv1d", inner * (kernel + u64::from(conv_bias)), Split::Tensor));
    tensors.push(matrix("x_proj", rank + 2 * state, inner, Split::Tensor));
    linear(&mut tensors, "dt_proj", (inner, rank), Split::Tensor, Some(Split::Tensor));
    tensors.push(vector("A_log", inner * state, Split::Tensor));
    tensors.push(vector("D", inner, Split::Tensor));
    linear(&mut tensors, "out_proj", (hidden, inner), Split::Tensor, bias.then_some(Split::Replicated));
    if inner_norms {
        tensors.push(vector("dt_layernorm", rank + 2 * state, Split::Replicated));
    }
    let state = LinearState {
        conv_channels: inner,
        conv_kernel: kernel,
        recurrent: inner * state,
        heads: inner,
        groups: 1,
        fp32_state: fp32_state(keys)?,
    };
    Ok((state, tensors))
}

/// `time_step_rank`: a number, or `auto` for a sixteenth of the hidden size.
fn dt_rank(keys: &Keys<'_>, hidden: u64) -> Result<u64, ConfigError> {
    for name in ["mamba_dt_rank", "time_step_rank"] {
        if keys.value(name).and_then(serde_json::Value::as_str) == Some("auto") {
            return Ok(hidden.div_ceil(16));
        }
        if let Some(rank) = keys.size_if(name)? {
            return Ok(rank);
        }
    }
    Ok(hidden.div_ceil(16))
}

/// A Mamba 2 mixer.
pub(super) fn two(build: &Build<'_>) -> Result<(LinearState, Vec<Tensor>), ConfigError> {
    let (keys, hidden) = (build.keys, build.hidden);
    let required = |names: &[&str], named: &str| {
        first(keys, names, 0).and_then(|size| {
            if size == 0 { Err(keys.missing(named, "the mixer's size depends on it")) } else { Ok(size) }
        })
    };
    let heads = required(&["mamba_num_heads", "mamba_n_heads", "num_heads"], "mamba_num_heads")?;
    let width = required(&["mamba_head_dim", "mamba_d_head", "head_dim"], "mamba_head_dim")?;
    let state = first(keys, &["ssm_state_size", "mamba_d_state", "state_size"], 128)?;
    let kernel = first(keys, &["conv_kernel", "mamba_d_conv"], 4)?;
    let groups = first(keys, &["n_groups", "mamba_n_groups"], 1)?;
    let bias = any(keys, &["mamba_proj_bias", "use_bias"], false)?;
    let conv_bias = any(keys, &["mamba_conv_bias", "use_conv_bias"], true)?;
    for understood in ["use_bias", "mamba_expand", "expand"] {
        keys.touch(understood);
    }
    let inner = heads * width;
    let conv = inner + 2 * groups * state;
    let mut tensors = Vec::with_capacity(10);
    linear(&mut tensors, "in_proj", (inner + conv + heads, hidden), Split::Tensor, bias.then_some(Split::Tensor));
    tensors.push(vector("conv1d", conv * (kernel + u64::from(conv_bias)), Split::Tensor));
    tensors.push(Tensor { copies: 3, ..vector("A_log", heads, Split::Tensor) });
    tensors.push(vector("norm", inner, Split::Tensor));
    linear(&mut tensors, "out_proj", (hidden, inner), Split::Tensor, bias.then_some(Split::Replicated));
    let fp32_state = fp32_state(keys)?;
    let recurrent = inner * state;
    Ok((LinearState { conv_channels: conv, conv_kernel: kernel, recurrent, heads, groups, fp32_state }, tensors))
}
