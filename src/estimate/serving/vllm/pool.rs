//! The KV pool: how vLLM groups layers, cuts memory into blocks and counts tokens.
//!
//! Source: `vllm/v1/core/kv_cache_utils.py`. Layers with the same cache form a bucket; buckets are cut into groups of
//! equally many layers, and blocks of all groups come from one pool of equally large pages.

use crate::estimate::memory::kv_cache::LayerCache;

/// Kernel alignment of enlarged attention blocks, tokens.
const BLOCK_ALIGNMENT: u64 = 16;

/// What decides how many blocks a request needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scheduling {
    /// Tokens per block asked of the engine.
    pub block_size: u64,
    /// Tokens in one step at most.
    pub batched_tokens: u64,
    /// Pages per request and recurrent group.
    pub state_pages: u64,
    /// A request holds a state for every block of its tokens instead.
    pub state_per_block: bool,
    /// "KV cache size" is printed as concurrency × context.
    pub tokens_by_concurrency: bool,
}

/// One bucket of layers with the same cache.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    layers: u64,
    cache: LayerCache,
    /// Tokens per block, 0 for states.
    block: u64,
    groups: u64,
}

/// The layout of the pool of one pipeline stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    buckets: Vec<Bucket>,
    /// Bytes of one block of every group together with its padding layers.
    block_bytes: f64,
    scheduling: Scheduling,
}

impl Pool {
    /// Lays out the pool for layers with these caches.
    #[must_use]
    pub fn new(layers: &[(u64, LayerCache)], scheduling: Scheduling) -> Self {
        let mut buckets: Vec<Bucket> = Vec::new();
        for (count, cache) in layers {
            if *cache == LayerCache::None {
                continue;
            }
            match buckets.iter_mut().find(|bucket| bucket.cache == *cache) {
                Some(bucket) => bucket.layers += count,
                None => buckets.push(Bucket { layers: *count, cache: *cache, block: 0, groups: 1 }),
            }
        }
        let unbounded = |bucket: &Bucket| matches!(bucket.cache, LayerCache::PerToken { limit: None, .. });
        if buckets.len() <= 1 || buckets.iter().all(unbounded) {
            Self::uniform(buckets, scheduling)
        } else {
            Self::grouped(buckets, scheduling)
        }
    }

    /// One group holds all layers: every block spans all of them, whatever their widths.
    fn uniform(mut buckets: Vec<Bucket>, scheduling: Scheduling) -> Self {
        let mut block_bytes = 0.0;
        for bucket in &mut buckets {
            bucket.block = scheduling.block_size;
            block_bytes += bucket.layers as f64
                * match bucket.cache {
                    LayerCache::PerToken { bytes, .. } => bytes * scheduling.block_size as f64,
                    LayerCache::State { bytes } => bytes,
                    LayerCache::None => 0.0,
                };
        }
        buckets.truncate(1);
        Self { buckets, block_bytes, scheduling }
    }

    /// Buckets of different kinds share pages of one size.
    fn grouped(mut buckets: Vec<Bucket>, scheduling: Scheduling) -> Self {
        let page = page_bytes(&buckets, scheduling.block_size);
        let smallest = buckets.iter().map(|bucket| bucket.layers).min().unwrap_or(1).max(1);
        let largest = buckets.iter().map(|bucket| bucket.layers).max().unwrap_or(1);
        let group_size = if (largest as f64) < smallest as f64 * 1.5 { largest } else { smallest };
        for bucket in &mut buckets {
            bucket.groups = bucket.layers.div_ceil(group_size);
            bucket.block = match bucket.cache {
                LayerCache::PerToken { bytes, .. } if bytes > 0.0 => (page / bytes).floor().max(1.0) as u64,
                _ => 0,
            };
        }
        Self { buckets, block_bytes: group_size as f64 * page, scheduling }
    }

    /// Nothing is cached (encoders).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.block_bytes <= 0.0
    }

    /// Recurrent states share the pool with caches that grow.
    #[must_use]
    pub fn is_hybrid(&self) -> bool {
        self.buckets.iter().any(|bucket| matches!(bucket.cache, LayerCache::State { .. })) && self.buckets.len() > 1
    }

    /// Blocks that one request of `tokens` needs, over all groups.
    #[must_use]
    pub fn request_blocks(&self, tokens: u64) -> u64 {
        self.buckets.iter().map(|bucket| bucket.groups * self.bucket_blocks(bucket, tokens)).sum()
    }

    fn bucket_blocks(&self, bucket: &Bucket, tokens: u64) -> u64 {
        match bucket.cache {
            LayerCache::PerToken { limit: None, .. } => tokens.div_ceil(bucket.block.max(1)),
            LayerCache::PerToken { limit: Some(window), .. } => {
                let kept = window.saturating_sub(1).saturating_add(self.scheduling.batched_tokens).min(tokens);
                kept.div_ceil(bucket.block.max(1)) + 1
            }
            LayerCache::State { .. } if self.scheduling.state_per_block => {
                tokens.div_ceil(self.block().max(1)).saturating_add(self.scheduling.state_pages)
            }
            LayerCache::State { .. } => self.scheduling.state_pages,
            LayerCache::None => 0,
        }
    }

    /// Tokens of the largest block; 0 for states alone.
    fn block(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.block).max().unwrap_or(0)
    }

    /// Bytes in which every one of `sequences` has a block of recurrent states; 0 for layers without.
    #[must_use]
    pub fn states_bytes(&self, sequences: u64) -> f64 {
        let recurrent = self.buckets.iter().any(|bucket| matches!(bucket.cache, LayerCache::State { .. }));
        if recurrent { sequences as f64 * self.block_bytes } else { 0.0 }
    }

    /// Bytes that one request of `tokens` needs.
    #[must_use]
    pub fn request_bytes(&self, tokens: u64) -> f64 {
        self.request_blocks(tokens) as f64 * self.block_bytes
    }

    /// Blocks in a pool of `bytes`.
    #[must_use]
    pub fn blocks(&self, bytes: f64) -> u64 {
        if self.is_empty() { 0 } else { (bytes / self.block_bytes).floor() as u64 }
    }

    /// Requests of `tokens` that fit at once.
    #[must_use]
    pub fn concurrency(&self, bytes: f64, tokens: u64) -> f64 {
        let needed = self.request_blocks(tokens);
        if needed == 0 { 0.0 } else { self.blocks(bytes) as f64 / needed as f64 }
    }

    /// "GPU KV cache size" as the engine prints it for a pool of `bytes` and requests of `tokens`.
    #[must_use]
    pub fn printed_tokens(&self, bytes: f64, tokens: u64) -> u64 {
        if self.scheduling.tokens_by_concurrency {
            return (self.concurrency(bytes, tokens) * tokens as f64) as u64;
        }
        let groups: u64 = self.buckets.iter().map(|bucket| bucket.groups).sum();
        let block = self.block();
        (self.blocks(bytes) / groups.max(1)).saturating_mul(block)
    }

    /// Longest context of which one request fits into `bytes`, tokens, up to `most`.
    #[must_use]
    pub fn max_context(&self, bytes: f64, most: u64) -> u64 {
        let blocks = self.blocks(bytes);
        let (mut fits, mut too_long) = (0, most.saturating_add(1));
        while too_long - fits > 1 {
            let middle = fits + (too_long - fits) / 2;
            if self.request_blocks(middle) <= blocks { fits = middle } else { too_long = middle }
        }
        fits
    }
}

/// The common page: attention blocks are enlarged until a page holds a recurrent state; states are padded to it.
fn page_bytes(buckets: &[Bucket], block_size: u64) -> f64 {
    let widest = buckets.iter().map(|bucket| bucket.cache.token_bytes()).fold(0.0, f64::max);
    let state = buckets.iter().fold(0.0, |most: f64, bucket| match bucket.cache {
        LayerCache::State { bytes } => most.max(bytes),
        _ => most,
    });
    if widest <= 0.0 {
        return state;
    }
    let needed = (state / widest).ceil() as u64;
    let block = needed.checked_next_multiple_of(BLOCK_ALIGNMENT).unwrap_or(needed).max(block_size);
    widest * block as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: f64 = (1u64 << 30) as f64;

    fn scheduling(state_pages: u64, by_concurrency: bool) -> Scheduling {
        let tokens_by_concurrency = by_concurrency;
        Scheduling { block_size: 16, batched_tokens: 8192, state_pages, state_per_block: false, tokens_by_concurrency }
    }

    fn attention(bytes: f64) -> LayerCache {
        LayerCache::PerToken { bytes, limit: None }
    }

    #[test]
    fn uniform_layers_round_down_to_blocks() {
        // Llama-3.1-8B: 131072 B a token.
        let pool = Pool::new(&[(32, attention(4096.0))], scheduling(1, false));
        assert_eq!(pool.printed_tokens(58.11 * GIB, 8192), 476_032);
        assert!((pool.request_bytes(8192) - GIB).abs() < 1.0);
        assert_eq!(pool.max_context(GIB, 1 << 20), 8192);
    }

    /// Qwen3.5-35B-A3B, fp8 cache: 10 attention layers of 1024 B a token, 30 gated-delta layers whose state needs a
    /// block of 2096 tokens; 6.08 GiB gave 304 blocks, 159,296 tokens and 8.00 requests of 65,536.
    #[test]
    fn hybrid_layers_share_pages() {
        let layers = [(10, attention(1024.0)), (30, LayerCache::State { bytes: 2_146_304.0 })];
        let pool = Pool::new(&layers, scheduling(2, false));
        assert_eq!(pool.blocks(6.08 * GIB), 304);
        assert_eq!(pool.printed_tokens(6.08 * GIB, 65_536), 159_296);
        assert!((pool.concurrency(6.08 * GIB, 65_536) - 8.0).abs() < 0.005);
        assert_eq!(pool.printed_tokens(5.69 * GIB, 32_768), 148_816);
    }

    /// `mamba_cache_mode` "all": a state for every block of 1024 tokens in each of three groups, beside the attention's.
    #[test]
    fn prefixes_may_keep_a_state_per_block() {
        let layers = [(4, attention(4096.0)), (12, LayerCache::State { bytes: 1024.0 * 4096.0 })];
        let all = Scheduling { state_per_block: true, ..scheduling(0, true) };
        assert_eq!(Pool::new(&layers, all).request_blocks(65_536), 64 + 3 * 64);
        assert_eq!(Pool::new(&layers, scheduling(1, true)).request_blocks(65_536), 64 + 3);
    }

    /// 27B with 16 attention and 48 gated-delta layers: 19.54 GiB gave 313,650 tokens by the newer count.
    #[test]
    fn newer_versions_count_by_concurrency() {
        let layers = [(16, attention(4096.0)), (48, LayerCache::State { bytes: 784.0 * 4096.0 })];
        let pool = Pool::new(&layers, scheduling(2, true));
        assert_eq!(pool.request_blocks(262_144), 341);
        assert_eq!(pool.blocks(19.54 * GIB), 408);
        assert_eq!(pool.printed_tokens(19.54 * GIB, 262_144), 313_650);
    }
}
