//! vLLM: the engine plans with a share of the device; what weights and the profile run leave becomes the KV pool.

pub mod activation;
mod caches;
mod detail;
mod pool;
mod refusals;
pub mod rules;
pub mod sizes;

pub use rules::CONSTANTS;

use crate::estimate::dtype::DType;
use crate::estimate::interval::{Interval, Provenance};
use crate::estimate::memory::kv_cache::CacheFormat;
use crate::estimate::memory::weights::Storage;
use crate::estimate::model::{Attention, LayerGroup, Mlp, Model};
use crate::estimate::parallel::{self, Stage};
use crate::estimate::units::Bytes;
use crate::estimate::workload::{Parallelism, Workload};
use crate::estimate::{Device, Estimate, EstimateError, PerGpu, Term, TermName};

use caches::Caching;
use pool::{Pool, Scheduling};
use rules::{Lean, Rules};
use sizes::BatchDefaults;

/// What loading takes less and more than the tensors, GiB: 2.89 and 2.98 logged for 2.90 of Qwen2.5-1.5B.
const LOADER: (f64, f64) = (0.02, 0.07);
/// What `--max-model-len auto` may come down to, tokens.
const SHORTEST_CONTEXT: u64 = 16;

/// Everything that one rank of one stage needs.
struct Rank<'a> {
    stage: &'a Stage<'a>,
    weights: Interval,
    activations: Interval,
    non_torch: Interval,
    graphs: Interval,
    adapters: Interval,
    pool: Pool,
    token_bytes: f64,
}

/// What holds for all ranks.
struct Plan<'a> {
    workload: &'a Workload,
    model: &'a Model,
    device: &'a Device,
    rules: &'static Rules,
    context: u64,
    step: BatchDefaults,
    fraction: f64,
    usable: Bytes,
    element: DType,
    cache: CacheFormat,
}

/// Estimates a vLLM server.
///
/// # Errors
/// When parallelism does not divide the model, or the context is neither given nor known from the model.
pub(super) fn estimate(workload: &Workload, model: &Model, device: &Device) -> Result<Estimate, EstimateError> {
    let plan = Plan::new(workload, model, device)?;
    let stages = parallel::stages(model, workload.parallelism.pipeline, workload.engine.layer_partition.as_deref())?;
    let ranks: Vec<Rank<'_>> = stages.iter().map(|stage| plan.rank(stage)).collect();
    let worst = ranks
        .iter()
        .max_by_key(|rank| (rank.fixed() + plan.request(rank, 1)).likely)
        .ok_or_else(|| EstimateError::Parallelism("the model has no layers".to_owned()))?;
    Ok(plan.assemble(worst, &ranks))
}

impl<'a> Plan<'a> {
    fn new(workload: &'a Workload, model: &'a Model, device: &'a Device) -> Result<Self, EstimateError> {
        let engine = &workload.engine;
        let rules = rules::likely(engine.version);
        // One block is all that a context must be able to shrink to.
        let shortest = engine.auto_context.then_some(SHORTEST_CONTEXT);
        let context = workload.context_length.or(shortest).or(model.max_position_embeddings).ok_or_else(|| {
            EstimateError::Missing {
                field: "contextLength",
                hint: "neither `--max-model-len` nor the model's own maximum is known; add `--max-model-len`"
                    .to_owned(),
            }
        })?;
        let fraction = engine.memory_fraction.unwrap_or(rules.memory_fraction);
        let element = compute_format(workload, model);
        let stored = element.bytes();
        let cache = CacheFormat {
            element: workload.kv_cache_dtype.map_or(stored, DType::bytes),
            conv: stored,
            state: stored,
            tensor: workload.parallelism.tensor,
            speculative: engine.speculative_tokens,
        };
        Ok(Self {
            workload,
            model,
            device,
            rules,
            context,
            step: step(workload, rules, device, context),
            fraction,
            usable: device.visible.scale(fraction),
            element,
            cache,
        })
    }

    fn rank(&self, stage: &'a Stage<'a>) -> Rank<'a> {
        let engine = &self.workload.engine;
        let drafts = if engine.speculative_tokens > 0 && stage.is_last() { self.model.mtp.as_slice() } else { &[] };
        let layers =
            stage.layers.iter().map(|(n, group)| (*n, *group)).chain(drafts.iter().map(|group| (group.count, group)));
        let caches = self.caching().layers(layers);
        let pool = Pool::new(&caches, self.scheduling());
        let token_bytes = caches.iter().map(|(n, cache)| *n as f64 * cache.token_bytes()).sum();
        Rank {
            stage,
            weights: self.weights(stage, drafts),
            activations: self.activations(stage),
            non_torch: self.non_torch(),
            graphs: self.graphs(stage),
            adapters: self.adapters(stage),
            pool,
            token_bytes,
        }
    }

    const fn caching(&self) -> Caching<'_> {
        Caching {
            rules: self.rules,
            format: self.cache,
            asked: self.workload.kv_cache_dtype,
            capability: self.device.compute_capability,
            whole_windows: self.workload.engine.full_window_cache,
            context: self.workload.parallelism.context,
        }
    }

    /// Recurrent states of one request: its own, an aligned copy where prefixes are cached; Mamba's kernels then keep one
    /// for every block.
    fn scheduling(&self) -> Scheduling {
        let block_size = match self.workload.engine.block_size {
            Some(size) if size > 0 => size,
            _ => 16,
        };
        let speculative = self.workload.engine.speculative_tokens;
        let cached = self.workload.engine.prefix_caching.unwrap_or(self.rules.caches_states);
        let kernels = |group: &LayerGroup| matches!(group.attention, Attention::Mamba(_));
        let per_block = cached && self.model.layers.iter().any(kernels);
        Scheduling {
            block_size,
            batched_tokens: self.step.tokens,
            state_pages: speculative + if per_block { 0 } else { 1 + u64::from(cached) },
            state_per_block: per_block,
            tokens_by_concurrency: self.rules.tokens_by_concurrency,
        }
    }

    fn storage(&self) -> Storage<'a> {
        Storage {
            dtype: self.element,
            quantization: self.workload.quantization.as_ref().or(self.model.quantization.as_ref()),
            parallelism: expert_shards(self.workload.parallelism),
            attention_data: 1,
            fused: true,
        }
    }

    /// Weights of the stage, the rotary table, less what is kept on the host; a given checkpoint size corrects the sum.
    fn weights(&self, stage: &Stage<'_>, drafts: &[LayerGroup]) -> Interval {
        let storage = self.storage();
        let drafts: Bytes = drafts.iter().map(|group| storage.layer(group).times(group.count)).sum();
        let bytes = storage.stage(self.model, stage) + drafts + rotary_table(self.model, self.element);
        let bytes = bytes - self.workload.engine.cpu_offload;
        let (below, above) = storage.error(self.model);
        let spread = Interval::spread(bytes, below, above);
        Interval::new(spread.low - Bytes::from_gib(LOADER.0), spread.likely, spread.high + Bytes::from_gib(LOADER.1))
    }

    /// The profile run's peak under a version's rules, with the sampler's bytes per logit; without where none is said.
    fn peak(&self, stage: &Stage<'_>, rules: &Rules, sampler: Option<f64>) -> f64 {
        let step = step(self.workload, rules, self.device, self.context);
        let split = &self.workload.parallelism;
        let profile = activation::Profile {
            tokens: step.tokens as f64,
            sequences: if sampler.is_some() { step.sequences as f64 } else { 0.0 },
            element: self.element.bytes(),
            sampler: sampler.unwrap_or(0.0),
            tensor: split.tensor as f64,
            expert: split.expert as f64,
            data: split.data as f64,
            indexed: self.context.saturating_mul(rules.indexed_contexts) as f64,
            fit: activation::FIT,
        };
        activation::peak(self.model, stage, &profile)
    }

    fn activations(&self, stage: &Stage<'_>) -> Interval {
        let version = self.workload.engine.version;
        let lowest = rules::candidates(version).iter().map(|rules| {
            let samples = step(self.workload, rules, self.device, self.context).samples;
            self.peak(stage, rules, samples.then_some(self.sampler(rules)[0]))
        });
        let low = lowest.fold(f64::INFINITY, f64::min);
        let highest = rules::recent(version).iter().map(|rules| self.peak(stage, rules, Some(self.sampler(rules)[2])));
        let high = highest.fold(0.0, f64::max);
        let likely = self.peak(stage, self.rules, self.step.samples.then_some(self.sampler(self.rules)[1]));
        let compiling = if self.workload.engine.enforce_eager { [0.0; 3] } else { self.rules.compiling };
        let [below, above] = self.rules.slack;
        let (low, high) = (Bytes::from_f64(low * (1.0 - below)), Bytes::from_f64(high * (1.0 + above)));
        let peak = Interval::new(low, Bytes::from_f64(likely), high);
        peak + from_gib(compiling)
    }

    /// Bytes per logit that the sampler's profile holds for this model.
    fn sampler(&self, rules: &Rules) -> [f64; 3] {
        if lean(rules, self.model) { LEAN_SAMPLER } else { rules.sampler }
    }

    fn non_torch(&self) -> Interval {
        let split = &self.workload.parallelism;
        let experts = if split.expert > 1 || mixtures(self.model) > 0 { split.data } else { 1 };
        let spread = sizes::Spread { tensor: split.tensor, pipeline: split.pipeline, experts };
        from_gib(sizes::non_torch(self.rules, &spread, self.device))
    }

    /// The graph estimate that recent versions subtract; nothing where graphs live outside the budget or are off.
    fn graphs(&self, stage: &Stage<'_>) -> Interval {
        if self.workload.engine.enforce_eager || !self.rules.graphs_in_budget {
            return Interval::ZERO;
        }
        let fine = |mlp: &Mlp| matches!(mlp, Mlp::Moe { experts, .. } if *experts > sizes::MANY_EXPERTS);
        let mixtures = stage.layers.iter().filter(|(_, group)| fine(&group.mlp)).map(|(n, _)| n).sum();
        let plain = stage.layer_count().saturating_sub(mixtures);
        let share = sizes::graph_share(self.workload.engine.graph_batch, self.step.sequences);
        let estimate = from_gib(sizes::graphs(lean(self.rules, self.model), plain, mixtures)).scale(share);
        let known = self.workload.engine.version.is_some();
        if known { estimate } else { Interval { low: Bytes::ZERO, ..estimate } }
    }

    /// LoRA slots: both low-rank matrices of every linear layer, in 16 bit.
    fn adapters(&self, stage: &Stage<'_>) -> Interval {
        let engine = &self.workload.engine;
        if engine.max_loras == 0 {
            return Interval::ZERO;
        }
        let linear = stage.layers.iter().flat_map(|(n, group)| group.tensors.iter().map(move |tensor| (*n, tensor)));
        let widths: f64 = linear
            .filter(|(_, tensor)| tensor.kind == crate::estimate::model::TensorKind::Linear)
            .map(|(n, tensor)| n as f64 * (tensor.rows as f64 + tensor.cols as f64))
            .sum();
        let slots = engine.max_loras as f64 * engine.max_lora_rank as f64 * widths * self.element.bytes();
        Interval::spread(Bytes::from_f64(slots), 0.5, 1.5)
    }

    /// Cache for `requests` of the full context.
    fn request(&self, rank: &Rank<'_>, requests: u64) -> Interval {
        Interval::exact(Bytes::from_f64(rank.pool.request_bytes(self.context) * requests as f64))
    }

    /// What the blocks of recurrent states of a full step take beyond one request; graphs may be set up otherwise.
    fn states(&self, rank: &Rank<'_>, one: Interval) -> Interval {
        if !self.rules.states_for_all || self.workload.engine.enforce_eager {
            return Interval::ZERO;
        }
        let all = Bytes::from_f64(rank.pool.states_bytes(self.step.sequences));
        Interval::new(Bytes::ZERO, all - one.likely, all - one.likely)
    }

    /// The pool that the engine will have on this rank.
    fn pool_bytes(&self, rank: &Rank<'_>) -> Bytes {
        let left = self.usable - rank.fixed().likely;
        self.workload.engine.kv_cache_memory.unwrap_or(left)
    }

    fn assemble(&self, worst: &Rank<'_>, ranks: &[Rank<'_>]) -> Estimate {
        let one = self.request(worst, 1);
        let fixed = worst.fixed();
        let cache = one + self.states(worst, one);
        let given = self.workload.engine.kv_cache_memory;
        let required = fixed + given.map_or(cache, |pool| cache.max(Interval::exact(pool)));
        let wanted = fixed + self.request(worst, self.workload.batch_size.unwrap_or(1).max(1));
        let split = &self.workload.parallelism;
        Estimate {
            per_gpu: PerGpu { required, wanted: wanted.max(required), reserved: self.reserved(required) },
            usable: if self.workload.engine.kv_cache_memory.is_some() { self.device.visible } else { self.usable },
            terms: self.terms(worst, one),
            serving: Some(self.detail(worst, ranks)),
            training: None,
            worst_rank: worst.stage.describe(),
            refusals: self.refusals(worst, one),
            notes: self.notes(worst),
            gpus: [split.tensor, split.pipeline, split.data].iter().fold(1, |n, degree| n.saturating_mul(*degree)),
        }
    }

    /// The whole budget, plus graphs where they live outside it, plus the process's context.
    fn reserved(&self, required: Interval) -> Interval {
        if self.workload.engine.kv_cache_memory.is_some() {
            return required;
        }
        let outside = !self.rules.graphs_in_budget && !self.workload.engine.enforce_eager;
        let graphs = if outside { (0.04, 0.8, 2.0) } else { (0.0, 0.1, 1.0) };
        let gib = |extra: f64| self.usable + Bytes::from_gib(extra);
        Interval::new(gib(graphs.0 - 2.0).min(self.usable), gib(graphs.1), gib(graphs.2))
    }

    fn terms(&self, worst: &Rank<'_>, one: Interval) -> Vec<Term> {
        let split = &self.workload.parallelism;
        let gathered = [
            (
                TermName::Weights,
                worst.weights,
                Provenance::Exact,
                format!("stored tensors / tensor parallel {}", split.tensor),
            ),
            (
                TermName::KvCache,
                one,
                Provenance::Exact,
                format!("1 request × {} tokens × {:.0} B, in blocks", self.context, worst.token_bytes),
            ),
            (
                TermName::State,
                self.states(worst, one),
                Provenance::Derived,
                format!(
                    "a block of recurrent states for each of {} sequences, beyond one request",
                    self.step.sequences
                ),
            ),
            (
                TermName::Activations,
                worst.activations,
                Provenance::Calibrated,
                format!(
                    "profile run of {} tokens, sampler on {} × {} logits",
                    self.step.tokens, self.step.sequences, self.model.vocab_size
                ),
            ),
            (
                TermName::Comm,
                worst.non_torch,
                Provenance::Calibrated,
                "memory outside torch, communication buffers".to_owned(),
            ),
            (
                TermName::CudaGraphs,
                worst.graphs,
                Provenance::Calibrated,
                "graph memory estimate inside the budget".to_owned(),
            ),
            (
                TermName::Adapters,
                worst.adapters,
                Provenance::Derived,
                format!("{} LoRA slots of rank {}", self.workload.engine.max_loras, self.workload.engine.max_lora_rank),
            ),
        ];
        gathered
            .into_iter()
            .filter(|(_, bytes, _, _)| bytes.high > Bytes::ZERO)
            .map(|(name, bytes, provenance, formula)| Term { name, bytes, formula, provenance })
            .collect()
    }
}

impl Rank<'_> {
    /// Everything but the cache.
    fn fixed(&self) -> Interval {
        self.weights + self.activations + self.non_torch + self.graphs + self.adapters
    }
}

/// Bytes per logit where the profile run samples without top-k and top-p.
const LEAN_SAMPLER: [f64; 3] = [0.0, 0.5, 5.0];

/// Tokens and sequences of a step: as asked for, else the version's defaults.
fn step(workload: &Workload, rules: &Rules, device: &Device, context: u64) -> BatchDefaults {
    let defaults = sizes::batch_defaults(rules, device, context);
    BatchDefaults {
        tokens: workload.engine.max_num_batched_tokens.unwrap_or(defaults.tokens),
        sequences: workload.engine.max_num_seqs.unwrap_or(defaults.sequences),
        ..defaults
    }
}

/// Without expert parallelism data-parallel ranks divide every expert among them, which holds as many bytes.
const fn expert_shards(split: Parallelism) -> Parallelism {
    if split.expert > 1 || split.data <= 1 {
        return split;
    }
    Parallelism { expert: split.tensor.saturating_mul(split.data), ..split }
}

/// Layers with a mixture of experts.
fn mixtures(model: &Model) -> u64 {
    model.layers.iter().filter(|group| matches!(group.mlp, Mlp::Moe { .. })).map(|group| group.count).sum()
}

/// Whether a version serves the model with the newer model runner.
fn lean(rules: &Rules, model: &Model) -> bool {
    let recurrent = |group: &LayerGroup| matches!(group.attention, Attention::Linear(_) | Attention::Mamba(_));
    match rules.lean {
        Lean::Never => false,
        Lean::Dense => mixtures(model) == 0 && !model.layers.iter().any(recurrent),
        Lean::All => true,
    }
}

/// An interval from GiB.
fn from_gib([low, likely, high]: [f64; 3]) -> Interval {
    Interval::new(Bytes::from_gib(low), Bytes::from_gib(likely), Bytes::from_gib(high))
}

/// The format that weights are loaded and activations computed in: fp32 checkpoints are served in 16 bit.
fn compute_format(workload: &Workload, model: &Model) -> DType {
    workload.dtype.unwrap_or(match model.dtype {
        DType::Fp16 => DType::Fp16,
        _ => DType::Bf16,
    })
}

/// The tables of rotary cosines and sines, shared by all layers.
fn rotary_table(model: &Model, element: DType) -> Bytes {
    let width = model.layers.iter().find_map(|group| match group.attention {
        Attention::Full(heads) | Attention::Sliding { heads, .. } | Attention::Chunked { heads, .. } => {
            Some(heads.key_dim)
        }
        Attention::Latent { rope, .. } => Some(rope),
        _ => None,
    });
    Bytes::from_f64(model.rotary_rows as f64 * width.unwrap_or(0) as f64 * element.bytes())
}

#[cfg(test)]
mod tests;
