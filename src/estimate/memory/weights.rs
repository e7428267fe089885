//! Weights of one rank: every stored tensor, divided as parallelism divides it, in the bytes of its format.

use crate::estimate::dtype::DType;
use crate::estimate::model::{LayerGroup, Model, Quantization, Split, Tensor, TensorKind, checkpoint};
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
    /// The engine pads the vocabulary and fuses projections that share their input (q, k, v; gate, up).
    pub fused: bool,
}

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
        let tensor_parallel = self.parallelism.tensor as f64;
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
        let layers: Bytes = stage.layers.iter().map(|(count, group)| self.layer(group).times(*count)).sum();
        let outer: Vec<Tensor> =
            model.outer.iter().copied().filter(|tensor| outer_is_on(model, tensor, stage)).collect();
        (layers + self.blocks(&outer)).scale(self.correction(model))
    }

    /// The checkpoint's own bytes over the derived ones; 1 where they are not known or are loaded in another format.
    fn correction(&self, model: &Model) -> f64 {
        let as_stored = self.dtype == model.dtype && self.quantization == model.quantization.as_ref();
        match model.checkpoint_bytes {
            Some(bytes) if as_stored && bytes > 0 => bytes as f64 / checkpoint::derived(model).max(1) as f64,
            _ => 1.0,
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
