//! Buffers that live for a part of a step: unsharded blocks, reduction buckets, dequantized weights, optimizer copies.

use crate::estimate::workload::{Sharding, ZeroBuckets};

/// Elements of DeepSpeed's reduce and all-gather buckets by default.
const BUCKET: f64 = 5e8;
/// Parameters that ZeRO-3 keeps gathered at most by default.
const MAX_LIVE: f64 = 1e9;
/// Parameters that ZeRO-3 fetches ahead by default.
const PREFETCH: f64 = 5e7;

/// What unsharding depends on, for one rank: parameters after tensor, pipeline and expert parallelism, in elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unsharding {
    /// How states are divided.
    pub sharding: Sharding,
    /// Data-parallel ranks that share the states.
    pub shards: f64,
    /// Parameters of the largest layer.
    pub block: f64,
    /// Parameters outside the layers (embedding, head): one unit of their own.
    pub root: f64,
    /// All parameters of the rank.
    pub parameters: f64,
    /// Of those, the trainable ones.
    pub trainable: f64,
    /// Bytes of a gathered parameter.
    pub width: f64,
    /// Bytes of a gradient while it is reduced.
    pub reduce_width: f64,
    /// Embedding and head are units of their own and not gathered through the whole step.
    pub root_apart: bool,
    /// The cheapest settings of the trainer instead of its defaults.
    pub frugal: bool,
    /// FSDP keeps all parameters gathered from forward to backward.
    pub resident: bool,
    /// Sizes of DeepSpeed's buckets, where declared.
    pub buckets: ZeroBuckets,
}

impl Unsharding {
    /// Share of the parameters that is trained: blocks make gradients for those only.
    fn trained(&self) -> f64 {
        if self.parameters > 0.0 { (self.trainable / self.parameters).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Bytes at the loss: the root unit stays gathered through the whole step, the last blocks too.
    #[must_use]
    pub fn at_loss(&self) -> f64 {
        if self.shards <= 1.0 {
            return 0.0;
        }
        match self.sharding {
            Sharding::Fsdp | Sharding::Hsdp if self.resident => self.parameters * self.width,
            // With units of their own only the head is gathered here.
            Sharding::Fsdp | Sharding::Hsdp if self.root_apart => (self.root / 2.0 + self.block) * self.width,
            Sharding::Fsdp | Sharding::Hsdp => (self.root + self.block) * self.width,
            Sharding::Zero3 => self.zero3_live(),
            Sharding::None | Sharding::Ddp | Sharding::Zero1 | Sharding::Zero2 | Sharding::Megatron => 0.0,
        }
    }

    /// Bytes inside backward, when two blocks are gathered and one is being reduced.
    #[must_use]
    pub fn in_backward(&self) -> f64 {
        if self.shards <= 1.0 {
            return 0.0;
        }
        match self.sharding {
            Sharding::Fsdp | Sharding::Hsdp => {
                let gradients = self.trained() * self.block * (self.width + self.reduce_width);
                if self.resident {
                    return self.parameters.mul_add(self.width, gradients);
                }
                let blocks = if self.frugal { 1.0 } else { 2.0 };
                let root = if self.root_apart { 0.0 } else { self.root * self.width * (1.0 + self.trained()) };
                (blocks * self.block).mul_add(self.width, gradients) + root
            }
            Sharding::Zero3 => self.zero3_live() + self.bucket(),
            Sharding::Zero2 => self.bucket() * if self.frugal { 1.0 } else { 2.0 },
            Sharding::Zero1 => self.bucket(),
            Sharding::None | Sharding::Ddp | Sharding::Megatron => 0.0,
        }
    }

    /// Bytes in the optimizer step: the all-gather of updated parameters.
    #[must_use]
    pub fn in_step(&self) -> f64 {
        match self.sharding {
            Sharding::Zero1 | Sharding::Zero2 if self.shards > 1.0 => self.bucket(),
            _ => 0.0,
        }
    }

    fn bucket(&self) -> f64 {
        if let Some(declared) = self.buckets.reduce {
            return self.trainable.min(declared as f64) * self.width;
        }
        let elements = self.trainable.min(BUCKET);
        if self.frugal { elements.min(self.block) * self.width } else { elements * self.width }
    }

    fn zero3_live(&self) -> f64 {
        let declared = |size: Option<u64>, default: f64| size.map_or(default, |size| size as f64);
        let (most, ahead) = (declared(self.buckets.max_live, MAX_LIVE), declared(self.buckets.prefetch, PREFETCH));
        // A layer at work is always gathered, whatever the limits are.
        let layer = self.block + self.root / 2.0;
        let live = if self.frugal { layer } else { (most + ahead).max(layer) };
        let secondary = self.buckets.secondary_shards.map_or(0.0, |ranks| self.parameters / ranks.max(1) as f64);
        // One rank in the group is the default and means no secondary copy.
        let secondary = if self.buckets.secondary_shards == Some(1) { 0.0 } else { secondary };
        (self.parameters.min(live) + secondary) * self.width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seven_billion(sharding: Sharding) -> Unsharding {
        Unsharding {
            sharding,
            shards: 4.0,
            block: 2e8,
            root: 2.6e8,
            parameters: 6.7e9,
            trainable: 6.7e9,
            width: 2.0,
            reduce_width: 4.0,
            root_apart: false,
            frugal: false,
            resident: false,
            buckets: ZeroBuckets::default(),
        }
    }

    #[test]
    fn parameters_that_stay_gathered_are_all_there() {
        let resident = Unsharding { resident: true, ..seven_billion(Sharding::Fsdp) };
        assert!((resident.at_loss() - 6.7e9 * 2.0).abs() < 1.0);
        assert!(resident.in_backward() > resident.at_loss());
    }

    #[test]
    fn declared_buckets_replace_the_defaults() {
        let small =
            ZeroBuckets { reduce: Some(50_000_000), max_live: Some(0), prefetch: Some(0), secondary_shards: None };
        let declared = Unsharding { buckets: small, ..seven_billion(Sharding::Zero3) };
        assert!((declared.in_backward() - (2e8 + 1.3e8 + 5e7) * 2.0).abs() < 1.0, "{}", declared.in_backward());
        let secondary = ZeroBuckets { secondary_shards: Some(8), ..small };
        let copied = Unsharding { buckets: secondary, ..declared };
        assert!((copied.at_loss() - declared.at_loss() - 6.7e9 / 8.0 * 2.0).abs() < 1.0);
    }

    #[test]
    fn nothing_is_gathered_without_sharding() {
        let alone = Unsharding { shards: 1.0, ..seven_billion(Sharding::Fsdp) };
        assert!(alone.in_backward().abs() < f64::EPSILON);
        assert!(seven_billion(Sharding::Ddp).at_loss().abs() < f64::EPSILON);
    }

    #[test]
    fn frozen_blocks_are_gathered_but_never_reduced() {
        let full = seven_billion(Sharding::Fsdp);
        let frozen = Unsharding { trainable: 0.0, ..full };
        assert!(frozen.in_backward() < full.in_backward());
        assert!(frozen.in_backward() > 0.0);
    }
}
