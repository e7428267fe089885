//! Encoder-decoder models. Each decoder layer counts as two here: one with self-attention and feed-forward block, one
//! with the attention to the encoder's output, which has its own cache.

use crate::estimate::model::{Attention, Heads, LayerGroup, Mlp, Split, Tensor, TensorKind};

use super::decoder::table;
use super::error::ConfigError;
use super::parts::{layer, linear, norms, vector};
use super::{Build, Parts};

/// What the layers of one stack are made of.
struct Stack {
    hidden: u64,
    heads: Heads,
    intermediate: u64,
    gated: bool,
    bias: bool,
    modules: [&'static str; 4],
    mlp: [&'static str; 3],
    /// Vectors per norm.
    vectors: u64,
}

impl Stack {
    fn attention(&self) -> Vec<Tensor> {
        let inner = self.heads.heads * self.heads.key_dim;
        let [query, key, value, output] = self.modules;
        let bias = |has: bool, split| (self.bias && has).then_some(split);
        let mut tensors = Vec::with_capacity(8);
        linear(&mut tensors, query, (inner, self.hidden), Split::Tensor, bias(true, Split::Tensor));
        // Whisper's keys have no bias.
        linear(&mut tensors, key, (inner, self.hidden), Split::Tensor, None);
        linear(&mut tensors, value, (inner, self.hidden), Split::Tensor, bias(true, Split::Tensor));
        linear(&mut tensors, output, (self.hidden, inner), Split::Tensor, bias(true, Split::Replicated));
        tensors
    }

    /// A layer with self-attention and feed-forward block.
    fn block(&self, attention: Attention, count: u64) -> LayerGroup {
        let mut tensors = self.attention();
        let [gate, up, down] = self.mlp;
        let bias = |split| self.bias.then_some(split);
        let inner: &[&'static str] = if self.gated { &[gate, up] } else { &[up] };
        for module in inner {
            linear(&mut tensors, module, (self.intermediate, self.hidden), Split::Tensor, bias(Split::Tensor));
        }
        linear(&mut tensors, down, (self.hidden, self.intermediate), Split::Tensor, bias(Split::Replicated));
        norms(&mut tensors, self.hidden, 2 * self.vectors);
        let mlp = Mlp::Dense { intermediate: self.intermediate, gated: self.gated };
        LayerGroup { count, ..layer(attention, mlp, 2, tensors) }
    }

    /// The attention to the encoder's output.
    fn cross(&self, count: u64) -> LayerGroup {
        let mut tensors = self.attention();
        norms(&mut tensors, self.hidden, self.vectors);
        LayerGroup { count, ..layer(Attention::Cross(self.heads), Mlp::None, 1, tensors) }
    }
}

const fn same_heads(heads: u64, dim: u64) -> Heads {
    Heads { heads, kv_heads: heads, key_dim: dim, value_dim: dim, qk_norm: false }
}

/// T5: RMS norms, no biases, a table of relative positions in the first layer of each stack.
pub(super) fn t5(build: &Build<'_>) -> Result<Parts, ConfigError> {
    let (keys, hidden) = (build.keys, build.hidden);
    let kind = keys.text("feed_forward_proj")?.unwrap_or("relu");
    let heads = same_heads(keys.size("num_attention_heads")?, keys.size_or("head_dim", 64)?);
    let stack = Stack {
        hidden,
        heads,
        intermediate: keys.size("intermediate_size")?,
        gated: kind.starts_with("gated-"),
        bias: false,
        modules: ["q", "k", "v", "o"],
        mlp: ["wi_0", if kind.starts_with("gated-") { "wi_1" } else { "wi" }, "wo"],
        vectors: 1,
    };
    for understood in ["is_encoder_decoder", "num_key_value_heads"] {
        keys.touch(understood);
    }
    let encoder = keys.layers("num_hidden_layers")?;
    let decoder = keys.size_if("num_decoder_layers")?.map_or(Ok(encoder), |_| keys.layers("num_decoder_layers"))?;
    let buckets = keys.size_or("relative_attention_num_buckets", 32)?;
    let mut outer = vec![
        table("shared", build.vocab, hidden, Split::Vocab, TensorKind::Embedding),
        Tensor { copies: 2, ..vector("relative_attention_bias", buckets * heads.heads, Split::Replicated) },
    ];
    norms(&mut outer, hidden, 2);
    if !build.tied {
        outer.push(table("lm_head", build.vocab, hidden, Split::Vocab, TensorKind::Head));
    }
    let layers = vec![
        stack.block(Attention::Encoder(heads), encoder),
        stack.block(Attention::Full(heads), decoder),
        stack.cross(decoder),
    ];
    Ok(Parts { layers, outer, mtp: Vec::new() })
}

/// Whisper: LayerNorms, biases except on keys, two convolutions before the encoder, learned decoder positions.
pub(super) fn whisper(build: &Build<'_>) -> Result<Parts, ConfigError> {
    let (keys, hidden) = (build.keys, build.hidden);
    let stack = |heads: &str, width: &str| -> Result<Stack, ConfigError> {
        let count = keys.size(heads)?;
        if !hidden.is_multiple_of(count) {
            return Err(keys.invalid(heads, format!("it must divide d_model ({hidden})")));
        }
        Ok(Stack {
            hidden,
            heads: same_heads(count, hidden / count),
            intermediate: keys.size(width)?,
            gated: false,
            bias: true,
            modules: ["q_proj", "k_proj", "v_proj", "out_proj"],
            mlp: ["gate", "fc1", "fc2"],
            vectors: 2,
        })
    };
    let encoder = stack("encoder_attention_heads", "encoder_ffn_dim")?;
    let decoder = stack("decoder_attention_heads", "decoder_ffn_dim")?;
    for understood in ["num_hidden_layers", "is_encoder_decoder"] {
        keys.touch(understood);
    }
    let (bins, sources) = (keys.size_or("num_mel_bins", 80)?, keys.size_or("max_source_positions", 1500)?);
    let targets = keys.size_or("max_target_positions", 448)?;
    let mut outer = vec![
        table("embed_tokens", build.vocab, hidden, Split::Vocab, TensorKind::Embedding),
        table("embed_positions", sources + targets, hidden, Split::Replicated, TensorKind::Embedding),
        vector("conv1", hidden * (3 * bins + 1), Split::Replicated),
        vector("conv2", hidden * (3 * hidden + 1), Split::Replicated),
    ];
    norms(&mut outer, hidden, 4);
    if !build.tied {
        outer.push(table("proj_out", build.vocab, hidden, Split::Vocab, TensorKind::Head));
    }
    let down = keys.layers("decoder_layers")?;
    let layers = vec![
        encoder.block(Attention::Encoder(encoder.heads), keys.layers("encoder_layers")?),
        decoder.block(Attention::Full(decoder.heads), down),
        decoder.cross(down),
    ];
    Ok(Parts { layers, outer, mtp: Vec::new() })
}
