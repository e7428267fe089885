//! A checkpoint's bytes held against the model that a config describes.

use crate::estimate::dtype::DType;
use crate::estimate::memory::weights::Storage;
use crate::estimate::model::{LayerGroup, Model, Tensor, TensorKind};
use crate::estimate::workload::Parallelism;

use super::{CheckpointBytes, CheckpointFacts, Classes, StoredTensor};

/// How far bytes may lie from derived ones before the two are of different models: buffers, padding, scales and heads
/// stored twice make a few per cent.
const PLAUSIBLE: std::ops::RangeInclusive<f64> = 0.75..=1.34;

/// As [`PLAUSIBLE`] where the format may be any: one bit a weight to a few per cent more than derived.
const EXPLICABLE: std::ops::RangeInclusive<f64> = 0.06..=1.34;
/// Sums that are of fp32 files.
const CAST: std::ops::RangeInclusive<f64> = 1.75..=2.25;

/// The checkpoint is not of the model that the config describes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Mismatch {
    /// Other layers.
    #[error("the checkpoint has {found} layers, the config describes {expected}: they are of different models")]
    Layers {
        /// In the checkpoint.
        found: u64,
        /// In the config, draft layers included.
        expected: u64,
    },
    /// Another embedding.
    #[error("the checkpoint's embedding is {} wide, the config says {expected}: they are of different models", found)]
    Width {
        /// In the checkpoint.
        found: u64,
        /// `hidden_size`.
        expected: u64,
    },
    /// Bytes too far from what the config leads to.
    #[error(
        "the checkpoint holds {:.2} GiB, the config describes {:.2}: they are of different models or quantizations",
        gib(*found), gib(*expected)
    )]
    Bytes {
        /// In the checkpoint.
        found: u64,
        /// By the config.
        expected: u64,
    },
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / 1_073_741_824.0
}

/// Puts the bytes that a server loads of the checkpoint into the model.
///
/// # Errors
/// When the checkpoint cannot be that of the model: other layers, another width, or bytes that no quantization of the
/// config explains.
pub fn attach(model: &mut Model, facts: &CheckpointFacts) -> Result<(), Mismatch> {
    check_shape(model, facts)?;
    let expected = derived(model);
    let found = loaded(model, facts);
    if !PLAUSIBLE.contains(&(found.total as f64 / expected as f64)) {
        return Err(Mismatch::Bytes { found: found.total, expected });
    }
    model.checkpoint_bytes = Some(found);
    Ok(())
}

/// Puts the bytes of a checkpoint into the model of which only their sum is known; a quantization that config and name
/// do not show explains a smaller sum, fp32 files that are cast a larger one.
///
/// # Errors
/// When no format explains the sum.
pub fn attach_total(model: &mut Model, bytes: u64) -> Result<(), Mismatch> {
    let expected = derived(model);
    let ratio = bytes as f64 / expected as f64;
    let is_cast = model.quantization.is_none() && model.dtype != DType::Fp32 && CAST.contains(&ratio);
    let total = if is_cast { (bytes as f64 * model.dtype.bytes() / DType::Fp32.bytes()) as u64 } else { bytes };
    if !EXPLICABLE.contains(&(total as f64 / expected as f64)) {
        return Err(Mismatch::Bytes { found: bytes, expected });
    }
    model.checkpoint_bytes = Some(CheckpointBytes { total, classes: None });
    Ok(())
}

fn check_shape(model: &Model, facts: &CheckpointFacts) -> Result<(), Mismatch> {
    let drafts: u64 = model.mtp.iter().fold(0, |sum, group| sum.saturating_add(group.count));
    let layers = model.layer_count();
    if let Some(found) = facts.hints.layers
        && !(layers..=layers.saturating_add(drafts)).contains(&found)
    {
        return Err(Mismatch::Layers { found, expected: layers });
    }
    match facts.hints.embedding {
        // Packed embeddings have fewer columns.
        Some((_, found)) if found > model.hidden_size => Err(Mismatch::Width { found, expected: model.hidden_size }),
        _ => Ok(()),
    }
}

/// How the checkpoint itself stores the model.
pub(super) fn stored(model: &Model) -> Storage<'_> {
    Storage {
        dtype: model.dtype,
        quantization: model.quantization.as_ref(),
        parallelism: Parallelism::default(),
        attention_data: 1,
        fused: false,
    }
}

/// Bytes of the whole model by its config.
pub(in crate::estimate) fn derived(model: &Model) -> u64 {
    let storage = stored(model);
    model.weights().map(|(count, tensor)| count as f64 * storage.tensor(tensor)).sum::<f64>() as u64
}

/// Bytes of the draft layers by the config.
pub(in crate::estimate) fn drafts(model: &Model) -> u64 {
    let storage = stored(model);
    model.mtp.iter().fold(0, |sum, group| sum.saturating_add(group_bytes(&storage, group)))
}

fn group_bytes(storage: &Storage<'_>, group: &LayerGroup) -> u64 {
    (group.count as f64 * group.tensors.iter().map(|tensor| storage.tensor(tensor)).sum::<f64>()) as u64
}

/// Bytes without draft layers and a copy of a tied head; in the format that the config asks for.
fn loaded(model: &Model, facts: &CheckpointFacts) -> CheckpointBytes {
    let layers = model.layer_count();
    let draft = |tensor: &StoredTensor| tensor.is_draft() || tensor.layer().is_some_and(|n| n >= layers);
    let second_head = |tensor: &StoredTensor| model.tied_embeddings && tensor.is_head();
    if facts.by_dtype.is_empty() {
        return CheckpointBytes { total: cast(model, facts, without_drafts(model, facts, draft)), classes: None };
    }
    let mut sum = Classes::<u64>::default();
    for tensor in facts.tensors.iter().filter(|tensor| !draft(tensor) && !second_head(tensor)) {
        let class = if tensor.layer().is_some() {
            &mut sum.layers
        } else if tensor.is_embedding() {
            &mut sum.embedding
        } else if tensor.is_head() {
            &mut sum.head
        } else {
            &mut sum.rest
        };
        *class = class.saturating_add(tensor.bytes);
    }
    let of = |bytes: u64| cast(model, facts, bytes);
    let classes =
        Classes { layers: of(sum.layers), embedding: of(sum.embedding), head: of(sum.head), rest: of(sum.rest) };
    let all = [sum.layers, sum.embedding, sum.head, sum.rest].into_iter().fold(0, u64::saturating_add);
    CheckpointBytes { total: of(all), classes: Some(classes) }
}

/// The index's sum without what follows from the names of draft layers and of a copy of a tied head.
fn without_drafts(model: &Model, facts: &CheckpointFacts, draft: impl Fn(&StoredTensor) -> bool) -> u64 {
    let storage = stored(model);
    let mut left = facts.bytes;
    if facts.tensors.iter().any(draft) {
        left = model.mtp.iter().fold(left, |left, group| left.saturating_sub(group_bytes(&storage, group)));
    }
    if model.tied_embeddings && facts.hints.head {
        let head = model.outer.iter().find(|tensor| tensor.kind == TensorKind::Embedding);
        left = left.saturating_sub(head.map_or(0, |head: &Tensor| storage.tensor(head) as u64));
    }
    left
}

/// A file in fp32 of a config that says 16 bit is cast when it is loaded.
fn cast(model: &Model, facts: &CheckpointFacts, bytes: u64) -> u64 {
    let widest = facts.by_dtype.get("F32").copied().unwrap_or(0);
    let mostly = widest > facts.bytes / 2;
    if mostly && model.quantization.is_none() && model.dtype != DType::Fp32 {
        (bytes as f64 * model.dtype.bytes() / DType::Fp32.bytes()) as u64
    } else {
        bytes
    }
}
