//! SGLang: weights and pools share `--mem-fraction-static` of the memory that is free before loading; chunks, graphs
//! and everything else live in the rest.
//!
//! A server starts with whatever pool is left and turns longer requests away, so the cache of a longest request is
//! likely needed, never surely.

mod pool;
mod rules;

use super::server::{self, Formats, Rank};
use crate::estimate::interval::{Interval, Provenance};
use crate::estimate::model::Model;
use crate::estimate::units::Bytes;
use crate::estimate::workload::Workload;
use crate::estimate::{Device, Estimate, EstimateError, PerGpu, Refusal, ServingDetail, Term, TermName};

use pool::Layout;
use rules::Sizes;

/// Bytes per logit beside the logit: the fp32 copy and its probabilities.
const SAMPLER: f64 = 8.0;
/// Attention workspaces that every server allocates, GiB.
pub(in crate::estimate) const WORKSPACE: (f64, f64, f64) = (0.1, 0.5, 1.0);
/// Graphs, GiB: 0.07 to 1.3 on most models, 4.2 on gemma-3-4b, 6.2 on a mixture over eight ranks.
pub(in crate::estimate) const GRAPHS: (f64, f64, f64) = (0.05, 0.8, 4.5);
/// Bounds of the number of requests whose token indices are kept, and bytes of an index.
const REQUESTS: (f64, f64) = (2048.0, 4096.0);
const INDEX: f64 = 4.0;
/// How far the encoder's size may be misjudged from its parameters, as a share of the fraction.
const ENCODER_ERROR: f64 = 0.03;
/// What SGLang needs of a device.
const LEAST_CAPABILITY: (u8, u8) = (7, 5);

struct Plan<'a> {
    workload: &'a Workload,
    formats: Formats<'a>,
    device: &'a Device,
    sizes: Sizes,
    context: u64,
    process: Interval,
    /// The share outside the fraction.
    set_aside: Interval,
    fraction: f64,
    window_pools: bool,
}

/// Estimates an SGLang server.
///
/// # Errors
/// When parallelism does not divide the model, or the context is neither given nor known from the model.
pub(super) fn estimate(workload: &Workload, model: &Model, device: &Device) -> Result<Estimate, EstimateError> {
    let plan = Plan::new(workload, model, device)?;
    let ranks = plan.formats.ranks()?;
    let worst = ranks
        .iter()
        .max_by_key(|rank| server::total(&plan.terms(rank)).likely)
        .ok_or_else(|| EstimateError::Parallelism("the model has no layers".to_owned()))?;
    Ok(plan.assemble(worst, &ranks))
}

impl<'a> Plan<'a> {
    fn new(workload: &'a Workload, model: &'a Model, device: &'a Device) -> Result<Self, EstimateError> {
        // Recurrent states are fp32 unless asked otherwise (`--mamba-ssm-dtype`).
        let formats = Formats::new(workload, model, Some(4.0));
        let candidates = rules::candidates(workload.engine.version);
        let rules = rules::likely(workload.engine.version);
        let sizes = Sizes::new(workload, model, device, rules);
        let process = server::process(&workload.parallelism, device);
        let default = sizes.fraction(rules);
        let (fraction, low, high) = if let Some(given) = workload.engine.memory_fraction {
            (given, given, given)
        } else {
            let of = |rules: &rules::Rules| Sizes::new(workload, model, device, rules).fraction(rules);
            let high = candidates.iter().map(of).fold(default, f64::max);
            let low = rules::recent(workload.engine.version).iter().map(of).fold(default, f64::min);
            let error = if sizes.encoder_matters(rules) { ENCODER_ERROR } else { 0.0 };
            (default, low - error, high + error)
        };
        let rest = |fraction: f64, process: Bytes| (device.visible - process).scale((1.0 - fraction).max(0.0));
        Ok(Self {
            workload,
            formats,
            device,
            sizes,
            context: server::context(workload, model, "--context-length")?,
            process,
            set_aside: Interval::new(rest(high, process.high), rest(fraction, process.likely), rest(low, process.low)),
            fraction,
            window_pools: rules.window_pools,
        })
    }

    fn layout(&self, rank: &Rank<'_>) -> Layout {
        Layout::new(rank, &self.workload.engine, self.window_pools)
    }

    fn request(&self, rank: &Rank<'_>, requests: u64) -> Bytes {
        Bytes::from_f64(self.layout(rank).request(self.context, requests))
    }

    /// What runs outside the pools: a chunk's activations, graphs, workspaces and token indices.
    fn working(&self, rank: &Rank<'_>) -> Interval {
        let rows = self.sizes.graphs.max(1);
        let chunk = Interval::spread(self.formats.forward(rank, self.sizes.chunk, rows, SAMPLER), 0.7, 0.5);
        let graphs = if self.sizes.graphs == 0 { Interval::ZERO } else { server::gib(GRAPHS) };
        let per_request = self.context as f64 * INDEX;
        let requests = self.workload.engine.max_num_seqs.map_or(REQUESTS, |n| (n as f64, n as f64));
        let indices = |n: f64| Bytes::from_f64(n * per_request);
        chunk + graphs + server::gib(WORKSPACE) + Interval::new(Bytes::ZERO, indices(requests.0), indices(requests.1))
    }

    /// What runs outside the pools and does not fit into what is set aside for it.
    fn beyond(&self, rank: &Rank<'_>) -> Interval {
        let working = self.working(rank);
        Interval::new(
            working.low - self.set_aside.high,
            working.likely - self.set_aside.likely,
            working.high - self.set_aside.low,
        )
    }

    /// Weights and adapters: what is loaded before the pool is sized.
    fn loaded(&self, rank: &Rank<'_>) -> Interval {
        rank.weights + self.formats.adapters(rank, &self.workload.engine)
    }

    /// The pool's bytes by the engine's identity, and what it is divided into.
    fn pool(&self, rank: &Rank<'_>) -> (Bytes, pool::Division) {
        let left = self.device.visible - self.process.likely - self.set_aside.likely - self.loaded(rank).likely;
        let division = self.layout(rank).divide(left.as_f64());
        let capped = self.workload.engine.max_total_tokens.is_some();
        let bytes = if capped { Bytes::from_f64(division.kv + division.state) } else { left };
        (bytes, division)
    }

    fn assemble(&self, worst: &Rank<'_>, ranks: &[Rank<'_>]) -> Estimate {
        let terms = self.terms(worst);
        let required = server::total(&terms);
        let requests = self.workload.batch_size.unwrap_or(1).max(1);
        let wanted_cache = Interval::exact(self.request(worst, requests));
        let wanted = server::without_cache(&terms) + wanted_cache;
        let wanted = if self.workload.context_length.is_some() { wanted.max(required) } else { required };
        let split = &self.workload.parallelism;
        Estimate {
            per_gpu: PerGpu { required, wanted, reserved: self.reserved(worst) },
            usable: self.device.visible,
            serving: Some(self.detail(worst, ranks)),
            terms,
            training: None,
            worst_rank: worst.stage.describe(),
            refusals: self.refusals(worst),
            notes: self.notes(ranks),
            gpus: server::gpus(split),
        }
    }

    fn terms(&self, rank: &Rank<'_>) -> Vec<Term> {
        let one = self.request(rank, 1);
        let cell = self.layout(rank).cell;
        server::terms(vec![
            server::weights(rank.weights, &self.workload.parallelism),
            (
                TermName::Adapters,
                self.formats.adapters(rank, &self.workload.engine),
                Provenance::Derived,
                format!("{} LoRA slots of rank {}", self.workload.engine.max_loras, self.workload.engine.max_lora_rank),
            ),
            (
                TermName::KvCache,
                Interval::new(Bytes::ZERO, one, one),
                Provenance::Derived,
                format!("1 request × {} tokens × {cell:.0} B, with its state slots", self.context),
            ),
            (
                TermName::Activations,
                self.set_aside,
                Provenance::Derived,
                format!(
                    "outside the static fraction of {:.3}, for a chunk of {} tokens and graphs up to {} sequences",
                    self.fraction, self.sizes.chunk, self.sizes.graphs
                ),
            ),
            (
                TermName::Transient,
                self.beyond(rank),
                Provenance::Calibrated,
                "chunk, graphs, workspaces and token indices beyond what is set aside for them".to_owned(),
            ),
            (
                TermName::Runtime,
                self.process,
                Provenance::Calibrated,
                "CUDA context and communicators before loading".to_owned(),
            ),
        ])
    }

    fn reserved(&self, worst: &Rank<'_>) -> Interval {
        let (pool, _) = self.pool(worst);
        let fixed = self.process.likely + self.loaded(worst).likely + pool;
        let working = self.working(worst);
        let most = self.device.visible;
        Interval::new((fixed + working.low).min(most), (fixed + working.likely).min(most), most)
    }

    fn detail(&self, worst: &Rank<'_>, ranks: &[Rank<'_>]) -> ServingDetail {
        // The smallest pool of all ranks decides.
        let pools = ranks.iter().map(|rank| (self.pool(rank), rank));
        let smallest = pools.min_by_key(|((_, division), _)| division.tokens);
        let ((bytes, division), rank) = smallest.unwrap_or_else(|| (self.pool(worst), worst));
        let most = self.formats.model.max_position_embeddings.unwrap_or(u64::MAX);
        let max_context = if rank.token_bytes() > 0.0 { division.tokens.min(most) } else { most };
        ServingDetail {
            weights_bytes: worst.weights.likely,
            non_kv_bytes: self.loaded(worst).likely + self.process.likely + self.set_aside.likely,
            kv_pool_bytes: bytes,
            kv_bytes_per_token: Bytes::from_f64(rank.token_bytes()),
            kv_tokens: division.tokens,
            max_context,
            expected_log: self.log(rank, &division),
        }
    }

    fn log(&self, rank: &Rank<'_>, division: &pool::Division) -> Vec<String> {
        let after = self.device.visible - self.process.likely - rank.weights.likely;
        let mut lines = vec![format!(
            "Load weight end. avail mem={:.2} GB, mem usage={:.2} GB.",
            after.gib(),
            rank.weights.likely.gib()
        )];
        if division.slots > 0 {
            lines.push(format!("max_mamba_cache_size: {}", division.slots));
        }
        lines.push(format!(
            "KV Cache is allocated. #tokens: {}, KV size: {:.2} GB",
            division.tokens,
            Bytes::from_f64(division.kv).gib()
        ));
        lines.push(format!(
            "max_total_num_tokens={}, chunked_prefill_size={}, context_len={}",
            division.tokens, self.sizes.chunk, self.context
        ));
        lines
    }

    /// What SGLang surely refuses at start-up.
    fn refusals(&self, worst: &Rank<'_>) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        if self.device.compute_capability.is_some_and(|capability| capability < LEAST_CAPABILITY) {
            let message = format!("SGLang needs compute capability 7.5, {} has less", self.device.product);
            refusals.push(Refusal { code: "CAPABILITY_UNSUPPORTED", message });
        }
        let before = self.device.visible - self.process.low;
        let left = before - self.set_aside.low;
        if worst.weights.low > before {
            refusals.push(Refusal {
                code: "WEIGHTS_EXCEED_DEVICE",
                message: format!("weights of {:.2} exceed the {before:.2} that are free", worst.weights.low),
            });
        } else if worst.weights.low > left {
            let least = (worst.weights.low.as_f64() / before.as_f64().max(1.0) * 1000.0).ceil() / 1000.0;
            refusals.push(Refusal {
                code: "KV_POOL_EMPTY",
                message: format!(
                    "weights of {:.2} leave nothing of the static {left:.2} for the KV pool: raise \
                     --mem-fraction-static above {least:.3}",
                    worst.weights.low
                ),
            });
        }
        refusals
    }

    fn notes(&self, ranks: &[Rank<'_>]) -> Vec<String> {
        let engine = &self.workload.engine;
        let mut notes = Vec::new();
        let tokens = ranks.iter().map(|rank| self.pool(rank).1.tokens).min().unwrap_or(0);
        if tokens < self.context && ranks.iter().any(|rank| rank.token_bytes() > 0.0) {
            notes.push(format!(
                "the pool likely holds {tokens} tokens, less than the context of {}: SGLang starts and refuses longer \
                 requests",
                self.context
            ));
        }
        if self.workload.context_length.is_none() {
            notes.push(format!("no context length is given: SGLang takes the model's own, {} tokens", self.context));
        }
        if engine.memory_fraction.is_none() {
            notes.push(format!("--mem-fraction-static is not given: the default here is {:.3}", self.fraction));
        }
        if engine.memory_fraction.is_none() && engine.version.is_none() {
            notes.push("the SGLang version is not known: its default fraction is taken as the newest's".to_owned());
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::serving::fixtures::{self, Shape};
    use crate::estimate::workload::{EngineName, Version};

    fn llama(gib: f64) -> (Workload, Device) {
        fixtures::on(EngineName::Sglang, fixtures::dense(&Shape::LLAMA_8B), gib)
    }

    fn run(workload: &Workload, device: &Device) -> Estimate {
        crate::estimate::estimate(workload, device).unwrap()
    }

    #[test]
    fn pool_and_the_rest_are_the_device() {
        let (mut workload, device) = llama(79.15);
        workload.engine.memory_fraction = Some(0.8);
        let serving = run(&workload, &device).serving.unwrap();
        assert_eq!(serving.kv_pool_bytes + serving.non_kv_bytes, device.visible);
        // 0.8 of 78.43 GiB less weights of 15.04.
        assert!((serving.kv_pool_bytes.gib() - (0.8 * 78.43 - 15.04)).abs() < 0.02, "{serving:?}");
        workload.engine.max_total_tokens = Some(4096);
        assert_eq!(run(&workload, &device).serving.unwrap().kv_pool_bytes, Bytes::from_gib(0.5));
    }

    #[test]
    fn a_short_pool_starts_and_an_empty_one_does_not() {
        let (mut workload, device) = llama(23.53);
        let short = run(&workload, &device);
        assert!(short.per_gpu.required.low < short.usable && short.per_gpu.required.likely > short.usable);
        assert!(short.refusals.is_empty());
        assert!(short.notes.iter().any(|note| note.contains("refuses longer")), "{:?}", short.notes);
        workload.engine.memory_fraction = Some(0.6);
        let empty = run(&workload, &device);
        assert!(empty.per_gpu.required.low > empty.usable);
        assert_eq!(empty.refusals[0].code, "KV_POOL_EMPTY");
        assert!(empty.refusals[0].message.contains("above 0.645"), "{:?}", empty.refusals);
        workload.engine.memory_fraction = Some(0.66);
        assert!(run(&workload, &device).refusals.is_empty());
    }

    /// Ten million tokens of context: one server tried to allocate 80.04 GiB of token indices.
    #[test]
    fn token_indices_grow_with_the_context() {
        let (mut workload, device) = llama(79.1);
        workload.context_length = Some(10_485_760);
        let estimate = run(&workload, &device);
        let beyond = estimate.terms.iter().find(|term| term.name == TermName::Transient).unwrap();
        assert!(beyond.bytes.likely > Bytes::from_gib(65.0), "{beyond:?}");
    }

    #[test]
    fn an_unknown_version_is_denied_only_where_every_version_would_fail() {
        let (workload, device) = llama(79.15);
        let low = |version| {
            let mut workload = workload.clone();
            workload.engine.version = version;
            run(&workload, &device).per_gpu.required.low
        };
        let known = [[0, 4, 2], [0, 4, 8], [0, 5, 1], [0, 5, 6]].map(|version| low(Some(Version(version))));
        assert!(known.iter().all(|known| low(None) <= *known));
    }

    #[test]
    fn old_devices_are_refused() {
        let (workload, device) = llama(15.9);
        let device = Device { compute_capability: Some((7, 0)), ..device };
        assert_eq!(run(&workload, &device).refusals[0].code, "CAPABILITY_UNSUPPORTED");
    }
}
