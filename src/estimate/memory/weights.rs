//! Weights of one rank: every stored tensor, divided as parallelism divides it, in the bytes of its format.

use crate::estimate::dtype::DType;
use crate::estimate::model::checkpoint::Correction;
use crate::estimate::model::{LayerGroup, Model, Quantization, Split, Tensor, TensorKind};
use crate::estimate::parallel::Stage;
use crate::estimate::units::Bytes;
use crate::estimate::workload::Parallelism;

use super::allocator;

/// Vocabulary rows are padded to a multiple of this before they are divided (vLLM `DEFAULT_VOCAB_PADDING_SIZE`).
const VOCAB_PADDING: u64 = 64;

/// How weights are stored on a rank.
#[derive(Debug, Clone, Copy)]
pub struct Storage<'a> {
    /// Format of unquantized tensors.
    pub dtype: DType,
    /// Quantization of the others.
    pub quantization: Option<&'a Quantization>,
    /// Degrees of parallelism.
    pub parallelism: Parallelism,
    /// Data-parallel ranks of the attention among the tensor-parallel ones; 1 without.
    pub attention_data: u64,
    /// The engine pads the vocabulary and fuses projections that share their input (q, k, v; gate, up).
    pub fused: bool,
}

/// Matrices of feed-forward blocks: what is not one of them mixes tokens.
const FEED_FORWARD: [&str; 13] = [
    "gate_proj",
    "up_proj",
    "down_proj",
    "gate_up_proj",
    "gate",
    "w1",
    "w2",
    "w3",
    "fc1",
    "fc2",
    "dense_h_to_4h",
    "dense_4h_to_h",
    "fc_in",
];

/// Projections that engines store as one matrix, by module name.
const FUSED: [&[&str]; 2] = [&["q_proj", "k_proj", "v_proj"], &["gate_proj", "up_proj"]];

impl Storage<'_> {
    /// Bytes of one tensor (all copies) on one rank, scales included.
    #[must_use]
    pub fn tensor(&self, tensor: &Tensor) -> f64 {
        let (rows, cols, copies) = self.local_shape(tensor);
        let one = match self.quantization {
            Some(quantization) if quantization.covers(tensor) => quantization.tensor_bytes(tensor, rows, cols),
            _ => rows * cols * self.dtype.bytes(),
        };
        one * copies
    }

    /// Rows, columns and copies that one rank holds; fractional where a degree does not divide evenly.
    fn local_shape(&self, tensor: &Tensor) -> (f64, f64, f64) {
        let (rows, cols, copies) = (tensor.rows as f64, tensor.cols as f64, tensor.copies as f64);
        let tensor_parallel = self.divisor(tensor);
        match tensor.split {
            Split::Replicated => (rows, cols, copies),
            Split::KvHeads(heads) => {
                let local = (heads as f64 / tensor_parallel).max(1.0);
                (rows * local / heads.max(1) as f64, cols, copies)
            }
            Split::Vocab => {
                let padded = if self.fused {
                    tensor.rows.checked_next_multiple_of(VOCAB_PADDING).unwrap_or(tensor.rows) as f64
                } else {
                    rows
                };
                (padded / tensor_parallel, cols, copies)
            }
            Split::Expert if self.parallelism.expert > 1 => {
                (rows, cols, (copies / self.parallelism.expert as f64).ceil())
            }
            Split::Tensor | Split::Expert => (rows / tensor_parallel, cols, copies),
        }
    }

    /// Tensor-parallel ranks that divide a tensor: with attention parallel over data fewer divide what mixes tokens,
    /// and none the embedding.
    fn divisor(&self, tensor: &Tensor) -> f64 {
        let ranks = self.parallelism.tensor;
        let feed_forward = FEED_FORWARD.contains(&tensor.module)
            || matches!(tensor.kind, TensorKind::Expert | TensorKind::Head | TensorKind::Tower);
        match self.attention_data {
            0 | 1 => ranks as f64,
            _ if feed_forward => ranks as f64,
            _ if tensor.kind == TensorKind::Embedding => 1.0,
            data => (ranks as f64 / data as f64).max(1.0),
        }
    }

    /// Bytes of one layer on one rank, as the caching allocator counts them.
    #[must_use]
    pub fn layer(&self, group: &LayerGroup) -> Bytes {
        self.blocks(&group.tensors)
    }

    fn blocks(&self, tensors: &[Tensor]) -> Bytes {
        let mut fused = [0.0; FUSED.len()];
        let mut total = Bytes::ZERO;
        for tensor in tensors {
            let bytes = self.tensor(tensor);
            let slot = FUSED.iter().position(|modules| {
                self.fused
                    && modules.contains(&tensor.module)
                    && matches!(tensor.kind, TensorKind::Linear | TensorKind::Expert)
            });
            match slot.and_then(|slot| fused.get_mut(slot)) {
                Some(sum) => *sum += bytes,
                None => total += allocator::block(Bytes::from_f64(bytes)),
            }
        }
        total + fused.iter().filter(|sum| **sum > 0.0).map(|sum| allocator::block(Bytes::from_f64(*sum))).sum()
    }

    /// Bytes of a pipeline stage on one rank: its layers, the embedding on the first, norm and head on the last.
    #[must_use]
    pub fn stage(&self, model: &Model, stage: &Stage<'_>) -> Bytes {
        let known = Correction::of(model);
        let layers: Bytes = stage.layers.iter().map(|(count, group)| self.layer(group).times(*count)).sum();
        let outer = model.outer.iter().filter(|tensor| outer_is_on(model, tensor, stage));
        let outer = outer.map(|tensor| self.blocks(&[*tensor]).scale(*known.outer(tensor.kind))).sum();
        layers.scale(known.layers) + outer
    }

    /// How far a rank's weights may lie from [`Self::stage`], as shares below and above.
    #[must_use]
    pub const fn error(&self, model: &Model) -> (f64, f64) {
        match (self.quantization.is_some(), model.checkpoint_bytes.is_some()) {
            // Kernels repack quantized weights and pad them.
            (true, true) => (0.01, 0.03),
            (true, false) => (0.02, 0.03),
            (false, _) => (0.003, 0.004),
        }
    }
}

/// Embedding and towers live on the first stage, head and final norm on the last; a tied embedding on both.
fn outer_is_on(model: &Model, tensor: &Tensor, stage: &Stage<'_>) -> bool {
    match tensor.kind {
        TensorKind::Embedding => stage.is_first() || (stage.is_last() && model.tied_embeddings),
        TensorKind::Tower => stage.is_first(),
        _ => stage.is_last(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::serving::fixtures::{self, Shape};

    /// Of eight ranks with attention parallel over eight, each holds the whole of the attention and the embedding, and
    /// an eighth of the feed-forward blocks and the head.
    #[test]
    fn attention_parallel_over_data_is_replicated() {
        let shape = Shape::LLAMA_8B;
        let model = fixtures::dense(&shape);
        let stages = crate::estimate::parallel::stages(&model, 1, None).unwrap();
        let bytes = |tensor: u64, attention_data: u64| {
            let parallelism = Parallelism { tensor, ..Parallelism::default() };
            let storage = Storage { dtype: DType::Bf16, quantization: None, parallelism, attention_data, fused: true };
            storage.stage(&model, &stages[0]).as_f64()
        };
        let feed_forward = 32.0 * 3.0 * 14_336.0 * 4096.0 * 2.0;
        let head = 128_256.0 * 4096.0 * 2.0;
        let rest = bytes(1, 1) - feed_forward - head;
        let expected = rest + (feed_forward + head) / 8.0;
        assert!((bytes(8, 8) / expected - 1.0).abs() < 1e-3, "{} against {expected}", bytes(8, 8));
        assert!(bytes(8, 1) < bytes(8, 2) && bytes(8, 2) < bytes(8, 8));
    }
}
