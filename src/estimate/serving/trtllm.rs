//! TensorRT-LLM: weights and workspaces first, then a fraction of what is still free becomes the KV pool.
//!
//! A server starts with whatever pool is left and shortens the longest sequence to it, so the cache of a longest
//! request is likely needed, never surely.

use super::server::{self, Formats, Rank};
use crate::estimate::interval::{Interval, Provenance};
use crate::estimate::model::{Model, TensorKind};
use crate::estimate::units::Bytes;
use crate::estimate::workload::{Version, Workload};
use crate::estimate::{Device, Estimate, EstimateError, PerGpu, Refusal, ServingDetail, Term, TermName};

/// A row holds from its version until the next row's.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rules {
    since: Version,
    /// `max_batch_size` where it is not given.
    batch: u64,
    /// `max_num_tokens` where it is not given.
    tokens: Tokens,
    /// Bytes that decoder and runtime keep for every logit of a full batch.
    decoder: f64,
    /// Tokens of a KV block.
    block: u64,
    /// Buffers of a step may come after the pool has taken its share.
    buffers_last: bool,
    /// Engines keep a tied head beside the embedding (built without embedding sharing, the default).
    untied: bool,
}

/// Tokens that workspaces are sized for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Tokens {
    /// So many.
    Most(u64),
    /// Every sequence of a full batch with a padded prompt of so many.
    Prompts(u64),
}

/// Bytes that decoder and runtime of the compiled engines keep for every logit of a full batch.
pub(in crate::estimate) const DECODER: f64 = 10.4;

/// Oldest first. Engines of the first versions were built for padded prompts (`max_input_len` 1024). The decoder's bytes: 4.35 GB and 1.14 GB of runtime buffers for 2048 sequences of a vocabulary of
/// 256,000 (`trtllm-bench`); the PyTorch backend samples on fp32 logits and their probabilities.
const RULES: [Rules; 4] = [
    Rules {
        since: Version([0, 0, 0]),
        batch: 8,
        tokens: Tokens::Prompts(1024),
        decoder: DECODER,
        block: 128,
        buffers_last: true,
        untied: true,
    },
    Rules {
        since: Version([0, 9, 0]),
        batch: 256,
        tokens: Tokens::Most(8192),
        decoder: DECODER,
        block: 64,
        buffers_last: false,
        untied: true,
    },
    Rules {
        since: Version([0, 13, 0]),
        batch: 2048,
        tokens: Tokens::Most(8192),
        decoder: DECODER,
        block: 64,
        buffers_last: false,
        untied: true,
    },
    Rules {
        since: Version([1, 0, 0]),
        batch: 2048,
        tokens: Tokens::Most(8192),
        decoder: 8.0,
        block: 32,
        buffers_last: false,
        untied: false,
    },
];

/// Default of `free_gpu_memory_fraction`.
const FRACTION: f64 = 0.9;
/// Engine and library workspaces that do not scale, GiB.
pub(in crate::estimate) const WORKSPACE: (f64, f64, f64) = (0.0, 0.5, 3.0);
/// Graphs of the PyTorch backend, GiB.
pub(in crate::estimate) const GRAPHS: (f64, f64, f64) = (0.0, 0.2, 2.0);

struct Plan<'a> {
    workload: &'a Workload,
    formats: Formats<'a>,
    device: &'a Device,
    rules: Rules,
    context: u64,
    tokens: u64,
    batch: u64,
    fraction: f64,
    process: Interval,
}

/// Estimates a TensorRT-LLM server.
///
/// # Errors
/// When parallelism does not divide the model, or the context is neither given nor known from the model.
pub(super) fn estimate(workload: &Workload, model: &Model, device: &Device) -> Result<Estimate, EstimateError> {
    let version = workload.engine.version;
    let rules = RULES.iter().rev().find(|rules| version.is_none_or(|version| rules.since <= version));
    let rules = *rules.unwrap_or(&RULES[0]);
    let batch = workload.engine.max_num_seqs.unwrap_or(rules.batch);
    let default_tokens = match rules.tokens {
        Tokens::Most(tokens) => tokens,
        Tokens::Prompts(length) => length.saturating_mul(batch),
    };
    let plan = Plan {
        workload,
        formats: Formats::new(workload, model, Some(4.0)),
        device,
        rules,
        context: server::context(workload, model, "--max_seq_len")?,
        tokens: workload.engine.max_num_batched_tokens.unwrap_or(default_tokens),
        batch,
        fraction: workload.engine.memory_fraction.unwrap_or(FRACTION),
        process: server::process(&workload.parallelism, device),
    };
    let ranks = plan.formats.ranks()?;
    let worst = ranks
        .iter()
        .max_by_key(|rank| server::total(&plan.terms(rank)).likely)
        .ok_or_else(|| EstimateError::Parallelism("the model has no layers".to_owned()))?;
    Ok(plan.assemble(worst))
}

/// The pool that a fraction of free memory makes: whole blocks of `block` tokens of `token` bytes.
fn pool(free: Bytes, fraction: f64, token: f64, block: u64, most: Option<u64>) -> (Bytes, u64) {
    let bytes = free.scale(fraction);
    if token <= 0.0 {
        return (bytes, 0);
    }
    let fitting = (bytes.as_f64() / token) as u64;
    // Blocks are rounded up, as the logs show: 0.25 of 8.73 GiB holds 190,656 tokens in blocks of 32.
    let tokens = fitting.checked_next_multiple_of(block.max(1)).unwrap_or(fitting).min(most.unwrap_or(u64::MAX));
    (Bytes::from_f64(tokens as f64 * token), tokens)
}

impl Plan<'_> {
    /// Forward pass of a full step; decoder and runtime buffers of a full batch.
    fn working(&self, rank: &Rank<'_>) -> Interval {
        let rows = self.batch.min(self.tokens);
        let forward = Interval::spread(self.formats.forward(rank, self.tokens, 1, 0.0), 0.7, 1.0);
        let logits = rows as f64 * self.formats.model.vocab_size as f64 * self.rules.decoder;
        let decoder = if rank.stage.is_last() { Bytes::from_f64(logits) } else { Bytes::ZERO };
        forward + Interval::spread(decoder, 0.9, 0.1) + server::gib(WORKSPACE)
    }

    /// Stored tensors, and a head of its own where the model ties it to the embedding.
    fn weights(&self, rank: &Rank<'_>) -> Interval {
        let model = self.formats.model;
        let embedding = model.outer.iter().find(|tensor| tensor.kind == TensorKind::Embedding);
        let doubled = self.rules.untied && model.tied_embeddings && rank.stage.is_last();
        let head = embedding.filter(|_| doubled).map_or(0.0, |tensor| self.formats.storage.tensor(tensor));
        let head = Bytes::from_f64(head);
        rank.weights + Interval::new(Bytes::ZERO, head, head)
    }

    fn fixed(&self, rank: &Rank<'_>) -> Interval {
        self.process + self.weights(rank) + self.working(rank)
    }

    /// Free memory after loading and workspaces.
    fn free(&self, rank: &Rank<'_>) -> Bytes {
        self.device.visible - self.fixed(rank).likely
    }

    fn pool(&self, rank: &Rank<'_>) -> (Bytes, u64) {
        let engine = &self.workload.engine;
        let block = engine.block_size.unwrap_or(self.rules.block);
        let (bytes, tokens) = pool(self.free(rank), self.fraction, rank.token_bytes(), block, engine.max_total_tokens);
        match engine.kv_cache_memory {
            Some(most) if most < bytes => pool(most, 1.0, rank.token_bytes(), block, engine.max_total_tokens),
            _ => (bytes, tokens),
        }
    }

    fn cache(&self, rank: &Rank<'_>, requests: u64) -> Bytes {
        Bytes::from_f64(rank.whole_sequence(self.context) * requests as f64)
    }

    /// Free memory that a pool of `cache` leaves untouched.
    fn left(&self, cache: Bytes) -> Bytes {
        cache.scale((1.0 - self.fraction).max(0.0) / self.fraction)
    }

    /// What a pool must leave at most, where buffers are allocated after it: a share of free memory that holds them.
    fn left_for_buffers(&self, rank: &Rank<'_>) -> Bytes {
        let share = (1.0 - self.fraction).max(0.01);
        if self.rules.buffers_last { self.working(rank).high.scale(1.0 / share) } else { Bytes::ZERO }
    }

    fn assemble(&self, worst: &Rank<'_>) -> Estimate {
        let terms = self.terms(worst);
        let required = server::total(&terms);
        let requests = self.workload.batch_size.unwrap_or(1).max(1);
        let cache = self.cache(worst, requests);
        let wanted = self.fixed(worst) + Interval::exact(cache + self.left(cache));
        let wanted = if self.workload.context_length.is_some() { wanted.max(required) } else { required };
        let (pool, tokens) = self.pool(worst);
        let graphs = if self.workload.engine.enforce_eager { Interval::ZERO } else { server::gib(GRAPHS) };
        let taken = self.fixed(worst) + Interval::exact(pool) + graphs;
        let most = self.device.visible;
        Estimate {
            per_gpu: PerGpu {
                required,
                wanted,
                reserved: Interval::new(taken.low.min(most), taken.likely.min(most), taken.high.min(most)),
            },
            usable: most,
            serving: Some(self.detail(worst, pool, tokens)),
            terms,
            training: None,
            worst_rank: worst.stage.describe(),
            refusals: self.refusals(worst),
            notes: self.notes(tokens),
            gpus: server::gpus(&self.workload.parallelism),
        }
    }

    fn terms(&self, rank: &Rank<'_>) -> Vec<Term> {
        let one = self.cache(rank, 1);
        let left = self.left(one);
        server::terms(vec![
            server::weights(self.weights(rank), &self.workload.parallelism),
            (
                TermName::KvCache,
                Interval::new(Bytes::ZERO, one, one),
                Provenance::Derived,
                format!("1 request × {} tokens × {:.0} B", self.context, rank.token_bytes()),
            ),
            (
                TermName::Fragmentation,
                Interval::new(Bytes::ZERO, left, left.max(self.left_for_buffers(rank))),
                Provenance::Derived,
                format!("what a pool of {:.2} of free memory leaves free", self.fraction),
            ),
            (
                TermName::Activations,
                self.working(rank),
                Provenance::Calibrated,
                format!(
                    "step of {} tokens, decoder buffers of {} × {} logits",
                    self.tokens, self.batch, self.formats.model.vocab_size
                ),
            ),
            (
                TermName::Runtime,
                self.process,
                Provenance::Calibrated,
                "CUDA context and communicators before loading".to_owned(),
            ),
        ])
    }

    fn detail(&self, rank: &Rank<'_>, bytes: Bytes, tokens: u64) -> ServingDetail {
        ServingDetail {
            weights_bytes: self.weights(rank).likely,
            non_kv_bytes: self.fixed(rank).likely,
            kv_pool_bytes: bytes,
            kv_bytes_per_token: Bytes::from_f64(rank.token_bytes()),
            kv_tokens: tokens,
            max_context: tokens.min(self.formats.model.max_position_embeddings.unwrap_or(u64::MAX)),
            expected_log: vec![format!(
                "[MemUsageChange] Allocated {:.2} GiB for max tokens in paged KV cache ({tokens}).",
                bytes.gib()
            )],
        }
    }

    fn refusals(&self, worst: &Rank<'_>) -> Vec<Refusal> {
        let low = self.process.low + worst.weights.low;
        if low <= self.device.visible {
            return Vec::new();
        }
        let message = format!("weights of {:.2} exceed the device's {:.2}", worst.weights.low, self.device.visible);
        vec![Refusal { code: "WEIGHTS_EXCEED_DEVICE", message }]
    }

    fn notes(&self, tokens: u64) -> Vec<String> {
        let mut notes = Vec::new();
        if tokens < self.context {
            notes.push(format!(
                "the pool likely holds {tokens} tokens, less than the context of {}: longer requests are refused",
                self.context
            ));
        }
        if self.workload.context_length.is_none() {
            notes.push(format!("--max_seq_len is not given: the model's own, {} tokens, is assumed", self.context));
        }
        if self.workload.engine.memory_fraction.is_none() {
            notes.push(format!(
                "free_gpu_memory_fraction is not given: the default of {FRACTION} of what is free after loading is \
                 assumed, so the server takes most of the device"
            ));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::dtype::DType;
    use crate::estimate::serving::fixtures::{self, Shape};
    use crate::estimate::workload::EngineName;

    /// Pools as logged: free memory, fraction, bytes a token, block, GiB, tokens.
    #[test]
    fn pools_are_a_fraction_of_free_memory() {
        let logged = [
            (17.83, 0.9, 65_536.0, 32, 16.05, 263_008_u64),
            (16.25, 0.45, 28_672.0, 32, 7.31, 273_792),
            (8.73, 0.25, 12_288.0, 32, 2.18, 190_656),
            (63.62, 0.99, 229_376.0, 64, 62.99, 294_848),
        ];
        for (free, fraction, token, block, gib, tokens) in logged {
            // Free memory is logged to 0.01 GiB: the logged tokens lie between what its bounds give.
            let at = |free: f64| pool(Bytes::from_gib(free), fraction, token, block, None);
            let (low, high) = (at(free - 0.005), at(free + 0.005));
            assert!((low.1..=high.1).contains(&tokens), "{tokens} in {low:?} to {high:?}");
            assert!(low.0.gib() <= gib + 0.005 && gib - 0.005 <= high.0.gib(), "{gib} in {low:?} to {high:?}");
            assert!(low.1.is_multiple_of(block) && high.1.is_multiple_of(block));
        }
        assert_eq!(pool(Bytes::from_gib(8.0), 0.9, 1000.0, 32, Some(4096)).1, 4096);
    }

    /// Llama-3.1-8B with an fp8 cache on 31.36 GiB: 16.05 GiB were logged for a quantized engine; 16-bit weights leave
    /// less, and a shorter pool is never a refusal.
    #[test]
    fn a_server_takes_most_of_the_device_and_starts_below_one_request() {
        let (mut workload, device) = fixtures::on(EngineName::Trtllm, fixtures::dense(&Shape::LLAMA_8B), 31.36);
        workload.kv_cache_dtype = Some(DType::Fp8);
        let estimate = crate::estimate::estimate(&workload, &device).unwrap();
        let serving = estimate.serving.as_ref().unwrap();
        assert_eq!(serving.kv_bytes_per_token, Bytes(65_536));
        assert!(serving.kv_pool_bytes < Bytes::from_gib(16.0) && serving.kv_pool_bytes > Bytes::from_gib(5.0));
        workload.context_length = Some(4_000_000);
        let long = crate::estimate::estimate(&workload, &device).unwrap();
        assert!(long.per_gpu.required.low < long.usable && long.per_gpu.required.likely > long.usable);
        assert!(long.refusals.is_empty());
    }
}
