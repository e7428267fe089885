//! Precision policies: what parameters, gradients and states are kept in, by the family of trainer that keeps them.

use crate::estimate::workload::{Precision, Sharding};

/// Who manages states: decides where fp32 copies live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Plain PyTorch and DDP: mixed precision is autocast over fp32 parameters.
    Torch,
    /// FSDP: mixed precision gathers 16-bit copies of fp32 shards.
    Fsdp,
    /// DeepSpeed: 16-bit parameters beside an fp32 master.
    DeepSpeed,
    /// Megatron: 16-bit parameters, fp32 main gradients, fp32 main parameters in the optimizer.
    Megatron,
}

impl Family {
    /// The family that manages states divided this way; `megatron` trainers do so themselves even undivided.
    pub(super) const fn of(sharding: Sharding, megatron: bool) -> Self {
        match sharding {
            Sharding::None | Sharding::Ddp if megatron => Self::Megatron,
            Sharding::None | Sharding::Ddp => Self::Torch,
            Sharding::Fsdp | Sharding::Hsdp => Self::Fsdp,
            Sharding::Zero1 | Sharding::Zero2 | Sharding::Zero3 => Self::DeepSpeed,
            Sharding::Megatron => Self::Megatron,
        }
    }
}

/// Bytes for one trainable parameter, before sharding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Policy {
    /// The parameter itself.
    pub(super) weight: f64,
    /// Its gradient.
    pub(super) gradient: f64,
    /// An fp32 master copy, kept with the optimizer.
    pub(super) master: f64,
    /// One full-width optimizer state.
    pub(super) state: f64,
    /// A further copy of the gradient in the step only.
    pub(super) step_gradient: f64,
    /// An activation element.
    pub(super) compute: f64,
    /// An input of a matrix product, where it is kept for backward.
    pub(super) inputs: f64,
    /// A parameter gathered by unsharding.
    pub(super) gather: f64,
    /// A gradient while it is reduced over ranks.
    pub(super) reduce: f64,
    /// Copies of the weights that autocast keeps for backward.
    pub(super) autocast: f64,
    /// A frozen parameter.
    pub(super) frozen: f64,
}

const PURE_16: Policy = Policy {
    weight: 2.0,
    gradient: 2.0,
    master: 0.0,
    state: 2.0,
    step_gradient: 0.0,
    compute: 2.0,
    inputs: 2.0,
    gather: 2.0,
    reduce: 2.0,
    autocast: 0.0,
    frozen: 2.0,
};
const FP32: Policy =
    Policy { weight: 4.0, gradient: 4.0, state: 4.0, compute: 4.0, gather: 4.0, reduce: 4.0, frozen: 4.0, ..PURE_16 };
const AUTOCAST: Policy = Policy { weight: 4.0, gradient: 4.0, state: 4.0, autocast: 2.0, ..PURE_16 };
const FSDP_MIXED: Policy = Policy { weight: 4.0, gradient: 4.0, state: 4.0, reduce: 4.0, ..PURE_16 };
const DEEPSPEED: Policy = Policy { master: 4.0, state: 4.0, step_gradient: 4.0, ..PURE_16 };
const MEGATRON: Policy = Policy { gradient: 4.0, master: 4.0, state: 4.0, ..PURE_16 };
const MEGATRON_FP16: Policy = Policy { gradient: 2.0, step_gradient: 4.0, ..MEGATRON };
/// Transformer Engine keeps inputs of matrix products in fp8 and reduces 16-bit gradients.
const MEGATRON_FP8: Policy = Policy { gradient: 2.0, inputs: 1.0, ..MEGATRON };

impl Policy {
    /// The policy that a family of trainers uses for a precision.
    pub(super) const fn of(precision: Precision, family: Family) -> Self {
        match (precision, family) {
            (Precision::Fp32, _) => FP32,
            // DeepSpeed keeps an fp32 master whatever the parameters are.
            (Precision::Bf16 | Precision::MixedBf16 | Precision::MixedFp16 | Precision::Fp8, Family::DeepSpeed) => {
                DEEPSPEED
            }
            (Precision::Bf16, _) => PURE_16,
            (Precision::MixedBf16 | Precision::MixedFp16 | Precision::Fp8, Family::Torch) => AUTOCAST,
            (Precision::MixedBf16 | Precision::MixedFp16 | Precision::Fp8, Family::Fsdp) => FSDP_MIXED,
            (Precision::MixedBf16, Family::Megatron) => MEGATRON,
            (Precision::MixedFp16, Family::Megatron) => MEGATRON_FP16,
            (Precision::Fp8, Family::Megatron) => MEGATRON_FP8,
        }
    }

    /// The most: an fp8 copy of weights beside the 16-bit ones, and fp32 gradients.
    pub(super) const fn dearest(precision: Precision, family: Family) -> Self {
        match (precision, family) {
            (Precision::Fp8, Family::Megatron) => Self { weight: 3.0, gradient: 4.0, ..MEGATRON_FP8 },
            _ => Self::of(precision, family),
        }
    }

    /// The least that a trainer could do with what was declared: 16-bit states without a master, no weight copies.
    pub(super) const fn cheapest(precision: Precision, family: Family) -> Self {
        match precision {
            Precision::Bf16 => PURE_16,
            // 16-bit gradient buffers, and fp8 parameters without a 16-bit copy.
            Precision::Fp8 if matches!(family, Family::Megatron) => Self { weight: 1.0, ..MEGATRON_FP8 },
            Precision::MixedBf16 | Precision::MixedFp16 if matches!(family, Family::Megatron) => {
                Self { gradient: 2.0, step_gradient: 0.0, ..MEGATRON }
            }
            _ => Self { autocast: 0.0, step_gradient: 0.0, ..Self::of(precision, family) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weight, gradient, master and two states.
    fn bytes(precision: Precision, family: Family) -> f64 {
        let policy = Policy::of(precision, family);
        policy.weight + policy.gradient + policy.master + 2.0 * policy.state
    }

    #[test]
    fn mixed_precision_takes_sixteen_to_eighteen_bytes_a_parameter() {
        for (family, expected) in
            [(Family::Torch, 16.0), (Family::Fsdp, 16.0), (Family::DeepSpeed, 16.0), (Family::Megatron, 18.0)]
        {
            let bytes = bytes(Precision::MixedBf16, family);
            assert!((bytes - expected).abs() < 1e-9, "{family:?}: {bytes}");
        }
        assert!((bytes(Precision::Bf16, Family::Torch) - 8.0).abs() < 1e-9);
        assert!((bytes(Precision::Fp32, Family::Fsdp) - 16.0).abs() < 1e-9);
    }
}
