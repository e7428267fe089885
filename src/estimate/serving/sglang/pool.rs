//! SGLang's memory pools: full and sliding-window KV in a fixed ratio, recurrent states in slots.

use crate::estimate::serving::server::Rank;
use crate::estimate::workload::Engine;

/// Defaults of `--swa-full-tokens-ratio` and `--mamba-full-memory-ratio`.
const WINDOW_RATIO: f64 = 0.8;
const STATE_RATIO: f64 = 0.9;
/// Slots that one request holds with the prefix cache on (the request's, its copy, the cache's).
const SLOTS_PER_REQUEST: f64 = 3.0;

/// How the memory of one rank's pools is divided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Layout {
    /// Bytes per token, window layers weighted by their pool's share of tokens.
    pub cell: f64,
    /// Bytes of one state slot.
    slot: f64,
    state_ratio: f64,
    slots: Option<u64>,
    most_tokens: Option<u64>,
    page: u64,
}

/// What a pool of some size holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Division {
    /// Tokens of the full pool.
    pub tokens: u64,
    /// Bytes of KV.
    pub kv: f64,
    /// Slots for states, and their bytes.
    pub slots: u64,
    /// Bytes of states.
    pub state: f64,
}

impl Layout {
    pub(super) fn new(rank: &Rank<'_>, engine: &Engine, window_pools: bool) -> Self {
        let (window, full) = rank.window_and_full();
        let own_pool = window_pools && !engine.full_window_cache && full > 0.0;
        let ratio = if own_pool { engine.window_pool_ratio.unwrap_or(WINDOW_RATIO).clamp(0.0, 1.0) } else { 1.0 };
        Self {
            cell: full + ratio * window,
            slot: rank.state_bytes(),
            state_ratio: engine.state_pool_ratio.filter(|r| *r > 0.0 && r.is_finite()).unwrap_or(STATE_RATIO),
            slots: engine.state_slots,
            most_tokens: engine.max_total_tokens,
            page: engine.block_size.unwrap_or(1),
        }
    }

    /// Bytes of pools in which `requests` of `tokens` fit.
    pub(super) fn request(&self, tokens: u64, requests: u64) -> f64 {
        let kv = self.cell * tokens as f64 * requests as f64;
        if self.slot <= 0.0 {
            return kv;
        }
        if let Some(slots) = self.slots {
            return kv + (slots as f64 + 1.0) * self.slot;
        }
        // The ratio is fixed: the tighter of the two pools decides how large both are.
        let state = requests as f64 * SLOTS_PER_REQUEST * self.slot;
        let whole = 1.0 + self.state_ratio;
        if self.cell <= 0.0 { state } else { (kv * whole).max(state * whole / self.state_ratio) }
    }

    /// Divides `bytes`.
    pub(super) fn divide(&self, bytes: f64) -> Division {
        let slots = match (self.slot > 0.0, self.slots) {
            (false, _) => 0,
            (true, Some(slots)) => slots,
            (true, None) => (bytes * self.state_ratio / (1.0 + self.state_ratio) / self.slot) as u64,
        };
        // One more slot than are handed out: the dummy of padded batches.
        let state = if slots > 0 { (slots as f64 + 1.0) * self.slot } else { 0.0 };
        let fitting = if self.cell > 0.0 { ((bytes - state).max(0.0) / self.cell) as u64 } else { 0 };
        let tokens = fitting.min(self.most_tokens.unwrap_or(u64::MAX));
        let tokens = crate::estimate::serving::server::whole_blocks(tokens, self.page);
        Division { tokens, kv: tokens as f64 * self.cell, slots, state }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: f64 = (1u64 << 30) as f64;

    fn layout(cell: f64, slot: f64) -> Layout {
        Layout { cell, slot, state_ratio: STATE_RATIO, slots: None, most_tokens: None, page: 1 }
    }

    /// DeepSeek-V3 on GB200: 78.7196 GiB after loading, 174.8407 before, fraction 0.95.
    #[test]
    fn latent_tokens_to_the_last() {
        let rest: f64 = 78.7196 - 174.8407 * (1.0 - 0.95);
        assert!((rest - 69.9776).abs() < 1e-4);
        let tokens = layout(70_272.0, 0.0).divide(rest * GIB).tokens;
        // The log's four decimals of a GiB leave room for two tokens.
        assert!(tokens.abs_diff(1_069_242) <= 2, "{tokens}");
    }

    /// Qwen3-235B on four ranks: 94 layers, one key/value head of 128 each: 367,404 tokens are 2 x 8.23 GiB.
    #[test]
    fn uniform_tokens_to_the_last() {
        let cell: f64 = 94.0 * (128.0 + 128.0) * 2.0;
        assert!((cell - 48_128.0).abs() < f64::EPSILON);
        let bytes = 367_404.0 * cell;
        // Printed as 8.23 of keys and 8.23 of values.
        assert_eq!(format!("{:.2}", bytes / 2.0 / GIB), "8.23");
        assert_eq!(layout(cell, 0.0).divide(bytes).tokens, 367_404);
    }

    /// A 3B hybrid with 4 attention layers (8192 B a token) and 36 of Mamba 2: 38 slots are 2.77 GiB, KV 3.04 GiB.
    #[test]
    fn states_take_their_ratio() {
        let slot = 36.0 * (524_288.0 * 4.0 + 4352.0 * 3.0 * 2.0);
        let division = layout(8192.0, slot).divide((2.77 + 3.04) * GIB);
        assert_eq!(division.slots, 38);
        assert!((division.state / GIB - 2.77).abs() < 0.02, "{division:?}");
        assert!((division.tokens as f64 - 399_740.0).abs() < 4000.0, "{division:?}");
    }

    #[test]
    fn caps_and_pages_round_down() {
        let capped = Layout { most_tokens: Some(20_480), ..layout(12_288.0, 0.0) };
        assert_eq!(capped.divide(70.0 * GIB).tokens, 20_480);
        let paged = Layout { page: 64, ..layout(100.0, 0.0) };
        assert_eq!(paged.divide(12_799.0).tokens, 64);
    }

    #[test]
    fn a_need_is_what_its_division_yields() {
        for layout in [layout(1000.0, 0.0), layout(1000.0, 5.0e6), Layout { slots: Some(9), ..layout(1000.0, 5.0e6) }] {
            let division = layout.divide(layout.request(10_000, 4) + 1.0e7);
            assert!(division.tokens >= 40_000, "{layout:?} {division:?}");
        }
    }
}
