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
    /// Modules whose width differs from that of the others (mixed precision, fp4 experts beside fp8).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<Exception>,
    /// Every tensor is quantized at the file's average width, embedding and head included (GGUF file types).
    pub whole_file: bool,
}

/// Modules of another width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exception {
    /// Module (last name component); `None` stands for all routed experts.
    pub module: Option<String>,
    /// Bits of one stored weight element.
    pub bits: f64,
    /// Scales.
    pub scales: Scales,
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

impl Scales {
    /// Bytes of the side data of a matrix of `rows × cols`.
    fn bytes(self, rows: f64, cols: f64) -> f64 {
        match self {
            Self::None => 0.0,
            Self::PerRow { bytes } => rows * bytes,
            Self::PerGroup { group, bytes } => rows * (cols / group.max(1) as f64).ceil() * bytes,
            Self::PerBlock { rows: r, cols: c, bytes } => {
                (rows / r.max(1) as f64).ceil() * (cols / c.max(1) as f64).ceil() * bytes
            }
        }
    }
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

    /// Bytes of a quantized matrix of `rows × cols` without exception, scales included.
    #[must_use]
    pub fn matrix_bytes(&self, rows: f64, cols: f64) -> f64 {
        rows * cols * self.bits / 8.0 + self.scales.bytes(rows, cols)
    }

    /// Bytes of the part of a quantized tensor that has `rows × cols`, scales included.
    #[must_use]
    pub fn tensor_bytes(&self, tensor: &Tensor, rows: f64, cols: f64) -> f64 {
        let expert = tensor.kind == TensorKind::Expert;
        let meant = |exception: &&Exception| match &exception.module {
            None => expert,
            Some(module) => !expert && module == tensor.module,
        };
        match self.exceptions.iter().find(meant) {
            Some(exception) => rows * cols * exception.bits / 8.0 + exception.scales.bytes(rows, cols),
            None => self.matrix_bytes(rows, cols),
        }
    }
}
