//! What a checkpoint file says about itself: bytes and tensors, read from its header alone.
//!
//! Bytes that are known beat derived ones: [`attach`] holds them against the model that a config describes and puts
//! them into [`Model::checkpoint_bytes`].

mod correction;
mod loaded;

use std::collections::BTreeMap;

pub(in crate::estimate) use correction::Correction;
pub use correction::{CheckpointBytes, Classes};
pub use loaded::{Mismatch, attach, attach_total};
pub(in crate::estimate) use loaded::{derived, drafts};

/// Facts of one checkpoint: a file, or all shards that an index names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CheckpointFacts {
    /// Bytes of all tensors, without headers and padding.
    pub bytes: u64,
    /// Bytes by the format's own name (`BF16`, `U8`, `Q4_K`); empty where only an index was read.
    pub by_dtype: BTreeMap<&'static str, u64>,
    /// The tensors, in the order of the header; with bytes of 0 where only an index was read.
    pub tensors: Vec<StoredTensor>,
    /// What the names and shapes say about the model.
    pub hints: Hints,
}

/// A tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor {
    /// Name, e.g. `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// The format's own name; empty where only an index was read.
    pub dtype: &'static str,
    /// Sizes, outermost first.
    pub shape: Vec<u64>,
    /// Bytes.
    pub bytes: u64,
}

/// What names and shapes say about the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hints {
    /// Layers of the decoder, draft layers among them: the highest number after `layers.` and its like, plus one.
    pub layers: Option<u64>,
    /// Rows and columns of the token embedding.
    pub embedding: Option<(u64, u64)>,
    /// An output head is stored.
    pub head: bool,
}

/// Name components before a layer's number.
const LAYER_LISTS: [&str; 4] = ["layers", "h", "blocks", "blk"];
/// Last components but one of token embeddings and output heads.
const EMBEDDINGS: [&str; 5] = ["embed_tokens", "wte", "word_embeddings", "embed_in", "token_embd"];
const HEADS: [&str; 4] = ["lm_head", "embed_out", "output_layer", "output"];
/// Components of names of everything that is no decoder.
const TOWERS: [&str; 8] = ["vision", "visual", "audio", "encoder", "projector", "mtp", "talker", "code2wav"];

impl StoredTensor {
    /// The layer of the decoder that it belongs to.
    #[must_use]
    pub fn layer(&self) -> Option<u64> {
        let mut parts = self.name.split('.');
        while let Some(part) = parts.next() {
            if TOWERS.iter().any(|tower| part.starts_with(tower)) {
                return None;
            }
            if LAYER_LISTS.contains(&part) {
                return parts.next()?.parse().ok();
            }
        }
        None
    }

    /// Whether it is the token embedding.
    #[must_use]
    pub fn is_embedding(&self) -> bool {
        self.layer().is_none() && self.is_named(&EMBEDDINGS)
    }

    fn is_named(&self, modules: &[&str]) -> bool {
        let mut parts = self.name.rsplit('.');
        let last = parts.next().unwrap_or_default();
        modules.contains(&last) || (last == "weight" && parts.next().is_some_and(|module| modules.contains(&module)))
    }

    /// The output head, scales included.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.layer().is_none()
            && self.name.rsplit('.').nth(1).is_some_and(|module| HEADS.contains(&module))
            && !self.name.split('.').any(|part| TOWERS.iter().any(|tower| part.starts_with(tower)))
    }

    /// A tensor of draft layers that are kept beside the decoder's.
    #[must_use]
    pub fn is_draft(&self) -> bool {
        self.name.split('.').any(|part| part == "mtp" || part == "nextn")
    }
}

impl CheckpointFacts {
    /// Facts of tensors whose sizes were checked.
    pub(super) fn of(tensors: Vec<StoredTensor>) -> Self {
        let mut facts = Self::default();
        for tensor in &tensors {
            facts.bytes = facts.bytes.saturating_add(tensor.bytes);
            let sum = facts.by_dtype.entry(tensor.dtype).or_default();
            *sum = sum.saturating_add(tensor.bytes);
        }
        facts.hints = Hints::of(&tensors);
        facts.tensors = tensors;
        facts
    }
}

impl Hints {
    /// What the tensors say.
    pub(super) fn of(tensors: &[StoredTensor]) -> Self {
        let embedding = tensors.iter().find(|tensor| tensor.layer().is_none() && tensor.is_named(&EMBEDDINGS));
        Self {
            layers: tensors.iter().filter_map(StoredTensor::layer).max().map(|last| last.saturating_add(1)),
            embedding: embedding.and_then(|tensor| match tensor.shape.as_slice() {
                [rows, cols] => Some((*rows, *cols)),
                _ => None,
            }),
            head: tensors.iter().any(StoredTensor::is_head),
        }
    }
}
