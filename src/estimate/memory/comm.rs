//! What lies outside the caching allocator: the CUDA context and NCCL's buffers.

use crate::estimate::{Bytes, Interval};

/// CUDA context with lazily loaded kernels, cuBLAS and cuDNN handles, for one training process.
#[must_use]
pub fn training_context() -> Interval {
    Interval::new(Bytes::from_gib(0.45), Bytes::from_gib(0.6), Bytes::from_gib(1.0))
}

/// NCCL's channels and buffers: the first communicator of a replica with more than one GPU, and less for each further
/// group of ranks (tensor, pipeline, context, expert parallelism).
#[must_use]
pub fn nccl(gpus: u64, groups: u64) -> Interval {
    if gpus <= 1 {
        return Interval::ZERO;
    }
    let further = groups.saturating_sub(1) as f64;
    Interval::new(
        Bytes::from_gib(0.3),
        Bytes::from_gib(0.3_f64.mul_add(further, 1.0)),
        Bytes::from_gib(0.6_f64.mul_add(further, 2.0)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_gpu_talks_to_nobody() {
        assert_eq!(nccl(1, 1), Interval::ZERO);
        assert!(nccl(8, 1).likely >= Bytes::from_gib(1.0));
        assert!(nccl(8, 3).likely > nccl(8, 1).likely);
    }
}
