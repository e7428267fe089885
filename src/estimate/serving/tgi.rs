//! Hugging Face text-generation-inference: a warm-up prefill shows the peak, what is then free becomes the KV pool.

use super::server::{self, Formats, Rank};
use crate::estimate::interval::{Interval, Provenance};
use crate::estimate::model::Model;
use crate::estimate::units::Bytes;
use crate::estimate::workload::{Version, Workload};
use crate::estimate::{Device, Estimate, EstimateError, PerGpu, Refusal, ServingDetail, Term, TermName};

/// What the warm-up leaves free.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wiggle {
    /// A share of what is free.
    OfFree(f64),
    /// A share of the whole device.
    OfTotal(f64),
}

/// A row holds from its version until the next row's.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rules {
    since: Version,
    wiggle: Wiggle,
}

/// Oldest first. Sources: `server/text_generation_server/models/globals.py` (`TGI_WIGGLE_ROOM`) and
/// `flash_causal_lm.py` of 1.1.0, 1.4.0, 2.0.0, 2.3.1, 2.4.0, 2.4.1, 3.0.0, 3.0.1, 3.1.0, 3.2.3, 3.3.0 and 3.3.6; a 24 GiB card with a
/// 7B model (43,808 tokens) for the newest.
const RULES: [Rules; 6] = [
    Rules { since: Version([0, 0, 0]), wiggle: Wiggle::OfFree(0.0) },
    Rules { since: Version([2, 0, 0]), wiggle: Wiggle::OfFree(0.05) },
    Rules { since: Version([2, 4, 0]), wiggle: Wiggle::OfFree(0.10) },
    Rules { since: Version([3, 0, 0]), wiggle: Wiggle::OfTotal(0.05) },
    Rules { since: Version([3, 1, 0]), wiggle: Wiggle::OfTotal(0.07) },
    Rules { since: Version([3, 3, 0]), wiggle: Wiggle::OfTotal(0.10) },
];

/// `--max-batch-prefill-tokens` and `--max-total-tokens` where neither is given and the model's length is not shorter.
const DEFAULT_TOKENS: u64 = 4096;
/// Bytes per logit beside the logit: the fp32 copy and its probabilities.
const SAMPLER: f64 = 8.0;
/// Graphs of 1 to 32 sequences, GiB.
pub(in crate::estimate) const GRAPHS: (f64, f64, f64) = (0.0, 0.2, 1.0);
/// Largest batch with a graph.
const GRAPH_BATCH: u64 = 32;

struct Plan<'a> {
    workload: &'a Workload,
    formats: Formats<'a>,
    device: &'a Device,
    wiggle: Wiggle,
    context: u64,
    prefill: u64,
    process: Interval,
    usable: Bytes,
}

/// Estimates a TGI server.
///
/// # Errors
/// When parallelism does not divide the model.
pub(super) fn estimate(workload: &Workload, model: &Model, device: &Device) -> Result<Estimate, EstimateError> {
    let context =
        workload.context_length.unwrap_or(model.max_position_embeddings.unwrap_or(DEFAULT_TOKENS).min(DEFAULT_TOKENS));
    let version = workload.engine.version;
    let rules = RULES.iter().rev().find(|rules| version.is_none_or(|version| rules.since <= version));
    let plan = Plan {
        workload,
        formats: Formats::new(workload, model, None),
        device,
        wiggle: rules.map_or(Wiggle::OfTotal(0.1), |rules| rules.wiggle),
        context,
        prefill: workload.engine.max_num_batched_tokens.unwrap_or(DEFAULT_TOKENS.max(context.min(2 * DEFAULT_TOKENS))),
        process: server::process(&workload.parallelism, device),
        usable: device.visible.scale(workload.engine.memory_fraction.unwrap_or(1.0)),
    };
    let ranks = plan.formats.ranks()?;
    let worst = ranks
        .iter()
        .max_by_key(|rank| server::total(&plan.terms(rank)).likely)
        .ok_or_else(|| EstimateError::Parallelism("the model has no layers".to_owned()))?;
    Ok(plan.assemble(worst))
}

impl Plan<'_> {
    fn prefill(&self, rank: &Rank<'_>) -> Interval {
        Interval::spread(self.formats.forward(rank, self.prefill, GRAPH_BATCH, SAMPLER), 0.5, 0.6)
    }

    /// The prefill's own cache, which the warm-up frees for the pool.
    fn prefill_cache(&self, rank: &Rank<'_>) -> Bytes {
        Bytes::from_f64(rank.whole_sequence(self.prefill))
    }

    /// Every layer keeps the whole context; windows shorten it in some versions.
    fn cache(&self, rank: &Rank<'_>, requests: u64) -> Interval {
        let of = |one: f64| Bytes::from_f64(one * requests as f64);
        let whole = of(rank.whole_sequence(self.context));
        // Undeclared, the longest request is whatever fits.
        let low = if self.workload.context_length.is_some() { of(rank.sequence(self.context)) } else { Bytes::ZERO };
        Interval::new(low, whole, whole)
    }

    /// What stays free when the pool holds `cache` beyond the prefill's share.
    fn kept_free(&self, rank: &Rank<'_>, cache: Bytes) -> Interval {
        let beyond = cache - self.prefill_cache(rank);
        let likely = match self.wiggle {
            _ if beyond == Bytes::ZERO => Bytes::ZERO,
            Wiggle::OfFree(share) => beyond.scale(share / (1.0 - share)),
            Wiggle::OfTotal(share) => self.usable.scale(share),
        };
        // The share can be changed by an environment variable of the server.
        Interval::new(Bytes::ZERO, likely, likely)
    }

    fn fixed(&self, rank: &Rank<'_>) -> Interval {
        self.process + rank.weights + self.prefill(rank)
    }

    /// Bytes of the pool after the warm-up.
    fn pool(&self, rank: &Rank<'_>) -> Bytes {
        if let Some(tokens) = self.workload.engine.max_total_tokens {
            return Bytes::from_f64(rank.token_bytes() * tokens as f64);
        }
        let free = self.usable - self.fixed(rank).likely - self.prefill_cache(rank);
        let kept = match self.wiggle {
            Wiggle::OfFree(share) => free.scale(1.0 - share),
            Wiggle::OfTotal(share) => free - self.usable.scale(share),
        };
        kept + self.prefill_cache(rank)
    }

    fn assemble(&self, worst: &Rank<'_>) -> Estimate {
        let terms = self.terms(worst);
        let required = server::total(&terms);
        let wanted = server::without_cache(&terms) + self.cache(worst, self.workload.batch_size.unwrap_or(1).max(1));
        let pool = self.pool(worst);
        let taken = self.process + worst.weights + self.prefill(worst) + server::gib(GRAPHS) + Interval::exact(pool);
        let most = self.device.visible;
        Estimate {
            per_gpu: PerGpu {
                required,
                wanted: wanted.max(required),
                reserved: Interval::new(taken.low.min(most), taken.likely.min(most), taken.high.min(most)),
            },
            usable: self.usable,
            serving: Some(self.detail(worst, pool)),
            terms,
            training: None,
            worst_rank: worst.stage.describe(),
            refusals: self.refusals(worst),
            notes: self.notes(),
            gpus: server::gpus(&self.workload.parallelism),
        }
    }

    fn terms(&self, rank: &Rank<'_>) -> Vec<Term> {
        let one = self.cache(rank, 1);
        // The warm-up's own cache must fit even where a request is shorter.
        let cache = Interval { likely: one.likely.max(self.prefill_cache(rank)), ..one };
        let cache = Interval::new(cache.low, cache.likely, cache.likely);
        let graphs = if self.workload.engine.enforce_eager { Interval::ZERO } else { server::gib(GRAPHS) };
        server::terms(vec![
            server::weights(rank.weights, &self.workload.parallelism),
            (
                TermName::KvCache,
                cache,
                Provenance::Derived,
                format!(
                    "the larger of 1 request × {} tokens and a prefill of {}, × {:.0} B",
                    self.context,
                    self.prefill,
                    rank.token_bytes()
                ),
            ),
            (
                TermName::Activations,
                self.prefill(rank),
                Provenance::Derived,
                format!("warm-up prefill of {} tokens", self.prefill),
            ),
            (
                TermName::Fragmentation,
                self.kept_free(rank, one.likely),
                Provenance::Derived,
                "share that the warm-up leaves free".to_owned(),
            ),
            (TermName::CudaGraphs, graphs, Provenance::Assumed, format!("graphs up to {GRAPH_BATCH} sequences")),
            (
                TermName::Runtime,
                self.process,
                Provenance::Calibrated,
                "CUDA context and communicators before loading".to_owned(),
            ),
        ])
    }

    fn detail(&self, rank: &Rank<'_>, pool: Bytes) -> ServingDetail {
        let tokens = if rank.token_bytes() > 0.0 { (pool.as_f64() / rank.token_bytes()) as u64 } else { 0 };
        ServingDetail {
            weights_bytes: rank.weights.likely,
            non_kv_bytes: self.fixed(rank).likely,
            kv_pool_bytes: pool,
            kv_bytes_per_token: Bytes::from_f64(rank.token_bytes()),
            kv_tokens: tokens,
            max_context: tokens.min(self.formats.model.max_position_embeddings.unwrap_or(u64::MAX)),
            expected_log: vec![format!("Setting max batch total tokens to {tokens}")],
        }
    }

    fn refusals(&self, worst: &Rank<'_>) -> Vec<Refusal> {
        let low = self.fixed(worst).low;
        if low > self.usable {
            let message = format!(
                "weights and a prefill of {} tokens need {low:.2}, {:.2} are usable: not enough memory to handle the \
                 prefill tokens",
                self.prefill, self.usable
            );
            return vec![Refusal { code: "WARMUP_EXCEEDS_DEVICE", message }];
        }
        let one = self.cache(worst, 1).low;
        if one > self.usable - low {
            let message = format!(
                "one request of {} tokens needs {one:.2} of cache, at most {:.2} is left: lower --max-total-tokens",
                self.context,
                self.usable - low
            );
            return vec![Refusal { code: "KV_BELOW_ONE_REQUEST", message }];
        }
        Vec::new()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.workload.context_length.is_none() {
            notes.push(format!("--max-total-tokens is not given: {} tokens are assumed", self.context));
        }
        if self.workload.engine.max_num_batched_tokens.is_none() {
            notes.push(format!("--max-batch-prefill-tokens is not given: {} tokens are assumed", self.prefill));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::serving::fixtures::{self, Shape};
    use crate::estimate::workload::EngineName;

    fn mistral_7b() -> Model {
        fixtures::dense(&Shape { vocab: 32_768, intermediate: 14_336, ..Shape::LLAMA_8B })
    }

    /// A 7B model on an A10G-class card: 43,808 tokens were logged.
    #[test]
    fn the_pool_is_what_the_warm_up_leaves() {
        let (workload, device) = fixtures::on(EngineName::Tgi, mistral_7b(), 22.07);
        let estimate = crate::estimate::estimate(&workload, &device).unwrap();
        let serving = estimate.serving.unwrap();
        assert_eq!(serving.kv_bytes_per_token, Bytes(131_072));
        assert!((serving.kv_tokens as f64 / 43_808.0 - 1.0).abs() < 0.1, "{serving:?}");
        // Older versions keep a share of what is free instead.
        let mut old = workload.clone();
        old.engine.version = Some(Version([1, 1, 0]));
        let old = crate::estimate::estimate(&old, &device).unwrap().serving.unwrap();
        assert!(old.kv_tokens > serving.kv_tokens);
    }

    #[test]
    fn a_declared_length_must_fit_and_an_undeclared_one_shrinks() {
        let (mut workload, device) = fixtures::on(EngineName::Tgi, mistral_7b(), 22.07);
        workload.context_length = Some(32_768);
        let enough = crate::estimate::estimate(&workload, &device).unwrap();
        assert!(enough.refusals.is_empty(), "{:?}", enough.refusals);
        workload.context_length = Some(131_072);
        let refused = crate::estimate::estimate(&workload, &device).unwrap();
        assert_eq!(refused.refusals[0].code, "KV_BELOW_ONE_REQUEST");
        workload.context_length = None;
        assert!(crate::estimate::estimate(&workload, &device).unwrap().refusals.is_empty());
    }
}
