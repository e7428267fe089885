//! Caches by group of equal layers.

use super::Node;
use super::parts::{Part, divide};
use crate::estimate::memory::kv_cache::{CacheFormat, LayerCache};
use crate::estimate::model::{Attention, Heads};
use crate::estimate::parallel::Stage;
use crate::estimate::workload::ModelFacts;
use crate::estimate::{Bytes, Term, TermName, Workload};

/// The parts of a cache term on one stage: layers that look back alike.
pub(super) fn parts(workload: &Workload, stage: &Stage<'_>, term: &Term) -> Vec<Node> {
    let own = match &workload.model {
        ModelFacts::Known(model) => model.max_position_embeddings,
        ModelFacts::Shape(_) => None,
    };
    let tokens = workload.context_length.or(own).unwrap_or(1);
    // Only the proportions between groups matter here: the widths are the term's own.
    let format = CacheFormat {
        element: workload.kv_cache_dtype.map_or(2.0, crate::estimate::dtype::DType::bytes),
        conv: 2.0,
        state: 4.0,
        tensor: (workload.parallelism.tensor / workload.engine.attention_data.max(1)).max(1),
        speculative: 0,
    };
    let mut groups: Vec<(u64, &Attention, f64)> = Vec::new();
    for (count, group) in &stage.layers {
        let cache = LayerCache::of(&group.attention, &format);
        let wanted = match cache {
            LayerCache::PerToken { .. } => TermName::KvCache,
            LayerCache::State { .. } => TermName::State,
            LayerCache::None => continue,
        };
        // Engines without a term for states keep them with the cache.
        if wanted != term.name && term.name == TermName::State {
            continue;
        }
        let bytes = cache.sequence(tokens) * *count as f64;
        match groups.iter_mut().find(|(_, attention, _)| **attention == group.attention) {
            Some((layers, _, sum)) => {
                *layers = layers.saturating_add(*count);
                *sum += bytes;
            }
            None => groups.push((*count, &group.attention, bytes)),
        }
    }
    let all = groups.into_iter().map(|(layers, attention, bytes)| Part {
        name: format!("{layers} × {}", kind(attention)),
        weight: Bytes::from_f64(bytes).0,
        formula: formula(attention, tokens),
        parts: Vec::new(),
    });
    divide(term.bytes, term.provenance, all.collect())
}

const fn kind(attention: &Attention) -> &'static str {
    match attention {
        Attention::Full(_) => "full",
        Attention::Sliding { .. } => "sliding",
        Attention::Chunked { .. } => "chunked",
        Attention::Latent { .. } => "latent",
        Attention::Linear(_) => "linear",
        Attention::Mamba(_) => "mamba",
        Attention::Cross(_) | Attention::SharedKv(_) | Attention::Encoder(_) | Attention::None => "no cache",
    }
}

fn formula(attention: &Attention, tokens: u64) -> String {
    let heads = |heads: &Heads, tokens: u64| {
        format!("{tokens} tokens × {} kv heads × ({} + {})", heads.kv_heads, heads.key_dim, heads.value_dim)
    };
    match attention {
        Attention::Full(all) => heads(all, tokens),
        Attention::Sliding { heads: all, window } => {
            format!("{}, window {window}", heads(all, tokens.min(*window)))
        }
        Attention::Chunked { heads: all, chunk } => format!("{}, chunk {chunk}", heads(all, tokens.min(*chunk))),
        Attention::Latent { latent, rope, .. } => format!("{tokens} tokens × ({latent} + {rope}), on every rank"),
        Attention::Linear(state) | Attention::Mamba(state) => {
            format!("{} elements of state, {} channels of convolution", state.recurrent, state.conv_channels)
        }
        _ => String::new(),
    }
}
