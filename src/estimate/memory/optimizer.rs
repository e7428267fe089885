//! Optimizer states and master weights.

use crate::estimate::workload::Optimizer;

/// What an optimizer keeps for one trainable parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct States {
    /// Full-width states: each takes the width of the policy's states (4 bytes, or 2 when states follow bf16 parameters).
    pub full: f64,
    /// Bytes that do not depend on the width of the states (8-bit states with their block scales).
    pub fixed: f64,
    /// States live in unified memory and may be evicted: they need not fit.
    pub paged: bool,
}

/// Bytes of block scales beside one 8-bit state: an fp32 absolute maximum for 256 elements.
const BLOCK_SCALE: f64 = 4.0 / 256.0;

const fn full(full: f64) -> States {
    States { full, fixed: 0.0, paged: false }
}

/// Bytes of block scales beside one 4-bit state: an fp32 absolute maximum for 128 elements.
const SMALL_BLOCK_SCALE: f64 = 4.0 / 128.0;

const fn eight_bit(states: f64, paged: bool) -> States {
    States { full: 0.0, fixed: states * (1.0 + BLOCK_SCALE), paged }
}

impl States {
    /// The states of an optimizer. `matrices` is the share of the trainable parameters that are hidden matrices
    /// (0 to 1): Muon keeps one state for those and AdamW's two for embeddings, head and vectors.
    #[must_use]
    pub fn of(optimizer: Optimizer, matrices: f64) -> Self {
        match optimizer {
            Optimizer::AdamW => full(2.0),
            Optimizer::PagedAdamW => Self { paged: true, ..full(2.0) },
            Optimizer::AdEmaMix => full(3.0),
            Optimizer::AdamW4bit => States { full: 0.0, fixed: 2.0 * (0.5 + SMALL_BLOCK_SCALE), paged: false },
            Optimizer::AdamW8bit => eight_bit(2.0, false),
            Optimizer::PagedAdamW8bit => eight_bit(2.0, true),
            Optimizer::Lion | Optimizer::SgdMomentum => full(1.0),
            Optimizer::Lion8bit => eight_bit(1.0, false),
            // Row and column factors: a vector for a matrix.
            Optimizer::Adafactor | Optimizer::Sgd => full(0.0),
            Optimizer::Muon => full(2.0 - matrices.clamp(0.0, 1.0)),
        }
    }

    /// Bytes for one trainable parameter with states of `width` bytes.
    #[must_use]
    pub fn per_parameter(self, width: f64) -> f64 {
        self.full.mul_add(width, self.fixed)
    }

    /// Whether a multi-tensor (`foreach`) step makes a temporary copy: only plain PyTorch optimizers do.
    #[must_use]
    pub fn has_foreach_temporary(self) -> bool {
        self.full > 0.0 && !self.paged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bit_states_are_a_quarter_of_fp32_ones() {
        let full = States::of(Optimizer::AdamW, 1.0).per_parameter(4.0);
        let small = States::of(Optimizer::AdamW8bit, 1.0).per_parameter(4.0);
        assert!((full - 8.0).abs() < 1e-9);
        assert!(small > 2.0 && small < 2.1, "{small}");
    }

    #[test]
    fn narrow_and_third_states_are_counted() {
        let bytes = |optimizer| States::of(optimizer, 1.0).per_parameter(4.0);
        assert!((bytes(Optimizer::AdEmaMix) - 12.0).abs() < 1e-9);
        assert!(bytes(Optimizer::AdamW4bit) > 1.0 && bytes(Optimizer::AdamW4bit) < 1.1);
    }

    #[test]
    fn muon_lies_between_one_and_two_states() {
        let muon = States::of(Optimizer::Muon, 0.9).per_parameter(4.0);
        assert!((muon - 4.4).abs() < 1e-9, "{muon}");
    }
}
