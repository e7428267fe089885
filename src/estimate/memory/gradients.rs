//! Gradients and the buffers that data parallelism reduces them in.

use crate::estimate::workload::Sharding;

/// Gradients of one rank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gradients {
    /// Trainable parameters on the rank, before sharding over data-parallel ranks.
    pub trainable: f64,
    /// Bytes of one gradient.
    pub width: f64,
    /// Data-parallel ranks that gradients are divided over; 1 when they are not.
    pub shards: f64,
    /// DDP copies all gradients into its buckets.
    pub bucket_copy: bool,
}

impl Gradients {
    /// Whether a way of sharding divides gradients.
    #[must_use]
    pub const fn divided(sharding: Sharding) -> bool {
        matches!(sharding, Sharding::Zero2 | Sharding::Zero3 | Sharding::Fsdp | Sharding::Hsdp)
    }

    /// Bytes once every gradient exists, buckets included.
    #[must_use]
    pub fn bytes(&self) -> f64 {
        self.trainable * self.width / self.shards + self.buckets()
    }

    /// Bytes of DDP's buckets: they exist before the first gradient.
    #[must_use]
    pub fn buckets(&self) -> f64 {
        if self.bucket_copy { self.trainable * self.width } else { 0.0 }
    }

    /// The formula with its numbers.
    #[must_use]
    pub fn formula(&self) -> String {
        let buckets = if self.bucket_copy { " x 2 (DDP buckets)" } else { "" };
        let shards = if self.shards > 1.0 { format!(" / {} ranks", self.shards) } else { String::new() };
        format!("{:.4e} trainable parameters x {} B{buckets}{shards}", self.trainable, self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_double_gradients_and_sharding_divides_them() {
        let whole = Gradients { trainable: 1e9, width: 4.0, shards: 1.0, bucket_copy: true };
        assert!((whole.bytes() - 8e9).abs() < 1.0);
        let sharded = Gradients { shards: 4.0, bucket_copy: false, ..whole };
        assert!((sharded.bytes() - 1e9).abs() < 1.0);
        assert!(sharded.formula().contains("/ 4 ranks"));
    }
}
