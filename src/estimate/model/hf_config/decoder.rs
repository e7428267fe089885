//! The reader of decoders: a mixer and a feed-forward block per layer, as the family's row says.

use crate::estimate::model::{Attention, LayerGroup, Mlp, Split, Tensor, TensorKind};

use super::error::ConfigError;
use super::family::{Draft, Norm, Positions};
use super::feed::{self, Feed};
use super::keys::Keys;
use super::parts::{layer, matrix, merge, norms, vector};
use super::pattern::{self, Mixer, Plan, Span};
use super::{Build, Parts, attention, latent, mamba, moe, recurrent};

/// Reads the layers and everything around them.
pub(super) fn read(build: &Build<'_>) -> Result<Parts, ConfigError> {
    let layers = layer_count(build)?;
    let mixers = pattern::mixers(build, layers)?;
    let feeds = match build.family.plan {
        Plan::NemotronH => pattern::nemotron(build.keys, layers)?.into_iter().map(|(_, feed)| feed).collect(),
        Plan::Mamba1 | Plan::Mamba2 => vec![Feed::None; layers as usize],
        _ => moe::feeds(build, layers)?,
    };
    let mut cache = Cache::default();
    let mut read = Vec::with_capacity(layers as usize);
    let mtp = draft(build, mixers.last().copied().zip(feeds.last().copied()))?;
    for (mixer, feed) in mixers.into_iter().zip(feeds) {
        read.push(cache.layer(build, mixer, feed)?);
    }
    Ok(Parts { layers: merge(read), outer: outer(build)?, mtp })
}

/// Number of layers; Nemotron-H may leave it to the pattern.
fn layer_count(build: &Build<'_>) -> Result<u64, ConfigError> {
    let keys = build.keys;
    if matches!(build.family.plan, Plan::NemotronH)
        && !keys.has("num_hidden_layers")
        && let Some(list) = keys.value("layers_block_type").and_then(serde_json::Value::as_array)
    {
        let count = list.len() as u64;
        return if count <= super::keys::MOST_LAYERS {
            Ok(count)
        } else {
            Err(keys.invalid("layers_block_type", "fewer entries are needed"))
        };
    }
    keys.layers("num_hidden_layers")
}

/// Layers already built: there are few different ones.
#[derive(Default)]
struct Cache(Vec<((Mixer, Feed), LayerGroup)>);

impl Cache {
    fn layer(&mut self, build: &Build<'_>, mixer: Mixer, feed: Feed) -> Result<LayerGroup, ConfigError> {
        if let Some((_, layer)) = self.0.iter().find(|(kind, _)| *kind == (mixer, feed)) {
            return Ok(layer.clone());
        }
        let made = one_layer(build, mixer, feed)?;
        self.0.push(((mixer, feed), made.clone()));
        Ok(made)
    }
}

fn one_layer(build: &Build<'_>, mixer: Mixer, feed: Feed) -> Result<LayerGroup, ConfigError> {
    let (attention, mut tensors) = mix(build, mixer)?;
    let (mlp, feed) = match feed {
        Feed::Dense => feed::dense(build, feed::width(build)?)?,
        Feed::Moe => moe::mixture(build)?,
        Feed::None => (Mlp::None, Vec::new()),
    };
    tensors.extend(feed);
    let count = build.family.norms.get(build.keys)?;
    norms(&mut tensors, build.hidden, count * build.family.norm.vectors());
    if build.family.extra > 0 {
        tensors.push(vector("act_fn", build.family.extra, Split::Replicated));
    }
    Ok(layer(attention, mlp, count, tensors))
}

fn mix(build: &Build<'_>, mixer: Mixer) -> Result<(Attention, Vec<Tensor>), ConfigError> {
    let linear = |(state, tensors)| (Attention::Linear(state), tensors);
    let mamba = |(state, tensors)| (Attention::Mamba(state), tensors);
    Ok(match mixer {
        Mixer::Softmax(span) => softmax(build, span)?,
        Mixer::Latent { indexer } => latent::layer(build, indexer)?,
        Mixer::Delta { split } => linear(recurrent::delta(build, split)?),
        Mixer::Kda => linear(recurrent::kda(build)?),
        Mixer::Lightning => linear(recurrent::lightning(build)?),
        Mixer::Convolution => linear(recurrent::short_convolution(build)?),
        Mixer::Mamba1 { inner_norms } => mamba(mamba::one(build, inner_norms)?),
        Mixer::Mamba2 => mamba(mamba::two(build)?),
        Mixer::Cross => cross(build)?,
        Mixer::Selected => selected(build)?,
        Mixer::Windowed { window } => windowed(build, window)?,
        Mixer::None => (Attention::None, Vec::new()),
    })
}

fn softmax(build: &Build<'_>, span: Span) -> Result<(Attention, Vec<Tensor>), ConfigError> {
    let heads = attention::heads(build)?;
    let attention = match span {
        Span::Full => Attention::Full(heads),
        Span::Sliding(window) => Attention::Sliding { heads, window },
        Span::Chunked(chunk) => Attention::Chunked { heads, chunk },
    };
    Ok((attention, attention::tensors(build, &heads)?))
}

/// MiniMax M3: attends to blocks that a selector chooses.
fn selected(build: &Build<'_>) -> Result<(Attention, Vec<Tensor>), ConfigError> {
    let heads = attention::heads(build)?;
    let mut tensors = attention::tensors(build, &heads)?;
    let (heads, selector) = attention::with_selector(build, heads)?;
    tensors.extend(selector);
    Ok((Attention::Full(heads), tensors))
}

/// MiMo V2: windowed layers have heads of their own, and sinks.
fn windowed(build: &Build<'_>, window: u64) -> Result<(Attention, Vec<Tensor>), ConfigError> {
    let heads = attention::windowed_heads(build)?;
    let mut tensors = attention::tensors(build, &heads)?;
    if build.keys.flag("add_swa_attention_sink_bias", false)? {
        tensors.push(attention::sinks(&heads));
    }
    Ok((Attention::Sliding { heads, window }, tensors))
}

/// Llama 3.2 Vision: queries from text, keys and values from the image, normalised heads, two gates.
fn cross(build: &Build<'_>) -> Result<(Attention, Vec<Tensor>), ConfigError> {
    let heads = attention::heads(build)?;
    let mut tensors = attention::tensors(build, &heads)?;
    tensors.push(vector("q_norm", heads.key_dim, Split::Replicated));
    tensors.push(vector("k_norm", heads.key_dim, Split::Replicated));
    tensors.push(vector("gate", 2, Split::Replicated));
    Ok((Attention::Cross(heads), tensors))
}

/// Draft layers as the family keeps them: a layer, a projection of two hidden states to one, norms.
fn draft(build: &Build<'_>, last: Option<(Mixer, Feed)>) -> Result<Vec<LayerGroup>, ConfigError> {
    let count = build.keys.count("num_nextn_predict_layers")?.unwrap_or(0).min(super::keys::MOST_LAYERS);
    let (mut layer, extra) = match (build.family.draft, last) {
        _ if count == 0 => return Ok(Vec::new()),
        (Draft::LastLayer(extra), Some((mixer, feed))) => {
            let mixer = match mixer {
                Mixer::Latent { .. } => Mixer::Latent { indexer: build.keys.has("index_head_dim") },
                other => other,
            };
            (one_layer(build, mixer, feed)?, extra)
        }
        // Two layers of the pattern, each with a norm, make one draft layer.
        (Draft::AttentionAndMixture, _) => (one_layer(build, Mixer::Softmax(Span::Full), Feed::Moe)?, 4),
        _ => return Ok(Vec::new()),
    };
    layer.count = count;
    layer.tensors.push(matrix("eh_proj", build.hidden, 2 * build.hidden, Split::Replicated));
    norms(&mut layer.tensors, build.hidden, extra * build.family.norm.vectors());
    Ok(vec![layer])
}

/// Embedding, positions, norms and head.
pub(super) fn outer(build: &Build<'_>) -> Result<Vec<Tensor>, ConfigError> {
    let (family, keys, hidden) = (build.family, build.keys, build.hidden);
    let mut outer = Vec::with_capacity(6);
    let width = keys.size_or("word_embed_proj_dim", hidden)?;
    let rows = build.vocab + family.extra_rows;
    outer.push(table("embed_tokens", rows, width, Split::Vocab, TensorKind::Embedding));
    if width != hidden {
        outer.push(matrix("project_in", hidden, width, Split::Replicated));
        outer.push(matrix("project_out", width, hidden, Split::Replicated));
    }
    if let Some(rows) = positions(keys, family.positions)? {
        outer.push(table("embed_positions", rows, hidden, Split::Replicated, TensorKind::Embedding));
    }
    let final_norm = keys.flag("do_layer_norm_before", true)? && keys.flag("post_layer_norm", true)?;
    let count = if final_norm { family.outer_norms } else { family.outer_norms.saturating_sub(1) };
    norms(&mut outer, hidden, count * family.norm.vectors());
    if !build.tied {
        outer.push(table("lm_head", build.vocab, width, Split::Vocab, TensorKind::Head));
    }
    if family.head_bias.get(keys)? {
        outer.push(vector("lm_head", build.vocab, Split::Vocab));
    }
    debug_assert!(family.norm != Norm::Parameterless || outer.iter().all(|t| t.module != "norm"));
    Ok(outer)
}

/// A lookup table.
pub(super) const fn table(module: &'static str, rows: u64, cols: u64, split: Split, kind: TensorKind) -> Tensor {
    Tensor { kind, ..matrix(module, rows, cols, split) }
}

fn positions(keys: &Keys<'_>, positions: Positions) -> Result<Option<u64>, ConfigError> {
    let rows = |extra: u64| match keys.size_if("max_position_embeddings")? {
        Some(rows) => Ok(Some(rows + extra)),
        None => Err(keys.missing("max_position_embeddings", "the position table has that many rows")),
    };
    match positions {
        Positions::None => Ok(None),
        Positions::Table(extra) => rows(extra),
        Positions::UnlessAlibi => {
            if keys.flag("alibi", false)? || !keys.flag("learned_pos_emb", true)? {
                Ok(None)
            } else {
                rows(0)
            }
        }
    }
}
