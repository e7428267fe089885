//! What a model keeps per token and per sequence, in elements: independent of engine, format and parallelism.

use super::{Attention, Heads, LayerGroup, LinearState, Model};

impl Heads {
    /// Elements of keys and values per token.
    #[must_use]
    pub const fn kv_elements(&self) -> u64 {
        self.kv_heads.saturating_mul(self.key_dim.saturating_add(self.value_dim))
    }
}

impl LinearState {
    /// Elements of the convolution's columns and of the recurrent state, per sequence, with `kernel - 1` columns.
    #[must_use]
    pub const fn elements(&self) -> u64 {
        let columns = self.conv_kernel.saturating_sub(1);
        self.conv_channels.saturating_mul(columns).saturating_add(self.recurrent)
    }
}

impl Attention {
    /// Elements that one layer keeps per token of context, as long as no window is full.
    #[must_use]
    pub const fn elements_per_token(&self) -> u64 {
        match self {
            Self::Full(heads) | Self::Sliding { heads, .. } | Self::Chunked { heads, .. } => heads.kv_elements(),
            Self::Latent { latent, rope, indexer, .. } => {
                let index = match indexer {
                    Some(width) => *width,
                    None => 0,
                };
                latent.saturating_add(*rope).saturating_add(index)
            }
            Self::Linear(_) | Self::Mamba(_) | Self::Cross(_) | Self::SharedKv(_) | Self::Encoder(_) | Self::None => 0,
        }
    }

    /// The most tokens that are kept, where that is bounded.
    #[must_use]
    pub const fn window(&self) -> Option<u64> {
        match self {
            Self::Sliding { window, .. } => Some(*window),
            Self::Chunked { chunk, .. } => Some(*chunk),
            _ => None,
        }
    }
}

impl Model {
    /// Elements kept per token of context by all layers, as long as no window is full.
    #[must_use]
    pub fn kv_elements_per_token(&self) -> u64 {
        self.sum(|group| group.attention.elements_per_token())
    }

    /// Elements kept per token by the layers without a window: the growth at long context.
    #[must_use]
    pub fn unbounded_kv_elements_per_token(&self) -> u64 {
        self.sum(|group| if group.attention.window().is_none() { group.attention.elements_per_token() } else { 0 })
    }

    /// Elements of recurrent states per sequence.
    #[must_use]
    pub fn state_elements(&self) -> u64 {
        self.sum(|group| match &group.attention {
            Attention::Linear(state) | Attention::Mamba(state) => state.elements(),
            _ => 0,
        })
    }

    /// Parameters of the multi-token-prediction layers in the checkpoint.
    #[must_use]
    pub fn mtp_parameters(&self) -> u64 {
        self.mtp.iter().fold(0, |sum, group| sum.saturating_add(group.count.saturating_mul(group.layer_parameters())))
    }

    fn sum(&self, of: impl Fn(&LayerGroup) -> u64) -> u64 {
        self.layers.iter().fold(0, |sum, group| sum.saturating_add(group.count.saturating_mul(of(group))))
    }
}
