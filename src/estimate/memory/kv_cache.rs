//! What a layer keeps between steps: bytes per token, or a state per sequence, on one rank.

use crate::estimate::model::{Attention, Heads, LinearState};

/// Formats of what is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CacheFormat {
    /// Bytes of one cached element (2 for 16 bit, 1 for fp8, fractional for 4 bit with scales).
    pub element: f64,
    /// Bytes of one element of convolution states (the model's format).
    pub conv: f64,
    /// Bytes of one element of recurrent states, unless the model asks for fp32.
    pub state: f64,
    /// Tensor-parallel degree.
    pub tensor: u64,
    /// Extra convolution columns for draft tokens.
    pub speculative: u64,
}

/// What one layer keeps on one rank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LayerCache {
    /// Grows with every token up to `limit` tokens (the sliding window or chunk), without bound when `None`.
    PerToken {
        /// Bytes per token.
        bytes: f64,
        /// Most tokens that are looked back at.
        limit: Option<u64>,
    },
    /// Fixed bytes per sequence.
    State {
        /// Bytes per sequence.
        bytes: f64,
    },
    /// Nothing.
    None,
}

/// Bytes that the sparse indexer keeps per token and layer beside its fp8 key: one fp32 scale (vLLM).
const INDEXER_SCALE: f64 = 4.0;

impl LayerCache {
    /// What a layer with this attention keeps.
    #[must_use]
    pub fn of(attention: &Attention, format: &CacheFormat) -> Self {
        match attention {
            Attention::Full(heads) => Self::PerToken { bytes: per_token(heads, format), limit: None },
            Attention::Sliding { heads, window } => {
                Self::PerToken { bytes: per_token(heads, format), limit: Some(*window) }
            }
            Attention::Chunked { heads, chunk } => {
                Self::PerToken { bytes: per_token(heads, format), limit: Some(*chunk) }
            }
            // One latent for all heads: every tensor-parallel rank holds all of it.
            Attention::Latent { latent, rope, indexer, .. } => {
                let index = indexer.map_or(0.0, |width| width as f64 + INDEXER_SCALE);
                Self::PerToken { bytes: (*latent as f64 + *rope as f64) * format.element + index, limit: None }
            }
            Attention::Linear(state) | Attention::Mamba(state) => Self::State { bytes: state_bytes(state, format) },
            Attention::Cross(_) | Attention::SharedKv(_) | Attention::Encoder(_) | Attention::None => Self::None,
        }
    }

    /// The same layer where every token is kept, however far a window looks back.
    #[must_use]
    pub const fn whole(self) -> Self {
        match self {
            Self::PerToken { bytes, .. } => Self::PerToken { bytes, limit: None },
            other => other,
        }
    }

    /// Bytes for one sequence of `tokens`.
    #[must_use]
    pub fn sequence(&self, tokens: u64) -> f64 {
        match *self {
            Self::PerToken { bytes, limit } => bytes * limit.map_or(tokens, |limit| limit.min(tokens)) as f64,
            Self::State { bytes } => bytes,
            Self::None => 0.0,
        }
    }

    /// Bytes per further token, as long as no window is full.
    #[must_use]
    pub const fn token_bytes(&self) -> f64 {
        match *self {
            Self::PerToken { bytes, .. } => bytes,
            _ => 0.0,
        }
    }
}

/// Keys and values of one token on one rank; key/value heads are replicated once the degree exceeds them.
fn per_token(heads: &Heads, format: &CacheFormat) -> f64 {
    let local = (heads.kv_heads as f64 / format.tensor.max(1) as f64).max(1.0);
    local * (heads.key_dim as f64 + heads.value_dim as f64) * format.element
}

fn state_bytes(state: &LinearState, format: &CacheFormat) -> f64 {
    let columns = state.conv_kernel.saturating_sub(1) as f64 + format.speculative as f64;
    let columns = if state.conv_channels == 0 { 0.0 } else { columns };
    let element = if state.fp32_state { 4.0 } else { format.state };
    let tensor = format.tensor.max(1) as f64;
    (state.conv_channels as f64 * columns * format.conv + state.recurrent as f64 * element) / tensor
}

#[cfg(test)]
mod tests {
    use super::*;

    const BF16: CacheFormat = CacheFormat { element: 2.0, conv: 2.0, state: 2.0, tensor: 1, speculative: 0 };
    const LLAMA_3_8B: Heads = Heads { heads: 32, kv_heads: 8, key_dim: 128, value_dim: 128, qk_norm: false };

    #[test]
    fn bytes_per_token_of_each_kind() {
        let full = LayerCache::of(&Attention::Full(LLAMA_3_8B), &BF16);
        assert!((full.token_bytes() * 32.0 - 131_072.0).abs() < f64::EPSILON);
        // More ranks than key/value heads replicate them.
        let wide = LayerCache::of(&Attention::Full(LLAMA_3_8B), &CacheFormat { tensor: 16, ..BF16 });
        assert!((wide.token_bytes() - 512.0).abs() < f64::EPSILON);
        let latent = Attention::Latent {
            heads: 128,
            latent: 512,
            rope: 64,
            nope: 128,
            value: 128,
            q_latent: Some(1536),
            indexer: None,
        };
        let latent = LayerCache::of(&latent, &CacheFormat { tensor: 8, ..BF16 });
        assert!((latent.token_bytes() * 61.0 - 70_272.0).abs() < f64::EPSILON);
    }

    #[test]
    fn windows_bound_a_sequence() {
        let window = LayerCache::of(&Attention::Sliding { heads: LLAMA_3_8B, window: 1000 }, &BF16);
        assert!((window.sequence(5000) - 1000.0 * 4096.0).abs() < f64::EPSILON);
        assert!((window.sequence(10) - 10.0 * 4096.0).abs() < f64::EPSILON);
    }
}
