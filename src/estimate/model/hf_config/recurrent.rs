//! Linear attention with a state per sequence: gated delta rule, KDA, lightning attention, short convolutions.

use crate::estimate::model::{LinearState, Split, Tensor};

use super::Build;
use super::error::ConfigError;
use super::keys::Keys;
use super::mamba::fp32_state;
use super::parts::{matrix, vector};

type Mixer = (LinearState, Vec<Tensor>);

/// Gated delta rule (Qwen3-Next, Qwen3.5); `split` where the checkpoint keeps the fused projections apart.
pub(super) fn delta(build: &Build<'_>, split: bool) -> Result<Mixer, ConfigError> {
    let (keys, hidden) = (build.keys, build.hidden);
    let (key_heads, heads) = (keys.size("linear_num_key_heads")?, keys.size("linear_num_value_heads")?);
    let (key_dim, value_dim) = (keys.size("linear_key_head_dim")?, keys.size("linear_value_head_dim")?);
    let kernel = keys.size_or("linear_conv_kernel_dim", 4)?;
    let (values, conv) = (heads * value_dim, 2 * key_heads * key_dim + heads * value_dim);
    let project = |module, rows| matrix(module, rows, hidden, Split::Tensor);
    let mut tensors = if split {
        let parts = [("in_proj_qkv", conv), ("in_proj_z", values), ("in_proj_b", heads), ("in_proj_a", heads)];
        parts.map(|(module, rows)| project(module, rows)).to_vec()
    } else {
        vec![project("in_proj_qkvz", conv + values), project("in_proj_ba", 2 * heads)]
    };
    tensors.push(vector("conv1d", conv * kernel, Split::Tensor));
    tensors.push(Tensor { copies: 2, ..vector("A_log", heads, Split::Tensor) });
    tensors.push(vector("norm", value_dim, Split::Replicated));
    tensors.push(matrix("out_proj", hidden, values, Split::Tensor));
    let state = LinearState {
        conv_channels: conv,
        conv_kernel: kernel,
        recurrent: heads * value_dim * key_dim,
        heads,
        groups: key_heads,
        fp32_state: fp32_state(keys)?,
    };
    Ok((state, tensors))
}

/// Kimi delta attention (`linear_attn_config`).
pub(super) fn kda(build: &Build<'_>) -> Result<Mixer, ConfigError> {
    let config = build.keys.object("linear_attn_config");
    let config = config.ok_or_else(|| build.keys.missing("linear_attn_config", "the linear layers are sized by it"))?;
    let keys = Keys::new(config, "linear_attn_config.");
    let (heads, dim) = (keys.size("num_attention_heads")?, keys.size("head_dim")?);
    let (kernel, hidden) = (keys.size_or("short_conv_kernel_size", 4)?, build.hidden);
    let inner = heads * dim;
    let mut tensors: Vec<Tensor> =
        ["q_proj", "k_proj", "v_proj"].map(|module| matrix(module, inner, hidden, Split::Tensor)).to_vec();
    for (down, up) in [("f_a_proj", "f_b_proj"), ("g_a_proj", "g_b_proj")] {
        tensors.push(matrix(down, dim, hidden, Split::Replicated));
        tensors.push(matrix(up, inner, dim, Split::Tensor));
    }
    tensors.push(matrix("b_proj", heads, hidden, Split::Tensor));
    tensors.push(vector("conv1d", 3 * inner * kernel, Split::Tensor));
    tensors.push(vector("A_log", heads, Split::Tensor));
    tensors.push(vector("dt_bias", inner, Split::Tensor));
    tensors.push(vector("o_norm", dim, Split::Replicated));
    tensors.push(matrix("o_proj", hidden, inner, Split::Tensor));
    let state = LinearState {
        conv_channels: 3 * inner,
        conv_kernel: kernel,
        recurrent: inner * dim,
        heads,
        groups: heads,
        fp32_state: true,
    };
    Ok((state, tensors))
}

/// Lightning attention (MiniMax-Text-01).
pub(super) fn lightning(build: &Build<'_>) -> Result<Mixer, ConfigError> {
    let heads = super::attention::heads(build)?;
    let (inner, hidden) = (heads.heads * heads.key_dim, build.hidden);
    let tensors = vec![
        matrix("qkv_proj", 3 * inner, hidden, Split::Tensor),
        matrix("output_gate", inner, hidden, Split::Tensor),
        vector("norm", inner, Split::Tensor),
        matrix("out_proj", hidden, inner, Split::Tensor),
    ];
    let state = LinearState {
        conv_channels: 0,
        conv_kernel: 0,
        recurrent: inner * heads.key_dim,
        heads: heads.heads,
        groups: heads.heads,
        fp32_state: true,
    };
    Ok((state, tensors))
}

/// A gated short convolution (LFM2).
pub(super) fn short_convolution(build: &Build<'_>) -> Result<Mixer, ConfigError> {
    let (keys, hidden) = (build.keys, build.hidden);
    let kernel = keys.size_or("conv_L_cache", 3)?;
    if keys.flag("conv_bias", false)? {
        return Err(keys.invalid("conv_bias", "only false is understood"));
    }
    let tensors = vec![
        matrix("in_proj", 3 * hidden, hidden, Split::Tensor),
        vector("conv", hidden * kernel, Split::Tensor),
        matrix("out_proj", hidden, hidden, Split::Tensor),
    ];
    let state = LinearState {
        conv_channels: hidden,
        conv_kernel: kernel,
        recurrent: 0,
        heads: hidden,
        groups: 1,
        fp32_state: false,
    };
    Ok((state, tensors))
}
