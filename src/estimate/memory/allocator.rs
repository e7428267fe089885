//! How much of the device the CUDA caching allocator hands out for a tensor.

use crate::estimate::units::{Bytes, MIB};

/// Bytes of the block that PyTorch's caching allocator counts as allocated for a tensor of `bytes`.
///
/// Requests are rounded up to 512 bytes. A request of 10 MiB or more gets a segment of its own, rounded up to 2 MiB;
/// what is left over is split off only when it exceeds 1 MiB, otherwise it stays with the tensor.
/// Source: `c10/cuda/CUDACachingAllocator` (`kMinBlockSize`, `kMinLargeAlloc`, `kRoundLarge`, `should_split`).
#[must_use]
pub fn block(bytes: Bytes) -> Bytes {
    const MIN_BLOCK: u64 = 512;
    const MIN_LARGE: u64 = 10 * MIB;
    const ROUND_LARGE: u64 = 2 * MIB;
    const SPLIT_ABOVE: u64 = MIB;
    let rounded = bytes.0.checked_next_multiple_of(MIN_BLOCK).unwrap_or(u64::MAX);
    if rounded < MIN_LARGE {
        return Bytes(rounded);
    }
    let segment = rounded.checked_next_multiple_of(ROUND_LARGE).unwrap_or(u64::MAX);
    Bytes(if segment - rounded > SPLIT_ABOVE { rounded } else { segment })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_blocks_keep_a_small_remainder() {
        assert_eq!(block(Bytes(1)), Bytes(512));
        // 31.5 MiB in a 32 MiB segment: half a MiB is not split off.
        assert_eq!(block(Bytes(63 * MIB / 2)), Bytes(32 * MIB));
        // 24.5 MiB in a 26 MiB segment: 1.5 MiB is.
        assert_eq!(block(Bytes(49 * MIB / 2)), Bytes(49 * MIB / 2));
        assert_eq!(block(Bytes(u64::MAX)), Bytes(u64::MAX));
    }
}
