//! Weight quantization: which tensors it touches and how many bytes an element then takes, scales included.

pub(super) mod config;
mod ignored;
mod names;

use serde::{Deserialize, Serialize};

use super::{Tensor, TensorKind};

/// A quantization of the weights, from the checkpoint or asked of the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantization {
    /// Name as users write it: `awq`, `gptq`, `fp8`, `nvfp4`, `mxfp4`, `int8`, `nf4`, `q4_k_m`...
    pub name: String,
    /// Bits of one stored weight element.
    pub bits: f64,
    /// Scales, zero points and other side data.
    pub scales: Scales,
    /// Modules (last name component) that stay unquantized besides embedding, head, norms and router.
    pub ignored: Vec<String>,
    /// Linear layers outside routed experts stay unquantized (gpt-oss, experts-only NVFP4).
    pub experts_only: bool,
    /// Every tensor is quantized at the file's average width, embedding and head included (GGUF file types).
    pub whole_file: bool,
}

/// Side data of a quantized matrix of `rows × cols`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Scales {
    /// None, or too few to matter (per-tensor scales).
    None,
    /// `bytes` for every output row (channel-wise).
    PerRow {
        /// Bytes per row.
        bytes: f64,
    },
    /// `bytes` for every group of `group` elements along a row.
    PerGroup {
        /// Elements.
        group: u64,
        /// Bytes per group.
        bytes: f64,
    },
    /// `bytes` for every block of `rows × cols` (DeepSeek FP8: 128 × 128, 4 bytes).
    PerBlock {
        /// Rows of a block.
        rows: u64,
        /// Columns of a block.
        cols: u64,
        /// Bytes per block.
        bytes: f64,
    },
}

impl Quantization {
    /// Whether this quantization touches the tensor.
    #[must_use]
    pub fn covers(&self, tensor: &Tensor) -> bool {
        let kind = match tensor.kind {
            TensorKind::Linear => !self.experts_only,
            TensorKind::Expert => true,
            TensorKind::Embedding | TensorKind::Head | TensorKind::Tower => self.whole_file,
            TensorKind::Router | TensorKind::Vector => false,
        };
        kind && !self.ignored.iter().any(|module| module == tensor.module)
    }

    /// Bytes of a quantized matrix of `rows × cols`, scales included.
    #[must_use]
    pub fn matrix_bytes(&self, rows: f64, cols: f64) -> f64 {
        let scales = match self.scales {
            Scales::None => 0.0,
            Scales::PerRow { bytes } => rows * bytes,
            Scales::PerGroup { group, bytes } => rows * (cols / group.max(1) as f64).ceil() * bytes,
            Scales::PerBlock { rows: r, cols: c, bytes } => {
                (rows / r.max(1) as f64).ceil() * (cols / c.max(1) as f64).ceil() * bytes
            }
        };
        rows * cols * self.bits / 8.0 + scales
    }
}
