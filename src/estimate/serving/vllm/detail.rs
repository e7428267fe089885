//! What is said of an estimate beside its bytes: the pool and the log, refusals, notes.

use crate::estimate::ServingDetail;
use crate::estimate::interval::Interval;
use crate::estimate::units::Bytes;

use super::rules::Log;
use super::{Plan, Rank};

impl Plan<'_> {
    pub(super) fn detail(&self, worst: &Rank<'_>, ranks: &[Rank<'_>]) -> ServingDetail {
        let pool = ranks.iter().map(|rank| self.pool_bytes(rank)).min().unwrap_or_default();
        let over_ranks = |count: &dyn Fn(&Rank<'_>) -> u64| ranks.iter().map(count).min().unwrap_or(0);
        let bytes = |rank: &Rank<'_>| self.pool_bytes(rank).as_f64();
        let tokens = over_ranks(&|rank| rank.pool.printed_tokens(bytes(rank), self.context));
        let most = self.model.max_position_embeddings.unwrap_or(1 << 24).max(self.context);
        let concurrency =
            ranks.iter().map(|rank| rank.pool.concurrency(bytes(rank), self.context)).fold(f64::INFINITY, f64::min);
        ServingDetail {
            // Adapter slots are allocated while the model loads.
            weights_bytes: (worst.weights + worst.adapters).likely,
            non_kv_bytes: worst.fixed().likely,
            kv_pool_bytes: pool,
            kv_bytes_per_token: Bytes::from_f64(worst.token_bytes),
            kv_tokens: tokens,
            max_context: over_ranks(&|rank| rank.pool.max_context(bytes(rank), most)),
            expected_log: self.log(worst, pool, tokens, concurrency),
        }
    }

    /// The main lines of the start-up log, as the version words them.
    fn log(&self, worst: &Rank<'_>, pool: Bytes, tokens: u64, concurrency: f64) -> Vec<String> {
        let weights = (worst.weights + worst.adapters).likely.gib();
        let length = thousands(self.context);
        let most = format!("Maximum concurrency for {length} tokens per request: {concurrency:.2}x");
        let size = format!("GPU KV cache size: {} tokens", thousands(tokens));
        let available = format!("Available KV cache memory: {:.2} GiB", pool.gib());
        let loaded = format!("Model loading took {weights:.2} GiB");
        match self.rules.log {
            Log::Blocks => {
                let blocks = worst.pool.blocks(pool.as_f64());
                let most = format!("Maximum concurrency for {} tokens per request: {concurrency:.2}x", self.context);
                vec![format!("Loading model weights took {weights:.4} GB"), format!("# GPU blocks: {blocks}"), most]
            }
            Log::Tokens => vec![loaded, size, most],
            Log::Available => vec![loaded, available, size, most],
            Log::Memory => vec![loaded + " memory", available, size, most],
            Log::OneLine => vec![loaded + " memory", available, format!("{size}, {most}")],
        }
    }

    pub(super) fn notes(&self, worst: &Rank<'_>) -> Vec<String> {
        let mut notes = Vec::new();
        let blocks = worst.pool.blocks(self.pool_bytes(worst).as_f64());
        if self.states(worst, Interval::ZERO).likely > Bytes::ZERO && blocks < self.step.sequences {
            notes.push(format!(
                "the pool likely has {blocks} blocks, and vLLM does not start with more sequences than blocks of \
                 recurrent states: set --max-num-seqs to {blocks} or less"
            ));
        }
        if self.workload.context_length.is_none() && self.workload.engine.auto_context {
            notes.push("vLLM shortens the context to what fits; estimate.serving.maxContext says to what".to_owned());
        } else if self.workload.context_length.is_none() {
            notes.push(format!("no context length is given: vLLM takes the model's own, {} tokens", self.context));
        }
        if self.workload.engine.version.is_none() {
            notes.push(
                "the vLLM version is not known: recent versions are assumed, which widens the estimate".to_owned(),
            );
        }
        if self.workload.engine.memory_fraction.is_none() {
            notes.push(format!("--gpu-memory-utilization is not given: the default of {} is assumed", self.fraction));
        }
        notes
    }
}

/// `476,016`, as the engine prints counts.
pub(super) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
