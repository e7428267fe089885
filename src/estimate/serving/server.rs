//! What all servers share: weights and caches of a rank, a forward pass, and how terms become an estimate.

use super::vllm::activation::{self, Profile};
use crate::estimate::dtype::DType;
use crate::estimate::interval::{Interval, Provenance};
use crate::estimate::memory::kv_cache::{CacheFormat, LayerCache};
use crate::estimate::memory::weights::Storage;
use crate::estimate::model::{Attention, LayerGroup, Mlp, Model, TensorKind};
use crate::estimate::parallel::{self, Stage};
use crate::estimate::units::Bytes;
use crate::estimate::workload::{Engine, EngineName, Parallelism, Workload};
use crate::estimate::{Device, EstimateError, Term, TermName};

/// Memory that the loader leaves with the allocator beside the tensors, GiB: low, likely, high.
/// SGLang's "mem usage" against stored tensors: Llama-3.1-8B +0.06 and +0.15, Qwen2.5-0.5B +0.06, gemma-3-4b +0.12,
/// Qwen2.5-7B +0.20.
pub(in crate::estimate) const LOADER: (f64, f64, f64) = (0.0, 0.08, 0.25);

/// What a process holds before it loads a model, GiB: context, libraries, and communicators between ranks.
///
/// Free memory before loading against the runtime's total: 0.59 (H200), 0.72 (A100/H100) and 0.77 GiB (RTX 4090) for
/// one rank; 1.9 and 2.5 GiB for eight on H200.
pub(in crate::estimate) const PROCESS: (f64, f64, f64) = (0.4, 0.72, 1.1);
pub(in crate::estimate) const PROCESS_LINKED: (f64, f64, f64) = (1.0, 2.2, 3.2);
pub(in crate::estimate) const PROCESS_UNLINKED: (f64, f64, f64) = (0.6, 1.2, 2.8);

/// What servers that absorb the projections of latents hold at most beside what is counted: GLM-4.7-Flash +1.7 %, and
/// with scales packed anew DeepSeek-V3.1-NVFP4 +4.4 %.
const ABSORBED: f64 = 0.02;
const REPACKED: f64 = 0.05;

/// How a workload's weights and caches are stored.
pub(super) struct Formats<'a> {
    /// The model.
    pub model: &'a Model,
    /// Format of weights and activations: fp32 checkpoints are served in 16 bit.
    pub element: DType,
    /// Weights.
    pub storage: Storage<'a>,
    /// Caches.
    pub cache: CacheFormat,
    partition: Option<&'a [u64]>,
    offload: Bytes,
    drafts: bool,
    /// The engine computes latent attention with absorbed projections and keeps copies of them.
    absorbs: bool,
}

/// One rank of one pipeline stage before any rule of an engine.
pub(super) struct Rank<'a> {
    /// Its layers.
    pub stage: Stage<'a>,
    /// Weights with the loader's slack.
    pub weights: Interval,
    /// Layers with what each keeps.
    pub caches: Vec<(u64, LayerCache)>,
}

impl<'a> Formats<'a> {
    /// The formats that a GPU server of this workload uses; `state` is the width of recurrent states, bytes.
    pub fn new(workload: &'a Workload, model: &'a Model, state: Option<f64>) -> Self {
        let element = workload.dtype.unwrap_or(match model.dtype {
            DType::Fp16 => DType::Fp16,
            _ => DType::Bf16,
        });
        let stored = element.bytes();
        let engine = &workload.engine;
        Self {
            model,
            element,
            storage: Storage {
                dtype: element,
                quantization: workload.quantization.as_ref().or(model.quantization.as_ref()),
                parallelism: workload.parallelism,
                attention_data: engine.attention_data,
                fused: true,
            },
            cache: CacheFormat {
                element: workload.kv_cache_dtype.map_or(stored, DType::bytes),
                conv: stored,
                state: state.unwrap_or(stored),
                tensor: (workload.parallelism.tensor / engine.attention_data.max(1)).max(1),
                speculative: engine.speculative_tokens,
            },
            partition: engine.layer_partition.as_deref(),
            offload: engine.cpu_offload,
            drafts: engine.speculative_tokens > 0,
            absorbs: engine.name == EngineName::Sglang,
        }
    }

    /// One rank of every pipeline stage.
    ///
    /// # Errors
    /// As [`parallel::stages`].
    pub fn ranks(&self) -> Result<Vec<Rank<'a>>, EstimateError> {
        let stages = parallel::stages(self.model, self.storage.parallelism.pipeline, self.partition)?;
        Ok(stages.into_iter().map(|stage| self.rank(stage)).collect())
    }

    fn rank(&self, stage: Stage<'a>) -> Rank<'a> {
        let drafts: &[LayerGroup] = if self.drafts && stage.is_last() { &self.model.mtp } else { &[] };
        let draft_bytes: Bytes = drafts.iter().map(|group| self.storage.layer(group).times(group.count)).sum();
        let bytes = self.storage.stage(self.model, &stage) + draft_bytes + self.absorbed(&stage) - self.offload;
        let (below, above) = self.storage.error(self.model);
        let latent = stage.layers.iter().any(|(_, group)| matches!(group.attention, Attention::Latent { .. }));
        let above = match (latent && self.absorbs, self.storage.quantization.is_some()) {
            (true, true) => above.max(REPACKED),
            (true, false) => above.max(ABSORBED),
            (false, _) => above,
        };
        let weights = Interval::spread(bytes, below, above);
        let layers =
            stage.layers.iter().map(|(n, group)| (*n, *group)).chain(drafts.iter().map(|group| (group.count, group)));
        let caches = layers.map(|(n, group)| (n, LayerCache::of(&group.attention, &self.cache))).collect();
        Rank { weights: weights + gib(LOADER), caches, stage }
    }

    /// Copies of the latent's up-projections that are folded into queries and outputs, in 16 bit.
    fn absorbed(&self, stage: &Stage<'_>) -> Bytes {
        let each = |group: &LayerGroup| match group.attention {
            Attention::Latent { heads, latent, nope, value, .. } if self.absorbs => {
                heads as f64 * (nope as f64 + value as f64) * latent as f64 * self.element.bytes()
            }
            _ => 0.0,
        };
        let all: f64 = stage.layers.iter().map(|(n, group)| *n as f64 * each(group)).sum();
        Bytes::from_f64(all / self.cache.tensor as f64)
    }

    /// LoRA slots: both low-rank matrices of every linear layer, in 16 bit.
    pub fn adapters(&self, rank: &Rank<'_>, engine: &Engine) -> Interval {
        if engine.max_loras == 0 {
            return Interval::ZERO;
        }
        let linear = rank.stage.layers.iter().flat_map(|(n, group)| group.tensors.iter().map(move |t| (*n, t)));
        let widths: f64 = linear
            .filter(|(_, tensor)| tensor.kind == TensorKind::Linear)
            .map(|(n, tensor)| n as f64 * (tensor.rows as f64 + tensor.cols as f64))
            .sum();
        let slots = engine.max_loras as f64 * engine.max_lora_rank as f64;
        Interval::spread(Bytes::from_f64(slots * widths * self.element.bytes()), 0.7, 0.5)
    }

    /// A forward pass of `tokens` tokens with logits of `rows` sequences at `sampler` bytes each beside the logit.
    pub fn forward(&self, rank: &Rank<'_>, tokens: u64, rows: u64, sampler: f64) -> Bytes {
        let profile = Profile {
            tokens: tokens as f64,
            sequences: rows as f64,
            element: self.element.bytes(),
            sampler,
            tensor: self.storage.parallelism.tensor as f64,
            expert: self.storage.parallelism.expert as f64,
            data: 1.0,
            fit: activation::FIT,
            indexed: 0.0,
        };
        Bytes::from_f64(activation::peak(self.model, &rank.stage, &profile))
    }
}

impl Rank<'_> {
    /// Bytes that one more token takes, all growing layers.
    pub fn token_bytes(&self) -> f64 {
        self.caches.iter().map(|(n, cache)| *n as f64 * cache.token_bytes()).sum()
    }

    /// Bytes that one more token takes in the layers with a window, and in those without.
    pub fn window_and_full(&self) -> (f64, f64) {
        let windowed = |cache: &LayerCache| matches!(cache, LayerCache::PerToken { limit: Some(_), .. });
        let window: f64 =
            self.caches.iter().filter(|(_, c)| windowed(c)).map(|(n, c)| *n as f64 * c.token_bytes()).sum();
        (window, self.token_bytes() - window)
    }

    /// Bytes of the recurrent states of one sequence.
    pub fn state_bytes(&self) -> f64 {
        let state = |cache: &LayerCache| if let LayerCache::State { bytes } = cache { *bytes } else { 0.0 };
        self.caches.iter().map(|(n, cache)| *n as f64 * state(cache)).sum()
    }

    /// Bytes of one sequence of `tokens` where windows are kept no longer than they look back.
    pub fn sequence(&self, tokens: u64) -> f64 {
        self.caches.iter().map(|(n, cache)| *n as f64 * cache.sequence(tokens)).sum()
    }

    /// Bytes of one sequence of `tokens` where every layer keeps all of them.
    pub fn whole_sequence(&self, tokens: u64) -> f64 {
        self.token_bytes() * tokens as f64 + self.state_bytes()
    }
}

/// An interval from GiB: low, likely, high.
pub(super) fn gib((low, likely, high): (f64, f64, f64)) -> Interval {
    Interval::new(Bytes::from_gib(low), Bytes::from_gib(likely), Bytes::from_gib(high))
}

/// What a process holds before it loads a model.
pub(super) fn process(split: &Parallelism, device: &Device) -> Interval {
    const LINKED: [&str; 8] = ["SXM", "HBM3", "H200", "B200", "B300", "GB200", "GB300", "NVL"];
    let linked = LINKED.iter().any(|name| device.product.contains(name));
    gib(match (split.tensor.saturating_mul(split.pipeline), linked) {
        (1, _) => PROCESS,
        (_, true) => PROCESS_LINKED,
        (_, false) => PROCESS_UNLINKED,
    })
}

/// The longest context: what was asked for, else the model's own.
///
/// # Errors
/// [`EstimateError::Missing`] when neither is known; the hint names `flag`.
pub(super) fn context(workload: &Workload, model: &Model, flag: &str) -> Result<u64, EstimateError> {
    workload.context_length.or(model.max_position_embeddings).ok_or_else(|| EstimateError::Missing {
        field: "contextLength",
        hint: format!("neither `{flag}` nor the model's own maximum is known; add `{flag}`"),
    })
}

/// One addend before it is known whether it is zero.
pub(super) type Addend = (TermName, Interval, Provenance, String);

/// The addends that are not zero.
pub(super) fn terms(addends: Vec<Addend>) -> Vec<Term> {
    let kept = addends.into_iter().filter(|(_, bytes, _, _)| bytes.high > Bytes::ZERO);
    kept.map(|(name, bytes, provenance, formula)| Term { name, bytes, formula, provenance }).collect()
}

/// The weights' addend.
pub(super) fn weights(bytes: Interval, split: &Parallelism) -> Addend {
    let formula = format!("stored tensors / tensor parallel {}", split.tensor);
    (TermName::Weights, bytes, Provenance::Exact, formula)
}

/// Sum of all terms.
pub(super) fn total(terms: &[Term]) -> Interval {
    terms.iter().map(|term| term.bytes).sum()
}

/// Sum of all terms but caches.
pub(super) fn without_cache(terms: &[Term]) -> Interval {
    let cache = |name: TermName| matches!(name, TermName::KvCache | TermName::State);
    terms.iter().filter(|term| !cache(term.name)).map(|term| term.bytes).sum()
}

/// GPUs of the replica.
pub(super) fn gpus(split: &Parallelism) -> u64 {
    [split.tensor, split.pipeline, split.data].iter().fold(1, |n, degree| n.saturating_mul(*degree))
}

/// `tokens` rounded down to whole blocks.
pub(super) const fn whole_blocks(tokens: u64, block: u64) -> u64 {
    if block == 0 { tokens } else { tokens - tokens % block }
}

/// Inner width of a feed-forward block that one token passes through.
pub(super) const fn inner_width(mlp: &Mlp) -> u64 {
    match mlp {
        Mlp::Dense { intermediate, .. } => *intermediate,
        Mlp::Moe { intermediate, top_k, shared_intermediate, .. } => {
            intermediate.saturating_mul(*top_k).saturating_add(*shared_intermediate)
        }
        Mlp::None => 0,
    }
}
