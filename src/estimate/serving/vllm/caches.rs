//! What vLLM's versions keep per layer where it differs from what the layer needs.

use crate::estimate::dtype::DType;
use crate::estimate::memory::kv_cache::{CacheFormat, LayerCache};
use crate::estimate::model::{Attention, LayerGroup};

use super::rules::{Latent, Rules};

/// Heads of expanded latents are padded to this many elements, for keys and for values.
const EXPANDED_HEAD: f64 = 256.0;
/// Entries of latents were aligned to this many bytes.
const ALIGNMENT: f64 = 256.0;
/// Elements of a latent that share a scale in the packed 8-bit format, and a scale's bytes; the rotary part stays in
/// 16 bit: 512 + 16 + 128 = 656 bytes.
const PACKED_GROUP: f64 = 128.0;
const PACKED_SCALE: f64 = 4.0;
const PACKED_ROTARY: f64 = 2.0;

/// How the layers of one rank are cached.
#[derive(Debug, Clone, Copy)]
pub struct Caching<'a> {
    /// The version's rules.
    pub rules: &'a Rules,
    /// Formats of what is kept.
    pub format: CacheFormat,
    /// The cache's format as asked for.
    pub asked: Option<DType>,
    /// Compute capability of the device, where known.
    pub capability: Option<(u8, u8)>,
    /// Layers with a window keep everything (`--disable-hybrid-kv-cache-manager`).
    pub whole_windows: bool,
    /// Ranks that divide the tokens of layers that keep every token (`--decode-context-parallel-size`).
    pub context: u64,
}

impl Caching<'_> {
    /// What each of these layers keeps.
    pub fn layers<'g>(&self, layers: impl Iterator<Item = (u64, &'g LayerGroup)>) -> Vec<(u64, LayerCache)> {
        let mut caches: Vec<_> = layers.map(|(n, group)| (n, self.layer(&group.attention))).collect();
        let unbounded = |cache: &LayerCache| matches!(cache, LayerCache::PerToken { limit: None, .. });
        // Windows beside full layers were cached in one group with them, windows alone never.
        let mixed = caches.iter().any(|(_, cache)| unbounded(cache));
        if mixed && (self.whole_windows || self.rules.whole_windows) {
            for (_, cache) in &mut caches {
                if let LayerCache::PerToken { limit, .. } = cache {
                    *limit = None;
                }
            }
        }
        for (_, cache) in &mut caches {
            if let LayerCache::PerToken { bytes, limit: None } = cache {
                *bytes /= self.context.max(1) as f64;
            }
        }
        caches
    }

    fn layer(&self, attention: &Attention) -> LayerCache {
        let cache = LayerCache::of(attention, &self.format);
        let Attention::Latent { heads, latent, rope, indexer, .. } = attention else { return cache };
        let LayerCache::PerToken { bytes, limit } = cache else { return cache };
        let element = self.format.element;
        let own = (*latent as f64 + *rope as f64) * element;
        let bytes = match self.rules.latent {
            Latent::Expanded => {
                let local = (*heads as f64 / self.format.tensor.max(1) as f64).max(1.0);
                local * 2.0 * EXPANDED_HEAD * element
            }
            Latent::Aligned => bytes - own + (own / ALIGNMENT).ceil() * ALIGNMENT,
            Latent::Plain { .. } if indexer.is_some() && self.packs() => {
                let scales = (*latent as f64 / PACKED_GROUP).ceil() * PACKED_SCALE;
                bytes - own + *latent as f64 + scales + *rope as f64 * PACKED_ROTARY
            }
            Latent::Plain { .. } => bytes,
        };
        LayerCache::PerToken { bytes, limit }
    }

    /// Latents of sparse attention are packed: where 8 bit is asked for, but not by the kernels of Blackwell's
    /// datacenter cards, and in 0.11 unless 16 bit is asked for.
    fn packs(&self) -> bool {
        let Latent::Plain { packed_by_default, blackwell_plain } = self.rules.latent else { return false };
        let blackwell = self.capability.is_some_and(|(major, _)| major == 10);
        match self.asked {
            Some(DType::Fp8) => !(blackwell && blackwell_plain),
            None => packed_by_default,
            Some(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::candidates;
    use super::*;
    use crate::estimate::model::Heads;
    use crate::estimate::serving::fixtures::{self, Shape};
    use crate::estimate::workload::Version;

    const DEEPSEEK: Attention = Attention::Latent {
        heads: 128,
        latent: 512,
        rope: 64,
        nope: 128,
        value: 128,
        q_latent: Some(1536),
        indexer: None,
    };

    fn caching(version: [u16; 3], asked: Option<DType>, tensor: u64) -> Caching<'static> {
        let element = asked.map_or(2.0, DType::bytes);
        Caching {
            rules: &candidates(Some(Version(version)))[0],
            format: CacheFormat { element, conv: 2.0, state: 2.0, tensor, speculative: 0 },
            asked,
            capability: Some((9, 0)),
            whole_windows: false,
            context: 1,
        }
    }

    fn bytes(caching: &Caching<'_>, attention: &Attention) -> f64 {
        caching.layer(attention).token_bytes()
    }

    /// `deepseek_v2.py` of 0.6.6 pads keys and values of all heads to 256; 0.7.2 aligns 1152 bytes to 1280.
    #[test]
    fn latents_were_expanded_then_aligned() {
        assert!((bytes(&caching([0, 6, 6], None, 8), &DEEPSEEK) - 16.0 * 2.0 * 256.0 * 2.0).abs() < 1e-9);
        assert!((bytes(&caching([0, 7, 1], None, 8), &DEEPSEEK) - 1152.0).abs() < 1e-9);
        assert!((bytes(&caching([0, 7, 2], None, 8), &DEEPSEEK) - 1280.0).abs() < 1e-9);
        assert!((bytes(&caching([0, 8, 0], None, 8), &DEEPSEEK) - 1152.0).abs() < 1e-9);
    }

    /// 656 bytes a token in the packed format, and 132 for the indexer.
    #[test]
    fn sparse_latents_are_packed() {
        let Attention::Latent { heads, latent, rope, nope, value, q_latent, .. } = DEEPSEEK else { return };
        let sparse = Attention::Latent { heads, latent, rope, nope, value, q_latent, indexer: Some(128) };
        let of = |version, asked| bytes(&caching(version, asked, 8), &sparse);
        assert!((of([0, 11, 0], None) - 788.0).abs() < 1e-9);
        assert!((of([0, 13, 0], None) - 1284.0).abs() < 1e-9);
        assert!((of([0, 19, 0], Some(DType::Fp8)) - 788.0).abs() < 1e-9);
        let b200 = Caching { capability: Some((10, 0)), ..caching([0, 26, 0], Some(DType::Fp8), 8) };
        assert!((bytes(&b200, &sparse) - 708.0).abs() < 1e-9);
        assert!((bytes(&caching([0, 19, 0], Some(DType::Fp8), 8), &DEEPSEEK) - 576.0).abs() < 1e-9);
    }

    #[test]
    fn tokens_are_divided_over_context_ranks_but_not_those_of_windows() {
        let heads = Heads { heads: 32, kv_heads: 8, key_dim: 128, value_dim: 128, qk_norm: false };
        let window = fixtures::layers(&Shape::LLAMA_8B, 1, Attention::Sliding { heads, window: 1024 });
        let full = fixtures::layers(&Shape::LLAMA_8B, 1, Attention::Full(heads));
        let kept = |context| {
            let caching = Caching { context, ..caching([0, 19, 0], None, 8) };
            let caches = caching.layers([&window, &full].into_iter().map(|group| (1, group)));
            caches.iter().map(|(_, cache)| cache.token_bytes()).collect::<Vec<_>>()
        };
        let (alone, divided) = (kept(1), kept(4));
        assert!((alone[0] - divided[0]).abs() < 1e-9 && (alone[1] - 4.0 * divided[1]).abs() < 1e-9, "{divided:?}");
    }

    /// Windows among full layers had no groups of their own before 0.9.1; windows alone are kept as such.
    #[test]
    fn windows_among_full_layers_were_whole() {
        let heads = Heads { heads: 32, kv_heads: 8, key_dim: 128, value_dim: 128, qk_norm: false };
        let shape = Shape::LLAMA_8B;
        let window = fixtures::layers(&shape, 5, Attention::Sliding { heads, window: 1024 });
        let full = fixtures::layers(&shape, 1, Attention::Full(heads));
        let bounded = |caching: Caching<'_>, groups: &[&LayerGroup]| {
            let caches = caching.layers(groups.iter().map(|group| (group.count, *group)));
            caches.iter().any(|(_, cache)| matches!(cache, LayerCache::PerToken { limit: Some(_), .. }))
        };
        assert!(!bounded(caching([0, 9, 0], None, 1), &[&window, &full]));
        assert!(bounded(caching([0, 9, 1], None, 1), &[&window, &full]));
        assert!(bounded(caching([0, 9, 0], None, 1), &[&window]));
        assert!(!bounded(Caching { whole_windows: true, ..caching([0, 19, 0], None, 1) }, &[&window, &full]));
    }
}
