//! llama.cpp's caches: allocated up front for the whole context, in cells.

use crate::estimate::dtype::DType;
use crate::estimate::memory::kv_cache::{CacheFormat, LayerCache};
use crate::estimate::model::{Attention, LayerGroup};

/// Cells of a sliding-window cache are padded to this.
const PADDING: u64 = 256;
/// Recurrent states and convolution columns are kept in fp32.
const STATE: f64 = 4.0;

/// Bytes of a cached element: `q8_0` keeps a 16-bit scale for 32 elements, `q4_0` too.
pub(in crate::estimate::serving) const fn element(dtype: Option<DType>) -> f64 {
    match dtype {
        None | Some(DType::Fp16 | DType::Bf16) => 2.0,
        Some(DType::Fp32) => 4.0,
        Some(DType::Int8 | DType::Fp8) => 34.0 / 32.0,
        Some(DType::Int4 | DType::Fp4) => 18.0 / 32.0,
    }
}

/// How the context is cached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::estimate::serving) struct Cells {
    /// Tokens of all sequences together.
    pub context: u64,
    /// Sequences.
    pub slots: u64,
    /// Tokens of a physical batch.
    pub ubatch: u64,
    /// Sliding-window layers keep everything.
    pub whole_windows: bool,
    /// Copies of recurrent states to roll drafts back to.
    pub snapshots: u64,
    /// Element of keys and values, bytes.
    pub element: f64,
    /// Ranks that divide a layer.
    pub tensor: u64,
}

impl Cells {
    /// Bytes of one layer: growing and recurrent.
    pub(in crate::estimate::serving) fn layer(&self, group: &LayerGroup) -> (f64, f64) {
        let format =
            CacheFormat { element: self.element, conv: STATE, state: STATE, tensor: self.tensor, speculative: 0 };
        // The sparse indexer's own keys are not cached.
        let attention = match group.attention {
            Attention::Latent { heads, latent, rope, nope, value, q_latent, .. } => {
                Attention::Latent { heads, latent, rope, nope, value, q_latent, indexer: None }
            }
            other => other,
        };
        match LayerCache::of(&attention, &format) {
            LayerCache::PerToken { bytes, limit } => (bytes * self.cells(limit) as f64, 0.0),
            LayerCache::State { bytes } => (0.0, bytes * self.slots as f64 * (1.0 + self.snapshots as f64)),
            LayerCache::None => (0.0, 0.0),
        }
    }

    /// Cells of a layer that looks back at most `limit` tokens.
    fn cells(&self, limit: Option<u64>) -> u64 {
        match limit {
            Some(window) if !self.whole_windows => {
                let kept = window.saturating_mul(self.slots).saturating_add(self.ubatch);
                kept.checked_next_multiple_of(PADDING).unwrap_or(u64::MAX).min(self.context)
            }
            _ => self.context,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::model::LinearState;
    use crate::estimate::serving::fixtures::{self, Shape};

    const MIB: f64 = (1u64 << 20) as f64;
    const CELLS: Cells =
        Cells { context: 32_768, slots: 1, ubatch: 512, whole_windows: false, snapshots: 0, element: 2.0, tensor: 1 };

    fn mib(cells: &Cells, groups: &[(u64, Attention)]) -> (f64, f64) {
        let of = |(count, attention): &(u64, Attention)| {
            let (kv, state) = cells.layer(&fixtures::layers(&Shape::LLAMA_8B, 1, *attention));
            (*count as f64 * kv / MIB, *count as f64 * state / MIB)
        };
        groups.iter().map(of).fold((0.0, 0.0), |(a, b), (kv, state)| (a + kv, b + state))
    }

    fn close(found: f64, logged: f64) {
        assert!((found - logged).abs() < 0.01, "{found} against {logged}");
    }

    fn heads(kv_heads: u64, dim: u64) -> crate::estimate::model::Heads {
        crate::estimate::model::Heads { heads: 32, kv_heads, key_dim: dim, value_dim: dim, qk_norm: false }
    }

    const fn state(conv_channels: u64, recurrent: u64) -> LinearState {
        LinearState { conv_channels, conv_kernel: 4, recurrent, heads: 1, groups: 1, fp32_state: false }
    }

    /// 4 slots x 24 layers x (32 x 128 x 128 x 4 + 3 x 8192 x 4).
    #[test]
    fn recurrent_states_are_fp32_for_every_slot() {
        let gated_delta = Attention::Linear(state(8192, 32 * 128 * 128));
        close(mib(&Cells { slots: 4, ..CELLS }, &[(24, gated_delta)]).1, 201.0);
        // 48 layers of a 27B hybrid, and the same with three snapshots.
        let wide = Attention::Linear(state(10_240, 48 * 128 * 128));
        close(mib(&CELLS, &[(48, wide)]).1, 149.625);
        close(mib(&Cells { snapshots: 3, ..CELLS }, &[(48, wide)]).1, 598.5);
        // Mamba 1.4B: 48 layers of 4096 channels with 16 states.
        close(mib(&CELLS, &[(48, Attention::Mamba(state(4096, 4096 * 16)))]).1, 14.25);
    }

    #[test]
    fn keys_and_values_of_the_whole_context() {
        // Qwen2.5-1.5B; 16 attention layers of a 27B hybrid; LLaMA-13B at 512.
        close(mib(&CELLS, &[(28, Attention::Full(heads(2, 128)))]).0, 896.0);
        close(mib(&CELLS, &[(16, Attention::Full(heads(4, 256)))]).0, 2048.0);
        close(mib(&Cells { context: 512, ..CELLS }, &[(40, Attention::Full(heads(40, 128)))]).0, 400.0);
        let q8 = Cells { element: element(Some(DType::Int8)), ..CELLS };
        close(mib(&q8, &[(28, Attention::Full(heads(2, 128)))]).0, 896.0 * 34.0 / 64.0);
    }

    /// 61 layers of a latent of 576 at 16,384 tokens.
    #[test]
    fn latents_are_cached_once() {
        let latent = Attention::Latent {
            heads: 128,
            latent: 512,
            rope: 64,
            nope: 128,
            value: 128,
            q_latent: Some(1536),
            indexer: Some(128),
        };
        close(mib(&Cells { context: 16_384, ..CELLS }, &[(61, latent)]).0, 1098.0);
    }

    /// gpt-oss-120b, 4 slots, a physical batch of 2048: 9216 MiB full and 90 MiB of windows.
    #[test]
    fn windows_are_padded() {
        let cells = Cells { context: 262_144, slots: 4, ubatch: 2048, ..CELLS };
        let window = Attention::Sliding { heads: heads(8, 64), window: 128 };
        close(mib(&cells, &[(18, Attention::Full(heads(8, 64)))]).0, 9216.0);
        close(mib(&cells, &[(18, window)]).0, 90.0);
        close(mib(&Cells { whole_windows: true, ..cells }, &[(18, window)]).0, 9216.0);
    }
}
